"""Hundreds of competitions from members that are trained once: a draw recombines those that saw none of its test rows.

A partition cuts the rows into six stratified blocks. A member fits three of them and predicts the other three: twenty
halves, each fitted by three members, `pooled` from two seeds and `normalized` from one. A draw takes two blocks as its
test.csv and four as its train.csv; each of these in turn is out of fold for the members of the other three, so its four
folds are four members of the pool. A partition has fifteen draws.

What they share: draws of one partition have members and rows in common, so that they count as one in a standard error,
and all partitions cut the same rows. The repeats of a draw have the same folds, other than in a run, whose gain from
more of them is larger.
"""

from dataclasses import replace
from itertools import combinations

import numpy as np

from competition.config import RECIPES
from competition.data.dataset import Dataset
from competition.ensemble import scoring
from competition.ensemble.folds import exchangeable_groups, members_per_row, repeated_folds
from competition.execution.engines import Engine
from competition.network.device import Setup
from competition.network.member import Member, seed_of
from competition.runs.checkpoint import MemberResult
from competition.runs.folders import Folders
from competition.studies.coverage_whole import ALL, row_of
from competition.studies.members import train_all

BLOCKS, TESTED = 6, 2
KINDS = ("pooled", "normalized")
SMALL = replace(RECIPES["quick"], **(ALL | {"epochs": 4}), tta=0)
CASES = {
    "one repeat": (4, 1, KINDS[:1]),  # folds, repeats, architectures
    "two repeats": (4, 2, KINDS[:1]),
    "two architectures": (4, 2, KINDS),
    "random splits": (1, 6, KINDS[:1]),
}


def plan_pool(labels, partition: int) -> tuple[list[np.ndarray], dict[tuple, Member]]:
    """The blocks of a partition, sorted row numbers, and its members by (half, seed, architecture)."""
    blocks = [rows for _, rows in repeated_folds(labels, BLOCKS, 1, seed_of(partition, BLOCKS))]
    pool = {}
    for number, half in enumerate(combinations(range(BLOCKS), BLOCKS // 2)):
        fit_rows = np.sort(np.concatenate([blocks[block] for block in half]))
        val_rows = np.setdiff1d(np.arange(len(labels)), fit_rows)
        for seed in range(2):
            for kind in KINDS if seed == 0 else KINDS[:1]:
                name = f"partition {partition}, {kind}: half{number + 1}-seed{seed + 1}"
                own_seed = seed_of(partition, number, seed, KINDS.index(kind)) >> 1
                pool[half, seed, kind] = Member(name, replace(SMALL, architecture=kind), own_seed, fit_rows, val_rows)
    return blocks, pool


def draw_recombined(folders: Folders, setup: Setup, engine: Engine, dataset: Dataset, partitions: range) -> list[dict]:
    """All draws of some partitions, whose members are trained where none is kept: dicts of coverage's COLUMNS.

    Raises:
        CompetitionError: a member does not learn, or another study trains in the folder.
    """
    rows = []
    for partition in partitions:
        blocks, pool = plan_pool(dataset.train.labels, partition)
        allocated = engine.allocate(setup, len(pool))
        results = train_all(list(pool.values()), folders.coverage / "members", allocated, dataset, engine)
        for tested in combinations(range(BLOCKS), TESTED):
            for case in CASES:
                rows.append(_draw(case, partition, tested, blocks, pool, results, dataset.train.labels))
    return rows


def _draw(case: str, partition: int, tested: tuple, blocks, pool, results: dict[str, MemberResult], labels) -> dict:
    folds, repeats, kinds = CASES[case]
    config = replace(SMALL, folds=folds, repeats=repeats, architecture=",".join(kinds))
    trained = [block for block in range(BLOCKS) if block not in tested]
    chosen = [  # (fold, seed, architecture)
        (block, min(repeat, 1) if len(kinds) == 1 else 0, kinds[repeat % len(kinds)])
        for repeat in range(repeats if folds > 1 else 2)
        for block in trained
    ]
    if folds == 1:
        chosen = [chosen[i] for i in np.random.default_rng([partition, *tested]).permutation(len(chosen))[:repeats]]
    test = np.sort(np.concatenate([blocks[block] for block in tested]))
    members, out_of_fold, test_probs = [], np.zeros((len(labels), 10)), []
    for number, (block, seed, kind) in enumerate(chosen):
        half = tuple(other for other in trained if other != block)
        source = pool[half, seed, kind]
        result = results[source.name].val_probs[config.submitted]
        name = f"repeat{number // folds + 1 if folds > 1 else number + 1}-fold{number % folds + 1}"
        members.append(replace(source, name=name, val_rows=blocks[block]))
        out_of_fold[blocks[block]] += result[np.searchsorted(source.val_rows, blocks[block])]
        test_probs.append(result[np.searchsorted(source.val_rows, test)])
    counts = members_per_row(members, len(labels))
    predicted_rows = np.flatnonzero(counts)
    out_of_fold = out_of_fold[predicted_rows] / counts[predicted_rows, None]
    groups = exchangeable_groups(config, members, np.stack(test_probs))
    predicted = scoring.predict_leaderboard(labels[predicted_rows], out_of_fold, groups)
    reached = scoring.accuracy(labels[test], np.mean(test_probs, axis=0))
    seed = f"{partition}/{'+'.join(str(block + 1) for block in tested)}"
    train_rows = sum(len(blocks[block]) for block in trained)
    accuracy = scoring.accuracy(labels[predicted_rows], out_of_fold)
    return row_of(case, "recombined", train_rows, seed, accuracy, predicted, reached, len(test))
