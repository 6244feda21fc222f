"""Pure functions of labels and probabilities: how good, how sure, how much better.

Throughout, `labels` is an int64 array of shape (n,) with values 0…9 and `probabilities` a float array of
shape (n, 10) whose rows sum to 1; `rows_predicted` alone takes rows of NaN.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from competition.network.calibration import at_temperature, fit_temperature, log_losses

Z95 = 1.959964  # two-sided 95 % of the normal distribution
ROWS_EXPONENT = 0.3  # errors fall as rows to minus this: measured 0.39 (0.25 – 0.53) and 0.29, see EXPERIMENTS.md


@dataclass(frozen=True)
class Group:
    """Members of an average that differ by chance alone.

    Attributes:
        share: of the group in the average of all, 0…1.
        members_per_row: how many of its members an out-of-fold prediction averages, in the mean; where predictions
            average other shares of the groups than the submission does, as many as have the same variance.
        test_probs: each member's probabilities of the test rows, float array (members, n_test, 10).
        refit: how many members that fit all rows are submitted beside these.
    """

    share: float
    members_per_row: float
    test_probs: np.ndarray
    refit: float = 0

    @property
    def size(self) -> float:
        """How many members of the group the submission averages."""
        return len(self.test_probs) + self.refit


def rows_predicted(probabilities) -> np.ndarray:
    """The numbers of the rows that have probabilities, (k,): where no member validates they are NaN."""
    return np.flatnonzero(~np.isnan(probabilities[:, 0]))


def accuracy(labels, probabilities) -> float:
    """Fraction of rows whose most probable digit is the label."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def log_loss(labels, probabilities) -> float:
    """Mean negative natural logarithm of the label's probability, which is clipped to 1e-7."""
    return float(log_losses(labels, probabilities).mean())


def brier(labels, probabilities) -> float:
    """Mean squared distance between the probabilities and the one-hot label, 0…2 (Brier, 1950)."""
    return float(((probabilities - np.eye(10)[labels]) ** 2).sum(axis=1).mean())


def wilson(right: int, rows: int) -> tuple[float, float]:
    """95 % interval of the accuracy, where `right` of `rows` sampled rows are right (Wilson, 1927)."""
    low, high = binomtest(int(right), int(rows)).proportion_ci(method="wilson")
    return float(low), float(high)


def spread(member_probabilities) -> float:
    """What members disagree about: the variance between them, summed over digits, mean over rows.

    Args:
        member_probabilities: float array (members, n, 10), at least two members.
    """
    return float(np.var(member_probabilities, axis=0, ddof=1).sum(axis=-1).mean())


def predict_leaderboard(labels, out_of_fold, groups: list[Group], row_ratio: float = 1.0) -> dict:
    """Predict the accuracy of the submitted average on the unseen test rows.

    An out-of-fold prediction averages a few members; a submission averages more and has fewer errors. How many fewer is
    not fitted but follows from an identity: the Brier score of an average of m exchangeable members is, in expectation,
    B(m) = B(1) - V·(1 - 1/m), where V is the variance between members, and V needs no labels, so it is measured on the
    test rows. Members of several architectures, or of several blended runs, are groups: what differs between groups is
    averaged in the out-of-fold predictions already, and the variance within one counts by the square of its share.
    Errors are taken to fall in proportion to the Brier score, which holds for calibrated probabilities alone: doubt
    about a digit that is classified correctly costs Brier score but is no error, and more members do not lower it. So
    all are brought to the temperature that fits the out-of-fold ones first. Where refit members are submitted as well,
    which fit more rows, errors fall by a power of the rows, too: see ROWS_EXPONENT. Half of the predicted gain widens
    the interval (in quadrature), because both are assumptions.

    Args:
        labels, out_of_fold: the training rows, (n,) and (n, 10).
        groups: of the average that is submitted.
        row_ratio: see `folds.row_ratio`.

    Returns:
        `score` and its 95 % interval `low`, `high`. The interval holds both sampling errors: of the
        training rows that measured the score and of the test rows that will.
    """
    error = 1 - accuracy(labels, out_of_fold)
    score = predict_growth(labels, out_of_fold, groups, row_ratio)[-1]
    predicted, test_rows = 1 - score, groups[0].test_probs.shape[1]
    # At least one error: a perfect out-of-fold score does not make the interval empty.
    rate = max(predicted, 1 / len(labels))
    sampling = rate * (1 - rate) * (1 / len(labels) + 1 / test_rows)
    half = math.hypot(Z95 * math.sqrt(sampling), (error - predicted) / 2)
    return {"score": score, "low": max(0.0, score - half), "high": min(1.0, score + half)}


def paired(labels, first, second) -> dict:
    """Compare two sets of predictions of the same rows, row by row.

    Returns:
        For `accuracy` and `log_loss` each a tuple: the difference first minus second, its 95 % half-width; and
        in `only_first_wrong`, `only_second_wrong` the numbers of rows that one of them alone misclassifies.
    """
    right = [p.argmax(axis=1) == labels for p in (first, second)]
    losses = [log_losses(labels, p) for p in (first, second)]
    result: dict[str, int | tuple[float, float]] = {
        "only_first_wrong": int(np.sum(~right[0] & right[1])),
        "only_second_wrong": int(np.sum(right[0] & ~right[1])),
    }
    differences = {"accuracy": right[0].astype(float) - right[1], "log_loss": losses[0] - losses[1]}
    for name, difference in differences.items():
        half = Z95 * difference.std(ddof=1) / math.sqrt(len(labels))
        result[name] = (float(difference.mean()), float(half))
    return result


def calibration(labels, probabilities, bins: int = 10) -> dict[str, np.ndarray]:
    """Whether the probability of the predicted digit is how often that digit is right.

    The bins adapt to the rows: each holds the same number of errors that the probabilities themselves
    expect, so that the nearly certain thousands share one bin and the doubtful few get the others.

    Returns:
        For each bin that holds rows, least sure first: `confidence` (mean probability of the predicted
        digit), `accuracy` (fraction right) and `count`.
    """
    confidence, right = probabilities.max(axis=1).astype(float), probabilities.argmax(axis=1) == labels
    order = np.argsort(confidence, kind="stable")
    confidence, right = confidence[order], right[order]
    doubt = np.cumsum(1 - np.minimum(confidence, 1))
    cuts = np.searchsorted(doubt, doubt[-1] * np.arange(1, bins) / bins) + 1 if doubt[-1] > 0 else []
    parts = [part for part in np.split(np.arange(len(labels)), cuts) if len(part)]
    return {
        "confidence": np.array([confidence[part].mean() for part in parts]),
        "accuracy": np.array([right[part].mean() for part in parts]),
        "count": np.array([len(part) for part in parts]),
    }


def expected_calibration_error(labels, probabilities, bins: int = 10) -> float:
    """Mean distance between confidence and accuracy over `calibration`'s bins, weighted by their rows.

    With adaptive bins, as in Nguyen and O'Connor (2015); 0 is perfect.
    """
    result = calibration(labels, probabilities, bins)
    return float(np.average(np.abs(result["confidence"] - result["accuracy"]), weights=result["count"]))


def most_confident(labels, probabilities, fractions) -> list[dict]:
    """How far the most confident rows are right.

    Args:
        fractions: of the rows, each above 0 and at most 1.

    Returns:
        For each fraction: `fraction`, `rows`, `errors` and `accuracy` of that many most confident rows.
    """
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    errors = np.cumsum((probabilities.argmax(axis=1) != labels)[order])
    rows = [max(1, round(fraction * len(labels))) for fraction in fractions]
    return [
        {"fraction": f, "rows": n, "errors": int(errors[n - 1]), "accuracy": float(1 - errors[n - 1] / n)}
        for f, n in zip(fractions, rows, strict=True)
    ]


def growth(labels, repeats) -> list[dict]:
    """How the out-of-fold score grows with the number of members a row is averaged over.

    Args:
        repeats: float array (repeats, n, 10), each the out-of-fold probabilities of one repeat.

    Returns:
        For 1…repeats members a row: `members`, and `accuracy` averaged over all cyclic choices of so
        many repeats.
    """
    count = len(repeats)
    return [
        {
            "members": m,
            "accuracy": float(
                np.mean([
                    accuracy(labels, np.mean([repeats[(start + i) % count] for i in range(m)], axis=0))
                    for start in range(count if m < count else 1)
                ])
            ),
        }
        for m in range(1, count + 1)
    ]  # fmt: skip


def predict_growth(labels, out_of_fold, groups: list[Group], row_ratio: float = 1.0) -> np.ndarray:
    """The accuracy that averages of 1, 2, … members of each group would have, as `predict_leaderboard` predicts it.

    Args:
        labels, out_of_fold, groups, row_ratio: as there.

    Returns:
        float array (members of the largest group,); smaller ones average all that they have.
    """
    error = 1 - accuracy(labels, out_of_fold)
    return 1 - error * (1 - _gains(labels, out_of_fold, groups)) * row_ratio**-ROWS_EXPONENT


def _gains(labels, out_of_fold, groups: list[Group]) -> np.ndarray:
    """The fraction by which averages of 1, 2, … members of each group have fewer errors than the out-of-fold ones.

    Below 0 for fewer members than there, 1 at most. An example: two members, each certain of another digit in one of
    two rows, have a variance of 0.5 (`spread`); out of fold each row has one member, so an average of two lowers the
    Brier score by 0.5·(1/1 − 1/2) = 0.25 before the temperature, and errors by that part of the Brier score.

    The temperature fits averages as large as the out-of-fold ones and would make single members too certain. So it is
    not applied to these: by how much it changes variances is measured on averages of that size.
    """
    numbers = np.arange(1, max(math.ceil(group.size) for group in groups) + 1)
    if len(numbers) == 1 and all(group.size == group.members_per_row for group in groups):
        return np.zeros(1)
    reductions = np.zeros(len(numbers))
    for group in groups:
        if len(group.test_probs) > 1:
            fewer = 1 / group.members_per_row - 1 / np.minimum(numbers, group.size)
            reductions += group.share**2 * spread(group.test_probs) * fewer
    temperature = fit_temperature(labels, _logarithm(out_of_fold)[None])
    choices = max(2, *(len(group.test_probs) for group in groups))
    averages = np.stack([_averaged_as_out_of_fold(groups, number) for number in range(choices)])
    by_temperature = spread(at_temperature(temperature, _logarithm(averages))) / max(spread(averages), 1e-12)
    calibrated = brier(labels, at_temperature(temperature, _logarithm(out_of_fold)))
    return np.minimum(1, by_temperature * reductions / max(calibrated, 1e-12))


def _averaged_as_out_of_fold(groups: list[Group], number: int) -> np.ndarray:
    """Test probabilities, (n_test, 10), of as many members of each group as out-of-fold predictions average."""
    parts = []
    for group in groups:
        count = max(1, min(round(group.members_per_row), len(group.test_probs) - 1))  # all of them have but one average
        chosen = [(number + i) % len(group.test_probs) for i in range(count)]
        parts.append(group.share * group.test_probs[chosen].mean(axis=0))
    return np.sum(parts, axis=0)


def _logarithm(probabilities) -> np.ndarray:
    return np.log(np.maximum(probabilities, 1e-7))
