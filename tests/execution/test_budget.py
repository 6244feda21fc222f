"""How many members fit into a time, and that a part of a plan is a whole and honest run, which goes on."""

import math
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from competition import pipeline
from competition.config import Config
from competition.data.dataset import load_dataset_of
from competition.data.submission import read_submission
from competition.ensemble import scoring
from competition.ensemble.folds import exchangeable_groups, plan_members
from competition.ensemble.members import train_members
from competition.ensemble.networks import probabilities_of
from competition.errors import CompetitionError
from competition.execution import budget
from competition.execution.budget import ENDING, Budget, Pace, next_members
from competition.kaggle import provenance
from competition.network.device import Setup
from competition.report.run_page import make_report
from competition.runs import history
from competition.runs.folders import Folders
from competition.runs.resuming import open_run
from competition.runs.run import find_run
from tests.conftest import write_csv
from tests.ensemble.test_members import Engine as Sayer
from tests.kaggle.test_provenance import known

SETUP = Setup("float32", False, 1)
TINY = {
    "folds": 2,
    "refit": 0,
    "repeats": 2,
    "epochs": 1,
    "batch_size": 16,
    "width": 0.25,
    "early_stopping_fraction": 0.1,
    "tta": 0,
}


@pytest.mark.parametrize(
    ("left", "took", "processes", "missing", "number"),
    [
        (100, None, 1, 6, 1),  # nothing is known yet: one wave
        (100, None, 4, 6, 4),
        (100, None, 8, 6, 6),
        (-5, None, 2, 6, 2),  # one member there must be, and what trains beside it costs no time
        (60, 60, 1, 6, 1),  # the next one just fits
        (59, 60, 1, 6, 0),
        (60, 60, 2, 6, 2),
        (60, 60, 4, 3, 3),  # the last wave of the plan is a smaller one
        (-5, 60, 2, 6, 0),
        (359, 60, 2, 6, 2),  # all would take 180 s, if each took as long as the last ones
        (360, 60, 2, 6, 6),  # ample: one wave, without a wait for the slowest of each
        (360, 60, 4, 6, 6),
        (360, 60, 1, 6, 1),
    ],
)
def test_as_many_as_fit(left, took, processes, missing, number):
    assert next_members(left, took, processes, missing) == number


@pytest.mark.parametrize("minutes", (0, -1, math.nan, math.inf))
def test_minutes_are_a_positive_number(minutes):
    with pytest.raises(CompetitionError, match=rf"MINUTES is a positive number\. Received: {minutes:g}\. Next: "):
        Budget(minutes)


@pytest.fixture
def clock(monkeypatch):
    """Seconds, which pass where a test says so."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(budget, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def given(seconds, clock, advice=""):
    """A budget of so many seconds for members, from now."""
    return Budget((seconds + ENDING) / 60, advice, clock.seconds)


def test_the_time_is_foretold_once_by_an_epoch_without_a_start(clock):
    said = []
    pace = Pace(given(1000, clock, " Or less."), dict.fromkeys("abcd", 1.0), 10, {}, said.append)
    assert pace.next(2) == 2
    for seconds, name in ((30, "a"), (33, "b"), (40, "a"), (41, "b")):
        clock.seconds = seconds
        pace.epoch(name)
    assert said == ["4 members take about 03:20, by the first epochs. Or less."]  # 10 s an epoch, 2 at once


def test_what_will_not_fit_is_said_after_the_first_member(clock):
    said = []
    pace = Pace(given(250, clock), dict.fromkeys("abc", 1.0), 10, {}, said.append)
    assert pace.next(1) == 1 and not said
    clock.seconds = 100
    pace.member("a", 100.0)
    assert pace.next(1) == 1  # 150 s are left
    assert said == ["The other 2 would take about 03:20; 4.5 minutes end with those that fit."]
    clock.seconds = 200
    pace.member("b", 100.0)
    assert pace.next(1) == 0 and len(said) == 1


class Timed(Sayer):
    """As `Sayer`, but a member takes a second of the clock."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def each(self, work, members, tell):
        for name, result in super().each(work, members, tell):
            self.clock.seconds += 1
            yield name, replace(result, facts=result.facts | {"seconds": 1.0})


def test_members_are_taken_in_order_as_time_allows(clock, tmp_path, few):
    """Six members, trained with the time of some of them, again and again."""
    config = Config(folds=2, repeats=3)
    manifest = {"identity": {"settings": {}, "data": [few.sha256] * 2, "precision": "float32"}, "source": "other"}
    runs = [open_run(Folders(tmp_path, tmp_path / name), config, manifest | {"hardware": ""}) for name in "ab"]

    def train(run, seconds, engine=None):
        time = seconds and given(seconds, clock)
        return train_members(run, config, SETUP, few, few, engine or Timed(clock), budget=time)

    names = [member.name for member in plan_members(config, few.labels)]
    counts = [len(train(runs[0], seconds)) for seconds in (0.1, 0.1, 1, 2.5, 0.9, 1)]
    assert counts == [1, 1, 2, 4, 4, 5]
    assert list(train(runs[0], 0.1)) == names[:5]
    last = Timed(clock)
    results, undisturbed = train(runs[0], None, last), train(runs[1], None)
    assert list(results) == list(undisturbed) == names and last.trained == names[5:]
    assert all((results[name].test_probs == undisturbed[name].test_probs).all() for name in names)


def test_a_repeat_that_is_not_all_there_counts_by_the_variance_that_it_brings(few):
    """Three of two by two members: half of the rows are judged by two of them, half by one."""
    config = Config(folds=2, repeats=2)
    members, said = plan_members(config, few.labels)[:3], np.random.default_rng(0).dirichlet(np.ones(10), (3, 5))
    first, second = exchangeable_groups(config, members, said)
    assert (first.share, second.share) == pytest.approx((2 / 3, 1 / 3))
    np.testing.assert_array_equal(first.test_probs, said[:2])
    # Of the variance of a member, a row's prediction has 1/4 from each repeat where both judge, else 1 from the first.
    assert first.share**2 / first.members_per_row == pytest.approx((1 / 4 + 1) / 2, rel=0.01)
    assert second.share**2 / second.members_per_row == pytest.approx((1 / 4 + 0) / 2, rel=0.01)
    whole = exchangeable_groups(config, plan_members(config, few.labels), np.concatenate([said, said[:1]]))
    assert [(group.share, group.members_per_row) for group in whole] == [(1 / 2, pytest.approx(1))] * 2


@pytest.fixture(scope="module")
def trained(tmp_path_factory, few, sample):
    """Folders with a run of which one of four members fitted, on digits that are taken for the competition's."""
    root = tmp_path_factory.mktemp("ended")
    (root / "input").mkdir()
    write_csv(root / "input" / "train.csv", few.images, few.labels)
    write_csv(root / "input" / "test.csv", sample.images[600:660])
    folders = Folders(root / "input", root / "runs")
    illustrate = pipeline.illustrate
    with pytest.MonkeyPatch.context() as patch:
        known(patch, folders)
        patch.setattr(pipeline, "illustrate", illustrate)
        train(folders, minutes=0.001)
    return folders


@pytest.fixture
def ended(trained, tmp_path, monkeypatch):
    """The same folders, to be changed, and the run."""
    folders = replace(trained, submissions=shutil.copytree(trained.submissions, tmp_path / "runs"))
    known(monkeypatch, folders)
    return folders, find_run(folders)


def train(folders, minutes=None, **settings):
    return pipeline.train(folders, SETUP, "fast", {**TINY, **settings}, jobs=1, minutes=minutes)


def labels_as_it_said(folders, run):
    """Whether its members say of the test rows what the run's answer is."""
    said = probabilities_of(run, load_dataset_of(folders, run.manifest).test.images)
    return np.allclose(said, run.probabilities()[1][run.config.submitted], atol=1e-6)


def test_a_run_whose_time_ran_out_is_complete_and_says_so(ended, few):
    folders, run = ended
    assert run.complete and not run.whole and run.part == ["repeat1-fold1"]
    read_submission(run.submission_csv, 60)
    scores, (row,) = run.read_json("scores.json"), history.read(folders)
    out_of_fold = run.probabilities(600, 60)[0]
    judged = plan_members(run.config, few.labels)[0].val_rows
    np.testing.assert_array_equal(scoring.rows_predicted(out_of_fold[0]), judged)
    assert scores["out_of_fold"]["rows"] == 300 and np.isnan(out_of_fold).sum() == 2 * 300 * 10
    assert scores["members"]["planned"] == 4 and row["recipe"] == "fast (1 of 4 members)"
    page = (run.path / "report.html").read_text("utf-8")
    assert "1 of 4 members" in page and "300 of 600: the time ran out" in page and "its one member" in page
    assert labels_as_it_said(folders, run) and (run.path / "model.keras").exists()


def test_it_may_be_sent_with_all_the_members_that_it_names(ended):
    folders, run = ended
    row, path = provenance.row_of_run(folders, run)
    assert path == run.submission_csv and row["source"] == "kaggle"
    (run.path / "members" / "repeat1-fold1").rename(run.path / "members" / "repeat1-fold2")
    with pytest.raises(CompetitionError, match="of which 0 of 1 members are there"):
        provenance.row_of_run(folders, run)
    with pytest.raises(CompetitionError, match=r"must hold repeat1-fold1. Received: none"):
        make_report(folders, run, load_dataset_of(folders, run.manifest))


@pytest.mark.slow
def test_it_goes_on_and_ends_with_the_bytes_of_an_undisturbed_run(ended, tmp_path, monkeypatch):
    folders, run = ended
    first, (row,) = run.submission_csv.read_bytes(), history.read(folders)
    row |= {"submission": "1000", "submitted": "2026-01-02", "status": "COMPLETE", "leaderboard": "0.99"}
    history.add(folders, row)
    assert train(folders, minutes=0.001) == run and history.find(folders, run)["leaderboard"] == "0.99"  # none fits

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pipeline, "conclude", interrupt)
        train(folders)
    assert len(run.member_facts()) == 4 and run.part == ["repeat1-fold1"] and run.submission_csv.read_bytes() == first
    assert labels_as_it_said(folders, run) and provenance.row_of_run(folders, run)

    assert train(folders) == run and run.whole
    undisturbed = train(replace(folders, submissions=tmp_path / "others"))
    assert run.submission_csv.read_bytes() == undisturbed.submission_csv.read_bytes() != first
    arrays = [one.read_arrays("probabilities.npz") for one in (run, undisturbed)]
    assert all((arrays[0][name] == arrays[1][name]).all() for name in ("out_of_fold", "test"))
    new, sent = history.read(folders)
    assert sent["run"] == f"{run.name}-{row['sha256'][:8]}" and sent["leaderboard"] == "0.99"
    assert (new["run"], new["recipe"], new["submission"]) == (run.name, "fast", "")


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.slow
def test_blended_it_stays_what_it_was_when_it_goes_on(ended, few):
    folders, run = ended
    other = train(folders, minutes=0.001, folds=1, holdout=0.5)  # random splits
    assert other.part == ["repeat1-fold1"]
    blended = pipeline.blend(folders, [run.name, other.name])
    asked = [set(plan_members(one.config, few.labels)[0].val_rows) for one in (run, other)]
    assert set(scoring.rows_predicted(blended.probabilities()[0][0])) == asked[0] & asked[1]
    assert train(folders) == run and run.whole and len(run.member_facts()) == 4
    assert labels_as_it_said(folders, blended) and provenance.row_of_run(folders, blended)
