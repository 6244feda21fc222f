"""The plan of the house: rooms over rooms, and imports that only go down."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from itertools import pairwise
from pathlib import Path

import pytest

from competition.runs.folders import PACKAGE, ROOT

GROUND = ("competition.config", "competition.errors")  # under every room; of the two, config stands on errors
ROOMS = ("studies", "kaggle", "report", "ensemble", "execution", "network", "data", "runs")  # top to bottom
FLOORS = ("studies", "pipeline", *ROOMS[1:])  # above them what starts commands
# These load Keras, or what they import does; inside the network's room, three do not.
HEAVY = {f"competition.ensemble.{name}" for name in ("members", "manifest", "networks", "predict", "export", "blend")}
HEAVY |= {"competition.execution.engines", "competition.execution.cluster", "competition.pipeline"}
HEAVY_ROOMS = ("competition.network.", "competition.studies.")
LIGHT = {f"competition.network.{name}" for name in ("member", "augmentation", "calibration")}


def name_of(path):
    """The dotted name of a file; a room's is its __init__'s."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(package=PACKAGE):
    """All modules by their names; templates are texts, which nobody may import."""
    return {name_of(path): path for path in sorted(package.rglob("*.py")) if "templates" not in path.parts}


MODULES = modules()


def imported(module, text):
    """The modules of this package that a text imports, anywhere in it and in any way."""
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module
            found |= {name if (name := f"{base}.{alias.name}") in MODULES else base for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return {name for name in found if name.split(".")[0] == "competition"}


def floor(module):
    """0 is the ground, 1 the lowest room, and what starts commands on top of all."""
    part = module.split(".")[1] if module.count(".") else ""
    return 0 if module in GROUND else len(FLOORS) - FLOORS.index(part) if part in FLOORS else len(FLOORS) + 1


def graph_of(texts):
    return {module: imported(module, text) for module, text in texts.items()}


def upward(texts):
    """The imports that go up; `texts` are the modules' sources by name."""
    return {(a, b) for a, below in graph_of(texts).items() for b in below if floor(b) > floor(a)}


def texts(**planted):
    return {module: path.read_text() + planted.get(module, "") for module, path in MODULES.items()}


def test_the_package_shows_at_most_fourteen_entries():
    shown = sorted(path.name for path in PACKAGE.iterdir() if not path.name.startswith((".", "__pycache__")))
    assert shown == sorted(
        [*ROOMS, "__init__.py", "__main__.py", "commands.py", "config.py", "errors.py", "pipeline.py"]
    )


def test_a_room_has_at_most_twelve_modules():
    for room in ROOMS:
        assert sum(name.startswith(f"competition.{room}.") for name in MODULES) <= 12, room


def test_imports_go_down_and_never_round():
    assert not upward(texts())
    TopologicalSorter(graph_of(texts())).prepare()  # raises CycleError


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize(
    "line",
    ("from competition.commands import train", "import competition.commands", "from .. import commands",
     "def late():\n    from ..commands import train", "import_module('competition.commands')"),
)  # fmt: skip
def test_an_import_that_goes_up_is_seen(room, line):
    module = max(name for name in MODULES if name.startswith(f"competition.{room}."))
    assert upward(texts(**{module: f"\n{line}\n"})) == {(module, "competition.commands")}


def test_an_import_of_the_next_room_and_a_circle_are_seen():
    for above, below in pairwise(ROOMS):
        high, low = (min(name for name in MODULES if name.startswith(f"competition.{r}.")) for r in (above, below))
        assert upward(texts(**{low: f"\nimport {high}\n"})) == {(low, high)}
    round_about = texts(**{"competition.runs.files": "\nfrom competition.runs.run import Run\n"})
    with pytest.raises(CycleError):
        TopologicalSorter(graph_of(round_about)).prepare()


def test_a_room_is_introduced_by_its_paragraph_and_nothing_else():
    for room in ROOMS:
        tree = ast.parse((PACKAGE / room / "__init__.py").read_text())
        assert len(tree.body) == 1 and len(ast.get_docstring(tree).splitlines()) >= 3, room


def outside(module):
    """The packages of others that a module imports."""
    tree = ast.parse(MODULES[module].read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.split(".")[0] for name in names}


DISTRIBUTIONS = {"sklearn": "scikit-learn", "cv2": "opencv-python-headless", "PIL": "pillow", "IPython": "ipykernel",
                 "slugify": "python-slugify"}  # fmt: skip
OPTIONAL = {"dask", "distributed", "jax", "tensorboard", "torch"}  # named to who asks for them


def test_what_is_imported_is_declared():
    text = (ROOT / "requirements.txt").read_text()
    declared = {re.split(r"[<>=\[]", line)[0].strip().lower() for line in text.splitlines()}
    packages = {name for module in MODULES for name in outside(module)} - set(sys.stdlib_module_names)
    names = {DISTRIBUTIONS.get(name, name).lower() for name in packages - OPTIONAL - {"competition"}}
    assert len(names) > 10 and not names - declared


def test_only_the_network_computes_with_keras_and_takes_it_from_device():
    """Which sets it up: a process that loads TensorFlow before leaves oneDNN off, on most processors."""
    for module, path in MODULES.items():
        assert not {"keras", "tensorflow"} & outside(module) or module == "competition.network.device", module
        froms = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        takes = "keras" in {alias.name for node in froms for alias in node.names}
        assert not takes or module.startswith("competition.network."), module


def test_what_is_light_loads_no_keras():
    """Every module but those of network/ and what stands on them, imported all together."""
    light = sorted(m for m in MODULES if m in LIGHT or not (m in HEAVY or m.startswith(HEAVY_ROOMS)))
    script = f"import importlib, sys\nfor m in {light}: importlib.import_module(m)\n"
    script += "print('HEAVY', sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "HEAVY []\n"


@pytest.mark.parametrize(
    "arguments", (["--help"], ["train", "--help"], ["data", "--source", "sample"], ["kernel", "--unpack", "."])
)
def test_light_commands_do_not_load_tensorflow(arguments):
    script = (
        "import sys; from competition.__main__ import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "print('HEAVY', sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "HEAVY []" in done.stdout


def test_a_module_is_read_in_one_sitting():
    long = {module: n for module, path in MODULES.items() if (n := len(path.read_text().splitlines())) > 275}
    assert not long


def test_only_folders_knows_the_projects_folders():
    for module, path in MODULES.items():
        text = path.read_text()
        assert module == "competition.runs.folders" or ("__file__" not in text and "/kaggle/" not in text), module


def test_tests_mirror_the_rooms():
    for room in ROOMS:
        assert list(Path(ROOT, "tests", room).glob("test_*.py")), room
