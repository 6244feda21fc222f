"""A finished run labels the digits of pictures and tables, with remarks on the doubtful ones."""

import csv
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from competition.data import dataset_shift
from competition.data.dataset import Dataset, load_dataset_of
from competition.data.digits import read_unlabelled
from competition.data.mnist_format import Picture
from competition.data.pictures import pictures_in, read_picture
from competition.ensemble.export import probabilities_of_file
from competition.ensemble.neighbours import RARE, Neighbours
from competition.ensemble.networks import probabilities_of
from competition.ensemble.prediction_shift import compare_predictions
from competition.ensemble.scoring import rows_predicted
from competition.errors import CompetitionError
from competition.runs.folders import Folders
from competition.runs.run import Run, find_run

TABLES = (".csv", ".gz", ".bz2", ".xz", ".zip")  # what else is given is taken for a picture


class Inputs(NamedTuple):
    """The digits of the files to label.

    Attributes:
        names: where each digit is from: a file, with the number of its row or digit where it holds several.
        images: uint8 array (n, 28, 28, 1).
        several, drawn: of each, what its `Picture` says.
        given: of each table with labels its path, its rows of these digits, and the labels.
        refused: an error for each file that cannot be used.
    """

    names: list[str]
    images: np.ndarray
    several: list[bool]
    drawn: list[bool]
    given: list[tuple[Path, slice, np.ndarray]]
    refused: list[CompetitionError]


def print_predictions(folders: Folders, name: str | None, paths: list[Path], model: Path | None = None) -> None:
    """Print a CSV line for each digit: where from, label, its probability, all ten, and a remark.

    The remark is `several digits` where a picture shows a number, `unlike training` when no training digit is as near
    as nearly all test digits have one, or a photo shows an object and no strokes, and `unsure` when the label is less
    probable than nearly all out-of-fold labels were.

    Args:
        name: of the run; None takes the newest complete one.
        paths: pictures of digits, folders of such pictures, or files in test.csv's format, see `read_unlabelled`.
        model: a .keras or .h5 file in place of a run; the remarks are then of the pictures alone.

    Raises:
        CompetitionError: a file cannot be used; of several files the others are printed all the same.
    """
    inputs = read_inputs(paths)
    if len(inputs.refused) == 1 and not inputs.names:
        raise inputs.refused[0]
    for error in inputs.refused:
        print(error, file=sys.stderr)
    if inputs.names:
        _print_labels(inputs, folders, name, model)
    if inputs.refused:
        raise CompetitionError(
            "Every file must be a CSV file or show a digit. "
            f"Received: {len(inputs.refused)} unusable, each named above. Next: the same command without."
        )


def read_inputs(paths: list[Path]) -> Inputs:
    """Read pictures, folders of pictures and tables; a file that cannot be used is left out, and its error kept."""
    inputs = Inputs([], np.zeros((0, 28, 28, 1), np.uint8), [], [], [], [])
    images = [inputs.images]
    for path in paths:
        try:
            files = pictures_in(path) if path.is_dir() else [path]
        except CompetitionError as error:
            inputs.refused.append(error)
            continue
        for file in files:
            table, labels = file.suffix.lower() in TABLES, None
            try:
                if table:
                    digits, labels = read_unlabelled(file)
                    found = Picture(digits)
                else:
                    found = read_picture(file)
            except CompetitionError as error:
                inputs.refused.append(error)
                continue
            start, count = len(inputs.names), len(found.digits)
            if labels is not None:
                inputs.given.append((file, slice(start, start + count), labels))
            numbered = table or count > 1
            inputs.names.extend(f"{file}:{i}" if numbered else str(file) for i in range(1, count + 1))
            inputs.several.extend([found.several] * count)
            inputs.drawn.extend([found.drawn] * count)
            images.append(found.digits)
    return inputs._replace(images=np.concatenate(images))


def remarks(unlike: bool, unsure: bool, several: bool = False) -> list[str]:
    """The remarks beside a label, see `print_predictions`."""
    found = {"several digits": several, "unlike training": unlike, "unsure": unsure}
    return [remark for remark, holds in found.items() if holds]


def _print_labels(inputs: Inputs, folders: Folders, name: str | None, model: Path | None) -> None:
    if model:
        run = dataset = None
        probabilities = probabilities_of_file(model, inputs.images)
        unlike = unsure = np.zeros(len(inputs.images), bool)
    else:
        run = find_run(folders, name)
        probabilities = probabilities_of(run, inputs.images)
        dataset = data_of(folders, run)
        unlike = unlike_training(dataset, inputs.images)
        unsure = probabilities.max(axis=1) < doubt_limit(run)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["picture", "label", "probability", *(f"p{digit}" for digit in range(10)), "remark"])
    for i, source in enumerate(inputs.names):
        label = probabilities[i].argmax()
        numbers = [f"{p:.4f}" for p in (probabilities[i, label], *probabilities[i])]
        found = remarks(unlike[i] or not inputs.drawn[i], unsure[i], inputs.several[i])
        writer.writerow([source, label, *numbers, "; ".join(found)])
    for path, rows, labels in inputs.given:
        right = int((probabilities[rows].argmax(axis=1) == labels).sum())
        print(f"{path}: {right:,} of {len(labels):,} predictions agree with its labels.", file=sys.stderr)
    if run and (differences := differences_of(run, dataset, inputs.images, probabilities)):
        print(
            f"As a whole these {len(inputs.images)} digits are not like those that the run learned from: its scores "
            f"don't hold for them: {differences}.",
            file=sys.stderr,
        )


def data_of(folders: Folders, run: Run) -> Dataset | None:
    """The data that a run was made from; None, with a line on stderr, where it is not at hand."""
    try:
        return load_dataset_of(folders, run.manifest)
    except CompetitionError as error:
        print(f"Whether pictures are like the training digits is not known: {error}", file=sys.stderr)
        return None


def unlike_training(dataset: Dataset | None, images) -> np.ndarray:
    """Which images are farther from every training digit than all but RARE of the test digits are.

    Args:
        dataset: the run's; None: not at hand, and all are False.
        images: uint8 array (n, 28, 28, 1).

    Returns:
        bool array (n,).
    """
    if dataset is None:
        return np.zeros(len(images), bool)
    known = Neighbours(dataset)
    return known.distances(images) > known.limit


def doubt_limit(run: Run) -> float:
    """The probability that all but RARE of the out-of-fold labels exceeded."""
    out_of_fold = run.probabilities()[0][run.config.submitted]
    return float(np.quantile(out_of_fold[rows_predicted(out_of_fold)].max(axis=1), RARE))


def differences_of(run: Run, dataset: Dataset | None, images, probabilities) -> str:
    """How a batch differs from the run's training images and test predictions, in words; empty where it does not.

    Args:
        dataset: the run's; None: not at hand, and predictions alone are compared.
        images, probabilities: uint8 array (n, 28, 28, 1) and the ensemble's float array (n, 10).
    """
    tests = dataset_shift.compare_pixels(dataset.train.images, images) if dataset else []
    with suppress(CompetitionError):  # a run without scores has its labels all the same
        if not (run.scores.get("shift") or {}).get("alarm"):
            tests += compare_predictions(run.probabilities()[1][run.config.submitted], probabilities)
    return dataset_shift.in_words(tests)
