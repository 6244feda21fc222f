import csv
import io
import subprocess
import sys

import cv2
import numpy as np
import pytest

from competition import __main__, pipeline
from competition.data.dataset import load_dataset, load_dataset_of
from competition.ensemble import predict
from competition.ensemble.folds import member_settings
from competition.ensemble.predict import export_model, load_model, probabilities_of, unlike_training
from competition.errors import CompetitionError
from competition.network.device import Setup, choose_setup
from competition.runs.folders import Folders
from tests.conftest import needed
from tests.data.drawn import FOUR, ONE, SEVEN, stroked, typed

TINY = {"folds": 2, "epochs": 1, "batch_size": 16, "width": 0.25, "stop_fraction": 0.1}
MIXED = {**TINY, "folds": 1, "repeats": 2, "teachers": 1, "architecture": "pooled,normalized"}


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


def test_a_loaded_run_says_what_it_said_when_trained(trained):
    folders, run = trained
    images = load_dataset_of(folders, run.manifest).test.images
    stored = run.read_arrays("probabilities.npz")["test"][1]
    np.testing.assert_allclose(probabilities_of(run, images), stored, atol=1e-6)


def test_each_member_says_what_it_said_when_trained_however_many_are_asked_at_once(trained, monkeypatch):
    folders, run = trained
    images = load_dataset_of(folders, run.manifest).test.images
    monkeypatch.setattr(predict, "TOGETHER", 29)  # 60 rows: the last two are a batch of their own
    ensemble = predict.Ensemble(run)
    whole, members = ensemble.ask(images)
    assert ensemble.members == ["repeat1-fold1", "repeat2-fold1"]
    for name, said in zip(ensemble.members, members, strict=True):
        np.testing.assert_allclose(said, run.load_member(name).test[1], atol=1e-6)
    np.testing.assert_allclose(members.mean(axis=0), whole, atol=1e-6)


def test_a_table_and_a_picture_are_labelled_with_probabilities(trained, tmp_path, capsys):
    folders, run = trained
    cv2.imwrite(str(tmp_path / "seven.png"), stroked(SEVEN))
    rows = labelled(folders, run, folders.input / "test.csv", tmp_path / "seven.png", capsys=capsys)
    submitted = [line.split(",")[1] for line in run.submission.read_text().splitlines()[1:]]
    assert [row["label"] for row in rows[:-1]] == submitted
    assert rows[0]["picture"].endswith("test.csv:1") and rows[-1]["picture"].endswith("seven.png")
    for row in rows:
        numbers = [float(row[f"p{digit}"]) for digit in range(10)]
        assert sum(numbers) == pytest.approx(1, abs=1e-3) and row["label"] == str(int(np.argmax(numbers)))


def test_what_is_unlike_any_training_digit_is_said(trained):
    folders, run = trained
    noise = np.random.default_rng(0).integers(0, 256, (1, 28, 28, 1)).astype(np.uint8)
    known = load_dataset_of(folders, run.manifest).train.images[:20]
    assert unlike_training(folders, run, np.concatenate([noise, known])).tolist() == [True] + [False] * 20


def test_without_its_data_a_run_still_predicts(trained, tmp_path, capsys):
    folders, run = trained
    elsewhere = Folders(tmp_path, folders.submissions)
    assert not unlike_training(elsewhere, run, np.zeros((2, 28, 28, 1), np.uint8)).any()
    assert "is not known" in capsys.readouterr().err


def test_a_bad_picture_is_refused_before_anything_is_printed(trained, tmp_path, capsys):
    folders = trained[0]
    (tmp_path / "blank.png").write_bytes(cv2.imencode(".png", np.full((40, 40), 255, np.uint8))[1])
    arguments = [
        "--submissions",
        str(folders.submissions),
        str(folders.input / "test.csv"),
        str(tmp_path / "blank.png"),
    ]
    capsys.readouterr()
    assert __main__.main(["predict", *arguments]) == 1
    output = capsys.readouterr()
    assert output.out == "" and "must show a digit" in output.err


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
def test_the_exported_model_is_the_best_member_and_loads_where_the_package_is_not(trained, tmp_path):
    folders, run = trained
    images = load_dataset_of(folders, run.manifest).test.images
    np.save(tmp_path / "images.npy", images)
    code = (
        "import keras, numpy as np, importlib.util; assert importlib.util.find_spec('competition') is None; "
        f"m = keras.models.load_model({str(run.path / 'model.keras')!r}); "
        "assert m.dtype_policy.name == 'float32'; np.save('said.npy', m.predict(np.load('images.npy'), verbose=0))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    said = np.load(tmp_path / "said.npy")
    results = {name: run.load_member(name) for name in member_settings(run.config)}
    kept = {name: min(r.history, key=lambda e: float(e["val_loss"])) for name, r in results.items()}
    best = max(kept, key=lambda name: (float(kept[name]["val_accuracy"]), -float(kept[name]["val_loss"])))
    np.testing.assert_allclose(said, results[best].test[0], atol=1e-5)


@pytest.mark.parametrize("suffix", (".keras", ".h5"))
def test_a_saved_model_labels_as_its_member_does(trained, suffix, capsys):
    folders, run = trained
    saved = export_model(run, suffix)
    assert saved.name == f"model{suffix}"
    capsys.readouterr()
    table = folders.input / "test.csv"
    assert __main__.main(["predict", "--submissions", str(folders.submissions), "--model", str(saved), str(table)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    said = np.array([[float(row[f"p{digit}"]) for digit in range(10)] for row in rows])
    members = [run.load_member(name).test[0] for name in member_settings(run.config)]
    assert min(np.abs(said - member).max() for member in members) < 1e-4


@pytest.mark.slow
def test_a_blend_says_the_mean_of_what_its_parents_say(trained):
    folders, run = trained
    images = load_dataset_of(folders, run.manifest).test.images[:5]
    blend = type(run)(folders.submissions / "blend")
    parents = [{"run": run.name, "members": {}}] * 2
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
