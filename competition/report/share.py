"""A finished run → share.html: one of its networks in plain JavaScript, and a pad to draw digits on, in one file."""

import base64
from pathlib import Path

import numpy as np

from competition.data.dataset import load_dataset_of
from competition.data.mnist_format import BOX, FAINT, GREY, LIFT, THIN
from competition.errors import CompetitionError
from competition.report.draw_backend import examples
from competition.report.html import render
from competition.runs import files
from competition.runs.folders import Folders
from competition.runs.run import Run

LARGEST = 2_000_000  # bytes; mail servers refuse attachments of more than some millions


def make_share(folders: Folders, run: Run) -> Path:
    """Write share.html into the run's folder, with the network that model.keras holds.

    Its weights are rounded to 24 bits, by which no probability of 100 test digits changed by more than 2e-6; to 16, by
    3e-4, or 8 where the page would take more than LARGEST.

    Returns:
        The page.

    Raises:
        CompetitionError: the run is a blend, or its network is too large or has a layer unknown to the page.
    """
    from competition.ensemble.export import export_model
    from competition.network.saved_model import read_model

    if "parents" in run.manifest:
        raise CompetitionError(
            f"A shared page holds one network of a run. Received: {run.name}, a blend. "
            f"Next: make share RUN={run.manifest['parents'][0]['run']}."
        )
    network = read_model(export_model(run))
    try:
        shown = examples(run, load_dataset_of(folders, run.manifest).test)
    except CompetitionError:
        shown = []  # the data is not at hand: nothing else needs it
    for bits in (24, 16, 8):
        page = render(
            "share.html.j2", run=run, examples=shown, bits=bits,
            layers=_layers(network, bits),
            parameters=network.count_params(), box=BOX, faint=FAINT, thin=THIN, grey=GREY, lift=LIFT,
        )  # fmt: skip
        if len(page.encode()) <= LARGEST:
            path = run.path / "share.html"
            files.write(path, page)
            return path
    raise CompetitionError(
        f"A shared page takes at most {LARGEST:,} bytes, about 1.4 million weights of 8 bits. Received: a network of "
        f"{network.count_params():,}. Next: make share RUN= with a smaller run."
    )


def _layers(network, bits: int) -> list[dict]:
    """The layers of a Keras model as the page computes them, each with the places of its inputs in the list."""
    layers: list[dict] = []
    places = {id(network.layers[0].output): -1}  # by the id of a layer's output; the first is the image
    for layer in network.layers[1:]:
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        if described := _described(layer, bits):
            layers.append({**described, "of": [places[id(one)] for one in inputs]})
            places[id(layer.output)] = len(layers) - 1
        else:
            places[id(layer.output)] = places[id(inputs[0])]
    return layers


def _described(layer, bits: int) -> dict | None:
    """A layer of Keras as the page's script computes it; none where it changes nothing."""
    kind, config, weights = type(layer).__name__, layer.get_config(), layer.get_weights()
    relu = config.get("activation") == "relu"
    if kind in ("Dropout", "Softmax"):  # the page makes probabilities of the last layer's values
        return None
    if kind == "Rescaling":
        return {"kind": "scale", "factors": [config["scale"]], "offsets": [config["offset"]]}
    if kind == "ReLU":
        return {"kind": "scale", "factors": [1], "offsets": [0], "relu": True}
    if kind == "BatchNormalization":
        gain, shift, mean, variance = weights
        factors = gain / np.sqrt(variance + config["epsilon"])
        return {"kind": "scale", "factors": factors.tolist(), "offsets": (shift - mean * factors).tolist()}
    if kind == "Conv2D":
        (size, _), (strides, _), same = config["kernel_size"], config["strides"], config["padding"] == "same"
        return {"kind": "convolution", "size": size, "strides": strides, "same": same, "relu": relu,
                 **_rounded(weights, bits)}  # fmt: skip
    if kind == "Dense":  # of one pixel, whose channels are the features
        return {"kind": "convolution", "size": 1, "strides": 1, "relu": relu, **_rounded(weights, bits)}
    if kind == "MaxPooling2D":
        return {"kind": "maximum", "size": config["pool_size"][0], "same": config["padding"] == "same"}
    if kind == "Add":
        return {"kind": "sum"}
    if kind in ("GlobalAveragePooling2D", "Flatten"):
        return {"kind": "mean" if kind == "GlobalAveragePooling2D" else "flat"}
    raise CompetitionError(
        f"A shared page computes the layers of this package's networks. Received: the layer {layer.name}. "
        "Next: make share RUN= with another run."
    )


def _rounded(weights: list[np.ndarray], bits: int) -> dict:
    """A kernel (…, filters) as integers and a scale for each filter, and the bias."""
    kernel = weights[0].reshape(-1, weights[0].shape[-1]).astype(float)  # float32 holds no 24 bits and a sign
    bias = weights[1] if len(weights) > 1 else np.zeros(kernel.shape[1])
    scales = np.maximum(np.abs(kernel).max(axis=0), 1e-30) / (2 ** (bits - 1) - 1)
    integers = np.round(kernel / scales).astype("<i4")
    low_bytes = integers.view(np.uint8).reshape(-1, 4)[:, : bits // 8]
    return {"kernel": base64.b64encode(low_bytes.tobytes()).decode(), "scales": scales.tolist(), "bias": bias.tolist()}
