"""The whole pipeline on 600 real digits: it learns, resumes, and says what it did."""

import json
import re

import numpy as np
import pytest

from competition import pipeline
from competition.config import PLAIN, TTA
from competition.data.submission import verdict_on
from competition.network.device import choose_setup
from competition.runs.checkpoint import MEMBER_FILES
from competition.runs.folders import ROOT, Folders
from competition.runs.run import find_run, list_runs
from tests.conftest import needed

SMALL = ("--folds", "2", "--refit", "0", "--repeats", "2", "--epochs", "6", "--batch-size", "16")
NAMES = ("repeat1-fold1", "repeat1-fold2", "repeat2-fold1", "repeat2-fold2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, few, sample):
    """A finished run of two repeats of two folds in two processes: (root folder, run, output)."""
    import os
    import subprocess
    import sys

    from tests.conftest import write_csv

    root = tmp_path_factory.mktemp("trained")
    (root / "input").mkdir()
    write_csv(root / "input" / "train.csv", few.images, few.labels)
    write_csv(root / "input" / "test.csv", sample.images[600:900])
    arguments = ["train", *SMALL, "--input", root / "input", "--submissions", root / "runs", "--jobs", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "competition", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "HOME": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return root, find_run(Folders(root / "input", root / "runs")), done


def test_it_learns(trained, sample):
    _, run, _ = trained
    scores = run.read_json("scores.json")
    assert scores["out_of_fold"]["accuracy"] > 0.9
    labels = [int(line.split(",")[1]) for line in run.submission_csv.read_text().splitlines()[1:]]
    assert np.mean(labels == sample.labels[600:900]) > 0.9


def test_what_it_prints(trained):
    _, run, done = trained
    assert not done.stderr, done.stderr  # no start-up chatter
    assert len(re.findall(r"^member \d of 4 \(repeat\d-fold\d\): accuracy 0\.\d{4}", done.stdout, re.M)) == 4
    assert re.search(r"oneDNN (on|off),\n2 at once on \d threads? each \(JOBS, .*\)\.$", done.stdout, re.M)
    for words in (
        "Out-of-fold accuracy",
        "log-loss",
        "95 % interval",
        "Predicted leaderboard",
        str(run.submission_csv),
    ):
        assert words in done.stdout


def test_what_it_leaves(trained, few):
    _, run, _ = trained
    names = {path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()}
    members = {f"members/{name}/{file}" for name in NAMES for file in (*MEMBER_FILES, "done.json")}
    whole = {"config.json", "manifest.json", "probabilities.npz", "scores.json", "submission.csv", "done.json"}
    assert whole | members <= names and not any(name.endswith(".tmp") for name in names)
    assert verdict_on(run.submission_csv, "other", 300, few.labels).warnings == ()
    manifest = run.manifest
    assert manifest["source"] == "other" and manifest["identity"]["data"][0] == few.sha256
    assert manifest["identity"]["threads"] >= 1 and {"data", "members", "submission"} <= manifest["seconds"].keys()
    assert {"tensorflow", "keras", "numpy"} <= manifest["versions"].keys() and manifest["hardware"]
    assert json.loads((run.path / "members/repeat1-fold1/done.json").read_text())["data_sha256"] == few.sha256


def test_out_of_fold_is_the_mean_of_the_members_that_never_saw_a_row(trained, few):
    _, run, _ = trained
    from competition.ensemble.folds import repeated_folds

    arrays = run.read_arrays("probabilities.npz")
    assert arrays["out_of_fold"].shape == (2, 600, 10) and arrays["test"].shape == (2, 300, 10)
    assert arrays["test"].dtype == np.float32
    np.testing.assert_allclose(arrays["out_of_fold"].sum(axis=2), 1, atol=1e-4)
    members = [run.load_member(name) for name in NAMES]
    said = np.zeros((2, 600, 10))
    for member, (_, valid) in zip(members, repeated_folds(few.labels, 2, 2, 0), strict=True):
        said[:, valid] += member.val_probs / 2
        wrong = member.val_probs[1].argmax(1) != few.labels[valid]
        assert member.facts["accuracy"] == pytest.approx(1 - wrong.mean())
    np.testing.assert_allclose(arrays["out_of_fold"], said, atol=1e-6)
    np.testing.assert_allclose(arrays["test"], np.mean([member.test_probs for member in members], axis=0), atol=1e-6)


@pytest.mark.slow
def test_resumed_without_two_of_its_members_it_ends_with_the_same_bytes(trained, command):
    """In one process now: where the work runs does not change the answer."""
    root, run, _ = trained
    before = run.submission_csv.read_bytes(), run.read_arrays("probabilities.npz")
    (run.path / "done.json").unlink()
    (run.path / "members/repeat1-fold2/weights.npz").write_bytes(b"damaged")
    (run.path / "members/repeat2-fold2/done.json").unlink()
    done = command("train", *SMALL, "--input", root / "input", "--submissions", root / "runs", "--jobs", "1")
    assert "Going on with" in done.stdout and "weights.npz is damaged: repeat1-fold2 is trained again" in done.stdout
    assert done.stdout.count("\nmember ") == 2 and run.complete
    assert run.submission_csv.read_bytes() == before[0]
    after = run.read_arrays("probabilities.npz")
    assert all((after[name] == before[1][name]).all() for name in after)


@pytest.mark.slow
def test_a_complete_run_with_damaged_files_is_repaired_by_the_command_that_its_readers_print(trained, command):
    root, run, _ = trained
    where = ("--input", root / "input", "--submissions", root / "runs")
    before = run.submission_csv.read_bytes(), run.read_arrays("probabilities.npz"), run.scores
    (run.path / "members/repeat1-fold2/weights.npz").write_bytes(b"damaged")
    (run.path / "config.json").write_text("damaged")
    refused = command("predict", root / "input" / "test.csv", "--run", run.path, *where)
    assert (refused.returncode, refused.stdout) == (1, "") and refused.stderr.count("\n") == 1
    for name in ("scores.json", "probabilities.npz", "submission.csv", "done.json"):
        (run.path / name).write_bytes(b"damaged")
    next_command = refused.stderr.partition("Next: `make train RUN=")[2].partition("`")[0]
    done = command("train", "--run", next_command, "--jobs", "1", *where)
    assert done.stdout.count("\nmember ") == 1 and "Going on with" in done.stdout, done.stderr
    assert run.whole and run.submission_csv.read_bytes() == before[0] and run.scores == before[2]
    after = run.read_arrays("probabilities.npz")
    assert all((after[name] == before[1][name]).all() for name in after)
    assert command("predict", root / "input" / "test.csv", "--run", run.path, *where).returncode == 0


def probabilities(folder):
    return [run.read_arrays("probabilities.npz")["test"] for run in list_runs(Folders(folder, folder))]


@pytest.mark.slow
def test_several_threads_add_in_one_order(folders, command):
    flags = ("train", "--folds", "2", "--refit", "0", "--epochs", "3", "--threads", "2", "--jobs", "1")
    flags = (*flags, "--input", folders / "input")
    for _ in range(2):
        done = command(*flags, "--deterministic", "--submissions", folders / "runs")
        assert "1 at once on 2 threads each" in done.stdout, done.stderr
    once, again = probabilities(folders / "runs")
    assert (once == again).all()


@pytest.mark.slow
def test_a_member_that_fits_all_rows_is_submitted_said_predicted_by_and_taken_away(folders, command):
    where = ("--input", folders / "input", "--submissions", folders / "runs")
    done = command("train", "--folds", "2", "--refit", "1", "--epochs", "3", "--batch-size", "16", *where)
    assert "those of the folds score; submitted is their average with 1 fit on all rows\n" in done.stdout, done.stderr
    run = find_run(Folders(folders / "input", folders / "runs"))
    members = [run.load_member(name) for name in ("repeat1-fold1", "repeat1-fold2", "refit1")]
    test_probs = np.mean([member.test_probs[TTA] for member in members], axis=0)
    np.testing.assert_allclose(run.probabilities()[1][TTA], test_probs, atol=1e-6)
    page = re.sub(r"<[^>]+>", "", (run.path / "report.html").read_text("utf-8"))
    assert "submitted is their average with 1 refit member, trained on all rows" in page
    printed = command("predict", folders / "input" / "test.csv", *where).stdout.splitlines()[1:]
    assert [line.split(",")[1] for line in printed] == [
        line.split(",")[1] for line in run.submission_csv.read_text().splitlines()[1:]
    ]
    by_file = command("predict", "--model", run.path / "model.keras", folders / "input" / "test.csv", *where)
    exported = np.array([line.split(",")[3:13] for line in by_file.stdout.splitlines()[1:]], float)
    distances = [np.abs(member.test_probs[PLAIN] - exported).mean() for member in members]
    assert np.argmin(distances) == 2 and distances[2] < 0.01


@pytest.mark.slow
def test_a_process_that_trains_twice_gives_the_same_twice(folders, capsys):
    """Nothing of the first run is left in what Keras, TensorFlow or the random generators hold."""
    settings = {"folds": 2, "refit": 0, "epochs": 2}
    where = Folders(folders / "input", folders / "runs")
    first, second = (pipeline.train(where, choose_setup(), settings=settings, jobs=1) for _ in range(2))
    assert first.path != second.path and first.complete and second.complete
    once, again = probabilities(folders / "runs")
    assert (once == again).all()


@pytest.mark.slow
def test_jax_runs_the_same_code(folders, command):
    needed("jax")
    done = command(
        *("train", "--folds", "2", "--refit", "0", "--epochs", "2", "--jobs", "1", "--precision", "float32"),
        *("--input", folders / "input", "--submissions", folders / "runs"),
        KERAS_BACKEND="jax",
    )
    assert done.returncode == 0, done.stderr
    run = find_run(Folders(folders / "input", folders / "runs"))
    assert run.manifest["versions"]["jax"] and run.read_json("scores.json")["out_of_fold"]["accuracy"] > 0.2


@pytest.mark.slow
def test_the_quick_recipe_reaches_its_score(command, tmp_path):
    done = command("train", "--source", "sample", "--submissions", tmp_path)
    assert done.returncode == 0, done.stderr
    run = find_run(Folders(tmp_path, tmp_path))
    scores = run.read_json("scores.json")
    assert scores["true_accuracy"] >= 0.988
    assert scores["leaderboard"]["low"] <= scores["true_accuracy"] <= scores["leaderboard"]["high"]
