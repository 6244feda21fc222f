import csv
import importlib.util
import io
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import pytest

from competition import __main__, pipeline
from competition.data.dataset import load_dataset, load_dataset_of
from competition.ensemble import networks
from competition.ensemble.export import (
    FORMATS,
    best_member,
    export_as,
    export_model,
    load_model,
    probabilities_of_file,
)
from competition.ensemble.folds import member_settings
from competition.ensemble.networks import probabilities_of
from competition.ensemble.predict import data_of, doubt_limit, print_predictions, unlike_training
from competition.ensemble.scoring import rows_predicted
from competition.errors import CompetitionError
from competition.network.device import Setup, choose_setup
from competition.runs.folders import Folders
from competition.runs.run import Run
from tests.conftest import needed
from tests.data.drawn import FOUR, ONE, SEVEN, stroked, typed

TINY = {"folds": 2, "refit": 0, "epochs": 1, "batch_size": 16, "width": 0.25, "early_stopping_fraction": 0.1}
MIXED = {**TINY, "folds": 1, "repeats": 2, "architecture": "pooled,normalized"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on 240 training and 60 test digits of the sample, through the whole pipeline."""
    folder = tmp_path_factory.mktemp("tiny")
    sample = load_dataset(Folders.find(None, folder), "sample")
    for name, digits, rows in (("train.csv", sample.train, 240), ("test.csv", sample.test, 60)):
        table = digits.images[:rows].reshape(rows, 784)
        header = [f"pixel{i}" for i in range(784)]
        if digits.labels is not None:
            table, header = np.column_stack([digits.labels[:rows], table]), ["label", *header]
        np.savetxt(folder / name, table, "%d", ",", header=",".join(header), comments="")
    folders = Folders.find(folder, folder / "submissions")
    run = pipeline.train(folders, Setup("float32", False, 1), settings=MIXED, jobs=1)
    return folders, run


def labelled(folders, run, *paths, capsys):
    capsys.readouterr()
    arguments = ["--input", str(folders.input), "--submissions", str(folders.submissions)]
    assert __main__.main(["predict", *arguments, "--run", run.name, *map(str, paths)]) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_a_loaded_run_predicts_as_when_it_was_trained(trained):
    folders, run = trained
    images = load_dataset_of(folders, run.manifest).test.images
    stored = run.read_arrays("probabilities.npz")["test"][1]
    np.testing.assert_allclose(probabilities_of(run, images), stored, atol=1e-6)


def test_each_member_predicts_as_when_it_was_trained_whatever_the_batch(trained, monkeypatch):
    folders, run = trained
    images = load_dataset_of(folders, run.manifest).test.images
    monkeypatch.setattr(networks, "BATCH", 29)  # 60 rows: the last two are a batch of their own
    ensemble = networks.Ensemble(run)
    whole, members = ensemble.predict(images)
    assert ensemble.members == ["repeat1-fold1", "repeat2-fold1"]
    for name, probs in zip(ensemble.members, members, strict=True):
        np.testing.assert_allclose(probs, run.load_member(name).test_probs[1], atol=1e-6)
    np.testing.assert_allclose(members.mean(axis=0), whole, atol=1e-6)


def test_a_table_and_a_picture_are_labelled_with_probabilities_and_remarks(trained, tmp_path, capsys):
    """Out-of-fold labels, here as sure as half of the test labels are, and surer: all but one in a hundred."""
    folders, run = trained
    copy = Run(shutil.copytree(run.path, tmp_path / run.name))
    out_of_fold, test = run.probabilities()
    limit = float(np.median(test[1].max(axis=1)))
    asked = rows_predicted(out_of_fold[1])  # two random sevenths of 240
    sure = limit - 0.001 + np.linspace(0, 0.1, len(asked))
    out_of_fold[1, asked] = np.column_stack([sure, *[(1 - sure) / 9] * 9])
    copy.write_arrays("probabilities.npz", out_of_fold=out_of_fold, test=test)
    assert len(asked) == 64 and doubt_limit(copy) == pytest.approx(limit, abs=1e-6)

    cv2.imwrite(str(tmp_path / "seven.png"), stroked(SEVEN))
    where = Folders(folders.input, tmp_path)
    rows = labelled(where, copy, folders.input / "test.csv", tmp_path / "seven.png", capsys=capsys)
    submitted = [line.split(",")[1] for line in run.submission_csv.read_text().splitlines()[1:]]
    assert [row["label"] for row in rows[:-1]] == submitted
    assert rows[0]["picture"].endswith("test.csv:1") and rows[-1]["picture"].endswith("seven.png")
    for row in rows:
        numbers = [float(row[f"p{digit}"]) for digit in range(10)]
        assert sum(numbers) == pytest.approx(1, abs=1e-3) and numbers[int(row["label"])] == max(numbers)
    told = ["unsure" in row["remark"].split("; ") for row in rows[:-1]]
    assert told == list(test[1].max(axis=1) < limit) and sum(told) == 30


def test_labels_in_a_table_are_ignored_and_counted(trained, tmp_path, capsys):
    """The training digits with a header of another kind: their labels change no prediction."""
    folders, _ = trained
    header = ",".join(["label", *(f"{row}x{column}" for row in range(1, 29) for column in range(1, 29))])
    body = (folders.input / "train.csv").read_text().partition("\n")[2]
    (tmp_path / "mine.csv").write_text(f"{header}\n{body}")
    arguments = ["--input", str(folders.input), "--submissions", str(folders.submissions), str(tmp_path / "mine.csv")]
    assert __main__.main(["predict", *arguments]) == 0
    said = capsys.readouterr()
    predicted = [row["label"] for row in csv.DictReader(io.StringIO(said.out))]
    right = sum(label == line[0] for label, line in zip(predicted, body.splitlines(), strict=True))
    assert f"mine.csv: {right} of 240 predictions agree with its labels." in said.err and 0 < right < 240


def test_what_is_unlike_any_training_digit_is_remarked(trained, sample):
    """Of a thousand other digits about one in a hundred; most of them when they lie far from the middle, and noise."""
    folders, run = trained
    dataset, others = data_of(folders, run), sample.images[240:1240]
    assert 0.002 < unlike_training(dataset, others).mean() < 0.03
    assert unlike_training(dataset, np.roll(others, 8, axis=2)).mean() > 0.6
    noise = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1)).astype(np.uint8)
    assert unlike_training(dataset, noise).all()


def test_a_batch_unlike_what_the_run_learned_from_is_said_so_on_stderr(trained, sample, tmp_path, capsys):
    folders, run = trained
    line = "are not like those that the run learned from: its scores don't hold for them"
    for images, unlike in ((sample.images[:300], False), (255 - sample.images[:300], True)):
        table = pd.DataFrame(images.reshape(-1, 784), columns=[f"pixel{i}" for i in range(784)])
        table.to_csv(tmp_path / "mine.csv", index=False)
        print_predictions(folders, str(run.path), [tmp_path / "mine.csv"])
        printed = capsys.readouterr()
        assert (line in printed.err) == unlike and line not in printed.out


def test_without_its_data_a_run_still_predicts(trained, tmp_path, capsys):
    folders, run = trained
    capsys.readouterr()
    print_predictions(Folders(tmp_path, folders.submissions), str(run.path), [folders.input / "test.csv"])
    printed = capsys.readouterr()
    assert printed.err.count("is not known") == 1 and "unlike training" not in printed.out
    assert len(printed.out.splitlines()) == 1 + len(load_dataset_of(folders, run.manifest).test)


def test_a_bad_picture_costs_its_own_line_and_the_others_are_labelled(trained, tmp_path, capsys):
    folders, _ = trained
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "blank.png"), np.full((40, 40), 255, np.uint8))
    cv2.imwrite(str(photos / "seven.png"), stroked(SEVEN))
    two = np.concatenate([stroked(ONE), stroked(SEVEN)], axis=1)
    cv2.imwrite(str(photos / "two.png"), two)
    arguments = ["predict", "--input", str(folders.input), "--submissions", str(folders.submissions)]
    capsys.readouterr()
    assert __main__.main([*arguments, str(photos), str(tmp_path / "none.jpg")]) == 1
    output = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(output.out)))
    assert [Path(row["picture"]).name for row in rows] == ["seven.png", "two.png:1", "two.png:2"]
    assert ["several digits" in row["remark"] for row in rows] == [False, True, True]
    lines = output.err.strip().splitlines()
    assert len(lines) == 3 and "blank.png: a picture must show a digit" in lines[0] and "none.jpg" in lines[1]
    assert "2 unusable" in lines[2]
    assert __main__.main([*arguments, str(photos / "blank.png")]) == 1
    output = capsys.readouterr()
    assert output.out == "" and output.err.startswith("Error: ") and output.err.count("\n") == 1


def test_a_member_of_another_version_is_refused(trained):
    run = trained[1]
    settings = run.read_json("config.json")
    try:
        run.write_json("config.json", {**settings, "width": 0.5})
        with pytest.raises(CompetitionError, match="of this version"):
            load_model(run, "repeat1-fold1")
    finally:
        run.write_json("config.json", settings)


@pytest.mark.slow
def test_the_exported_model_loads_where_the_package_is_not(trained, tmp_path):
    folders, run = trained
    images = load_dataset_of(folders, run.manifest).test.images
    np.save(tmp_path / "images.npy", images)
    code = (
        "import keras, numpy as np, importlib.util; assert importlib.util.find_spec('competition') is None; "
        f"m = keras.models.load_model({str(run.path / 'model.keras')!r}); "
        "assert m.dtype_policy.name == 'float32'; np.save('said.npy', m.predict(np.load('images.npy'), verbose=0))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    members = [run.load_member(name).test_probs[0] for name in member_settings(run.config)]
    assert min(np.abs(np.load(tmp_path / "said.npy") - member).max() for member in members) < 1e-5


# Accuracy and loss on the early-stopping slice, epoch by epoch, and the epoch whose weights were kept
@pytest.mark.parametrize(
    ("suffix", "first", "second", "best"),
    (
        (".keras", ([(0.90, 0.1), (0.99, 0.05)], 1), ([(0.95, 0.5), (0.80, 0.9)], 1), 1),  # not its best epoch or last
        (".h5", ([(0.90, 0.5), (0.90, 0.2)], 2), ([(0.90, 0.1), (0.90, 0.3)], 2), 0),  # alike: by the loss
    ),
)
def test_the_saved_model_is_the_member_that_was_best_when_its_weights_were_kept(
    trained, tmp_path, capsys, suffix, first, second, best
):
    folders, run = trained
    copy = Run(shutil.copytree(run.path, tmp_path / run.name))
    results = []
    for name, (slice_, kept) in zip(member_settings(run.config), (first, second), strict=True):
        result = run.load_member(name)
        history = [{"accuracy": 0.5, "loss": 1.0, "val_accuracy": a, "val_loss": loss} for a, loss in slice_]
        facts = result.facts | {"epochs": len(history), "kept_epoch": kept}
        results.append(replace(result, history=history, facts=facts))
        copy.store_member(name, results[-1])
    saved = export_model(copy, suffix)
    assert saved == copy.path / f"model{suffix}"
    capsys.readouterr()
    table = folders.input / "test.csv"
    assert __main__.main(["predict", "--submissions", str(tmp_path), "--model", str(saved), str(table)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    said = np.array([[float(row[f"p{digit}"]) for digit in range(10)] for row in rows])
    assert [np.abs(said - result.test_probs[0]).max() < 1e-4 for result in results] == [best == 0, best == 1]


def test_another_programs_model_gets_the_scale_it_was_trained_on(tmp_path, sample, capsys):
    """Logits of a nearest-mean classifier of pixels 0…1, and of 0…255; of pixels 0…255 the first is far too sure."""
    images, labels = sample.images[:2000] / np.float32(255), sample.labels[:2000]
    means = np.stack([images[labels == digit].mean(axis=0).ravel() for digit in range(10)])
    for top, scale, said in ((1, 1 / 255, "0…1"), (255, 1, "0…255")):
        model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        model.set_weights([means.T / top, -np.square(means).sum(axis=1) / 2])
        model.save(tmp_path / "model.keras")
        probs = probabilities_of_file(tmp_path / "model.keras", sample.images[:50])
        logits = sample.images[:50].reshape(50, -1) * scale @ means.T / top - np.square(means).sum(axis=1) / 2
        np.testing.assert_allclose(probs, np.exp(logits) / np.exp(logits).sum(1, keepdims=True), atol=1e-4)
        error = capsys.readouterr().err
        assert f"model.keras with pixels {said}: accuracy 0.8" in error and "on 1000 training digits" in error


@pytest.mark.parametrize("name", FORMATS)
def test_the_printed_line_uses_what_is_exported(trained, tmp_path, few, name):
    import tensorflow as tf

    _, run = trained
    copy = Run(shutil.copytree(run.path, tmp_path / run.name))
    names = {"keras": keras, "tf": tf, "images": few.images[:20].astype(np.float32)}
    if name == "onnx" and not (importlib.util.find_spec("onnx") and importlib.util.find_spec("tf2onnx")):
        with pytest.raises(CompetitionError, match=r"FORMAT=onnx needs .* -m pip install tf2onnx onnx\.$"):
            export_as(copy, name)
        return
    if name == "onnx":
        names["onnxruntime"] = pytest.importorskip("onnxruntime")
    exec(export_as(copy, name).splitlines()[-1].strip(), names)
    expected = keras.ops.softmax(best_member(copy)(few.images[:20]))
    np.testing.assert_allclose(names["probabilities"], expected, atol=1e-5)


@pytest.mark.slow
def test_a_blend_predicts_the_mean_of_its_parents(trained):
    folders, run = trained
    images = load_dataset_of(folders, run.manifest).test.images[:5]
    blend = type(run)(folders.submissions / "blend")
    parents = [{"run": run.name, "members": run.member_facts()}] * 2
    blend.write_json("manifest.json", {**run.manifest, "parents": parents})
    np.testing.assert_allclose(probabilities_of(blend, images), probabilities_of(run, images))


@pytest.mark.slow
def test_a_trained_run_labels_fonts_and_strokes(tmp_path, capsys):
    folders = Folders.find(None, tmp_path / "submissions")
    settings = {"folds": 2, "epochs": 6}
    run = pipeline.train(folders, choose_setup(), settings=settings, source="sample")
    pictures = {}
    for digit in range(10):
        for font, size, paper, ink in (("DejaVuSans", 60, 255, 0), ("STIXGeneral", 120, 0, 255)):
            pictures[f"{digit}-{font}.png"] = typed(str(digit), font, size, paper, ink)
    for name, image in pictures.items():
        image.save(tmp_path / name)
    for digit, points in ((7, SEVEN), (1, ONE), (4, FOUR)):
        cv2.imwrite(str(tmp_path / f"{digit}-stroke.jpg"), stroked(points, noise=6))
    typed("@").save(tmp_path / "x.png")
    paths = [*sorted(tmp_path.glob("?-*.*")), tmp_path / "x.png"]
    rows = labelled(folders, run, *paths, capsys=capsys)
    right = [row["label"] == path.name[0] for row, path in zip(rows, paths, strict=True)]
    assert sum(right[:-1]) >= 21  # of 23
    assert "unlike training" in rows[-1]["remark"]


@pytest.mark.slow
def test_tensorboard_logs_change_no_byte(tmp_path):
    needed("tensorboard")
    sums = []
    for logs in (False, True):
        folders = Folders.find(None, tmp_path / f"logs{logs}")
        settings = {**TINY, "epochs": 1, "batch_size": 256}
        setup = Setup("float32", False, 1)
        run = pipeline.train(folders, setup, settings=settings, source="sample", jobs=1, tensorboard=logs)
        sums.append(run.read_json("done.json")["sha256"])
        assert len(list(run.path.glob("tensorboard/*/train/events*"))) == 2 * logs
    assert sums[0] == sums[1]
