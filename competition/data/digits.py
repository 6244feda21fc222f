"""CSV, CSV.gz or zip → checked digits, from a cache when the same bytes were read before.

A file written as Kaggle writes it is read by a few passes of NumPy. Any other is pandas' to judge, as whole
numbers, which refuses what does not fit exactly. Only when it refuses is the file read again, slowly, to say which row
and column is wrong.
"""

import codecs
import csv
import hashlib
import io
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from competition.data.archive import read_file, refusal, unpacked
from competition.data.constants import KNOWN_CONTENT, PIXELS, TEST, TRAIN
from competition.errors import CompetitionError, one_line
from competition.runs import files

BLOCK = 1 << 18  # bytes of a CSV that are read at a time: they and what is made of them stay in the processor's cache


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


def read_digits(path: Path, labelled: bool, cache: Path | None = None, header: bool = True) -> Digits:
    """Read one file in Kaggle's format and check every value of it.

    Columns are found by name, whatever their order; rows keep theirs. LF or CRLF, a byte order mark, gzip
    and quoted numbers are fine.

    Args:
        path: `train.csv`-like or `test.csv`-like file, plain or .gz, or a .zip that holds one of that name.
        labelled: whether the file must have the column `label` (train) or must not (test).
        cache: folder for parsed copies, keyed by the file's bytes and memory-mapped when read again.
        header: whether the first line names the columns; otherwise it may name them as it likes, or none, and the
            label comes first.

    Raises:
        CompetitionError: the file is missing, unreadable or breaks a rule. Nothing is written then.
    """
    name = TRAIN if labelled else TEST
    raw = read_file(path)
    key = hashlib.sha256(raw).hexdigest() + ("-train" if labelled else "-test") + "-bare" * (not header)
    cached = _from_cache(cache, key, labelled)
    if cached is None:
        text = unpacked(path, raw, name)
        images, labels = _parse(path, text if header else _with_header(text), labelled)
        cached = _to_cache(cache, key, images, labels)
    images, labels, sha256 = cached
    return Digits(images, labels, KNOWN_CONTENT.get(sha256, "other"), sha256)


def content_hash(images, labels) -> str:
    """The sha256 of the pixels (uint8) and, where there are any, the labels (int64)."""
    digest = hashlib.sha256(np.ascontiguousarray(images, np.uint8).data)
    if labels is not None:
        digest.update(np.ascontiguousarray(labels, np.int64).data)
    return digest.hexdigest()


def _with_header(text: bytes) -> bytes:
    """The CSV with Kaggle's header in place of its own, or of none."""
    text = text.removeprefix(codecs.BOM_UTF8)
    first, _, rest = text.partition(b"\n")
    named = not all(value.strip(b' "\r').isdigit() for value in first.split(b",")[:2])
    return ",".join(["label", *PIXELS]).encode() + b"\n" + (rest if named else text)


def _parse(path: Path, text: bytes, labelled: bool):
    """Images and labels of a CSV in memory, every rule checked."""
    text = text.removeprefix(codecs.BOM_UTF8)
    columns = _checked_header(path, text, labelled)
    table = _read_plain(text, columns)
    if table is None:
        table = _read_by_pandas(path, text, columns)
    if not len(table):
        raise refusal(path, "the file must have rows", "a header alone")
    images = table.take([columns.index(name) for name in PIXELS], axis=1).reshape(-1, 28, 28, 1)
    if "label" not in columns:
        return images, None
    labels = table[:, columns.index("label")].astype(np.int64)
    if labels.max() > 9:
        row = int(np.argmax(labels > 9))
        raise refusal(path, "a label is a digit 0…9", f"{labels[row]} in row {row + 1}")
    return images, labels


def _read_plain(text: bytes, columns: list[str]) -> np.ndarray | None:
    """The numbers of a file in Kaggle's own form; None where a single byte is not of it.

    The form: the bare header, then rows of as many numbers, each of one to three digits and up to 255, with a comma
    between two; LF or CRLF, one of them throughout.

    Returns:
        uint8 array (n, columns).
    """
    header = ",".join(columns).encode()
    end = next((end for end in (b"\r\n", b"\n") if text.startswith(header + end)), None)
    if end is None:
        return None
    text = text if text.endswith(b"\n") else text + end
    characters, start, tables = np.frombuffer(text, np.uint8), len(header + end), []
    while start < len(text):
        stop = text.rfind(b"\n", start, start + BLOCK) + 1
        tables.append(_read_rows(characters[start - 2 : stop], len(columns), end))
        if tables[-1] is None:
            return None
        start = stop
    return np.concatenate(tables) if tables else None


def _read_rows(block: np.ndarray, columns: int, end: bytes) -> np.ndarray | None:
    """Whole rows of such a file, and two characters more before them, so that each has two before it."""
    digit = block - np.uint8(ord("0"))
    digit[:2] = 10  # none
    is_digit = digit < 10
    digit *= is_digit
    last = np.flatnonzero(is_digit[:-1] > is_digit[1:])  # of each number
    if not len(last) or len(last) % columns:
        return None
    following = block.take(last + 1).reshape(-1, columns)
    if (following[:, :-1] != ord(",")).any() or (following[:, -1] != end[0]).any():
        return None
    ends = last[columns - 1 :: columns] + len(end)
    # The digits, what follows a number and the end of each row: are they all that there is?
    known = np.count_nonzero(is_digit) + len(last) + len(ends) * (len(end) - 1)
    four = is_digit[3:] & is_digit[2:-1] & is_digit[1:-2] & is_digit[:-3]
    if known != len(block) - 2 or (block.take(ends) != ord("\n")).any() or four.any():
        return None
    numbers = digit[2:] + digit[1:-1] * np.uint16(10) + digit[:-2] * is_digit[1:-1] * np.uint16(100)
    numbers = numbers.take(last - 2).reshape(following.shape)
    return numbers.astype(np.uint8) if numbers.max() < 256 else None


def _read_by_pandas(path: Path, text: bytes, columns: list[str]) -> np.ndarray:
    """The numbers of a CSV in whatever form, uint8 array (n, columns); CompetitionError where they do not fit."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows longer than the header
            # Not at once as uint8: pandas up to 2.2 lets 256 become 0.
            frame = pd.read_csv(io.BytesIO(text), dtype=np.int64, index_col=False)
        table = frame.set_axis(columns, axis=1).to_numpy()  # a ValueError where it has others
        if ((table < 0) | (table > 255)).any():
            raise ValueError("a number outside 0…255")
        return table.astype(np.uint8)
    except Exception as error:
        raise _explained(path, text, error) from None


def _checked_header(path: Path, text: bytes, labelled: bool) -> list[str]:
    if not text.strip():
        raise refusal(path, "the file must have a header and rows", "an empty file")
    first = text[: 1 << 16].splitlines()[0]
    try:
        columns = [name.strip() for name in next(csv.reader([first.decode()]))]
    except (UnicodeDecodeError, csv.Error, StopIteration):
        raise refusal(path, "the file must be text in Kaggle's CSV format", "binary data") from None
    wanted = (["label"] if labelled else []) + PIXELS
    rule = f"the header must be {'label,' if labelled else ''}pixel0,…,pixel783"
    if not set(columns) & {"label", *PIXELS}:
        raise refusal(path, rule, f"the first line {first[:40].decode('utf-8', 'replace')!r}…")
    if not labelled and "label" in columns:
        raise refusal(path, "test data has no labels", "a column 'label': is this train.csv?")
    if labelled and "label" not in columns:
        raise refusal(path, "training data has labels", "no column 'label': is this test.csv?")
    for problem, names in (
        ("no column", [name for name in wanted if name not in columns]),
        ("the repeated column", sorted({name for name in columns if columns.count(name) > 1})),
        ("the unknown column", [name for name in columns if name not in wanted]),
    ):
        if names:
            raise refusal(path, rule, f"{problem} {names[0]!r}" + f" and {len(names) - 1} more" * (len(names) > 1))
    return columns


def _explained(path: Path, text: bytes, error: Exception) -> CompetitionError:
    """Find the first value or row that made pandas refuse the file."""
    rule = "a pixel is a whole number 0…255 and a label a digit 0…9"
    try:
        lines = csv.reader(io.StringIO(text.decode(), newline=""))
        header = [name.strip() for name in next(lines)]
        for row, values in enumerate((line for line in lines if line), start=1):
            if len(values) != len(header):
                return refusal(path, f"each row has {len(header)} values", f"{len(values)} in row {row}")
            for name, value in zip(header, values, strict=True):
                if not (value.strip().isdecimal() and int(value) <= 255):
                    received = repr(value[:20]) if value.strip() else "a blank"
                    return refusal(path, rule, f"{received} in row {row}, column {name}")
    except UnicodeDecodeError:
        return refusal(path, "the file must be text in Kaggle's CSV format", "binary data")
    except (csv.Error, ValueError) as problem:
        return refusal(path, rule, str(problem))
    return refusal(path, rule, one_line(error))


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
