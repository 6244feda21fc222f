"""The study's draws, on made-up predictions: no network is trained."""

import numpy as np
import pytest

from competition.data import dataset_shift
from competition.studies.shift_detection import Rows, judge, summary


@pytest.fixture(scope="module")
def pool(sample):
    draw = np.random.default_rng(0)
    labels = sample.labels[:2000]
    probs = np.stack([draw.dirichlet(np.full(10, 0.02), 2000) + 4 * np.eye(10)[labels] for _ in range(2)]) / 5
    return Rows(np.arange(2000), labels, probs.astype(np.float32), dataset_shift.measure(sample.images[:2000]))


def test_a_draw_without_a_shift_and_one_that_is_noticed(pool, sample):
    quiet = judge(pool, pool, 200, 1000, seed=0)
    assert not quiet["alarms"] and quiet["accuracy"] == 1 and quiet["predicted_off"] < 0.01
    inverted = Rows(pool.numbers, pool.labels, pool.probs[:, ::-1], dataset_shift.measure(255 - sample.images[:2000]))
    noticed = judge(pool, inverted, 200, 1000, seed=0)
    assert noticed["alarms"] and noticed["by_pixels"] and noticed["by_classifier"] and not noticed["by_predictions"]


def test_the_summary_averages_over_kinds(pool):
    line = {"source": "sample", "strength": 1, "rows": 200, "draws": 1}
    judged = judge(pool, pool, 200, 1000, seed=0)
    rows = [line | {"kind": kind} | judged | {"alarms": alarms} for kind, alarms in (("fog", 1), ("shear", 0))]
    assert "corrupted" in summary(rows) and " 50.0 " in summary(rows)
