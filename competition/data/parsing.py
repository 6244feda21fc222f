"""The text of a CSV → images and labels, every rule checked.

A file written as Kaggle writes it is read by a few passes of NumPy. Any other is pandas' to judge, as whole
numbers, which refuses what does not fit exactly. Only when it refuses is the file read again, slowly, to say which row
and column is wrong: see `diagnosis`.
"""

import codecs
import csv
import io
import warnings

import numpy as np
import pandas as pd

from competition.data import diagnosis
from competition.data.archive import FileProblem
from competition.data.constants import PIXELS

BLOCK = 1 << 18  # bytes of a CSV that are read at a time: they and what is made of them stay in the processor's cache
LABELS = {"label", "class", "digit", "target", "y"}  # what a user's own file may call them, where none are needed
# Names that others give the pixels, by row and column or counted from 1 or without a word.
OTHER_NAMES = (
    [f"{row}x{column}" for row in range(1, 29) for column in range(1, 29)],
    [f"pixel{i}" for i in range(1, 785)],
    [str(i) for i in range(784)],
    [str(i) for i in range(1, 785)],
)


def parse(text: bytes, labelled: bool | None, header: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
    """Images and labels of a CSV.

    Args:
        labelled: whether there must be labels, or must be none; None: what there is besides the pixels is left out,
            labels 0…9 are given back, and there may be no header.
        header: whether the first line names the columns; otherwise it may name them as it likes, or none, and the
            label comes first.

    Returns:
        uint8 array (n, 28, 28, 1), and int64 array (n,) or None.

    Raises:
        FileProblem: a rule is broken.
    """
    text = text.removeprefix(codecs.BOM_UTF8)
    diagnosis.check_text(text)
    if not header or (labelled is None and diagnosis.is_numeric(text.partition(b"\n")[0])):
        text = _with_header(text)
    columns = _columns(text)
    if problem := diagnosis.header_problem(text, columns, labelled):
        raise problem
    table = _read_plain(text, columns)
    others = labelled is None and any(name not in PIXELS for name in columns)
    if table is None:
        pixels = [i for i, name in enumerate(columns) if name in PIXELS] if others else range(len(columns))
        table = _read_by_pandas(text, columns, list(pixels))
        read = [columns[i] for i in pixels]
    else:
        read = columns
    if not len(table):
        raise FileProblem("the file must have rows", "a header alone")
    images = table.take([read.index(name) for name in PIXELS], axis=1).reshape(-1, 28, 28, 1)
    if labelled is None:
        return images, _labels_if_any(text, columns)
    if not labelled:
        return images, None
    labels = table[:, columns.index("label")].astype(np.int64)
    if labels.max() > 9:
        raise diagnosis.label_problem(labels)
    return images, labels


def _with_header(text: bytes) -> bytes:
    """The CSV with Kaggle's header in place of its own, or of none."""
    first, _, rest = text.partition(b"\n")
    names = PIXELS if first.count(b",") == len(PIXELS) - 1 else ["label", *PIXELS]
    return ",".join(names).encode() + b"\n" + (text if diagnosis.is_numeric(first) else rest)


def _columns(text: bytes) -> list[str]:
    """The columns by Kaggle's names: in whatever case, and pixels also as others count them."""
    first = text[: 1 << 16].splitlines()[0]
    try:
        columns = [name.strip().lower() for name in next(csv.reader([first.decode()]))]
    except (UnicodeDecodeError, csv.Error, StopIteration):
        raise FileProblem("the file must be text in Kaggle's CSV format", "binary data") from None
    for names in OTHER_NAMES:
        if "pixel0" not in columns and set(names) <= set(columns):
            known = dict(zip(names, PIXELS, strict=True))
            return [known.get(name, name) for name in columns]
    return columns


def _labels_if_any(text: bytes, columns: list[str]) -> np.ndarray | None:
    """The labels of a file that needs none: int64 array (n,), or None where they are no digits 0…9."""
    named = [i for i, name in enumerate(columns) if name in LABELS]
    if len(named) != 1:
        return None
    table = pd.read_csv(io.BytesIO(text), dtype=str, keep_default_na=False, index_col=False, usecols=named)
    labels = table.iloc[:, 0].str.strip()
    return labels.str[0].astype(np.int64).to_numpy() if labels.str.fullmatch(r"[0-9](\.0*)?").all() else None


def _read_plain(text: bytes, columns: list[str]) -> np.ndarray | None:
    """The numbers of a file in Kaggle's own form; None where a single byte is not of it.

    The form: a header without quotes, then rows of as many numbers, each of one to three digits and up to 255, with a
    comma between two; LF or CRLF, one of them throughout.

    Returns:
        uint8 array (n, columns).
    """
    header, newline, _ = text.partition(b"\n")
    end = b"\r\n" if header.endswith(b"\r") else b"\n"
    header = header.removesuffix(b"\r")
    if not newline or b'"' in header or b"\r" in header or header.count(b",") != len(columns) - 1:
        return None
    text = text if text.endswith(b"\n") else text + end
    characters, start, tables = np.frombuffer(text, np.uint8), len(header + end), []
    while start < len(text):
        stop = text.rfind(b"\n", start, start + BLOCK) + 1
        rows = _read_rows(characters[start - 2 : stop], len(columns), end)
        if rows is None:
            return None
        tables.append(rows)
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


def _read_by_pandas(text: bytes, columns: list[str], wanted: list[int]) -> np.ndarray:
    """The numbers of a CSV in whatever form.

    Args:
        wanted: the positions of the columns to read; of the others nothing is checked.

    Returns:
        uint8 array (n, wanted).

    Raises:
        FileProblem: they do not fit.
    """
    whole = len(wanted) == len(columns)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of rows longer than the header, and of blanks among floats
            # Not at once as uint8: pandas up to 2.2 lets 256 become 0.
            frame = pd.read_csv(io.BytesIO(text), dtype=np.int64, index_col=False, usecols=None if whole else wanted)
        table = frame.set_axis([columns[i] for i in wanted], axis=1).to_numpy()  # a ValueError where it has others
        if ((table < 0) | (table > 255)).any():
            raise ValueError("a number outside 0…255")
        return table.astype(np.uint8)
    except Exception as error:
        raise diagnosis.cell_problem(text, columns, wanted, error) from None
