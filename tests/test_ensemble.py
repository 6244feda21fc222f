"""Who teaches whom, and how members become one answer."""

from dataclasses import replace

import numpy as np
import pytest

from competition import ensemble, scoring
from competition.config import Config
from competition.device import Setup
from competition.folders import Folders
from competition.folds import plan_members
from competition.resuming import open_run
from competition.runs import MemberResult

SETTINGS = Config(folds=2, repeats=3, teachers=2)


class Engine:
    """In place of training: each member says something of its own; `taught` keeps the test labels that it got."""

    def __init__(self):
        self.taught = {}

    def each(self, work, members, tell):
        for member in members:
            self.taught[member.name] = member.test_labels
            draw = np.random.default_rng(member.seed)
            valid, test = (draw.dirichlet(np.ones(10), (2, rows)) for rows in (len(member.rows[1]), len(work.test)))
            facts = {"accuracy": 0.5, "epochs": 1, "kept_epoch": 1, "seconds": 1.0, "failed_before": []}
            facts |= {"data_source": work.train.source, "data_sha256": work.train.sha256}
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
        results = ensemble.train_members(run, SETTINGS, Setup("float32", False, 1), few, few, engine)
        return dict(zip([member.name for member in plan_members(SETTINGS, few.labels)], results, strict=True))

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


def test_what_repeats_differ_in_promises_no_gain(few):
    """Each out-of-fold row averages all repeats already: only what the members of one differ in falls further."""
    config = replace(SETTINGS, teachers=0)
    members = plan_members(config, few.labels)
    sure = np.eye(10, dtype=np.float32)
    results = [
        MemberResult(
            np.tile(sure[int(member.name[6])], (2, len(member.rows[1]), 1)),
            np.tile(sure[int(member.name[6])], (2, 5, 1)), [], [], {"accuracy": 0.5},
        )
        for member in members
    ]  # fmt: skip
    answer = ensemble.combine(config, few, results)
    assert answer.out_of_fold[1, 0] == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 0, 0, 0, 0, 0, 0])
    score = ensemble.score(few.labels, answer, results)
    assert score["leaderboard"]["score"] == pytest.approx(scoring.accuracy(few.labels, answer.out_of_fold[1]))
