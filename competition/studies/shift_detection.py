"""How often is a shift noticed, and how far is the accuracy estimated without labels from the truth?

Two small networks learn from some rows of train.csv; the others are drawn, as rows that validate them and as a test.csv
which is corrupted as MNIST-C is, or holds the digits in other shares, or is left as it is: then each alarm is a false
one. The rows come from the embedded sample and, where it is at hand, from the competition's own train.csv.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from competition.config import PLAIN, RECIPES
from competition.data import dataset_shift
from competition.data.constants import REAL
from competition.data.dataset import load_dataset
from competition.data.digits import Digits, LabelledDigits, content_hash
from competition.ensemble import prediction_shift, scoring
from competition.ensemble.members import Trainer
from competition.errors import CompetitionError
from competition.kaggle.download import fetch_missing
from competition.network.corruptions import KINDS, STRENGTHS, corrupt
from competition.network.device import choose_setup
from competition.network.member import Member
from competition.network.models import build_model
from competition.network.training import predict_probabilities
from competition.runs import files
from competition.runs.folders import Folders

SMALL = replace(RECIPES["quick"], folds=2, epochs=5, width=0.5, batch_size=64, tta=0)
FIT = {"sample": 3000, REAL: 12_000}  # rows that the two networks learn from, half each
VALIDATING = {"sample": 1500, REAL: 12_000}  # rows that validate them, of each draw others
TEST_ROWS = (50, 200, 1000, 10_000)  # as many as there are
SHIFTED_ROWS = {"sample": 2000, REAL: 10_000}  # that are corrupted: the draws are made of them
DRAWS, NULL_DRAWS = 2, 200  # of each shift and number of rows; without a shift
COLUMNS = (
    "source", "kind", "strength", "rows", "draws", "alarms", "by_pixels", "by_predictions", "by_classifier", "accuracy",
    "predicted_off", "confidence_off", "difference_off",
)  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """Rows that neither network learned from.

    Attributes:
        numbers: of the rows that they were made from, in the pool; int64 (n,).
        labels: int64 (n,).
        probs: float32 (2, n, 10), of both networks.
        measured: `dataset_shift.measure` of the images.
    """

    numbers: np.ndarray
    labels: np.ndarray
    probs: np.ndarray
    measured: np.ndarray

    def take(self, chosen) -> "Rows":
        """Some of them."""
        return Rows(self.numbers[chosen], self.labels[chosen], self.probs[:, chosen], self.measured[chosen])


def run_shift(folders: Folders, draws: int = DRAWS, null_draws: int = NULL_DRAWS) -> str:
    """Make the table submissions/shift.csv; see the module's docstring.

    Returns:
        Its summary, as text.
    """
    fetch_missing(folders)
    datasets = [load_dataset(folders, "sample"), load_dataset(folders)]
    rows = []
    for dataset in datasets if datasets[1].source == REAL else datasets[:1]:
        source = dataset.source
        for kind, strength, pool, shifted in shifts_of(dataset.train):
            for size in TEST_ROWS:
                if min(len(shifted.labels), len(pool.labels) - VALIDATING[source]) < size:
                    continue
                count = draws if strength else null_draws
                draws_of_it = (delayed(judge)(pool, shifted, size, VALIDATING[source], seed) for seed in range(count))
                compared = Parallel(n_jobs=-1)(draws_of_it)
                means = pd.DataFrame(compared).mean().round(5).to_dict()
                rows.append(
                    {"source": source, "kind": kind, "strength": strength, "rows": size, "draws": count, **means}
                )
            print(f"{source}: {kind} {strength or ''}", flush=True)
            files.write_table(folders.shift_table, COLUMNS, rows)  # of a killed study: as far as it came
    return f"{summary(rows)}\nThe table: {folders.shift_table}"


def shifts_of(train: LabelledDigits) -> Iterator[tuple[str, int, Rows, Rows]]:
    """Train two networks, and yield kind and strength of each shift, the pool of rows as they are, and shifted rows."""
    order = np.random.default_rng(0).permutation(len(train))
    fit, numbers = order[: FIT[train.source]], np.sort(order[FIT[train.source] :])
    networks = [_trained(train, np.sort(fit[half::2]), numbers, half) for half in range(2)]

    def rows_of(images, numbers) -> Rows:
        probs = np.stack([predict_probabilities(network, images)[PLAIN] for network in networks])
        return Rows(numbers, train.labels[numbers], probs, dataset_shift.measure(images))

    pool = rows_of(train.images[numbers], numbers)
    yield "none", 0, pool, pool
    for strength in STRENGTHS:
        yield "digits missing", strength, pool, pool.take(pool.labels >= 2 * strength - 1)
        kept = np.random.default_rng(strength).random(len(numbers)) < (1 - 0.15 * strength) ** pool.labels
        yield "other shares", strength, pool, pool.take(kept)
    for kind in KINDS:
        for strength in STRENGTHS:
            chosen = numbers[: SHIFTED_ROWS[train.source]]
            yield kind, strength, pool, rows_of(corrupt(train.images[chosen], kind, strength), chosen)


def _trained(train: LabelledDigits, fit_rows, val_rows, seed: int):
    """A network that learned from some rows."""
    image = train.images[:1]
    test = Digits(image, None, train.source, content_hash(image, None))  # nobody needs predictions of test.csv
    member = Member(f"network {seed + 1}", SMALL, seed, fit_rows, val_rows[:100])
    _, result = Trainer(choose_setup("float32", threads=1), train, test)(member, lambda name, logs: None)
    if isinstance(result, CompetitionError):
        raise result
    network = build_model(SMALL)
    network.set_weights(result.weights)
    return network


def judge(pool: Rows, shifted: Rows, size: int, validating: int, seed: int) -> dict:
    """One draw: whether an alarm came, by what, and by how much three estimates of the accuracy were off.

    Args:
        size: how many of the shifted rows are the test.csv.
        validating: how many others of the pool validate the networks, each one of the two.
    """
    draw = np.random.default_rng([seed, size])
    test = shifted.take(draw.permutation(len(shifted.labels))[:size])
    others = np.flatnonzero(~np.isin(pool.numbers, test.numbers))
    val = pool.take(draw.permutation(others)[:validating])
    single = [rows.probs[draw.integers(2, size=len(rows.labels)), np.arange(len(rows.labels))] for rows in (val, test)]
    found = prediction_shift.judge(val.labels, *single, *(dataset_shift.sample(rows.measured) for rows in (val, test)))
    reached = scoring.accuracy(test.labels, test.probs.mean(axis=0))
    predicted = scoring.predict_leaderboard(val.labels, single[0], [scoring.Group(1.0, 1.0, test.probs)])["score"]
    difference = scoring.accuracy(val.labels, single[0]) + single[1].max(axis=1).mean() - single[0].max(axis=1).mean()
    return {
        "alarms": found["alarm"],
        "by_pixels": any(test["differ"] for test in found["pixels"]),
        "by_predictions": any(test["differ"] for test in found["predictions"]),
        "by_classifier": found["classifier"]["differ"],
        "accuracy": reached,
        "predicted_off": abs(predicted - reached),
        "confidence_off": abs(found["estimate"] - reached),
        "difference_off": abs(difference - reached),
    }


def summary(rows: list[dict]) -> str:
    """Alarms and errors of the estimates, as means over the kinds of shift, in percent."""
    table = pd.DataFrame(rows)
    names = {"none": "no shift", "digits missing": "other digits", "other shares": "other digits"}
    table["shift"] = table["kind"].map(lambda kind: names.get(kind, "corrupted"))
    columns = list(COLUMNS[COLUMNS.index("alarms") :])
    means = table.groupby(["source", "shift", "strength", "rows"], sort=False)[columns].mean() * 100
    return means.round(1).to_string()
