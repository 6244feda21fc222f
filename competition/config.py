"""What a recipe decides, in one flat dataclass, and the named recipes.

How a process computes (threads, precision) changes bytes, too, but is the machine's: see `device.py`.
"""

from dataclasses import replace
from typing import Annotated

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from competition.errors import CompetitionError

MNIST = ("mnist-keras", "mnist-csv")  # sources of the public 70,000, which hold the answers: for the baselines alone
PROTOCOL = ("folds", "repeats", "holdout")
ARCHITECTURES = ("pooled", "fine", "normalized", "residual", "lenet", "shallow", "dense", "reference")  # in models.py


def whole(low: int, high: int):
    """The type of an int in that range, both bounds included."""
    return Annotated[int, Field(ge=low, le=high, description=f"lies between {low} and {high}")]


def real(low: float, high: float):
    """The type of a float in that range, both bounds included; an int becomes one."""
    return Annotated[float, Field(ge=low, le=high, description=f"lies between {low} and {high}")]


def one_of(*names: str, several: bool = False):
    """The type of a str that is one of those names, or several of them by commas."""
    name = f"({'|'.join(names)})"
    pattern = f"^{name}(,{name})*$" if several else f"^{name}$"
    return Annotated[str, Field(pattern=pattern, description=f"is one of {', '.join(names)}")]


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Config:
    """The settings of a run. Every field is also a command-line flag (`--epochs 20`).

    Raises:
        CompetitionError: a field is unknown, of the wrong type or outside its range.
    """

    recipe: str = "fast"  # the name under which runs and records are listed
    seed: whole(0, 2**31 - 1) = 0  # everything random follows from it

    # Validation
    folds: whole(1, 100) = 6  # each row is predicted by the members that never saw its fold; 1: a random split instead
    repeats: whole(1, 100) = 1  # new folds, or a new split, and new members each time
    holdout: real(0.001, 0.9) = 1 / 7  # of the rows, which a random split (folds 1) keeps from its member, to ask about
    stop_fraction: real(0.005, 0.5) = 0.03  # of a member's training rows, set aside to watch for the end
    patience: whole(0, 10_000) = 5  # epochs in a row clearly worse there than the best before training stops; 0: never

    # Model
    architecture: one_of(*ARCHITECTURES, several=True) = "pooled"  # several by commas: each repeat takes the next
    width: real(0.125, 16) = 1.0  # factor on every layer's channels
    dropout: real(0, 0.95) = 0.3  # of the last features, while training; of hidden ones too where a network says so

    # Training
    epochs: whole(1, 10_000) = 19
    batch_size: whole(1, 65_536) = 256  # images
    optimizer: one_of("muon", "adam") = "muon"  # adam as Keras has it
    learning_rate: real(1e-7, 10) = 6e-3  # at its peak
    schedule: one_of("triangle", "exponential") = "triangle"  # linear up to the peak, down to 0; or from the peak down
    warmup: real(0, 1) = 0.15  # triangle: fraction of the training that climbs to the peak
    decay: real(0.01, 1) = 0.95  # exponential: factor on the learning rate after each epoch; 1 keeps it constant
    label_smoothing: real(0, 0.9) = 0.1  # probability moved from the label to all ten digits

    # Augmentation, uniform in the range, drawn anew in each epoch for every eight images, other eight each time
    rotation: real(0, 180) = 12.0  # degrees, either way
    scale: real(0, 0.9) = 0.10  # fraction, smaller or larger, each axis by itself
    shift: real(0, 27) = 2.0  # pixels, either way, each axis by itself
    shear: real(0, 45) = 8.0  # degrees, either way, each axis by itself
    elastic: real(0, 1000) = 0.0  # strength of the elastic distortion (albumentations' alpha); 0 is off
    grid: real(0, 5) = 0.0  # pixels, by which the inner corners of a 4×4 grid move, either way, each axis by itself
    unmoved: real(0, 1) = 0.0  # share of the images that stay as they are

    # Prediction
    tta: real(0, 1) = 0.5  # test-time augmentation: the mean of eight views, moved by this part of those ranges; 0: off

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, values, check):
        try:
            return check(values)
        except ValidationError as errors:
            raise _refusal(errors.errors()[0]) from None

    def of_repeat(self, repeat: int) -> "Config":
        """The settings of one repeat's members, 0 the first: of the architectures theirs alone."""
        names = self.architecture.split(",")
        return replace(self, architecture=names[repeat % len(names)])

    @property
    def variant(self) -> int:
        """Which of two predictions is submitted: 0 of the images as they are, 1 averaged over their views."""
        return int(self.tta > 0)

    @property
    def members(self) -> int:
        """How many networks a run trains."""
        return self.folds * self.repeats


def _refusal(error: dict) -> CompetitionError:
    """What pydantic complains of, in one line."""
    name, received = (*error["loc"], "")[0], error["input"]  # of a name that is no text there is no place
    field = Config.__pydantic_fields__.get(name)
    if field is None:
        return CompetitionError(
            f"A setting is a flag of `train`. Received: {name!r}. Next: `make train ARGS=--help` lists them."
        )
    if error["type"].endswith("_type"):
        return CompetitionError(f"{name} is of type {field.annotation.__name__}. Received: {received!r}.")
    following = field.default if field.annotation is str else "with a value in that range"
    return CompetitionError(
        f"{name} {field.description}. Received: {received!r}. Next: --{name.replace('_', '-')} {following}."
    )


# Systems that others described, in their ways: one learning rate, Keras's Adam; and where nothing else is said below,
# pictures as they are and the last weights. What the descriptions leave open is chosen to be quick.
PLAIN = Config(
    patience=0, stop_fraction=0.05, dropout=0, epochs=10, batch_size=64, optimizer="adam", learning_rate=1e-3,
    label_smoothing=0, schedule="exponential", decay=1, rotation=0, scale=0, shift=0, shear=0, tta=0,
)  # fmt: skip
README_CNN = replace(PLAIN, recipe="readme-cnn", architecture="lenet", patience=3)
JITTER = {"rotation": 10, "scale": 0.1, "shift": 2.8}  # degrees, fraction, a tenth of the picture in pixels
BASELINES = {
    baseline.recipe: baseline
    for baseline in (
        README_CNN,
        replace(README_CNN, recipe="dropout-cnn", dropout=0.5),
        replace(PLAIN, recipe="kaggle-cnn", architecture="shallow", dropout=0.5, batch_size=32),
        replace(PLAIN, recipe="mlp", architecture="dense", dropout=0.2, **JITTER),
        replace(PLAIN, recipe="dense-10", architecture="dense"),
        # What most Kaggle notebooks do: two convolutions, dropout, ImageDataGenerator's ranges, a tenth held out
        replace(PLAIN, recipe="notebook-cnn", architecture="lenet", dropout=0.5, epochs=30, holdout=0.1, **JITTER),
    )
}
# The best honest public recipe: 15 nets, each on a random 90 % of train.csv; 0.99757 on the leaderboard
REFERENCE = replace(
    PLAIN, recipe="reference", architecture="reference", dropout=0.4, folds=1, repeats=15, holdout=0.1,
    stop_fraction=0.005, epochs=45, decay=0.95, **JITTER,
)  # fmt: skip

RECIPES = {
    recipe.recipe: recipe
    for recipe in (
        # make train RECIPE=fast: 8 min 17 s on 2 bfloat16 cores, out-of-fold 0.99598, predicted 0.99624
        Config(recipe="fast"),
        # make train RECIPE=best: 49 min on 2 bfloat16 cores, out-of-fold 0.99640, predicted 0.99654
        Config(recipe="best", width=2, repeats=2),
        # make train, without data: 1 min 1 s on 2 bfloat16 cores, out-of-fold 0.99233, of the sample's test 0.99300
        Config(
            recipe="quick",
            folds=4,
            epochs=20,
            batch_size=128,
            learning_rate=8e-3,
            stop_fraction=0.05,
        ),
        *BASELINES.values(),
        REFERENCE,
    )
}


def choose_config(recipe: str | None, source: str, settings: dict) -> Config:
    """A recipe with some settings of its own.

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
