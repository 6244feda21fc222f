"""Who teaches whom, and how members become one answer."""

from dataclasses import replace

import numpy as np
import pytest

from competition.config import Config
from competition.ensemble import scoring
from competition.ensemble.answer import combine, score
from competition.ensemble.folds import exchangeable, plan_members
from competition.ensemble.members import load_members, train_members
from competition.errors import CompetitionError
from competition.network import training
from competition.network.device import Setup
from competition.network.training import augmented_batches
from competition.runs.folders import Folders
from competition.runs.result import MemberResult
from competition.runs.resuming import open_run

SETTINGS = Config(folds=2, repeats=3, teachers=2)


class Engine:
    """In place of training: each member says something of its own; `taught` keeps the test labels that it got."""

    jobs = 1

    def __init__(self):
        self.taught = {}

    def each(self, work, members, tell):
        for member in members:
            self.taught[member.name] = member.test_labels
            draw = np.random.default_rng(member.seed)
            valid, test = (
                draw.dirichlet(np.ones(10), (2, rows)) for rows in (len(member.out_of_fold_rows), len(work.test))
            )
            facts = {"seed": member.seed, "accuracy": 0.5, "epochs": 1, "kept_epoch": 1, "seconds": 1.0}
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


def test_members_are_taught_by_those_that_never_saw_their_valid_rows(train):
    """The last repeat's: of each fold by the two teachers of that fold, by their mean, over views."""
    start, _ = train
    engine = Engine()
    results = start(engine)
    for name, labels in engine.taught.items():
        if not name.startswith("repeat3"):
            assert labels is None, name
            continue
        fold = name.removeprefix("repeat3-")
        said = [results[f"repeat{repeat}-{fold}"].test[1].astype(float) for repeat in (1, 2)]
        np.testing.assert_array_equal(labels, np.mean(said, axis=0).astype(np.float32))
    assert len(engine.taught) == 6


def test_resumed_a_member_is_taught_the_same(train):
    start, run = train
    first, again = Engine(), Engine()
    start(first)
    for name in ("repeat1-fold1", "repeat3-fold1"):
        (run.path / "members" / name / "done.json").unlink()
    start(again)
    assert set(again.taught) == {"repeat1-fold1", "repeat3-fold1"}
    np.testing.assert_array_equal(again.taught["repeat3-fold1"], first.taught["repeat3-fold1"])


def test_a_teacher_that_fails_ends_the_run_before_its_pupils_and_the_others_are_kept(train):
    class Failing(Engine):
        def each(self, work, members, tell):
            for name, result in super().each(work, members, tell):
                yield name, CompetitionError("it must learn.") if name == "repeat1-fold1" else result

    start, run = train
    engine = Failing()
    with pytest.raises(CompetitionError, match="it must learn"):
        start(engine)
    assert not any(name.startswith("repeat3") for name in engine.taught)
    assert {path.parent.name for path in run.path.glob("members/*/done.json")} == set(engine.taught) - {"repeat1-fold1"}


def test_what_repeats_differ_in_promises_no_gain(few):
    """Each out-of-fold row averages all repeats already: only what the members of one differ in falls further."""
    config = replace(SETTINGS, teachers=0)
    members = plan_members(config, few.labels)
    sure = np.eye(10, dtype=np.float32)
    results = {
        member.name: MemberResult(
            np.tile(sure[int(member.name[6])], (2, len(member.out_of_fold_rows), 1)),
            np.tile(sure[int(member.name[6])], (2, 5, 1)), [], [], {"accuracy": 0.5},
        )
        for member in members
    }  # fmt: skip
    answer = combine(config, few, results)
    assert answer.out_of_fold[1, 0] == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 0, 0, 0, 0, 0, 0])
    scores = score(few.labels, answer, list(results.values()), len(results))
    assert scores["leaderboard"]["score"] == pytest.approx(scoring.accuracy(few.labels, answer.out_of_fold[1]))


def test_with_teachers_what_falls_is_the_variance_between_folds(few):
    """The members of a fold share its rows and labels: three that say the same promise what one of them would."""
    draw = np.random.default_rng(0)
    said = draw.dirichlet(np.full(10, 0.2), (2, 50))
    one, three = (replace(SETTINGS, repeats=repeats, teachers=repeats - 1) for repeats in (1, 3))
    labels, out_of_fold = draw.integers(10, size=50), draw.dirichlet(np.full(10, 0.2), 50)
    scores = [
        scoring.predict_leaderboard(
            labels,
            out_of_fold,
            exchangeable(config, plan_members(config, few.labels), np.tile(said, (config.repeats, 1, 1))),
        )
        for config in (one, three)
    ]
    assert scores[0] == pytest.approx(scores[1]) and scores[0]["score"] > scoring.accuracy(labels, out_of_fold)


def test_a_member_of_another_plan_does_not_count(train, capsys):
    """Checksums and data are right; but it was trained from another seed, or is asked about other rows."""
    start, run = train
    start(Engine())
    (run.path / "members" / "repeat1-fold1").rename(run.path / "members" / "aside")
    (run.path / "members" / "repeat2-fold1").rename(run.path / "members" / "repeat1-fold1")
    (run.path / "members" / "aside").rename(run.path / "members" / "repeat2-fold1")
    again = Engine()
    start(again)
    assert set(again.taught) == {"repeat1-fold1", "repeat2-fold1"}
    assert capsys.readouterr().out.count("is of another plan: it does not count") == 2
    members = plan_members(SETTINGS, np.arange(400) % 10)
    assert set(load_members(run, members, 600).values()) == {None}


def test_the_pixels_of_the_test_rows_teach_a_pupil_and_its_valid_rows_do_not(few, monkeypatch):
    """What is fed: its own rows with their labels, the test rows with the teachers'; and its facts say so."""
    fed = {}

    def spy(config, seed, images, targets, rows):
        fed.update(images=images, targets=targets, rows=rows)
        return augmented_batches(config, seed, images, targets, rows)

    monkeypatch.setattr(training, "augmented_batches", spy)
    config = replace(SETTINGS, epochs=1, batch_size=32, width=0.25, tta=0)
    test = replace(few, images=few.images[:100, ::-1], labels=None)
    member = plan_members(config, few.labels)[0]
    said = np.random.default_rng(0).dirichlet(np.ones(10), 100).astype(np.float32)
    facts = []
    for labels in (None, said):
        result = training.fit_member(replace(member, test_labels=labels), 1, Setup("float32", False, 1), few, test)
        facts.append(result.facts)
        own = fed["rows"][fed["rows"] < 600]
        assert not set(own) & set(member.out_of_fold_rows)
        np.testing.assert_array_equal(fed["targets"][own].argmax(1), few.labels[own])
    assert list(fed["rows"][len(own) :]) == list(range(600, 700))
    np.testing.assert_array_equal(fed["images"][600:], test.images)
    np.testing.assert_array_equal(fed["targets"][600:], said)
    assert "test_sha256" not in facts[0] and facts[1]["test_sha256"] == test.sha256
    assert facts[1]["test_source"] == test.source and facts[1]["steps"] > facts[0]["steps"]
