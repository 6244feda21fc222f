"""Templates as notebooks or scripts, with the package in them and out again; the walk-through of a finished run."""

import base64
import binascii
import io
import json
import os
import re
import zipfile
from pathlib import Path, PurePosixPath

from competition.config import MNIST, RECIPES, Config
from competition.errors import CompetitionError
from competition.runs import files
from competition.runs.folders import PACKAGE, ROOT, Folders
from competition.runs.run import Run, settings_of
from competition.runs.version import package_files

TEMPLATE = PACKAGE / "kaggle" / "templates" / "walkthrough.py"
BOOTSTRAP = TEMPLATE.with_name("package.py")
FOLDED = {  # what Kaggle and Jupyter fold away of a cell, for readers to unfold
    "hidden": {"_kg_hide-input": True, "jupyter": {"source_hidden": True}},
    "quiet": {"_kg_hide-output": True, "jupyter": {"outputs_hidden": True}},
}
KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}


def execute(folders: Folders, run: Run) -> Path:
    """Execute the walk-through of a finished run here, with its figures, into the run's folder.

    Returns:
        The notebook.

    Raises:
        CompetitionError: it is a blend, or a cell failed; nothing is written then.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    if "parents" in run.manifest:
        raise CompetitionError(f"A notebook shows how a run was trained. Received: {run.name}, a blend. Next: "
                               f"RUN={run.manifest['parents'][0]['run']}.")  # fmt: skip
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
        if isinstance(error, CellExecutionError) and error.ename == CompetitionError.__name__:
            raise CompetitionError(error.evalue) from None
        reason = " ".join(str(error).split()[-30:])
        raise CompetitionError(
            f"Every cell of the notebook must run. Received: {reason}. Next: `make notebook RUN=…` with a run of this "
            "version, and its data."
        ) from None
    path = run.path / "notebook.ipynb"
    files.write(path, nbformat.writes(notebook) + "\n")
    return path


def fill(template: Path = TEMPLATE, package: str = "", /, **values) -> list[tuple[str, str]]:
    """A template's cells with the values of a pack.

    Args:
        template: a file in templates/.
        package: where the kernel gets the package from: a cell of BOOTSTRAP, `packed` or `attached`; empty where it is
            at hand.
        values: by the name of the variable that gets it.

    Returns:
        (kind, source) of each cell, where kind is `markdown`, `code`, `hidden` (code to be folded away) or `quiet`
        (code whose output is).
    """
    bootstrap = dict(_cells(BOOTSTRAP))
    cells = [("hidden", bootstrap.get(package, "")) if kind == "package" else (kind, source)
             for kind, source in _cells(template)]  # fmt: skip
    cells = [cell for cell in cells if cell[1]]
    for name, value in values.items():
        value = f'"""{value}"""' if "\n" in str(value) else json.dumps(value, ensure_ascii=False)
        assignment = f"{name} = {value}".replace("\\", r"\\")
        cells = [(kind, re.sub(rf"^{name} = .*?(?=  #|$)", assignment, source, flags=re.M)) for kind, source in cells]
    return cells


def _cells(template: Path) -> list[tuple[str, str]]:
    """Kind, by its marker such as `# %% hidden`, and source of each of a template's cells."""
    parts = re.split(r"^# %%(.*)\n", template.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return [(mark.strip(" []") or "code", text.strip()) for mark, text in zip(parts[::2], parts[1::2], strict=True)]


def as_notebook(cells: list[tuple[str, str]]) -> str:
    """The cells as a Jupyter notebook of format 4.5."""
    from nbformat import v4, validate

    made = []
    for number, (kind, source) in enumerate(cells):
        if kind == "markdown":
            cell = v4.new_markdown_cell(re.sub(r"^# ?", "", source, flags=re.MULTILINE))
        else:
            cell = v4.new_code_cell(source, metadata=FOLDED.get(kind, {}))
        made.append({**cell, "id": f"cell-{number}"})
    notebook = v4.new_notebook(cells=made, metadata={"kernelspec": KERNELSPEC, "language_info": {"name": "python"}})
    validate(notebook)
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def as_script(cells: list[tuple[str, str]]) -> str:
    """The cells as a Python script in Jupytext's percent format."""
    return "\n\n".join(f"# %%{' [markdown]' if kind == 'markdown' else ''}\n{text}" for kind, text in cells) + "\n"


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
