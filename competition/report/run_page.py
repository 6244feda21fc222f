"""A finished run → one self-contained HTML page."""

import importlib.util
import json
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from competition.config import Config
from competition.data.dataset import Dataset
from competition.ensemble import scoring
from competition.ensemble.folds import Member, exchangeable, members_of, plan_members
from competition.errors import CompetitionError
from competition.kaggle.submission import check_submission
from competition.network.augmentation import Augmenter
from competition.report import figures
from competition.report.html import LARGEST_GALLERY, gallery, inline, png, render, worst_first
from competition.runs import files, registry
from competition.runs.folders import Folders
from competition.runs.run import Run, repeat_command

FRACTIONS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)  # of the most confident rows


class Plot(NamedTuple):
    """A figure of the page: the section that shows it, its description for who cannot see it, and its caption."""

    section: str
    figure: Figure
    alt: str
    caption: str


def make_report(folders: Folders, run: Run, dataset: Dataset) -> Path:
    """Write report.html, figures/*.png and suspected_labels.csv into a complete run's folder.

    Args:
        dataset: the run's own, see `load_dataset_of`.

    Returns:
        The page.
    """
    if "parents" in run.manifest:
        raise CompetitionError(f"A report shows how a run was trained. Received: {run.name}, a blend. Next: "
                               f"COMPARE={run.name},{run.manifest['parents'][0]['run']}.")  # fmt: skip
    config = run.config
    variant = config.variant
    out_of_fold, test = run.probabilities(len(dataset.train), len(dataset.test))
    test = test[variant]
    # Random splits, or a time that ran out, leave rows that no member was asked about: no part of any figure.
    rows = scoring.judged(out_of_fold[0])
    labels, out_of_fold = dataset.train.labels[rows], out_of_fold[:, rows]
    probabilities = out_of_fold[variant]
    members = [member for member in plan_members(config, dataset.train.labels) if member.name in members_of(run)]
    results = [run.load_member(member.name) for member in members]
    if any(r is None or (r.out_of_fold.shape[1], r.test.shape[1]) != (len(member.out_of_fold_rows), len(dataset.test))
           for r, member in zip(results, members, strict=True)):  # fmt: skip
        raise CompetitionError(f"{run.path} must hold all its members. Received: a damaged one. Next: `make train`.")

    histories = [_columns(result.history) for result in results]
    kept = [result.facts["kept_epoch"] for result in results]
    test_members = np.stack([result.test[variant] for result in results])
    errors = _errors(dataset, rows, probabilities)
    counts = Counter(member.name.split("-")[0] for member in members)
    rounds = [repeat for repeat, count in counts.items() if count == config.folds > 1]  # all rows are asked about there
    measured = _growth(config, labels, probabilities, members, results, rounds, test_members)
    plots = {
        "accuracy": Plot("curves", figures.curves(histories, kept, "accuracy"), "Accuracy per epoch of all members, on "
            "their training batches and on the slice that early stopping watches.", "Training accuracy is measured on "
            "augmented images, with the weights still moving, so it may lie below that of the slice."),
        "loss": Plot("curves", figures.curves(histories, kept, "loss"), "Loss per epoch of all members, training and "
            "early-stopping slice, on a logarithmic scale.", "A loss of the slice that rises while the training loss "
            "falls is overfitting; both high is underfitting."),
        "confusion": Plot("", figures.confusion_matrix(np.array(errors["counts"])), "", ""),  # the page has a table
        "reliability": Plot("calibration", figures.reliability(scoring.calibration(labels, probabilities)),
            "Reliability diagram: fraction right against mean probability, with intervals and the number of rows in "
            "each bin.", "Bins adapt: each holds an equal share of the errors that the probabilities expect, so the "
            "last one holds nearly all rows."),
        "classes": Plot("data", figures.class_shares(dataset.train.labels, test.argmax(1)), "Bar chart: share of each "
            "digit in train.csv and among the predicted test rows.", "Shares that differ by much would point to a "
            "mistake."),
        "ink": Plot("data", figures.ink_shares(dataset.train.images, dataset.test.images), "Histogram of the mean ink "
            "of a picture, train.csv and test.csv.", "Both files should be drawn alike: the curves should cover each "
            "other."),
        "growth": Plot("ensemble", figures.growth(*measured), "Errors in ten thousand against the number of members "
            "averaged: measured out of fold, and predicted.", "One point is measured: single members." if not rounds
            else f"Measured: each row averaged over the members of 1 to {len(rounds)} repeats." if len(rounds) > 1
            else "With one repeat only the single point is measured: every row has one member that never saw it."),
    }  # fmt: skip
    sheets = _sheets(config, dataset)
    for name, plot in plots.items():
        files.write(run.path / "figures" / f"{name}.png", figures.to_png(plot.figure))
    for name, image in sheets.items():
        files.write(run.path / "figures" / f"{name}.png", png(image))
    suspects = _suspects(run, dataset, rows, probabilities)
    page = render(
        "run.html.j2",
        run=run,
        config=config,
        scores=run.scores,
        manifest=run.manifest,
        train_rows=len(dataset.train),
        rounds=len(rounds),
        seconds=sum(run.manifest.get("seconds", {}).values()),
        row=registry.find(folders, run) or {},
        invalid=_invalid(run, dataset),
        plots=[(plot, Markup(figures.to_svg(plot.figure))) for plot in plots.values() if plot.section],
        sheet={name: inline(image) for name, image in sheets.items()},
        stops=Counter((epoch, result.facts["epochs"]) for result, epoch in zip(results, kept, strict=True)),
        suspects=suspects,
        members=_member_rows(members, results, test_members),
        views=scoring.paired(labels, out_of_fold[1], out_of_fold[0]) if variant else None,
        error=scoring.expected_calibration_error(labels, probabilities),
        confident=scoring.most_confident(labels, probabilities, FRACTIONS),
        digit_rows=_digit_rows(dataset, test),
        command=repeat_command(run),
        manifest_text=json.dumps(run.manifest, indent=2),
        **errors,
        **_classes(labels, probabilities),
        submission_head=run.submission.read_text("utf-8").splitlines()[:6],
        submission_sha256=files.sha256_of(run.submission),
    )
    files.write(run.path / "report.html", page)
    return run.path / "report.html"


def _errors(dataset: Dataset, rows, probabilities) -> dict:
    """The confusion matrix and the digits behind its cells: all errors, and five of each diagonal cell.

    Args:
        rows: int array (n,) of the training rows that the probabilities, (n, 10), are of.
    """
    labels, predicted = dataset.train.labels[rows], probabilities.argmax(1)
    counts = confusion_matrix(labels, predicted, labels=range(10))
    off = np.where(np.eye(10, dtype=bool), 0, counts)
    limit = max(off.max(), 1)
    while np.minimum(off, limit).sum() > LARGEST_GALLERY:
        limit = limit * 3 // 4
    errors = worst_first(probabilities, np.flatnonzero(labels != predicted))
    taken, kept = np.zeros((10, 10), int), []
    for row in errors:
        taken[labels[row], predicted[row]] += 1
        if taken[labels[row], predicted[row]] <= limit:
            kept.append(row)
    right = [np.flatnonzero((labels == digit) & (predicted == digit))[:5] for digit in range(10)]
    order = np.dstack(np.unravel_index(np.argsort(-off, axis=None, kind="stable"), off.shape))[0]
    return {
        "counts": counts.tolist(),
        "worst": max(int(off.max()), 1),
        "worst_share": float((off / np.maximum(1, counts.sum(axis=1, keepdims=True))).max()) or 1.0,
        "limit": None if off.max() <= limit else int(limit),
        "confusions": [(int(i), int(j), int(off[i, j])) for i, j in order[:10] if off[i, j]],
        "errors": gallery(dataset.train, rows, probabilities, kept),
        "right": gallery(dataset.train, rows, probabilities, np.concatenate(right)),
    }


def _classes(labels, probabilities) -> dict:
    """Precision, recall, F1, support and accuracy of each digit, and the means of the first three."""
    predicted = probabilities.argmax(1)

    def measure(average):
        return precision_recall_fscore_support(labels, predicted, labels=range(10), average=average, zero_division=0)

    accuracies = [np.mean((labels == digit) == (predicted == digit)) for digit in range(10)]
    return {
        "classes": [tuple(map(float, row)) for row in zip(*measure(None), accuracies, strict=True)],
        "class_means": [(name, *map(float, measure(name)[:3])) for name in ("macro", "weighted")],
    }


def _suspects(run: Run, dataset: Dataset, rows, probabilities) -> dict | None:
    """Labels that cleanlab suspects, worst first, also written as CSV; None without cleanlab or a second class."""
    labels = np.asarray(dataset.train.labels[rows])
    if importlib.util.find_spec("cleanlab") is None or len(set(labels)) < 2:
        return None
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings(action="ignore", category=UserWarning):  # of a class with few rows it finds fewer
        found = find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    kept = np.ones(len(labels), bool)
    kept[found] = False
    lines = [f"{rows[i] + 1},{labels[i]},{probabilities[i].argmax()},{probabilities[i, labels[i]]:.6f}" for i in found]
    files.write(run.path / "suspected_labels.csv", "\n".join(["row,label,suggested,label_probability", *lines, ""]))
    return {
        "count": len(found),
        "pictures": gallery(dataset.train, rows, probabilities, found[:60]),
        "accuracy_without": scoring.accuracy(labels[kept], probabilities[kept]),
        "errors_without": int(np.sum(probabilities[kept].argmax(1) != labels[kept])),
    }


def _growth(config: Config, labels, probabilities, members: list[Member], results, rounds, test_members):
    """The measured and the predicted points of the growth figure."""
    if rounds:
        repeats = {repeat: np.zeros((len(labels), 10), np.float32) for repeat in rounds}
        for member, result in zip(members, results, strict=True):
            if (repeat := member.name.split("-")[0]) in rounds:
                repeats[repeat][member.out_of_fold_rows] = result.out_of_fold[config.variant]
        measured = scoring.growth(labels, list(repeats.values()))
    else:  # no row was asked about by every random split
        measured = [{"members": 1, "accuracy": np.mean([result.facts["accuracy"] for result in results])}]
    groups = exchangeable(config, members, test_members)
    predicted = scoring.predict_growth(labels, probabilities, groups)
    sizes = np.array([len(group.said) for group in groups])
    averaged = np.minimum(np.arange(1, len(predicted) + 1)[:, None], sizes).sum(axis=1)
    return (
        ([row["members"] for row in measured], [row["accuracy"] for row in measured]),
        (averaged * len(members) / sizes.sum(), predicted),  # with teachers, a part of a group is of several members
    )


def _member_rows(members: list[Member], results, test_members) -> list[dict]:
    """Each member's score, and how often it says what each of the others says of the test rows."""
    said = test_members.argmax(axis=2)
    agreement = (said[:, None] == said[None]).mean(axis=2)
    others = (agreement.sum(axis=1) - 1) / max(1, len(said) - 1)
    whole = test_members.mean(axis=0).argmax(axis=1)
    return [
        {"name": member.name, "network": member.config.architecture, **result.facts,
         "agreement": float(others[i]), "whole": float((said[i] == whole).mean())}
        for i, (member, result) in enumerate(zip(members, results, strict=True))
    ]  # fmt: skip


def _sheets(config: Config, dataset: Dataset) -> dict[str, np.ndarray]:
    """Samples of each digit, their means, and a digit with twenty of its augmentations."""
    images, labels = dataset.train.images, dataset.train.labels
    rows = [np.flatnonzero(labels == digit) for digit in range(10)]
    chosen = rows[7][:1] if len(rows[7]) else np.zeros(1, int)
    augment = Augmenter(config, config.seed)
    views = [images[chosen], *(augment(images[chosen], np.zeros(1, int), epoch) for epoch in range(20))]
    means = [images[r].mean(axis=0) if len(r) else np.zeros((28, 28, 1)) for r in rows]
    samples = [np.concatenate([images[r[:12]], np.zeros((12 - len(r[:12]), 28, 28, 1), np.uint8)]) for r in rows]
    return {
        "samples": figures.sheet(np.concatenate(samples), 12),
        "means": figures.sheet(np.stack(means).round().astype(np.uint8), 10),
        "augmentations": figures.sheet(np.concatenate(views), 7),
    }


def _digit_rows(dataset: Dataset, test) -> list[tuple]:
    """Of each digit: rows in train.csv, predicted rows in test.csv, mean and standard deviation of the ink."""
    labels, ink = dataset.train.labels, dataset.train.images.mean(axis=(1, 2, 3))
    predicted = np.bincount(test.argmax(1), minlength=10)
    return [
        (len(own), int(predicted[digit]), *((float(own.mean()), float(own.std())) if len(own) else (0.0, 0.0)))
        for digit, own in ((digit, ink[labels == digit]) for digit in range(10))
    ]


def _invalid(run: Run, dataset: Dataset) -> str | None:
    """Why Kaggle would refuse the submission; None if it would not."""
    try:
        check_submission(run.submission, len(dataset.test))
    except CompetitionError as error:
        return str(error)
    return None


def _columns(history: list[dict]) -> dict[str, np.ndarray]:
    return {name: np.array([float(epoch[name]) for epoch in history]) for name in history[0]}
