"""Blending: probabilities averaged, scored out of fold on its own, and told where they come from."""

import numpy as np
import pytest

from competition import __main__
from competition.ensemble import scoring
from competition.ensemble.folds import member_settings
from competition.ensemble.scoring import Group
from competition.errors import CompetitionError
from competition.pipeline import blend
from competition.report.run_page import make_report
from competition.runs import history
from competition.runs.run import list_runs
from tests.finished_run import finished_run


@pytest.fixture
def two(tmp_path):
    """Two made-up runs on the sample that misread other rows; one without views and with a fold more."""
    _, first, _ = finished_run(tmp_path, "a", {(4, 9): 5})
    folders, second, digits = finished_run(tmp_path, "b", {(7, 1): 3}, views=0, repeats=2)
    return folders, first, second, digits


def test_a_blend_averages_its_parents_and_is_a_run_of_its_own(two):
    folders, first, second, digits = two
    made = blend(folders, ["a", "b"])
    arrays = [run.read_arrays("probabilities.npz") for run in (first, second, made)]
    np.testing.assert_allclose(arrays[2]["out_of_fold"], (arrays[0]["out_of_fold"] + arrays[1]["out_of_fold"]) / 2,
                               atol=1e-6)  # fmt: skip
    assert made.complete and made.config.recipe == "blend" and made.config.tta == 0.5
    scores, labels = made.read_json("scores.json"), digits.train.labels
    assert scores["out_of_fold"]["accuracy"] == scoring.accuracy(labels, arrays[2]["out_of_fold"][1])
    assert scores["true_accuracy"] == scoring.accuracy(digits.test_labels, arrays[2]["test"][1])
    row = next(row for row in history.read(folders) if row["run"] == made.name)
    assert (row["recipe"], row["source"]) == ("blend", "sample")
    told = made.manifest["parents"]
    assert [(parent["run"], parent["sha256"]) for parent in told] == [
        (run.name, run.read_json("done.json")["sha256"]) for run in (first, second)
    ]
    assert len(told[0]["members"]) == 2 and len(told[1]["members"]) == 4


def test_it_is_compared_but_has_no_report(two, capsys):
    folders, *_, digits = two
    made = blend(folders, ["a", "b"])
    with pytest.raises(CompetitionError, match=f"a blend. Next: COMPARE={made.name},a"):
        make_report(folders, made, digits)
    where = ["--input", str(folders.input), "--submissions", str(folders.submissions)]
    assert __main__.main(["report", "--compare", f"{made.name},a", *where]) == 0


def test_what_cannot_be_blended_is_refused(two):
    folders, first, *_ = two
    made = blend(folders, ["a", "b"])
    for names, received in ((["a"], "a"), (["a", "a"], "a, a"), (["a", made.name], "a blend itself")):
        with pytest.raises(CompetitionError, match=f"RUNS names two or more.*Received: .*{received}"):
            blend(folders, names)
    (first.path / "members/repeat1-fold2/done.json").unlink()
    with pytest.raises(CompetitionError, match=r"must hold repeat1-fold2. Received: none. Next: `make train RUN="):
        blend(folders, ["b", "a"])
    assert len(list_runs(folders)) == 3


def test_rows_count_where_every_parent_was_asked(tmp_path):
    folders, first, digits = finished_run(tmp_path, "split", {(4, 9): 5}, folds=1, holdout=0.5)
    finished_run(tmp_path, "folds", {(7, 1): 3})
    made = blend(folders, ["folds", "split"])
    out_of_fold = made.read_arrays("probabilities.npz")["out_of_fold"]
    assert made.read_json("scores.json")["out_of_fold"]["rows"] == 3000
    from competition.ensemble.folds import plan_members

    asked = plan_members(first.config, digits.train.labels)[0].val_rows
    np.testing.assert_array_equal(scoring.rows_predicted(out_of_fold[0]), asked)


def test_only_the_variance_within_the_parents_is_a_gain():
    """Two ensembles that differ, each of members that agree: averaging more members brings nothing."""
    draw = np.random.default_rng(0)
    labels = draw.integers(10, size=50)
    out_of_fold, one, other = draw.dirichlet(np.full(10, 0.2), (3, 50))
    agreeing = [Group(1 / 2, 1, np.stack([each] * 3)) for each in (one, other)]
    accuracy = scoring.accuracy(labels, out_of_fold)
    assert scoring.predict_leaderboard(labels, out_of_fold, agreeing)["score"] == pytest.approx(accuracy)
    members = draw.dirichlet(np.full(10, 0.2), (4, 50))
    alone = scoring.predict_leaderboard(labels, out_of_fold, [Group(1, 1, members)])["score"]
    twice = scoring.predict_leaderboard(labels, out_of_fold, [Group(1 / 2, 1, members)] * 2)["score"]
    assert accuracy < alone and twice - accuracy == pytest.approx((alone - accuracy) / 2)


def test_a_parent_of_several_repeats_weighs_as_much_as_the_others(two):
    folders, first, second, digits = two
    made = blend(folders, ["a", "b"])
    (a1, a2), (b1, b2, b3, b4) = (
        [run.load_member(name).test_probs[variant] for name in member_settings(run.config)]
        for run, variant in ((first, 1), (second, 0))
    )
    parts = [
        Group(1 / 2, 1, np.stack([a1, a2])),
        Group(1 / 4, 1, np.stack([b1, b2])),
        Group(1 / 4, 1, np.stack([b3, b4])),
    ]
    out_of_fold = made.read_arrays("probabilities.npz")["out_of_fold"][1]
    expected = scoring.predict_leaderboard(digits.train.labels, out_of_fold, parts)
    assert made.read_json("scores.json")["leaderboard"]["score"] == pytest.approx(expected["score"], abs=1e-9)
    assert expected["score"] > scoring.accuracy(digits.train.labels, out_of_fold)
