"""What the page of a run shows, as numbers and pictures: errors, classes, suspected labels, growth, members, digits.

Throughout, `rows` are the numbers (n,) of the training rows that `probabilities`, float (n, 10), are of.
"""

import importlib.util
import warnings

import numpy as np
from sklearn.metrics import confusion_matrix

from competition.config import Config
from competition.data.constants import REAL
from competition.data.dataset import Dataset
from competition.ensemble import scoring
from competition.ensemble.folds import Member, exchangeable_groups, is_refit, kept_out, row_ratio
from competition.network.augmentation import Augmenter
from competition.report.html import LARGEST_GALLERY, gallery, sheet, worst_first
from competition.runs import files
from competition.runs.run import Run


def errors_of(dataset: Dataset, rows, probabilities, suspected=()) -> dict:
    """The confusion matrix and the digits behind its cells: all errors, and five of each diagonal cell.

    Args:
        suspected: indices into `rows`, of those whose labels are suspected to be wrong.
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
        "errors": gallery(dataset.train, rows, probabilities, kept, suspected),
        "right": gallery(dataset.train, rows, probabilities, np.concatenate(right), suspected),
    }


def errors_kept_out(dataset: Dataset, rows, probabilities) -> list[tuple[int, int]] | None:
    """Errors and rows: of the rows that no study saw, and of the others; None for other data than the competition's."""
    if dataset.train.source != REAL:
        return None
    wrong = dataset.train.labels[rows] != probabilities.argmax(1)
    out = np.isin(rows, kept_out(dataset.train))
    return [(int(wrong[part].sum()), int(part.sum())) for part in (out, ~out)]


def suspected_labels(run: Run, dataset: Dataset, rows, probabilities) -> dict | None:
    """Labels that cleanlab suspects, worst first, also written as CSV; None without cleanlab or a second class.

    Returns:
        `found`, their indices into `rows`; their count, digits to show, and the score of the other rows.
    """
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
        "found": set(found.tolist()),
        "count": len(found),
        "pictures": gallery(dataset.train, rows, probabilities, found[:60]),
        "accuracy_without": scoring.accuracy(labels[kept], probabilities[kept]),
        "errors_without": int(np.sum(probabilities[kept].argmax(1) != labels[kept])),
    }


def growth_of(config: Config, labels, probabilities, members: list[Member], results, rounds):
    """The points of the growth figure, measured and predicted: of each the members averaged, and the accuracies.

    Args:
        members: all that are submitted, refit members among them, which count in what is predicted alone.
        rounds: the repeats whose members were all trained, so that they validated all rows.
    """
    of_folds = [pair for pair in zip(members, results, strict=True) if not is_refit(pair[0].name)]
    if rounds:
        repeats = {repeat: np.zeros((len(labels), 10), np.float32) for repeat in rounds}
        for member, result in of_folds:
            if (repeat := member.name.split("-")[0]) in rounds:
                repeats[repeat][member.val_rows] = result.val_probs[config.submitted]
        measured = scoring.growth(labels, list(repeats.values()))
    else:  # no repeat validated all rows
        measured = [{"members": 1, "accuracy": np.mean([result.facts["accuracy"] for _, result in of_folds])}]
    test_probs = np.stack([result.test_probs[config.submitted] for _, result in of_folds])
    scoring_members = [member for member, _ in of_folds]
    groups = exchangeable_groups(config, scoring_members, test_probs, len(members) - len(scoring_members))
    predicted = scoring.predict_growth(labels, probabilities, groups, row_ratio(members, scoring_members))
    sizes = [group.size for group in groups]
    averaged = np.minimum(np.arange(1, len(predicted) + 1)[:, None], sizes).sum(axis=1)
    return ([row["members"] for row in measured], [row["accuracy"] for row in measured]), (averaged, predicted)


def per_member(config: Config, members: list[Member], results) -> list[dict]:
    """Each member's score, none of a refit member, and how often it labels the test rows as the others do."""
    test_members = np.stack([result.test_probs[config.submitted] for result in results])
    labels = test_members.argmax(axis=2)
    agreement = (labels[:, None] == labels[None]).mean(axis=2)
    others = (agreement.sum(axis=1) - 1) / max(1, len(labels) - 1)
    whole = test_members.mean(axis=0).argmax(axis=1)
    return [
        {"name": member.name, "network": member.config.architecture, **result.facts,
         "agreement": float(others[i]), "whole": float((labels[i] == whole).mean())}
        for i, (member, result) in enumerate(zip(members, results, strict=True))
    ]  # fmt: skip


def sample_sheets(config: Config, dataset: Dataset) -> dict[str, np.ndarray]:
    """Samples of each digit, their means, and a digit with twenty of its augmented images."""
    images, labels = dataset.train.images, dataset.train.labels
    rows = [np.flatnonzero(labels == digit) for digit in range(10)]
    chosen = rows[7][:1] if len(rows[7]) else np.zeros(1, int)
    augment = Augmenter(config, config.seed)
    augmented = [images[chosen], *(augment(images[chosen], np.zeros(1, int), epoch) for epoch in range(20))]
    means = [images[r].mean(axis=0) if len(r) else np.zeros((28, 28, 1)) for r in rows]
    samples = [np.concatenate([images[r[:12]], np.zeros((12 - len(r[:12]), 28, 28, 1), np.uint8)]) for r in rows]
    return {
        "samples": sheet(np.concatenate(samples), 12),
        "means": sheet(np.stack(means).round().astype(np.uint8), 10),
        "augmentations": sheet(np.concatenate(augmented), 7),
    }


def per_digit(dataset: Dataset, test) -> list[tuple]:
    """Of each digit: rows in train.csv, predicted rows in test.csv, mean and standard deviation of the ink."""
    labels, ink = dataset.train.labels, dataset.train.images.mean(axis=(1, 2, 3))
    predicted = np.bincount(test.argmax(1), minlength=10)
    return [
        (len(own), int(predicted[digit]), *((float(own.mean()), float(own.std())) if len(own) else (0.0, 0.0)))
        for digit, own in ((digit, ink[labels == digit]) for digit in range(10))
    ]
