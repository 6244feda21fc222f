"""Where the digits come from: CSVs in input/, Kaggle's zip, Kaggle itself, the embedded sample, or MNIST."""

import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from competition import files, kaggle_cli, mnist
from competition.config import MNIST
from competition.digits import Digits, content_hash, read_digits
from competition.errors import CompetitionError
from competition.folders import SAMPLE, Folders
from competition.kaggle_failures import COMPETITION, RULES, found_credentials
from competition.unpacking import zip_entry

ROOM = 150 << 20  # bytes: the zip and its CSVs
MNIST_FILES = "mnist_train.csv", "mnist_test.csv"
SAMPLE_FILES = SAMPLE / "train.csv.gz", SAMPLE / "test.csv.gz"
BANNER = """\
==================================================================================
 This is the embedded SAMPLE: 6,000 training and 2,000 test digits of the 70,000.
 For the real data do one of these, then run the command again:
   - put digit-recognizer.zip, downloaded in the browser from
     https://www.kaggle.com/competitions/digit-recognizer/data, into {input}/
   - create an API token at https://www.kaggle.com/settings and accept the rules at
     {rules}
=================================================================================="""


@dataclass(frozen=True)
class Data:
    """The competition's rows.

    Attributes:
        train: digits with labels.
        test: digits without.
        answers: int64 array (n_test,), the true labels of the sample's or MNIST's test digits; None for Kaggle's.
    """

    train: Digits
    test: Digits
    answers: np.ndarray | None

    @property
    def source(self) -> str:
        """Where both files come from, or `other` when they don't belong together."""
        return self.train.source if self.train.source == self.test.source else "other"


def obtain(folders: Folders, source: str = "auto") -> tuple[Path, Path]:
    """Find the train and test files; fetch them where they are not there yet.

    Args:
        source: `auto` tries input/, the zip in it, Kaggle's command line where there are credentials, and
            the sample, in this order; `kaggle` leaves out the sample and `sample` all else.

    Raises:
        CompetitionError: what there is cannot be used; nothing is tried in its place.
    """
    if source != "sample":
        found = [_csv(folders.input, name) for name in ("train.csv", "test.csv")]
        zipped = folders.input / f"{COMPETITION}.zip"
        if not any(found):
            if zipped.exists():
                found = _unzip(zipped)
            elif source == "kaggle" or found_credentials():
                found = download(folders)
        if all(found):
            return found[0], found[1]
        if any(found) or source == "kaggle":
            raise CompetitionError(
                f"{folders.input} must hold train.csv and test.csv. Received: "
                f"{'one of them' if any(found) else 'neither'}. Next: put {zipped.name} there and `make data`."
            )
    print(BANNER.format(input=folders.input, rules=RULES))
    return SAMPLE_FILES


def download(folders: Folders) -> list[Path]:
    """Download the competition's zip, unpack it, check its digits, and only then move all into input/.

    A broken download stays in a folder of its own beside it, where the next one goes on.

    Returns:
        train.csv and test.csv.

    Raises:
        CompetitionError: Kaggle refused, the disk is full, or what came are not the competition's digits.
    """
    started, partial = time.monotonic(), folders.input / ".download"
    _make_folder(partial)
    _check_room(partial, ROOM)
    print(f"Downloading from Kaggle into {folders.input} …", flush=True)
    growing = partial / f"{COMPETITION}.zip"
    with tqdm(desc=growing.name, unit="B", unit_scale=True, leave=False, disable=not sys.stderr.isatty()) as bar:
        kaggle_cli.download(partial, tick=lambda: bar.update(_size(growing) - bar.n))
    seconds, size = time.monotonic() - started, _size(growing)
    try:
        train, test = _unzip(growing)
        sources = [read_digits(path, path is train, folders.cache).source for path in (train, test)]
        if sources != ["kaggle", "kaggle"]:
            raise CompetitionError(
                f"{COMPETITION}.zip must hold the competition's digits. Received: a zip with other ones. "
                "Next: `make data` downloads it again."
            )
    except CompetitionError:
        shutil.rmtree(partial)  # going on from damaged bytes would keep the damage
        raise
    for path in sorted(partial.iterdir()):
        path.replace(folders.input / path.name)
    partial.rmdir()
    print(f"{growing.name}: {size / 1e6:.1f} MB in {seconds:.0f} s, content checked.")
    return [folders.input / path.name for path in (train, test)]


def load(folders: Folders, source: str = "auto") -> Data:
    """Read and check both files, from the cache where they were read before.

    Args:
        source: as `obtain` takes it; or one of MNIST, for the baselines.

    Raises:
        CompetitionError: a file breaks a rule.
    """
    return _read_mnist(folders, source) if source in MNIST else _read(folders, *obtain(folders, source))


def mnist_at_hand(folders: Folders) -> str | None:
    """Which of MNIST's sources can be had without a download; None if neither."""
    if mnist.find_npz(folders.mnist_npz):
        return "mnist-keras"
    return "mnist-csv" if all(_csv(folders.input, name) for name in MNIST_FILES) else None


def load_again(folders: Folders, manifest: dict) -> Data:
    """The data that a run was made from.

    Args:
        manifest: the run's.

    Raises:
        CompetitionError: it is not there any more, or other data is in its place.
    """
    source = manifest["source"]
    if source == "sample" and SAMPLE.is_dir():  # a kernel brings no sample of its own
        data = _read(folders, *SAMPLE_FILES)  # without its banner: it was read when the run was made
    else:
        data = load(folders, source if source in MNIST else "kaggle")
    for digits, name, wanted in zip(
        (data.train, data.test), ("train.csv", "test.csv"), manifest["identity"]["data"], strict=True
    ):
        if digits.sha256 != wanted:
            raise CompetitionError(
                f"The run needs the {name} that it was made from, content {wanted[:12]}…. Received: content "
                f"{digits.sha256[:12]}… in {folders.input}. Next: --input with the folder of the run's own data."
            )
    return data


def _read(folders: Folders, train_path: Path, test_path: Path) -> Data:
    train = read_digits(train_path, labelled=True, cache=folders.cache)
    test = read_digits(test_path, labelled=False, cache=folders.cache)
    answers = None
    if test_path.parent == SAMPLE:
        answers = np.loadtxt(SAMPLE / "test_labels.csv", np.int64, delimiter=",", skiprows=1)[:, 1]
    return Data(train, test, answers)


def _read_mnist(folders: Folders, source: str) -> Data:
    """MNIST's 60,000 and 10,000: its test labels are known, and no member is given them."""
    if source == "mnist-csv":
        paths = [_csv(folders.input, name) for name in MNIST_FILES]
        if not all(paths):
            raise CompetitionError(
                f"{folders.input} must hold {' and '.join(MNIST_FILES)}. Received: "
                f"{'one of them' if any(paths) else 'neither'}. Next: put them there, or --source mnist-keras."
            )
        read = [read_digits(path, labelled=True, cache=folders.cache, header=False) for path in paths]
        (images, labels), (test, answers) = [(digits.images, digits.labels) for digits in read]
    else:
        from competition import device  # noqa: F401  first: it keeps the backend's greetings away

        path = mnist.find_npz(folders.mnist_npz) or mnist.download_npz()
        (images, labels), (test, answers) = mnist.read_npz(path)
    train = Digits(images, labels, source, content_hash(images, labels))
    return Data(train, Digits(test, None, source, content_hash(test, None)), answers)


def _csv(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.exists()), None)


def _unzip(zipped: Path) -> list[Path]:
    """Unpack the competition's files beside their zip: checked first, then written whole."""
    try:
        raw = zipped.read_bytes()
    except OSError as error:
        raise CompetitionError(f"{zipped} must be a readable file. Received: {error.strerror}. "
                               f"Next: chmod u+r {zipped}.") from None  # fmt: skip
    names = ("train.csv", "test.csv", "sample_submission.csv")
    contents = [zip_entry(zipped, raw, name) for name in names]
    _check_room(zipped.parent, sum(map(len, contents)))
    for name, content in zip(names, contents, strict=True):
        files.write(zipped.with_name(name), content)
    return [zipped.with_name(name) for name in names[:2]]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CompetitionError(f"{folder} must be a writable folder. Received: {error.strerror}. "
                               "Next: --input FOLDER.") from None  # fmt: skip


def _check_room(folder: Path, needed: int) -> None:
    """Better said before a download than after it."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise _no_room(folder, f"{free >> 20} MiB free, {needed >> 20} MiB needed")


def _no_room(folder: Path, received: str) -> CompetitionError:
    return CompetitionError(f"There must be room in {folder}. Received: {received}. Next: free some 500 MB or "
                            "choose --input FOLDER, then `make data`.")  # fmt: skip
