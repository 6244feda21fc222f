"""Differences and intervals by hand, and planted ones that must be told apart."""

import math

import numpy as np
import pytest

from competition.ensemble.scoring import Z95
from competition.network.calibration import fit_temperature
from competition.studies.statistics import (
    Difference,
    averages,
    calibrated,
    compared,
    measured,
    scatter,
    sizes,
    verdict,
    widened,
)
from tests.ensemble.planted import planted


def certain(*digits, p=1.0):
    """Probabilities (n, 10) that put `p` on the given digits and the rest on the following one."""
    result = np.zeros((len(digits), 10))
    rows = np.arange(len(digits))
    result[rows, digits], result[rows, (np.array(digits) + 1) % 10] = p, 1 - p
    return result


def test_averages_are_of_1_2_4_and_all():
    assert [sizes(members) for members in (1, 2, 3, 4, 6)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4], [1, 2, 4, 6]]
    said = np.arange(3.0)[:, None, None] * np.ones((3, 5, 10), np.float32)
    assert [average[0, 0] for average in averages(said, 2)] == [0.5, 1.5, 1.0]
    assert averages(said, 3).shape == (1, 5, 10) and averages(said, 3)[0, 0, 0] == 1.0


def test_errors_of_a_row_are_the_mean_over_the_members_and_of_the_average_its_own():
    """One of two members misreads row 0 surely and row 3 hardly, but not by views: their average misreads row 0."""
    labels = np.array([0, 0, 1, 1])
    first, second = certain(0, 0, 1, 1, p=0.6), certain(5, 0, 1, 5, p=0.9)
    second[3] = certain(1, p=0.45)[0]
    said = np.array([[first, first], [second, first]])
    result = {key: values.mean(axis=0) for key, values in measured(labels, said).items()}
    assert list(result["plain", 1, "errors"]) == [0.5, 0, 0, 0.5]
    assert list(result["plain", 2, "errors"]) == [1, 0, 0, 0]
    assert list(result["tta", 1, "errors"]) == list(result["tta", 2, "errors"]) == [0, 0, 0, 0]
    assert set(result) == {(v, s, m) for v in ("plain", "tta") for s in (1, 2) for m in ("errors", "log_loss", "brier")}


def test_a_difference_by_hand():
    """Of four rows one is read better: standard error of the sum 1, and for errors one row more than seen."""
    base, changed = (
        {("tta", 1, m): np.array([v], float) for m in ("errors", "brier")} for v in ([1, 0, 0, 1], [0, 0, 0, 1])
    )
    found = compared(base, changed)
    assert found["tta", 1, "brier"].half == pytest.approx(Z95 * 1 / 4)
    assert found["tta", 1, "errors"].half == pytest.approx(Z95 * math.sqrt(2) / 4)
    errors = found["tta", 1, "errors"]
    assert (errors.base, errors.changed, errors.difference) == (0.5, 0.25, -0.25)
    assert errors.percent == pytest.approx((-50, 100 * errors.half / 0.5))
    assert compared(base, base)["tta", 1, "errors"].half == pytest.approx(Z95 / 4)


def test_members_that_judge_the_same_row_are_no_independent_witnesses():
    """The same member four times, in place of once: nothing is known more surely."""
    labels, said = planted(rows=300, members=1)
    _, other = planted(rows=300, members=1, seed=1)
    once = compared(measured(labels, said), measured(labels, other))
    often = compared(*(measured(labels, np.repeat(one, 4, axis=0)) for one in (said, other)))
    for key, difference in once.items():
        assert often[key].half == pytest.approx(difference.half), key


def test_a_temperature_is_found_and_one_that_members_share_changes_nothing():
    labels, said = planted(rows=2000, members=1)
    logs = np.log(np.maximum(said[:, 0], 1e-12))
    temperature = fit_temperature(labels, logs)
    assert fit_temperature(labels, 2 * logs) == pytest.approx(2 * temperature, rel=5e-3)
    smoothed = np.sqrt(said) / np.sqrt(said).sum(axis=-1, keepdims=True)
    before, after = measured(labels, said), measured(labels, smoothed.astype(np.float32))
    for key, values in before.items():
        assert after[key].mean() == pytest.approx(values.mean(), rel=1e-3), key


def test_the_temperature_of_a_row_comes_from_the_others():
    labels, said = planted(rows=200, members=1)
    parts = np.arange(100), np.arange(100, 200)
    wrong = labels.copy()
    wrong[:100] = (wrong[:100] + 1) % 10
    before, after = calibrated(labels, said[:, 0], parts), calibrated(wrong, said[:, 0], parts)
    np.testing.assert_array_equal(before[:, :100], after[:, :100])
    assert not np.allclose(before[:, 100:], after[:, 100:])


@pytest.mark.parametrize(
    ("errors", "log_loss", "looks", "words"),
    [
        (-0.9, -3.0, 2, "better"),
        (0.9, 3.0, 2, "worse"),
        (-0.9, 0.9, 2, "not significant, ±10 %"),
        (-1.1, 0.9, 2, "perhaps better"),  # beyond 1.96 standard errors, and not beyond the 2.24 of two looks
        (0.9, 1.2, 2, "worse"),
        (0.9, 1.2, 20, "perhaps worse"),  # of twenty looks: 3.02
        (-3.0, 3.0, 20, "contradictory"),
        (-1.6, 1.1, 20, "contradictory"),  # beyond 3.02 standard errors one way, and beyond 1.96 the other
    ],
)
def test_verdicts(errors, log_loss, looks, words):
    """Differences in halves of their 95 % intervals; of smaller averages nothing counts."""
    halves = {"errors": errors, "log_loss": log_loss}
    differences = {("tta", 4, name): Difference(1.0, 1 + 0.1 * value, 0.1) for name, value in halves.items()}
    differences |= {("tta", 1, name): Difference(1.0, 9.0, 0.1) for name in halves}
    differences |= {("plain", 4, name): Difference(1.0, 9.0, 0.1) for name in halves}
    assert verdict(differences, looks) == words


def test_a_planted_better_and_a_planted_worse_are_told_apart_and_chance_is_not_seen():
    labels, base = planted(rows=2000, members=4)
    base = measured(labels, base)
    verdicts = [
        verdict(compared(base, measured(labels, planted(2000, 4, seed, strength)[1])), looks=6)
        for seed, strength in ((1, 4.0), (2, 5.0), (3, 3.2))
    ]
    assert verdicts[1:] == ["better", "worse"] and verdicts[0].startswith("not significant, ±")
    assert 3 < float(verdicts[0].split("±")[1].split()[0]) < 30


def test_pairs_of_members_scatter_by_hand():
    """Two members of two rows each; the second reads one row better where the first reads one worse."""
    spoke = np.array([[0, 0, 1, 1]])
    base, changed = ({("tta", 1, "brier"): np.array([values], float)} for values in ([0, 0, 1, 0], [1, 0, 0, 0]))
    found = scatter(spoke, base, changed)
    assert found == {("tta", "brier"): pytest.approx(2 * 0.5**2 / 0.5**2)}  # both half a row, and its standard error
    one = {("tta", 2, "brier"): Difference(1.0, 0.9, 0.1)}
    for scatters, factor in (([6.0, 2.0], 2.0), ([1.0, 0.5], 1.0)):
        (wide, _), factors = widened([one, one], [{("tta", "brier"): x2} for x2 in scatters], freedom=1)
        assert factors == 2 * [{("tta", "brier"): factor}]
        assert wide == {("tta", 2, "brier"): Difference(1.0, 0.9, pytest.approx(0.1 * factor))}
    assert widened([one], [{("tta", "brier"): 0.0}], freedom=0)[1] == [{("tta", "brier"): 1.0}]


@pytest.mark.parametrize("apart", [[181.0], [181.0, 150.0]])
def test_a_change_of_which_one_member_did_not_learn_widens_its_own_intervals_alone(apart):
    one = {("tta", 2, "brier"): Difference(1.0, 0.9, 0.1)}
    scatters = [{("tta", "brier"): x2} for x2 in (2.0, 10.0, 6.0, *(2 * factor**2 for factor in apart))]
    differences, factors = widened(len(scatters) * [one], scatters, freedom=2)
    expected = [3**0.5, 3**0.5, 3**0.5, *apart]
    assert [its["tta", "brier"] for its in factors] == pytest.approx(expected)
    assert [each["tta", 2, "brier"].half for each in differences] == pytest.approx(0.1 * np.array(expected))


@pytest.mark.slow
@pytest.mark.parametrize("luck", [0.0, 0.4])
def test_intervals_of_nothing_hold_zero_19_times_in_20(luck):
    """Two hundred studies of nothing, of six members and three changes: all are drawn anew in each.

    Where members have luck of their own on all rows at once, intervals by rows alone would hold zero far too seldom.
    """
    held, by_rows = {"errors": 0, "log_loss": 0}, {"errors": 0, "log_loss": 0}
    spoke = np.repeat(np.arange(6), 100)[None]
    for study in range(200):
        draw = np.random.default_rng([study, 2])
        settings = []
        for number in range(4):
            skills = 4 + luck * draw.normal(size=6)
            parts = [planted(600, 1, 30 * study + 6 * number + k, skill, study) for k, skill in enumerate(skills)]
            said = np.stack([part[1][0] for part in parts])[spoke[0], :, np.arange(600)].swapaxes(0, 1)[None]
            settings.append(measured(parts[0][0], said))
        base, *changes = settings
        alone = [compared(base, change) for change in changes]
        found, _ = widened(alone, [scatter(spoke, base, change) for change in changes], freedom=5)
        for name in held:
            held[name] += found[0]["tta", 1, name].sign() == 0
            by_rows[name] += alone[0]["tta", 1, name].sign() == 0
    assert all(184 <= count <= 198 for count in held.values()), held
    assert not luck or by_rows["log_loss"] < 184, by_rows
