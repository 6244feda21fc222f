"""A run that saw MNIST's 70,000 carries it, and nothing makes of it what `submit` would send."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from competition import __main__, pipeline
from competition.data import digits
from competition.data.dataset import load_dataset
from competition.errors import CompetitionError
from competition.kaggle import provenance
from competition.kaggle.kernel import pack
from competition.network.device import Setup
from competition.pipeline import blend
from competition.runs import history
from competition.runs.folders import Folders
from competition.runs.run import Run, list_runs
from tests.conftest import write_csv
from tests.studies.test_baselines import write_npz

SETUP = Setup("float32", False, 1)
SMALL = {"epochs": 1, "folds": 2}
OTHER_DATA = "comes from the competition's files alone"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, few, sample):
    """Folders with a run of `mlp` on digits that are taken for the competition's, and one on MNIST's."""
    root = tmp_path_factory.mktemp("provenance")
    (root / "input").mkdir()
    write_csv(root / "input" / "train.csv", few.images, few.labels)
    write_csv(root / "input" / "test.csv", sample.images[600:900])
    folders = Folders(root / "input", root / "runs", mnist_npz=write_npz(root / "mnist.npz", sample))
    with pytest.MonkeyPatch.context() as patch:
        known(patch, folders)
        train(folders, "auto")
        train(folders, "mnist-keras")
    return folders


def known(patch, folders):
    """Take the digits in input/ for Kaggle's; reports and models are no matter here."""
    for name in ("train", "test"):
        read = digits.read_digits(folders.input / f"{name}.csv", name == "train")
        patch.setitem(digits.KNOWN_CONTENT, read.sha256, "kaggle")
    patch.setattr(pipeline, "illustrate", lambda *_: None)


def train(folders, source, **settings):
    return pipeline.train(folders, SETUP, "mlp", {**SMALL, **settings}, source, jobs=1)


@pytest.fixture
def world(trained, tmp_path, monkeypatch):
    """The same folders, to be changed; the clean run and the one that saw MNIST."""
    shutil.copytree(trained.submissions, tmp_path / "runs")
    folders = dataclasses.replace(trained, submissions=tmp_path / "runs")
    known(monkeypatch, folders)
    real, foreign = sorted(list_runs(folders), key=lambda run: run.manifest["source"])
    return folders, real, foreign


def refused(folders, *arguments, capsys):
    """`submit` ends in the one line, forced or not, before anything is sent to Kaggle."""
    where = ["--input", str(folders.input), "--submissions", str(folders.submissions)]
    for force in ([], ["--force"]):
        assert __main__.main(["submit", *map(str, arguments), *force, *where]) == 1
        assert OTHER_DATA in capsys.readouterr().err


def test_the_clean_run_may_go(world):
    folders, real, _ = world
    assert provenance.row_of_run(folders, real)[0]["source"] == "kaggle"


def test_training_carries_the_source(world, capsys):
    folders, _, foreign = world
    assert foreign.manifest["source"] == "mnist-keras"
    facts = foreign.member_facts().values()
    assert {fact["data_source"] for fact in facts} == {"mnist-keras"}
    row = next(row for row in history.read(folders) if row["run"] == foreign.name)
    assert row["source"] == "mnist-keras" and row["true_accuracy"]
    refused(folders, "--run", foreign.name, capsys=capsys)


@pytest.mark.slow
def test_retraining_and_resuming_start_nothing_from_it(world, capsys):
    """An unfinished run on MNIST is gone on with on MNIST alone."""
    folders, real, foreign = world
    (foreign.path / "done.json").unlink()
    again = train(folders, "auto")
    assert again.name not in (real.name, foreign.name) and "changed since: data" in capsys.readouterr().out
    assert provenance.row_of_run(folders, again)
    assert train(folders, "mnist-keras") == foreign and "Going on with" in capsys.readouterr().out
    refused(folders, "--run", foreign.name, capsys=capsys)


def test_a_member_copied_into_an_unfinished_run_is_trained_again(world, capsys):
    folders, real, foreign = world
    before = real.submission_csv.read_bytes()
    (real.path / "done.json").unlink()
    copy_member(foreign, real)
    assert real.intact_member("repeat1-fold1") is None
    assert train(folders, "auto") == real
    assert "was trained on other data" in capsys.readouterr().out
    assert real.submission_csv.read_bytes() == before and provenance.row_of_run(folders, real)


@pytest.mark.parametrize("name", ("repeat1-fold1", "another"))
def test_a_member_copied_into_a_finished_run_is_refused(world, name, capsys):
    folders, real, foreign = world
    copy_member(foreign, real, name)
    refused(folders, "--run", real.name, capsys=capsys)


def test_an_older_member_that_learned_from_other_test_pixels_is_refused(world, capsys):
    folders, real, _ = world
    facts = real.read_json("members/repeat1-fold1/done.json")
    real.write_json("members/repeat1-fold1/done.json", {**facts, "test_sha256": "0" * 64})
    refused(folders, "--run", real.name, capsys=capsys)


def copy_member(source, target, name="repeat1-fold1"):
    shutil.rmtree(target.path / "members" / name, ignore_errors=True)
    shutil.copytree(source.path / "members" / "repeat1-fold1", target.path / "members" / name)


def test_a_manifest_that_tells_another_story_is_refused(world, capsys):
    folders, real, foreign = world
    shutil.copy(real.path / "manifest.json", foreign.path / "manifest.json")
    refused(folders, "--run", foreign.name, capsys=capsys)


@pytest.mark.slow
def test_blending_with_it_is_refused_and_blends_of_it_carry_it(world, tmp_path, capsys):
    folders, real, foreign = world
    with pytest.raises(CompetitionError, match="on other data"):
        blend(folders, [real.name, foreign.name])
    second = train(folders, "auto", seed=1)
    clean = blend(folders, [real.name, second.name])
    assert provenance.row_of_run(folders, clean)[0]["recipe"] == "blend"
    whole = shutil.copytree(second.path, tmp_path / "whole")
    copy_member(foreign, second)
    with pytest.raises(CompetitionError, match="repeat1-fold1 was trained on other data than its run"):
        blend(folders, [real.name, second.name])
    copy_member(Run(whole), second)
    copy_member(foreign, second, "another")
    refused(folders, "--run", blend(folders, [real.name, second.name]).name, capsys=capsys)
    other = train(folders, "mnist-keras", seed=1)
    foreign_blend = blend(folders, [foreign.name, other.name])
    assert foreign_blend.manifest["source"] == "mnist-keras"
    refused(folders, "--run", foreign_blend.name, capsys=capsys)
    foreign_blend.write_json("manifest.json", {**foreign_blend.manifest, **source_of(clean)})
    refused(folders, "--run", foreign_blend.name, capsys=capsys)


def source_of(run):
    return {key: run.manifest[key] for key in ("source", "identity")}


def test_its_submission_copied_elsewhere_is_refused(world, tmp_path, capsys):
    folders, real, foreign = world
    copy = shutil.copy(foreign.submission_csv, tmp_path / "mine.csv")
    refused(folders, "--file", copy, capsys=capsys)
    shutil.rmtree(foreign.path)  # history.csv remembers
    refused(folders, "--file", copy, capsys=capsys)
    shutil.copy(copy, real.submission_csv)
    with pytest.raises(CompetitionError, match="must be as the run wrote it"):
        provenance.row_of_run(folders, real)


def test_a_submission_of_make_baselines_is_known_as_well(world, tmp_path, capsys):
    folders, _, foreign = world
    copy = shutil.copy(foreign.submission_csv, tmp_path / "mine.csv")
    folders.baselines.submissions.mkdir()
    foreign.path.rename(folders.baselines.submissions / foreign.name)
    folders.history.unlink()
    refused(folders, "--file", copy, capsys=capsys)


def test_a_kernel_neither_trains_on_it_nor_publishes_it(world, tmp_path, capsys):
    folders, real, foreign = world
    packed = pack(tmp_path / "kernel", "ann", "mlp", {}, "script")
    assert '\nSOURCE = "auto"\n' in (packed / "kernel.py").read_text()
    on_kaggle = dataclasses.replace(folders, working=tmp_path / "working")
    history.finish(on_kaggle, foreign, foreign.read_json("scores.json"), {})
    assert not on_kaggle.published.exists()
    history.finish(on_kaggle, real, real.read_json("scores.json"), {})
    assert on_kaggle.published.exists()
    refused(folders, "--run", foreign.name, capsys=capsys)  # as it comes home from Kaggle


def test_competition_digits_in_mnists_clothes_stay_mnist(world, tmp_path, few):
    folders, *_ = world
    arrays = {"x_train": few.images[..., 0], "y_train": few.labels, "x_test": few.images[..., 0], "y_test": few.labels}
    np.savez(tmp_path / "m.npz", **arrays)
    read = load_dataset(dataclasses.replace(folders, mnist_npz=tmp_path / "m.npz"), "mnist-keras")
    assert read.train.sha256 == few.sha256 and read.source == "mnist-keras"


def test_a_member_without_its_papers_does_not_count(world):
    _, real, _ = world
    path = real.path / "members" / "repeat1-fold1" / "done.json"
    facts = json.loads(path.read_text())
    del facts["data_sha256"]
    path.write_text(json.dumps(facts))
    assert real.intact_member("repeat1-fold1") is None
