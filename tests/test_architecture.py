"""The floors of the house: a module imports only from floors strictly below its own."""

import ast
import subprocess
import sys

import pytest

from competition.folders import PACKAGE, ROOT

FLOORS = (
    ("errors", "config", "scoring", "files", "forms", "folders", "kaggle_failures", "unpacking"),
    ("digits", "folds", "augment", "submission", "runs", "kaggle_cli", "device", "models", "stopping", "progress",
     "pictures", "mnist", "flags", "sources"),
    ("training", "engines", "cluster", "data", "history", "resuming", "kernel", "figures", "page", "saved_model"),
    ("ensemble", "provenance", "remote", "report", "compare", "predict"),
    ("pipeline", "leaderboard"),
    ("baselines", "blend"),
    ("__main__", "kernel_template"),
)  # fmt: skip
FLOOR = {module: number for number, modules in enumerate(FLOORS) for module in modules}
# These, or what they import, load Keras.
KERAS = {"device", "models", "stopping", "mnist", "training", "engines", "cluster", "saved_model", "ensemble"}
KERAS |= {"predict", "pipeline", "baselines", "blend"}
# `config` raises CompetitionError, and files of floor 0 may use that one name.
BASEMENT = "errors"


def imported(module):
    """Package modules and outside packages that a module imports at its top level, and anywhere."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in tree.body) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((name, node in tree.body) for name in names)


def inside(name):
    parts = name.split(".")
    return parts[1] if parts[0] == "competition" and len(parts) > 1 else None


def test_every_module_has_a_floor():
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"} == set(FLOOR)


@pytest.mark.parametrize("module", FLOOR)
def test_imports_go_down(module):
    for name, _ in imported(module):
        below = inside(name)
        if below and not (below == BASEMENT and module != BASEMENT):
            assert FLOOR[below] < FLOOR[module], f"{module} imports {below}"


@pytest.mark.parametrize("module", FLOOR)
def test_only_some_modules_import_keras(module):
    outside = {name.split(".")[0] for name, _ in imported(module)}
    assert not outside & {"keras", "tensorflow"} or module in KERAS
    assert "tensorflow" not in outside or module == "device"


@pytest.mark.parametrize("module", FLOOR)
def test_a_module_is_read_in_one_sitting(module):
    assert len((PACKAGE / f"{module}.py").read_text().splitlines()) <= 250


def test_only_folders_knows_the_projects_folders():
    for module in FLOOR:
        text = (PACKAGE / f"{module}.py").read_text()
        assert module == "folders" or ("__file__" not in text and "/kaggle/" not in text), module


@pytest.mark.parametrize(
    "arguments", (["--help"], ["train", "--help"], ["data", "--source", "sample"], ["kernel", "--unpack", "."])
)
def test_light_commands_do_not_load_tensorflow(arguments, tmp_path):
    script = (
        "import sys; from competition.__main__ import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "print('HEAVY', sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "HEAVY []" in done.stdout


@pytest.mark.parametrize("module", ("submission", "leaderboard", "remote"))
def test_what_submits_does_not_load_tensorflow(module):
    script = f"import sys, competition.{module}; assert not {{'tensorflow', 'keras'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
