"""Every kind of kernel runs where Kaggle would run it: in its image's versions and its layout, without network."""

import gzip
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from competition import pipeline
from competition.data import digits
from competition.data.submission import read_submission
from competition.kaggle.kernel import dataset_beside, pack, pack_inference
from competition.network.device import Setup
from competition.runs.folders import SAMPLE, Folders
from competition.runs.run import find_run
from competition.runs.version import package_sha256
from tests.conftest import lacking, write_csv
from tests.kaggle.test_kernel import KINDS, LAYOUTS, check_executed

CONSTRAINTS = Path(__file__).with_name("image.txt")
# Starts a program in a network namespace of its own, with the loopback that Jupyter talks over. Where that is
# not permitted, a sitecustomize makes Python's sockets refuse all but the loopback.
NO_NETWORK = """\
import ctypes, fcntl, os, socket, struct, sys

def isolate():
    flags = 0x40000000 if os.getuid() == 0 else 0x50000000
    if ctypes.CDLL(None).unshare(flags):
        raise OSError("not permitted")
    with socket.socket() as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 1 | 64))

if (child := os.fork()) == 0:  # a failed try would leave no loopback
    try:
        isolate()
    except BaseException:
        os._exit(1)
    os._exit(0)
if os.waitpid(child, 0)[1] == 0:
    isolate()
else:
    os.environ["PYTHONPATH"] = sys.argv[1]
os.execv(sys.argv[2], sys.argv[2:])
"""
GUARD = """\
import socket

def connect(self, address, connect=socket.socket.connect):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError("no network here")
    return connect(self, address)

socket.socket.connect = connect
"""
REACHES_OUT = """\
import socket
try:
    socket.create_connection(("1.1.1.1", 443), 3)
except OSError:
    raise SystemExit(0)
raise SystemExit("the network is still there")
"""
EXECUTE = """\
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=600).execute()
nbformat.write(notebook, sys.argv[2])
"""


@pytest.fixture(scope="module")
def image_python(tmp_path_factory):
    """The Python of an environment with the versions of Kaggle's image."""
    ready = os.environ.get("KAGGLE_IMAGE_PYTHON")
    if ready:
        yield Path(ready)
        return
    pyenv = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    found = [*sorted(Path(pyenv).glob("versions/3.12.*/bin/python3.12"), reverse=True), shutil.which("python3.12")]
    for python in filter(None, found):
        if subprocess.run([python, "-c", ""], capture_output=True).returncode == 0:  # pyenv's shims may lead nowhere
            break
    else:
        lacking("Python 3.12 is needed, on PATH or in pyenv: the Kaggle image has it")
    folder = tmp_path_factory.mktemp("image")
    names = [line.split("==")[0] for line in CONSTRAINTS.read_text().splitlines() if "==" in line]
    subprocess.run([python, "-m", "venv", folder], check=True)
    install = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*install, "-c", CONSTRAINTS, *names], capture_output=True, text=True)
    if done.returncode:
        lacking(f"the Kaggle image's versions cannot be installed: {done.stderr[-300:]}")
    yield folder / "bin/python"
    shutil.rmtree(folder)  # 3 GB, while other modules' tests still run


@pytest.fixture
def on_kaggle(image_python, tmp_path):
    """Run a Python command as on Kaggle: input/ is read-only, working/ is empty, no package on the path, no network."""
    root, home = tmp_path / "kaggle", tmp_path / "home"
    for folder in (root / "working", home):
        folder.mkdir(parents=True)
    (home / "sitecustomize.py").write_text(GUARD)

    def run(*code):
        mounted = [root / "input", *(root / "input").rglob("*")]
        for path in mounted:
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = {path: path.stat().st_mtime_ns for path in mounted}  # root may write in spite of the modes
        with tempfile.TemporaryDirectory() as temporary:  # short, for sockets have names of at most 107 bytes
            done = subprocess.run(
                [image_python, "-c", NO_NETWORK, home, image_python, *code],
                cwd=root / "working",
                env={
                    "PATH": "/usr/bin:/bin",
                    "HOME": str(home),
                    "TMPDIR": temporary,
                    "KAGGLE_KERNEL_RUN_TYPE": "Batch",
                    "COMPETITION_KAGGLE_ROOT": str(root),
                },
                capture_output=True,
                text=True,
                timeout=900,
            )
        assert {path: path.stat().st_mtime_ns for path in mounted} == before
        for path in mounted:
            path.chmod(0o755 if path.is_dir() else 0o644)
        return done

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "layout"), zip(KINDS, LAYOUTS, strict=True))
def test_it_trains(on_kaggle, tmp_path, kind, layout):
    """The notebook has two minutes for more members than fit into them."""
    inputs, working = tmp_path / "kaggle" / "input" / layout, tmp_path / "kaggle" / "working"
    inputs.mkdir(parents=True)
    for name in ("train.csv", "test.csv"):
        (inputs / name).write_bytes(gzip.decompress((SAMPLE / f"{name}.gz").read_bytes()))
    repeats, minutes = (100, 2) if kind == "notebook" else (1, None)
    folder = pack(tmp_path / "kernel", "a", "quick", {"epochs": 3, "folds": 2, "repeats": repeats}, kind, minutes)
    code = [folder / "kernel.py"]
    if kind == "notebook":
        (tmp_path / "execute.py").write_text(EXECUTE)
        code = [tmp_path / "execute.py", folder / "kernel.ipynb", tmp_path / "executed.ipynb"]

    assert on_kaggle("-c", REACHES_OUT).returncode == 0
    done = on_kaggle(*code)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {path.name for path in working.iterdir()} == {"submission.csv", "submissions"}
    run = find_run(Folders(inputs, working / "submissions"))
    assert read_submission(working / "submission.csv", 2000)[1] == []
    assert (working / "submission.csv").read_bytes() == run.submission_csv.read_bytes()
    versions = run.manifest["versions"]
    known = dict(line.split("==") for line in CONSTRAINTS.read_text().splitlines() if "==" in line)
    assert versions["python"].startswith("3.12.") and all(versions[name] == known[name] for name in ("keras", "numpy"))
    assert run.manifest["identity"]["package"] == package_sha256()
    assert run.scores["out_of_fold"]["accuracy"] > 0.9
    assert all(run.load_member(f"repeat1-fold{fold}") for fold in (1, 2))  # as `fetch` reads them at home
    if kind == "notebook":
        check_executed(tmp_path / "executed.ipynb", run)
        assert 1 <= len(run.part) < 200 and sum(run.manifest["seconds"].values()) < 60 * minutes + 60
    else:
        assert run.whole

    (inputs / "train.csv").unlink()  # a kernel that fails names the reason
    done = on_kaggle(*code)
    assert done.returncode != 0 and "must be attached to the kernel" in done.stderr


@pytest.mark.slow
def test_it_predicts_the_labels_of_a_run_and_of_a_blend(on_kaggle, tmp_path, few, sample, monkeypatch):
    """Trained here, on digits that are taken for the competition's: the submission is theirs, byte for byte."""
    inputs = tmp_path / "kaggle" / "input" / "competitions" / "digit-recognizer"
    inputs.mkdir(parents=True)
    write_csv(inputs / "train.csv", few.images, few.labels)
    write_csv(inputs / "test.csv", sample.images[600:900])
    for name in ("train", "test"):
        read = digits.read_digits(inputs / f"{name}.csv", name == "train")
        monkeypatch.setitem(digits.KNOWN_CONTENT, read.sha256, "kaggle")
    monkeypatch.setattr(pipeline, "illustrate", lambda *_: None)
    folders = Folders(inputs, tmp_path / "runs")
    settings = {"epochs": 2, "folds": 2, "tta": 0.5}
    setup = Setup("float32", False, 1)
    runs = [pipeline.train(folders, setup, "mlp", {**settings, "seed": s}, "auto", jobs=1) for s in (1, 2)]
    submission = tmp_path / "kaggle" / "working" / "submission.csv"
    for run in (runs[0], pipeline.blend(folders, [run.name for run in runs])):
        folder = pack_inference(folders, tmp_path / "kernel", "ann", run, "script")
        weights = dataset_beside(folder)
        attached = tmp_path / "kaggle" / "input" / "datasets" / "ann" / weights.name
        shutil.rmtree(attached, ignore_errors=True)
        shutil.copytree(weights, attached, ignore=shutil.ignore_patterns("dataset-metadata.json"))  # is not uploaded
        done = on_kaggle(folder / "kernel.py")
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout == f"{submission}: the run's own labels.\n"
        assert submission.read_bytes() == run.submission_csv.read_bytes()
        assert [path.name for path in submission.parent.iterdir()] == ["submission.csv"]
        labels = np.loadtxt(submission, int, delimiter=",", skiprows=1)[:, 1]
        assert len(set(labels.tolist())) > 3  # no constant
        submission.unlink()
