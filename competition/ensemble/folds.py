"""Which rows each member fits, and which it is validated on."""

import warnings

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from competition.config import Config
from competition.data.constants import REAL
from competition.data.digits import Digits
from competition.ensemble.scoring import Group
from competition.errors import CompetitionError
from competition.network.member import Member, seed_of, split_rows
from competition.runs import files
from competition.runs.folders import KEPT_OUT
from competition.runs.run import Run

KEPT_OUT_SEED = 6000


def plan_members(config: Config, labels) -> list[Member]:
    """The members of a run: one for each fold of each repeat, or one for each random split; then the refit ones.

    A refit member fits all rows, so it has no validation rows: the folds' members tell how good its settings are.
    """
    if config.folds > 1:
        pairs = repeated_folds(labels, config.folds, config.repeats, config.seed)
    else:
        pairs = random_splits(labels, config.holdout, config.repeats, config.seed)
    seeds = [seed_of(config.seed, number) >> 1 for number in range(len(pairs))]
    pairs += [(np.arange(len(labels)), np.arange(0))] * config.refit
    seeds += [seed_of(config.seed, number, 1) >> 1 for number in range(config.refit)]  # whatever the folds and repeats
    return [
        Member(name, settings, seed, *rows)
        for (name, settings), seed, rows in zip(member_settings(config).items(), seeds, pairs, strict=True)
    ]


def check_rows(config: Config, labels) -> None:
    """Raise CompetitionError where a member would have no row to fit, to stop early by or to be validated on."""
    _check_refit(config)
    least = max(4, config.folds)
    if len(labels) < least:
        raise CompetitionError(
            f"The training rows are at least 4, and as many as the folds. Received: {len(labels)} for {config.folds} "
            f"folds. Next: {f'--folds {len(labels)}' if len(labels) >= 4 else 'bring more rows'}."
        )


def _check_refit(config: Config) -> None:
    """Raise CompetitionError where the refit members would not be of the architectures that score, in their shares."""
    kinds = {config.of_repeat(repeat).architecture for repeat in range(config.repeats)}
    if config.refit % config.repeats and len(kinds) > 1:
        raise CompetitionError(
            "With several architectures there are refit members of each, as many as repeats or a multiple. Received: "
            f"{config.refit} for {config.repeats} repeats. Next: --refit {config.repeats}."
        )


def members_per_row(members: list[Member], rows: int = 0) -> np.ndarray:
    """How many members validate on each of the rows, int array: the repeats, or with random splits any number.

    >>> fold1 = Member("repeat1-fold1", Config(), 0, np.array([2, 3]), np.array([0, 1]))
    >>> fold2 = Member("repeat1-fold2", Config(), 0, np.array([0, 1]), np.array([2, 3]))
    >>> members_per_row([fold1, fold2, fold1])
    array([2, 2, 1, 1])
    """
    return np.bincount(np.concatenate([member.val_rows for member in members]), minlength=rows)


def mean_members_per_row(counts) -> float:
    """The mean of those counts that are not 0; the harmonic one, as the gain from averaging goes with 1 / count.

    >>> mean_members_per_row(np.array([0, 1, 2]))
    1.3333333333333333
    """
    return float(1 / np.mean(1 / counts[counts > 0]))


def row_ratio(submitted: list[Member], scoring: list[Member]) -> float:
    """The training rows of the members that are submitted by those of the members that score, in the mean."""
    rows, scoring_rows = (np.mean([len(member.train_rows) for member in part]) for part in (submitted, scoring))
    return float(rows / scoring_rows)


def exchangeable_groups(config: Config, members: list[Member], test_probs, refit: int = 0) -> list[Group]:
    """What the submission averages, in groups whose members differ by chance alone.

    Repeats are a group each, as they may be of several architectures. Random splits are one group.

    Args:
        members: of the plan, or a part of it; those that have validation rows.
        test_probs: float array (members, n_test, 10), each member's probabilities of the test rows.
        refit: how many refit members are submitted beside these, of the same architectures in the same shares.
    """
    if config.folds == 1:
        return [Group(1.0, mean_members_per_row(members_per_row(members)), test_probs, refit)]
    repeats = np.array([member.name.split("-")[0] for member in members])
    per_row, groups = members_per_row(members), []
    for repeat in dict.fromkeys(repeats):
        own = repeats == repeat
        share = float(np.mean(own))
        rows = np.concatenate([member.val_rows for member in np.array(members, object)[own]])
        # Of an out-of-fold prediction's variance, the part of this repeat's members: 1 / repeats² where all are there.
        variance = np.sum(1 / per_row[rows] ** 2) / np.sum(per_row > 0)
        groups.append(Group(share, float(share**2 / variance), test_probs[own], refit * share))
    return groups


def members_of(run: Run) -> dict[str, Config]:
    """The names of the members that a complete run has trained, in the order of the plan, and their settings.

    Raises:
        CompetitionError: it names none of its plan.
    """
    settings, part = member_settings(run.config), run.part
    names = {name: config for name, config in settings.items() if part is None or name in part}
    if not names:
        raise CompetitionError(
            f"{run.path}/done.json must name members of the run. Received: {part}. Next: `make train`."
        )
    return names


def is_refit(name: str) -> bool:
    """Whether a member of that name fits all rows."""
    return name.startswith("refit")


def member_settings(config: Config) -> dict[str, Config]:
    """The names of a run's members, repeat by repeat and then the refit ones, and the settings of each."""
    folds = {
        f"repeat{repeat + 1}-fold{fold + 1}": config.of_repeat(repeat)
        for repeat in range(config.repeats)
        for fold in range(config.folds)
    }
    return folds | {f"refit{n + 1}": config.of_repeat(n % config.repeats) for n in range(config.refit)}


def repeated_folds(labels, folds: int, repeats: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split the rows into stratified folds, as often as there are repeats, differently each time.

    Args:
        labels: int64 array (n,).

    Returns:
        `folds * repeats` pairs (train, out-of-fold) of sorted row numbers, repeat by repeat. In one repeat each
        row is out of exactly one fold.
    """
    # Stratified if any class has as many rows as folds (scikit-learn raises otherwise), without its warning of others.
    kind = StratifiedKFold if np.bincount(labels).max() >= folds else KFold
    pairs = []
    for repeat in range(repeats):
        splitter = kind(folds, shuffle=True, random_state=seed_of(seed, repeat))
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            pairs += list(splitter.split(np.zeros(len(labels)), labels))
    return pairs


def random_splits(labels, holdout: float, repeats: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split the rows in two at random, stratified, as often as there are repeats.

    Args:
        labels: int64 array (n,).
        holdout: fraction of the rows in the second part.

    Returns:
        `repeats` pairs (train, out-of-fold) of sorted row numbers. A row may be in no second part, or in several.
    """
    rows, held_out = np.arange(len(labels)), max(10, round(holdout * len(labels)))
    return [split_rows(labels, rows, held_out, seed_of(seed, repeat)) for repeat in range(repeats)]


def kept_out(train: Digits) -> np.ndarray:
    """The rows that no study sees: in the end they tell how much better recipes look on the rows they were chosen on.

    A seventh of all, by `choose_kept_out`; of the competition's own train.csv the 6,000 that are committed, whatever
    a newer scikit-learn would draw.

    Returns:
        Sorted row numbers, from 0; the file counts from 1, as reports do.
    """
    if train.source != REAL:
        return choose_kept_out(train.labels)
    return np.array([int(line["row"]) for line in files.read_table(KEPT_OUT)]) - 1


def choose_kept_out(labels) -> np.ndarray:
    """A stratified seventh of the rows, drawn at random: sorted row numbers, from 0."""
    return random_splits(labels, 1 / 7, 1, KEPT_OUT_SEED)[0][1]
