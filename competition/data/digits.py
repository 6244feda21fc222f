"""CSV, plain, compressed or zipped → checked digits, from a cache when the same bytes were read before."""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

import numpy as np

from competition.data.archive import FileProblem, plain_name, read_file, unpacked
from competition.data.constants import COMPETITION, KNOWN_CONTENT, PAGE, TEST, TRAIN
from competition.data.parsing import parse
from competition.errors import CompetitionError
from competition.runs import files

# What to do with a file of the competition that cannot be mended, and with one that the user brings to be labelled.
ASIDE = f"mv {{}} {{}}.old, and put {COMPETITION}.zip from {PAGE}/data beside it"
AS_TEST = "save it as test.csv is: a header pixel0,…,pixel783, and whole numbers 0…255, a row for each digit"


@dataclass(frozen=True)
class Digits:
    """Pictures of handwritten digits.

    Attributes:
        images: uint8 array (n, 28, 28, 1), 0 is paper and 255 is ink, in the order of the file.
        labels: int64 array (n,) with values 0…9, or None where they are unknown.
        source: where they come from: `kaggle`, `sample`, `mnist-keras`, `mnist-csv` or `other`.
        sha256: hash of images and labels.
    """

    images: np.ndarray
    labels: np.ndarray | None
    source: str
    sha256: str

    def __len__(self):
        return len(self.images)


@dataclass(frozen=True)
class LabelledDigits(Digits):
    """Pictures whose labels are known."""

    labels: np.ndarray


@overload
def read_digits(
    path: Path, labelled: Literal[True], cache: Path | None = None, header: bool = True
) -> LabelledDigits: ...
@overload
def read_digits(path: Path, labelled: bool, cache: Path | None = None, header: bool = True) -> Digits: ...
def read_digits(path: Path, labelled: bool, cache: Path | None = None, header: bool = True) -> Digits:
    """Read one file in Kaggle's format and check every value of it.

    Columns are found by name, whatever their order; rows keep theirs. LF or CRLF, a byte order mark, compression
    and quoted numbers are fine.

    Args:
        path: `train.csv`-like or `test.csv`-like file, plain or compressed, or a .zip that holds one of that name.
        labelled: whether the file must have the column `label` (train) or must not (test).
        cache: folder for parsed copies, keyed by the file's bytes and memory-mapped when read again.
        header: whether the first line names the columns; otherwise it may name them as it likes, or none, and the
            label comes first.

    Raises:
        CompetitionError: the file is missing, unreadable or breaks a rule. Nothing is written then.
    """
    name = TRAIN if labelled else TEST
    try:
        raw = read_file(path)
        key = hashlib.sha256(raw).hexdigest() + ("-train" if labelled else "-test") + ("" if header else "-bare")
        cached = _from_cache(cache, key, labelled)
        if cached is None:
            text = unpacked(raw, name, sole=plain_name(path) == name)
            cached = _to_cache(cache, key, *parse(text, labelled, header))
    except FileProblem as problem:
        raise problem.of(path, ASIDE) from None
    images, labels, sha256 = cached
    return (LabelledDigits if labelled else Digits)(images, labels, KNOWN_CONTENT.get(sha256, "other"), sha256)


def read_unlabelled(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a user's own file of digits to be labelled: as test.csv, with or without a header, ids and labels.

    Returns:
        uint8 array (n, 28, 28, 1), and the labels that stand in it, int64 array (n,), or None.

    Raises:
        CompetitionError: the file is missing, unreadable or breaks a rule.
    """
    try:
        return parse(unpacked(read_file(path), TEST), None)
    except FileProblem as problem:
        raise problem.of(path, AS_TEST) from None


def content_hash(images, labels) -> str:
    """The sha256 of the pixels (uint8) and, where there are any, the labels (int64)."""
    digest = hashlib.sha256(np.ascontiguousarray(images, np.uint8).data)
    if labels is not None:
        digest.update(np.ascontiguousarray(labels, np.int64).data)
    return digest.hexdigest()


def _from_cache(cache: Path | None, key: str, labelled: bool):
    """The cached arrays and their hash, or None where there are none or they are damaged."""
    if cache is None:
        return None
    try:
        images = np.load(cache / f"{key}-images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(cache / f"{key}-labels.npy", allow_pickle=False) if labelled else None
        sha256 = (cache / f"{key}.sha256").read_text()
    except (OSError, ValueError, EOFError):
        return None
    return (images, labels, sha256) if content_hash(images, labels) == sha256 else None


def _to_cache(cache: Path | None, key: str, images, labels):
    """Keep a parsed copy; a cache that cannot be written costs time, not the run."""
    sha256 = content_hash(images, labels)
    if cache is not None:
        try:
            for name, array in (("images", images), ("labels", labels)):
                if array is not None:
                    with files.replacing(cache / f"{key}-{name}.npy") as file:
                        np.save(file, array, allow_pickle=False)
            files.write(cache / f"{key}.sha256", sha256)
        except CompetitionError as error:
            print(f"Without a cache. {error}", file=sys.stderr)
    return images, labels, sha256
