"""Pack the package and a recipe into one folder for `kaggle kernels push`: a notebook, or a script.

Both come from `templates/walkthrough.py` and hold the package's own files, so they need no internet. The same
package makes the same bytes: dates are left out, and bzip2 compresses alike everywhere, which zlib does not.
"""

import base64
import binascii
import io
import json
import re
import zipfile
from pathlib import Path, PurePosixPath

from competition.config import choose_config
from competition.data.constants import COMPETITION
from competition.errors import CompetitionError
from competition.execution.budget import Budget
from competition.kaggle.notebook import as_notebook, as_script, fill
from competition.runs import files
from competition.runs.folders import PACKAGE
from competition.runs.version import package_files

LARGEST = 1_000_000  # bytes of source that Kaggle takes in one kernel
CODE_FILES = {"notebook": "kernel.ipynb", "script": "kernel.py"}


def pack(
    folder: Path, owner: str, recipe: str, settings: dict, kind: str = "notebook", minutes: float | None = None
) -> Path:
    """Write a kernel and its kernel-metadata.json.

    Args:
        folder: where to; it is made if need be.
        owner: the user name on Kaggle.
        recipe: a name in RECIPES.
        settings: fields of Config that differ from the recipe's; None leaves the recipe's.
        kind: `notebook` or `script`.
        minutes: that it trains; None: what Kaggle's limit leaves.

    Returns:
        The folder.

    Raises:
        CompetitionError: a setting or `minutes` is out of range, the user name is none, or the kernel is too large.
    """
    if not re.fullmatch(r"[A-Za-z0-9-]+", owner):
        raise CompetitionError(
            f"A Kaggle user name has letters, digits and hyphens. Received: {owner!r}. Next: --username NAME."
        )
    settings = {name: value for name, value in settings.items() if value is not None}
    choose_config(recipe, "kaggle", settings)
    limit = {} if minutes is None else {"MINUTES": Budget(minutes).minutes}
    cells = fill(PACKED=packed_package(), RECIPE=recipe, SETTINGS=settings, **limit)
    content = as_notebook(cells) if kind == "notebook" else as_script(cells)
    # The command line sends a notebook as ASCII JSON on one line.
    size = len(json.dumps(json.loads(content))) if kind == "notebook" else len(content.encode())
    if size > LARGEST:
        raise CompetitionError(
            f"Kaggle takes kernels of up to {LARGEST} bytes. Received: {size}. Next: find what is large in {PACKAGE}."
        )
    title = f"Digit Recognizer {recipe}" + " script" * (kind == "script")
    metadata = {
        "id": f"{owner.lower()}/{re.sub(r'[^a-z0-9]+', '-', title.lower())}",
        "title": title,
        "code_file": CODE_FILES[kind],
        "language": "python",
        "kernel_type": kind,
        "is_private": True,
        "enable_gpu": True,
        "enable_tpu": False,
        "enable_internet": False,
        "machine_shape": "NvidiaTeslaT4",  # two of them
        "competition_sources": [COMPETITION],
        "dataset_sources": [],
        "kernel_sources": [],
        "model_sources": [],
        "keywords": [],
    }
    files.write(folder / CODE_FILES[kind], content)
    files.write(folder / "kernel-metadata.json", json.dumps(metadata, indent=2) + "\n")
    return folder


def unpack(file: Path, folder: Path) -> list[Path]:
    """Get the package's files back out of a kernel, byte for byte.

    Args:
        file: a notebook or script that `pack` wrote, also as it came back from Kaggle.
        folder: where to; it must not hold a `competition/` yet.

    Returns:
        The files written.

    Raises:
        CompetitionError: the file holds no package, or the folder holds one already.
    """
    try:
        text = file.read_text("utf-8")
        if file.suffix == ".ipynb":
            text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
        packed = re.search(r'^PACKED = """([A-Za-z0-9+/=\s]+)"""', text, re.MULTILINE)
        with zipfile.ZipFile(io.BytesIO(base64.b64decode(packed[1]))) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        if any(PurePosixPath(name).parts[0] != PACKAGE.name or ".." in name or "\\" in name for name in content):
            raise ValueError("names outside the package")
    except (OSError, ValueError, KeyError, TypeError, IndexError, binascii.Error, zipfile.BadZipFile) as error:
        raise CompetitionError(
            f"A kernel that `make kernel` packed holds the package. Received: {file}, {error}. "
            "Next: name its .ipynb or .py file."
        ) from None
    if (folder / PACKAGE.name).exists():
        raise CompetitionError(
            f"A package is unpacked where there is none. Received: {folder / PACKAGE.name} exists. Next: --into FOLDER."
        )
    for name, data in content.items():
        files.write(folder / name, data)
    return [folder / name for name in content]


def packed_package() -> str:
    """The package's files as a zip archive in base64, in lines of 100 characters."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2) as archive:
        for path in package_files():
            entry = zipfile.ZipInfo(path.relative_to(PACKAGE.parent).as_posix())  # dated 1980
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_BZIP2, 3, 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    text = base64.b64encode(buffer.getvalue()).decode()
    return "".join(f"\n{text[i : i + 100]}" for i in range(0, len(text), 100)) + "\n"
