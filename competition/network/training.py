"""Train one member of the ensemble, with early stopping, and predict its validation rows and the test rows."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from competition.config import TTA, Config
from competition.data.digits import Digits
from competition.network.augmentation import Augmenter, average_predictions, tta_transforms
from competition.network.calibration import calibrate
from competition.network.device import Setup, feed, keras, prepare
from competition.network.early_stopping import EarlyStopping, predict_logits
from competition.network.member import Member, early_stopping_split
from competition.network.models import build_model
from competition.runs.checkpoint import MemberResult

ENOUGH_STEPS = 200  # of training, after which even the small networks predict nine of ten digits correctly


def fit_member(
    member: Member,
    seed: int,
    setup: Setup,
    train: Digits,
    test: Digits,
    report: Callable[[dict], None] = lambda logs: None,
    tensorboard: Path | None = None,
) -> MemberResult:
    """Train one network, and predict its validation rows and the test rows.

    Early stopping uses a slice of the training rows; the validation rows decide nothing.

    Args:
        member: its settings and rows.
        seed: of weights, order and augmentation: the member's, or that of its second attempt.
        setup: how this process computes.
        train: the labelled digits that the member's rows number.
        test: the digits to predict; only their pixels are used.
        report: called with Keras's logs after every epoch.
        tensorboard: folder for TensorBoard's logs; None writes none.
    """
    started = time.perf_counter()
    prepare(setup, seed)
    config = member.config
    labels = np.asarray(train.labels)
    fit_rows, early_stopping_rows = early_stopping_split(
        labels, member.train_rows, config.early_stopping_fraction, seed
    )
    targets = np.eye(10, dtype=np.float32)[labels]
    steps = max(1, len(fit_rows) // config.batch_size)

    model = compiled_model(config, setup, steps)
    held_out, held_out_labels = train.images[early_stopping_rows], labels[early_stopping_rows]
    stopping = EarlyStopping(held_out, held_out_labels, config.patience, config.label_smoothing)
    history = model.fit(
        feed(augmented_batches(config, seed, train.images, targets, fit_rows)),
        steps_per_epoch=steps,
        epochs=config.epochs,
        shuffle=False,
        verbose=0,
        callbacks=[
            stopping,
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: report(logs)),
            *([keras.callbacks.TensorBoard(str(tensorboard), write_graph=False)] if tensorboard else []),
        ],
    ).history
    transforms = tta_transforms(config)
    if config.label_smoothing:
        logits = [predict_logits(model, transform(held_out)) for transform in transforms or [np.asarray]]
        calibrate(model, held_out_labels, np.stack(logits))
    trained = time.perf_counter()
    val_probs = predict_probabilities(model, train.images[member.val_rows], transforms)
    test_probs = predict_probabilities(model, test.images, transforms)
    epochs = [dict(zip(history, values, strict=True)) for values in zip(*history.values(), strict=True)]
    correct = val_probs[TTA].argmax(1) == labels[member.val_rows]
    facts = {
        "architecture": config.architecture,
        "seed": seed,
        "epochs": len(epochs),
        "steps": steps * len(epochs),
        "kept_epoch": stopping.kept_epoch,
        "accuracy": float(np.mean(correct)) if len(correct) else None,
        "training_seconds": round(trained - started, 1),
        "seconds": round(time.perf_counter() - started, 1),
        "data_source": train.source,
        "data_sha256": train.sha256,
    }
    return MemberResult(val_probs, test_probs, model.get_weights(), epochs, facts)


def compiled_model(config: Config, setup: Setup, steps: int) -> keras.Model:
    """A model with its loss and optimizer.

    Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon/) orthogonalizes the update of each weight matrix: 16
    epochs reduce the training loss as far as 24 of Adam. Gains, biases and the layer `logits` are updated by Adam, at
    0.4 of the learning rate. By default the learning rate rises and falls linearly ("slanted triangular", Howard and
    Ruder 2018); because it ends at zero, the last weights are the good ones.

    Args:
        config: the settings.
        setup: whether steps are compiled by XLA.
        steps: of an epoch.
    """
    if config.schedule == "triangle":
        rate = Triangle(config.learning_rate, config.warmup, steps * config.epochs)
    else:
        rate = keras.optimizers.schedules.ExponentialDecay(config.learning_rate, steps, config.decay, staircase=True)
    if config.optimizer == "adam":
        optimizer = keras.optimizers.Adam(rate)
    else:
        optimizer = keras.optimizers.Muon(
            rate,
            exclude_layers=["logits"],
            adam_lr_ratio=0.4,
            adam_beta_2=0.99,
            weight_decay=None,
            adam_weight_decay=None,
        )
    model = build_model(config)
    model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=config.label_smoothing),
        metrics=["accuracy"],
        jit_compile=setup.jit_compile,
    )
    return model


def failure(result: MemberResult) -> str | None:
    """The reason why training failed, else None.

    It failed where a loss or a probability is not finite, or where after ENOUGH_STEPS most predictions are wrong, both
    of the training and of the early-stopping rows. By chance a tenth would be correct.
    """
    losses = [epoch["loss"] for epoch in result.history] + [epoch["val_loss"] for epoch in result.history]
    if not (np.isfinite(losses).all() and np.isfinite(result.val_probs).all() and np.isfinite(result.test_probs).all()):
        return "a loss that is not finite"
    kept = result.history[result.facts["kept_epoch"] - 1]
    accuracy = max(kept["accuracy"], kept["val_accuracy"])
    if result.facts["steps"] >= ENOUGH_STEPS and accuracy < 0.3:
        return f"accuracy {accuracy:.2f} on its training rows after {result.facts['steps']} steps"
    return None


class Triangle(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that rises linearly from 0 to `peak` over a fraction of the steps, and falls linearly to 0.

    Args:
        peak: the highest learning rate.
        warmup: the fraction.
        steps: of the whole training.

    Examples:
        >>> rate = Triangle(peak=1.0, warmup=0.5, steps=4)
        >>> [float(rate(step)) for step in range(4)]
        [0.25, 0.75, 0.75, 0.25]
    """

    def __init__(self, peak: float, warmup: float, steps: int):
        self.peak, self.warmup, self.steps = peak, warmup, steps

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step, counted from 0."""
        done = (keras.ops.cast(step, "float32") + 0.5) / self.steps
        rising = done / max(self.warmup, 1e-6)
        falling = (1 - done) / max(1 - self.warmup, 1e-6)
        return self.peak * keras.ops.maximum(0.0, keras.ops.minimum(rising, falling))

    def get_config(self) -> dict:
        """The arguments, for serialization."""
        return {"peak": self.peak, "warmup": self.warmup, "steps": self.steps}


def augmented_batches(
    config: Config, seed: int, images: np.ndarray, targets: np.ndarray, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of augmented images, shuffled in each epoch; a thread augments the next epoch ahead of time.

    Args:
        config: batch size, epochs and augmentation.
        seed: of the order and the augmentation.
        images: uint8 array (n, 28, 28, 1), all images.
        targets: float32 array (n, 10), all labels one-hot.
        rows: the training rows among them.

    Yields:
        (images uint8 (batch_size, 28, 28, 1), targets float32 (batch_size, 10)). Rows that do not fill a batch are left
        out of the epoch.
    """
    augmenter = Augmenter(config, seed)

    def augmented_epoch(epoch: int) -> tuple[np.ndarray, np.ndarray]:
        order = np.random.default_rng([seed, epoch, 1]).permutation(rows)
        return order, augmenter(images, order, epoch)

    size = min(config.batch_size, len(rows))
    with ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(augmented_epoch, 0)
        for epoch in range(config.epochs):
            order, augmented = upcoming.result()
            if epoch + 1 < config.epochs:
                upcoming = ahead.submit(augmented_epoch, epoch + 1)
            for start in range(0, len(order) - size + 1, size):
                yield augmented[start : start + size], targets[order[start : start + size]]


def predict_probabilities(
    model: keras.Model, images: np.ndarray, transforms: Sequence[Callable[[np.ndarray], np.ndarray]] = ()
) -> np.ndarray:
    """Probabilities of plain images, and by test-time augmentation (TTA).

    Args:
        model: keras.Model with logits as output.
        images: uint8 array (n, 28, 28, 1).
        transforms: of TTA, see `tta_transforms`; none: the second half of the result repeats the first.

    Returns:
        float32 array (2, n, 10); indices PLAIN and TTA of the first axis.
    """
    if not len(images):  # a refit member has no validation rows
        return np.empty((2, 0, 10), np.float32)

    def probabilities(images: np.ndarray) -> np.ndarray:
        return np.asarray(keras.ops.softmax(predict_logits(model, images)), np.float32)

    probs = np.stack([probabilities(images), *(probabilities(transform(images)) for transform in transforms)])
    return np.stack([probs[0], average_predictions(probs)])
