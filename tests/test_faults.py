"""What can go wrong around a run: each ends in a clear line, with nothing half-written, and the run goes on."""

import os
import re
import resource
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from competition.config import Config
from competition.data.submission import write_submission
from competition.ensemble.folds import plan_members
from competition.ensemble.members import Trainer, train_members
from competition.errors import CompetitionError
from competition.execution import engines
from competition.execution.engines import Processes
from competition.network.device import Setup
from competition.network.training import fit_member
from competition.runs import files, history, resuming
from competition.runs.folders import ROOT, Folders
from competition.runs.run import list_runs
from tests.runs.test_run import IDENTITY, RESULT

MANIFEST = {"identity": IDENTITY, "source": "kaggle", "hardware": "2 cores"}
TINY = Config(folds=2, epochs=3, batch_size=32, width=0.25, early_stopping_fraction=0.1, tta=0)


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path / "input", tmp_path / "submissions")


def start(folders, **identity):
    return resuming.open_run(folders, Config(), {**MANIFEST, "identity": {**IDENTITY, **identity}})


# Room


@contextmanager
def full_disk(size):
    """No file may grow beyond so many bytes; Python gets an OSError then, as from a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


WRITES = {
    "config.json": lambda f, run: run.write_json("config.json", {"a": "x" * 99}),
    "probabilities.npz": lambda f, run: run.write_arrays("probabilities.npz", test=np.zeros(99)),
    "member": lambda f, run: run.store_member("m", RESULT),
    "submission.csv": lambda f, run: write_submission(run.submission_csv, np.zeros(99)),
    "history.csv": lambda f, run: history.add(f, {"run": "x" * 99}),
    "report.html": lambda f, run: files.write(run.path / "report.html", "x" * 99),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_full_disk_leaves_what_was_there(folders, name):
    run = start(folders)
    before = contents(folders.submissions)
    with full_disk(50), pytest.raises(CompetitionError, match=r"There must be room in .* Received: .* Next: free some"):
        WRITES[name](folders, run)
    after = contents(folders.submissions)
    assert before.items() <= after.items() and not any(path.suffix == ".tmp" for path in after)
    assert all(path.name.endswith(".lock") for path in after.keys() - before.keys())
    WRITES[name](folders, run)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")  # not even root makes a folder in a file
    with pytest.raises(CompetitionError, match=r"Runs are kept in .* Received: Not a directory"):
        start(Folders(tmp_path, tmp_path / "file" / "submissions"))
    with pytest.raises(CompetitionError, match=r"leave to write. Received: File exists, for a.json"):
        files.write(tmp_path / "file" / "a.json", "{}")


# Root may write anywhere; having given up its capabilities, only where a folder's mode says so, like anybody else.
UNPRIVILEGED = """
import ctypes, runpy
# capabilities(7), version 3: of this process; none of any kind
assert ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)()) == 0
runpy.run_module("competition", run_name="__main__", alter_sys=True)
"""
NO_LEAVE = r"There must be room in .*, and leave to write. Received: Permission denied, for {}. Next: "
NO_RUNS = r"Runs are kept in .*. Received: Permission denied. Next: --submissions"


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
@pytest.mark.parametrize(
    ("arguments", "said"),
    (
        # A zip is read where it lies: what it holds is refused, not the folder.
        ("data --submissions other --input", r".*digit-recognizer\.zip: the header must be label,pixel0.*"),
        ("kernel --username a --into", NO_LEAVE.format("kernel.ipynb")),
        pytest.param("train --source sample --submissions", NO_RUNS, marks=pytest.mark.slow),  # it loads TensorFlow
    ),
    ids=("data", "kernel", "train"),
)
def test_a_read_only_folder_is_said_and_stays_as_it_was(tmp_path, arguments, said):
    shut = tmp_path / "shut"
    shut.mkdir()
    with zipfile.ZipFile(shut / "digit-recognizer.zip", "w") as archive:
        for name in ("train.csv", "test.csv", "sample_submission.csv"):
            archive.writestr(name, "1")
    shut.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, *arguments.split(), str(shut)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 1, done
    *before, last = done.stderr.splitlines()
    assert re.match(f"Error: {said}", last), done.stderr
    assert all(line.startswith("Without a cache. ") for line in before), done.stderr
    assert [path.name for path in shut.iterdir()] == ["digit-recognizer.zip"]
    assert [path.name for path in tmp_path.iterdir()] == ["shut"]


# One process a run


def test_a_run_is_one_processs_until_that_ends(folders):
    """The lock of a process that was killed is nobody's."""
    code = (
        "import sys; from pathlib import Path; from competition.runs import files\n"
        "lock = files.lock(Path(sys.argv[1])); print(bool(lock), flush=True); sys.stdin.read()"
    )
    run = start(folders)
    run.lock.close()
    other = subprocess.Popen(
        [sys.executable, "-c", code, run.path / ".lock"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout.readline() == b"True\n"
    with pytest.raises(CompetitionError, match=rf"which process {other.pid} on .* trains. Next: wait for it"):
        start(folders)
    assert resuming.open_run(folders, Config(), MANIFEST, new=True) != run
    other.kill()
    other.communicate()
    (folders.submissions / run.name / ".probabilities.npz.1.tmp").write_text("of the killed one")
    newest = list_runs(folders)[-1]
    (newest.path / "config.json").unlink()
    assert start(folders) == run and not list(run.path.glob(".*.tmp"))


def test_what_changed_is_named_and_a_damaged_manifest_is_in_nobodys_way(folders, capsys):
    first = start(folders)
    other = start(folders, settings={"epochs": 30}, data=["a", "c"])
    assert other != first
    assert "changed since: settings (epochs 20 → 30), data. A new run starts" in capsys.readouterr().out
    (other.path / "manifest.json").write_text('{"identity": 1}')
    assert start(folders) == first
    said = capsys.readouterr().out
    assert (
        f"Left alone: {other.path}/manifest.json must be intact and of this version" in said and "Going on with" in said
    )


# Members that fail


def training(few, **settings):
    config = replace(TINY, **settings)
    return Trainer(Setup("float32", False, 1), few, few), plan_members(config, few.labels)[0]


def test_a_member_that_does_not_fit_into_memory_is_said_and_not_raised(few):
    work, member = training(few, epochs=1)
    member = replace(member, val_rows=np.broadcast_to(np.int64(0), 10**13))  # petabytes of pictures
    name, error = work(member, lambda *_: None)
    assert name == member.name and isinstance(error, CompetitionError)
    assert "must fit into the memory. Received: Unable to allocate" in str(error) and "JOBS=1" in str(error)


@pytest.mark.slow
def test_a_member_that_does_not_learn_gets_one_other_seed(few, monkeypatch):
    monkeypatch.setattr("competition.network.training.ENOUGH_STEPS", 10)
    seeds, train = [], fit_member

    def unlucky(member, seed, *rest):
        seeds.append(seed)
        settings = replace(member.config, learning_rate=1e-7 if len(seeds) == 1 else 0.01)
        return train(replace(member, config=settings), seed, *rest)

    monkeypatch.setattr("competition.ensemble.members.fit_member", unlucky)
    work, member = training(few, epochs=5)
    _, result = work(member, lambda *_: None)
    assert len(set(seeds)) == 2 and result.facts["seed"] == seeds[1]
    (before,) = result.facts["failed_before"]
    assert before["seed"] == member.seed and "on its training rows after" in before["failure"]


@pytest.mark.slow
def test_a_loss_that_is_no_number_fails_from_both_seeds(few):
    """The other members go on: why there is no result is returned, not raised."""
    work, member = training(few, epochs=1)
    object.__setattr__(member.config, "learning_rate", 1e38)  # far beyond its range
    _, error = work(member, lambda *_: None)
    assert isinstance(error, CompetitionError), "it learned"
    assert f"{member.name} must learn. Received: a loss that is not finite, from a second seed as well" in str(error)


def test_the_members_that_did_not_fail_are_kept(folders, few):
    class Engine:
        jobs = 1

        def each(self, work, members, tell):
            yield members[0].name, CompetitionError("a member must learn.")
            yield members[1].name, replace(RESULT, facts=RESULT.facts | {"failed_before": [], "seconds": 1.0})

    run = start(folders)
    with pytest.raises(CompetitionError, match="must learn"):
        train_members(run, TINY, Setup("float32", False, 1), few, few, Engine())
    first, second = (member.name for member in plan_members(TINY, few.labels))
    assert not (run.path / "members" / first).exists() and (run.path / "members" / second / "done.json").exists()


# Worker processes that die


def dies_once(member, tell):
    if member and not (member / "died").exists():
        (member / "died").touch()
        os.kill(os.getpid(), 9)
    return member


def dies(member, tell):
    os.kill(os.getpid(), 9)


@pytest.mark.slow
def test_what_a_dead_worker_trained_is_trained_again(tmp_path, capsys):
    members = [None, tmp_path, None, None]
    results = list(Processes(2, "").each(dies_once, members, lambda *_: None))
    assert sorted(map(str, results)) == sorted(map(str, members))
    assert "A worker process ended early: what it trained starts again (1 of 3)" in capsys.readouterr().out


@pytest.mark.slow
def test_workers_that_keep_dying_end_the_run(capsys):
    with pytest.raises(CompetitionError, match=r"Received: 3 ended early, .* Next: JOBS=1"):
        list(Processes(2, "").each(dies, range(4), lambda *_: None))
    assert capsys.readouterr().out.count("ended early") == engines.DEATHS - 1


# Memory


def trains_and_weighs(member, tell):
    work, number = member
    _, result = work(number, tell)
    assert not isinstance(result, CompetitionError), result
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)  # GB


@pytest.mark.slow
def test_memory_is_bounded_whatever_the_number_of_members(few):
    """Keras leaves 25 MB behind with each member; joblib replaces a worker that has grown by 300 MB."""
    work, member = training(few, epochs=1)
    peaks = list(Processes(2, "").each(trains_and_weighs, [(work, member)] * 30, lambda *_: None))
    assert len(peaks) == 30 and max(peaks) < 3 and max(peaks) - min(peaks) < 0.5, peaks
