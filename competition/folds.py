"""Which rows teach a member and which it is asked about."""

import numpy as np
from sklearn.model_selection import StratifiedKFold, train_test_split


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
