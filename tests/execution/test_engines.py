"""Where members run on this machine: how many, on which GPU, and what they say meanwhile."""

import importlib.util
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from competition.config import Config
from competition.ensemble.manifest import manifest_of
from competition.ensemble.members import fix_threads
from competition.errors import CompetitionError
from competition.execution import engines, interprocess
from competition.execution.engines import choose_engine
from competition.network import device
from competition.network.device import Setup, free_gpu, use_free_gpu
from competition.runs.folders import ROOT, Folders
from competition.runs.resuming import open_run
from tests.conftest import needed
from tests.processes import processes


@pytest.fixture
def locks(tmp_path, monkeypatch):
    """Claims of this test alone."""
    monkeypatch.setattr(device.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def claim_until_told(ours, theirs):
    ours.close()
    number, lock = free_gpu(2)
    theirs.send(number)
    theirs.recv()  # ends with the test, however that ends
    lock.close()


def test_a_gpu_is_one_members_until_its_process_ends(locks):
    context = multiprocessing.get_context("fork")  # another process, without loading TensorFlow again
    ours, theirs = context.Pipe()
    other = context.Process(target=claim_until_told, args=(ours, theirs), daemon=True)
    other.start()
    theirs.close()
    assert ours.poll(60) and ours.recv() == 0
    number, lock = free_gpu(2)
    assert number == 1 and lock is not None
    assert free_gpu(2)[1] is None  # none is left: shared
    other.kill()
    other.join(60)
    number, lock = free_gpu(2)
    assert number == 0 and lock is not None


@pytest.mark.skipif(device.BACKEND != "tensorflow", reason="others take the GPUs as they are")
def test_a_process_computes_on_the_gpu_that_it_claims(locks, monkeypatch):
    """Without GPUs: what TensorFlow would be told. A file opened twice is locked as if by two processes."""
    told = []
    monkeypatch.setattr(device, "gpus", lambda: ["GPU:0", "GPU:1"])
    monkeypatch.setattr(device.tf.config, "set_visible_devices", lambda gpu, kind: told.append((gpu, kind)))
    first = use_free_gpu.__wrapped__()  # held, as functools.cache holds it
    second = use_free_gpu.__wrapped__()
    assert told == [("GPU:0", "GPU"), ("GPU:1", "GPU")] and first and second
    assert use_free_gpu.__wrapped__() is None and len(told) == 3  # all are taken: one is shared
    first.close()
    assert use_free_gpu.__wrapped__() and told[3] == ("GPU:0", "GPU")
    monkeypatch.setattr(device, "gpus", lambda: ["GPU:0"])
    assert use_free_gpu.__wrapped__() is None and len(told) == 4


def test_claims_are_of_the_gpus_that_a_process_sees(locks, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    claims = [free_gpu(2)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    claims.append(free_gpu(2))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 2")
    claims.append(free_gpu(2))
    assert [number for number, lock in claims if lock] == [0, 0, 0]  # 2, 0 and 3
    assert free_gpu(2)[1] is None


@pytest.fixture
def machine(monkeypatch):
    """Settle for six members on a machine of the test's."""

    def settled(cores=16, memory=32_000_000_000, gpus=(), jobs=None, threads=None):
        monkeypatch.setattr(engines, "cpu_count", lambda: cores)
        monkeypatch.setattr(engines, "memory", lambda: memory)
        monkeypatch.setattr(engines, "gpus", lambda: list(gpus))
        engine = choose_engine(jobs)
        setup = engine.allocate(Setup("float32", False, threads), 6)
        return engine.jobs, setup.threads, engine.describe()

    return settled


def test_what_is_chosen_is_said_with_its_reasons(machine):
    assert machine() == (6, 2, "6 at once on 2 threads each (16 cores, memory for 26 members)")
    said = "2 at once on 1 thread each (2 cores, memory for 26 members)"
    assert machine(cores=2, threads=1) == (2, 1, said)
    assert machine(threads=0) == ((1, 0, "1 at once on all threads each (16 cores, memory for 26 members)"))
    said = "3 at once on 5 threads each (16 cores, memory for 3 members)"
    assert machine(memory=4_000_000_000) == (3, 5, said)


def test_jobs_are_taken_at_their_word_and_change_no_threads(machine):
    """So that a run has the same bytes with any number of processes."""
    for jobs in (1, 2, 40):
        chosen = machine(jobs=jobs)
        assert chosen[:2] == (jobs, 2)
        assert chosen[2] == f"{jobs} at once on 2 threads each (JOBS, 16 cores, memory for 26 members)"
    assert machine(jobs=2, threads=3)[:2] == (2, 3)


def test_no_processes_or_threads_are_no_choice():
    with pytest.raises(CompetitionError, match=r"JOBS is 1 or more\. Received: 0"):
        choose_engine(jobs=0)
    with pytest.raises(CompetitionError, match=r"--threads is 1 or more, or 0 for all cores\. Received: -1"):
        device.choose_setup(threads=-1)


def test_one_process_a_gpu(machine):
    jobs, threads, said = machine(gpus=("GPU:0", "GPU:1", "GPU:2"))
    assert (jobs, threads) == ((3 if engines.BACKEND == "tensorflow" else 1), 1)
    assert said.endswith("at once on 1 thread each (one a GPU, 16 cores, memory for 26 members)")


@pytest.fixture
def started(tmp_path, few, monkeypatch):
    """Start or go on with a run of six members, on so many cores: its folder's name, its threads, what is at once."""

    def start(cores, threads=None, jobs=None):
        monkeypatch.setattr(engines, "cpu_count", lambda: cores)
        monkeypatch.setattr(engines, "memory", lambda: 1_000_000_000_000)
        setup, dataset = Setup("float32", False, threads), SimpleNamespace(train=few, test=few, source="other")
        run = open_run(Folders(tmp_path, tmp_path), Config(), manifest_of(Config(), dataset, setup))
        engine = choose_engine(jobs)
        setup = fix_threads(run, Config(), setup, engine)
        assert run.manifest["identity"]["threads"] == setup.threads
        return run.name, setup.threads, engine.jobs

    return start


def test_a_run_goes_on_with_the_threads_that_it_began_with(started, capsys):
    """Whatever the machine: members on other threads have other bytes."""
    name, *chosen = started(cores=16)
    assert chosen == [2, 6]
    for cores, jobs, at_once in ((2, None, 1), (8, None, 4), (256, None, 6), (16, 3, 3)):
        assert started(cores, jobs=jobs) == (name, 2, at_once)
    assert started(cores=2, threads=2) == (name, 2, 1)
    assert capsys.readouterr().out.count("Going on with") == 5
    other, *chosen = started(cores=16, threads=4)
    assert other != name and chosen == [4, 4]
    assert "is unfinished, but changed since: threads. A new run starts." in capsys.readouterr().out
    assert started(cores=16) == (other, 4, 4)  # the newest that fits


def test_a_run_that_was_killed_before_it_chose_its_threads_chooses_now(started, tmp_path):
    name, *_ = started(cores=16)
    for threads in ({}, {"threads": "many"}):
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        del manifest["identity"]["threads"]
        manifest["identity"] |= threads
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
        assert started(cores=2) == (name, 1, 2)


def test_what_onednn_was_is_part_of_a_run(started, tmp_path, monkeypatch, capsys):
    name, *_ = started(cores=2)
    assert json.loads((tmp_path / name / "manifest.json").read_text())["identity"]["onednn"] == device.ONEDNN
    monkeypatch.setattr(device.Setup.__init__, "__defaults__", (True, not device.ONEDNN))
    assert started(cores=2)[0] != name
    assert "changed since: onednn." in capsys.readouterr().out


# Two processes load TensorFlow twice; test_pipeline.py trains in two of them as well.
@pytest.mark.parametrize("jobs", (1, pytest.param(2, marks=pytest.mark.slow)))
def test_every_member_answers_and_is_heard(jobs):
    heard = []
    results = engines.Processes(jobs).each(echo, range(3), lambda name, logs: heard.append((name, logs["epoch"])))
    assert sorted(results) == [0, 1, 4]
    assert sorted(heard) == [("0", 0), ("1", 1), ("2", 2)]


def echo(member, tell):
    tell(str(member), {"epoch": member})
    return member**2


@pytest.mark.slow
def test_ctrl_c_is_one_line_and_leaves_no_process(tmp_path):
    """As a terminal sends it: to the command and to all processes that it started."""
    needed("tensorboard")  # its logs tell that members train
    arguments = ("--source", "sample", "--epochs", "10000", "--jobs", "2", "--tensorboard", "--submissions", tmp_path)
    command = subprocess.Popen(
        [sys.executable, "-m", "competition", "train", *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        end = time.monotonic() + 600
        while len(list(tmp_path.glob("*/tensorboard/*"))) < 2:
            assert command.poll() is None and time.monotonic() < end, "no two members train"
            time.sleep(0.1)
        os.killpg(command.pid, signal.SIGINT)
        _, error = command.communicate(timeout=600)
        assert command.returncode == 130 and error.strip().startswith("Stopped.") and error.count("\n") == 2, error
        while left := processes(os.getsid, command.pid):
            assert time.monotonic() < end, left
            time.sleep(0.1)
    finally:
        if processes(os.getsid, command.pid):
            os.killpg(command.pid, signal.SIGKILL)


def test_a_missing_dask_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CompetitionError, match=r"Next: .*python.* -m pip install 'dask\[distributed\]"):
        choose_engine(scheduler="tcp://host:8786")


def test_jobs_or_a_scheduler(command):
    done = command("train", "--jobs", "2", "--scheduler", "tcp://host:8786")
    assert done.returncode == 2 and "not allowed with argument" in done.stderr


def test_a_stranger_that_connects_and_sends_nothing_holds_up_no_message(monkeypatch):
    monkeypatch.setattr(interprocess, "SECONDS", 1)
    received = []
    with interprocess.carried(lambda name, logs: received.append(name)) as put:
        with socket.create_connection(put.address):
            put("a", {})
        put("b", {})
    assert received == ["a", "b"]
