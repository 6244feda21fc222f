"""A trained member on disk: weights.npz valid.npy test.npy history.csv, then done.json.

Somebody else may have made the folder: what is read has its checksums and the form that its readers count on.
"""

import json
import math
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from competition.errors import CompetitionError
from competition.runs import files, schema

MEMBER_FILES = ("valid.npy", "test.npy", "weights.npz", "history.csv")  # valid.npy: of its validation rows
# Which data a member was trained on; the last key where an older version's was trained on test.csv as well.
PROVENANCE = ("data_source", "data_sha256", "test_sha256")
LARGEST = 2 << 30  # bytes of unpacked arrays


@dataclass(frozen=True)
class MemberResult:
    """A trained network and its predictions.

    Attributes:
        val_probs: float32 array (2, n, 10), probabilities of its validation rows, which it never saw: PLAIN, of each
            image as it is, and TTA, averaged with its test-time augmentations.
        test_probs: float32 array (2, n_test, 10), likewise of the test rows.
        weights: the model's weights, in Keras's order.
        history: one dict an epoch, as Keras logs it; its `val_` is the early-stopping slice.
        facts: seed, seconds, accuracies and whatever else is worth knowing.
    """

    val_probs: np.ndarray
    test_probs: np.ndarray
    weights: list[np.ndarray]
    history: list[dict]
    facts: dict


def write_result(folder: Path, result: MemberResult) -> None:
    """Write a finished member; its done.json, with the checksums of the others, comes last."""
    for name, array in (("valid.npy", result.val_probs), ("test.npy", result.test_probs)):
        with files.replacing(folder / name) as file:
            np.save(file, array, allow_pickle=False)
    files.write_arrays(folder / "weights.npz", {f"w{i:03}": w for i, w in enumerate(result.weights)})
    files.write_table(folder / "history.csv", list(result.history[0]), result.history)
    sums = {file: files.sha256_of(folder / file) for file in MEMBER_FILES}
    files.write_json(folder / "done.json", {"sha256": sums | {"facts": _sum(result.facts)}, **result.facts})


def read_result(folder: Path, data: str) -> MemberResult | None:
    """A member as it was written, or None where it is not there or not finished.

    Args:
        data: hash of the training data that its run is made from.

    Raises:
        CompetitionError: it is damaged, or was trained on other data. What to do about it, the caller knows.
    """
    if not (folder / "done.json").exists():
        return None
    at_hand = "done.json"
    try:
        facts = schema.load(folder / at_hand, schema.MEMBER)
        sums = facts.pop("sha256")
        for at_hand in MEMBER_FILES:
            if files.sha256_of(folder / at_hand) != sums[at_hand]:
                raise ValueError("a wrong checksum")
        at_hand = "done.json"
        if sums["facts"] != _sum(facts):
            raise ValueError("a wrong checksum")
        result = _checked(folder, facts)
    except (KeyError, OSError, ValueError):
        raise CompetitionError(f"{folder.name}/{at_hand} is damaged") from None
    if facts["data_sha256"] != data:
        raise CompetitionError(f"{folder.name} was trained on other data than its run")
    return result


def read_intact(folder: Path, data: str) -> MemberResult | None:
    """Like `read_result`, but None, with a line, where it cannot be used: the member is trained again."""
    try:
        return read_result(folder, data)
    except CompetitionError as error:
        print(f"{error}: {folder.name} is trained again.")
        return None


def _checked(folder: Path, facts: dict) -> MemberResult:
    """A member whose checksums are right; they may be made up, so its content is checked as well.

    Raises:
        ValueError: a file does not hold what a member leaves behind.
    """
    try:
        out_of_fold, test = (np.load(folder / name, allow_pickle=False) for name in ("valid.npy", "test.npy"))
        history = files.read_table(folder / "history.csv")
        numbers = [float(value) for epoch in history for value in epoch.values()]
        arrays = files.read_arrays(folder / "weights.npz", LARGEST)
    except Exception as error:  # a made-up header raises whatever its bytes lead to
        raise ValueError(str(error)) from None
    weights = [arrays[key] for key in sorted(arrays)]
    if not (
        schema.are_probabilities(out_of_fold, empty=True)
        and schema.are_probabilities(test)
        and (facts["accuracy"] is None) == (out_of_fold.shape[1] == 0)
        and all(array.dtype.kind in "fiu" for array in weights)
        and 0 < len(history) == facts["epochs"] >= facts["kept_epoch"] >= 0
        and {"accuracy", "loss", "val_accuracy", "val_loss"} <= history[0].keys()
        and all(math.isfinite(number) for number in numbers)
    ):
        raise ValueError("other arrays or another history")
    return MemberResult(out_of_fold, test, weights, history, facts)


def _sum(facts: dict) -> str:
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
