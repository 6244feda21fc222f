"""Saved models: ours come back, others' of the same layers too, and what would execute anything is refused."""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from competition import config as settings
from competition.config import Config
from competition.errors import CompetitionError
from competition.network.device import Setup, prepare
from competition.network.models import build_model, with_plain_layers
from competition.network.saved_model import _warnings_off, read_model


@pytest.fixture(autouse=True)
def float32():
    prepare(Setup("float32", False, 1), 0)


def save(model, path):
    with _warnings_off():
        model.save(path)
    return path


@pytest.mark.parametrize("suffix", (".keras", ".h5"))
@pytest.mark.parametrize("name", settings.ARCHITECTURES)
def test_each_architecture_comes_back(tmp_path, few, name, suffix):
    plain = with_plain_layers(build_model(Config(architecture=name, width=0.5, dropout=0.5)))
    path = save(keras.Model(plain.input, layers.Softmax()(plain.output)), tmp_path / f"model{suffix}")
    np.testing.assert_allclose(read_model(path)(few.images[:4]), plain(few.images[:4]), atol=1e-4)


def test_layers_of_another_formula_are_refused(tmp_path):
    """The same weights would fit them, and say something else."""
    model = with_plain_layers(build_model(Config(architecture="normalized", width=0.25)))

    def other(layer):
        changed = {"max_value": 6.0} if isinstance(layer, layers.ReLU) else {}
        return layer.__class__.from_config(layer.get_config() | changed)

    path = save(keras.models.clone_model(model, clone_function=other), tmp_path / "model.keras")
    with pytest.raises(CompetitionError, match="layers of no network here"):
        read_model(path)


@pytest.mark.parametrize("suffix", (".keras", ".h5"))
def test_the_same_network_by_another_program(tmp_path, few, suffix):
    """As tutorials write it, compiled and trained on pixels in [0, 1]."""
    tutorial = [layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(), layers.Dropout(0.25), layers.Flatten()]
    tutorial += [layers.Dense(128, activation="relu"), layers.Dropout(0.5), layers.Dense(10, activation="softmax")]
    model = keras.Sequential([keras.Input((28, 28, 1)), *tutorial])
    model.compile("adam", "categorical_crossentropy")
    images = few.images[:32] / np.float32(255)
    model.fit(images, np.eye(10)[few.labels[:32]], verbose=0)
    logits = read_model(save(model, tmp_path / f"model{suffix}"))(few.images[:32])
    np.testing.assert_allclose(keras.ops.softmax(logits), model(images), atol=1e-5)


def dense_layers():
    return [layers.Flatten(), *(layers.Dense(n, activation="relu") for n in (512, 512)), layers.Dense(10)]


@pytest.mark.parametrize("suffix", (".keras", ".h5"))
def test_a_lambda_is_refused_and_never_called(tmp_path, few, suffix):
    marker = tmp_path / "executed"
    code = layers.Lambda(
        lambda x, place: (__import__("pathlib").Path(place).touch(), x)[1],
        arguments={"place": str(marker)},
        output_shape=(28, 28, 1),
    )
    path = save(keras.Sequential([keras.Input((28, 28, 1)), code, *dense_layers()]), tmp_path / f"model{suffix}")
    with pytest.raises(CompetitionError, match="layers of no network here: Lambda"):
        read_model(path)
    assert not marker.exists()
    with _warnings_off():
        keras.models.load_model(path, safe_mode=False)(few.images[:1])
    assert marker.exists()  # the file is as hostile as it seems


@pytest.mark.parametrize("suffix", (".keras", ".h5"))
@pytest.mark.parametrize("change", ("units", "activation"))
def test_a_network_that_differs_is_refused(tmp_path, suffix, change):
    model = [layers.Flatten(), layers.Dense(512, activation="tanh" if change == "activation" else "relu")]
    model += [layers.Dense(400 if change == "units" else 512, activation="relu"), layers.Dense(10)]
    path = save(keras.Sequential([keras.Input((28, 28, 1)), *model]), tmp_path / f"model{suffix}")
    with pytest.raises(CompetitionError, match="layers of no network here"):
        read_model(path)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """The bytes of a small file that is fine."""
    prepare(Setup("float32", False, 1), 0)
    model = with_plain_layers(build_model(Config(architecture="dense", width=0.125)))
    return save(model, tmp_path_factory.mktemp("valid") / "model.h5").read_bytes()


def hostile_h5(path, valid, change):
    """A valid file with one thing changed."""
    path.write_bytes(valid)
    with h5py.File(path, "r+") as file:
        groups = []
        file.visititems(lambda name, item: groups.append(name) if name.endswith("kernel") else None)
        change(file, groups[0])
    return path


def replaced(file, name, **how):
    shape = file[name].shape
    del file[name]
    file.create_dataset(name, shape, **how)


def linked(file, name):
    del file[name]
    file[name] = h5py.ExternalLink("/etc/other.h5", "/x")


def objects(file, name):
    del file[name]
    file.create_dataset(name, data=np.array([b"cos\nsystem\n(S'true'\ntR."], object), dtype=h5py.string_dtype("ascii"))


def huge(file, name):
    del file[name]
    file.create_dataset(name, (1 << 40,), "f4", chunks=(1 << 16,))


HOSTILE = {
    "another file's bytes": (
        lambda f, n: replaced(f, n, dtype="f4", external=[("/etc/passwd", 0, 1 << 30)]),
        "no plain",
    ),
    "another file's array": (linked, "a link at"),
    "no numbers": (objects, "no plain numbers"),
    "a terabyte": (huge, "no plain numbers"),
    "another shape": (lambda f, n: (f.__delitem__(n), f.create_dataset(n, data=np.zeros((3, 3), "f4"))), "shape"),
    "no description": (lambda f, n: f.attrs.__delitem__("model_config"), "model_config"),
    "no JSON": (lambda f, n: f.attrs.__setitem__("model_config", "__import__('os')"), "Expecting value"),
    "of nothing": (lambda f, n: f.attrs.__setitem__("model_config", json.dumps({"config": 3})), "subscriptable"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_h5_file_is_refused_in_a_line(tmp_path, valid, case):
    change, received = HOSTILE[case]
    with pytest.raises(CompetitionError, match=rf"must hold a network.*Received: .*{received}.*Next: ") as caught:
        read_model(hostile_h5(tmp_path / "model.h5", valid, change))
    assert "\n" not in str(caught.value)


def test_the_file_that_they_spoil_is_read(tmp_path, valid):
    assert read_model(hostile_h5(tmp_path / "model.h5", valid, lambda file, name: None)).count_params()


@pytest.mark.parametrize("content", (b"", b"\x80\x04N.", b"PK\x03\x04broken", b"\x89HDF\r\n\x1a\n" + bytes(50)))
@pytest.mark.parametrize("suffix", (".keras", ".h5"))
def test_a_damaged_file_is_refused_in_a_line(tmp_path, content, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(CompetitionError, match="must hold a network of this package"):
        read_model(path)


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(2 << 20))
    monkeypatch.setattr("competition.network.saved_model.LARGEST", 1 << 20)
    with pytest.raises(CompetitionError, match="more than 1 MiB"):
        read_model(path)
