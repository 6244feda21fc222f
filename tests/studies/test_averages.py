"""Simulated competitions of three parts: who predicts what, and which average has fewer errors."""

from dataclasses import replace

import numpy as np
import pytest

from competition.config import Config
from competition.runs.files import read_table
from competition.studies.averages import _half_each, compare, figure_of, plan_draws

LABELS = np.tile(np.arange(10), 90)
CONFIG = Config(folds=3, refit=2)


def test_no_member_fits_a_test_row_and_refit_members_fit_all_others():
    rows = np.arange(0, 900, 3)
    draws = plan_draws(CONFIG, LABELS, rows)
    assert sorted(np.concatenate([test for test, _ in draws])) == list(rows)
    for test, members in draws:
        assert len(members) == 5
        for member in members:
            assert not set(member.train_rows) & set(test) and list(member.val_rows[-len(test) :]) == list(test)
            assert not set(member.train_rows) & set(member.val_rows)
        for member in members[3:]:
            assert sorted(member.train_rows) == sorted(set(rows) - set(test)) and len(member.val_rows) == len(test)


def test_errors_are_those_of_the_planted_members():
    """Every fold's member misclassifies row 0, one refit member row 3, a change's rows 6 and 9, less surely."""
    draws = plan_draws(CONFIG, LABELS, np.arange(900))
    changed = plan_draws(replace(CONFIG, refit=0, width=0.5), LABELS, np.arange(900), "width=0.5, ")
    probs = {}
    for _, members in draws + changed:
        for member in members:
            p = np.full((2, len(member.val_rows), 10), 0.02, np.float32)
            wrong = [0] if "fold" in member.name else [3] if member.name.endswith("refit1") else []
            if "width" in member.name:
                wrong, p[:] = [6, 9], 0.06
            digits = (LABELS[member.val_rows] + np.isin(member.val_rows, wrong)) % 10
            p[:, np.arange(len(digits)), digits] = 1 - 9 * p[0, 0, 0]
            probs[member.name] = p
    lines = compare(CONFIG, LABELS, draws, probs, {"width=0.5": changed})
    errors = {
        (a["average"], a["members"]): a["value"] for a in lines if (a["variant"], a["measure"]) == ("tta", "errors")
    }
    assert errors["folds", 3] == errors["folds", 1] == pytest.approx(1 / 900, abs=1e-6)
    assert errors["refit", 1] == pytest.approx(0.5 / 900, abs=1e-6) and errors["both", 4] == pytest.approx(
        1 / 900, abs=1e-6
    )
    assert [errors["width=0.5", size] for size in (1, 2, 3)] == [pytest.approx(2 / 900, abs=1e-6)] * 3
    assert errors["half width=0.5", 2] == errors["half width=0.5", 6] == pytest.approx(1 / 900, abs=1e-6)
    drawn = {line.get_label(): list(line.get_ydata()) for line in figure_of(lines).axes[0].lines}
    assert drawn["all rows (refit), TTA"] == [1e4 * errors["refit", 1], 1e4 * errors["refit", 2]]
    predicted = {(a["average"], a["members"]): a["predicted"] for a in lines if a.get("predicted") is not None}
    assert predicted["folds", 3] == pytest.approx(1 / 900, rel=0.2)
    assert predicted["both", 5] == pytest.approx(1 / 900 * ((3 + 2 * 1.5) / 5) ** -0.3, rel=0.2)
    assert predicted["refit", 2] == pytest.approx(1 / 900 * 1.5**-0.3, rel=0.2)
    assert predicted["width=0.5", 3] == pytest.approx(2 / 900, rel=0.2)


def test_half_of_each_are_members_of_different_folds():
    own, changed = np.zeros((3, 1, 10)), np.arange(3.0)[:, None, None] * np.ones((1, 10))
    assert list(_half_each(own, changed, 1)[:, 0, 0]) == [0.5, 1, 0]  # beside member 1 the change's 2, …
    assert list(_half_each(own, changed, 3)[:, 0, 0]) == [0.5]


@pytest.mark.slow
def test_from_the_command_line_to_the_table(command, folders):
    where = ("--input", folders / "input", "--submissions", folders / "runs", "--jobs", "1")
    base = "quick,epochs=2,width=0.125,batch_size=32,folds=2"
    done = command(
        "study", "--kind", "averages", "--base", base, "--changes", "width=0.25", "--name", "averages", *where
    )
    lines = read_table(folders / "runs" / "studies" / "averages.csv")
    assert (folders / "runs" / "studies" / "averages.png").read_bytes().startswith(b"\x89PNG")
    assert done.returncode == 0 and "both, 4 members" in done.stdout, done.stderr
    assert {(line["average"], line["members"]) for line in lines} == {
        ("folds", "1"), ("folds", "2"), ("refit", "1"), ("refit", "2"), ("both", "3"), ("both", "4"),
        ("width=0.25", "1"), ("width=0.25", "2"), ("half width=0.25", "2"), ("half width=0.25", "4"),
    }  # fmt: skip
    assert all(float(line["low"]) <= float(line["difference"]) <= float(line["high"]) for line in lines)
    assert all(0 <= float(line["predicted"]) <= 1 for line in lines if line["predicted"])
