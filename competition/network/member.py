"""One member of an ensemble before it is trained: its settings, seed and rows."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from competition.config import Config


@dataclass(frozen=True)
class Member:
    """One network of the ensemble.

    Attributes:
        name: of its folder in the run.
        config: its settings, see `Config.of_repeat`.
        seed: of its weights, order and augmentation.
        train_rows: row numbers of its training rows, early-stopping rows included; sorted int array.
        val_rows: row numbers of its validation rows, which it predicts and is never trained on; sorted int array, empty
            for a refit member.
    """

    name: str
    config: Config
    seed: int
    train_rows: np.ndarray
    val_rows: np.ndarray

    @property
    def seeds(self) -> tuple[int, int]:
        """Its seed, and the seed of a second attempt where training failed."""
        return self.seed, seed_of(self.seed, 1) >> 1


def early_stopping_split(
    labels: np.ndarray, rows: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Set a slice of a member's training rows aside for early stopping.

    Returns:
        (fit_rows, early_stopping_rows), sorted row numbers; together they are `rows`.
    """
    return split_rows(labels, rows, max(10, round(fraction * len(rows))), seed)


def split_rows(labels: np.ndarray, rows: np.ndarray, second: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split rows in two at random, stratified if each class has enough rows for both parts.

    Args:
        labels: int64 array, of all rows.
        rows: row numbers to split, at least two.
        second: rows of the second part; half of all, if they are fewer than twice as many.
        seed: of the split.

    Returns:
        Sorted row numbers of both parts.
    """
    second, row_labels = min(second, len(rows) // 2), labels[rows]
    counts = np.unique(row_labels, return_counts=True)[1]
    stratified = counts.min() > 1 and len(counts) <= min(second, len(rows) - second)
    parts = train_test_split(rows, test_size=second, stratify=row_labels if stratified else None, random_state=seed)
    return np.sort(parts[0]), np.sort(parts[1])


def seed_of(*numbers: int) -> int:
    """A seed of 32 bits derived from some numbers; Keras takes 31.

    >>> seed_of(0, 1) == seed_of(0, 1), seed_of(0, 1) == seed_of(1, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
