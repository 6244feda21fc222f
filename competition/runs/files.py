"""Atomic writes and file locks."""

import csv
import fcntl
import hashlib
import io
import json
import os
import shutil
import socket
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np

from competition.errors import CompetitionError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; flush and rename it when the block ends well.

    When the block raises, or the disk is full, `path` is as it was and the temporary file is gone.

    Raises:
        CompetitionError: the disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _no_room(path, error) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed processes left; the folder must be this process's alone."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def lock(path: Path) -> TextIO | None:
    """Lock a file for this process, without waiting.

    The lock is the system's (POSIX): it ends with the process, however that ends, so none is ever stale, and
    no child inherits it. Where a file system knows no locks, nothing is locked.

    Returns:
        The open file, which is the lock; None when another process holds it: `lock_holder` says which.

    Raises:
        CompetitionError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise _no_room(path, error) from None
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.close()
        return None
    except OSError:
        return file
    with suppress(OSError):
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
    return file


def lock_holder(path: Path) -> str:
    """Who holds a lock, as far as is known."""
    with suppress(OSError, ValueError):
        return path.read_text("utf-8") or "another process"
    return "another process"


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process is in such a block for `path`: for what is read, changed and written again."""
    lock_path = path.with_name(f".{path.name}.lock")
    try:
        lock_path.parent.mkdir(parents=True, exist_ok=True)
        with lock_path.open("a") as file:
            with suppress(OSError):  # a file system without locks
                fcntl.lockf(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise _no_room(path, error) from None


def write(path: Path, content: bytes | str) -> None:
    """Write a whole file, or leave what was there. Text is UTF-8 whatever the locale."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_table(path: Path) -> list[dict]:
    """The rows of a CSV file, values as text; those that a row lacks are blank.

    Raises:
        CompetitionError: it is no CSV file, names a column twice, or a row has more values than there are columns.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="")
            rows, columns = list(reader), reader.fieldnames or []
        crowded = next((number for number, row in enumerate(rows, start=1) if None in row), None)
        if crowded is None and len(set(columns)) == len(columns):
            return rows
        problem = "a column twice" if crowded is None else f"more values than columns in row {crowded}"
    except (OSError, ValueError, csv.Error) as error:
        problem = str(error)
    raise CompetitionError(f"{path} must be a CSV file. Received: {problem}. Next: mend it, or move it away.")


def write_table(path: Path, columns, rows) -> None:
    """Write dicts as a CSV file; a column that a row lacks stays blank, and other keys are left out."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write(path, text.getvalue())


def write_json(path: Path, content: dict) -> None:
    """Write a JSON file, indented."""
    write(path, json.dumps(content, indent=2) + "\n")


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an .npz file of named arrays."""
    with replacing(path) as file:
        # NumPy before 2.1 takes allow_pickle=False for one more array
        np.savez(file, **arrays)  # type: ignore[arg-type]  # by its stubs an array could be `allow_pickle`


def read_arrays(path: Path, largest: int) -> dict[str, np.ndarray]:
    """The named arrays of an .npz file; nothing in it is executed.

    Args:
        largest: bytes that they may take, unpacked.

    Raises:
        Exception: it is no such file, damaged or larger; a damaged zip raises whatever its bytes lead to.
    """
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > largest:
            raise ValueError(f"more than {largest >> 20} MiB")
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def check_room(folder: Path, needed: int) -> None:
    """Raise CompetitionError where so many bytes do not fit into a folder: better before they come."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CompetitionError(
            f"There must be room in {folder}. Received: {free >> 20} MiB free, {needed >> 20} MiB needed. "
            "Next: free some, or choose --input FOLDER; then the same command."
        )


def _no_room(path: Path, error: OSError) -> CompetitionError:
    return CompetitionError(
        f"There must be room in {path.parent}, and leave to write. Received: {error.strerror or error}, for "
        f"{path.name}. Next: free some, or name another folder; the same command goes on from what is kept."
    )
