"""Which rows teach a member and which it is asked about."""

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
    """The members of a run: one for each fold of each repeat, or one for each random split."""
    if config.folds > 1:
        pairs = repeated_folds(labels, config.folds, config.repeats, config.seed)
    else:
        pairs = random_splits(labels, config.holdout, config.repeats, config.seed)
    return [
        Member(name, settings, seed_of(config.seed, i) >> 1, *rows)
        for i, ((name, settings), rows) in enumerate(zip(member_settings(config).items(), pairs, strict=True))
    ]


def check_rows(config: Config, labels) -> None:
    """Raise CompetitionError where a member would have no row to learn from, to watch or to be asked about."""
    least = max(4, config.folds)
    if len(labels) < least:
        raise CompetitionError(
            f"The training rows are at least 4, and as many as the folds. Received: {len(labels)} for {config.folds} "
            f"folds. Next: {f'--folds {len(labels)}' if len(labels) >= 4 else 'bring more rows'}."
        )


def members_per_row(members: list[Member], rows: int = 0) -> np.ndarray:
    """How many members are asked about each of the rows, int array: the repeats, but with random splits any number."""
    return np.bincount(np.concatenate([member.val_rows for member in members]), minlength=rows)


def mean_members_per_row(counts) -> float:
    """The mean of those counts that are not 0; the harmonic one, as the gain from averaging goes with 1 / count."""
    return float(1 / np.mean(1 / counts[counts > 0]))


def exchangeable_groups(config: Config, members: list[Member], said) -> list[Group]:
    """What the submission averages, in groups whose parts differ by chance alone.

    Repeats are a group each, as they may be of several kinds. Random splits are one group.

    Args:
        members: of the plan, or a part of it.
        said: float array (members, n, 10), what each of them says of some rows.
    """
    if config.folds == 1:
        return [Group(1.0, mean_members_per_row(members_per_row(members)), said)]
    repeats = np.array([member.name.split("-")[0] for member in members])
    asked, groups = members_per_row(members), []
    for repeat in dict.fromkeys(repeats):
        own = repeats == repeat
        share = np.mean(own)
        rows = np.concatenate([member.val_rows for member, its in zip(members, own, strict=True) if its])
        # Of an out-of-fold prediction's variance, what this repeat's members bring: 1 / repeats² where all are there.
        brought = np.sum(1 / asked[rows] ** 2) / np.sum(asked > 0)
        groups.append(Group(float(share), float(share**2 / brought), said[own]))
    return groups


def members_of(run: Run) -> dict[str, Config]:
    """The names of the members that a complete run's answer averages, in the order of the plan, and their settings.

    Raises:
        CompetitionError: it names none of its plan.
    """
    settings, part = member_settings(run.config), run.part
    names = {name: its for name, its in settings.items() if part is None or name in part}
    if not names:
        raise CompetitionError(
            f"{run.path}/done.json must name members of the run. Received: {part}. Next: `make train`."
        )
    return names


def member_settings(config: Config) -> dict[str, Config]:
    """The names of a run's members, repeat by repeat, and the settings of each."""
    return {
        f"repeat{repeat + 1}-fold{fold + 1}": config.of_repeat(repeat)
        for repeat in range(config.repeats)
        for fold in range(config.folds)
    }


def repeated_folds(labels, folds: int, repeats: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split the rows into stratified folds, as often as there are repeats, differently each time.

    Args:
        labels: int64 array (n,).

    Returns:
        `folds * repeats` pairs (train, out-of-fold) of sorted row numbers, repeat by repeat. In one repeat each
        row is out of exactly one fold.
    """
    # By class where one has a row for each fold; where several have fewer, that is no reason to warn.
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
    rows, asked = np.arange(len(labels)), max(10, round(holdout * len(labels)))
    return [split_rows(labels, rows, asked, seed_of(seed, repeat)) for repeat in range(repeats)]


def kept_out(train: Digits) -> np.ndarray:
    """The rows that no study sees, so that they can tell in the end how much the choosing flatters.

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
