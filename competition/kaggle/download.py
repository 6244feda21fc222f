"""The competition's files, from Kaggle into input/."""

import shutil
import time
from pathlib import Path

from tqdm import tqdm

from competition.data.constants import COMPETITION, REAL
from competition.data.dataset import find_csvs, unzip
from competition.data.digits import read_digits
from competition.errors import CompetitionError
from competition.kaggle import client
from competition.kaggle.credentials import found_credentials
from competition.runs import files
from competition.runs.folders import Folders

ROOM = 150 << 20  # bytes: the zip and its CSVs


def fetch_missing(folders: Folders, source: str = "auto") -> None:
    """Download the competition's files where input/ holds none of them, nor their zip.

    Args:
        source: `kaggle` insists on them; `auto` asks Kaggle where there are credentials; others need nothing of Kaggle.

    Raises:
        CompetitionError: Kaggle refused, the disk is full, or what came are not the competition's digits.
    """
    there = find_csvs(folders) or (folders.input / f"{COMPETITION}.zip").exists()
    if not there and (source == REAL or (source == "auto" and found_credentials())):
        download(folders)


def download(folders: Folders) -> None:
    """Download the competition's zip, unpack it, check its digits, and only then move all into input/.

    A broken download stays in a folder of its own beside it, where the next one goes on.

    Raises:
        CompetitionError: Kaggle refused, the disk is full, or what came are not the competition's digits.
    """
    started, partial = time.monotonic(), folders.input / ".download"
    _make_folder(partial)
    files.check_room(partial, ROOM)
    print(f"Downloading from Kaggle into {folders.input} …", flush=True)
    growing = partial / f"{COMPETITION}.zip"
    with tqdm(desc=growing.name, unit="B", unit_scale=True, leave=False, disable=None) as bar:
        client.download(partial, tick=lambda: bar.update(_size(growing) - bar.n))
    seconds, size = time.monotonic() - started, _size(growing)
    try:
        train, test = unzip(growing)
        sources = [read_digits(path, path is train, folders.cache).source for path in (train, test)]
        if sources != [REAL, REAL]:
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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CompetitionError(f"{folder} must be a writable folder. Received: {error.strerror}. "
                               "Next: --input FOLDER.") from None  # fmt: skip


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
