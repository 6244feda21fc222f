"""A member of a run as a Keras model, the files that a run exports, and predictions by such a file."""

import shutil
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np

from competition.data.dataset import SAMPLE_FILES
from competition.data.digits import read_digits
from competition.ensemble.folds import is_refit, member_settings, members_of
from competition.errors import CompetitionError, one_line
from competition.network.calibration import at_temperature, log_losses
from competition.network.device import Setup, prepare
from competition.network.early_stopping import predict_logits
from competition.network.models import build_model
from competition.network.saved_model import portable, read_model, write_model
from competition.runs.run import Run

TRIED = 1000  # digits of the sample on which the scale of a model's pixels is found
SCALES = {1 / 255: "0…1", 1.0: "0…255"}


class Format(NamedTuple):
    """A format of `make export`."""

    filename: str
    use: str  # Python that predicts `images` with the file at {path}
    keras_name: str = ""  # of the format in Model.export; empty: Keras's own files
    packages: str = ""  # that pip has to install besides


FORMATS = {
    "keras": Format("model.keras", 'probabilities = keras.saving.load_model("{path}").predict(images)'),
    "h5": Format("model.h5", 'probabilities = keras.saving.load_model("{path}").predict(images)'),
    "onnx": Format(
        "model.onnx",
        'probabilities = onnxruntime.InferenceSession("{path}").run(None, {{"image": images}})[0]',
        "onnx",
        "tf2onnx onnx",
    ),
    "litert": Format(
        "model.tflite",
        'probabilities = tf.lite.Interpreter("{path}").get_signature_runner()(image=images)["output_0"]',
        "litert",
    ),
    "saved": Format(
        "model.savedmodel",
        'model = tf.saved_model.load("{path}"); probabilities = model.serve(images)',
        "tf_saved_model",
    ),
}


def load_model(run: Run, name: str):
    """A member as it was when its training ended; a keras.Model with logits as output.

    Raises:
        CompetitionError: it is missing or damaged, or was built by another version of the package.
    """
    result = run.load_member(name)
    model = build_model(member_settings(run.config)[name])
    try:
        model.set_weights(result.weights)
    except ValueError as error:
        raise CompetitionError(
            f"{run.path} must hold the member {name} of this version. Received: {one_line(error, 120)}. "
            "Next: `make train NEW=1`."
        ) from None
    return model


def export_model(run: Run, suffix: str = ".keras") -> Path:
    """Write model.keras: the run's best member as an ordinary Keras model.

    It takes (n, 28, 28, 1) pixels 0…255, returns (n, 10) probabilities, computes in float32 and loads with
    `keras.saving.load_model` where this package is not installed.

    Args:
        run: whose best member is written, see `best_member`.
        suffix: `.keras`, or `.h5` for the legacy format.

    Returns:
        The file.
    """
    return write_model(best_member(run), run.path / f"model{suffix}")


def export_as(run: Run, name: str) -> str:
    """Export the model of a run in a format for other programs, into the run's folder.

    Args:
        run: whose best member is exported, see `best_member`.
        name: of a format in FORMATS.

    Returns:
        Where it lies, its input and output, and a line that uses it.

    Raises:
        CompetitionError: the format needs a package that is not installed.
    """
    chosen = FORMATS[name]
    path = run.path / chosen.filename
    if not chosen.keras_name:
        export_model(run, path.suffix)
    else:
        try:
            with tempfile.TemporaryDirectory(dir=run.path) as folder, redirect_stdout(sys.stderr):
                model, made = portable(best_member(run)), Path(folder) / chosen.filename
                model(np.zeros((1, 28, 28, 1), np.float32))  # Keras exports to ONNX what has been called
                model.export(made, format=chosen.keras_name, verbose=False)
                shutil.rmtree(path, ignore_errors=True)
                made.replace(path)
        except ImportError as error:
            if not chosen.packages:
                raise
            raise CompetitionError(
                f"FORMAT={name} needs packages that the others do not. Received: {one_line(error)}. "
                f"Next: {sys.executable} -m pip install {chosen.packages}."
            ) from None
    form = "images: float32 (n, 28, 28, 1), pixels 0…255, ink high; out: float32 (n, 10), probabilities of the digits"
    return f"{path}\n  {form}\n  {chosen.use.format(path=path)}"


def best_member(run: Run):
    """The member that was best on its early-stopping rows, of those that fit all rows where there are any.

    Returns:
        A keras.Model with logits as output.
    """
    if parents := run.manifest.get("parents"):
        raise CompetitionError(
            f"A model file holds one network of a run. Received: {run.name}, a blend. "
            f"Next: make export RUN={parents[0]['run']}."
        )
    prepare(Setup("float32", False, 1), seed=0)  # one thread, as in training: a process cannot change it later
    trained = list(members_of(run))
    names = [name for name in trained if is_refit(name)] or trained
    return load_model(run, max(names, key=lambda name: _early_stopping_score(run, name)))


def probabilities_of_file(path: Path, images: np.ndarray) -> np.ndarray:
    """Probabilities by a saved model, of plain images.

    A file does not say whether its model takes pixels 0…255 or 0…1, nor whether it ends with a softmax. The scale is
    the one with the lower log-loss on training digits of the sample, printed to stderr with the accuracy on them;
    outputs that are no probabilities are taken for logits.

    Args:
        path: see `read_model`.
        images: uint8 array (n, 28, 28, 1).

    Returns:
        float32 array (n, 10).

    Raises:
        CompetitionError: the file cannot be read.
    """
    prepare(Setup("float32", False, 0), seed=0)
    model = read_model(path)
    known = read_digits(SAMPLE_FILES[0], labelled=True)
    chosen, labels = known.images[:TRIED], np.asarray(known.labels)[:TRIED]
    tried = {scale: _probabilities(model, chosen * np.float32(scale)) for scale in SCALES}
    scale = min(SCALES, key=lambda scale: log_losses(labels, tried[scale]).mean())
    accuracy = (tried[scale].argmax(axis=1) == labels).mean()
    print(f"{path} with pixels {SCALES[scale]}: accuracy {accuracy:.3f} on {TRIED} training digits.", file=sys.stderr)
    return _probabilities(model, images * np.float32(scale))


def _probabilities(model, images: np.ndarray) -> np.ndarray:
    """Of a model that ends with a softmax or with logits: float32 array (n, 10)."""
    outputs = predict_logits(model, images)
    are_probabilities = (outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-3)
    return (outputs if are_probabilities else at_temperature(1, outputs)).astype(np.float32)


def _early_stopping_score(run: Run, name: str) -> tuple[float, float]:
    """Accuracy, then negative loss, on a member's early-stopping rows at the epoch whose weights were kept."""
    result = run.load_member(name)
    kept = result.history[result.facts["kept_epoch"] - 1]
    return float(kept["val_accuracy"]), -float(kept["val_loss"])
