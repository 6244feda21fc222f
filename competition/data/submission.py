"""The `ImageId,Label` file: written, read back in whatever form people save it, and the verdict on it."""

import csv
import io
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from competition.data.archive import MENDED, FileProblem, decoded, read_file, unpacked
from competition.data.constants import REAL, SAMPLE_ROWS, TEST_ROWS
from competition.errors import CompetitionError
from competition.runs import files
from competition.runs.folders import Folders
from competition.runs.run import list_runs

HEADER = ["ImageId", "Label"]
WRITE = "write it as `ImageId,Label` and whole numbers, a row for each test digit"  # where no command mends it
ALIKE = 0.5  # of the rows: two submissions that agree in fewer are not two readings of the same digits


@dataclass(frozen=True)
class Verdict:
    """What a submission is good for: refused, in form and not for Kaggle, or for Kaggle.

    Attributes:
        refused: the rule that it breaks; None where it is in form.
        only_form: why it is nothing for Kaggle although it is in form; None elsewhere.
        warnings: what is unusual about it, a line each.
        labels: int64 array (n,) in the order of the test digits; None where it is refused.
    """

    refused: CompetitionError | None = None
    only_form: str | None = None
    warnings: tuple[str, ...] = ()
    labels: np.ndarray | None = field(default=None, compare=False, repr=False)

    @property
    def for_kaggle(self) -> bool:
        """Whether it may be sent."""
        return not (self.refused or self.only_form)

    @property
    def kind(self) -> str:
        """Which of the three it is."""
        return "refused" if self.refused else "in form, and not for Kaggle" if self.only_form else "in form, for Kaggle"

    def __str__(self):
        reason = self.refused or self.only_form
        return f"{self.kind}: {reason}" if reason else self.kind


def verdict_on(path: Path, source: str | None = None, rows: int | None = None, train_labels=None) -> Verdict:
    """The one verdict on a submission that the run, its report, the notebook and `make check` give.

    Args:
        source: of the digits that it labels; None: Kaggle's, or the sample's where it has as many rows.
        rows: how many test digits there are; None likewise.
        train_labels: int64 array (n,); with it, warn of digit counts that are far from its shares.
    """
    try:
        labels, warnings = read_submission(path, rows or (TEST_ROWS, SAMPLE_ROWS))
    except CompetitionError as error:
        return Verdict(refused=error)
    source = source or (REAL if rows or len(labels) == TEST_ROWS else "sample")
    only_form = None
    if source != REAL or len(labels) != TEST_ROWS:
        only_form = f"it labels {len(labels):,} test digits of {source} data, Kaggle's test.csv has {TEST_ROWS:,}"
    return Verdict(None, only_form, (*warnings, *_unusual_labels(labels, train_labels)), labels)


def write_submission(path: Path, labels) -> None:
    """Write the labels of the test rows, in their order, as ids 1…n, atomically.

    Args:
        labels: integer array (n,) with values 0…9.
    """
    frame = pd.DataFrame({"ImageId": np.arange(1, len(labels) + 1), "Label": np.asarray(labels, int)})
    files.write(path, frame.to_csv(index=False, lineterminator="\n"))


def compare_with_run(folders: Folders, path: Path, labels: np.ndarray) -> list[str]:
    """One line on how a submission differs from that of the newest run with as many rows; none where there is none.

    Args:
        path: the submission's, which is not compared with itself.
        labels: its own, int64 array (n,).
    """
    for run in reversed(list_runs(folders)):
        if run.complete and run.submission_csv.exists() and not run.submission_csv.samefile(path):
            with suppress(CompetitionError):
                return [differences(labels, read_submission(run.submission_csv, len(labels))[0], run.name)]
    return []


def differences(labels, others, name: str) -> str:
    """One line on how a submission differs from another one of the same test digits.

    Args:
        labels: int64 array (n,).
        others: likewise, of the submission that the name names.
    """
    differing = int((labels != others).sum())
    line = f"It differs from {name} in {differing:,} of {len(labels):,} rows"
    if differing <= ALIKE * len(labels):
        return f"{line}."
    moved = next((by for by in (1, -1) if (np.roll(labels, by) == others).mean() > ALIKE), 0)
    if moved:
        return f"{line}: each label stands one row too {'early' if moved == 1 else 'late'}?"
    counts, wanted = (np.bincount(of, minlength=10) for of in (labels, others))
    lost = np.abs(counts - wanted).sum() < 0.1 * len(labels)
    return f"{line}: {'the order of the rows lost' if lost else 'labels of other digits'}?"


def read_submission(path: Path, rows: int | tuple[int, ...] = TEST_ROWS) -> tuple[np.ndarray, list[str]]:
    """The labels of a submission, plain, gzipped or in a zip, in the order of the test rows.

    Args:
        rows: how many there must be, or the numbers that there may be.

    Returns:
        int64 array (n,), and warnings, one line each.

    Raises:
        CompetitionError: Kaggle would refuse the file, or score it wrongly.
    """
    try:
        text, encoding = decoded(unpacked(read_file(path)))
        table = list(csv.reader(io.StringIO(text, newline="")))
        labels = _labels(table, (rows,) if isinstance(rows, int) else rows)
    except csv.Error as error:
        raise FileProblem("a submission must be a CSV file", str(error)).of(path, WRITE) from None
    except FileProblem as problem:
        raise problem.of(path, WRITE) from None
    return labels, _unusual_form(table, text, encoding)


def _labels(table: list[list[str]], allowed: tuple[int, ...]) -> np.ndarray:
    """The labels of a table of cells, in the order of the ids.

    Raises:
        FileProblem: a rule is broken.
    """
    table = [row for row in table if row]
    if not table:
        raise FileProblem("a submission must be a CSV file", "an empty file")
    _check_header(table[0], table[1] if len(table) > 1 else [])
    blank = next((i for i, row in enumerate(reversed(table)) if any(row)), 0)
    if blank:
        raise FileProblem("each row must have an id and a label", f"{blank} rows of commas alone at the end",
                          MENDED % "sed '/^,*$/d'")  # fmt: skip
    rows = table[1:]
    for number, row in enumerate(rows, start=1):
        if len(row) != 2:
            raise FileProblem("each row must have an id and a label", f"{len(row)} values in row {number}")
    if len(rows) not in allowed:
        raise FileProblem(f"there must be {allowed[0]} rows", str(len(rows)), "label each row of test.csv")
    ids, labels = zip(*rows, strict=True)
    numbers = _checked_ids(ids)
    for number, label in enumerate(labels, start=1):
        if not re.fullmatch("[0-9]", label):
            raise FileProblem("Label must be a digit 0…9", f"{label[:40]!r} in row {number}", _label_advice(label))
    return np.array(labels).astype(np.int64)[np.argsort(numbers)]


def _check_header(header: list[str], first: list[str]) -> None:
    """Refuse another header than Kaggle's, each kind with what mends it; `first` is the row below it."""
    if header == HEADER:
        return
    names = [name.strip().lower() for name in header]
    kinds = (
        (names[0].startswith("sep="), "a line for Excel", MENDED % "sed 1d"),
        (";" in header[0] and len(first) > 1, "semicolons, and decimal commas", MENDED % "sed 's/,0*$//; s/;/,/g'"),
        (";" in header[0], "semicolons", MENDED % "sed 's/;/,/g'"),
        ("\t" in header[0], "tabs", MENDED % "tr '\\t' ,"),
        (all(re.fullmatch("[0-9.]+", n) for n in names), "no header", MENDED % "(echo ImageId,Label; cat)"),
        (names[-1] == "", "a comma at the end", MENDED % "sed 's/,$//'"),
        (header[1:] == HEADER, "row numbers before", MENDED % "cut -d, -f2-"),
        (names == ["label", "imageid"], "swapped", MENDED % "awk -F, -v OFS=, '{print $2, $1}'"),
        (len(header) == 11, "a column for each digit", "write the digit of the largest, NumPy's argmax(axis=1)"),
        (len(header) == 2, "other names", MENDED % "sed '1s/.*/ImageId,Label/'"),
        (True, "other columns", ""),
    )
    what, following = next((what, following) for seen, what, following in kinds if seen)
    raise FileProblem("the header must be ImageId,Label", f"{','.join(header)[:60]!r}: {what}", following)


def _checked_ids(ids: tuple[str, ...]) -> list[int]:
    """The ids as numbers: 1…n, each once; in any order, as Kaggle goes by them (its wiki, SubmissionParser, 2013)."""
    for number, name in enumerate(ids, start=1):
        if not re.fullmatch(r"[0-9]{1,18}", name):
            received, following = f"{name[:40]!r} in row {number}", ""
            if re.fullmatch(r"[0-9]+\.0*", name):
                following = MENDED % "sed -E 's/^([0-9]+)\\.0*,/\\1,/; s/\\.0*$//'"
            raise FileProblem("ImageId must be a row number", received, following)
    numbers = [int(name) for name in ids]
    if len(set(numbers)) == len(ids) and min(numbers) == 1 and max(numbers) == len(ids):
        return numbers
    row = next(row for row, number in enumerate(numbers) if not 1 <= number <= len(ids) or number in numbers[:row])
    received, following = f"{numbers[row]} in row {row + 1}", ""
    if numbers == list(range(len(ids))):
        received += ", counted from 0"
        following = MENDED % "awk -F, -v OFS=, 'NR > 1 {$1 += 1} 1'"
    elif numbers[row] in numbers[:row]:
        received += ", for the second time"
    raise FileProblem(f"ids must be 1…{len(ids)}, each once", received, following)


def _label_advice(label: str) -> str:
    """What mends a label that is none."""
    bare = label.strip()
    if re.fullmatch(r"[0-9]\.0*", bare):
        return MENDED % "sed -E 's/\\.0*$//'"
    if re.fullmatch(r"[0-9]", bare):
        return MENDED % "sed 's/ //g'"
    if bare == "10":
        return "subtract 1 where labels count from 1, as R's factors do"
    if re.fullmatch(r"\D*[0-9]\D*", bare) and bare.isascii():
        return MENDED % "sed -E 's/,[^0-9]*([0-9])[^0-9]*$/,\\1/'"
    if re.fullmatch(r"0?\.[0-9]+(e-?\d+)?", bare):
        return "write the most probable digit, NumPy's argmax(axis=1), in place of a probability"
    return "" if bare else "give this row a label, too"


def _unusual_form(table: list[list[str]], text: str, encoding: str) -> list[str]:
    """What Kaggle may read, and nobody here has tried: one line, or none."""
    untried = []
    if encoding != "UTF-8":
        untried.append(encoding)
    if "\n" not in text:
        untried.append("lines that end in CR alone")
    if any(not row for row in table):
        untried.append("blank lines")
    ids = [row[0] for row in table[1:] if row]
    if any(name[0] == "0" for name in ids):
        untried.append("ids padded with zeros")
    if (numbers := [*map(int, ids)]) != sorted(numbers):
        untried.append("rows in another order")
    return [f"{', '.join(untried)}: readable, and never tried on Kaggle"] if untried else []


def _unusual_labels(predicted, train_labels) -> list[str]:
    """One label throughout; else digits whose share differs from train.csv's by more than five standard errors."""
    if len(predicted) > 1 and (predicted == predicted[0]).all():
        return [f"all {len(predicted):,} rows are labelled {predicted[0]}: one in ten would be right"]
    if train_labels is None:
        return []
    share = np.bincount(train_labels, minlength=10) / len(train_labels)
    counts = np.bincount(predicted, minlength=10)
    error = np.sqrt(share * (1 - share) * len(predicted) * (1 + len(predicted) / len(train_labels)))
    return [
        f"{counts[digit]} rows are labelled {digit}; train.csv's share would give {share[digit] * len(predicted):.0f}"
        for digit in np.flatnonzero(np.abs(counts - share * len(predicted)) > 5 * np.maximum(error, 1))
    ]
