"""Pack the package into one folder for `kaggle kernels push`: a notebook or a script that trains, or one that predicts.

They come from templates/ and hold the package's own files, so they need no internet. The same package makes identical
files: dates are left out, and bzip2 compresses alike everywhere, which zlib does not.

Where the facts of Kaggle's machines come from, as of autumn 2026: https://www.kaggle.com/docs/notebooks ("12 hours
execution time for CPU and GPU notebook sessions"; the command line 2.2.5 assumes 12 hours as well; nine are the rule of
code competitions, of which this is none); https://github.com/Kaggle/kaggle-cli, docs/kernels.md and pull request 1198
(NvidiaTeslaT4 is "GPU T4 ×2", the default; a single one is not supported).
"""

import base64
import binascii
import io
import json
import re
import shutil
import zipfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from competition.config import choose_config
from competition.data.constants import COMPETITION
from competition.errors import CompetitionError
from competition.execution.budget import Budget
from competition.kaggle.inference import write_weights
from competition.kaggle.notebook import TEMPLATE, as_notebook, as_script, fill
from competition.runs import files
from competition.runs.folders import PACKAGE, Folders
from competition.runs.run import Run
from competition.runs.version import package_files

INFERENCE = TEMPLATE.with_name("inference.py")
LARGEST = 1_000_000  # bytes of source that Kaggle takes in one kernel
CODE_FILES = {"notebook": "kernel.ipynb", "script": "kernel.py"}
HOURS = 12  # after which Kaggle ends a session, whatever it has written
MARGIN = 30  # minutes of them: for the notebook around the training, and for members that take longer than the last
# Kaggle's names of them. On GPUs one member trains on each at a time, whatever the cores.
ACCELERATORS = {
    "t4": "NvidiaTeslaT4",  # two; they train in mixed_float16, as they compute bfloat16 in software
    "l4": "NvidiaL4",  # four; mixed_bfloat16. Kaggle lends them to participants of certain competitions only
    "none": "",  # four cores; float32 unless they have native bfloat16. Takes no GPU hours
}


def budget_of(folders: Folders, minutes: float | None, gpu: bool, recipe: str | None) -> Budget:
    """What a run may take, from now: the minutes that it is given, but on Kaggle no longer than a session lasts.

    Raises:
        CompetitionError: `minutes` is no positive number.
    """
    if folders.working is None:
        return Budget(minutes)
    longest = 60 * HOURS - MARGIN
    slow = not gpu and recipe in ("best", "reference")
    advice = " On a CPU, RECIPE=fast is quicker." if slow else ""
    return Budget(min(Budget(minutes).minutes or longest, longest), advice)


def pack(
    folder: Path,
    owner: str,
    recipe: str,
    settings: dict,
    kind: str = "notebook",
    minutes: float | None = None,
    accelerator: str = "t4",
) -> Path:
    """Write a kernel that trains, and its kernel-metadata.json.

    Args:
        folder: where to; it is made if need be.
        owner: the user name on Kaggle.
        recipe: a name in RECIPES.
        settings: fields of Config that differ from the recipe's; None leaves the recipe's.
        kind: `notebook` or `script`.
        minutes: that it trains; None: what Kaggle's limit leaves.
        accelerator: a name in ACCELERATORS.

    Returns:
        The folder.

    Raises:
        CompetitionError: a setting or `minutes` is out of range, the user name is none, or the kernel is too large.
    """
    owner = _checked(owner)
    settings = {name: value for name, value in settings.items() if value is not None}
    choose_config(recipe, "kaggle", settings)
    limit = {} if minutes is None else {"MINUTES": Budget(minutes).minutes}
    cells = fill(PACKED=packed_package(), RECIPE=recipe, SETTINGS=settings, **limit)
    title = f"Digit Recognizer {recipe}" + (" script" if kind == "script" else "")
    _write(folder, owner, title, cells, kind, accelerator)
    return folder


def pack_inference(
    folders: Folders, folder: Path, owner: str, run: Run, kind: str = "notebook", accelerator: str = "none"
) -> tuple[Path, str]:
    """Write a kernel that only predicts, and beside its folder, in `<folder>-weights`, the dataset that it needs.

    Args:
        folder: where to; what an earlier pack left there is replaced.
        owner: the user name on Kaggle.
        run: whose submitted members predict.
        kind: `notebook` or `script`.
        accelerator: a name in ACCELERATORS.

    Returns:
        The folder of the weights, and the dataset's name, `owner/slug`.

    Raises:
        CompetitionError: the user name is none, the run saw other data than the competition's or is damaged, or the
            kernel is too large.
    """
    owner, title = _checked(owner), f"Digit Recognizer {run.config.recipe}"
    folder = folder.absolute()
    weights, dataset = folder.with_name(f"{folder.name}-weights"), f"{owner}/{_slug(f'{title} weights')}"
    if weights.exists() and not (weights / "dataset-metadata.json").is_file():
        raise CompetitionError(
            f"The weights get a folder of their own. Received: {weights}, which holds something else. "
            "Next: --into another folder."
        )
    shutil.rmtree(weights, ignore_errors=True)
    write_weights(folders, run, weights, dataset, f"{title} weights")
    sha256 = files.sha256_of(run.submission_csv)
    cells = fill(INFERENCE, PACKED=packed_package(), RUN=run.name, SHA256=sha256)
    _write(folder, owner, f"{title} inference", cells, kind, accelerator, [dataset])
    return weights, dataset


def _checked(owner: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]+", owner):
        raise CompetitionError(
            f"A Kaggle user name has letters, digits and hyphens. Received: {owner!r}. Next: --username NAME."
        )
    return owner.lower()


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower())


def _write(
    folder: Path, owner: str, title: str, cells, kind: str, accelerator: str, datasets: Collection[str] = ()
) -> None:
    """Write a kernel's code file and its kernel-metadata.json."""
    content = as_notebook(cells) if kind == "notebook" else as_script(cells)
    # The command line sends a notebook as ASCII JSON on one line.
    size = len(json.dumps(json.loads(content))) if kind == "notebook" else len(content.encode())
    if size > LARGEST:
        raise CompetitionError(
            f"Kaggle takes kernels of up to {LARGEST} bytes. Received: {size}. Next: find what is large in {PACKAGE}."
        )
    metadata = {
        "id": f"{owner}/{_slug(title)}",
        "title": title,
        "code_file": CODE_FILES[kind],
        "language": "python",
        "kernel_type": kind,
        "is_private": True,
        "enable_gpu": accelerator != "none",
        "enable_tpu": False,
        "enable_internet": False,
        "machine_shape": ACCELERATORS[accelerator],
        "competition_sources": [COMPETITION],
        "dataset_sources": list(datasets),
        "kernel_sources": [],
        "model_sources": [],
        "keywords": [],
    }
    files.write(folder / CODE_FILES[kind], content)
    files.write_json(folder / "kernel-metadata.json", metadata)


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
        if packed is None:
            raise ValueError("no package")
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
