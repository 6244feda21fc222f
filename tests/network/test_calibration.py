"""Probabilities that label smoothing has flattened, brought back."""

from dataclasses import replace

import numpy as np
import pytest

from competition.config import Config
from competition.ensemble.scoring import expected_calibration_error, log_loss
from competition.network import training
from competition.network.calibration import at_temperature, calibrate, fit_temperature
from competition.network.device import Setup, prepare
from competition.network.early_stopping import predict_logits
from competition.network.member import Member
from competition.network.models import build_model

SETUP = Setup("float32", False, 1)


def rows_read(right, wrong, gap):
    """Labels 0, and logits (1, n, 10) that put one digit so far above the others: the label or another."""
    logits = np.zeros((1, right + wrong, 10))
    logits[0, :right, 0] = logits[0, right:, 1] = gap
    return np.zeros(right + wrong, int), logits


def test_the_temperature_by_hand():
    """At the best one the probability of the digit above the others is how often it is right, here 0.9 for 0.98."""
    labels, logits = rows_read(right=9_000, wrong=1_000, gap=np.log(9 * 0.98 / 0.02))
    assert at_temperature(1, logits)[0, 0, 0] == pytest.approx(0.98)
    said = at_temperature(fit_temperature(labels, logits), logits)
    assert said[0, 0, 0] == pytest.approx(0.9, abs=0.001)


def test_a_few_rows_that_are_all_read_rightly_leave_it_near_one():
    assert 0.7 < fit_temperature(*rows_read(right=2, wrong=0, gap=4)) < 1
    assert fit_temperature(*rows_read(right=10_000, wrong=0, gap=4)) < 0.4


def test_the_last_layer_takes_it_in(few):
    prepare(SETUP, 0)
    model = build_model(Config(architecture="dense", width=0.125))
    before = predict_logits(model, few.images[:50])
    temperature = calibrate(model, *rows_read(right=90, wrong=10, gap=9))
    assert temperature == fit_temperature(*rows_read(right=90, wrong=10, gap=9)) and temperature > 1.5
    np.testing.assert_allclose(predict_logits(model, few.images[:50]), before / temperature, rtol=1e-5, atol=1e-6)


def test_a_member_taught_with_smoothing_says_what_it_knows(few, monkeypatch):
    """Smoothing by 0.4 asks it for probabilities of 0.64, though it is right more often."""
    config = Config(
        architecture="dense", width=0.25, epochs=15, batch_size=32, label_smoothing=0.4, early_stopping_fraction=0.3
    )
    member = Member("one", replace(config, tta=0, shift=0), 1, np.arange(450), np.arange(450, 600))
    rows = few.labels[450:]

    def said():
        return training.fit_member(member, 1, SETUP, few, replace(few, labels=None)).val_probs[1]

    calibrated = said()
    monkeypatch.setattr(training, "calibrate", lambda *a: None)
    flat = said()
    assert (calibrated.argmax(axis=1) == flat.argmax(axis=1)).all()
    assert log_loss(rows, calibrated) < 0.8 * log_loss(rows, flat)
    assert expected_calibration_error(rows, calibrated) < 0.5 * expected_calibration_error(rows, flat)
