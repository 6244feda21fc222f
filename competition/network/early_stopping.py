"""Early stopping: when training ends, and the weights of which epoch are kept."""

from typing import Any

import numpy as np

from competition.network.device import keras


def predict_logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """A model's logits of images, uint8 (n, 28, 28, 1), in batches of 500: float array (n, 10).

    Keras's `predict` builds a pipeline for each call, which takes longer here than a few hundred rows do.
    """
    return np.concatenate([model.predict_on_batch(images[i : i + 500]) for i in range(0, len(images), 500)])


class EarlyStopping(keras.callbacks.Callback):
    """Stop when the validation loss stays significantly above its best; keep the last weights that are not worse.

    Keras's own callback keeps the epoch of the lowest loss. On the few hundred rows that a member can spare
    that is mostly luck, and it threw away the end of the schedule, where the learning rate anneals: on the
    sample it kept epoch 13 of 28, and the member lost half a percent. Here an epoch is significantly worse when
    its mean loss exceeds the best epoch's by more than two standard errors of the paired difference, row by
    row; otherwise the later epoch is kept. NaN is worse.

    The loss is the one that is trained, label smoothing included. By the plain log-loss a network that learns to
    predict 0.91 gets significantly worse as soon as more of its predictions are 0.91; three of four members of `fast`
    lost their last epochs to that.

    It also adds `val_loss` and `val_accuracy` to the logs of an epoch: Keras's own validation would predict the same
    rows once more.

    Args:
        images, labels: the early-stopping rows, (n, 28, 28, 1) uint8 and (n,) int64.
        patience: significantly worse epochs in a row before training stops; 0: never, and the last weights are kept.
        label_smoothing: that of the training.

    Attributes:
        kept_epoch: number of the epoch whose weights are kept, from 1.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, patience: int, label_smoothing: float = 0.0):
        super().__init__()
        self.images, self.labels, self.patience = images, labels, patience
        self.targets, self.label_smoothing = np.eye(10, dtype=np.float32)[labels], label_smoothing
        self.best_losses: np.ndarray | None = None  # row by row, of the epoch whose mean is least
        self.weights: Any = None
        self.worse_epochs = self.kept_epoch = 0

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Compare the epoch with the best one."""
        logits = predict_logits(self.model, self.images)
        losses = np.asarray(
            keras.losses.categorical_crossentropy(
                self.targets,
                keras.ops.convert_to_tensor(logits),
                from_logits=True,
                label_smoothing=self.label_smoothing,
            )
        )
        if logs is not None:
            correct = logits.argmax(axis=1) == self.labels
            logs.update(val_loss=float(losses.mean()), val_accuracy=float(correct.mean()))
        if self.patience and self.is_worse(losses):
            self.worse_epochs += 1
            self.model.stop_training = self.worse_epochs >= self.patience
            return
        self.worse_epochs, self.kept_epoch, self.weights = 0, epoch + 1, self.model.get_weights()
        if self.best_losses is None or losses.mean() < self.best_losses.mean():
            self.best_losses = losses

    def is_worse(self, losses: np.ndarray) -> bool:
        """Whether an epoch's losses, (n,), are significantly above the best epoch's."""
        if self.best_losses is None:
            return not np.isfinite(losses).all()
        difference = losses - self.best_losses
        standard_error = difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else np.inf
        return not difference.mean() <= 2 * standard_error

    def on_train_end(self, logs: dict | None = None) -> None:
        """Restore the weights that are kept."""
        if self.weights is not None:
            self.model.set_weights(self.weights)
