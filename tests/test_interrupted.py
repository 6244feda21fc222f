"""The command line is killed, stopped and hindered; the same command goes on, and ends with the same bytes."""

import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from competition.runs.folders import ROOT, Folders
from competition.runs.run import list_runs
from tests.conftest import write_csv
from tests.processes import processes
from tests.soak import SMALL, soak

PATIENCE = 300  # seconds, for all that is waited for


@pytest.fixture
def train(folders):
    """Start `train` on 600 digits, in a process group of its own."""
    started = []

    def start(*arguments, submissions="runs", **environment):
        command = [sys.executable, "-u", "-m", "competition", "train", *SMALL, "--precision", "float32", *arguments]
        command += ["--input", folders / "input", "--submissions", folders / submissions]
        process = subprocess.Popen(
            [*map(str, command)],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def read_until(process, words):
    """What a process printed, up to the line with these words."""
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(said + process.stderr.read())


def ended(process):
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def wait_for_workers(process):
    """One of them."""
    deadline = time.monotonic() + PATIENCE
    while sum("popen_loky" in command for command in processes(os.getpgid, process.pid)) < 1:
        assert time.monotonic() < deadline, "no workers"
        time.sleep(0.02)


def wait_for_the_end_of(process):
    """Of all its group."""
    deadline = time.monotonic() + PATIENCE
    while processes(os.getpgid, process.pid):
        assert time.monotonic() < deadline, "workers are left"
        time.sleep(0.2)


@pytest.mark.slow
def test_ten_kills_change_no_byte(tmp_path):
    counts = soak(tmp_path, kills=10)
    assert counts["kills"] == 10 and counts["runs"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "jobs", "whole_group"),
    [(signal.SIGINT, 2, True), (signal.SIGTERM, 2, False), (signal.SIGTERM, 1, False), (signal.SIGTERM, 2, True)],
)
def test_a_stopped_run_says_how_it_goes_on(train, folders, number, jobs, whole_group):
    process = train("--jobs", jobs, "--new")
    read_until(process, "member 1 of 3")
    started = time.monotonic()
    (os.killpg if whole_group else os.kill)(process.pid, number)
    code, _, said = ended(process)
    assert time.monotonic() - started < 60  # 2 on a quiet machine
    assert code == 128 + number and "Traceback" not in said, said
    wait_for_the_end_of(process)
    command = shlex.split(said.partition("Stopped. What is finished is kept. Next: ")[2])
    assert "--new" not in command
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True)
    (run,) = list_runs(Folders(folders, folders / "runs"))
    assert f"Going on with {run.path}" in done.stdout and done.stdout.count("\nmember ") == 2 and run.complete


@pytest.mark.slow
def test_a_killed_run_leaves_nothing_at_work(train):
    """Its workers notice that their parent is gone."""
    process = train("--jobs", "2", "--epochs", "5000")
    wait_for_workers(process)
    time.sleep(10)  # they begin; if not, there is less to end
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for_the_end_of(process)


@pytest.mark.slow
@pytest.mark.parametrize("starting", ("first", "the workers"))
def test_processes_that_only_start_are_stopped_without_a_traceback(train, starting):
    process = train("--jobs", "2")
    if starting == "the workers":
        wait_for_workers(process)
    else:
        read_until(process, "at once")
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    code, _, said = ended(process)
    assert code == 128 + signal.SIGINT and "Traceback" not in said, said
    wait_for_the_end_of(process)


def test_a_stop_that_python_drops_comes_again():
    """As one that arrives in a weak reference's callback."""
    code = """
import os, signal, time, weakref
from competition.__main__ import heed_signals

class Digit: pass

heed_signals()
digit = Digit()
reference = weakref.ref(digit, lambda _: os.kill(os.getpid(), signal.SIGTERM))
try:
    del digit
    time.sleep(60)
except KeyboardInterrupt as stop:
    print("stopped by", *stop.args)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == (f"stopped by {signal.SIGTERM.value}\n", "")


def test_nohup_lets_a_run_outlive_its_terminal():
    code = """
import os, signal
from competition.__main__ import heed_signals

heed_signals()
os.kill(os.getpid(), signal.SIGHUP)
print("goes on")
"""
    done = subprocess.run(["nohup", sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "goes on\n"


@pytest.mark.slow
def test_data_that_was_replaced_meanwhile_is_noticed(train, folders, few, sample):
    path = folders / "input" / "train.csv"
    original = path.read_bytes()
    process = train("--jobs", "1")
    read_until(process, "member 1 of 3")
    write_csv(path, few.images[:500], few.labels[:500])
    code, _, said = ended(process)
    assert code == 1 and said.startswith("Error: The run needs the train.csv that it was made from"), said
    (run,) = list_runs(Folders(folders, folders / "runs"))
    assert not run.submission_csv.exists() and not run.complete
    path.write_bytes(original)
    code, out, said = ended(train("--jobs", "1"))
    assert code == 0 and "Going on with" in out and "\nmember " not in out and run.complete, said


@pytest.mark.slow
def test_two_at_once_in_one_folder(train, folders):
    first = train("--jobs", "1", "--epochs", "9999")
    read_until(first, "at once")
    code, _, said = ended(train("--jobs", "1", "--epochs", "9999"))
    assert code == 1 and f"which process {first.pid} on " in said and "Next: wait for it" in said, said
    os.killpg(first.pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_full_disk_then_a_home_of_nobody_and_a_locale_of_ascii(train, folders):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # a child inherits it; weights are larger
    try:
        process = train("--jobs", "1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    code, _, said = ended(process)
    assert code == 1 and "Error: There must be room in" in said and "Traceback" not in said
    assert not list((folders / "runs").rglob("*.tmp"))
    poor = {"HOME": "/dev/null", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    code, out, said = ended(train("--jobs", "1", **poor))
    assert (code, said) == (0, "") and "Going on with" in out and "\\u2013" in out  # a dash that ASCII lacks
    assert "none (" not in out, out  # report and model were made as well


@pytest.mark.slow
def test_folders_with_spaces_quotes_and_umlauts_also_through_make(tmp_path, folders):
    project = tmp_path / 'it\'s a "größer" $HOME folder'
    shutil.copytree(ROOT / "competition", project / "competition", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "input" / "sample", project / "input" / "sample")
    shutil.copy(ROOT / "Makefile", project)
    odd = folders / "zwei 'Ziffern' \""
    (folders / "input").rename(odd)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def make(target, *settings):
        command = ["make", "-C", project, target, "VENV=", *settings]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)

    done = make("train", "JOBS=2", f"ARGS={shlex.join([*SMALL, '--input', str(odd)]).replace('$', '$$')}")
    assert done.returncode == 0, done.stderr
    (run,) = list_runs(Folders(project, project / "submissions"))
    assert run.complete and f"Submission               submissions/{run.name}/submission.csv" in done.stdout
    odd_run = run.path.rename(run.path.with_name("my 'best' run, ü"))
    done = make("report", f"RUN={odd_run.name}", f"ARGS={shlex.join(['--input', str(odd)])}")
    assert done.returncode == 0, done.stderr
    assert "my &#39;best&#39; run, ü" in (odd_run / "report.html").read_text("utf-8")


def test_an_output_that_takes_nothing_is_said(tmp_path):
    """As a log on a full disk, and as `| head` when it has seen enough."""
    command = [sys.executable, "-u", "-m", "competition", "data", "--source", "sample", "--submissions", tmp_path]
    if Path("/dev/full").exists():  # not on macOS
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        assert done.returncode == 1 and done.stderr.startswith("Error: ") and "No space left on device" in done.stderr
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(PATIENCE) == 128 + signal.SIGPIPE
    process.stderr.close()
