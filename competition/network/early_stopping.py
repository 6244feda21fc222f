"""When a member has learned enough, and which of its weights count."""

import numpy as np

from competition.network.device import keras


def predict_logits(model: keras.Model, images) -> np.ndarray:
    """What a model says of images, in batches of 500: float array (n, 10).

    Keras's `predict` builds a pipeline for each call, which takes longer here than a few hundred rows do.
    """
    return np.concatenate([model.predict_on_batch(images[i : i + 500]) for i in range(0, len(images), 500)])


class EarlyStopping(keras.callbacks.Callback):
    """Stop when the loss on watched rows stays clearly above its best; keep the last weights that were not.

    Keras's own callback keeps the epoch of the lowest loss. On the few hundred rows that a member can spare
    that is mostly luck, and it threw away the end of the schedule, where the learning rate anneals: on the
    sample it kept epoch 13 of 28, and the member lost half a percent. Here an epoch is clearly worse when
    its mean loss exceeds the best epoch's by more than two standard errors of the paired difference, row by
    row; otherwise the later epoch is the better one. NaN is clearly worse.

    What is watched is the loss that is trained, smoothing included: by the plain one a network that learns to say 0.91
    seems clearly worse as soon as it says so more evenly; three of four members of `fast` lost their last
    epochs to that.

    It also puts `val_loss` and `val_accuracy` into an epoch's logs: Keras's own validation would
    ask about the same rows once more.

    Args:
        images, labels: the watched rows, (n, 28, 28, 1) uint8 and (n,) int64.
        patience: clearly worse epochs in a row before training stops; 0 never stops it and keeps the last weights.
        label_smoothing: that of the training.
    """

    def __init__(self, images, labels, patience: int, label_smoothing: float = 0.0):
        super().__init__()
        self.images, self.labels, self.patience = images, labels, patience
        self.targets, self.label_smoothing = np.eye(10, dtype=np.float32)[labels], label_smoothing
        self.best = self.weights = None  # losses of the best epoch, weights of the last good one
        self.worse = self.kept_epoch = 0

    def on_epoch_end(self, epoch, logs=None):
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
            right = logits.argmax(axis=1) == self.labels
            logs.update(val_loss=float(losses.mean()), val_accuracy=float(right.mean()))
        if self.patience and self.is_clearly_worse(losses):
            self.worse += 1
            self.model.stop_training = self.worse >= self.patience
            return
        self.worse, self.kept_epoch, self.weights = 0, epoch + 1, self.model.get_weights()
        if self.best is None or losses.mean() < self.best.mean():
            self.best = losses

    def is_clearly_worse(self, losses) -> bool:
        """Whether an epoch's losses, (n,), exceed the best epoch's by more than their noise."""
        if self.best is None:
            return not np.isfinite(losses).all()
        difference = losses - self.best
        noise = difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else np.inf
        return not difference.mean() <= 2 * noise

    def on_train_end(self, logs=None):
        """Take back the last good weights."""
        if self.weights is not None:
            self.model.set_weights(self.weights)
