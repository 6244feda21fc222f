"""Chains of members of ever more rows, and the power that their errors follow."""

from itertools import pairwise

import numpy as np
import pytest

from competition.config import Config
from competition.runs.files import read_table
from competition.studies.learning_curve import BLOCKS, plan_chains, power

LABELS = np.tile(np.arange(10), 60)


def test_a_chain_is_judged_on_rows_that_none_of_its_members_fits_and_each_row_once():
    rows = np.arange(0, 600, 2)
    members = plan_chains(Config(), LABELS, rows, seeds=2)
    assert len(members) == 2 * BLOCKS * (BLOCKS - 1) == len({member.seed for member in members})
    for member in members:
        assert not set(member.train_rows) & set(member.val_rows) and set(member.train_rows) < set(rows)
    for first in range(0, len(members), BLOCKS - 1):
        chain = members[first : first + BLOCKS - 1]
        assert [len(member.train_rows) for member in chain] == [50, 100, 150, 200, 250]
        assert all(set(a.train_rows) < set(b.train_rows) for a, b in pairwise(chain))
        assert all((member.val_rows == chain[0].val_rows).all() for member in chain)
    judged = np.concatenate([members[first].val_rows for first in range(0, 30, BLOCKS - 1)])
    assert sorted(judged) == list(rows)


def test_a_planted_power_lies_in_its_interval():
    """Of chains whose members err by chance: in nearly all draws, and the interval is no wider than need be."""
    fit_rows, inside, halves = np.array([6000, 12000, 18000, 24000, 30000]), 0, []
    for seed in range(100):
        draw = np.random.default_rng(seed)
        rates = 0.0056 * (fit_rows / 12000) ** -0.3
        exponent, half = power(fit_rows, draw.binomial(6000, np.tile(rates, (12, 1))) / 6000)
        inside += abs(exponent - 0.3) < half
        halves.append(half)
    assert inside >= 88 and np.mean(halves) == pytest.approx(0.09, abs=0.03)


@pytest.mark.slow
def test_from_the_command_line_to_the_table(command, folders):
    where = ("--input", folders / "input", "--submissions", folders / "runs", "--jobs", "1", "--seeds", "1")
    base = "quick,epochs=4,width=0.125,batch_size=16"
    done = command("study", "--kind", "rows", "--base", base, "--name", "rows", *where)
    lines = read_table(folders / "runs" / "studies" / "rows.csv")
    assert done.returncode == 0 and done.stdout.count("rows to the power of") == 3, done.stderr
    assert len(lines) == 3 * (BLOCKS - 1) and len({line["fit_rows"] for line in lines}) == BLOCKS - 1
    assert sum(float(line["low"]) < float(line["exponent"]) < float(line["high"]) for line in lines if line["low"]) == 3
