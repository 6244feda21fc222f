"""What one trained member leaves behind, and its folder: weights.npz valid.npy test.npy history.csv, then done.json.

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

MEMBER_FILES = ("valid.npy", "test.npy", "weights.npz", "history.csv")  # valid.npy: what it says out of fold
# What a member says of the data that taught it; the last one where an older version's learned from test.csv as well.
PROVENANCE = ("data_source", "data_sha256", "test_sha256")
LARGEST = 2 << 30  # bytes of unpacked arrays


@dataclass(frozen=True)
class MemberResult:
    """What one trained network leaves behind.

    Attributes:
        val_probs: float32 array (2, n, 10), probabilities of its validation rows, which it never saw: PLAIN, of each
            image as it is, and TTA, averaged over its test-time augmentations.
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
    """A member as it was written, or None if it is not there or not finished, or damaged or of other data (said).

    Args:
        data: hash of the training data that its run is made from.
    """
    if not (folder / "done.json").exists():
        return None
    at_hand = "done.json"
    try:
        facts = schema.read(folder / at_hand, schema.MEMBER)
        sums = facts.pop("sha256")
        if facts["data_sha256"] != data:
            print(f"{folder} was made from other data than its run: it does not count.")
            return None
        for at_hand in MEMBER_FILES:
            if files.sha256_of(folder / at_hand) != sums[at_hand]:
                raise CompetitionError("other bytes")
        at_hand = "done.json"
        if sums["facts"] == _sum(facts):
            return _checked(folder, facts)
    except (KeyError, OSError, CompetitionError):
        pass
    print(f"{folder / at_hand} is damaged: {folder.name} is trained again.")
    return None


def _checked(folder: Path, facts: dict) -> MemberResult:
    """A member whose checksums are right; whoever made them up has not made up a traceback.

    Raises:
        CompetitionError: a file does not hold what a member leaves behind.
    """
    try:
        out_of_fold, test = (np.load(folder / name, allow_pickle=False) for name in ("valid.npy", "test.npy"))
        history = files.read_table(folder / "history.csv")
        numbers = [float(value) for epoch in history for value in epoch.values()]
        arrays = files.read_arrays(folder / "weights.npz", LARGEST)
    except Exception as error:  # a made-up header raises whatever its bytes lead to
        raise CompetitionError(str(error)) from None
    weights = [arrays[key] for key in sorted(arrays)]
    if not (
        schema.are_probabilities(out_of_fold, empty=True)
        and schema.are_probabilities(test)
        and all(array.dtype.kind in "fiu" for array in weights)
        and 0 < len(history) == facts["epochs"] >= facts["kept_epoch"] >= 0
        and {"accuracy", "loss", "val_accuracy", "val_loss"} <= history[0].keys()
        and all(math.isfinite(number) for number in numbers)
    ):
        raise CompetitionError("other arrays or another history")
    return MemberResult(out_of_fold, test, weights, history, facts)


def _sum(facts: dict) -> str:
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
