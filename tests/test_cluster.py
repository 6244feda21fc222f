"""Members on a real Dask cluster: the same answer, whoever dies, joins late or does not belong."""

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from competition.folders import PACKAGE, ROOT, Folders
from competition.runs import find_run
from tests.clusters import LocalCluster, Meter, free_port
from tests.conftest import write_csv

pytestmark = pytest.mark.slow
try:
    import distributed
except ImportError:
    if os.environ.get("CI"):
        raise
    pytest.skip("pip install -r tests/requirements.txt", allow_module_level=True)

SETTINGS = ("--folds", "4", "--epochs", "4", "--batch-size", "32", "--precision", "float32")


@pytest.fixture(scope="module")
def data(tmp_path_factory, few, sample):
    """A folder of 600 training and 300 test digits."""
    folder = tmp_path_factory.mktemp("data")
    write_csv(folder / "train.csv", few.images, few.labels)
    write_csv(folder / "test.csv", sample.images[600:900])
    return folder


@pytest.fixture
def train(data, tmp_path):
    """Start `train` into a folder of runs; the process."""

    def start(*arguments, runs="runs"):
        return subprocess.Popen(
            [sys.executable, "-m", "competition", "train", *SETTINGS, "--input", data, "--submissions",
             tmp_path / runs, *arguments],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


@pytest.fixture(scope="module")
def serial(data, tmp_path_factory):
    """What one process, one member after the other, answers."""
    folder = tmp_path_factory.mktemp("serial")
    arguments = ["train", *SETTINGS, "--input", data, "--submissions", folder, "--jobs", "1"]
    subprocess.run([sys.executable, "-m", "competition", *map(str, arguments)], cwd=ROOT, check=True)
    return answer(folder)


@pytest.fixture
def cluster(tmp_path):
    (tmp_path / "cluster").mkdir()
    with LocalCluster(tmp_path / "cluster") as running:
        yield running


def answer(folder):
    run = find_run(Folders(folder, folder))
    return run.submission.read_bytes(), run.read_arrays("probabilities.npz")


def same(one, other):
    return one[0] == other[0] and all(np.array_equal(one[1][name], other[1][name]) for name in one[1])


def ended(process):
    out, error = process.communicate(timeout=300)
    return process.returncode, out, error


def in_mid_member(address, names=("repeat1",), seconds=1):
    """Wait until a worker has computed for a while; the members it is at."""
    with distributed.Client(address, set_as_default=False) as client:
        for _ in range(600):
            busy = [key for keys in client.processing().values() for key in keys if str(key).startswith(names)]
            if busy:
                time.sleep(seconds)
                return busy
            time.sleep(0.1)
    raise AssertionError("no member began")


def test_the_answer_does_not_depend_on_the_engine(train, serial, cluster, tmp_path):
    """Bit for bit, with one thread a member."""
    cluster.worker()
    cluster.worker()
    code, out, error = ended(train("--scheduler", cluster.address, runs="cluster-runs"))
    assert code == 0 and error == "", error
    assert "on the cluster" in out and out.count("): accuracy ") == 4
    code, _, error = ended(train("--jobs", "2"))
    assert code == 0, error
    assert same(answer(tmp_path / "runs"), serial)
    assert same(answer(tmp_path / "cluster-runs"), serial)


def test_a_killed_worker_costs_its_member_and_one_that_joins_late_takes_over(train, serial, cluster, tmp_path):
    worker = cluster.worker()
    process = train("--scheduler", cluster.address)
    in_mid_member(cluster.address)
    worker.kill()
    cluster.worker()
    code, out, error = ended(process)
    assert code == 0 and error == "", error
    assert out.count("is gone") == 1 and out.count("): accuracy ") == 4
    assert same(answer(tmp_path / "runs"), serial)


def test_a_lost_scheduler_is_one_line_and_a_good_resume(train, serial, cluster, tmp_path):
    cluster.worker()
    process = train("--scheduler", cluster.address)
    while not list(tmp_path.glob("runs/*/members/*/done.json")):
        time.sleep(0.1)
        assert process.poll() is None, process.communicate()
    cluster.scheduler.kill()
    code, _, error = ended(process)
    assert code == 1 and error.startswith("Error: The scheduler must stay") and error.count("\n") == 1
    code, out, _ = ended(train("--jobs", "1"))
    assert code == 0 and "Going on with" in out and out.count("): accuracy ") < 4
    assert same(answer(tmp_path / "runs"), serial)


def test_a_stopped_run_leaves_the_worker_free(train, cluster):
    """The next run's members do not wait for those of the stopped one, nor compute beside them."""
    cluster.worker()
    process = train("--scheduler", cluster.address, "--epochs", "2000")
    in_mid_member(cluster.address)
    process.send_signal(subprocess.signal.SIGINT)
    code, _, error = ended(process)
    assert code == 130 and error.strip().startswith("Stopped."), error
    code, out, error = ended(train("--scheduler", cluster.address, "--epochs", "1", runs="others"))
    assert code == 0, out + error


def test_workers_that_differ_are_refused(train, cluster, tmp_path):
    other = tmp_path / "numpy-0.0.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n")
    shutil.copytree(PACKAGE, tmp_path / "changed" / "competition")
    with (tmp_path / "changed" / "competition" / "training.py").open("a") as file:
        file.write("# another line\n")
    (tmp_path / "nothing").mkdir()
    cluster.worker(PYTHONPATH=str(tmp_path))
    cluster.worker(folder=tmp_path / "changed")
    cluster.worker(folder=tmp_path / "nothing")
    with distributed.Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(3, timeout=60)
    code, out, error = ended(train("--scheduler", cluster.address))
    assert code == 1 and "3, all refused" in error and error.count("\n") == 1
    refused = [line for line in out.splitlines() if "is refused" in line]
    assert len(refused) == 3
    for words in ("numpy 0.0.1 in place of", "package sources", "No module named 'competition'"):
        assert sum(words in line for line in refused) == 1
    cluster.worker()
    with distributed.Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(4, timeout=60)
    code, out, error = ended(train("--scheduler", cluster.address))
    assert code == 0 and error == "" and out.count("is refused") == 3 and out.count("): accuracy ") == 4


def test_data_that_arrives_otherwise_is_refused(cluster, few):
    from dataclasses import replace

    from competition.cluster import Cluster
    from competition.config import Config
    from competition.device import Setup
    from competition.ensemble import Training
    from competition.errors import CompetitionError
    from competition.folds import plan_members

    cluster.worker()
    engine = Cluster(cluster.address)
    engine.client.wait_for_workers(1, timeout=60)
    config = Config(folds=2)
    training = Training(config, Setup("float32", False, 1), replace(few, sha256="0" * 64), few)
    with pytest.raises(CompetitionError, match="all refused"):
        next(engine.each(training, plan_members(config, few.labels), print))


def test_data_is_sent_once_a_worker(train, cluster, sample, tmp_path):
    """Bytes counted on the wire: four members of 8,000 digits, and the digits cross it once."""
    write_csv(tmp_path / "train.csv", sample.images, sample.labels)
    write_csv(tmp_path / "test.csv", sample.images[:2000])
    meter = Meter()
    cluster.worker(meter=meter)
    size = 8000 * 784
    code, _, error = ended(train("--scheduler", cluster.address, "--epochs", "1", "--input", tmp_path))
    assert code == 0, error
    assert size < meter.to < 1.3 * size
    print(f"\n{meter.to / 1e6:.2f} MB to the worker, of {size / 1e6:.2f} MB of digits; {meter.back / 1e6:.2f} MB back")


def test_no_scheduler_is_one_line(train):
    code, out, error = ended(train("--scheduler", f"tcp://127.0.0.1:{free_port()}"))
    assert code == 1 and error.startswith("Error: SCHEDULER names a Dask scheduler that answers")
    assert error.count("\n") == 1 and out == ""
