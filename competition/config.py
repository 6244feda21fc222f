"""Everything that changes the answer, in one flat dataclass, and the named recipes.

Where the work runs (processes, threads, precision) is no part of it: see `device.py`.
"""

from dataclasses import dataclass, fields, replace

from competition.errors import CompetitionError


@dataclass(frozen=True)
class Config:
    """The settings of a run. Every field is also a command-line flag (`--epochs 20`).

    Raises:
        CompetitionError: a field has the wrong type or lies outside its range.
    """

    recipe: str = "fast"  # the name under which runs and records are listed
    seed: int = 0  # everything random follows from it

    # Validation
    folds: int = 6  # each row is predicted by the members that never saw its fold
    repeats: int = 1  # new folds and new members each time
    stop_fraction: float = 0.03  # of a member's training rows, set aside to watch for the end
    patience: int = 5  # epochs in a row clearly worse on those rows than the best before training stops

    # Model
    architecture: str = "pooled"  # a name in models.ARCHITECTURES
    width: float = 1.0  # factor on every layer's channels
    dropout: float = 0.3  # fraction of the last features, while training

    # Training
    epochs: int = 20
    batch_size: int = 256  # images
    learning_rate: float = 6e-3  # Muon's, at its peak; linear up to it, linear down to zero
    warmup: float = 0.15  # fraction of the training that climbs to the peak
    label_smoothing: float = 0.0  # probability moved from the label to all ten digits

    # Augmentation, drawn anew for each image in each epoch (uniform in the range)
    rotation: float = 12.0  # degrees, either way
    scale: float = 0.10  # fraction, smaller or larger, each axis by itself
    shift: float = 2.0  # pixels, either way, each axis by itself
    shear: float = 8.0  # degrees, either way, each axis by itself
    elastic: float = 0.0  # strength of the elastic distortion (albumentations' alpha); 0 is off

    # Prediction
    test_shift: int = 1  # pixels; predictions average the image and its four shifts; 0 is off

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            fits = isinstance(value, field.type) or (field.type is float and type(value) is int)
            if not fits or isinstance(value, bool):
                raise CompetitionError(f"{field.name} is of type {field.type.__name__}. Received: {value!r}.")
        if self.architecture not in ARCHITECTURES:
            raise CompetitionError(
                f"architecture is one of {', '.join(ARCHITECTURES)}. Received: {self.architecture}. "
                f"Next: --architecture {ARCHITECTURES[0]}."
            )
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise CompetitionError(
                    f"{name} lies between {low} and {high}. Received: {getattr(self, name)}. "
                    f"Next: --{name.replace('_', '-')} with a value in that range."
                )

    @property
    def members(self) -> int:
        """How many networks a run trains."""
        return self.folds * self.repeats


ARCHITECTURES = ("pooled",)  # models.py builds them
RANGES = {
    "seed": (0, 2**31 - 1),
    "folds": (2, 100),
    "repeats": (1, 100),
    "stop_fraction": (0.005, 0.5),
    "patience": (1, 10_000),
    "width": (0.125, 16),
    "dropout": (0, 0.95),
    "epochs": (1, 10_000),
    "batch_size": (1, 65_536),
    "learning_rate": (1e-7, 10),
    "warmup": (0, 1),
    "label_smoothing": (0, 0.9),
    "rotation": (0, 180),
    "scale": (0, 0.9),
    "shift": (0, 27),
    "shear": (0, 45),
    "elastic": (0, 1000),
    "test_shift": (0, 5),
}

RECIPES = {
    recipe.recipe: recipe
    for recipe in (
        # make train RECIPE=fast: MEASURE
        Config(recipe="fast"),
        # make train, without data: MEASURE
        replace(Config(), recipe="quick", folds=4, epochs=20, batch_size=64, stop_fraction=0.05),
    )
}


def choose_config(recipe: str | None, source: str, settings: dict) -> Config:
    """A recipe with some settings of its own.

    Args:
        recipe: a name in RECIPES, or None for the one that suits the data.
        source: of the data: `sample` or another.
        settings: fields of Config and their values; None leaves the recipe's.

    Raises:
        CompetitionError: a setting is out of range.
    """
    chosen = RECIPES[recipe or ("quick" if source == "sample" else "fast")]
    return replace(chosen, **{name: value for name, value in settings.items() if value is not None})
