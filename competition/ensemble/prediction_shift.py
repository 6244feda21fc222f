"""Do the members read test.csv as they read train.csv? And where not: how accurate they probably are, without labels.

Like is compared with like: the prediction of one member for a row that it never saw, in both files. A shift of the
pixels that the members don't feel changes nothing here; one that they feel changes what they predict, and how sure they
are (black-box shift detection: Lipton, Wang and Smola, 2018; Rabanser, Günnemann and Lipton, *Failing loudly*, 2019).
"""

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_predict
from threadpoolctl import threadpool_limits

from competition.data import dataset_shift
from competition.data.digits import LabelledDigits

NAMES = [*(f"probability of {digit}" for digit in range(10)), "largest probability"]
ROWS = 1000  # of each file, at most, between which a classifier has to tell
CLEAR = 0.52  # area under its ROC curve, 0.5 is chance: its interval must lie above this


def single_members(members, val_probs, test_probs, train_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """For each row the prediction of one member that never saw it, drawn at random, in the same shares in both files.

    Args:
        members: with their `val_rows`, in any number.
        val_probs: of each member those of its `val_rows`, float32 arrays (n, 10).
        test_probs: float32 array (members, n_test, 10).

    Returns:
        float32 arrays (train_rows, 10), NaN for rows that no member validates, and (n_test, 10).
    """
    draw = np.random.default_rng(0)
    rows = np.concatenate([member.val_rows for member in members])
    owners = np.repeat(np.arange(len(members)), [len(member.val_rows) for member in members])
    order = draw.permutation(len(rows))
    found, first = np.unique(rows[order], return_index=True)
    chosen = order[first]
    val = np.full((train_rows, 10), np.nan, np.float32)
    val[found] = np.concatenate(val_probs)[chosen]
    shares = np.bincount(owners[chosen], minlength=len(members)) / len(chosen)
    drawn = draw.choice(len(members), test_probs.shape[1], p=shares)
    return val, test_probs[drawn, np.arange(test_probs.shape[1])]


def compare_predictions(val, test) -> list[dict]:
    """`dataset_shift.compare` of single members' probabilities, (n, 10) and (m, 10), and of each row's largest."""
    return dataset_shift.compare(NAMES, *(np.column_stack([probs, probs.max(axis=1)]) for probs in (val, test)))


def tell_apart(train, test) -> dict:
    """How well a classifier tells the rows of two files apart: adversarial validation.

    Args:
        train, test: float arrays (n, features) and (m, features).

    Returns:
        `auc`, the area under its ROC curve for rows that it did not learn from (0.5: not at all), the bounds `low` and
        `high` of its 99.9 % interval (DeLong, DeLong and Clarke-Pearson, 1988), and whether the files `differ`.
    """
    rows, labels = np.concatenate([train, test]), np.repeat([0, 1], [len(train), len(test)])
    model = HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=8, early_stopping=False, random_state=0)
    order = np.random.default_rng(0).permutation(len(rows))
    scores = np.empty(len(rows))
    with threadpool_limits(1):  # so small a task is slower on several threads, by far where other processes run
        scores[order] = cross_val_predict(model, rows[order], labels[order], cv=3, method="predict_proba")[:, 1]
    ranks = rankdata(scores)
    above = (ranks[labels == 1] - rankdata(scores[labels == 1])) / len(train)  # of train's, for each row of test
    below = 1 - (ranks[labels == 0] - rankdata(scores[labels == 0])) / len(test)
    auc = float(above.mean())
    half = 3.29 * np.sqrt(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below))
    low, high = max(0.0, auc - half), min(1.0, auc + half)
    return {"auc": auc, "low": float(low), "high": float(high), "differ": bool(low > CLEAR)}


def estimate_accuracy(labels, val, test) -> float:
    """The accuracy on rows whose labels nobody has: average thresholded confidence (Garg et al., 2022).

    The threshold is the confidence below which as many validation rows lie as are misclassified; the result is the
    fraction of test rows above it.

    Args:
        labels, val: of validation rows, int array (n,) and float array (n, 10).
        test: float array (m, 10), of the same members.
    """
    threshold = np.quantile(val.max(axis=1), np.mean(val.argmax(axis=1) != labels))
    return float(np.mean(test.max(axis=1) >= threshold))


def check(train: LabelledDigits, test_images, single: tuple[np.ndarray, np.ndarray]) -> dict:
    """Whether test.csv is like train.csv, by its pixels, by what the members predict and by a classifier.

    Args:
        test_images: uint8 array (n_test, 28, 28, 1).
        single: from `single_members`.

    Returns:
        What `judge` does, and the `missing_digits` of train.csv, which are an alarm as well.
    """
    val, test = single
    rows = np.flatnonzero(~np.isnan(val[:, 0]))
    measured = (dataset_shift.measure(dataset_shift.sample(images)) for images in (train.images[rows], test_images))
    found = judge(train.labels[rows], val[rows], test, *measured)
    missing = dataset_shift.missing_digits(train.labels)
    return found | {"alarm": found["alarm"] or bool(missing), "missing_digits": missing}


def judge(labels, val, test, val_measured, test_measured) -> dict:
    """All tests of two sets of rows.

    Args:
        labels, val: of validation rows, int array (n,) and float array (n, 10).
        test: float array (m, 10), of the same members.
        val_measured, test_measured: `dataset_shift.measure` of a `dataset_shift.sample` of the rows.

    Returns:
        `alarm`, whether any test found a difference; the tests, `pixels` and `predictions`, each from
        `dataset_shift.compare`, and `classifier` (see `tell_apart`; None where there are too few rows); and `estimate`,
        the accuracy of a single member on the test rows that `estimate_accuracy` expects.
    """
    by_pixels = dataset_shift.compare(dataset_shift.MEASURES, val_measured, test_measured)
    by_predictions, classifier = compare_predictions(val, test), None
    if by_pixels:
        sides = ((val_measured, val), (test_measured, test))
        rows = (np.column_stack([measured, dataset_shift.sample(probs)]) for measured, probs in sides)
        classifier = tell_apart(*(dataset_shift.sample(side, ROWS) for side in rows))
    tests = [*by_pixels, *by_predictions, *([classifier] if classifier else [])]
    return {
        "alarm": any(test["differ"] for test in tests),
        "pixels": by_pixels,
        "predictions": by_predictions,
        "classifier": classifier,
        "estimate": estimate_accuracy(labels, val, test),
    }


def in_words(found: dict) -> list[tuple[str, str]]:
    """What stands in place of a predicted leaderboard score after an alarm: pairs of a name and what there is.

    Args:
        found: from `check`.
    """
    classifier, missing = found["classifier"] or {"differ": False}, found.get("missing_digits")
    lines = [
        ("Predicted leaderboard", "none: test.csv is not like train.csv"),
        ("  by labels", f"train.csv has no {', no '.join(map(str, missing))}" if missing else ""),
        ("  by its pixels", dataset_shift.in_words(found["pixels"])),
        ("  by predictions", dataset_shift.in_words(found["predictions"])),
        (
            "  by a classifier",
            "AUC {auc:.3f} ({low:.3f} – {high:.3f})".format(**classifier) if classifier["differ"] else "",
        ),
        (
            "Estimated accuracy",
            f"{found['estimate']:.3f}  (without labels, by confidence alone: see the README of ensemble/)",
        ),
    ]
    return [(name, text) for name, text in lines if text]
