"""Does the interval of the predicted score hold? Competitions drawn from train.csv, whose test rows have labels.

A draw takes rows of train.csv, two thirds of them as its own train.csv and one third as its test.csv, stratified. A
small recipe fits the first and predicts its score on the second as every run does, and the labels tell what it reached.
Two kinds of draws:

- *whole*: the pipeline itself trains on two CSV files, in the sample's size or on all rows, each draw on members of its
  own. The rows come from the same 42,000, so two draws share some.
- *recombined*: hundreds, from members that are trained once; see `coverage_recombined`.
"""

import math

import pandas as pd

from competition.data.dataset import Dataset, load_dataset
from competition.ensemble import scoring
from competition.errors import CompetitionError
from competition.execution.engines import Engine, choose_engine
from competition.kaggle.download import fetch_missing
from competition.network.device import Setup, choose_setup
from competition.runs import files
from competition.runs.folders import Folders
from competition.studies.coverage_recombined import draw_recombined
from competition.studies.coverage_whole import CASES, COLUMNS, SAMPLE_ROWS, draw_whole

SMALL_DRAWS, LARGE_DRAWS, PARTITIONS = 10, 1, 3  # of each case in the sample's size, and of all rows; of the pool


def run_coverage(folders: Folders, count: int | None = None, seed: int = 1000, jobs: int | None = None) -> str:
    """Tell how often the predicted interval held in simulated competitions; see the module's docstring.

    Args:
        count: how many small ones; None: the full study, whose table is kept.
        seed: of the first; the next one has the next.
        jobs: how many members train at once; None takes what suits the machine.

    Returns:
        The summary, a table of text.

    Raises:
        CompetitionError: the data cannot be used, or `measure` refuses.
    """
    fetch_missing(folders)
    dataset, engine, setup = load_dataset(folders), choose_engine(jobs), choose_setup(threads=1)
    return summary(measure(folders, setup, engine, dataset, count, seed))


def measure(
    folders: Folders,
    setup: Setup,
    engine: Engine,
    dataset: Dataset,
    count: int | None,
    seed: int,
) -> list[dict]:
    """Draw competitions and compare what was predicted of each with its score; what was drawn before is kept.

    Args:
        count: so many whole draws in the sample's size, the cases in turn, and no others; None: the full study.
        seed: of the first draw.

    Returns:
        Dicts of COLUMNS; of the full study the table holds them too.

    Raises:
        CompetitionError: `count` is below 1, a member does not learn, or another study trains.
    """
    if count is not None and count < 1:
        raise CompetitionError(f'Competitions are 1 or more. Received: {count}. Next: `make coverage ARGS="3 99"`.')

    def whole(size: int, draws: int) -> list[dict]:
        """The cases in turn, each draw of a seed of its own: two of the same rows would have the same errors."""
        cases = list(CASES)
        return [
            draw_whole(folders, dataset.train, cases[i % len(cases)], size, seed + i, setup, engine.jobs)
            for i in range(draws)
        ]

    small = min(SAMPLE_ROWS, len(dataset.train))
    if count is not None:
        return whole(small, count)
    rows = draw_recombined(folders, setup, engine, dataset, range(seed, seed + PARTITIONS))
    rows += whole(small, SMALL_DRAWS * len(CASES))
    if len(dataset.train) > small:
        rows += whole(len(dataset.train), LARGE_DRAWS * len(CASES))
    files.write_table(folders.coverage_table, COLUMNS, rows)
    return rows


def summary(rows: list[dict]) -> str:
    """How often the interval held in each case and in all whole draws of a size, as a table.

    Besides, as means: the error of the prediction with its standard error, the width, and the gain of averaging over
    the out-of-fold score, predicted and reached. Recombined draws of one partition share members and rows: their mean
    counts as one draw in the intervals.
    """
    lines = [
        f"{'':42}{'draws':>6}{'held':>7}  {'(95 %)':15}{'predicted − reached':>21}{'width':>9}{'gain':>9}{'reached':>9}"
    ]
    table = pd.DataFrame(rows)
    together = table[table["kind"] == "whole"].assign(case="all cases")
    for (kind, case, count), part in pd.concat([table, together]).groupby(["kind", "case", "train_rows"], sort=False):
        errors = part["predicted"] - part["reached"]
        if kind != "whole":
            errors = errors.groupby(part["seed"].str.partition("/")[0]).mean()
        low, high = scoring.wilson(round(part["held"].mean() * len(errors)), len(errors))
        noise = f" ± {errors.std(ddof=1) / math.sqrt(len(errors)):.5f}" if len(errors) > 1 else ""
        lines.append(
            f"{f'{case}, {count:,} rows, {kind}':42}{len(part):6}{part['held'].mean():7.1%}  "
            f"{f'({low:.1%} – {high:.1%})':15}{errors.mean():+12.5f}{noise:10}"
            f"{(part['high'] - part['low']).mean():9.5f}{(part['predicted'] - part['out_of_fold']).mean():9.5f}"
            f"{(part['reached'] - part['out_of_fold']).mean():9.5f}"
        )
    return "\n".join(lines)
