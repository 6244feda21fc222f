"""Pack the package and a recipe into one folder for `kaggle kernels push`: a notebook, or a script.

Both come from `kernel_template.py` and hold the package's own files, so they need no internet. The same
sources make the same bytes: dates are left out, and bzip2 compresses alike everywhere, which zlib does not.
"""

import base64
import binascii
import io
import json
import os
import re
import zipfile
from pathlib import Path, PurePosixPath

from competition import files
from competition.config import MNIST, RECIPES, Config, choose_config
from competition.errors import CompetitionError
from competition.folders import PACKAGE, ROOT, Folders
from competition.kaggle_cli import COMPETITION
from competition.runs import Run, settings_of

TEMPLATE = PACKAGE / "kernel_template.py"
LARGEST = 1_000_000  # bytes of source that Kaggle takes in one kernel
CODE_FILES = {"notebook": "kernel.ipynb", "script": "kernel.py"}
HIDDEN = {"_kg_hide-input": True, "jupyter": {"source_hidden": True}}
KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}


def pack(folder: Path, owner: str, recipe: str, settings: dict, kind: str = "notebook") -> Path:
    """Write a kernel and its kernel-metadata.json.

    Args:
        folder: where to; it is made if need be.
        owner: the user name on Kaggle.
        recipe: a name in RECIPES.
        settings: fields of Config that differ from the recipe's; None leaves the recipe's.
        kind: `notebook` or `script`.

    Returns:
        The folder.

    Raises:
        CompetitionError: a setting is out of range, the user name is none, or the kernel is too large.
    """
    if not re.fullmatch(r"[A-Za-z0-9-]+", owner):
        raise CompetitionError(
            f"A Kaggle user name has letters, digits and hyphens. Received: {owner!r}. Next: --username NAME."
        )
    settings = {name: value for name, value in settings.items() if value is not None}
    choose_config(recipe, "kaggle", settings)
    cells = fill(SOURCES=packed_sources(), RECIPE=recipe, SETTINGS=settings)
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
        CompetitionError: the file holds no sources, or the folder holds some already.
    """
    try:
        text = file.read_text("utf-8")
        if file.suffix == ".ipynb":
            text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
        packed = re.search(r'^SOURCES = """([A-Za-z0-9+/=\s]+)"""', text, re.MULTILINE)
        with zipfile.ZipFile(io.BytesIO(base64.b64decode(packed[1]))) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        if any(PurePosixPath(name).parts[0] != PACKAGE.name or ".." in name or "\\" in name for name in content):
            raise ValueError("names outside the package")
    except (OSError, ValueError, KeyError, TypeError, IndexError, binascii.Error, zipfile.BadZipFile) as error:
        raise CompetitionError(
            f"A kernel that `make kernel` packed holds the sources. Received: {file}, {error}. "
            "Next: name its .ipynb or .py file."
        ) from None
    if (folder / PACKAGE.name).exists():
        raise CompetitionError(
            f"Sources are unpacked where there are none. Received: {folder / PACKAGE.name} exists. Next: --into FOLDER."
        )
    for name, data in content.items():
        files.write(folder / name, data)
    return [folder / name for name in content]


def execute(folders: Folders, run: Run) -> Path:
    """Execute the walk-through of a finished run here, with its figures, into the run's folder.

    Returns:
        The notebook.

    Raises:
        CompetitionError: a cell failed; nothing is written then.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    recipe = RECIPES.get(run.config.recipe, Config())
    defaults = settings_of(recipe)
    cells = fill(
        RECIPE=recipe.recipe,
        SETTINGS={k: v for k, v in settings_of(run.config).items() if v != defaults[k] and k != "recipe"},
        SOURCE=run.manifest["source"] if run.manifest["source"] in ("sample", *MNIST) else "auto",
        FOLDERS={
            name: str(path.resolve())
            for name, path in vars(folders).items()
            if path and name in ("input", "submissions", "mnist_npz")
        },
        RUN=run.name,
    )
    notebook = nbformat.reads(as_notebook(cells), as_version=4)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    client = NotebookClient(
        notebook,
        timeout=None,
        resources={"metadata": {"path": str(run.path)}},
        extra_arguments=["--log-level=ERROR"],  # not the warning that it talks over the loopback
    )
    try:
        client.execute(env=environment)
    except (CellExecutionError, DeadKernelError) as error:
        if getattr(error, "ename", "") == CompetitionError.__name__:
            raise CompetitionError(error.evalue) from None
        reason = " ".join(str(error).split()[-30:])
        raise CompetitionError(
            f"Every cell of the notebook must run. Received: {reason}. Next: `make notebook RUN=…` with a run of this "
            "version, and its data."
        ) from None
    path = run.path / "notebook.ipynb"
    files.write(path, nbformat.writes(notebook) + "\n")
    return path


def packed_sources() -> str:
    """All files of the package as a zip archive in base64, in lines of 100 characters."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2) as archive:
        for path in sorted(path for path in PACKAGE.rglob("*") if path.is_file()):
            if "__pycache__" not in path.parts and not path.name.startswith("."):
                entry = zipfile.ZipInfo(path.relative_to(PACKAGE.parent).as_posix())  # dated 1980
                entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_BZIP2, 3, 0o644 << 16
                archive.writestr(entry, path.read_bytes())
    text = base64.b64encode(buffer.getvalue()).decode()
    return "".join(f"\n{text[i : i + 100]}" for i in range(0, len(text), 100)) + "\n"


def fill(**values) -> list[tuple[str, str]]:
    """The template's cells with the values of a pack.

    Args:
        values: by the name of the variable that gets it.

    Returns:
        (kind, source) of each cell, where kind is `markdown`, `code` or `hidden` (code to be folded away).
    """
    kinds = {"# %%": "code", "# %% [markdown]": "markdown", "# %% hide-input": "hidden"}
    parts = re.split(r"^(# %%.*)\n", TEMPLATE.read_text("utf-8"), flags=re.MULTILINE)[1:]
    cells = [(kinds[marker], source.strip()) for marker, source in zip(parts[::2], parts[1::2], strict=True)]
    for name, value in values.items():
        value = f'"""{value}"""' if "\n" in str(value) else json.dumps(value, ensure_ascii=False)
        assignment = f"{name} = {value}".replace("\\", r"\\")
        cells = [(kind, re.sub(rf"^{name} = .*?(?=  #|$)", assignment, source, flags=re.M)) for kind, source in cells]
    return cells


def as_notebook(cells: list[tuple[str, str]]) -> str:
    """The cells as a Jupyter notebook of format 4.5."""
    from nbformat import v4, validate

    made = []
    for number, (kind, source) in enumerate(cells):
        if kind == "markdown":
            cell = v4.new_markdown_cell(re.sub(r"^# ?", "", source, flags=re.MULTILINE))
        else:
            cell = v4.new_code_cell(source, metadata=HIDDEN if kind == "hidden" else {})
        made.append({**cell, "id": f"cell-{number}"})
    notebook = v4.new_notebook(cells=made, metadata={"kernelspec": KERNELSPEC, "language_info": {"name": "python"}})
    validate(notebook)
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def as_script(cells: list[tuple[str, str]]) -> str:
    """The cells as a Python script in Jupytext's percent format."""
    markers = {"markdown": "# %% [markdown]", "code": "# %%", "hidden": "# %%"}
    return "\n\n".join(f"{markers[kind]}\n{source}" for kind, source in cells) + "\n"
