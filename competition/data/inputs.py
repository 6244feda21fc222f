"""What lies in input/: the competition's files in whatever wrapper, and of all else what it is."""

import os
from itertools import islice
from pathlib import Path
from shlex import quote

from competition.data.archive import AGAIN, HEAD, PACKED, kind_of, names_in, plain_name
from competition.data.constants import COMPETITION, EXAMPLE, FILES, PAGE, TEST, TRAIN
from competition.errors import CompetitionError
from competition.runs.folders import SAMPLE

MNIST_FILES = "mnist_train.csv", "mnist_test.csv"
ITS_OWN = ("mnist.npz", "train-images", "train-labels", "t10k-images", "t10k-labels")  # how MNIST's files begin
KAGGLES_ZIP = f"put {COMPETITION}.zip, downloaded from {PAGE}/data, into {{}}"
FOR_BASELINES = "`make baselines` takes it, for training " + KAGGLES_ZIP
AS_CSV = f"save it as {TRAIN} and {TEST}, with the header label,pixel0,…,pixel783, {TEST} without label"
UNFINISHED = (".crdownload", ".part", ".partial", ".download", ".opdownload")
SET_ASIDE = (".old", ".bak", ".orig", ".new", ".tmp", "~")
TEXTS = (".csv", ".tsv", ".txt", ".data")
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".heic")


def find_files(folder: Path) -> tuple[Path, Path] | None:
    """The files that hold train.csv and test.csv beyond doubt; twice the same, where it is a zip.

    Two CSVs, whatever their case, compression or a browser's ` (1)`; else a zip with both, of several the newest one of
    Kaggle's name, or the newest; else the same one folder deeper.
    """
    for place in (folder, *filter(_is_open, _shown(folder))):
        train, test = find_csv(place, TRAIN), find_csv(place, TEST)
        if train and test:
            return train, test
        zips = [path for path in _shown(place) if path.suffix.lower() == ".zip" and path.is_file()]
        zips = [path for path in zips if names_in(path) >= {TRAIN, TEST}]
        zips = [path for path in zips if plain_name(path) == f"{COMPETITION}.zip"] or zips
        if zips:
            newest = max(zips, key=lambda path: (path.stat().st_mtime_ns, path.name))
            return newest, newest
    return None


def find_csv(folder: Path, name: str) -> Path | None:
    """The file that holds a CSV of that name, plain or compressed; the plainest where there are several."""
    named = [path for path in _shown(folder) if plain_name(path) == name]
    # Some tools unpack train.csv.zip into a folder of that name.
    found = [file for path in named for file in (_shown(path) if _is_open(path) else [path])]
    found = [path for path in found if plain_name(path) == name and path.is_file()]
    return min(
        found, key=lambda path: (not path.name.lower().startswith(name), len(path.name), path.name), default=None
    )


def describe_files(folder: Path) -> list[tuple[str, str]]:
    """What else looks like data in a folder.

    Returns:
        Of each file or folder: its name and what it is, and what to do with it.
    """
    described = []
    for path in _shown(folder):
        what, following = _described_folder(path) if path.is_dir() else _described(path)
        if what:
            described.append((f"{path.name}, {what}", following.replace("{}", str(folder))))
    return described


def _described(path: Path) -> tuple[str, str]:
    name, suffix, aside = plain_name(path), path.suffix.lower(), f"mv {quote(str(path))} {quote(f'{path}.old')}"
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        return f"which cannot be read ({error.strerror})", f"chmod u+r {quote(str(path))}"
    if name in (TRAIN, TEST):
        return f"without {TEST if name == TRAIN else TRAIN}", KAGGLES_ZIP
    if name in MNIST_FILES or name.startswith(ITS_OWN):
        return "of MNIST, which holds the labels of Kaggle's test digits", FOR_BASELINES
    if suffix in UNFINISHED:
        return "an unfinished download", f"wait for its end, or {KAGGLES_ZIP}"
    if head.startswith(b"PK"):
        inside = names_in(path)
        if "[content_types].xml" in inside:
            return "an Excel file", AS_CSV
        if inside and all(name.endswith(".npy") for name in inside):
            return "NumPy arrays", AS_CSV
        if not inside:
            return "a damaged zip", f"{aside}, and {AGAIN}"
        lacking = " and ".join(name for name in (TRAIN, TEST) if name not in inside)
        return f"a zip without {lacking}", KAGGLES_ZIP
    if suffix == ".zip":
        return (kind_of(head) or ("no zip at all",))[0], f"{aside}, and {AGAIN}"
    if known := kind_of(head):
        return known[0], known[1] or AS_CSV
    if name == EXAMPLE:
        return "an example of a submission, no digits", KAGGLES_ZIP
    if path.name.lower().removesuffix(".txt") in FILES and suffix == ".txt":
        return "a CSV with .txt behind its name", f"mv {quote(str(path))} {quote(str(path.with_suffix('')))}"
    if suffix in (*TEXTS, *PACKED) and (suffix != ".txt" or head.count(b",") + head.count(b";") > 20):
        return "a file of another name", f"name it {TRAIN} if its digits have labels, {TEST} if not"
    return "", ""


def _described_folder(folder: Path) -> tuple[str, str]:
    """A folder that holds pictures, or something that looks like data, or that cannot be read."""
    if not _is_open(folder):
        return "a folder that cannot be read", f"chmod u+rx {quote(str(folder))}"
    if pictures := [path for path in islice(folder.rglob("*"), 1000) if path.suffix.lower() in PICTURES]:
        command = f"`make predict IMAGES='{pictures[0].parent}/*{pictures[0].suffix}'` labels pictures"
        return "a folder of pictures", f"{command}, for training {KAGGLES_ZIP}"
    inside = ((path.name, *_described(path)) for path in _shown(folder) if path.is_file())
    return next(((f"a folder with {name}, {what}", following) for name, what, following in inside if what), ("", ""))


def _shown(folder: Path) -> list[Path]:
    """What lies in a folder, less what is hidden, set aside, or this package's own."""
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX")))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CompetitionError(
            f"{folder} must be a folder that can be read. Received: {error.strerror}. Next: --input FOLDER."
        ) from None
    return [path for path in paths if path.resolve() != SAMPLE and not path.name.lower().endswith(SET_ASIDE)]


def _is_open(path: Path) -> bool:
    """Whether it is a folder that can be read."""
    return path.is_dir() and os.access(path, os.R_OK | os.X_OK)
