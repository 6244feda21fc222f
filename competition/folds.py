"""Which rows teach a member and which it is asked about."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedKFold, train_test_split

from competition.config import Config


@dataclass(frozen=True)
class Member:
    """One network of the ensemble: its name in the run folder, its seed, its (train, valid) row numbers."""

    name: str
    seed: int
    rows: tuple[np.ndarray, np.ndarray]


def plan_members(config: Config, labels) -> list[Member]:
    """The members of a run: one for each fold of each repeat."""
    pairs = repeated_folds(labels, config.folds, config.repeats, config.seed)
    return [
        Member(name, seed=int(np.random.SeedSequence([config.seed, i]).generate_state(1)[0] >> 1), rows=rows)
        for i, (name, rows) in enumerate(zip(member_names(config), pairs, strict=True))
    ]


def member_names(config: Config) -> list[str]:
    """The names of a run's members, repeat by repeat."""
    return [f"repeat{i // config.folds + 1}-fold{i % config.folds + 1}" for i in range(config.members)]


def repeated_folds(labels, folds: int, repeats: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split the rows into stratified folds, as often as there are repeats, differently each time.

    Args:
        labels: int64 array (n,).

    Returns:
        `folds * repeats` pairs (train, valid) of sorted row numbers, repeat by repeat. In one repeat each
        row is in exactly one valid part.
    """
    pairs = []
    for repeat in range(repeats):
        state = int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])
        splitter = StratifiedKFold(folds, shuffle=True, random_state=state)
        pairs += list(splitter.split(np.zeros(len(labels)), labels))
    return pairs


def set_aside(labels, rows, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Take a stratified slice out of a member's own training rows, for early stopping to watch.

    Returns:
        (taught, watched), sorted row numbers; together they are `rows`.
    """
    watched_rows = max(10, round(fraction * len(rows)))
    taught, watched = train_test_split(rows, test_size=watched_rows, stratify=labels[rows], random_state=seed)
    return np.sort(taught), np.sort(watched)
