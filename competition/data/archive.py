"""A file of the competition, plain, gzipped or in Kaggle's zip → the bytes of its CSV, in memory alone."""

import gzip
import io
import zipfile
import zlib
from pathlib import Path

from competition.errors import CompetitionError

LARGEST = 256 << 20  # bytes of one CSV, unpacked; train.csv has 77 million
_DAMAGED = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, NotImplementedError)
GET_DATA = "`make data` brings the competition's files"
EXPLAINED = "competition/data/README.md"  # what each of these messages means


def read_file(path: Path) -> bytes:
    """The bytes of a file as it is.

    Raises:
        CompetitionError: there is none, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CompetitionError(f"{path} must be a file. Received: nothing there. Next: {GET_DATA}.") from None
    except IsADirectoryError:
        raise CompetitionError(f"{path} must be a file. Received: a folder. Next: {GET_DATA}.") from None
    except OSError as error:
        raise CompetitionError(
            f"{path} must be readable. Received: {error.strerror}. Next: chmod u+r {path}."
        ) from None


def unpacked(path: Path, raw: bytes, name: str) -> bytes:
    """The CSV inside what was read.

    Args:
        path: the file's name, for messages.
        raw: its bytes: a zip, gzip or the CSV itself.
        name: which entry of a zip.

    Raises:
        CompetitionError: the zip or gzip file is damaged, or holds more than the competition's files can.
    """
    if raw[:4] == b"PK\x03\x04" or path.suffix == ".zip":
        return zip_entry(path, raw, name)
    if raw[:2] == b"\x1f\x8b":
        try:
            return _bounded(path, gzip.GzipFile(fileobj=io.BytesIO(raw)))
        except _DAMAGED as error:
            raise refusal(path, "the gzip file must be whole", str(error) or type(error).__name__) from None
    return raw


def zip_entry(path: Path, raw: bytes, name: str) -> bytes:
    """One file out of Kaggle's zip.

    Args:
        path: the zip's name, for messages.
        raw: the zip's bytes.
        name: which entry, at the top of the zip.

    Raises:
        CompetitionError: not a zip, damaged, without the entry, holding a name that would escape the
            folder it is unpacked in, or larger than the competition's files can be.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            for entry in archive.namelist():
                if entry.startswith(("/", "\\")) or ".." in Path(entry.replace("\\", "/")).parts or ":" in entry:
                    raise refusal(path, "a zip entry must stay in its folder", repr(entry[:60]))
            if name not in archive.namelist():
                raise refusal(path, f"the zip must hold {name}", "a zip without it")
            with archive.open(name) as file:
                return _bounded(path, file)
    except _DAMAGED as error:
        raise refusal(path, "the zip must be whole", str(error) or type(error).__name__) from None


def refusal(path: Path, rule: str, received: str) -> CompetitionError:
    """What is raised of a file that breaks a rule of the competition's files."""
    return CompetitionError(f"{path}: {rule}. Received: {received}. Next: {GET_DATA}; see {EXPLAINED}.")


def _bounded(path: Path, file) -> bytes:
    """All of a decompressed file, unless it is a bomb."""
    text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise refusal(path, f"a CSV of this competition has at most {LARGEST >> 20} MiB", "a larger one")
    return text
