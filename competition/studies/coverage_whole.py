"""A whole competition drawn from train.csv: the pipeline trains on two CSV files, and hidden labels score it."""

import json
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from competition.config import choose_config
from competition.data.constants import PIXELS, TEST, TRAIN
from competition.data.digits import LabelledDigits
from competition.ensemble import scoring
from competition.network.device import Setup
from competition.network.member import seed_of, split_rows
from competition.pipeline import blend, train
from competition.runs import files
from competition.runs.folders import Folders
from competition.runs.run import Run
from competition.runs.version import code_sha256

SAMPLE_ROWS = 6000  # 4,000 : 2,000
RECIPE = "quick"
QUICK = {"folds": 4, "epochs": 5, "width": 0.5, "batch_size": 64}
ALL: dict = {"folds": 4, "epochs": 3, "width": 0.5, "batch_size": 128}  # of seven times the rows
CASES: dict[str, list[dict]] = {
    "one repeat": [{}],
    "two repeats": [{"repeats": 2}],
    "three architectures": [{"repeats": 3, "architecture": "pooled,fine,normalized"}],
    "no label smoothing": [{"label_smoothing": 0}],
    "random splits": [{"folds": 1, "repeats": 6, "holdout": 0.25}],
    "blend": [{}, {"architecture": "normalized", "seed": 1}],
    "refit": [{"refit": 4}],
}
# Its code
JUDGED_BY = ("network", *(f"ensemble/{name}" for name in ("averaging", "blend", "folds", "members", "scoring")))
COLUMNS = (
    "case", "kind", "train_rows", "test_rows", "seed", "out_of_fold", "predicted", "low", "high", "reached", "held",
)  # fmt: skip


def draw_whole(
    folders: Folders,
    digits: LabelledDigits,
    case: str,
    size: int,
    seed: int,
    setup: Setup,
    jobs: int | None = None,
) -> dict:
    """One whole competition: trained where it was not before, by this code.

    Args:
        digits: the competition's labelled rows.
        case: in CASES.
        size: how many of the rows it takes.
        seed: of the rows and of all that is trained.
        setup: how a process computes.

    Returns:
        A dict of COLUMNS.
    """
    place = folders.coverage / f"{case.replace(' ', '-')}-{size}-{seed}"
    small = QUICK if size <= SAMPLE_ROWS else ALL
    plans = [{**small, **more, "seed": seed + more.get("seed", 0)} for more in CASES[case]]
    kept = place / "row.json"
    own = Folders(place / "input", place / "runs")
    settings = [asdict(choose_config(RECIPE, "other", plan)) for plan in plans]
    made_of = {"code": code_sha256(*JUDGED_BY), "settings": settings, "data": digits.sha256}
    with suppress(OSError, ValueError, KeyError):  # none, or a damaged one
        record = json.loads(kept.read_text("utf-8"))
        if record["made_of"] == made_of:
            return record["row"]
    rows = np.arange(len(digits))
    if size < len(rows):
        _, rows = split_rows(digits.labels, rows, size, seed_of(seed, 0))
    train_rows, test_rows = split_rows(digits.labels, rows, size // 3, seed_of(seed, 1))
    write_csv(own.input / f"{TRAIN}.gz", digits.images[train_rows], digits.labels[train_rows])
    write_csv(own.input / f"{TEST}.gz", digits.images[test_rows])
    names = [train(own, setup, RECIPE, plan, jobs=jobs).name for plan in plans]
    run = blend(own, names) if len(names) > 1 else Run(own.submissions / names[0])
    test_probs = run.probabilities()[1][run.config.submitted]
    scores = run.scores
    predicted = scores["leaderboard"] or scores["shift"]["if_alike"]  # after a false alarm: both files are drawn alike
    row = row_of(case, "whole", len(train_rows), seed, scores["out_of_fold"]["accuracy"], predicted,
                 scoring.accuracy(digits.labels[test_rows], test_probs), len(test_rows))  # fmt: skip
    files.write_json(kept, {"made_of": made_of, "row": row})
    shutil.rmtree(own.submissions)
    shutil.rmtree(own.input)
    return row


def row_of(
    case: str, kind: str, train_rows: int, seed, out_of_fold: float, predicted: dict, reached: float, test_rows: int
) -> dict:
    """A draw as the table has it."""
    low, high = predicted["low"], predicted["high"]
    return {
        "case": case,
        "kind": kind,
        "train_rows": train_rows,
        "test_rows": test_rows,
        "seed": seed,
        "out_of_fold": round(out_of_fold, 6),
        "predicted": round(predicted["score"], 6),
        "low": round(low, 6),
        "high": round(high, 6),
        "reached": round(reached, 6),
        "held": int(low <= reached <= high),
    }


def write_csv(path: Path, images, labels=None) -> None:
    """Digits in Kaggle's format, gzipped."""
    table = pd.DataFrame(images.reshape(len(images), 784), columns=PIXELS)
    if labels is not None:
        table.insert(0, "label", labels)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as file:
        table.to_csv(file, index=False, compression={"method": "gzip", "compresslevel": 1})
