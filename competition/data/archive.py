"""A file that should hold a CSV, plain, compressed or in a zip → the bytes of the CSV, in memory alone.

What holds none is named in the user's words: a web page, a Parquet file, a pointer of Git LFS.
"""

import bz2
import codecs
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from shlex import quote

from competition.errors import CompetitionError

LARGEST = 256 << 20  # bytes of one CSV, unpacked; train.csv has 77 million
HEAD = 512  # bytes that tell what a file is
# By their first bytes
COMPRESSED: dict[bytes, Callable] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
PACKED = (".gz", ".bz2", ".xz", ".zip")  # what may stand behind `.csv`
_DAMAGED = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
            NotImplementedError)  # fmt: skip
# How a filter mends a file, {}, whose lines may end in CRLF; the old one stays beside it.
MENDED = "tr -d '\\r' < {} | %s > {}.new && mv {} {}.old && mv {}.new {}"
AGAIN = "download it again, signed in to Kaggle"
UNPACK = "unpack it there"
# How files begin that hold no CSV: what each is, and what to do with it where that does not depend on what it is for.
KINDS = (
    (rb"\s*<(!doctype|html|\?xml|head|body)", "a web page, perhaps Kaggle's login page", AGAIN),
    (rb"version https://git-lfs", "a pointer of Git LFS, not the file itself", "git lfs pull"),
    (rb"PAR1", "a Parquet file", ""),
    (rb"ARROW1|FEA1", "a Feather file", ""),
    (rb"\x93NUMPY", "a NumPy array", ""),
    (rb"\x89HDF", "an HDF5 file", ""),
    (rb"\x80[\x02-\x05]", "a Python pickle", ""),
    (rb"MATLAB", "a MATLAB file", ""),
    (rb"\xd0\xcf\x11\xe0", "an Excel file", ""),
    (rb"SQLite format 3", "a SQLite database", ""),
    (rb"(%[^\n]*\n|\s)*@relation", "an ARFF file", ""),
    (rb"\s*[\[{]", "a JSON file", ""),
    (rb"\x00\x00\x08[\x01\x03]", "an IDX file, as MNIST comes", ""),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|BM|II\*|MM\x00\*|RIFF....WEBP", "a picture",
     "`make predict IMAGES=` labels pictures, training takes CSVs"),
    (rb"%PDF", "a PDF file", ""),
    (rb"7z\xbc\xaf|Rar!|.{257}ustar", "an archive that is no zip", UNPACK),
)  # fmt: skip


class FileProblem(Exception):
    """A rule that a file breaks; whoever knows what the file is for makes a CompetitionError of it.

    Attributes:
        rule: what is wanted.
        received: what there is.
        following: what mends it, with {} for the file; empty where that depends on what the file is for.
    """

    def __init__(self, rule: str, received: str, following: str = ""):
        super().__init__(rule, received, following)
        self.rule, self.received, self.following = rule, received, following

    def of(self, path: Path, otherwise: str) -> CompetitionError:
        """The line for the user.

        Args:
            path: the file.
            otherwise: what to do where the problem does not say it, with {} for the file as well.
        """
        following = self.following or otherwise
        if "|" in following and _is_packed(path):
            following = "unpack {}, then the same command"
        following = following.replace("{}", quote(str(path)))
        stop = "" if self.received.endswith("?") else "."
        return CompetitionError(f"{path}: {self.rule}. Received: {self.received}{stop} Next: {following}.")


def _is_packed(path: Path) -> bool:
    """Whether a file is a zip or compressed, so that no filter of text mends it."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(HEAD).startswith((b"PK", *COMPRESSED))
    return False


def read_file(path: Path) -> bytes:
    """The bytes of a file as it is.

    Raises:
        FileProblem: there is none, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileProblem("it must be a file", "nothing there", "name one that is there") from None
    except IsADirectoryError:
        raise FileProblem("it must be a file", "a folder", "name a file in it") from None
    except OSError as error:
        raise FileProblem("it must be a readable file", str(error.strerror), "chmod u+r {}") from None


def unpacked(raw: bytes, name: str | None = None, sole: bool = True) -> bytes:
    """The CSV inside what was read.

    Args:
        raw: the bytes of a zip, of a gzip, bzip2 or xz file, or of the CSV itself.
        name: which file of a zip is wanted, in whatever folder of it.
        sole: whether the only file of a zip is taken whatever its name.

    Raises:
        FileProblem: it is damaged, holds something else, or more than the competition's files can.
    """
    for _ in range(2):  # as Kaggle once did, each CSV may be zipped again
        if raw.startswith(b"PK"):
            raw = _zip_entry(raw, name, sole)
    opened = next((opened for magic, opened in COMPRESSED.items() if raw.startswith(magic)), None)
    if opened:
        try:
            raw = _bounded(opened(io.BytesIO(raw)))
        except _DAMAGED as error:
            raise FileProblem("the compressed file must be whole", str(error) or type(error).__name__) from None
    if known := kind_of(raw[:HEAD]):
        raise FileProblem("the file must be text in Kaggle's CSV format", *known)
    return raw


def names_in(path: Path) -> set[str]:
    """Which plain names, like train.csv, the files of a zip have; empty where it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {plain_name(entry) for entry in _entries(archive)}
    except _DAMAGED:
        return set()


def plain_name(path: str | Path) -> str:
    """A file's name without folder, compression, case and a browser's (1): `X/Train (1).CSV.gz` → train.csv."""
    name = PurePosixPath(str(path).replace("\\", "/")).name.lower()
    name = re.sub(r" ?\(\d+\)(?=\.)", "", name)
    while name.endswith(PACKED) and "." in name.rpartition(".")[0]:
        name = name.rpartition(".")[0]
    return name


def kind_of(head: bytes) -> tuple[str, str] | None:
    """What a file is by its first bytes, and what to do with it; None for what may be a CSV."""
    matches = (
        (what, following) for magic, what, following in KINDS if re.match(magic, head, re.IGNORECASE | re.DOTALL)
    )
    return next(matches, None)


def decoded(raw: bytes) -> tuple[str, str]:
    """Text, and its encoding as people call it: UTF-8, or UTF-16 by its byte order mark.

    Raises:
        FileProblem: it is neither.
    """
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return raw.decode("utf-16" if wide else "utf-8-sig"), "UTF-16" if wide else "UTF-8"
    except UnicodeDecodeError:
        raise FileProblem("the file must be text in Kaggle's CSV format", "binary data") from None


def _zip_entry(raw: bytes, name: str | None, sole: bool) -> bytes:
    """One file of a zip."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            entries = _entries(archive)
            for entry in archive.namelist():
                if entry.startswith(("/", "\\")) or ".." in Path(entry.replace("\\", "/")).parts or ":" in entry:
                    raise FileProblem("a zip entry must stay in its folder", repr(entry[:60]))
            if "[Content_Types].xml" in entries:
                raise FileProblem("the file must be text in Kaggle's CSV format", "an Excel file")
            if entries and all(entry.endswith(".npy") for entry in entries):
                raise FileProblem("the file must be text in Kaggle's CSV format", "NumPy arrays")
            named = [entry for entry in entries if plain_name(entry) == name]
            if not named and sole and len(entries) == 1:
                named = entries
            if len(named) != 1:
                received = "several files" if name is None else f"{len(named)} of them" if named else "a zip without it"
                raise FileProblem(f"the zip must hold {name or 'one CSV'}", received)
            with archive.open(named[0]) as file:
                return _bounded(file)
    except _DAMAGED as error:
        raise FileProblem("the zip must be whole", str(error) or type(error).__name__, AGAIN) from None


def _entries(archive: zipfile.ZipFile) -> list[str]:
    """The files of a zip, without folders and what macOS adds."""
    names = dict.fromkeys(archive.namelist())  # a damaged zip may name one twice
    return [
        name for name in names if not name.endswith("/") and not re.search(r"(^|/)(__MACOSX/|\._|\.DS_Store)", name)
    ]


def _bounded(file) -> bytes:
    """All of a decompressed file, unless it is a bomb."""
    text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise FileProblem(f"a CSV of this competition has at most {LARGEST >> 20} MiB", "a larger one")
    return text
