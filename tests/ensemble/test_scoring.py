import math

import numpy as np
import pytest

from competition.config import Config
from competition.ensemble import scoring
from competition.ensemble.folds import exchangeable_groups, plan_members
from competition.ensemble.scoring import Group

LABELS = np.array([0, 1, 2, 3])


def certain(*digits, p=1.0):
    """Probabilities that put `p` on the given digits and the rest on the following one."""
    result = np.zeros((len(digits), 10))
    for row, digit in enumerate(digits):
        result[row, digit], result[row, (digit + 1) % 10] = p, 1 - p
    return result


def test_accuracy_log_loss_and_brier_by_hand():
    p = certain(0, 1, 2, 4, p=0.8)
    assert scoring.accuracy(LABELS, p) == 0.75
    assert scoring.log_loss(LABELS, p) == pytest.approx(-(3 * math.log(0.8) + math.log(1e-7)) / 4)
    assert scoring.brier(LABELS, p) == pytest.approx((3 * (0.04 + 0.04) + (1 + 0.64 + 0.04)) / 4)


def test_wilson_matches_the_textbook():
    # Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662
    assert scoring.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert scoring.wilson(100, 100)[1] == 1.0


def test_spread_is_the_unbiased_variance_summed_over_digits():
    members = np.stack([certain(0, 1), certain(0, 2)])
    assert scoring.spread(members) == pytest.approx((0 + 2 * 0.5) / 2)


def test_paired_counts_and_differences():
    first, second = certain(0, 1, 2, 4), certain(0, 1, 5, 3)
    result = scoring.paired(LABELS, first, second)
    assert (result["only_first_wrong"], result["only_second_wrong"]) == (1, 1)
    assert result["accuracy"] == pytest.approx((0, scoring.Z95 * np.std([0, 0, 1, -1], ddof=1) / 2))
    assert scoring.paired(LABELS, first, first)["log_loss"] == (0, 0)


def test_one_member_predicts_its_own_score():
    p = certain(0, 1, 2, 4)
    predicted = scoring.predict_leaderboard(LABELS, p, [Group(1, 1, p[None])])
    assert predicted["score"] == 0.75
    # both samplings of 4 rows: 0.75 ± 1.96·sqrt(0.1875·(1/4 + 1/4))
    assert predicted["low"] == pytest.approx(0.75 - 1.959964 * math.sqrt(0.1875 * 0.5))


def test_members_that_agree_promise_no_gain():
    p = certain(0, 1, 2, 4, p=0.9)
    assert scoring.predict_leaderboard(LABELS, p, [Group(1, 1, np.stack([p, p, p]))])["score"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    "settings",
    ({"folds": 6}, {"folds": 5, "repeats": 3}),
    ids=("folds", "repeats"),
)
def test_the_prediction_holds_for_simulated_ensembles(settings):
    """The gain predicted from the rows that one member a repeat reads is nearly that of all members on others.

    Each member sees the pictures with noise of its own. Repeats are of several kinds, each with noise of its kind.
    """
    config, rows = Config(**settings), 4000
    shape, train, test = (config.repeats, config.folds), slice(0, rows // 2), slice(rows // 2, None)
    gains = []
    for seed in range(6):
        draw = np.random.default_rng(seed)
        labels = draw.integers(10, size=rows)
        seen = np.eye(10)[labels] * 4 + draw.normal(size=(rows, 10))  # by all members
        common = draw.normal(scale=0.25, size=(shape[0], 1, rows, 10))
        logits = seen + common + draw.normal(scale=0.3, size=(*shape, rows, 10))
        logits *= 4 / (1 + 0.25**2 + 0.3**2)  # the true log-odds: calibrated, as trained networks nearly are
        said = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        folds = said.mean(axis=0)  # what the members that were asked about a row say of it
        groups = exchangeable_groups(config, plan_members(config, labels[train]), said.reshape(-1, rows, 10)[:, test])
        predicted = scoring.predict_leaderboard(labels[train], folds[0, train], groups)
        reached = scoring.accuracy(labels[test], folds.mean(axis=0)[test])
        alone = np.mean([scoring.accuracy(labels[test], fold[test]) for fold in folds])
        gain = predicted["score"] - scoring.accuracy(labels[train], folds[0, train])
        gains.append((gain, reached - alone, predicted["low"] <= reached <= predicted["high"]))
    predicted, reached, inside = np.mean(gains, axis=0)
    assert 0.7 < predicted / reached < 1.1 and inside >= 5 / 6, gains


def _read_by(members, sure=1.0):
    """Labels (4000,), and what so many simulated members say of them, (members, 4000, 10)."""
    draw = np.random.default_rng(0)
    labels = draw.integers(10, size=4000)
    odds = np.exp(sure * (3 * np.eye(10)[labels] + draw.normal(size=(members, 4000, 10))))
    return labels, odds / odds.sum(axis=-1, keepdims=True)


def test_doubt_about_digits_that_are_read_rightly_changes_no_predicted_gain():
    gains = []
    for sure in (1, 0.5):
        labels, said = _read_by(4, sure)
        labels, seen = labels[:2000], said[0, :2000]
        predicted = scoring.predict_leaderboard(labels, seen, [Group(1, 1, said[:, 2000:])])
        gains.append(predicted["score"] - scoring.accuracy(labels, seen))
    assert gains[1] == pytest.approx(gains[0], rel=0.05) and gains[0] > 0.02


def test_a_gain_is_left_where_nearly_all_members_judged_each_row():
    """As by `--folds 1 --repeats 3 --holdout 0.9`."""
    labels, said = _read_by(3)
    labels, seen = labels[:2000], said[:, :2000].mean(axis=0)
    predicted = scoring.predict_leaderboard(labels, seen, [Group(1, 2.7, said[:, 2000:])])
    assert predicted["score"] > scoring.accuracy(labels, seen)


def _two_digits(confidence):
    probabilities = np.zeros((len(confidence), 10))
    probabilities[:, 0], probabilities[:, 1] = confidence, 1 - np.asarray(confidence)
    return probabilities


def test_calibration_bins_hold_equal_expected_errors():
    # Two rows expect 0.4 errors each and seven rows 0.1 each: half of the 1.5 is reached in the second.
    probabilities = _two_digits([0.9] * 7 + [0.6] * 2)
    bins = scoring.calibration(np.array([0] * 7 + [0, 1]), probabilities, bins=2)
    assert bins["count"].tolist() == [2, 7]
    np.testing.assert_allclose(bins["confidence"], [0.6, 0.9])
    np.testing.assert_allclose(bins["accuracy"], [0.5, 1])


def test_expected_calibration_error_by_hand():
    probabilities, labels = _two_digits([0.75] * 4), np.array([0, 0, 0, 1])
    assert scoring.expected_calibration_error(labels, probabilities, bins=1) == pytest.approx(0)
    assert scoring.expected_calibration_error(np.array([0, 0, 1, 1]), probabilities, bins=1) == pytest.approx(0.25)
    certain = _two_digits([1.0] * 4)
    assert scoring.expected_calibration_error(np.zeros(4, int), certain) == 0
    assert scoring.calibration(np.zeros(4, int), certain)["count"].tolist() == [4]


def test_most_confident_counts_from_the_top():
    probabilities, labels = _two_digits([0.6, 0.99, 0.9, 0.8]), np.array([1, 0, 1, 0])
    half, all_rows = scoring.most_confident(labels, probabilities, (0.5, 1.0))
    assert (half["rows"], half["errors"], half["accuracy"]) == (2, 1, 0.5)
    assert (all_rows["rows"], all_rows["errors"]) == (4, 2)


def test_growth_is_measured_over_repeats_and_its_prediction_ends_where_the_score_does():
    labels = np.array([0, 0])
    repeats = np.stack([_two_digits([0.9, 0.4]), _two_digits([0.4, 0.9])])
    assert scoring.growth(labels, repeats) == [{"members": 1, "accuracy": 0.5}, {"members": 2, "accuracy": 1.0}]
    labels, said = _read_by(4)
    grown = scoring.predict_growth(labels, said[0], [Group(1, 1, said)])
    assert grown[0] == pytest.approx(scoring.accuracy(labels, said[0]))
    assert (grown[1:] - grown[0]) / (grown[3] - grown[0]) == pytest.approx([2 / 3, 8 / 9, 1])  # as 1 - 1/m
    assert grown[-1] == pytest.approx(scoring.predict_leaderboard(labels, said[0], [Group(1, 1, said)])["score"])
