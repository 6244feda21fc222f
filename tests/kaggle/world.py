"""A user's machine for the Kaggle tests: a home with credentials, folders, runs, and the stand-in server."""

import io
import os
import signal
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest

from competition.__main__ import main
from competition.config import Config
from competition.data import digits
from competition.data.constants import PIXELS
from competition.data.submission import write_submission
from competition.kaggle import cli, client, inference, kernel_run, leaderboard
from competition.runs import history
from competition.runs.checkpoint import MemberResult
from competition.runs.folders import Folders
from competition.runs.run import Run, settings_of
from competition.runs.version import package_sha256
from tests.conftest import lacking
from tests.kaggle.printed import Printed, installed
from tests.kaggle.server import KaggleServer

KEY = "0123456789abcdef-the-key"
TRAIN, TEST = (sha for sha, source in digits.KNOWN_CONTENT.items() if source == "kaggle")


class World:
    """Folders, the server, and `run`, which calls this package's command line."""

    def __init__(self, tmp_path, server, monkeypatch, capfd):
        self.home, self.server, self.monkeypatch, self._capfd = tmp_path / "home", server, monkeypatch, capfd
        self.folders = Folders(tmp_path / "input", tmp_path / "submissions")
        self.printed = ""

    def run(self, *arguments) -> tuple[int, str]:
        """Exit code and all that was printed."""
        where = ("--input", str(self.folders.input), "--submissions", str(self.folders.submissions))
        code = main([*arguments, *where])
        captured = self._capfd.readouterr()
        text = captured.out + captured.err
        self.printed += text
        assert "Traceback" not in text
        return code, text

    def files(self, folder=None) -> dict[str, bytes]:
        """All files below a folder (submissions/), less the cache."""
        folder = folder or self.folders.submissions
        paths = [
            path for path in sorted(folder.rglob("*")) if path.is_file() and self.folders.cache not in path.parents
        ]
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

    def fails(self, text, *arguments) -> str:
        """Run a command that must fail with a line holding `text`, and lose or leave nothing."""
        before = self.files(), self.files(self.folders.input)
        code, printed = self.run(*arguments)
        assert (code, text in printed) == (1, True), printed
        line = printed.strip().splitlines()[-1]
        assert line.startswith("Error: ") and "Received: " in line and "Next: " in line, line
        assert (self.files(), self.files(self.folders.input)) == before
        return printed

    def add_run(self, name="20260101-000000-fast", source="kaggle", label=3, folders=None) -> Run:
        """A complete run as `make train` leaves it, of two members."""
        folders = folders or self.folders
        run = Run(folders.submissions / name)
        identity = {
            "settings": {},
            "precision": "float32",
            "data": [TRAIN, TEST],
            "package": package_sha256(),
        }
        run.write_json("config.json", settings_of(Config(folds=2)))
        run.write_json(
            "manifest.json", {"source": source, "identity": identity, "commit": "abc123", "hardware": "2 cores"}
        )
        for i in (1, 2):
            facts = {"accuracy": 0.99, "seconds": 1.0, "epochs": 1, "kept_epoch": 1}
            facts |= {"data_source": source, "data_sha256": TRAIN}
            probabilities = np.full((2, 3, 10), 0.1, np.float32)
            weights = [np.zeros(1)]
            epochs = [dict.fromkeys(("accuracy", "loss", "val_accuracy", "val_loss"), 1.0)]
            run.store_member(f"repeat1-fold{i}", MemberResult(probabilities, probabilities, weights, epochs, facts))
        scores = {
            "out_of_fold": {"accuracy": 0.9962, "low": 0.9955, "high": 0.9968, "log_loss": 0.01, "errors": 160},
            "leaderboard": {"score": 0.9968, "low": 0.9958, "high": 0.9976},
            "members": {"accuracy": 0.995},
        }
        run.write_json("scores.json", scores)
        write_submission(run.submission_csv, np.full(28_000, label))
        certain = np.zeros((2, 28_000, 10), np.float32)
        certain[..., label] = 1
        run.write_arrays("probabilities.npz", out_of_fold=certain[:, :3], test=certain)
        history.finish(folders, run, scores, {"members": 60.0})
        return run

    def history(self) -> list[dict]:
        return history.read(self.folders)

    def listed(self, run, ref=7, **more) -> dict:
        """A row of Kaggle's list that a run's bytes have."""
        sha256 = history.row_of(run, run.read_json("scores.json"))["sha256"]
        row = {"ref": ref, "date": "2026-01-02T03:04:05Z", "description": f"fast, sha256 {sha256[:8]}"}
        return {**row, "fileName": "submission.csv", "status": "COMPLETE", "publicScore": "0.99643", **more}


def competition_zip(monkeypatch, seed=0, known=True) -> bytes:
    """A small zip of noise in the competition's format, 2 MB; `known`: its hashes are taken for Kaggle's own."""
    random = np.random.default_rng(seed)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        for name, rows in (("train.csv", 500), ("test.csv", 300)):
            images = random.integers(0, 256, (rows, 28, 28, 1), np.uint8)
            labels = random.integers(0, 10, rows) if name == "train.csv" else None
            table = images.reshape(rows, 784) if labels is None else np.c_[labels, images.reshape(rows, 784)]
            header = ("label," if labels is not None else "") + ",".join(PIXELS)
            text = "\n".join([header, *(",".join(map(str, row)) for row in table.tolist()), ""])
            zipped.writestr(name, text)
            if known:
                monkeypatch.setitem(digits.KNOWN_CONTENT, digits.content_hash(images, labels), "kaggle")
        zipped.writestr("sample_submission.csv", "ImageId,Label\n1,0\n")
    return archive.getvalue()


@contextmanager
def fresh(tmp_path, monkeypatch, capfd):
    """A machine with credentials in the environment and no patience."""
    # A shell that starts tests in the background lets them ignore Ctrl-C, and Python then does too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    server = KaggleServer()
    made = World(tmp_path, server, monkeypatch, capfd)
    made.home.mkdir()
    made.folders.input.mkdir()
    made.folders.submissions.mkdir()
    for name in [name for name in os.environ if name.startswith("KAGGLE_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    environment = {
        "HOME": str(made.home), "XDG_CONFIG_HOME": str(made.home / ".config"), "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
        "http_proxy": f"http://127.0.0.1:{server.port}", "no_proxy": "", "NO_PROXY": "", "KAGGLE_USERNAME": "ann",
        "KAGGLE_KEY": KEY,
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cli, "PAUSES", (0.01, 0.01))
    for module in (leaderboard, kernel_run, inference):
        monkeypatch.setattr(module, "POLL", 0.01)
    monkeypatch.setattr(leaderboard, "LISTED", 0)
    monkeypatch.setattr(cli, "_WARNED", set())
    yield made
    server.close()


@pytest.fixture
def world(tmp_path, monkeypatch, capfd):
    """A fresh machine, with the command line that is installed."""
    with fresh(tmp_path, monkeypatch, capfd) as made:
        yield made


@pytest.fixture(scope="session")
def oldest(tmp_path_factory):
    """The oldest command line that is supported, or KAGGLE_OLDEST names its executable."""
    if ready := os.environ.get("KAGGLE_OLDEST"):
        return ready
    command, code, errors = installed(tmp_path_factory.mktemp("oldest"), ".".join(map(str, cli.OLDEST)))
    if code:
        lacking(f"the oldest command line cannot be installed: {errors[-300:]}")
    return str(command)


REAL = [pytest.param(name, marks=pytest.mark.slow) for name in ("newest", "oldest")]


@pytest.fixture(params=["printed", *REAL])
def each_world(request, tmp_path, monkeypatch, capfd):
    """A fresh machine with what the command line prints; slowly, with the installed one and with the oldest."""
    with fresh(tmp_path, monkeypatch, capfd) as made:
        if request.param == "printed":
            monkeypatch.setattr(client, "run_kaggle", Printed(made.server))
        elif request.param == "oldest":
            path = request.getfixturevalue("oldest")
            monkeypatch.setattr(cli, "_executable", lambda: path)
        made.version = request.param
        yield made


real_world = pytest.fixture(params=REAL, name="real_world")(each_world.__wrapped__)
