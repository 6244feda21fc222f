"""Who teaches whom, and how members become one answer."""

from dataclasses import replace

import numpy as np
import pytest

from competition.config import Config
from competition.ensemble import scoring
from competition.ensemble.averaging import average_members, score
from competition.ensemble.folds import plan_members
from competition.ensemble.members import load_members, train_members
from competition.errors import CompetitionError
from competition.network import training
from competition.network.device import Setup
from competition.network.training import augmented_batches
from competition.runs.checkpoint import MemberResult
from competition.runs.folders import Folders
from competition.runs.resuming import open_run

SETTINGS = Config(folds=2, repeats=3)


class Engine:
    """In place of training: each member says something of its own; `trained` keeps their names."""

    jobs = 1

    def __init__(self):
        self.trained = []

    def each(self, work, members, tell):
        for member in members:
            self.trained.append(member.name)
            draw = np.random.default_rng(member.seed)
            valid, test = (draw.dirichlet(np.ones(10), (2, rows)) for rows in (len(member.val_rows), len(work.test)))
            facts = {
                "seed": member.seed,
                "accuracy": 0.5 if len(member.val_rows) else None,
                "epochs": 1,
                "kept_epoch": 1,
                "seconds": 1.0,
            }
            facts |= {"data_source": work.train.source, "data_sha256": work.train.sha256, "failed_before": []}
            history = [dict.fromkeys(("accuracy", "loss", "val_accuracy", "val_loss"), 0.5)]
            yield (
                member.name,
                MemberResult(valid.astype(np.float32), test.astype(np.float32), [np.zeros(1)], history, facts),
            )


@pytest.fixture
def train(tmp_path, few):
    """Train with an engine of the test's; the results by name."""
    identity = {"settings": {}, "data": [few.sha256] * 2, "precision": "float32"}
    manifest = {"identity": identity, "source": few.source, "hardware": "none"}
    run = open_run(Folders(tmp_path, tmp_path), SETTINGS, manifest)

    def start(engine):
        return train_members(run, SETTINGS, Setup("float32", False, 1), few, few, engine)

    return start, run


def test_resumed_what_is_missing_is_trained_and_nothing_else(train):
    start, run = train
    again = Engine()
    first = start(Engine())
    for name in ("repeat1-fold1", "repeat3-fold1"):
        (run.path / "members" / name / "done.json").unlink()
    results = start(again)
    assert again.trained == ["repeat1-fold1", "repeat3-fold1"] and list(results) == list(first)
    for name, result in results.items():
        np.testing.assert_array_equal(result.test_probs, first[name].test_probs)


def test_a_member_that_fails_ends_the_run_and_the_others_are_kept(train):
    class Failing(Engine):
        def each(self, work, members, tell):
            for name, result in super().each(work, members, tell):
                yield name, CompetitionError("it must learn.") if name == "repeat1-fold1" else result

    start, run = train
    engine = Failing()
    with pytest.raises(CompetitionError, match="it must learn"):
        start(engine)
    assert len(engine.trained) == 6
    kept = {path.parent.name for path in run.path.glob("members/*/done.json")}
    assert kept == set(engine.trained) - {"repeat1-fold1"}


def test_what_repeats_differ_in_promises_no_gain(few):
    """Each out-of-fold row averages all repeats already: only what the members of one differ in falls further."""
    members = plan_members(SETTINGS, few.labels)
    sure = np.eye(10, dtype=np.float32)
    results = {
        member.name: MemberResult(
            np.tile(sure[int(member.name[6])], (2, len(member.val_rows), 1)),
            np.tile(sure[int(member.name[6])], (2, 5, 1)), [], [], {"accuracy": 0.5},
        )
        for member in members
    }  # fmt: skip
    answer = average_members(SETTINGS, few, results)
    assert answer.out_of_fold[1, 0] == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 0, 0, 0, 0, 0, 0])
    scores = score(few.labels, answer, results, len(results))
    assert scores["leaderboard"]["score"] == pytest.approx(scoring.accuracy(few.labels, answer.out_of_fold[1]))


def test_a_member_of_another_plan_does_not_count(train, capsys):
    """Checksums and data are right; but it was trained from another seed, or is asked about other rows."""
    start, run = train
    start(Engine())
    (run.path / "members" / "repeat1-fold1").rename(run.path / "members" / "aside")
    (run.path / "members" / "repeat2-fold1").rename(run.path / "members" / "repeat1-fold1")
    (run.path / "members" / "aside").rename(run.path / "members" / "repeat2-fold1")
    again = Engine()
    start(again)
    assert set(again.trained) == {"repeat1-fold1", "repeat2-fold1"}
    assert capsys.readouterr().out.count("is of another plan: it is trained again") == 2
    members = plan_members(SETTINGS, np.arange(400) % 10)
    assert load_members(run, members, 600) == {}


def test_a_member_is_fed_its_own_rows_with_their_labels(few, monkeypatch):
    fed = {}

    def spy(config, seed, images, targets, rows):
        fed.update(images=images, targets=targets, rows=rows)
        return augmented_batches(config, seed, images, targets, rows)

    monkeypatch.setattr(training, "augmented_batches", spy)
    config = replace(SETTINGS, epochs=1, batch_size=32, width=0.25, tta=0)
    member = plan_members(config, few.labels)[0]
    training.fit_member(member, 1, Setup("float32", False, 1), few, replace(few, images=few.images[:100], labels=None))
    assert len(fed["rows"]) > 250 and set(fed["rows"]) < set(member.train_rows) and fed["images"] is few.images
    np.testing.assert_array_equal(fed["targets"].argmax(1), few.labels)
