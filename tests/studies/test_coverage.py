"""Simulated competitions: who learns from what, what a draw says, and what the table makes of all draws."""

from itertools import combinations

import numpy as np
import pytest

from competition.data.digits import read_digits
from competition.ensemble.scoring import ROWS_EXPONENT
from competition.errors import CompetitionError
from competition.network.device import choose_setup
from competition.runs.checkpoint import MemberResult
from competition.runs.folders import Folders
from competition.runs.run import list_runs
from competition.studies import coverage, coverage_recombined, coverage_whole
from competition.studies.coverage_recombined import plan_pool

LABELS = np.random.default_rng(0).integers(10, size=1200)


def planted(pool, wrong):
    """What each member says of its rows: the label for certain, but for some rows, of which it says the next digit."""
    results = {}
    for member in pool.values():
        rows = member.val_rows
        said = np.eye(10, dtype=np.float32)[(LABELS[rows] + np.isin(rows, wrong)) % 10]
        results[member.name] = MemberResult(np.stack([said, said]), said[None], [], [], {})
    return results


def test_a_member_of_the_pool_is_asked_about_all_that_it_has_not_seen():
    blocks, pool = plan_pool(LABELS, 7)
    assert len(pool) == 20 * 3 + 15 * 2 and len({member.seed for member in pool.values()}) == 90
    assert sorted(np.concatenate(blocks)) == list(range(1200))
    for (fitted, _, _), member in pool.items():
        assert sorted(member.train_rows) == sorted(np.concatenate([blocks[block] for block in fitted]))
        assert sorted([*member.train_rows, *member.val_rows]) == list(range(1200))


@pytest.mark.parametrize("case", coverage_recombined.CASES)
def test_a_draw_judges_each_row_by_members_that_never_saw_it(case):
    blocks, pool = plan_pool(LABELS, 7)
    wrong = np.random.default_rng(1).choice(1200, 60, replace=False)
    results = planted(pool, wrong)
    for tested in combinations(range(6), 2):
        row = coverage_recombined._draw(case, 7, tested, blocks, pool, results, LABELS)
        test = np.concatenate([blocks[block] for block in tested])
        assert row["reached"] == pytest.approx(1 - np.isin(test, wrong).mean(), abs=1e-6)
        gain = 1  # members that agree promise none but by rows: here four members of three blocks and two of four
        if case == "refit":
            gain = ((4 * 3 + 2 * 4) / 6 / 3) ** -ROWS_EXPONENT
        assert 1 - row["predicted"] == pytest.approx((1 - row["out_of_fold"]) * gain, abs=1e-6)
        if case != "random splits":  # which leave rows that nobody judged
            trained = np.setdiff1d(np.arange(1200), test)
            assert row["out_of_fold"] == pytest.approx(1 - np.isin(trained, wrong).mean(), abs=1e-6)
        assert (row["train_rows"], row["test_rows"]) == (1200 - len(test), len(test))
        assert row["held"] == (row["low"] <= row["reached"] <= row["high"])


def test_no_draw_asks_a_member_that_learned_from_its_test_rows():
    blocks, pool = plan_pool(LABELS, 7)
    results = planted(pool, [])
    poisoned = {
        block: [m.name for m in pool.values() if np.isin(blocks[block], m.train_rows).any()] for block in range(6)
    }
    for tested in combinations(range(6), 2):
        kept = {name: r for name, r in results.items() if not any(name in poisoned[block] for block in tested)}
        for case in coverage_recombined.CASES:
            coverage_recombined._draw(case, 7, tested, blocks, pool, kept, LABELS)  # a KeyError if it asked another


def test_the_table_by_hand():
    """Two partitions of two draws: the standard error is that of two means, 0.01 and 0.03; of held, one of two."""

    def row(seed, predicted, reached, case="one repeat", kind="recombined"):
        predicted = {"score": predicted, "low": predicted - 0.02, "high": predicted + 0.02}
        return coverage_whole.row_of(case, kind, 800, seed, 0.9, predicted, reached, 400)

    rows = [row("1/1+2", 0.95, 0.95), row("1/1+3", 0.97, 0.95), row("2/1+2", 0.98, 0.95), row("2/1+3", 0.98, 0.95)]
    assert [line["held"] for line in rows] == [1, 1, 0, 0]
    line = coverage.summary(rows).splitlines()[1]
    assert "one repeat, 800 rows, recombined" in line and " 4  50.0%  (9.5% – 90.5%) " in line
    assert "+0.02000 ± 0.01000" in line and line.endswith("  0.04000  0.07000  0.05000")  # width, the gains
    whole = [row(seed, 0.95, reached, case, "whole") for seed, reached, case in ((1, 0.95, "a"), (2, 0.93, "b"))]
    lines = coverage.summary(rows + whole).splitlines()
    assert len(lines) == 5 and lines[4].startswith("all cases, 800 rows, whole ") and " +0.01000 ± 0.01000" in lines[4]


def test_the_files_of_a_draw_are_read_as_what_they_are(few, tmp_path):
    coverage_whole.write_csv(tmp_path / "train.csv.gz", few.images, few.labels)
    coverage_whole.write_csv(tmp_path / "test.csv.gz", few.images)
    assert read_digits(tmp_path / "train.csv.gz", True).sha256 == few.sha256
    np.testing.assert_array_equal(read_digits(tmp_path / "test.csv.gz", False).images, few.images)


@pytest.mark.slow
@pytest.mark.parametrize("case", ("two repeats", "blend"))
def test_a_whole_draw_is_trained_once(few, tmp_path, monkeypatch, case, capsys):
    monkeypatch.setattr(coverage_whole, "QUICK", {"folds": 2, "epochs": 2, "width": 0.125, "tta": 0.0})
    folders = Folders(tmp_path / "none", tmp_path / "runs")

    def draw():
        return coverage_whole.draw_whole(folders, few, case, 300, 5, choose_setup(), 1)

    row = draw()
    assert (row["train_rows"], row["test_rows"]) == (200, 100) and 0 <= row["reached"] <= 1
    assert row["low"] <= row["predicted"] <= row["high"] and "\nmember " in capsys.readouterr().out
    assert draw() == row and "member" not in capsys.readouterr().out
    place = folders.coverage / f"{case}-300-5".replace(" ", "-")
    kept = place / "row.json"
    kept.write_text("{")
    assert draw() == row and "\nmember " in capsys.readouterr().out
    monkeypatch.setitem(coverage_whole.QUICK, "epochs", 1)
    assert draw() and "\nmember " in capsys.readouterr().out
    assert not list_runs(Folders(tmp_path, place / "runs"))


def test_no_competitions_are_refused():
    with pytest.raises(CompetitionError, match=r"Competitions are 1 or more. Received: 0. Next: "):
        coverage.measure(None, None, None, None, 0, 0)
