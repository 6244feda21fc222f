"""Saved models: older Keras and bare Keras read ours, others' are read too, and no file executes or reads anything."""

import json
import subprocess
import venv
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from competition import config as settings
from competition.config import Config
from competition.errors import CompetitionError
from competition.network import saved_model
from competition.network.device import Setup, prepare
from competition.network.models import build_model
from competition.network.saved_model import portable, read_model, write_model
from competition.runs.folders import ROOT
from tests.conftest import lacking

IMAGE = {line.partition("==")[0]: line for line in (ROOT / "tests/kaggle/image.txt").read_text().splitlines()}
REFUSED = "must hold a Keras model of images .* Received: .*{}.* Next: `make export`"


@pytest.fixture(autouse=True)
def float32():
    prepare(Setup("float32", False, 1), 0)


def save(model, path):
    with saved_model._warnings_off():
        model.save(path)
    return path


def network(*first):
    hidden = layers.Dense(16, activation="relu")
    return keras.Sequential([keras.Input((28, 28, 1)), *first, layers.Flatten(), hidden, layers.Dense(10)])


@pytest.mark.parametrize(
    ("name", "suffix"),
    [*((name, ".keras") for name in settings.ARCHITECTURES), ("pooled", ".h5"), ("normalized", ".h5")],
)
def test_each_architecture_comes_back_with_every_setting(tmp_path, few, name, suffix):
    model = build_model(Config(architecture=name, width=0.25, dropout=0.5))
    read = read_model(write_model(model, tmp_path / f"model{suffix}"))
    expected = keras.ops.softmax(model(few.images[:4]))
    np.testing.assert_allclose(read.predict_on_batch(few.images[:4]), expected, atol=1e-5)
    for layer, original in zip(read.layers, portable(model).layers, strict=True):
        ignored = {"name": 0, "batch_shape": 0}
        assert layer.get_config() | ignored == original.get_config() | ignored  # what was left out was a default


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "packages"),
    [
        ("tensorflow", [IMAGE["tensorflow"], IMAGE["keras"], IMAGE["numpy"]]),
        ("jax", ["keras==3.10.0", "jax"]),
        ("jax", ["keras", "jax"]),
    ],
)
def test_other_versions_of_keras_read_it(tmp_path, few, backend, packages):
    """Kaggle's image, an older Keras, and today's Keras with nothing but JAX."""
    np.save(tmp_path / "images.npy", few.images)
    for name in ("pooled", "normalized"):
        for suffix in (".keras", ".h5"):
            write_model(build_model(Config(architecture=name, width=0.5)), tmp_path / f"{name}{suffix}")
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-compile", *packages]
    if subprocess.run(install, capture_output=True).returncode:
        lacking(f"pip cannot install {' '.join(packages)}")
    code = (
        "import sys, keras, numpy as np\n"
        "for path in sys.argv[1:]:\n"
        "    np.save(path + '.npy', keras.saving.load_model(path).predict_on_batch(np.load('images.npy')))"
    )
    paths = sorted(path for path in tmp_path.iterdir() if path.suffix in (".keras", ".h5"))
    done = subprocess.run(
        [python, "-c", code, *paths], cwd=tmp_path, env={"KERAS_BACKEND": backend}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for path in paths:
        expected = read_model(path).predict_on_batch(few.images)
        np.testing.assert_allclose(np.load(f"{path}.npy"), expected, atol=1e-5)


@pytest.mark.parametrize("suffix", (".keras", ".h5"))
def test_a_model_of_another_program(tmp_path, few, suffix):
    """As tutorials write it, compiled and with a softmax."""
    model = network(layers.Conv2D(8, 3, activation="tanh"), layers.Dropout(0.2))
    model.add(layers.Softmax())
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    images = few.images[:8] / np.float32(255)
    model.fit(images, np.eye(10)[few.labels[:8]], verbose=0)
    read = read_model(save(model, tmp_path / f"model{suffix}"))
    np.testing.assert_allclose(read.predict_on_batch(images), model.predict_on_batch(images), atol=1e-6)


def test_a_file_is_known_by_its_content(tmp_path, few):
    path = save(network(), tmp_path / "model.keras")
    assert read_model(path.rename(tmp_path / "downloaded.bin")).count_params() == network().count_params()


@pytest.mark.parametrize(
    "model",
    [
        lambda: keras.Sequential([keras.Input((784,)), layers.Dense(10)]),
        lambda: keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(62)]),
    ],
)
def test_a_model_of_other_inputs_or_outputs_is_refused(tmp_path, model):
    with pytest.raises(CompetitionError, match=REFUSED.format("a model from")):
        read_model(save(model(), tmp_path / "model.keras"))


@pytest.mark.parametrize("suffix", (".keras", ".h5"))
def test_a_lambda_is_refused_and_never_called(tmp_path, few, suffix):
    marker = tmp_path / "executed"
    code = layers.Lambda(
        lambda x, place: (__import__("pathlib").Path(place).touch(), x)[1],
        arguments={"place": str(marker)},
        output_shape=(28, 28, 1),
    )
    path = save(network(code), tmp_path / f"model{suffix}")
    with pytest.raises(CompetitionError, match=REFUSED.format("a `Lambda` layer")):
        read_model(path)
    assert not marker.exists()
    with saved_model._warnings_off():
        keras.models.load_model(path, safe_mode=False)(few.images[:1])
    assert marker.exists()  # the file is as hostile as it seems


CONFIGS = {  # a layer that Keras would have to import or call
    "a class of Python": {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", "executed"]}},
    "a setting of Keras": {"module": "keras.config", "class_name": "enable_unsafe_deserialization", "config": {}},
    "a download": {"module": "keras.utils", "class_name": "get_file", "config": {"origin": "http://127.0.0.1/x"}},
    "a SavedModel": {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "elsewhere"}},
    "a file of words": {
        "module": "keras.layers",
        "class_name": "StringLookup",
        "config": {"vocabulary": "/etc/passwd"},
    },
}


@pytest.mark.parametrize("case", CONFIGS)
@pytest.mark.parametrize("suffix", (".keras", ".h5"))
def test_a_layer_that_is_none_is_refused(tmp_path, monkeypatch, suffix, case):
    monkeypatch.chdir(tmp_path)
    path = save(network(), tmp_path / f"model{suffix}")

    def planted(text):
        config = json.loads(text)
        config["config"]["layers"].insert(1, CONFIGS[case])
        return json.dumps(config)

    if suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = planted(file.attrs["model_config"])
    else:
        with zipfile.ZipFile(path) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, planted(content) if name == "config.json" else content)
    with pytest.raises(CompetitionError, match=REFUSED.format("")):
        read_model(path)
    assert not Path("executed").exists()


def replaced(file, name, **how):
    shape = file[name].shape
    del file[name]
    file.create_dataset(name, shape, "f4", **how)


def linked(file, name):
    del file[name]
    file[name] = h5py.ExternalLink("/etc/other.h5", "/x")


def virtual(file, name):
    layout = h5py.VirtualLayout(file[name].shape, "f4")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "x", file[name].shape)
    del file[name]
    file.create_virtual_dataset(name, layout)


def huge(file, name):
    del file[name]
    file.create_dataset(name, (1 << 40,), "f4", chunks=(1 << 16,))


HOSTILE = {  # Keras 3.13 reads the first three into the weights of an .h5 file
    "another file's bytes": (lambda f, n: replaced(f, n, external=[("/etc/passwd", 0, 1 << 30)]), "no plain numbers"),
    "another file's array": (linked, "a link at"),
    "another file's view": (virtual, "no plain numbers"),
    "a terabyte": (huge, "no plain numbers"),
    "another shape": (lambda f, n: (f.__delitem__(n), f.create_dataset(n, data=np.zeros((3, 3), "f4"))), "shape"),
}


@pytest.mark.parametrize("suffix", (".keras", ".h5"))
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_weights_are_refused_in_a_line(tmp_path, case, suffix):
    change, received = HOSTILE[case]
    path = save(network(), tmp_path / f"model{suffix}")
    weights = path
    if suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        weights = tmp_path / "weights.h5"
        weights.write_bytes(contents["model.weights.h5"])
        received = received.replace("shape", "could not be loaded")
    with h5py.File(weights, "r+") as file:
        found = []
        file.visititems(lambda name, item: found.append(name) if getattr(item, "shape", None) == (784, 16) else None)
        change(file, found[0])
    if suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (contents | {"model.weights.h5": weights.read_bytes()}).items():
                archive.writestr(name, content)
    with pytest.raises(CompetitionError, match=REFUSED.format(received)) as caught:
        read_model(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", (b"", b"\x80\x04N.", b"PK\x03\x04broken", b"\x89HDF\r\n\x1a\n" + bytes(50)))
def test_a_corrupt_file_is_refused_in_a_line(tmp_path, content):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(CompetitionError, match=REFUSED.format("")):
        read_model(path)


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(2 << 20))
    monkeypatch.setattr(saved_model, "LARGEST", 1 << 20)
    with pytest.raises(CompetitionError, match="more than 1 MiB"):
        read_model(path)
