"""One member of an ensemble before it is trained: its settings, its seed, its rows."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from competition.config import Config


@dataclass(frozen=True)
class Member:
    """One network of the ensemble.

    Attributes:
        name: in the run folder.
        config: its own settings, see `Config.of_repeat`.
        seed: its own.
        train_rows: numbers of the rows that teach it, sorted.
        val_rows: numbers of its validation rows, which it never sees, sorted; none for a refit member.
    """

    name: str
    config: Config
    seed: int
    train_rows: np.ndarray
    val_rows: np.ndarray

    @property
    def seeds(self) -> tuple[int, int]:
        """Its own seed, and the one of a second attempt."""
        return self.seed, seed_of(self.seed, 1) >> 1


def early_stopping_split(labels, rows, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Take a slice out of a member's own training rows, for early stopping to watch.

    Returns:
        (taught, watched), sorted row numbers; together they are `rows`.
    """
    return split_rows(labels, rows, max(10, round(fraction * len(rows))), seed)


def split_rows(labels, rows, second: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split rows in two at random, stratified where each class has rows enough to be in both parts.

    Args:
        labels: int64 array, of all rows.
        rows: numbers of those to split, at least two.
        second: how many go into the second part; of few rows half.

    Returns:
        Sorted row numbers.
    """
    second, own = min(second, len(rows) // 2), labels[rows]
    classes = np.unique(own, return_counts=True)[1]
    stratified = classes.min() > 1 and len(classes) <= min(second, len(rows) - second)
    parts = train_test_split(rows, test_size=second, stratify=own if stratified else None, random_state=seed)
    return np.sort(parts[0]), np.sort(parts[1])


def seed_of(*numbers: int) -> int:
    """A seed of 32 bits that follows from some numbers; Keras takes 31."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
