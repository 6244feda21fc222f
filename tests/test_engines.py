"""Where members run on this machine: how many, on which GPU, and what they say meanwhile."""

import importlib.util
import multiprocessing
import time

import pytest

from competition import device, engines, ensemble
from competition.device import Setup, free_gpu
from competition.errors import CompetitionError


@pytest.fixture
def locks(tmp_path, monkeypatch):
    """Claims of this test alone."""
    monkeypatch.setattr(device.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def claim_and_wait(claimed):
    number, lock = free_gpu(2)
    claimed.put(number)
    time.sleep(600)
    lock.close()


def test_a_gpu_is_one_members_until_its_process_ends(locks):
    context = multiprocessing.get_context("fork")  # another process, without loading TensorFlow again
    claimed = context.SimpleQueue()
    other = context.Process(target=claim_and_wait, args=(claimed,), daemon=True)
    other.start()
    assert claimed.get() == 0
    number, lock = free_gpu(2)
    assert number == 1 and lock is not None
    assert free_gpu(2)[1] is None  # none is left: shared
    other.kill()
    other.join()
    number, lock = free_gpu(2)
    assert number == 0 and lock is not None


def test_claims_are_of_the_gpus_that_a_process_sees(locks, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    claims = [free_gpu(2)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    claims.append(free_gpu(2))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 2")
    claims.append(free_gpu(2))
    assert [number for number, lock in claims if lock] == [0, 0, 0]  # 2, 0 and 3
    assert free_gpu(2)[1] is None


def test_processes_times_threads_fill_the_machine(monkeypatch):
    monkeypatch.setattr(engines, "gpus", list)
    cores = engines.cpu_count()
    assert engines.choose_processes(Setup("float32", False, 1)).jobs == cores
    assert engines.choose_processes(Setup("float32", False, cores)).jobs == 1
    assert engines.choose_processes(Setup("float32", False, 1), jobs=3).describe() == "3 at once (as asked)"


def test_one_process_a_gpu(monkeypatch):
    monkeypatch.setattr(engines, "gpus", lambda: ["GPU:0", "GPU:1", "GPU:2"])
    chosen = engines.choose_processes(Setup("float32", False, 1))
    assert chosen.jobs == (3 if engines.BACKEND == "tensorflow" else 1) and "one GPU" in chosen.describe()


# Two processes load TensorFlow twice; test_pipeline.py trains in two of them as well.
@pytest.mark.parametrize("jobs", (1, pytest.param(2, marks=pytest.mark.slow)))
def test_every_member_answers_and_is_heard(jobs):
    heard = []
    results = engines.Processes(jobs, "").each(echo, range(3), lambda name, logs: heard.append((name, logs["epoch"])))
    assert sorted(results) == [0, 1, 4]
    assert sorted(heard) == [("0", 0), ("1", 1), ("2", 2)]


def echo(member, tell):
    tell(str(member), {"epoch": member})
    return member**2


def test_a_missing_dask_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CompetitionError, match=r"Next: pip install 'dask\[distributed\]"):
        ensemble.choose_engine(Setup("float32", False, 1), scheduler="tcp://host:8786")


def test_jobs_or_a_scheduler(command):
    done = command("train", "--jobs", "2", "--scheduler", "tcp://host:8786")
    assert done.returncode == 2 and "not allowed with argument" in done.stderr
