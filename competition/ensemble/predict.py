"""A finished run labels new digits: its own members, rebuilt from the config and filled with their weights."""

import csv
import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import pairwise_distances_argmin_min

from competition.data.dataset import load_dataset_of
from competition.data.digits import read_digits
from competition.data.pictures import read_picture
from competition.ensemble.folds import member_settings
from competition.ensemble.scoring import judged
from competition.errors import CompetitionError, one_line
from competition.network.augmentation import tta_views
from competition.network.device import PRECISIONS, Setup, choose_setup, prepare
from competition.network.models import build_model
from competition.network.saved_model import read_model, write_model
from competition.network.training import predict_probabilities
from competition.runs.folders import Folders
from competition.runs.run import Run, find_run

TABLES = (".csv", ".gz", ".zip")  # what else is given is taken for a picture
RARE = 0.01  # of the competition's own digits are called unlike, or unsure


def print_predictions(folders: Folders, name: str | None, paths: list[Path], model: Path | None = None) -> None:
    """Print a CSV line for each digit: where from, label, its probability, all ten, and a remark.

    The remark is `unlike training` when no training digit is as near as nearly all test digits have one, and
    `unsure` when the label is less probable than nearly all out-of-fold labels were.

    Args:
        name: of the run; None takes the newest complete one.
        paths: PNG or JPEG pictures of single digits, or files in test.csv's format.
        model: a .keras or .h5 file in place of a run; it makes no remarks.

    Raises:
        CompetitionError: a file cannot be used; nothing is printed then.
    """
    names, images = [], []
    for path in paths:
        if path.suffix.lower() in TABLES:
            table = read_digits(path, labelled=False).images
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
        remarks = [remark for remark, said in (("unlike training", unlike[i]), ("unsure", unsure[i])) if said]
        label = probabilities[i].argmax()
        numbers = [f"{p:.4f}" for p in (probabilities[i, label], *probabilities[i])]
        writer.writerow([name, label, *numbers, "; ".join(remarks)])


def probabilities_of(run: Run, images) -> np.ndarray:
    """What the whole ensemble says.

    Args:
        images: uint8 array (n, 28, 28, 1), 0 is paper.

    Returns:
        float32 array (n, 10); for the images of test.csv what the run's probabilities.npz holds.

    Raises:
        CompetitionError: a member is missing or damaged.
    """
    if "parents" not in run.manifest:
        return _mean_of_members(run, images)
    parents = [Run(run.path.parent / Path(parent["run"]).name) for parent in run.manifest["parents"]]
    return np.mean([_mean_of_members(parent, images) for parent in parents], axis=0)  # run is a blend


def _mean_of_members(run: Run, images) -> np.ndarray:
    precision = run.manifest["identity"]["precision"]
    if precision not in PRECISIONS:
        raise CompetitionError(
            f"{run.path}/manifest.json must name a precision. Received: {precision}. Next: `make train NEW=1`."
        )
    prepare(choose_setup(precision), seed=0)
    views, variant = tta_views(run.config), run.config.variant
    names = member_settings(run.config)
    total = sum(predict_probabilities(load_model(run, name), images, views)[variant].astype(float) for name in names)
    return (total / len(names)).astype(np.float32)


def probabilities_of_file(path: Path, images) -> np.ndarray:
    """What a saved model says, as float32 array (n, 10); `saved_model` tells which files it reads.

    Raises:
        CompetitionError: it is none of this package's networks.
    """
    prepare(Setup("float32", False, 0), seed=0)
    return predict_probabilities(read_model(path), images)[0]


def load_model(run: Run, name: str):
    """A member as it was when its training ended; a keras.Model with logits as output.

    Raises:
        CompetitionError: it is missing or damaged, or was built by another version of the package.
    """
    result = run.load_member(name)
    model = build_model(member_settings(run.config)[name])
    try:
        model.set_weights(result.weights)
    except (AttributeError, ValueError) as error:
        said = "a damaged one" if result is None else one_line(error, 120)
        raise CompetitionError(
            f"{run.path} must hold the member {name} of this version. Received: {said}. Next: `make train NEW=1`."
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
    prepare(Setup("float32", False, 0), seed=0)
    best = max(member_settings(run.config), key=lambda name: _slice_score(run, name))
    return write_model(load_model(run, best), run.path / f"model{suffix}")


def unlike_training(folders: Folders, run: Run, images) -> np.ndarray:
    """Which images are farther from every training digit than all but RARE of the test digits are.

    Args:
        images: uint8 array (n, 28, 28, 1).

    Returns:
        bool array (n,); all False, which is said, where the run's data is not at hand.
    """
    try:
        dataset = load_dataset_of(folders, run.manifest)
    except CompetitionError as error:
        print(f"Whether pictures are like the training digits is not known: {error}", file=sys.stderr)
        return np.zeros(len(images), bool)
    known = _coarse(dataset.train.images)
    return _nearest(images, known) > np.quantile(_nearest(dataset.test.images[:2000], known), 1 - RARE)


def doubt_limit(run: Run) -> float:
    """The probability that all but RARE of the out-of-fold labels exceeded."""
    out_of_fold = run.probabilities()[0][run.config.variant]
    return float(np.quantile(out_of_fold[judged(out_of_fold)].max(axis=1), RARE))


def _slice_score(run: Run, name: str) -> tuple[float, float]:
    """Accuracy, then loss, on the slice that stopped the member, at the epoch whose weights were kept."""
    result = run.load_member(name)
    if result is None:
        return 0.0, 0.0
    kept = result.history[result.facts["kept_epoch"] - 1]
    return float(kept["val_accuracy"]), -float(kept["val_loss"])


def _coarse(images) -> np.ndarray:
    """Means of 2×2 pixels, 0…1, as float32 (n, 196): a stroke moved by a pixel stays near."""
    return np.asarray(images).reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4), dtype=np.float32).reshape(-1, 196) / 255


def _nearest(images, known) -> np.ndarray:
    """Squared distance of each image to the nearest of the known ones, (n,)."""
    return pairwise_distances_argmin_min(_coarse(images), known, metric="sqeuclidean")[1]
