"""Where the digits lie: CSVs in input/, Kaggle's zip there, the embedded sample, or MNIST."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from competition.config import MNIST
from competition.data.constants import COMPETITION, PAGE, REAL, RULES, TEST, TRAIN
from competition.data.digits import Digits, LabelledDigits, content_hash, read_digits
from competition.data.inputs import KAGGLES_ZIP, MNIST_FILES, describe_files, find_csv, find_files
from competition.errors import CompetitionError, one_line
from competition.runs import files
from competition.runs.folders import SAMPLE, Folders

LARGEST_NPZ = 256 << 20  # bytes of MNIST's arrays, unpacked; they take 55 million
MNIST_WANTED = "--mnist-npz FILE, or a network where Keras can download it"
SAMPLE_FILES = SAMPLE / f"{TRAIN}.gz", SAMPLE / f"{TEST}.gz"
BANNER = f"""\
================================================================================
 This is the embedded SAMPLE: 6,000 training digits and 2,000 test digits.
 For the real data do one of these, then run the command again:
   - put {COMPETITION}.zip, downloaded in the browser from
     {PAGE}/data,
     into {{input}}/
   - create an API token at https://www.kaggle.com/settings and accept the rules:
     {RULES}
================================================================================"""


@dataclass(frozen=True)
class Dataset:
    """The competition's rows.

    Attributes:
        train: digits with labels.
        test: digits without.
        test_labels: int64 array (n_test,), the true labels of the sample's or MNIST's test digits; None for Kaggle's.
    """

    train: LabelledDigits
    test: Digits
    test_labels: np.ndarray | None

    @property
    def source(self) -> str:
        """Where both files come from, or `other` when they don't belong together."""
        return self.train.source if self.train.source == self.test.source else "other"


def obtain(folders: Folders, source: str = "auto") -> tuple[Path, Path]:
    """Find the files that hold the training and the test digits; twice the same, where it is a zip.

    Args:
        source: `auto` takes what lies in input/, and the sample where nothing there looks like data; `kaggle` leaves
            out the sample and `sample` all else.

    Raises:
        CompetitionError: what there is cannot be used; nothing is tried in its place.
    """
    if source != "sample":
        if found := find_files(folders.input):
            return found
        described = describe_files(folders.input)
        if described or source == REAL:
            raise _unusable(folders.input, described)
    print(BANNER.format(input=folders.input))
    return SAMPLE_FILES


def _unusable(folder: Path, described: list[tuple[str, str]]) -> CompetitionError:
    """What lies in input/ and what to do with it."""
    received = "; ".join(what for what, _ in described[:3]) or "nothing there"
    more = f" and {len(described) - 3} more" if len(described) > 3 else ""
    todo = list(dict.fromkeys(following for _, following in described)) or [KAGGLES_ZIP.replace("{}", str(folder))]
    renaming = [following for following in todo if following.startswith("mv ") and ", " not in following]
    following = " && ".join(renaming) or todo[0]
    return CompetitionError(
        f"{folder} must hold {TRAIN} and {TEST}, or Kaggle's {COMPETITION}.zip. Received: {received}{more}. "
        f'Next: {following}; or ARGS="--source sample".'
    )


def load_dataset(folders: Folders, source: str = "auto") -> Dataset:
    """Read and check both files, from the cache where they were read before.

    Args:
        source: as `obtain` takes it; or one of MNIST, for the baselines.

    Raises:
        CompetitionError: a file breaks a rule.
    """
    return _read_mnist(folders, source) if source in MNIST else _read(folders, *obtain(folders, source))


def load_dataset_of(folders: Folders, manifest: dict) -> Dataset:
    """The data that a run was made from.

    Args:
        manifest: the run's.

    Raises:
        CompetitionError: it is not there any more, or other data is in its place.
    """
    source = manifest["source"]
    if source == "sample" and SAMPLE.is_dir():  # a kernel brings no sample of its own
        dataset = _read(folders, *SAMPLE_FILES)  # without its banner: it was read when the run was made
    else:
        dataset = load_dataset(folders, source if source in MNIST else REAL)
    for digits, name, wanted in zip(
        (dataset.train, dataset.test), (TRAIN, TEST), manifest["identity"]["data"], strict=True
    ):
        if digits.sha256 != wanted:
            raise CompetitionError(
                f"The run needs the {name} that it was made from, content {wanted[:12]}…. Received: content "
                f"{digits.sha256[:12]}… in {folders.input}. Next: --input with the folder of the run's own data."
            )
    return dataset


def remarks(dataset: Dataset) -> list[str]:
    """What is odd about rows that are each in order, a line each: those that repeat."""
    train, test = ([row.tobytes() for row in digits.images] for digits in (dataset.train, dataset.test))
    leaked, twice = len(test) - len(set(test) - set(train)), len(train) - len(set(train))
    lines = []
    if twice:
        lines.append(f"{twice:,} training digits repeat another one: their out-of-fold score is too good")
    if leaked:
        lines.append(f"{leaked:,} test digits are also training digits, or stand there twice")
    return lines


def known_labels(folders: Folders) -> np.ndarray:
    """The labels of input/'s training digits, or the sample's where there are none: int64 array (n,)."""
    found = find_files(folders.input)
    try:
        return read_digits(found[0] if found else SAMPLE_FILES[0], labelled=True, cache=folders.cache).labels
    except CompetitionError:
        return read_digits(SAMPLE_FILES[0], labelled=True, cache=folders.cache).labels


def mnist_at_hand(folders: Folders) -> str | None:
    """Which of MNIST's sources can be had without a download; None if neither."""
    if _find_npz(folders.mnist_npz):
        return "mnist-keras"
    return "mnist-csv" if all(find_csv(folders.input, name) for name in MNIST_FILES) else None


def _read(folders: Folders, train_path: Path, test_path: Path) -> Dataset:
    train = read_digits(train_path, labelled=True, cache=folders.cache)
    test = read_digits(test_path, labelled=False, cache=folders.cache)
    test_labels = None
    if test_path.parent == SAMPLE:
        test_labels = np.loadtxt(SAMPLE / "test_labels.csv", np.int64, delimiter=",", skiprows=1)[:, 1]
    return Dataset(train, test, test_labels)


def _read_mnist(folders: Folders, source: str) -> Dataset:
    """MNIST's 60,000 and 10,000: its test labels are known, and no member sees them."""
    if source == "mnist-csv":
        paths = [path for name in MNIST_FILES if (path := find_csv(folders.input, name))]
        if len(paths) < 2:
            raise CompetitionError(
                f"{folders.input} must hold {' and '.join(MNIST_FILES)}. Received: "
                f"{'one of them' if paths else 'neither'}. Next: put them there, or --source mnist-keras."
            )
        read = [read_digits(path, labelled=True, cache=folders.cache, header=False) for path in paths]
        (images, labels), (test, test_labels) = [(digits.images, digits.labels) for digits in read]
    else:
        path = _find_npz(folders.mnist_npz) or _download_npz()
        (images, labels), (test, test_labels) = _read_npz(path)
    train = LabelledDigits(images, labels, source, content_hash(images, labels))
    return Dataset(train, Digits(test, None, source, content_hash(test, None)), test_labels)


def _find_npz(given: Path | None) -> Path | None:
    """The given file, or the one in Keras's cache; None where there is none."""
    kept = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets" / "mnist.npz"
    return given or (kept if kept.is_file() else None)


def _download_npz() -> Path:
    """Let Keras download the file into its cache, checked by its hash.

    Raises:
        CompetitionError: it cannot.
    """
    load = [sys.executable, "-c", "import keras; keras.datasets.mnist.load_data()"]  # a child: no Keras in this room
    done = subprocess.run(load, capture_output=True, text=True, errors="replace")
    if done.returncode:
        problem = done.stderr.strip().rpartition("\n")[2][:150] or f"exit code {done.returncode}"
        raise CompetitionError(f"MNIST must be at hand. Received: no file, and {problem}. Next: {MNIST_WANTED}.")
    path = _find_npz(None)
    if path is None:
        raise CompetitionError(f"MNIST must be in Keras's cache. Received: no file there. Next: {MNIST_WANTED}.")
    return path


def _read_npz(path: Path) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Read and check the arrays; nothing in the file is executed.

    Returns:
        (images, labels) of the training and of the test digits: uint8 (n, 28, 28, 1), 0 is paper, and int64 (n,).

    Raises:
        CompetitionError: the file is missing, damaged, too large or holds something else.
    """
    try:
        arrays = files.read_arrays(path, LARGEST_NPZ)
        return _checked_mnist(arrays["x_train"], arrays["y_train"]), _checked_mnist(arrays["x_test"], arrays["y_test"])
    except Exception as error:  # a damaged file raises whatever its bytes lead to
        raise CompetitionError(
            f"{path} must hold MNIST as Keras keeps it, x_train, y_train, x_test and y_test. Received: "
            f"{one_line(error)}. Next: {MNIST_WANTED}."
        ) from None


def _checked_mnist(images, labels) -> tuple[np.ndarray, np.ndarray]:
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28) or not len(images):
        raise ValueError(f"images of type {images.dtype} and shape {images.shape}")
    if labels.dtype.kind not in "ui" or labels.shape != images.shape[:1] or labels.min() < 0 or labels.max() > 9:
        raise ValueError(f"labels of type {labels.dtype} and shape {labels.shape}")
    return images[..., None], labels.astype(np.int64)
