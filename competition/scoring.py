"""Pure functions of labels and probabilities: how good, how sure, how much better.

Throughout, `labels` is an int64 array of shape (n,) with values 0…9 and `probabilities` a float array of
shape (n, 10) whose rows sum to 1.
"""

import math

import numpy as np

Z95 = 1.959964  # two-sided 95 % of the normal distribution


def accuracy(labels, probabilities) -> float:
    """Fraction of rows whose most probable digit is the label."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def log_loss(labels, probabilities) -> float:
    """Mean negative natural logarithm of the label's probability, which is clipped to 1e-7."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-7)).mean())


def brier(labels, probabilities) -> float:
    """Mean squared distance between the probabilities and the one-hot label, 0…2 (Brier, 1950)."""
    return float(((probabilities - np.eye(10)[labels]) ** 2).sum(axis=1).mean())


def wilson(score: float, rows: int) -> tuple[float, float]:
    """95 % interval of an accuracy measured on `rows` rows (Wilson, 1927: right even near 1)."""
    centre = (score + Z95**2 / (2 * rows)) / (1 + Z95**2 / rows)
    half = math.sqrt(score * (1 - score) / rows + Z95**2 / (4 * rows**2)) * Z95 / (1 + Z95**2 / rows)
    return centre - half, min(1.0, centre + half)


def spread(member_probabilities) -> float:
    """What members disagree about: the variance between them, summed over digits, mean over rows.

    Args:
        member_probabilities: float array (members, n, 10), at least two members.
    """
    return float(np.var(member_probabilities, axis=0, ddof=1).sum(axis=-1).mean())


def predict_leaderboard(labels, out_of_fold, seen_by: int, test_members) -> dict:
    """Predict the accuracy of the whole ensemble on the unseen test rows.

    The out-of-fold predictions average `seen_by` members a row; a submission averages all of them and does
    better. How much better is not fitted but follows from an identity: the Brier score of an average of m
    exchangeable members is, in expectation, B(m) = B(1) - V·(1 - 1/m), where V is the variance between
    members, and V needs no labels, so it is measured on the test rows. Errors are taken to fall in
    proportion to the Brier score; half of the predicted gain is added to the standard error, because that
    proportion is an assumption.

    Args:
        labels, out_of_fold: the training rows, (n,) and (n, 10).
        seen_by: how many members each out-of-fold prediction averages (the repeats).
        test_members: float array (members, n_test, 10).

    Returns:
        `score` and its 95 % interval `low`, `high`. The interval holds both sampling errors: of the
        training rows that measured the score and of the test rows that will.
    """
    members, test_rows = len(test_members), test_members.shape[1]
    measured = brier(labels, out_of_fold)
    gain = spread(test_members) * (1 / seen_by - 1 / members) if members > 1 else 0.0
    error = 1 - accuracy(labels, out_of_fold)
    predicted = error * max(0.0, 1 - gain / measured) if measured else error
    # One error more than seen: a perfect out-of-fold score does not make the interval empty.
    rate = max(predicted, 1 / len(labels))
    sampling = rate * (1 - rate) * (1 / len(labels) + 1 / test_rows)
    half = Z95 * math.sqrt(sampling + ((error - predicted) / 2 / Z95) ** 2)
    score = 1 - predicted
    return {"score": score, "low": max(0.0, score - half), "high": min(1.0, score + half)}


def paired(labels, first, second) -> dict:
    """Compare two sets of predictions of the same rows, row by row.

    Returns:
        For `accuracy` and `log_loss` each: the difference first minus second and its 95 % half-width, and
        in `only_first_wrong`, `only_second_wrong` the numbers of rows that one of them alone gets wrong.
    """
    right = [p.argmax(axis=1) == labels for p in (first, second)]
    losses = [-np.log(np.maximum(p[np.arange(len(labels)), labels], 1e-7)) for p in (first, second)]
    result = {
        "only_first_wrong": int(np.sum(~right[0] & right[1])),
        "only_second_wrong": int(np.sum(right[0] & ~right[1])),
    }
    differences = {"accuracy": right[0].astype(float) - right[1], "log_loss": losses[0] - losses[1]}
    for name, difference in differences.items():
        half = Z95 * difference.std(ddof=1) / math.sqrt(len(labels))
        result[name] = (float(difference.mean()), float(half))
    return result
