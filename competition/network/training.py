"""Train one member of the ensemble, with early stopping, and ask it about the rows it never saw."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from competition.config import TTA, Config
from competition.data.digits import Digits
from competition.network.augmentation import Augmenter, tta_transforms
from competition.network.calibration import calibrate
from competition.network.device import Setup, feed, keras, prepare
from competition.network.early_stopping import EarlyStopping, predict_logits
from competition.network.member import Member, early_stopping_split
from competition.network.models import build_model
from competition.runs.checkpoint import MemberResult

ENOUGH_STEPS = 200  # of training: the small nets here read nine of ten digits by then


def fit_member(
    member: Member,
    seed: int,
    setup: Setup,
    train: Digits,
    test: Digits,
    report: Callable[[dict], None] = lambda logs: None,
    tensorboard: Path | None = None,
) -> MemberResult:
    """Train one network and predict its unseen rows and the test rows.

    Early stopping watches a slice of the member's own training rows; the unseen rows choose nothing.

    Args:
        seed: weights, order and augmentation follow from it; the member's own, or another where that failed.
        test: their pixels alone are used.
        report: called with Keras's logs after every epoch.
        tensorboard: folder for TensorBoard's logs; None writes none.
    """
    started = time.perf_counter()
    prepare(setup, seed)
    config, asked = member.config, member.val_rows
    taught, watched = early_stopping_split(train.labels, member.train_rows, config.early_stopping_fraction, seed)
    targets = np.eye(10, dtype=np.float32)[train.labels]
    steps = max(1, len(taught) // config.batch_size)

    model = compiled_model(config, setup, steps)
    stopping = EarlyStopping(train.images[watched], train.labels[watched], config.patience, config.label_smoothing)
    history = model.fit(
        feed(augmented_batches(config, seed, train.images, targets, taught)),
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
    views = tta_transforms(config)
    if config.label_smoothing:
        seen = [view(train.images[watched]) for view in views or [np.asarray]]
        calibrate(model, train.labels[watched], np.stack([predict_logits(model, images) for images in seen]))
    trained = time.perf_counter()
    out_of_fold = predict_probabilities(model, train.images[asked], views)
    tested = predict_probabilities(model, test.images, views)
    epochs = [dict(zip(history, values, strict=True)) for values in zip(*history.values(), strict=True)]
    facts = {
        "architecture": config.architecture,
        "seed": seed,
        "epochs": len(epochs),
        "steps": steps * len(epochs),
        "kept_epoch": stopping.kept_epoch,
        "accuracy": float(np.mean(out_of_fold[TTA].argmax(1) == train.labels[asked])) if len(asked) else None,
        "training_seconds": round(trained - started, 1),
        "seconds": round(time.perf_counter() - started, 1),
        "data_source": train.source,
        "data_sha256": train.sha256,
    }
    return MemberResult(out_of_fold, tested, model.get_weights(), epochs, facts)


def compiled_model(config: Config, setup: Setup, steps: int) -> keras.Model:
    """The model with its loss and optimizer.

    Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon/) makes every step of a weight matrix
    orthogonal: 16 epochs of it bring the training loss as far down as 24 of Adam. Gains, biases and logits
    are Adam's, at 0.4 of the rate. By default the learning rate climbs and falls linearly ("slanted
    triangle", Howard and Ruder 2018); falling to zero makes the last weights the good ones.
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
    """Why a member is none; None where it learned.

    It has learned nothing when, after steps enough for any net, it reads most of its own rows wrongly: both the
    augmented ones and those watched. By chance a tenth would be right.
    """
    losses = [epoch["loss"] for epoch in result.history] + [epoch["val_loss"] for epoch in result.history]
    if not (np.isfinite(losses).all() and np.isfinite(result.val_probs).all() and np.isfinite(result.test_probs).all()):
        return "a loss that is no number"
    kept = result.history[result.facts["kept_epoch"] - 1]
    right = max(kept["accuracy"], kept["val_accuracy"])
    if result.facts["steps"] >= ENOUGH_STEPS and right < 0.3:
        return f"accuracy {right:.2f} on its own rows after {result.facts['steps']} steps"
    return None


class Triangle(keras.optimizers.schedules.LearningRateSchedule):
    """Linear from 0 to `peak` in the first `warmup` of `steps`, then linear to 0."""

    def __init__(self, peak: float, warmup: float, steps: int):
        self.peak, self.warmup, self.steps = peak, warmup, steps

    def __call__(self, step):
        """The learning rate of a step."""
        done = (keras.ops.cast(step, "float32") + 0.5) / self.steps
        rising = done / max(self.warmup, 1e-6)
        falling = (1 - done) / max(1 - self.warmup, 1e-6)
        return self.peak * keras.ops.maximum(0.0, keras.ops.minimum(rising, falling))

    def get_config(self) -> dict:
        """The arguments, for Keras's serialization."""
        return {"peak": self.peak, "warmup": self.warmup, "steps": self.steps}


def augmented_batches(config: Config, seed: int, images, targets, rows) -> Iterator:
    """Batches of augmented images, every epoch in another order; the next epoch is drawn meanwhile.

    Yields:
        (images uint8 (batch_size, 28, 28, 1), targets float32 (batch_size, 10)). Rows that fill no batch
        wait for the next epoch's order.
    """
    augmenter = Augmenter(config, seed)

    def draw(epoch):
        order = np.random.default_rng([seed, epoch, 1]).permutation(rows)
        return order, augmenter(images, order, epoch)

    size = min(config.batch_size, len(rows))
    with ThreadPoolExecutor(1) as ahead:
        drawn = ahead.submit(draw, 0)
        for epoch in range(config.epochs):
            order, augmented = drawn.result()
            if epoch + 1 < config.epochs:
                drawn = ahead.submit(draw, epoch + 1)
            for start in range(0, len(order) - size + 1, size):
                yield augmented[start : start + size], targets[order[start : start + size]]


def predict_probabilities(model: keras.Model, images, views=()) -> np.ndarray:
    """Probabilities of the images as they are, and averaged over views of them.

    Args:
        images: uint8 array (n, 28, 28, 1).
        views: functions that draw one of them for all images, see `tta_transforms`; without any, the images are it.

    Returns:
        float32 array (2, n, 10).
    """
    if not len(images):  # a refit member has no validation rows
        return np.empty((2, 0, 10), np.float32)

    def probabilities(seen):
        return np.asarray(keras.ops.softmax(predict_logits(model, seen)), np.float32)

    plain = probabilities(images)
    return np.stack([plain, np.mean([probabilities(view(images)) for view in views], axis=0) if views else plain])
