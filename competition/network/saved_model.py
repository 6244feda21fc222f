"""A network ↔ a file of Keras: what is written loads in older Keras too, and a file that is read executes nothing."""

import io
import json
import logging
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from competition.errors import CompetitionError, one_line
from competition.network.device import keras
from competition.network.models import with_plain_layers
from competition.runs import files

LARGEST = 256 << 20  # bytes of one model's weights; the largest of ours take 3 million
NEWER = {"renorm", "renorm_momentum"}  # arguments that Keras 3.13 does not know, and of which ours have the default


def read_model(path: Path) -> keras.Model:
    """Read a .keras or .h5 file of any network that classifies digits.

    Keras reads it in safe mode, which refuses Lambda layers and whatever else would execute code of the file. But of an
    .h5 file Keras 3.13 follows links to other files, so these are refused before.

    Args:
        path: a run's model.keras or model.h5, or a model of another program: images (n, 28, 28, 1) in, 10 numbers out.

    Raises:
        CompetitionError: the file is corrupt, would read other files or execute code, or is another kind of model.
    """
    try:
        content = path.read_bytes()
        zipped = content.startswith(b"PK")
        _check_weights(_member(content, "model.weights.h5") if zipped else content)
        with tempfile.TemporaryDirectory() as folder, _warnings_off():
            copy = Path(folder) / ("model.keras" if zipped else "model.h5")  # Keras goes by the suffix
            copy.write_bytes(content)
            model = keras.saving.load_model(copy, compile=False, safe_mode=True)
        shapes = model.input_shape, model.output_shape
        if shapes != ((None, 28, 28, 1), (None, 10)):
            raise ValueError("a model from {} to {}".format(*shapes))
        return model
    except Exception as error:  # a corrupt file raises whatever its bytes lead to
        raise CompetitionError(
            f"{path} must hold a Keras model of images (None, 28, 28, 1) and ten digits, as .keras or .h5, without "
            f"Lambda layers. Received: {one_line(error)}. Next: `make export` writes the model of a run."
        ) from None


def portable(network: keras.Model) -> keras.Model:
    """A network as an ordinary Keras model of Keras's own layers: pixels 0…255 in, probabilities out."""
    plain = with_plain_layers(network)
    return keras.Model(plain.input, keras.layers.Softmax(name="probabilities")(plain.output), name="digits")


def write_model(network: keras.Model, path: Path) -> Path:
    """Write a network as a portable Keras model, which Keras 3.10 and later reads.

    Args:
        path: its suffix, .keras or .h5, is the format.

    Returns:
        The same path.
    """
    with tempfile.TemporaryDirectory() as folder, _warnings_off():
        saved = Path(folder) / path.name  # Keras goes by the suffix
        portable(network).save(saved)
        if path.suffix == ".h5":
            with h5py.File(saved, "r+") as file:
                file.attrs["model_config"] = json.dumps(_without_newer(json.loads(file.attrs["model_config"])))
            content = saved.read_bytes()
        else:
            content = _with_older_config(saved.read_bytes())
        files.write(path, content)
    return path


@contextmanager
def _warnings_off() -> Iterator[None]:
    """Keras would warn of each .h5 file that the format is legacy."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _without_newer(config: Any) -> Any:
    """A model's config without what older versions of Keras refuse as unknown: arguments that have the default anyway.

    In the config of a layer of ours None is always the default, and new arguments come with None.
    """
    if isinstance(config, dict):
        return {key: _without_newer(value) for key, value in config.items() if value is not None and key not in NEWER}
    return [_without_newer(value) for value in config] if isinstance(config, list) else config


def _with_older_config(archive: bytes) -> bytes:
    """A .keras file with the config of `_without_newer`."""
    older = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as before, zipfile.ZipFile(older, "w") as after:
        for entry in before.infolist():
            content = before.read(entry)
            if entry.filename == "config.json":
                content = json.dumps(_without_newer(json.loads(content))).encode()
            after.writestr(entry, content)
    return older.getvalue()


def _member(archive: bytes, name: str) -> bytes:
    """One file in a zip."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        if sum(entry.file_size for entry in opened.infolist()) > LARGEST:
            raise ValueError(f"more than {LARGEST >> 20} MiB")
        return opened.read(name)


def _check_weights(content: bytes) -> None:
    """Refuse an HDF5 file that reads other files, or takes more memory than its size suggests."""

    def check(group: h5py.Group) -> None:
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"a link at {name}")
            item = group[name]
            if isinstance(item, h5py.Group):
                check(item)
            elif item.external or item.is_virtual or item.nbytes > LARGEST:
                raise ValueError(f"no plain numbers at {name}")

    with h5py.File(io.BytesIO(content), "r") as file:
        check(file)
