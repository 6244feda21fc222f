"""Files of a few rows and classes: each ends with a submission, a report and a model, or is refused at once."""

import gc
import os
import warnings

import numpy as np
import pytest

from competition import pipeline
from competition.data.submission import read_submission
from competition.errors import CompetitionError
from competition.network.device import BACKEND, choose_setup
from competition.runs.folders import Folders
from competition.runs.run import list_runs
from tests.conftest import write_csv

DRAWN = int(os.environ.get("SMALL_FILES", 20))  # SMALL_FILES=1000 pytest -m slow tests/test_small_data.py
ONE_CLASS = 23  # a seed whose judged rows are all of one class, in which cleanlab looks for nothing
QUICK = {"epochs": 2, "width": 0.125, "architecture": "dense"}  # any net does: it is the rows that are few


@pytest.fixture
def eagerly():
    """Without graphs, whose tracing takes longer than these files, as does collecting all that was imported."""
    gc.freeze()  # Keras collects garbage before each member: 0.3 s, nearly half of a file's time
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tf.config.run_functions_eagerly(True)
        yield
        tf.config.run_functions_eagerly(False)
    else:
        yield
    gc.unfreeze()


def draw(seed, sample):
    """Rows of the sample, and settings: (images, labels, test images, settings)."""
    generator = np.random.default_rng(seed)
    classes = generator.choice(10, size=generator.integers(1, 11), replace=False)
    rows = generator.permutation(np.flatnonzero(np.isin(sample.labels, classes)))[: generator.integers(1, 61)]
    tests = generator.integers(6000, size=generator.integers(1, 61))
    folds = int(generator.choice([1, 2, 3, 6]))
    settings = {"folds": folds, "refit": 0, "repeats": int(generator.integers(1, 3)), "seed": seed, **QUICK}
    settings["tta"] = float(generator.choice([0, 0, 0, 0.5]))  # views take most of a member's time here
    return sample.images[rows], sample.labels[rows], sample.images[tests], settings


def end(root, images, labels, test, settings, capsys):
    """Train on such files; the complete run, or None where they are refused before any training."""
    (root / "input").mkdir(parents=True)
    write_csv(root / "input" / "train.csv", images, labels)
    write_csv(root / "input" / "test.csv", test)
    folders = Folders(root / "input", root / "runs")
    try:
        run = pipeline.train(folders, choose_setup(), settings=settings, jobs=1)
    except CompetitionError as error:
        assert "Received:" in str(error) and "Next:" in str(error) and "\n" not in str(error)
        assert not list_runs(folders), "refused, but a run was begun"
        return None
    said = capsys.readouterr()
    assert run.complete and not said.err, said.err
    assert "; the run itself is complete" not in said.out, said.out
    read_submission(run.submission_csv, len(test))
    assert (run.path / "report.html").stat().st_size and (run.path / "model.keras").stat().st_size
    return run


@pytest.mark.slow
def test_each_drawn_file_ends_or_is_refused(sample, eagerly, tmp_path, capsys):
    ended = 0
    for seed in sorted({*range(DRAWN), ONE_CLASS}):
        images, labels, test, settings = draw(seed, sample)
        told = f"seed {seed}: labels {labels.tolist()}, {len(test)} test rows, {settings}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)
                warnings.simplefilter("error", UserWarning)
                warnings.filterwarnings("ignore", "Even though the `tf.config")  # its data functions stay graphs
                run = end(tmp_path / str(seed), images, labels, test, settings, capsys)
        except (Exception, AssertionError) as error:
            raise AssertionError(told) from error
        assert (run is None) == (len(labels) < max(4, settings["folds"])), told
        ended += run is not None
    assert ended > DRAWN / 2
