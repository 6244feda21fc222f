"""What members' predictions tell of two files, and of the accuracy on one without labels."""

from types import SimpleNamespace

import numpy as np
import pytest

from competition.data.digits import Digits
from competition.ensemble import prediction_shift

EYE = np.eye(10, dtype=np.float32)


def probs_of(labels, confidence):
    """Rows that give a label some confidence and the others the rest."""
    confidence = np.asarray(confidence, np.float32)[:, None]
    return EYE[labels] * confidence + (1 - EYE[labels]) * (1 - confidence) / 9


def test_each_row_has_one_member_and_both_files_have_them_in_the_same_shares():
    members = [SimpleNamespace(val_rows=np.arange(0, 900)), SimpleNamespace(val_rows=np.arange(600, 1000))]
    members.append(SimpleNamespace(val_rows=np.zeros(0, int)))  # a refit member has none
    val_probs = [np.full((len(member.val_rows), 10), number) for number, member in enumerate(members)]
    test_probs = np.stack([np.full((5000, 10), number) for number in range(3)])
    val, test = prediction_shift.single_members(members, val_probs, test_probs, 1001)
    assert (val[:600] == 0).all() and (val[900:1000] == 1).all() and np.isnan(val[1000]).all()
    assert set(val[600:900, 0]) == {0, 1}  # of two, chance decides
    assert 2 not in test and np.mean(test[:, 0]) == pytest.approx(val[:1000, 0].mean(), abs=0.02)


def test_average_thresholded_confidence_by_hand():
    """One of four validation rows is misread: the threshold leaves the least sure one below."""
    labels, val = np.array([0, 1, 2, 3]), probs_of([0, 1, 2, 4], [0.9, 0.8, 0.7, 0.3])
    test = probs_of([5, 5, 5, 5], [0.95, 0.75, 0.4, 0.2])
    assert prediction_shift.estimate_accuracy(labels, val, test) == 0.5
    assert prediction_shift.estimate_accuracy(labels, probs_of(labels, [0.9, 0.8, 0.7, 0.6]), val) == 0.75


def test_a_classifier_tells_apart_what_differs_and_nothing_else():
    draw = np.random.default_rng(0)
    ours, theirs = draw.normal(size=(600, 3)), draw.normal(size=(300, 3))
    same = prediction_shift.tell_apart(ours, theirs)
    assert same["low"] < 0.5 < same["high"] and not same["differ"]
    apart = prediction_shift.tell_apart(ours, theirs + 4)
    assert apart["auc"] > 0.99 and apart["differ"] and apart["high"] <= 1


@pytest.fixture(scope="module")
def alike(sample):
    """Made-up members, right in nine of ten rows and surer of those: training digits, test images and predictions."""
    draw = np.random.default_rng(1)
    right = draw.random(3000) < 0.9
    labels = np.where(right, sample.labels[:3000], (sample.labels[:3000] + 1) % 10)
    probs = probs_of(labels, np.where(right, draw.uniform(0.6, 1, 3000), draw.uniform(0.2, 0.6, 3000)))
    train = Digits(sample.images[:2000], sample.labels[:2000], "other", "")
    return train, sample.images[2000:3000], (probs[:2000], probs[2000:])


def test_alike_files_raise_no_alarm(alike):
    train, images, single = alike
    found = prediction_shift.check(train, images, single)
    assert not found["alarm"] and found["estimate"] == pytest.approx(0.9, abs=0.03)
    assert len(found["pixels"]) == 14 and len(found["predictions"]) == 11
    gaps = single[0].copy()
    gaps[::2] = np.nan
    assert not prediction_shift.check(train, images, (gaps, single[1]))["alarm"]


def test_an_alarm_says_by_what_it_came(alike):
    train, images, (val, test) = alike
    by_pixels = prediction_shift.check(train, 255 - images, (val, test))
    assert by_pixels["alarm"] and by_pixels["classifier"]["differ"]
    assert not any(test["differ"] for test in by_pixels["predictions"])
    names = [name.strip() for name, _ in prediction_shift.in_words(by_pixels)]
    assert names == ["Predicted leaderboard", "by its pixels", "by a classifier", "Estimated accuracy"]
    unsure = 0.5 * test + 0.05
    by_predictions = prediction_shift.check(train, images, (val, unsure))
    assert by_predictions["alarm"] and not any(test["differ"] for test in by_predictions["pixels"])
    assert by_predictions["estimate"] < 0.5
    assert by_predictions["predictions"][0]["measure"] == "largest probability"


def test_a_digit_that_train_csv_lacks_is_an_alarm(alike):
    train, images, (val, test) = alike
    val = np.where((train.labels == 9)[:, None], np.nan, val)
    lacking = Digits(train.images, np.where(train.labels == 9, 8, train.labels), "other", "")
    found = prediction_shift.check(lacking, images, (val, test))
    assert found["alarm"] and ("  by labels", "train.csv has no 9") in prediction_shift.in_words(found)


def test_of_a_few_rows_nothing_is_said(alike):
    train, images, (val, test) = alike
    found = prediction_shift.check(train, 255 - images[:19], (val, test[:19]))
    assert not found["alarm"] and found["classifier"] is None and found["pixels"] == []
