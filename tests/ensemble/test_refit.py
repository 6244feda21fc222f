"""Refit members: fit on all rows and submitted beside the folds' members, which score."""

from dataclasses import replace

import numpy as np
import pytest

from competition.config import TTA, Config
from competition.ensemble import scoring
from competition.ensemble.averaging import average_members, score
from competition.ensemble.folds import plan_members
from competition.ensemble.members import load_members, train_members
from competition.execution.budget import Budget
from competition.network.device import Setup
from competition.pipeline import who_is_submitted
from competition.runs.folders import Folders
from competition.runs.resuming import open_run
from tests.ensemble.test_members import Engine

CONFIG = Config(folds=2, refit=3)
NAMES = ["repeat1-fold1", "repeat1-fold2", "refit1", "refit2", "refit3"]


@pytest.fixture
def trained(tmp_path, few):
    """A run and its results."""
    identity = {"settings": {}, "data": [few.sha256] * 2, "precision": "float32"}
    manifest = {"identity": identity, "source": few.source, "hardware": "none"}
    run = open_run(Folders(tmp_path, tmp_path), CONFIG, manifest)
    return run, train_members(run, CONFIG, Setup("float32", False, 1), few, few, Engine())


def test_they_fit_all_rows_and_leave_the_folds_as_they_are(few):
    members = plan_members(CONFIG, few.labels)
    assert [member.name for member in members] == NAMES and len({member.seed for member in members}) == 5
    for member in members[2:]:
        assert list(member.train_rows) == list(range(600)) and len(member.val_rows) == 0
    without = plan_members(replace(CONFIG, refit=0), few.labels)
    assert [(a.name, a.seed) for a in without] == [(a.name, a.seed) for a in members[:2]]
    more = plan_members(replace(CONFIG, repeats=2), few.labels)
    assert [a.seed for a in more[4:]] == [a.seed for a in members[2:]]  # the same nets, whatever scores them


def test_all_are_submitted_and_the_folds_score(trained, few):
    _, results = trained
    predictions = average_members(CONFIG, few, results)
    mean = np.mean([results[name].test_probs for name in NAMES], axis=0)
    np.testing.assert_allclose(predictions.test, mean, atol=1e-6)
    assert not np.isnan(predictions.out_of_fold).any()
    assert predictions.refit == 3 and predictions.row_ratio == pytest.approx((2 * 300 + 3 * 600) / 5 / 300)
    assert [group.size for group in predictions.groups] == [5]
    scores = score(few.labels, predictions, results, CONFIG.members)
    assert scores["members"]["each"] == [0.5, 0.5] and scores["members"]["refit"] == 3
    alone = scoring.predict_leaderboard(few.labels, predictions.out_of_fold[TTA], predictions.groups)["score"]
    gained = (1 - scores["leaderboard"]["score"]) / (1 - alone)
    assert gained == pytest.approx(predictions.row_ratio**-scoring.ROWS_EXPONENT)


def test_without_them_the_folds_average_is_submitted(trained, few):
    _, results = trained
    predictions = average_members(CONFIG, few, {name: results[name] for name in NAMES[:2]})
    without = average_members(replace(CONFIG, refit=0), few, {name: results[name] for name in NAMES[:2]})
    np.testing.assert_array_equal(predictions.test, without.test)
    assert (predictions.refit, predictions.row_ratio) == (0, 1.0)


def test_more_members_gain_by_averaging():
    """Of the variance two members take away 1 − 1/2, and four 1 − 1/4: half as much again."""
    draw = np.random.default_rng(0)
    labels = draw.integers(10, size=500)
    logits = draw.normal(0, 1, (2, 900, 10)) + draw.normal(0, 1, (900, 10))
    logits[:, np.arange(500), labels] += 3
    probs = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    measured = scoring.accuracy(labels, probs[0, :500])

    def gain(refit):
        group = scoring.Group(1, 1, probs[:, 500:], refit)
        return scoring.predict_leaderboard(labels, probs[0, :500], [group])["score"] - measured

    assert gain(2) == pytest.approx(1.5 * gain(0)) and gain(0) > 0


def test_who_is_submitted_is_a_sentence():
    said = [who_is_submitted({"members": {"refit": refit}}) for refit in (0, 2)]
    assert said == [
        "those of the folds score and are submitted: no time was left to fit all rows",
        "those of the folds score; submitted is their average with 2 fit on all rows",
    ]


def test_resumed_a_missing_refit_member_is_trained_and_nothing_else(trained, few):
    run, first = trained
    (run.path / "members" / "refit2" / "done.json").unlink()
    engine = Engine()
    results = train_members(run, CONFIG, Setup("float32", False, 1), few, few, engine)
    assert engine.trained == ["refit2"] and list(results) == NAMES
    for name in NAMES:
        np.testing.assert_array_equal(results[name].test_probs, first[name].test_probs)
    assert all(load_members(run, plan_members(CONFIG, few.labels), len(few)).values())


def test_without_time_for_them_the_folds_members_are_trained(tmp_path, few):
    """A member of the folds takes a second, a refit one two: a third second is too little."""

    class Timed(Engine):
        def each(self, work, members, tell):
            for name, result in super().each(work, members, tell):
                object.__setattr__(budget, "started", budget.started - result.facts["seconds"])
                yield name, result

    budget = Budget((20 + 3.9) / 60)
    identity = {"settings": {}, "data": [few.sha256] * 2, "precision": "float32"}
    run = open_run(Folders(tmp_path, tmp_path), CONFIG, {"identity": identity, "source": "other", "hardware": "none"})
    results = train_members(run, CONFIG, Setup("float32", False, 1), few, few, Timed(), budget=budget)
    assert list(results) == NAMES[:2]
