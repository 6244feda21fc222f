"""The kernel that only predicts: what is packed and uploaded, and that its labels are the run's own."""

import json
import shutil

import numpy as np
import pytest

from competition.config import Config
from competition.data.submission import write_submission
from competition.errors import CompetitionError
from competition.kaggle import inference, kernel_run
from competition.kaggle.fetch import Refused, take_predictions
from competition.kaggle.inference import upload, write_description, write_weights
from competition.kaggle.kernel import dataset_beside, pack_inference
from competition.runs.folders import Folders
from competition.runs.run import Run, settings_of
from tests.kaggle import world as kaggle_world
from tests.kaggle.test_kernel import values_in
from tests.kaggle.world import World

oldest, world = kaggle_world.oldest, kaggle_world.each_world
RUN = "20260101-000000-fast"
FILES = ["config.json", "done.json", "manifest.json", *(f"members__repeat1-fold{i}__weights.npz" for i in (1, 2))]


def test_the_weights_of_the_submitted_members_are_packed(world: World, tmp_path):
    run = world.add_run()
    weights = dataset_beside(pack_inference(world.folders, tmp_path / "kernel", "Ann", run, "script"))
    names = {path.name for path in weights.iterdir()}
    content = next(weights.glob("sha256-*.txt")).name
    assert names == {*(f"{RUN}__{name}" for name in FILES), "dataset-metadata.json", content}
    path = weights / f"{RUN}__members__repeat1-fold2__weights.npz"
    assert path.read_bytes() == (run.path / "members" / "repeat1-fold2" / "weights.npz").read_bytes()
    described = json.loads((weights / "dataset-metadata.json").read_text())
    dataset = "ann/digit-recognizer-fast-weights"
    assert described["id"] == dataset
    assert described["title"] == "Digit Recognizer fast weights"
    metadata = json.loads((tmp_path / "kernel" / "kernel-metadata.json").read_text())
    assert metadata["id"] == "ann/digit-recognizer-fast-inference" and metadata["dataset_sources"] == [dataset]
    assert (metadata["enable_gpu"], metadata["enable_internet"]) == (False, False)
    text = (tmp_path / "kernel" / "kernel.py").read_text()
    values = values_in(text)
    assert values["RUN"] == RUN and values["SHA256"] == run.read_json("done.json")["sha256"] and values["PACKED"]
    (weights / "leftover").touch()
    run.write_json("done.json", {**run.read_json("done.json"), "members": ["repeat1-fold1"]})  # its time ran out
    pack_inference(world.folders, tmp_path / "kernel", "ann", run)
    assert len(list(weights.iterdir())) == len(FILES) + 1  # one member less, description and hashes more


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
    run, folder = world.add_run(), tmp_path / "weights"

    def write(change=lambda: None):
        shutil.rmtree(folder, ignore_errors=True)
        write_weights(world.folders, run, folder)
        change()
        write_description(folder, "ann/digit-recognizer-fast-weights", "Digit Recognizer fast weights")

    write()
    for failure in ("after", 503):
        world.server.fail("CreateDataset", failure)
    upload(folder, run.name, public=False)
    assert len(world.server.calls("CreateDataset")) == 1  # it had arrived in spite of the 500
    assert world.server.calls("CreateDataset")[0]["isPrivate"] is True
    content = next(folder.glob("sha256-*.txt"))
    assert sorted(world.server.dataset) == sorted([*(f"{RUN}__{name}" for name in FILES), content.name])
    write()
    upload(folder, run.name, public=False)
    assert not world.server.calls("CreateDatasetVersion")
    weights = folder / f"{RUN}__members__repeat1-fold1__weights.npz"
    write(lambda: weights.write_bytes(weights.read_bytes()[::-1]))  # other weights in as many bytes
    world.server._failures.clear()
    world.server.fail("CreateDatasetVersion", 503)
    upload(folder, run.name, public=False)
    assert len(world.server.calls("CreateDatasetVersion")) == 2
    assert not content.exists() and content.name not in world.server.dataset


def test_a_public_kernel_has_public_datasets(world: World):
    """With the package in them; Kaggle leaves a dataset as private as it was, which is said."""
    run = world.add_run()
    world.server.kernel["files"] = {"submission.csv": run.submission_csv.read_bytes()}
    command = ("kernel", "--push", "--username", "ann", "--public", "--run", RUN, "--title", "My inference")
    code, printed = world.run(*command)
    assert code == 0 and "still is" not in printed, printed
    pushed, created = world.server.calls("SaveKernel")[0], world.server.calls("CreateDataset")[0]
    assert (pushed["isPrivate"], pushed["slug"]) == (False, "ann/my-inference")
    assert not created.get("isPrivate")  # the command line leaves a default out, and false is it
    assert "competition.zip" in world.server.dataset and len(world.server.dataset) == len(FILES) + 2
    world.add_run("20260102-000000-fast", label=4)
    world.server.kernel |= {"files": {}, "states": ["ERROR"]}
    code, printed = world.run(*command[:-3], "20260102-000000-fast", "--title", "My inference")
    assert "If it was private, it still is: https://www.kaggle.com/datasets/ann/digit-recogn" in printed, printed


def test_another_run_does_not_follow_the_first_ones_kernel(world: World):
    """Both have the same name at Kaggle. Nothing of the second is sent while the first is under way."""
    for name, label in ((RUN, 3), ("20260102-000000-fast", 4)):
        world.add_run(name, label=label)
    world.server.kernel["states"] = ["RUNNING"]
    world.monkeypatch.setattr(kernel_run, "PATIENCE", 0)
    command = ("kernel", "--push", "--username", "ann", "--run")
    assert "must end within" in world.run(*command, RUN)[1]
    sent = len(world.server.requests)
    code, printed = world.run(*command, "20260102-000000-fast")
    line = f"Received: ann/digits/3 with {RUN}, not fetched yet. Next: `make kernel FOLLOW=1`, then the same command."
    assert code == 1 and line in printed and len(world.server.requests) == sent, printed


def test_make_kernel_of_a_run_pushes_both_and_compares_the_labels(world: World):
    run = world.add_run()
    world.server.kernel["files"] = {"submission.csv": run.submission_csv.read_bytes()}
    code, printed = world.run("kernel", "--run", RUN, "--push", "--username", "ann", "--kind", "script")
    assert code == 0, printed
    assert f"The kernel's labels are those of {RUN}. Next: its Submit button, or `make submit RUN={RUN}`." in printed
    assert world.server.calls("SaveKernel")[0]["datasetDataSources"] == ["ann/digit-recognizer-fast-weights"]
    assert not world.server.calls("GetAcceleratorQuotaStatistics")  # it takes no GPU
    assert not (world.folders.submissions / "kernels.json").exists()
    assert kernel_run.POLL < 1 and inference.POLL < 1  # nothing of this waits


def test_other_labels_are_refused_but_for_near_ties(tmp_path):
    """The run gives rows 0 and 1 a three by 0.04 and 0.06 more than a four."""
    folders = Folders(tmp_path / "input", tmp_path / "submissions")
    folders.submissions.mkdir()
    run = Run(folders.submissions / RUN)
    run.write_json("config.json", settings_of(Config()))
    write_submission(run.submission_csv, np.full(30, 3))
    probs = np.full((2, 30, 10), 0.01, np.float32)
    probs[:, :, 3], probs[:, :, 4] = 0.9, 0.02
    probs[:, :2, 3], probs[:, :2, 4] = [0.48, 0.49], [0.44, 0.43]
    run.write_arrays("probabilities.npz", out_of_fold=probs, test=probs)
    run.write_json("done.json", {"sha256": ""})

    def taken(**labels):
        there = np.full(30, 3)
        there[[int(name[1:]) for name in labels]] = list(labels.values())
        write_submission(tmp_path / "submission.csv", there)
        return take_predictions(folders, tmp_path, RUN)

    assert taken() == f"The kernel's labels are those of {RUN}. Next: its Submit button, or `make submit RUN={RUN}`."
    assert f"are those of {RUN}, but for 1 near ties of 30 rows. Next: " in taken(_0=4)
    for labels, differ in (({"_0": 4, "_1": 4}, 2), ({"_0": 5}, 1)):
        with pytest.raises(
            Refused, match=f"^{differ} of 30 labels differ from those of {RUN}, which was sure of 1 of "
        ):
            taken(**labels)
    (tmp_path / "submission.csv").write_text("<html>")
    with pytest.raises(Refused):
        take_predictions(folders, tmp_path, RUN)
