"""One of our networks ↔ a saved Keras model; of a file that is read nothing is executed.

Keras builds what a file describes, and a Lambda layer describes any code. Here the file's description is read as
text and only compared with the networks of `models.py`; the one that fits is built anew and gets the numbers.
"""

import io
import json
import logging
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from competition.config import ARCHITECTURES, Config
from competition.errors import CompetitionError, one_line
from competition.network.device import keras
from competition.network.models import build_model, with_plain_layers
from competition.runs import files

LARGEST = 256 << 20  # bytes of one model's weights; the largest of ours take 3 million
SILENT = {"InputLayer", "Rescaling", "Dropout", "Softmax"}  # without weights; they may be missing
SHAPING = ("filters", "units", "kernel_size", "strides", "padding", "pool_size")
FORMULA = ("use_bias", "epsilon", "max_value", "negative_slope", "threshold")  # other values, other functions


def read_model(path: Path) -> keras.Model:
    """Read a .keras or .h5 file that holds one of the architectures, in Keras's own layers and in order.

    Args:
        path: a run's model.keras or model.h5, or the same network by another program, whose pixels were scaled
            to [0, 1] and whose answer is a softmax.

    Returns:
        The network, built from this package: pixels 0…255 in, logits out.

    Raises:
        CompetitionError: the file is damaged or holds something else.
    """
    try:
        raw = path.read_bytes()
        described, weights, suffix = _unpacked(raw)
        model = _built(json.loads(described))
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / f"model{suffix}"
            copy.write_bytes(weights)
            model.load_weights(copy)
        return model
    except Exception as error:  # a damaged file raises whatever its bytes lead to
        raise CompetitionError(
            f"{path} must hold a network of this package, as .keras or .h5. Received: {one_line(error)}. "
            "Next: `make train ARGS=--save-h5` writes both."
        ) from None


def write_model(network: keras.Model, path: Path) -> Path:
    """Write a network as an ordinary Keras model: pixels 0…255 in, probabilities out.

    Args:
        path: its suffix, .keras or .h5, is the format.

    Returns:
        The same path.
    """
    plain = with_plain_layers(network)
    model = keras.Model(plain.input, keras.layers.Softmax(name="probabilities")(plain.output), name="digits")
    with tempfile.TemporaryDirectory() as folder, _warnings_off():
        saved = Path(folder) / path.name  # Keras insists on the suffix
        model.save(saved)
        files.write(path, saved.read_bytes())
    return path


@contextmanager
def _warnings_off() -> Iterator[None]:
    """Keras would say of each .h5 file that the format is a legacy."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _unpacked(raw: bytes) -> tuple[str | bytes, bytes, str]:
    """The description (JSON), the weights as an HDF5 file, and the suffix by which Keras knows its kind."""
    if raw[:4] != b"PK\x03\x04":
        with h5py.File(io.BytesIO(raw), "r") as file:
            _check(file)
            return file.attrs["model_config"], raw, ".h5"
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        entries = [archive.getinfo(name) for name in ("config.json", "model.weights.h5")]
        if sum(entry.file_size for entry in entries) > LARGEST:
            raise ValueError(f"more than {LARGEST >> 20} MiB")
        described, weights = (archive.read(entry) for entry in entries)
    with h5py.File(io.BytesIO(weights), "r") as file:
        _check(file)
    return described, weights, ".weights.h5"


def _check(group) -> None:
    """Refuse what makes HDF5 read other files, or more memory than the file suggests."""
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"a link at {name}")
        item = group[name]
        if isinstance(item, h5py.Group):
            _check(item)
        elif item.external or item.is_virtual or item.nbytes > LARGEST or item.dtype.kind not in "fiu":
            raise ValueError(f"no plain numbers at {name}")


def _built(description: dict) -> keras.Model:
    """The network of this package whose layers the description names."""
    found = _signature(description["config"]["layers"])
    for architecture in ARCHITECTURES:
        full = _plain(Config(architecture=architecture))
        names = [name for name, _ in _signature_of(full)]
        if names == [name for name, _ in found]:
            first = _channels(found) / _channels(_signature_of(full))
            model = _plain(Config(architecture=architecture, width=first))
            if _signature_of(model) == found:
                return model
    raise ValueError(f"layers of no network here: {', '.join(name for name, _ in found)[:100]}")


def _plain(config: Config) -> keras.Model:
    return with_plain_layers(build_model(config))


def _signature_of(model: keras.Model) -> list:
    return _signature([{"class_name": type(layer).__name__, "config": layer.get_config()} for layer in model.layers])


def _signature(layers: list[dict]) -> list:
    """Of each layer that matters its class and what shapes its weights; activations, but for the last one's."""
    told = [layer for layer in layers if layer["class_name"] not in SILENT]
    return [
        (
            layer["class_name"],
            [_plainly(layer["config"].get(key)) for key in (*SHAPING, *FORMULA)]
            + [layer["config"].get("activation") if i < len(told) - 1 else None],
        )
        for i, layer in enumerate(told)
    ]


def _plainly(value):
    return list(value) if isinstance(value, tuple) else value


def _channels(signature: list) -> int:
    """How wide the first layer with weights is."""
    return next(filters or units for _, (filters, units, *_) in signature if filters or units)
