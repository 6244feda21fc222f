"""Why a CSV is refused: the first thing that is wrong, what kind of file it seems to be, and what mends it.

In what mends it {} stands for the file: see `FileProblem`.
"""

import codecs
import csv
import io
import math
import re

import numpy as np
import pandas as pd

from competition.data.archive import MENDED, FileProblem
from competition.data.constants import PIXELS
from competition.errors import one_line

NUMBER = re.compile(rb'\s*"?[+-]?[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?"?\s*', re.IGNORECASE)
WHOLE = re.compile(r"\s*\+?[0-9]+(\.0*)?(e\+?[0-9]+)?\s*|\s*-0+(\.0*)?\s*", re.ASCII | re.IGNORECASE)
IDS = {"", "id", "imageid", "index", "rownames", "row", "image", "unnamed: 0"}  # columns that number the rows
VALUES = "a pixel is a whole number 0…255 and a label a digit 0…9"
SWAPPED = "swap the names of train.csv and test.csv, if that is what happened"
WITHOUT_FIRST = MENDED % "cut -d, -f2-"
WITH_HEADER = MENDED % "(printf label; printf ',pixel%d' $(seq 0 783); echo; cat)"


def is_numeric(line: bytes) -> bool:
    """Whether a line holds numbers alone, and so is no header; a header may count the pixels, though."""
    if line.startswith((b"0,1,2,3,4,5,", b"1,2,3,4,5,6,")):
        return False
    return all(NUMBER.fullmatch(value) for value in line.split(b",")[:100])


def check_text(text: bytes) -> None:
    """Refuse what is no text with commas between its columns.

    Raises:
        FileProblem: it is empty, binary, of another encoding or with another separator.
    """
    if not text.strip():
        raise FileProblem("the file must have a header and rows", "an empty file")
    rule, head = "the file must be text in Kaggle's CSV format", text[: 1 << 16]
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise FileProblem(rule, "text in UTF-16", "iconv -f UTF-16 -t UTF-8 {} | " + MENDED.partition("| ")[2] % "cat")
    first, *rest = head.splitlines()[:2]
    rule = "the columns must have commas between them"
    if first.lower().startswith((b"sep=", b'"sep=')):
        raise FileProblem(rule, "a first line for Excel, 'sep='", MENDED % "sed 1d")
    if b"," in first and first.count(b'"') == 2 and first.strip().startswith(b'"') and first.strip().endswith(b'"'):
        raise FileProblem(rule, "each row in quotes, as one value", MENDED % "sed 's/\"//g'")
    if first.count(b",") < first.count(b";"):
        if b"," in b"".join(rest):
            raise FileProblem(rule, "semicolons, and decimal commas", MENDED % "sed 's/,/./g; s/;/,/g'")
        raise FileProblem(rule, "semicolons", MENDED % "sed 's/;/,/g'")
    if first.count(b",") < first.count(b"\t"):
        raise FileProblem(rule, "tabs", MENDED % "tr '\\t' ,")


def header_problem(text: bytes, columns: list[str], labelled: bool | None) -> FileProblem | None:
    """What is wrong with a header; None where all columns are there.

    Args:
        columns: their names as Kaggle writes them.
        labelled: as `parse` takes it.
    """
    rule = f"the header must be {'label,' if labelled else ''}pixel0,…,pixel783"
    others = [name for name in columns if name not in PIXELS]
    first = text[: 1 << 16].splitlines()[0]
    if is_numeric(first):
        with_labels = len(columns) == len(PIXELS) + 1
        following = WITH_HEADER if with_labels else WITH_HEADER.replace("label", "pixel0").replace("seq 0", "seq 1")
        received = f"no header, the first line is {first[:20].decode()}…"
        return FileProblem(rule, received, following if len(columns) - with_labels == len(PIXELS) else "")
    if len(others) == len(columns) > 1 or not set(columns) & {"label", *PIXELS}:
        return FileProblem(rule, f"the first line {first[:40].decode('utf-8', 'replace')!r}…")
    if problem := _other_size(columns):
        return problem
    if labelled is not None and (problem := _other_columns(columns, others, labelled)):
        return problem
    wanted = (["label"] if labelled else []) + PIXELS
    for what, names in (
        ("no column", [name for name in wanted if name not in columns]),
        ("the repeated column", sorted({name for name in columns if columns.count(name) > 1 and name in wanted})),
        ("the unknown column", [name for name in others if name not in wanted and labelled is not None]),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            return FileProblem(rule, f"{what} {names[0]!r}{more}")
    return None


def _other_size(columns: list[str]) -> FileProblem | None:
    """Pictures of another size, or cut off by a spreadsheet."""
    pixels = sum(bool(re.fullmatch(r"pixel\d+", name)) for name in columns)
    side = math.isqrt(pixels)
    if len(columns) == 256:
        return FileProblem("a row has 784 pixels", f"{pixels}: the file ends at column 256, as old spreadsheets do")
    if side**2 == pixels and side > 1 and pixels != len(PIXELS):
        resize = "make the pictures 28×28: pad them with 0, or scale them"
        return FileProblem("a picture is 28×28 pixels, 784 columns", f"{side}×{side}, {pixels} columns", resize)
    return None


def _other_columns(columns: list[str], others: list[str], labelled: bool) -> FileProblem | None:
    """Columns beside the pixels that are none of Kaggle's, or label where it should not be or does not."""
    if columns[-1] == "" and others.count("") == 1:
        return FileProblem("a row ends with its last value", "a comma at its end", MENDED % "sed 's/,$//'")
    if not labelled and "label" in columns:
        mended = f"{WITHOUT_FIRST}, if these are its labels" if columns[0] == "label" else "leave that column out"
        return FileProblem("test data has no labels", "a column 'label': is this train.csv?", f"{SWAPPED}; or {mended}")
    if ids := [name for name in others if name in IDS]:
        following = WITHOUT_FIRST if columns[0] == ids[0] else "leave that column out"
        return FileProblem("the columns must be Kaggle's", f"a column {ids[0]!r} that numbers the rows", following)
    if labelled and "label" not in columns:
        rule = "training data has labels, in the column 'label'"
        if len(others) == 10:
            one = "write one column `label` with the digit whose column is 1, pandas' idxmax(axis=1)"
            return FileProblem(rule, f"ten columns {others[0]!r}…{others[-1]!r}, one for each digit", one)
        if len(others) == 1:
            received = f"no column 'label', and a column {others[0]!r}"
            return FileProblem(rule, received, MENDED % f"sed '1s/{re.escape(others[0])}/label/'")
        return FileProblem(rule, "no column 'label': is this test.csv?", SWAPPED)
    return None


def label_problem(labels: np.ndarray) -> FileProblem:
    """What to say of labels, int64 array (n,), of which one at least is above 9."""
    row = int(np.argmax(labels > 9))
    received, following = f"{labels[row]} in row {row + 1}", ""
    if labels.min() == 1 and labels.max() == 10:
        received += ", labels 1…10"
        following = "write them as 0…9: 10 stands for 0, or each is one too high, as R's factors are"
    return FileProblem("a label is a digit 0…9", received, following)


def cell_problem(text: bytes, columns: list[str], wanted: list[int], error: Exception) -> FileProblem:
    """The first value or row that made pandas refuse a file.

    Args:
        wanted: the positions of the columns that must hold numbers.
        error: the message of pandas, where none of this explains it.
    """
    try:
        lines = csv.reader(io.StringIO(text.decode(), newline=""))
        next(lines)
        for row, values in enumerate((line for line in lines if line), start=1):
            if len(values) != len(columns):
                last = next((False for line in lines if line), True)
                received = f"{len(values)} in row {row}{', the last: is the file cut off?' if last else ''}"
                return FileProblem(f"each row has {len(columns)} values", received)
            for i in wanted:
                if not (WHOLE.fullmatch(values[i]) and 0 <= float(values[i]) <= 255 and float(values[i]) % 1 == 0):
                    received = repr(values[i][:20]) if values[i].strip() else "a blank"
                    what, following = _seems(text, columns, values[i])
                    return FileProblem(VALUES, f"{received} in row {row}, column {columns[i]}{what}", following)
    except UnicodeDecodeError:
        return FileProblem("the file must be text in Kaggle's CSV format", "binary data")
    except (csv.Error, ValueError, OverflowError) as problem:
        return FileProblem(VALUES, one_line(problem))
    return FileProblem(VALUES, one_line(error))


def _seems(text: bytes, columns: list[str], value: str) -> tuple[str, str]:
    """What kind of file a wrong value is from, as a remark, and what mends the file; empty where nobody knows."""
    if re.fullmatch(r"b'[0-9]'", value):
        return ": bytes of Python", MENDED % "sed \"s/b'\\([0-9]\\)'/\\1/g\""
    if not value.strip() or value.strip().lower() in ("nan", "na", "null"):
        return ": a missing value", ""
    try:
        pixels = [i for i, name in enumerate(columns) if name in PIXELS]
        values = pd.read_csv(io.BytesIO(text), usecols=pixels, index_col=False, dtype=np.float32).to_numpy()
        values = values[np.isfinite(values)]
        low, high, whole = values.min(), values.max(), not (values % 1).any()
    except (ValueError, pd.errors.ParserError):
        return "", ""
    if low >= 0 and high <= 1:
        return ": pixels scaled to 0–1", "multiply the pixels by 255 and write them as whole numbers"
    if low >= -1 and high <= 1 and not whole:
        return ": pixels scaled to −1…1", "write 127.5 · (pixel + 1) as whole numbers"
    if -128 <= low < 0 and high <= 127 and whole:
        return ": pixels as signed bytes", "add 256 to the pixels below 0"
    if low < 0:
        return ": pixels centred or standardized", "write them as they were, whole numbers 0…255"
    return "", ""
