"""Pack the package into one folder for `kaggle kernels push`: a notebook or a script that trains, or one that predicts.

They come from templates/ and hold the package's own files, so they need no internet. The same package makes identical
files: dates are left out, and bzip2 compresses alike everywhere, which zlib does not.

Where the facts of Kaggle's machines come from, as of autumn 2026: https://www.kaggle.com/docs/notebooks ("12 hours
execution time for CPU and GPU notebook sessions"; the command line 2.2.5 assumes 12 hours as well; nine are the rule of
code competitions, of which this is none); https://github.com/Kaggle/kaggle-cli, docs/kernels.md and pull request 1198
(NvidiaTeslaT4 is "GPU T4 ×2", the default; a single one is not supported).
"""

import json
import re
import shutil
from pathlib import Path

from competition.config import choose_config
from competition.data.constants import COMPETITION
from competition.errors import CompetitionError
from competition.execution.budget import Budget
from competition.kaggle.inference import write_description, write_package, write_weights
from competition.kaggle.notebook import TEMPLATE, as_notebook, as_script, fill, packed_package
from competition.runs import files
from competition.runs.folders import PACKAGE, Folders
from competition.runs.run import Run
from competition.runs.version import repository_url

TITLE = 5, 50  # characters of a title and of its slug; Kaggle answers 500 to longer ones (kaggle-cli, pull request 179)
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
    title: str = "",
    public: bool = False,
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
        title: what Kaggle lists it under; empty: named after the recipe.
        public: whether everybody sees it. The package then goes along as a dataset (see `dataset_beside`), and readers
            meet code that they can read.

    Returns:
        The folder.

    Raises:
        CompetitionError: a setting or `minutes` is out of range, the user name or the title is none that Kaggle takes,
            or the kernel is too large.
    """
    owner = _checked(owner)
    title = _checked_title(title or f"Digit Recognizer {recipe}" + (" script" if kind == "script" else ""))
    settings = {name: value for name, value in settings.items() if value is not None}
    choose_config(recipe, "kaggle", settings)
    limit = {} if minutes is None else {"MINUTES": Budget(minutes).minutes}
    values = {"RECIPE": recipe, "SETTINGS": settings, **limit}
    dataset = f"{owner}/digit-recognizer-package" if public else ""
    if dataset:
        beside = _emptied_beside(folder)
        write_package(beside)
        write_description(beside, dataset, "Digit Recognizer package")
    _write(folder, owner, title, TEMPLATE, values, kind, accelerator, public, dataset)
    return folder


def pack_inference(
    folders: Folders,
    folder: Path,
    owner: str,
    run: Run,
    kind: str = "notebook",
    accelerator: str = "none",
    title: str = "",
    public: bool = False,
) -> Path:
    """Write a kernel that only predicts, and beside its folder the dataset that it needs (see `dataset_beside`).

    Args:
        folder: where to; what an earlier pack left there is replaced.
        owner: the user name on Kaggle.
        run: whose members predict.
        kind: `notebook` or `script`.
        accelerator: a name in ACCELERATORS.
        title, public: as for `pack`.

    Returns:
        The folder.

    Raises:
        CompetitionError: the user name or the title is none that Kaggle takes, the run saw other data than the
            competition's or is damaged, or the kernel is too large.
    """
    owner, recipe = _checked(owner), f"Digit Recognizer {run.config.recipe}"
    title = _checked_title(title or f"{recipe} inference")
    dataset = f"{owner}/{_slug(f'{recipe} weights')}"
    beside = _emptied_beside(folder)
    write_weights(folders, run, beside)
    if public:
        write_package(beside)
    write_description(beside, dataset, f"{recipe} weights")
    values = {"RUN": run.name, "SHA256": files.sha256_of(run.submission_csv)}
    _write(folder, owner, title, INFERENCE, values, kind, accelerator, public, dataset)
    return folder


def dataset_beside(folder: Path) -> Path | None:
    """The folder of the dataset that a packed kernel needs, `<folder>-dataset`; None where it needs none."""
    needed = json.loads((folder / "kernel-metadata.json").read_text("utf-8"))["dataset_sources"]
    return _beside(folder) if needed else None


def _beside(folder: Path) -> Path:
    return folder.absolute().with_name(f"{folder.absolute().name}-dataset")


def _emptied_beside(folder: Path) -> Path:
    """An empty place for the dataset beside a kernel's folder; what an earlier pack left there goes."""
    beside = _beside(folder)
    if beside.exists() and not (beside / "dataset-metadata.json").is_file():
        raise CompetitionError(
            f"The dataset gets a folder of its own. Received: {beside}, which holds something else. "
            "Next: --into another folder."
        )
    shutil.rmtree(beside, ignore_errors=True)
    return beside


def _checked(owner: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]+", owner):
        raise CompetitionError(
            f"A Kaggle user name has letters, digits and hyphens. Received: {owner!r}. Next: --username NAME."
        )
    return owner.lower()


def _checked_title(title: str) -> str:
    least, most = TITLE
    if not (least <= len(title) <= most and least <= len(_slug(title)) <= most and "\n" not in title):
        raise CompetitionError(
            f"A kernel's title has {least} to {most} characters, and so have its letters and digits as an address. "
            f"Received: {title!r}, of {len(title)}, as {_slug(title)!r}. Next: another TITLE=."
        )
    return title


def _slug(title: str) -> str:
    """The address that Kaggle makes of a title, as its command line does."""
    from slugify import slugify

    return slugify(title)


def _write(
    folder: Path,
    owner: str,
    title: str,
    template: Path,
    values: dict,
    kind: str,
    accelerator: str,
    public: bool,
    dataset: str,
) -> None:
    """Write a kernel's code file and its kernel-metadata.json."""
    packed = {} if public else {"PACKED": packed_package()}
    cells = fill(template, "attached" if public else "packed", **packed, **values)
    if public:
        cells[0] = "markdown", re.sub("^# # .*", lambda _: f"# # {title}", cells[0][1])
    if url := repository_url():
        cells.append(("markdown", f"# The whole package, with its tests and measured runs: <{url}>"))
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
        "is_private": not public,
        "enable_gpu": accelerator != "none",
        "enable_tpu": False,
        "enable_internet": False,
        "machine_shape": ACCELERATORS[accelerator],
        "competition_sources": [COMPETITION],
        "dataset_sources": [dataset] if dataset else [],
        "kernel_sources": [],
        "model_sources": [],
        "keywords": [],
    }
    files.write(folder / CODE_FILES[kind], content)
    files.write_json(folder / "kernel-metadata.json", metadata)
