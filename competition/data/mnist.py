"""MNIST as Keras keeps it: one .npz file of 60,000 training and 10,000 test digits, all with labels.

It holds the labels of the competition's test digits, so it serves the baselines alone (see `config.choose_config`).
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from competition.errors import CompetitionError, one_line
from competition.runs import files

LARGEST = 256 << 20  # bytes of the arrays, unpacked; MNIST's take 55 million
WANTED = "--mnist-npz FILE, or a network where Keras can download it"


def find_npz(given: Path | None) -> Path | None:
    """The given file, or the one in Keras's cache; None where there is none."""
    kept = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets" / "mnist.npz"
    return given or (kept if kept.is_file() else None)


def download_npz() -> Path:
    """Let Keras download the file into its cache, checked by its hash.

    Raises:
        CompetitionError: it cannot.
    """
    load = [sys.executable, "-c", "import keras; keras.datasets.mnist.load_data()"]  # a child: no Keras in this room
    done = subprocess.run(load, capture_output=True, text=True, errors="replace")
    if done.returncode:
        problem = done.stderr.strip().rpartition("\n")[2][:150] or f"exit code {done.returncode}"
        raise CompetitionError(f"MNIST must be at hand. Received: no file, and {problem}. Next: {WANTED}.")
    path = find_npz(None)
    if path is None:
        raise CompetitionError(f"MNIST must be in Keras's cache. Received: no file there. Next: {WANTED}.")
    return path


def read_npz(path: Path) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Read and check the arrays; nothing in the file is executed.

    Returns:
        (images, labels) of the training and of the test digits: uint8 (n, 28, 28, 1), 0 is paper, and int64 (n,).

    Raises:
        CompetitionError: the file is missing, damaged, too large or holds something else.
    """
    try:
        arrays = files.read_arrays(path, LARGEST)
        return _checked(arrays["x_train"], arrays["y_train"]), _checked(arrays["x_test"], arrays["y_test"])
    except Exception as error:  # a damaged file raises whatever its bytes lead to
        raise CompetitionError(
            f"{path} must hold MNIST as Keras keeps it, x_train, y_train, x_test and y_test. Received: "
            f"{one_line(error)}. Next: {WANTED}."
        ) from None


def _checked(images, labels) -> tuple[np.ndarray, np.ndarray]:
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28) or not len(images):
        raise ValueError(f"images of type {images.dtype} and shape {images.shape}")
    if labels.dtype.kind not in "ui" or labels.shape != images.shape[:1] or labels.min() < 0 or labels.max() > 9:
        raise ValueError(f"labels of type {labels.dtype} and shape {labels.shape}")
    return images[..., None], labels.astype(np.int64)
