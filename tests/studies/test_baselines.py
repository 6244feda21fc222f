"""The six classic systems: as described, on MNIST alone where it is MNIST, in a table."""

import dataclasses
import re

import numpy as np
import pytest

from competition import config as recipes
from competition.config import BASELINES, RECIPES, REFERENCE, Config, choose_config
from competition.data.dataset import load_dataset, mnist_at_hand
from competition.errors import CompetitionError
from competition.network.device import choose_setup, prepare
from competition.network.models import build_model
from competition.network.training import compiled_model
from competition.runs.folders import Folders
from competition.runs.run import list_runs
from competition.studies import baselines
from competition.studies.baselines import Claim


def write_npz(path, sample, **changes):
    """600 training and 100 test digits of the sample, as Keras keeps MNIST."""
    images, labels = sample.images[..., 0], sample.labels.astype(np.uint8)
    arrays = {"x_train": images[1000:1600], "y_train": labels[1000:1600]}
    arrays |= {"x_test": images[2000:2100], "y_test": labels[2000:2100]}
    np.savez(path, **arrays | changes)
    return path


def write_rows(path, images, labels, header):
    rows = np.column_stack([labels, images.reshape(len(images), 784)])
    np.savetxt(path, rows, "%d", ",", header=header, comments="")
    if not header:
        path.write_text(path.read_text().lstrip("\n"))


NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "no_proxy": ""}


@pytest.fixture(autouse=True)
def no_mnist(tmp_path, monkeypatch):
    """Keras's cache is empty, and its download cannot work."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name, value in NO_NETWORK.items():
        monkeypatch.setenv(name, value)


def test_they_are_as_described():
    assert set(baselines.CLAIMS) == set(BASELINES)
    for config in BASELINES.values():
        assert (config.optimizer, config.learning_rate, config.decay, config.tta) == ("adam", 1e-3, 1, 0)
        assert config.epochs == (30 if config.recipe == "notebook-cnn" else 10)
        assert (config.rotation > 0) == (config.recipe in ("mlp", "notebook-cnn"))
    assert RECIPES["kaggle-cnn"].batch_size == 32 and baselines.CLAIMS["kaggle-cnn"].seeds == 5
    assert (RECIPES["notebook-cnn"].dropout, RECIPES["notebook-cnn"].holdout) == (0.5, 0.1)
    assert (REFERENCE.members, REFERENCE.epochs, REFERENCE.holdout, REFERENCE.decay) == (15, 45, 0.1, 0.95)
    kaggle = build_model(RECIPES["kaggle-cnn"])
    kinds = [type(layer).__name__ for layer in kaggle.layers[2:]]
    assert kinds == ["Conv2D", "MaxPooling2D", "Dropout", "Flatten", "Dense", "Dropout", "Dense"]
    assert [layer.rate for layer in kaggle.layers if hasattr(layer, "rate")] == [0.25, 0.5]
    assert build_model(REFERENCE).count_params() == 327_242


def test_the_learning_rate_falls_by_a_factor_an_epoch_or_stays():
    setup = choose_setup("float32")
    prepare(setup, 0)
    rate = compiled_model(REFERENCE, setup, steps=10).optimizer._learning_rate
    assert [float(rate(step)) for step in (0, 9, 10, 20)] == pytest.approx([1e-3, 1e-3, 0.95e-3, 0.95**2 * 1e-3])
    rate = compiled_model(RECIPES["mlp"], setup, steps=10).optimizer._learning_rate
    assert float(rate(99)) == pytest.approx(1e-3)


@pytest.mark.parametrize("source", ("mnist-keras", "mnist-csv"))
def test_nothing_of_ours_sees_mnist(source):
    for recipe in RECIPES:
        if recipe in BASELINES or recipe == "reference":
            assert choose_config(recipe, source, {"epochs": 1, "folds": 1, "seed": 3}).recipe == recipe
        else:
            with pytest.raises(CompetitionError, match="Nothing of ours is trained, tuned or chosen"):
                choose_config(recipe, source, {})
    with pytest.raises(CompetitionError, match="Received: mlp with other settings"):
        choose_config("mlp", source, {"architecture": "pooled"})
    with pytest.raises(CompetitionError, match="Received: fast"):
        choose_config(None, source, {})


def test_mnist_as_keras_keeps_it(tmp_path, sample):
    path = write_npz(tmp_path / "m.npz", sample)
    folders = Folders(tmp_path, tmp_path / "runs", mnist_npz=path)
    read = load_dataset(folders, "mnist-keras")
    assert read.source == "mnist-keras" and mnist_at_hand(folders) == "mnist-keras"
    np.testing.assert_array_equal(read.train.images, sample.images[1000:1600])
    np.testing.assert_array_equal(read.test_labels, sample.labels[2000:2100])
    assert read.test.labels is None and read.train.labels.dtype == np.int64
    (tmp_path / "keras" / "datasets").mkdir(parents=True)
    path.rename(tmp_path / "keras" / "datasets" / "mnist.npz")
    assert load_dataset(Folders(tmp_path, tmp_path), "mnist-keras").train.sha256 == read.train.sha256


@pytest.mark.parametrize(
    "header", ("", ",".join(["label", *(f"{i}x{j}" for i in range(1, 29) for j in range(1, 29))]), "named as it likes")
)
def test_mnist_as_csv_with_or_without_a_header(tmp_path, sample, header):
    for name, rows in (("mnist_train.csv", slice(0, 50)), ("mnist_test.csv", slice(50, 70))):
        write_rows(tmp_path / name, sample.images[rows], sample.labels[rows], header)
    folders = Folders(tmp_path, tmp_path / "runs")
    for _ in range(2):  # the second time from the cache
        read = load_dataset(folders, "mnist-csv")
        assert (read.source, len(read.train), len(read.test)) == ("mnist-csv", 50, 20)
        np.testing.assert_array_equal(read.test.images, sample.images[50:70])
        np.testing.assert_array_equal(read.train.labels, sample.labels[:50])
        np.testing.assert_array_equal(read.test_labels, sample.labels[50:70])
    assert mnist_at_hand(folders) == "mnist-csv"


def test_mnist_that_is_not_there_is_said(tmp_path):
    folders = Folders(tmp_path, tmp_path / "runs")
    assert mnist_at_hand(folders) is None
    with pytest.raises(CompetitionError, match=r"MNIST must be at hand.*Next: --mnist-npz FILE"):
        load_dataset(folders, "mnist-keras")
    with pytest.raises(CompetitionError, match=r"Received: neither. Next: put them there"):
        load_dataset(folders, "mnist-csv")


class Hostile:
    def __reduce__(self):
        return (pytest.fail, ("executed",))


@pytest.mark.parametrize(
    "changes",
    (
        {"x_train": np.array([Hostile()], dtype=object)},
        {"y_test": np.arange(100)},
        {"y_test": np.zeros(99, int)},
        {"x_test": np.zeros((100, 28, 28))},
        {"x_test": np.zeros((100, 32, 32), np.uint8)},
    ),
)
def test_another_npz_is_refused(tmp_path, sample, changes):
    path = write_npz(tmp_path / "m.npz", sample, **changes)
    with pytest.raises(CompetitionError, match=r"must hold MNIST as Keras keeps it.*Received: .*Next: "):
        load_dataset(Folders(tmp_path, tmp_path, mnist_npz=path), "mnist-keras")


@pytest.mark.parametrize("content", (None, b"", b"PK\x03\x04", b"\x93NUMPY"))
def test_a_damaged_npz_is_refused(tmp_path, content):
    path = tmp_path / "m.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CompetitionError, match="must hold MNIST as Keras keeps it"):
        load_dataset(Folders(tmp_path, tmp_path, mnist_npz=path), "mnist-keras")


class Finished:
    """A run with these scores."""

    def __init__(self, accuracy, loss, *epochs):
        self.manifest = {"source": "kaggle"}
        self.scores = {"out_of_fold": {"accuracy": accuracy, "log_loss": loss}}
        self.history = [{"val_accuracy": str(epoch)} for epoch in epochs]

    def load_member(self, name):
        return self


@pytest.mark.parametrize(
    ("claim", "runs", "said"),
    (
        (Claim("", 0.99, 0.05), [(0.99, 0.05)], "yes"),
        (Claim("", 0.99, 0.05), [(0.98, 0.04)], "no: 98.00 %"),
        (Claim("", 0.99, 0.05), [(0.98, 0.06)], "no: 98.00 %, loss 0.060"),
        (Claim("", 0.99, 0.05), [(0.98, 0.04), (0.991, 0.05)], "1 of 2: 98.00 99.10 %"),
        (Claim("", 0.99, 0.05), [(0.992, 0.06), (0.991, 0.051)], "no: loss 0.060 0.051"),
        (Claim("", 0.97, epoch=2), [(0.96, 0.1, 0.5, 0.971, 0.96)], "yes: 97.10 %"),
        (Claim("", 0.97, epoch=2), [(0.98, 0.1, 0.5, 0.96, 0.98)], "no: 96.00 %"),
        (Claim("notable"), [(0.5, 3.0)], "–"),
    ),
)
def test_a_claim_is_reached_or_missed_by_its_figures(claim, runs, said):
    assert baselines._reached(claim, [Finished(*run) for run in runs]) == said


def test_minutes_without_the_reference_are_refused(tmp_path):
    with pytest.raises(CompetitionError, match=r"MINUTES= is for the reference.*Next: REFERENCE=1 MINUTES=240"):
        baselines.write_table(Folders(tmp_path, tmp_path), {}, None, minutes=5)


def test_no_early_stopping_keeps_the_last_epoch():
    from competition.network.early_stopping import EarlyStopping

    stopping = EarlyStopping(np.zeros(10), np.zeros(10, int), patience=0)
    stopping.set_model(type("Worse", (), {"predict_on_batch": lambda self, images: self.logits(), "epoch": 0,
        "logits": lambda self: np.roll(np.eye(10, dtype=np.float32)[[0] * 10] * 5, self.epoch, axis=1),
        "get_weights": lambda self: self.epoch, "set_weights": lambda self, weights: setattr(self, "kept", weights),
        "stop_training": False})())  # fmt: skip
    for epoch in range(3):
        stopping.model.epoch = epoch
        stopping.on_epoch_end(epoch)
    stopping.on_train_end()
    assert stopping.model.kept == 2 and not stopping.model.stop_training


def test_a_random_split_asks_about_a_part_alone(sample):
    from competition.ensemble.folds import mean_members_per_row, members_per_row, plan_members

    config = dataclasses.replace(Config(), folds=1, repeats=3, holdout=1 / 7)
    members = plan_members(config, sample.labels)
    assert [member.name for member in members] == [f"repeat{i}-fold1" for i in (1, 2, 3)]
    for member in members:
        taught, asked = member.train_rows, member.val_rows
        assert len(asked) == 857 and sorted([*taught, *asked]) == list(range(6000))
        assert np.abs(np.bincount(sample.labels[asked]) / 857 - np.bincount(sample.labels) / 6000).max() < 0.002
    assert (members[0].val_rows != members[1].val_rows).any()
    counts = members_per_row(members, len(sample))
    assert counts.sum() == 3 * 857 and counts.max() <= 3
    assert mean_members_per_row(np.array([0, 1, 2, 2])) == pytest.approx(3 / 2)


@pytest.mark.slow
def test_the_table_end_to_end(folders, sample, tmp_path, monkeypatch, capsys):
    """Six hundred digits, one epoch: what trains is reported and stands in the table; then nothing is new."""
    names = {"kaggle-cnn": 2, "mlp": 1, "notebook-cnn": 1}  # of trainings that judge the claim
    claims = {name: dataclasses.replace(baselines.CLAIMS[name], seeds=seeds) for name, seeds in names.items()}
    monkeypatch.setattr(baselines, "CLAIMS", claims)

    def table(**more):
        where = Folders.find(folders / "input", folders / "runs", more.get("npz"))
        said = baselines.write_table(where, {"epochs": 1, "folds": 2}, jobs=1)
        return [line for line in said.splitlines() if line.startswith("| `")], capsys.readouterr().out

    lines, said = table()
    assert [re.match(r"\| `([\w-]+)`", line)[1] for line in lines] == [*names, "reference"]
    assert sum("not at hand" in line for line in lines) == 2 and lines[0].count(", mean of 2") == 1
    assert "about" in lines[-1] and "of 600 rows" in lines[-1] and "on mnist" not in said
    made = list_runs(Folders.find(None, folders / "runs" / "baselines"))
    assert len(made) == 3 + 2 + 1 + 1 and all((run.path / "report.html").exists() for run in made)
    assert not list_runs(Folders.find(None, folders / "runs"))
    again, said = table(npz=write_npz(tmp_path / "m.npz", sample))
    assert "not at hand" not in "".join(again) and again[0].count(", mean of 2") == 2
    assert said.count("on mnist-keras data") == 2 + 1 and "on other data" not in said
    kept = (folders / "runs" / "baselines" / "table.md").read_text()
    assert kept.count("\n") == 6 and all(line in kept for line in again)


@pytest.mark.slow
def test_the_reference_stands_in_the_table_with_the_nets_that_it_has(command, folders, monkeypatch):
    """Two of its 15 nets, an epoch each, by a shorter recipe of the same name."""
    short = dataclasses.replace(REFERENCE, epochs=1, width=0.125, repeats=2)
    monkeypatch.setitem(recipes.RECIPES, "reference", short)
    monkeypatch.setattr(baselines, "CLAIMS", {})
    where = Folders.find(folders / "input", folders / "runs")
    table = baselines.write_table(where, {}, jobs=1, reference=True, minutes=0.01)
    line = next(line for line in table.splitlines() if line.startswith("| `reference`"))
    assert "1 of 2 members" in line and "about" not in line
    for _ in range(2):
        table = baselines.write_table(where, {}, jobs=1, reference=True)
        line = next(line for line in table.splitlines() if line.startswith("| `reference`"))
        assert "members" not in line and re.search(r"\| 0\.\d{5} \(\d", line)
    (run,) = list_runs(Folders.find(None, folders / "runs" / "baselines"))  # once whole, it is not trained again
    (run.path / "manifest.json").write_text("{")
    assert "about" in baselines.write_table(where, {}, jobs=1)
