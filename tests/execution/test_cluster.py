"""Members on a real Dask cluster: the same answer, whoever dies, joins late or does not belong.

Every wait has an end: a test that lasts too long fails, and its processes end with it.
"""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from competition.config import Config
from competition.ensemble.folds import plan_members
from competition.errors import CompetitionError
from competition.runs.folders import PACKAGE, ROOT, Folders
from competition.runs.run import find_run
from tests.conftest import needed, write_csv
from tests.execution.clusters import PATIENCE, Echo, LocalCluster, Meter, free_port, until

pytestmark = pytest.mark.slow
SETTINGS = ("--folds", "4", "--refit", "0", "--epochs", "2", "--batch-size", "32", "--precision", "float32")


@pytest.fixture(autouse=True)
def bounded():
    """Nothing hangs: Dask's own waits end here too."""

    def give_up(*_):
        raise AssertionError(f"the test is not over within {3 * PATIENCE} s")

    needed("distributed")
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(3 * PATIENCE)
    yield
    signal.alarm(0)


@pytest.fixture(scope="module")
def data(tmp_path_factory, few, sample):
    """A folder of 600 training and 300 test digits."""
    folder = tmp_path_factory.mktemp("data")
    write_csv(folder / "train.csv", few.images, few.labels)
    write_csv(folder / "test.csv", sample.images[600:900])
    return folder


@pytest.fixture(scope="module")
def serial(data, tmp_path_factory):
    """The run of one process, one member after the other."""
    folder = tmp_path_factory.mktemp("serial")
    arguments = ["train", *SETTINGS, "--input", data, "--submissions", folder, "--jobs", "1"]
    subprocess.run([sys.executable, "-m", "competition", *map(str, arguments)], cwd=ROOT, check=True, timeout=PATIENCE)
    return find_run(Folders(folder, folder))


@pytest.fixture
def train(data, tmp_path):
    """Start `train` into a folder of runs; the process."""
    started = []

    def start(*arguments):
        arguments = ("train", *SETTINGS, "--input", data, "--submissions", tmp_path / "runs", *arguments)
        started.append(subprocess.Popen(
            [sys.executable, "-m", "competition", *map(str, arguments)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ))  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def cluster(tmp_path):
    (tmp_path / "cluster").mkdir()
    with LocalCluster(tmp_path / "cluster") as running:
        yield running


@pytest.fixture
def engine(cluster):
    """This process as the one that trains on the cluster, once a worker is there."""
    from competition.execution.cluster import Cluster

    engines = []

    def connect():
        engines.append(Cluster(cluster.address))
        engines[-1].client.wait_for_workers(1, timeout=PATIENCE)
        return engines[-1]

    yield connect
    for each in engines:
        each.client.close(timeout=10)


def same(folder, run):
    """Whether the run in a folder ended as another one did, bit for bit."""
    other = find_run(Folders(folder, folder))
    arrays, others = run.read_arrays("probabilities.npz"), other.read_arrays("probabilities.npz")
    equal = all(np.array_equal(arrays[name], others[name]) for name in arrays)
    return equal and run.submission_csv.read_bytes() == other.submission_csv.read_bytes()


def ended(process):
    out, error = process.communicate(timeout=PATIENCE)
    return process.returncode, out, error


def in_mid_member(address, process):
    """Wait until a worker trains a member."""
    with needed("distributed").Client(address, set_as_default=False) as client:

        def busy():
            return [key for keys in client.processing().values() for key in keys if str(key).startswith("repeat1")]

        until(busy, "a member that began", process)


def test_a_run_that_began_here_ends_on_a_cluster_with_the_same_answer(train, serial, cluster, tmp_path):
    """Bit for bit, with one thread a member; the workers that do not belong are refused meanwhile."""
    other = tmp_path / "numpy-0.0.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n")
    shutil.copytree(PACKAGE, tmp_path / "changed" / "competition")
    with (tmp_path / "changed" / "competition" / "network" / "training.py").open("a") as file:
        file.write("# another line\n")
    (tmp_path / "nothing").mkdir()
    cluster.worker(PYTHONPATH=str(tmp_path))
    cluster.worker(folder=tmp_path / "changed")
    cluster.worker(folder=tmp_path / "nothing")
    cluster.worker()
    cluster.worker()
    with needed("distributed").Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(5, timeout=PATIENCE)
    begun = tmp_path / "runs" / serial.name
    shutil.copytree(serial.path, begun)
    for done in (begun / "done.json", *begun.glob("members/*-fold[234]/done.json")):
        done.unlink()
    code, out, error = ended(train("--scheduler", cluster.address))
    assert code == 0 and error == "", error
    assert "Going on with" in out and "one a worker on the cluster" in out and out.count("): accuracy ") == 3
    refused = [line for line in out.splitlines() if "is refused" in line]
    assert len(refused) == 3
    for words in ("numpy 0.0.1 in place of", "Received: package", "No module named 'competition'"):
        assert sum(words in line for line in refused) == 1
    assert same(tmp_path / "runs", serial)


def test_a_killed_worker_costs_its_member_and_one_that_joins_late_takes_over(train, serial, cluster, tmp_path):
    worker = cluster.worker()
    process = train("--scheduler", cluster.address)
    in_mid_member(cluster.address, process)
    worker.kill()
    cluster.worker()
    code, out, error = ended(process)
    assert code == 0 and error == "", error
    assert out.count("is gone") == 1 and out.count("): accuracy ") == 4
    assert same(tmp_path / "runs", serial)


def test_a_lost_scheduler_is_one_line_and_two_processes_here_end_the_run(train, serial, cluster, tmp_path):
    cluster.worker()
    process = train("--scheduler", cluster.address)
    until(lambda: list(tmp_path.glob("runs/*/members/*/done.json")), "a finished member", process)
    cluster.scheduler.kill()
    code, _, error = ended(process)
    assert code == 1 and error.startswith("Error: The scheduler must stay") and error.count("\n") == 1, error
    code, out, error = ended(train("--jobs", "2"))
    assert code == 0 and "Going on with" in out and 0 < out.count("): accuracy ") < 4, error
    assert same(tmp_path / "runs", serial)


def test_a_stopped_run_leaves_the_worker_free(train, cluster, engine):
    """The next run's members do not wait for those of the stopped one, nor compute beside them."""
    cluster.worker()
    process = train("--scheduler", cluster.address, "--epochs", "10000")
    in_mid_member(cluster.address, process)
    process.send_signal(signal.SIGINT)
    code, _, error = ended(process)
    assert code == 130 and error.strip().startswith("Stopped.") and error.strip().count("\n") == 0, error
    members = plan_members(Config(folds=2), np.arange(20) % 10)
    assert len(list(engine().each(Echo(b"digits"), members, print))) == 2


def test_a_second_wave_finds_the_cluster_again(cluster, engine):
    """As the waves of a run with a time limit are: the client closes at the end of each."""
    cluster.worker()
    members, connected = plan_members(Config(folds=3), np.arange(80) % 10), engine()
    for wave in (members[:2], members[2:]):
        results = connected.each(Echo(b"data"), wave, lambda name, logs: None)
        assert sorted(results) == [(member.name, 4) for member in wave]


def test_data_is_sent_once_a_worker_and_every_epoch_is_heard(cluster, engine):
    """Bytes counted on the wire: eight members, and the data crosses it once."""
    meter, size = Meter(), 20_000_000
    cluster.worker(meter=meter)
    members, heard = plan_members(Config(folds=8), np.arange(80) % 10), []
    results = engine().each(Echo(os.urandom(size)), members, lambda name, logs: heard.append((name, logs["epoch"])))
    assert sorted(results) == [(member.name, size) for member in members]
    assert sorted(heard) == [(member.name, epoch) for member in members for epoch in range(3)]
    assert size < meter.to < 1.1 * size and meter.back < size / 10, (meter.to, meter.back)


def test_data_that_arrives_otherwise_is_refused(cluster, engine, few, capsys):
    from competition.ensemble.members import Trainer
    from competition.network.device import Setup

    cluster.worker()
    config = Config(folds=2)
    training = Trainer(Setup("float32", False, 1), replace(few, sha256="0" * 64), few)
    with pytest.raises(CompetitionError, match="1, all refused"):
        next(engine().each(training, plan_members(config, few.labels), print))
    assert f"data of content {few.sha256[:12]} in place of 000000000000" in capsys.readouterr().out


def test_no_scheduler_is_one_line(train):
    code, out, error = ended(train("--scheduler", f"tcp://127.0.0.1:{free_port()}"))
    assert code == 1 and error.startswith("Error: SCHEDULER names a Dask scheduler that answers")
    assert error.count("\n") == 1 and out == ""
