"""The competition's files, from Kaggle into input/."""

import shutil
import time
from pathlib import Path

from tqdm import tqdm

from competition.data.constants import COMPETITION, REAL
from competition.data.digits import read_digits
from competition.data.inputs import describe_files, find_files
from competition.errors import CompetitionError
from competition.kaggle import client
from competition.kaggle.credentials import found_credentials
from competition.runs import files
from competition.runs.folders import Folders

ROOM = 20 << 20  # bytes of the zip, from which its CSVs are read


def fetch_missing(folders: Folders, source: str = "auto") -> None:
    """Download the competition's files where input/ does not hold them.

    Args:
        source: `kaggle` insists on them; `auto` asks Kaggle where there are credentials and nothing in input/ looks
            like data; others need nothing of Kaggle.

    Raises:
        CompetitionError: Kaggle refused, the disk is full, or what came are not the competition's digits.
    """
    if find_files(folders.input) or (folders.input / f"{COMPETITION}.zip").exists():
        return  # a damaged zip is the user's to move away
    if source == REAL or (source == "auto" and not describe_files(folders.input) and found_credentials()):
        download(folders)


def download(folders: Folders) -> None:
    """Download the competition's zip, check its digits, and only then move it into input/.

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
        sources = [read_digits(growing, labelled, folders.cache).source for labelled in (True, False)]
        received = "" if sources == [REAL, REAL] else "a zip with other ones"
    except CompetitionError as error:
        received = str(error).partition(" Next: ")[0].removesuffix(".")
    if received:
        shutil.rmtree(partial)  # going on from damaged bytes would keep the damage
        raise CompetitionError(
            f"{COMPETITION}.zip must hold the competition's digits. Received: {received}. "
            "Next: `make data` downloads it again."
        )
    growing.replace(folders.input / growing.name)
    shutil.rmtree(partial)
    print(f"{growing.name}: {size / 1e6:.1f} MB in {seconds:.0f} s, content checked.")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CompetitionError(f"{folder} must be a writable folder. Received: {error.strerror}. "
                               "Next: --input FOLDER.") from None  # fmt: skip


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
