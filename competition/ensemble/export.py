"""A member of a run as a Keras model, the file that a run exports, and predictions by such a file."""

from pathlib import Path

import numpy as np

from competition.ensemble.folds import member_settings, members_of, submitted_members
from competition.errors import CompetitionError, one_line
from competition.network.device import Setup, prepare
from competition.network.models import build_model
from competition.network.saved_model import read_model, write_model
from competition.network.training import predict_probabilities
from competition.runs.run import Run


def load_model(run: Run, name: str):
    """A member as it was when its training ended; a keras.Model with logits as output.

    Raises:
        CompetitionError: it is missing or damaged, or was built by another version of the package.
    """
    result = run.load_member(name)
    model = build_model(member_settings(run.config)[name])
    try:
        model.set_weights(result.weights)
    except ValueError as error:
        raise CompetitionError(
            f"{run.path} must hold the member {name} of this version. Received: {one_line(error, 120)}. "
            "Next: `make train NEW=1`."
        ) from None
    return model


def export_model(run: Run, suffix: str = ".keras") -> Path:
    """Write model.keras: the member that was best on its own early-stopping slice, as an ordinary Keras model.

    It takes (n, 28, 28, 1) pixels 0…255 and gives (n, 10) probabilities, computes in float32 and loads with
    `keras.models.load_model` where this package is not installed.

    Args:
        suffix: `.keras`, or `.h5` for the legacy format.

    Returns:
        The file.
    """
    prepare(Setup("float32", False, 1), seed=0)  # one thread, as members: all of them change the process
    best = max(submitted_members(run.config, members_of(run)), key=lambda name: _slice_score(run, name))
    return write_model(load_model(run, best), run.path / f"model{suffix}")


def probabilities_of_file(path: Path, images) -> np.ndarray:
    """What a saved model says, as float32 array (n, 10); `saved_model` tells which files it reads.

    Raises:
        CompetitionError: it is none of this package's networks.
    """
    prepare(Setup("float32", False, 0), seed=0)
    return predict_probabilities(read_model(path), images)[0]


def _slice_score(run: Run, name: str) -> tuple[float, float]:
    """Accuracy, then loss, on the slice that stopped the member, at the epoch whose weights were kept."""
    result = run.load_member(name)
    kept = result.history[result.facts["kept_epoch"] - 1]
    return float(kept["val_accuracy"]), -float(kept["val_loss"])
