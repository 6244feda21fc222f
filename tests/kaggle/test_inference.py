"""The kernel that only predicts: what is packed and uploaded, and that its labels are the run's own."""

import ast
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from competition import pipeline
from competition.data import digits
from competition.errors import CompetitionError
from competition.kaggle import inference, kernel_run
from competition.kaggle.inference import upload_weights, write_weights
from competition.kaggle.kernel import pack_inference
from competition.network.device import Setup
from competition.pipeline import blend
from competition.runs.folders import Folders
from tests.conftest import write_csv
from tests.kaggle import world as kaggle_world
from tests.kaggle.test_kernel import GUARD, NO_NETWORK
from tests.kaggle.world import World

oldest, world = kaggle_world.oldest, kaggle_world.each_world
RUN = "20260101-000000-fast"
FILES = ["config.json", "done.json", "manifest.json", *(f"members__repeat1-fold{i}__weights.npz" for i in (1, 2))]


def test_the_weights_of_the_submitted_members_are_packed(world: World, tmp_path):
    run = world.add_run()
    weights, dataset = pack_inference(world.folders, tmp_path / "kernel", "Ann", run, "script")
    names = sorted(path.name for path in weights.iterdir())
    assert names == sorted([*(f"{RUN}__{name}" for name in FILES), "dataset-metadata.json"])
    path = weights / f"{RUN}__members__repeat1-fold2__weights.npz"
    assert path.read_bytes() == (run.path / "members" / "repeat1-fold2" / "weights.npz").read_bytes()
    described = json.loads((weights / "dataset-metadata.json").read_text())
    assert described["id"] == dataset == "ann/digit-recognizer-fast-weights"
    assert described["title"] == "Digit Recognizer fast weights"
    metadata = json.loads((tmp_path / "kernel" / "kernel-metadata.json").read_text())
    assert metadata["id"] == "ann/digit-recognizer-fast-inference" and metadata["dataset_sources"] == [dataset]
    assert (metadata["enable_gpu"], metadata["enable_internet"]) == (False, False)
    text = (tmp_path / "kernel" / "kernel.py").read_text()
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "").isupper()
    }
    assert values["RUN"] == RUN and values["SHA256"] == run.read_json("done.json")["sha256"] and values["PACKED"]
    (weights / "leftover").touch()
    run.write_json("done.json", {**run.read_json("done.json"), "members": ["repeat1-fold1"]})  # its time ran out
    pack_inference(world.folders, tmp_path / "kernel", "ann", run)
    assert len(list(weights.iterdir())) == len(FILES)  # one member less, the description more


def test_a_run_on_other_data_or_a_damaged_one_is_not_packed(world: World, tmp_path):
    foreign = world.add_run(source="sample")
    with pytest.raises(CompetitionError, match="competition's files alone"):
        pack_inference(world.folders, tmp_path / "kernel", "ann", foreign)
    run = world.add_run("20260102-000000-fast")
    (run.path / "members" / "repeat1-fold1" / "weights.npz").write_bytes(b"")
    with pytest.raises(CompetitionError, match="must hold repeat1-fold1"):
        pack_inference(world.folders, tmp_path / "kernel", "ann", run)
    assert not (tmp_path / "kernel").exists()


def test_the_dataset_is_created_then_versioned_and_never_sent_twice(world: World, tmp_path):
    run, dataset = world.add_run(), "ann/digit-recognizer-fast-weights"
    folder = tmp_path / "weights"
    write_weights(world.folders, run, folder, dataset, "Digit Recognizer fast weights")
    for failure in ("after", 503):
        world.server.fail("CreateDataset", failure)
    upload_weights(folder, dataset, run.name)
    assert len(world.server.calls("CreateDataset")) == 1  # it had arrived in spite of the 500
    assert sorted(world.server.dataset) == sorted(f"{RUN}__{name}" for name in FILES)
    upload_weights(folder, dataset, run.name)
    assert not world.server.calls("CreateDatasetVersion")
    for name in ("config.json", "done.json"):
        (folder / f"{RUN}__{name}").write_text('{"another": "one"}')
    world.server._failures.clear()
    world.server.fail("CreateDatasetVersion", 503)
    upload_weights(folder, dataset, run.name)
    assert len(world.server.calls("CreateDatasetVersion")) == 2


def test_make_kernel_of_a_run_pushes_both_and_compares_the_labels(world: World):
    run = world.add_run()
    world.server.kernel["files"] = {"submission.csv": run.submission_csv.read_bytes()}
    code, printed = world.run("kernel", "--run", RUN, "--push", "--username", "ann", "--kind", "script")
    assert code == 0, printed
    assert f"The kernel's labels are those of {RUN}. Next: its Submit button, or `make submit RUN={RUN}`." in printed
    assert world.server.calls("SaveKernel")[0]["datasetDataSources"] == ["ann/digit-recognizer-fast-weights"]
    assert not world.server.calls("GetAcceleratorQuotaStatistics")  # it takes no GPU
    assert not (world.folders.submissions / "kernels.json").exists()
    lines = run.submission_csv.read_bytes().replace(b"\n7,3\n", b"\n7,4\n")
    world.server.kernel |= {"files": {"submission.csv": lines}, "states": ["COMPLETE"]}
    code, printed = world.run("kernel", "--run", RUN, "--push", "--username", "ann", "--kind", "script")
    assert code == 1 and f"Received: 1 of 28000 labels differ from those of {RUN}; they stay in " in printed, printed
    assert (world.folders.submissions / "fetched-digits-3" / "submission.csv").read_bytes() == lines
    assert kernel_run.POLL < 1 and inference.POLL < 1  # nothing of this waits


@pytest.fixture
def trained(tmp_path, few, sample, monkeypatch):
    """A run and a blend on digits that are taken for the competition's, and their folders."""
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
    return folders, runs[0], blend(folders, [run.name for run in runs])


@pytest.mark.slow
@pytest.mark.parametrize("which", ["run", "blend"])
def test_it_predicts_the_runs_own_labels_in_a_read_only_layout(trained, tmp_path, which):
    """No package on the path, no network, read-only inputs, an empty working folder."""
    folders, single, blended = trained
    run = single if which == "run" else blended
    folder, root = tmp_path / "kernel", tmp_path / "kaggle"
    weights, _ = pack_inference(folders, folder, "ann", run, "script")
    attached = root / "input" / "datasets" / "ann" / "digit-recognizer-weights"
    attached.parent.mkdir(parents=True)
    weights.rename(attached)
    (attached / "dataset-metadata.json").unlink()  # which the command line does not upload
    (root / "working").mkdir()
    for path in [*(root / "input").rglob("*"), root / "input"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in (root / "input").rglob("*")}
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KAGGLE_KERNEL_RUN_TYPE": "Batch"}
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD)
    done = subprocess.run(
        [sys.executable, "-c", NO_NETWORK, tmp_path / "guard", sys.executable, folder / "kernel.py"],
        env={**environment, "COMPETITION_KAGGLE_ROOT": str(root)},
        cwd=root / "working",
        capture_output=True,
        text=True,
    )
    for path in [root / "input", *(root / "input").rglob("*")]:
        path.chmod(0o755)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == f"{root / 'working' / 'submission.csv'}: the run's own labels.\n"
    assert (root / "working" / "submission.csv").read_bytes() == run.submission_csv.read_bytes()
    assert [path.name for path in (root / "working").iterdir()] == ["submission.csv"]
    assert before == {path: path.stat().st_mtime_ns for path in before}
    labels = np.loadtxt(run.submission_csv, int, delimiter=",", skiprows=1)[:, 1]
    assert len(set(labels.tolist())) > 3  # no constant
