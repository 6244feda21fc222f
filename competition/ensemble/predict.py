"""A finished run labels new digits: its own members, rebuilt from the config and filled with their weights."""

import csv
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from competition.data import shift as pixels
from competition.data.dataset import load_dataset_of
from competition.data.digits import read_unlabelled
from competition.data.pictures import read_picture
from competition.ensemble.export import load_model, probabilities_of_file
from competition.ensemble.folds import member_settings, members_of, submitted_members
from competition.ensemble.neighbours import RARE, Neighbours
from competition.ensemble.scoring import rows_predicted
from competition.ensemble.shift import compare_predictions
from competition.errors import CompetitionError
from competition.network.augmentation import tta_transforms
from competition.network.device import PRECISIONS, choose_setup, prepare
from competition.network.models import StackedNetworks
from competition.runs.folders import Folders
from competition.runs.run import Run, find_run

TABLES = (".csv", ".gz", ".bz2", ".xz", ".zip")  # what else is given is taken for a picture
TOGETHER = 60  # pictures that go through all members at once, in all their views


def print_predictions(folders: Folders, name: str | None, paths: list[Path], model: Path | None = None) -> None:
    """Print a CSV line for each digit: where from, label, its probability, all ten, and a remark.

    The remark is `unlike training` when no training digit is as near as nearly all test digits have one, and
    `unsure` when the label is less probable than nearly all out-of-fold labels were.

    Args:
        name: of the run; None takes the newest complete one.
        paths: PNG or JPEG pictures of single digits, or files in test.csv's format, see `read_unlabelled`.
        model: a .keras or .h5 file in place of a run; it makes no remarks.

    Raises:
        CompetitionError: a file cannot be used; nothing is printed then.
    """
    names, images, given = [], [], []
    for path in paths:
        if path.suffix.lower() in TABLES:
            table, labels = read_unlabelled(path)
            if labels is not None:
                given.append((path, slice(len(names), len(names) + len(table)), labels))
            names += [f"{path}:{row}" for row in range(1, len(table) + 1)]
            images.append(table)
        else:
            names.append(str(path))
            images.append(read_picture(path)[None])
    images = np.concatenate(images)
    if model:
        probabilities = probabilities_of_file(model, images)
        unlike = unsure = np.zeros(len(images), bool)
    else:
        run = find_run(folders, name)
        probabilities = probabilities_of(run, images)
        unlike = unlike_training(folders, run, images)
        unsure = probabilities.max(axis=1) < doubt_limit(run)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["picture", "label", "probability", *(f"p{digit}" for digit in range(10)), "remark"])
    for i, name in enumerate(names):
        label = probabilities[i].argmax()
        numbers = [f"{p:.4f}" for p in (probabilities[i, label], *probabilities[i])]
        writer.writerow([name, label, *numbers, "; ".join(remarks(unlike[i], unsure[i]))])
    for path, rows, labels in given:
        right = int((probabilities[rows].argmax(axis=1) == labels).sum())
        print(f"{path}: {right:,} of {len(labels):,} predictions agree with its labels.", file=sys.stderr)
    if not model and (differences := differences_of(folders, run, images, probabilities)):
        print(
            f"As a whole these {len(images)} digits are not like those that the run learned from: its scores don't "
            f"hold for them: {differences}.",
            file=sys.stderr,
        )


def remarks(unlike: bool, unsure: bool) -> list[str]:
    """What is said beside a label, see `print_predictions`."""
    return [remark for remark, said in (("unlike training", unlike), ("unsure", unsure)) if said]


class Ensemble:
    """The members of a run, or of a blend's parents, rebuilt once to be asked often.

    Attributes:
        members: their names, of a blend's with their runs'.

    Raises:
        CompetitionError: a member is missing or damaged.
    """

    def __init__(self, run: Run):
        asked = _asked(run)
        self._parts = [_side_by_side(one, names) for one, names in asked]
        self.members = [name if one is run else f"{one.name}/{name}" for one, names in asked for name in names]

    def ask(self, images) -> tuple[np.ndarray, np.ndarray]:
        """What the whole ensemble says, and each of its members.

        Args:
            images: uint8 array (n, 28, 28, 1), 0 is paper.

        Returns:
            float32 arrays (n, 10), for the images of test.csv what the run's probabilities.npz holds, and
            (members, n, 10).
        """
        said = [_ask(network, views, images) for network, views in self._parts]
        whole = np.mean([part.mean(axis=0, dtype=float) for part in said], axis=0)
        return whole.astype(np.float32), np.concatenate(said)


def probabilities_of(run: Run, images) -> np.ndarray:
    """What the whole ensemble says, see `Ensemble.ask`: float32 array (n, 10)."""
    return Ensemble(run).ask(images)[0]


def _asked(run: Run) -> list[tuple[Run, list[str]]]:
    """The run, or a blend's parents, and which of their members: of parents those of then, as they may have gone on."""
    parents = [(type(run)(run.path.parent / Path(told["run"]).name), told) for told in run.manifest.get("parents", [])]
    asked = []
    for parent, record in parents:
        names = [name for name in member_settings(parent.config) if name in record["members"]]
        asked.append((parent, submitted_members(parent.config, names)))
    for one, names in asked:
        if not names:
            raise CompetitionError(
                f"{run.path}/manifest.json must name members of {one.name}. Received: none. Next: `make blend`."
            )
    return asked or [(run, submitted_members(run.config, members_of(run)))]


def _side_by_side(run: Run, names: list[str]) -> tuple[StackedNetworks, list]:
    """Those members of one run, as one network, and the views that they are asked about."""
    prepare_for(run)
    return StackedNetworks([load_model(run, name) for name in names]), tta_transforms(run.config) or [np.asarray]


def prepare_for(run: Run) -> None:
    """Make this process compute as the run's members did.

    Raises:
        CompetitionError: the run names no precision.
    """
    precision = run.manifest["identity"]["precision"]
    if precision not in PRECISIONS:
        raise CompetitionError(
            f"{run.path}/manifest.json must name a precision. Received: {precision}. Next: `make train NEW=1`."
        )
    prepare(choose_setup(precision), seed=0)


def _ask(network: StackedNetworks, views: list, images) -> np.ndarray:
    """Float32 array (members, n, 10): the mean over the views, all of which go through the network at once."""
    said = []
    for start in range(0, len(images), TOGETHER):
        few = images[start : start + TOGETHER]
        seen = network.predict_on_batch(np.concatenate([view(few) for view in views]))
        said.append(seen.reshape(len(views), len(few), *seen.shape[1:]).mean(axis=0))
    return np.concatenate(said).swapaxes(0, 1)


def unlike_training(folders: Folders, run: Run, images) -> np.ndarray:
    """Which images are farther from every training digit than all but RARE of the test digits are.

    Args:
        images: uint8 array (n, 28, 28, 1).

    Returns:
        bool array (n,); all False, which is said, where the run's data is not at hand.
    """
    try:
        known = Neighbours(load_dataset_of(folders, run.manifest))
    except CompetitionError as error:
        print(f"Whether pictures are like the training digits is not known: {error}", file=sys.stderr)
        return np.zeros(len(images), bool)
    return known.distances(images) > known.limit


def differences_of(folders: Folders, run: Run, images, probabilities) -> str:
    """How a batch differs from the run's training images and test predictions, in words; empty where it does not.

    Args:
        images, probabilities: uint8 array (n, 28, 28, 1) and the ensemble's float array (n, 10).
    """
    tests = []
    with suppress(CompetitionError):  # the data is not at hand, as `unlike_training` says
        tests += pixels.compare_pixels(load_dataset_of(folders, run.manifest).train.images, images)
    if not (run.scores.get("shift") or {}).get("alarm"):
        tests += compare_predictions(run.probabilities()[1][run.config.submitted], probabilities)
    return pixels.in_words(tests)


def doubt_limit(run: Run) -> float:
    """The probability that all but RARE of the out-of-fold labels exceeded."""
    out_of_fold = run.probabilities()[0][run.config.submitted]
    return float(np.quantile(out_of_fold[rows_predicted(out_of_fold)].max(axis=1), RARE))
