"""The `ImageId,Label` file, and the check that Kaggle would accept it."""

import io
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from competition.data.constants import TEST_ROWS
from competition.errors import CompetitionError, one_line
from competition.runs import files


def write_submission(path: Path, labels) -> None:
    """Write the labels of the test rows, in their order, as ids 1…n, atomically.

    Args:
        labels: integer array (n,) with values 0…9.
    """
    frame = pd.DataFrame({"ImageId": np.arange(1, len(labels) + 1), "Label": np.asarray(labels, int)})
    files.write(path, frame.to_csv(index=False, lineterminator="\n"))


def check_submission(path: Path, rows: int = TEST_ROWS, train_labels=None) -> list[str]:
    """Check a file the way Kaggle would, and more.

    Args:
        rows: how many rows the test data has.
        train_labels: int64 array (n,); with it, warn of digit counts that are far from its shares.

    Returns:
        Warnings, one line each.

    Raises:
        CompetitionError: Kaggle would refuse the file, or score it wrongly.
    """

    def refuse(rule, received):
        return CompetitionError(f"{path}: {rule}. Received: {received}. Next: `make train` writes a valid one.")

    try:
        text = path.read_bytes().decode("utf-8-sig")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows longer than the header
            frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, index_col=False)
    except OSError as error:
        raise refuse("a submission must be a readable file", error.strerror) from None
    except (ValueError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise refuse("a submission must be a CSV file", one_line(error, 100)) from None
    if list(frame.columns) != ["ImageId", "Label"]:
        raise refuse("the header must be ImageId,Label", ",".join(map(str, frame.columns))[:60])
    if len(frame) != rows:
        raise refuse(f"there must be {rows} rows", str(len(frame)))
    for column, good in (("ImageId", r"[0-9]{1,18}"), ("Label", r"[0-9]")):
        bad = ~frame[column].str.fullmatch(good)
        if bad.any():
            row = int(bad.idxmax())
            raise refuse(f"{column} must be {'a digit 0…9' if column == 'Label' else 'a row number'}",
                         f"{frame[column][row][:40]!r} in row {row + 1}")  # fmt: skip
    ids = frame["ImageId"].astype(object).map(int)
    wrong = ids.to_numpy() != np.arange(1, rows + 1)
    if wrong.any():
        row = int(wrong.argmax())
        raise refuse(f"ids must be 1…{rows}, each once and in order", f"{ids[row]} in row {row + 1}")
    return [] if train_labels is None else _unusual_counts(frame["Label"].astype(int), train_labels)


def _unusual_counts(predicted, train_labels) -> list[str]:
    """Digits whose share differs from train.csv's by more than five standard errors."""
    share = np.bincount(train_labels, minlength=10) / len(train_labels)
    counts = np.bincount(predicted, minlength=10)
    error = np.sqrt(share * (1 - share) * len(predicted) * (1 + len(predicted) / len(train_labels)))
    return [
        f"{counts[digit]} rows are labelled {digit}; train.csv's share would give {share[digit] * len(predicted):.0f}"
        for digit in np.flatnonzero(np.abs(counts - share * len(predicted)) > 5 * np.maximum(error, 1))
    ]
