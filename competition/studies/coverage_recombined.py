"""Hundreds of competitions from members that are trained once: a draw recombines those that saw none of its test rows.

A partition cuts the rows into six stratified blocks. A member fits three of them and predicts the other three: twenty
halves, each fitted by three members, `pooled` from two seeds and `normalized` from one. A draw takes two blocks as its
test.csv and four as its train.csv; each of these in turn is out of fold for the members of the other three, so its four
folds are four members of the pool. A partition has fifteen draws, and two members that fit all four blocks of each.

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
from competition.ensemble.folds import (
    exchangeable_groups,
    is_refit,
    member_settings,
    members_per_row,
    repeated_folds,
    row_ratio,
)
from competition.execution.engines import Engine
from competition.network.device import Setup
from competition.network.member import Member, seed_of
from competition.runs.checkpoint import MemberResult
from competition.runs.folders import Folders
from competition.studies.coverage_whole import ALL, row_of
from competition.studies.members import train_all

BLOCKS, TESTED, REFIT = 6, 2, 2
KINDS = ("pooled", "normalized")
SMALL = replace(RECIPES["quick"], **(ALL | {"epochs": 4}), tta=0)
CASES: dict[str, dict] = {
    "one repeat": {},
    "two repeats": {"repeats": 2},
    "two architectures": {"repeats": 2, "architecture": ",".join(KINDS)},
    "random splits": {"folds": 1, "repeats": 6},
    "refit": {"refit": REFIT},
}


def plan_pool(labels, partition: int) -> tuple[list[np.ndarray], dict[tuple, Member]]:
    """The blocks of a partition, sorted row numbers, and its members by (blocks that it fits, seed, architecture)."""
    blocks = [rows for _, rows in repeated_folds(labels, BLOCKS, 1, seed_of(partition, BLOCKS))]
    pool = {}
    halves = combinations(range(BLOCKS), BLOCKS // 2)
    chosen = [(half, *net) for half in halves for net in ((0, KINDS[0]), (0, KINDS[1]), (1, KINDS[0]))]
    chosen += [(four, seed, KINDS[0]) for four in combinations(range(BLOCKS), BLOCKS - TESTED) for seed in range(REFIT)]
    for fitted, seed, kind in chosen:
        fit_rows = np.sort(np.concatenate([blocks[block] for block in fitted]))
        val_rows = np.setdiff1d(np.arange(len(labels)), fit_rows)
        name = f"partition {partition}, {kind}: blocks{'+'.join(str(block + 1) for block in fitted)}-seed{seed + 1}"
        own_seed = seed_of(partition, *fitted, seed, KINDS.index(kind)) >> 1
        pool[fitted, seed, kind] = Member(name, replace(SMALL, architecture=kind), own_seed, fit_rows, val_rows)
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
    config = replace(SMALL, **{"folds": BLOCKS - TESTED} | CASES[case])
    kinds = config.architecture.split(",")
    trained = tuple(block for block in range(BLOCKS) if block not in tested)
    chosen = [  # (fold, seed, architecture)
        (block, min(repeat, 1) if len(kinds) == 1 else 0, kinds[repeat % len(kinds)])
        for repeat in range(config.repeats if config.folds > 1 else 2)
        for block in trained
    ]
    if config.folds == 1:
        order = np.random.default_rng([partition, *tested]).permutation(len(chosen))
        chosen = [chosen[i] for i in order[: config.repeats]]
    test = np.sort(np.concatenate([blocks[block] for block in tested]))

    def predicted_by(source: Member, rows) -> np.ndarray:
        return results[source.name].val_probs[config.submitted, np.searchsorted(source.val_rows, rows)]

    members, out_of_fold, test_probs = [], np.zeros((len(labels), 10)), []
    names = [name for name in member_settings(config) if not is_refit(name)]
    for name, (block, seed, kind) in zip(names, chosen, strict=True):
        source = pool[tuple(other for other in trained if other != block), seed, kind]
        members.append(replace(source, name=name, val_rows=blocks[block]))
        out_of_fold[blocks[block]] += predicted_by(source, blocks[block])
        test_probs.append(predicted_by(source, test))
    counts = members_per_row(members, len(labels))
    predicted_rows = np.flatnonzero(counts)
    out_of_fold = out_of_fold[predicted_rows] / counts[predicted_rows, None]
    train_rows = sum(len(blocks[block]) for block in trained)
    groups = exchangeable_groups(config, members, np.stack(test_probs), config.refit)
    refit = [pool[trained, seed, KINDS[0]] for seed in range(config.refit)]
    ratio = row_ratio([*members, *refit], members)
    predicted = scoring.predict_leaderboard(labels[predicted_rows], out_of_fold, groups, ratio)
    test_probs += [predicted_by(member, test) for member in refit]
    reached = scoring.accuracy(labels[test], np.mean(test_probs, axis=0))
    draw = f"{partition}/{'+'.join(str(block + 1) for block in tested)}"
    accuracy = scoring.accuracy(labels[predicted_rows], out_of_fold)
    return row_of(case, "recombined", train_rows, draw, accuracy, predicted, reached, len(test))
