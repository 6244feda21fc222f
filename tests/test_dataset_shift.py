"""Whole runs on a test.csv that is unlike train.csv: none prints a predicted leaderboard score."""

import json

import numpy as np
import pytest

from competition.data.digits import read_digits
from competition.runs.folders import SAMPLE
from tests.conftest import write_csv


def overwritten(images):
    """A tenth of the pixels is ink."""
    return np.where(np.random.default_rng(0).random(images.shape) < 0.1, 255, images).astype(np.uint8)


CASES = {  # what is wrong with train.csv, what with test.csv, and what helps; None where pixels alone don't tell
    "transposed as EMNIST": (lambda x: x.swapaxes(1, 2), None, "transpose the images of one file"),
    "inverted": (lambda x: 255 - x, None, "invert the images of one file"),
    "0 and 1": (None, lambda x: (x > 127).astype(np.uint8), "multiply test.csv by 255"),
    "grey paper": (None, lambda x: (40 + x * (215 / 255)).astype(np.uint8), "bring the values 40…255 of test.csv"),
    "overflow of uint8": (None, lambda x: x * np.uint8(2), "look at images of both"),
    "off centre": (None, lambda x: np.roll(x, (4, 3), (1, 2)), "shift the images of test.csv by -3 pixels"),
    "upside down": (lambda x: x[:, ::-1], None, "turn the images of one file upside down"),
    "noise": (None, overwritten, "look at images of both"),
}


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "-"))
def case(request, sample, tmp_path):
    """An input folder of 800 and 200 rows, and what helps."""
    change_train, change_test, helps = CASES[request.param]
    test = read_digits(SAMPLE / "test.csv.gz", labelled=False).images[:200]
    (tmp_path / "input").mkdir()
    train = change_train(sample.images[:800]) if change_train else sample.images[:800]
    write_csv(tmp_path / "input" / "train.csv", train, sample.labels[:800])
    write_csv(tmp_path / "input" / "test.csv", change_test(test) if change_test else test)
    return tmp_path, helps


def test_data_says_so_before_anything_is_trained(case, command):
    folder, helps = case
    done = command("data", "--input", folder / "input", "--submissions", folder / "runs")
    assert "Warning: test.csv is not like train.csv. Received: " in done.stdout and f"Next: {helps}" in done.stdout


@pytest.mark.slow
def test_a_run_predicts_no_score(case, command):
    folder, helps = case
    arguments = ("--recipe", "quick", "--epochs", "4", "--width", "0.5", "--folds", "2")
    done = command("train", *arguments, "--input", folder / "input", "--submissions", folder / "runs")
    assert done.returncode == 0, done.stderr
    assert f"Next: {helps}" in done.stdout and "Report                   none" not in done.stdout
    assert "Predicted leaderboard    none: test.csv is not like train.csv" in done.stdout
    (scores,) = (json.loads(path.read_text()) for path in folder.glob("runs/*/scores.json"))
    assert scores["leaderboard"] is None and scores["shift"]["alarm"] and scores["shift"]["if_alike"]["score"] > 0.1
    (page,) = (path.read_text() for path in folder.glob("runs/*/report.html"))
    assert "test.csv is not like train.csv" in page and "Are train and test alike?" in page
    (row,) = (folder / "runs" / "history.csv").read_text().splitlines()[1:]
    assert row.endswith("test.csv unlike train.csv") and ",,,," in row
