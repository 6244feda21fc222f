"""Pure functions of two settings' predictions of the same rows: which is better, by how much, how sure.

Throughout, `labels` is an int64 array (n,) and `probs` a float array (members, n, 10): for each row the members that
predict it. A statement is about rows, so everything is first averaged over members within a row and only then compared,
row by row: predictions of the same row by several members are not independent. Chance in training is part of how rows
differ, as far as it makes errors in different rows each time (Jordan 2023, https://arxiv.org/abs/2304.01910). How far
it does is measured: `scatter`.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import f, norm

from competition.ensemble.folds import repeated_folds
from competition.ensemble.scoring import Z95
from competition.network.calibration import at_temperature, fit_temperature, log_losses

TITLES = {"errors": "errors", "log_loss": "log-loss", "brier": "Brier score"}
MEASURES = tuple(TITLES)
VARIANTS = ("plain", "tta")  # PLAIN: of the images as they are; TTA: by test-time augmentation


@dataclass(frozen=True)
class Difference:
    """A setting against its base, in one measure.

    Attributes:
        base, changed: the means over rows.
        half: half of the 95 % interval of changed - base.
    """

    base: float
    changed: float
    half: float

    @property
    def difference(self) -> float:
        """Changed minus base; below 0 the change is the better one, in every measure."""
        return self.changed - self.base

    @property
    def percent(self) -> tuple[float, float]:
        """The difference and half of its interval, in percent of the base."""
        return 100 * self.difference / (self.base or math.nan), 100 * self.half / (self.base or math.nan)

    def sign(self, z: float = Z95) -> int:
        """-1 for better and 1 for worse where the interval of so many standard errors leaves out 0, else 0."""
        return int(np.sign(self.difference)) if abs(self.difference) > self.half * z / Z95 else 0


def sizes(members: int) -> list[int]:
    """The sizes of averages that are compared: 1, 2, 4, … and all.

    >>> sizes(6)
    [1, 2, 4, 6]
    """
    return sorted({2**power for power in range(members.bit_length())} | {members})


def measured(labels, probs) -> dict[tuple[str, int, str], np.ndarray]:
    """Errors, log-loss and Brier score of each row, by single members and by averages of them.

    Log-loss and Brier score are of probabilities that one temperature has calibrated, or a setting that only makes
    members less sure, as label smoothing does, would look worse than it is (Guo, Pleiss, Sun and Weinberger 2017,
    https://arxiv.org/abs/1706.04599). It is fitted on the other half of the rows than it is used on.

    Args:
        probs: float32 array (members, 2, n, 10); see VARIANTS.

    Returns:
        For each (variant, members averaged, measure) a float array (k, n) of all k cyclic choices of members.
    """
    halves = halves_of(labels)
    result: dict[tuple[str, int, str], np.ndarray] = {}
    for size in sizes(len(probs)):
        for number, variant in enumerate(VARIANTS):
            losses = row_losses(labels, averages(probs[:, number], size), halves)
            result |= {(variant, size, measure): values for measure, values in losses.items()}
    return result


def halves_of(labels) -> list[np.ndarray]:
    """Row numbers of two stratified halves: a temperature is fitted on one and used on the other."""
    return [rows for _, rows in repeated_folds(labels, 2, 1, seed=0)]


def row_losses(labels, probs, halves) -> dict[str, np.ndarray]:
    """MEASURES of each row, by each of k averages (k, n, 10): float arrays (k, n), the last two after calibration."""
    errors = (probs.argmax(axis=2) != labels).astype(float)
    probs = calibrated(labels, probs, halves)
    brier = ((probs - np.eye(10)[labels]) ** 2).sum(axis=2)
    return {"errors": errors, "log_loss": log_losses(labels, probs), "brier": brier}


def compared(base: dict, changed: dict) -> dict[tuple[str, int, str], Difference]:
    """The paired difference of two settings in everything that `measured` gives for both, by the scatter of rows alone.

    For errors, one row more than observed counts as classified differently: settings that agree on every row here may
    not do so elsewhere.
    """
    return {key: _paired(base[key].mean(axis=0), changed[key].mean(axis=0), key[2]) for key in base if key in changed}


def scatter(member_of_row, base: dict, changed: dict) -> dict[tuple[str, str], float]:
    """How unlike the differences of pairs of members are, one of each setting and of the same rows: their χ².

    A training that goes well classifies all its rows better, which the scatter of rows does not show. The differences
    of the pairs do: about their mean they scatter as the intervals by rows say, or more.

    Args:
        member_of_row: the number of the member that each of `probs` comes from, int array (members, n).
        base, changed: as `measured` gives them.

    Returns:
        For each (variant, measure).
    """
    result = {}
    for variant, size, measure in base:
        if size == 1:
            one, other = base[variant, 1, measure], changed[variant, 1, measure]
            pairs = [
                _paired(one[member_of_row == k], other[member_of_row == k], measure)
                for k in range(member_of_row.max() + 1)
            ]
            weights = np.array([(Z95 / max(pair.half, 1e-12)) ** 2 for pair in pairs])
            differences = np.array([pair.difference for pair in pairs])
            mean = np.average(differences, weights=weights)
            result[variant, measure] = float((weights * (differences - mean) ** 2).sum())
    return result


def widened(found: list[dict], scatters: list[dict], freedom: int) -> tuple[list[dict], list[dict]]:
    """A study's differences, their intervals widened by how much its pairs of members scatter.

    All pairs of a study are pooled, the base trained again among them, or they would be too few; of three pairs a
    change it is still a rough figure. All intervals of a measure are widened alike (Birge, The calculation of errors by
    the method of least squares, 1932), those of averages as well, and none is narrowed. A change whose pairs scatter
    far more than those of the others (an F test at 1e-4), as where one member failed to learn, widens its
    own intervals alone.

    Args:
        found, scatters: of each change, what `compared` and `scatter` give.
        freedom: the pairs of a change less 1.

    Returns:
        Of each change the differences; and by (variant, measure) how much wider their intervals are.
    """
    factors: list[dict[tuple[str, str], float]] = [{} for _ in found]
    for key in scatters[0]:
        excess = np.array([each[key] for each in scatters]) / max(1, freedom)  # 1 where rows explain the scatter
        others = [np.delete(excess, i) for i in range(len(excess))]
        usual = np.array([max(1, np.median(rest)) if len(rest) else 1 for rest in others])  # median: one may be apart
        apart = excess > usual * f.isf(1e-4, max(1, freedom), max(1, freedom * (len(excess) - 1)))
        common = excess[~apart].mean()
        for factor, own, alone in zip(factors, excess, apart, strict=True):
            factor[key] = math.sqrt(max(1.0, own if alone else common))
    wider = [
        {key: replace(difference, half=difference.half * factor[key[0], key[2]]) for key, difference in each.items()}
        for each, factor in zip(found, factors, strict=True)
    ]
    return wider, factors


def verdict(differences: dict, looks: int) -> str:
    """A study's verdict, from errors and log-loss by TTA at the largest average.

    - `contradictory`: the 95 % intervals of both leave out 0, on either side of it.
    - `better` or `worse`: one of both differs so clearly that in a study whose changes all do nothing the chance of any
      such verdict stays below 5 % (Bonferroni, over all looks).
    - `perhaps better`, `perhaps worse`: a 95 % interval of its own leaves out 0, as chance alone makes it with a
      probability of 5 to 10 % for each change; more seeds can tell.
    - `not significant, ±x %`: nothing of that; x is half of the errors' 95 % interval in percent of the
      base's errors. A smaller change may well be there.

    Args:
        differences: as `compared` gives them.
        looks: how often the study looks: twice for each of its changes.
    """
    largest = max(size for _, size, _ in differences)
    errors, log_loss = (differences[VARIANTS[-1], largest, measure] for measure in ("errors", "log_loss"))
    if errors.sign() * log_loss.sign() < 0:
        return "contradictory"
    for z, certainty in ((norm.isf(0.025 / looks), ""), (Z95, "perhaps ")):
        if signs := {errors.sign(z), log_loss.sign(z)} - {0}:
            return certainty + ("better" if -1 in signs else "worse")
    if not errors.base:
        return "not significant: the base has no errors"
    return f"not significant, ±{errors.percent[1]:.0f} %"


def averages(probs, size: int) -> np.ndarray:
    """All cyclic choices of so many members, each averaged: float array (members, n, 10), or (1, n, 10) of all."""
    members = len(probs)
    choices = [[(start + i) % members for i in range(size)] for start in range(members if size < members else 1)]
    return np.stack([probs[choice].mean(axis=0, dtype=np.float64) for choice in choices])


def calibrated(labels, probabilities, parts) -> np.ndarray:
    """Probabilities (k, n, 10) at the temperature that suits the rows of the other parts; `parts` are row numbers."""
    logs = np.log(np.maximum(probabilities, 1e-12))
    result = np.empty_like(logs)
    for part in parts:
        others = np.setdiff1d(np.arange(len(labels)), part)
        result[:, part] = at_temperature(fit_temperature(labels[others], logs[:, others]), logs[:, part])
    return result


def _paired(base, changed, measure: str) -> Difference:
    n, difference = len(base), changed - base
    half = Z95 * math.sqrt(n * difference.var(ddof=1) + (measure == "errors")) / n
    return Difference(float(base.mean()), float(changed.mean()), half)
