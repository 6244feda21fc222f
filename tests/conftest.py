"""Real digits in small portions, and the command line as a user starts it."""

import importlib
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from competition.data.digits import Digits, content_hash, read_digits
from competition.runs.folders import ROOT, SAMPLE

# Started in the background of a script this process ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def lacking(reason):
    """Skip a test for want of something here; fail in CI, which installs all that the slow tests need."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def needed(module):
    """A module of tests/requirements.txt."""
    try:
        return importlib.import_module(module)
    except ImportError:
        lacking(f"{module} is not installed: pip install -r tests/requirements.txt")


@pytest.fixture(scope="session")
def sample():
    """The embedded sample's 6,000 training digits."""
    return read_digits(SAMPLE / "train.csv.gz", labelled=True)


@pytest.fixture(scope="session")
def few(sample):
    """The first 600 of them."""
    images, labels = sample.images[:600], sample.labels[:600]
    return Digits(images, labels, "other", content_hash(images, labels))


def write_csv(path, images, labels=None):
    """Digits in Kaggle's format."""
    names = (["label"] if labels is not None else []) + [f"pixel{i}" for i in range(784)]
    rows = images.reshape(len(images), -1)
    rows = rows if labels is None else np.column_stack([labels, rows])
    text = [",".join(names), *(",".join(map(str, row)) for row in rows)]
    path.write_bytes("\r\n".join([*text, ""]).encode())
    return path


@pytest.fixture
def folders(tmp_path, few, sample):
    """An input folder with 600 training and 300 other digits, and an empty folder for runs."""
    (tmp_path / "input").mkdir()
    write_csv(tmp_path / "input" / "train.csv", few.images, few.labels)
    write_csv(tmp_path / "input" / "test.csv", sample.images[600:900])
    return tmp_path


@pytest.fixture
def command(tmp_path):
    """Run `python -m competition …` with an empty HOME and no credentials."""

    def run(*arguments, **settings):
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("KAGGLE_", "XDG_"))}
        return subprocess.run(
            [sys.executable, "-m", "competition", *map(str, arguments)],
            cwd=ROOT,
            env={**environment, "HOME": str(home), **settings},
            capture_output=True,
            text=True,
            timeout=900,
        )

    return run
