"""What a recipe decides, in one flat dataclass, and the named recipes.

How a process computes (threads, precision) changes results in the last bits, too, but is the machine's: `device.py`.
"""

import ast
import functools
import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from competition.errors import CompetitionError, one_line

MNIST = ("mnist-keras", "mnist-csv")  # the public 70,000, which hold the test labels: for the baselines alone
PROTOCOL = ("folds", "repeats", "holdout")
ARCHITECTURES = ("pooled", "fine", "normalized", "residual", "lenet", "shallow", "dense", "reference")  # in models.py
PLAIN, TTA = 0, 1  # first axis of every array of predictions: of the images as they are, and by test-time augmentation


def number(default: int | float, low: int | float, high: int | float, description: str) -> Any:
    """A setting that lies in a range, both bounds included."""
    return Field(default, ge=low, le=high, description=description)


def choice(default: str, names: tuple[str, ...], description: str, several: bool = False) -> Any:
    """A setting that is one of some names, or several of them separated by commas."""
    name = f"({'|'.join(names)})"
    pattern = f"^{name}(,{name})*$" if several else f"^{name}$"
    return Field(
        default, pattern=pattern, description=description, json_schema_extra={"rule": f"is one of {', '.join(names)}"}
    )


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Config:
    """The settings of a run. Every field is also a command-line flag (`--epochs 20`).

    Raises:
        CompetitionError: a field is unknown, of the wrong type or outside its range.
    """

    recipe: str = Field(default="fast", description="name under which runs and records are listed")
    seed: int = number(0, 0, 2**31 - 1, "random seed of folds, weights, order and augmentation")

    # Validation
    folds: int = number(6, 1, 100, "stratified folds, a member for each; 1: random splits instead")
    repeats: int = number(1, 1, 100, "rounds of cross-validation, each with new folds or splits and new members")
    refit: int = number(0, 0, 100, "additional members fit on all rows, submitted with those of the folds, which score")
    holdout: float = number(1 / 7, 0.001, 0.9, "with --folds 1: fraction of the rows that validate a member")
    early_stopping_fraction: float = number(
        0.03, 0.005, 0.5, "fraction of a member's training rows set aside for early stopping"
    )
    patience: int = number(
        5, 0, 10_000, "epochs significantly worse than the best before training stops; 0: never, the last weights count"
    )

    # Model
    architecture: str = choice(
        "pooled", ARCHITECTURES, "network of models.py; several by commas: the repeats take them in turn", several=True
    )
    width: float = number(1.0, 0.125, 16, "factor on every layer's channels")
    dropout: float = number(0.3, 0, 0.95, "dropout rate before the logits, and in hidden layers that have dropout")

    # Training
    epochs: int = number(19, 1, 10_000, "passes over the training rows, at most")
    batch_size: int = number(256, 1, 65_536, "images in a step of training")
    optimizer: str = choice(
        "muon", ("muon", "adam"), "muon: Muon for weight matrices, Adam for the rest; adam: Adam for all"
    )
    learning_rate: float = number(6e-3, 1e-7, 10, "learning rate at its peak")
    schedule: str = choice(
        "triangle", ("triangle", "exponential"), "linear to the peak and down to 0, or exponential decay from the peak"
    )
    warmup: float = number(0.15, 0, 1, "triangle: fraction of the training in which the learning rate rises")
    decay: float = number(0.95, 0.01, 1, "exponential: factor on the learning rate after each epoch; 1: constant")
    label_smoothing: float = number(0.1, 0, 0.9, "label smoothing, the probability spread over all ten digits")

    # Augmentation, uniform in the ranges, drawn per group of eight images; the groups are new in each epoch
    rotation: float = number(12.0, 0, 180, "augmentation: rotation, degrees either way")
    scale: float = number(0.10, 0, 0.9, "augmentation: scale of each axis, fraction smaller or larger")
    shift: float = number(2.0, 0, 27, "augmentation: shift along each axis, pixels either way")
    shear: float = number(8.0, 0, 45, "augmentation: shear of each axis, degrees either way")
    augment: str = Field(
        default="",
        description="augmentation: transforms of albumentations, after those above; empty: none",
        json_schema_extra={"rule": "is like Morphological(operation='dilation', p=0.2); Perspective(scale=0.05)"},
    )

    # Prediction
    tta: float = number(
        0.5, 0, 1, "test-time augmentation: besides the image eight transforms, by this part of those ranges; 0: none"
    )

    @field_validator("augment")
    @classmethod
    def _augment_checked(cls, text):
        _check_transforms(text)
        return text

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, values, check):
        try:
            return check(values)
        except ValidationError as errors:
            raise _refusal(errors.errors()[0]) from None

    def of_repeat(self, repeat: int) -> "Config":
        """The settings of the members of one repeat, 0 the first: its own architecture alone."""
        names = self.architecture.split(",")
        return replace(self, architecture=names[repeat % len(names)])

    @property
    def submitted(self) -> int:
        """Which of the two kinds of predictions is submitted and scored: TTA, or PLAIN where the recipe has none."""
        return TTA if self.tta else PLAIN

    @property
    def members(self) -> int:
        """How many networks a run trains."""
        return self.folds * self.repeats + self.refit


FIELDS: dict[str, FieldInfo] = vars(Config)["__pydantic_fields__"]  # of each setting: type, default, range, meaning


def _refusal(error: Mapping[str, Any]) -> CompetitionError:
    """The first problem that pydantic found, in one line."""
    name, received = str((*error["loc"], "")[0]), error["input"]  # the place is empty where a name is not a string
    field = FIELDS.get(name)
    if field is None:
        return CompetitionError(
            f"A setting is a flag of `train`. Received: {name!r}. Next: `make train ARGS=--help` lists them."
        )
    if error["type"].endswith("_type"):
        return CompetitionError(f"{name} is of type {type(field.default).__name__}. Received: {received!r}.")
    rule = values_of(name)
    following = field.default if field.annotation is str else "with a value in that range"
    return CompetitionError(f"{name} {rule}. Received: {received!r}. Next: --{name.replace('_', '-')} {following}.")


def values_of(name: str) -> str:
    """Which values a setting takes, as a predicate: `lies between 0 and 1`."""
    field = FIELDS[name]
    if isinstance(field.json_schema_extra, dict):
        return str(field.json_schema_extra["rule"])
    low, high = (next(getattr(m, bound) for m in field.metadata if hasattr(m, bound)) for bound in ("ge", "le"))
    return f"lies between {low} and {high}"


def transforms_of(text: str) -> list:
    """The transforms of albumentations that a text names, as `augment` takes it.

    The text is read as Python's syntax and never evaluated: names of transforms, and literals as their arguments.

    Args:
        text: `Name(argument=literal, …)`, several separated by `;`.

    Raises:
        CompetitionError: an unknown name or argument, or a transform that changes the shape or dtype of uint8 images
            (28, 28, 1).
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask PyPI for its newest version at every import
    import albumentations as A
    import numpy as np

    images = np.arange(8 * 28 * 28, dtype=np.uint8).reshape(8, 28, 28, 1)  # the augmenter applies it to eight at once

    def transform_of(statement):
        if not (isinstance(statement, ast.Expr) and isinstance(call := statement.value, ast.Call)) or call.args:
            raise ValueError("not of the form Name(argument=literal)")
        kind = getattr(A, name := ast.unparse(call.func).removeprefix("A."), None)
        if not (isinstance(kind, type) and issubclass(kind, A.BasicTransform)):
            raise ValueError(f"{name} is no transform of albumentations {A.__version__}")
        arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
        always = A.Compose([kind(**{**arguments, "p": 1.0})], seed=0)
        for made in (always(images=images)["images"] for _ in range(4)):
            if not (isinstance(made, np.ndarray) and made.shape == images.shape and made.dtype == images.dtype):
                raise ValueError(f"{name} returns {getattr(made, 'dtype', '')} {getattr(made, 'shape', '')[1:]}")
        return kind(**arguments)

    try:
        with warnings.catch_warnings(action="error", category=UserWarning):  # as of an unknown argument
            return [transform_of(statement) for statement in ast.parse(text.strip()).body]
    except Exception as error:  # whatever a transform raises for such arguments
        raise CompetitionError(
            "augment names transforms of albumentations that turn uint8 images of 28×28×1 into such images. "
            f'Received: {text!r}: {one_line(error)}. Next: --augment "Perspective(scale=0.05, p=0.5)".'
        ) from None


@functools.cache
def _check_transforms(text: str) -> None:
    if text:
        transforms_of(text)


# Systems that others described, in their ways: one learning rate, Keras's Adam; and where nothing else is set below,
# pictures as they are and the last weights. What the descriptions leave open is chosen to be quick.
BASELINE = Config(
    patience=0, early_stopping_fraction=0.05, dropout=0, epochs=10, batch_size=64, optimizer="adam", learning_rate=1e-3,
    label_smoothing=0, schedule="exponential", decay=1, rotation=0, scale=0, shift=0, shear=0, tta=0,
)  # fmt: skip
README_CNN = replace(BASELINE, recipe="readme-cnn", architecture="lenet", patience=3)
JITTERED = replace(BASELINE, rotation=10, scale=0.1, shift=2.8)  # degrees, fraction, a tenth of the picture in pixels
BASELINES = {
    baseline.recipe: baseline
    for baseline in (
        README_CNN,
        replace(README_CNN, recipe="dropout-cnn", dropout=0.5),
        replace(BASELINE, recipe="kaggle-cnn", architecture="shallow", dropout=0.5, batch_size=32),
        replace(JITTERED, recipe="mlp", architecture="dense", dropout=0.2),
        replace(BASELINE, recipe="dense-10", architecture="dense"),
        # What most Kaggle notebooks do: two convolutions, dropout, ImageDataGenerator's ranges, a tenth held out
        replace(JITTERED, recipe="notebook-cnn", architecture="lenet", dropout=0.5, epochs=30, holdout=0.1),
    )
}
# The best honest public recipe: 15 nets, each on a random 90 % of train.csv; 0.99757 on the leaderboard
REFERENCE = replace(
    JITTERED, recipe="reference", architecture="reference", dropout=0.4, folds=1, repeats=15, holdout=0.1,
    early_stopping_fraction=0.005, epochs=45, decay=0.95,
)  # fmt: skip

RECIPES = {
    recipe.recipe: recipe
    for recipe in (
        # make train RECIPE=fast: 18 min 45 s on 2 slow bfloat16 cores, out-of-fold 0.99600, predicted 0.99642
        Config(recipe="fast", refit=2),
        # make train RECIPE=best: 43 min 30 s on 2 slow bfloat16 cores, out-of-fold 0.99600, predicted 0.99661
        Config(recipe="best", architecture="residual", epochs=11, refit=6),
        # make train, without data: 1 min 45 s on 2 slow cores, out-of-fold 0.99250, of the sample's test 0.99300
        Config(recipe="quick", folds=4, epochs=20, batch_size=128, learning_rate=8e-3, early_stopping_fraction=0.05),
        *BASELINES.values(),
        REFERENCE,
    )
}


def choose_config(recipe: str | None, source: str, settings: dict) -> Config:
    """A recipe with some of its settings replaced.

    Args:
        recipe: a name in RECIPES, or None for the one that suits the data.
        source: of the data: `sample` or another.
        settings: fields of Config and their values; None leaves the recipe's.

    Raises:
        CompetitionError: a setting is out of range, or a recipe of ours would see MNIST's test digits.
    """
    chosen = RECIPES[recipe or ("quick" if source == "sample" else "fast")]
    config = replace(chosen, **{name: value for name, value in settings.items() if value is not None})
    if source in MNIST:
        names = [*BASELINES, REFERENCE.recipe]
        described = replace(config, **{name: getattr(chosen, name) for name in ("seed", "epochs", *PROTOCOL)})
        if chosen.recipe not in names or described != chosen:
            raise CompetitionError(
                f"Nothing of ours is trained, tuned or chosen on {source} data, which holds the competition's answers: "
                f"it takes {', '.join(names)} as they are. Received: "
                f"{chosen.recipe}{' with other settings' if chosen.recipe in names else ''}. "
                f"Next: --recipe {names[0]}, or --source kaggle."
            )
    return config
