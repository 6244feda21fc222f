"""The kernel: what is packed, what is sent to Kaggle, and that it runs in an image like Kaggle's."""

import ast
import base64
import io
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from slugify import slugify

from competition.ensemble import prediction_shift
from competition.errors import CompetitionError
from competition.kaggle.kernel import budget_of, dataset_beside, pack
from competition.kaggle.notebook import execute, fill, packed_package, unpack
from competition.runs.folders import PACKAGE, ROOT, Folders
from competition.runs.run import find_run, list_runs
from tests.finished_run import finished_run

KINDS = ("notebook", "script")
CONSTRAINTS = Path(__file__).with_name("image.txt")
FIGURES = {"digits", "map", "augmentation", "accuracy", "loss", "confusion", "errors", "calibration", "submission"}


def package_files():
    found = (path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".md", ".pyc"))
    found = (path for path in found if "studies" not in path.parts)
    return {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in found}


def values_in(text: str) -> dict:
    """The variables in capitals that a packed script, or a notebook's cells, begin with."""
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "").isupper()
    }


@pytest.fixture(params=KINDS)
def packed(request, tmp_path):
    """A packed kernel: (kind, folder, metadata, text of its code file)."""
    folder = pack(tmp_path / "kernel", "Some-One", "quick", {"epochs": 2, "folds": None}, request.param, 2.5)
    metadata = json.loads((folder / "kernel-metadata.json").read_text())
    return request.param, folder, metadata, (folder / metadata["code_file"]).read_text()


def test_the_folder_holds_the_code_and_its_metadata(packed):
    kind, folder, metadata, text = packed
    assert {path.name for path in folder.iterdir()} == {"kernel-metadata.json", metadata["code_file"]}
    assert metadata["kernel_type"] == kind and metadata["is_private"] is True and metadata["enable_gpu"] is True
    assert metadata["enable_internet"] is False and metadata["machine_shape"] == "NvidiaTeslaT4"
    assert metadata["competition_sources"] == ["digit-recognizer"] and metadata["id"].startswith("some-one/")
    assert len(text.encode()) < 1_000_000
    if kind == "notebook":
        notebook = nbformat.reads(text, as_version=4)
        nbformat.validate(notebook)
        assert notebook.metadata.kernelspec.name == "python3"
        folded = [cell.source for cell in notebook.cells if cell.metadata.get("_kg_hide-input")]
        assert len(folded) == 3 and 'PACKED = """' in folded[0] and "def show(" in folded[1]
        score = next(i for i, cell in enumerate(notebook.cells) if "Predicted leaderboard" in cell.source)
        assert notebook.cells[score + 1].source.startswith("## 1. ")  # the score comes before everything else
        text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
        assert not any(cell.get("outputs") for cell in notebook.cells)
    values = values_in(text)
    del values["PACKED"]
    assert values == {
        "RECIPE": "quick", "SETTINGS": {"epochs": 2}, "SOURCE": "auto", "FOLDERS": {}, "MINUTES": 2.5, "RUN": None,
    }  # fmt: skip


def test_the_same_package_makes_identical_files(packed, tmp_path):
    kind, folder, metadata, text = packed
    again = pack(tmp_path / "again", "Some-One", "quick", {"epochs": 2}, kind, 2.5)
    assert (again / metadata["code_file"]).read_text() == text
    assert (again / "kernel-metadata.json").read_text() == (folder / "kernel-metadata.json").read_text()
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(packed_package()))) as archive:
        entries = archive.infolist()
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.external_attr for entry in entries} == {0o644 << 16}
    assert [entry.filename for entry in entries] == sorted(package_files())


def test_the_package_comes_back_byte_for_byte(packed, tmp_path, command):
    _, folder, metadata, _ = packed
    done = command("kernel", "--unpack", folder / metadata["code_file"], "--into", tmp_path / "unpacked")
    assert done.returncode == 0, done.stderr
    found = [path for path in (tmp_path / "unpacked").rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path / "unpacked").as_posix(): path.read_bytes() for path in found} == package_files()
    again = command("kernel", "--unpack", folder / metadata["code_file"], "--into", tmp_path / "unpacked")
    assert again.returncode == 1 and re.match(r"Error: .* Received: .* exists\. Next: --into FOLDER\.\n$", again.stderr)


@pytest.mark.parametrize(
    "text", ["", "PACKED = ''", 'PACKED = """\nUEsDBA==\n"""', None, '{"cells": 1}', '{"cells": []}']
)
@pytest.mark.parametrize("suffix", [".py", ".ipynb"])
def test_what_holds_no_package_is_refused(tmp_path, text, suffix):
    if text is not None:
        (tmp_path / f"k{suffix}").write_text(text)
    with pytest.raises(CompetitionError, match=r"Received: .*Next: "):
        unpack(tmp_path / f"k{suffix}", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_name_leaves_the_folder(tmp_path):
    for name in ("../evil.py", "evil.py", "competition/../../evil.py", "/evil.py"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(name, "")
        (tmp_path / "k.py").write_text(f'PACKED = """\n{base64.b64encode(buffer.getvalue()).decode()}\n"""')
        with pytest.raises(CompetitionError, match="names outside the package"):
            unpack(tmp_path / "k.py", tmp_path / "a" / "b")
    assert [path.name for path in tmp_path.rglob("*")] == ["k.py"]


def test_it_holds_no_data_credentials_or_paths_of_this_machine(packed, monkeypatch, tmp_path):
    kind, folder, metadata, text = packed
    (tmp_path / "home" / ".kaggle").mkdir(parents=True)
    (tmp_path / "home" / ".kaggle" / "kaggle.json").write_text('{"username": "some-one", "key": "s3cr3t-key"}')
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_API_TOKEN", "s3cr3t-token")
    again = pack(tmp_path / "again", "some-one", "quick", {"epochs": 2}, kind, 2.5)
    assert (again / metadata["code_file"]).read_text() == text  # neither changes a byte
    unpack(folder / metadata["code_file"], tmp_path / "out")
    for path in [*folder.iterdir(), *(tmp_path / "out").rglob("*")]:
        content = path.read_text() if path.is_file() else ""
        for secret in (
            "s3cr3t",
            str(ROOT),
            str(Path.home()),
            str(tmp_path),
            sys.prefix,
            *(f"/{home}/" for home in ("home", "root", "Users")),
        ):
            assert secret not in content, f"{secret} in {path}"
        assert path.is_dir() or path.suffix not in (".csv", ".gz", ".npy", ".npz", ".zip")


@pytest.mark.parametrize(
    ("settings", "owner", "words"),
    [
        ({"epochs": 0}, "a", "epochs lies between"),
        ({}, "", "user name"),
        ({}, "a/b", "user name"),
    ],
)
def test_a_wrong_setting_leaves_nothing(tmp_path, settings, owner, words):
    with pytest.raises(CompetitionError, match=words):
        pack(tmp_path / "kernel", owner, "quick", settings)
    assert not (tmp_path / "kernel").exists()


def test_a_kernel_trains_best_for_as_long_as_is_said(tmp_path, command):
    """Without RECIPE=; and it is named after it."""
    done = command("kernel", "--username", "ann", "--minutes", "2", "--kind", "script", "--into", tmp_path / "kernel")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "kernel" / "kernel.py").read_text()
    assert '\nRECIPE = "best"  # ' in text and "\nMINUTES = 2.0  # " in text and "\nRUN = None  # " in text
    assert '"ann/digit-recognizer-best-script"' in (tmp_path / "kernel" / "kernel-metadata.json").read_text()
    done = command("kernel", "--username", "ann", "--minutes", "-2", "--into", tmp_path / "none")
    assert done.stderr == "Error: MINUTES is a positive number. Received: -2. Next: MINUTES=30.\n"
    assert done.returncode == 1 and not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("given", "gpu", "recipe", "minutes", "advice"),
    [
        (None, True, "best", 690, ""),  # of 12 hours; the margin is half of one
        (None, False, "best", 690, "RECIPE=fast is quicker"),
        (None, False, "reference", 690, "RECIPE=fast is quicker"),
        (None, False, "fast", 690, ""),
        (2.0, False, "quick", 2, ""),
        (1000.0, True, "best", 690, ""),
    ],
)
def test_on_kaggle_a_run_ends_before_its_session_does(tmp_path, given, gpu, recipe, minutes, advice):
    there, here = Folders(tmp_path, tmp_path, working=tmp_path), Folders(tmp_path, tmp_path)
    budget = budget_of(there, given, gpu, recipe)
    assert budget.minutes == minutes and advice in budget.advice and bool(advice) == bool(budget.advice)
    assert budget_of(here, given, gpu, recipe).minutes == given and not budget_of(here, given, gpu, recipe).advice


@pytest.mark.parametrize(
    ("name", "gpu", "shape"), [("t4", True, "NvidiaTeslaT4"), ("l4", True, "NvidiaL4"), ("none", False, "")]
)
def test_the_accelerator_is_a_choice(tmp_path, name, gpu, shape):
    folder = pack(tmp_path / "kernel", "a", "quick", {}, "script", accelerator=name)
    metadata = json.loads((folder / "kernel-metadata.json").read_text())
    assert (metadata["enable_gpu"], metadata["machine_shape"]) == (gpu, shape)


@pytest.mark.parametrize("kind", KINDS)
def test_a_public_kernel_is_code_to_read_and_its_package_a_dataset(tmp_path, kind):
    folder = pack(tmp_path / "kernel", "Ann", "quick", {}, kind, title="Digits: 28,000 at once & honest", public=True)
    metadata = json.loads((folder / "kernel-metadata.json").read_text())
    assert (metadata["is_private"], metadata["title"]) == (False, "Digits: 28,000 at once & honest")
    assert metadata["id"] == "ann/digits-28000-at-once-honest"
    assert metadata["dataset_sources"] == ["ann/digit-recognizer-package"]
    text = (folder / metadata["code_file"]).read_text()
    if kind == "notebook":
        cells = nbformat.reads(text, as_version=4).cells
        assert cells[0].source.startswith("# Digits: 28,000 at once & honest\n\nWhich digit")
        assert max(len(cell.source) for cell in cells) < 3000
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert "PACKED" not in values_in(text) and values_in(text)["RECIPE"] == "quick"
    beside = dataset_beside(folder)
    found = {path.relative_to(beside).as_posix(): path.read_bytes() for path in beside.rglob("*.*") if path.is_file()}
    description = json.loads(found.pop("dataset-metadata.json"))
    assert description["id"] == "ann/digit-recognizer-package" and 6 <= len(description["title"]) <= 50
    (content,) = [name for name in found if re.fullmatch(r"sha256-[0-9a-f]{16}\.txt", name)]
    assert len(found.pop(content).splitlines()) == len(found) and found == package_files()
    pack(folder, "ann", "quick", {}, kind)
    assert dataset_beside(folder) is None and beside.exists()  # that kernel needs none


def test_a_dataset_takes_no_folder_that_holds_something_else(tmp_path):
    (tmp_path / "kernel-dataset").mkdir()
    (tmp_path / "kernel-dataset" / "thesis.txt").touch()
    with pytest.raises(CompetitionError, match=r"a folder of its own\. Received: .*kernel-dataset, which holds"):
        pack(tmp_path / "kernel", "ann", "quick", {}, public=True)
    assert (tmp_path / "kernel-dataset" / "thesis.txt").exists() and not (tmp_path / "kernel").exists()


@pytest.mark.parametrize(
    ("title", "right"),
    [
        ("0.997", True), ("a" * 50, True), ("Größe & Güte: 99,7 % 🔥", True), ("a" * 51, False), ("abcd", False),
        ("…" * 5, False), ("12, 3", False), ("🔥" * 9, False), ("Two\nlines", False), ("ß" * 26, False),
    ],
)  # fmt: skip
def test_a_title_is_one_that_kaggle_takes(tmp_path, title, right):
    """As the address: the command line says otherwise that the title does not resolve to it."""
    if right:
        folder = pack(tmp_path / "kernel", "ann", "quick", {}, "script", title=title)
        metadata = json.loads((folder / "kernel-metadata.json").read_text())
        assert metadata["title"] == title and metadata["id"] == f"ann/{slugify(title)}"
        return
    with pytest.raises(
        CompetitionError, match=r"title has 5 to 50 characters[\s\S]*Received: [\s\S]*Next: another TITLE"
    ):
        pack(tmp_path / "kernel", "ann", "quick", {}, "script", title=title)
    assert not (tmp_path / "kernel").exists()


def test_a_kernel_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("competition.kaggle.kernel.LARGEST", 10_000)
    with pytest.raises(CompetitionError, match=r"up to 10000 bytes\. Received: \d{5}"):
        pack(tmp_path / "kernel", "a", "quick", {})


@pytest.fixture
def stand_in():
    """A server that takes what the kaggle command line sends: (port, list of (method, JSON))."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.path.rsplit("/", 1)[1], json.loads(body)))
            answer = b'{"versionNumber": 1, "url": "http://stand.in/kernel"}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port, requests
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_kaggles_own_command_line_takes_it(packed, stand_in, tmp_path):
    kind, folder, metadata, text = packed
    port, requests = stand_in
    kaggle = Path(sys.executable).with_name("kaggle")
    done = subprocess.run(
        [str(kaggle) if kaggle.exists() else "kaggle", "kernels", "push", "-p", folder],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "KAGGLE_USERNAME": "some-one",
            "KAGGLE_KEY": "k",
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": f"http://127.0.0.1:{port}",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Kernel version 1 successfully pushed" in done.stdout
    assert "title does not resolve" not in done.stdout and "not valid" not in done.stdout
    sent = dict(requests)["SaveKernel"]
    assert sent["slug"] == metadata["id"] and sent["newTitle"] == metadata["title"] and sent["kernelType"] == kind
    assert sent["enableInternet"] is False and sent["enableGpu"] is True and sent["isPrivate"] is True
    assert sent["machineShape"] == "NvidiaTeslaT4" and sent["competitionDataSources"] == ["digit-recognizer"]
    assert len(sent["text"].encode()) < 1_000_000
    if kind == "script":
        assert sent["text"] == text
    (tmp_path / f"back{Path(metadata['code_file']).suffix}").write_text(sent["text"])
    assert unpack(tmp_path / f"back{Path(metadata['code_file']).suffix}", tmp_path / "back")


LAYOUTS = ("digit-recognizer", "competitions/digit-recognizer")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_on_kaggle_the_input_is_found_in_either_layout(tmp_path, monkeypatch, layout):
    monkeypatch.setenv("COMPETITION_KAGGLE_ROOT", str(tmp_path))
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    (tmp_path / "input" / "another").mkdir(parents=True)
    (tmp_path / "input" / "another" / "train.csv").touch()
    with pytest.raises(CompetitionError, match=r"attached to the kernel\. Received: .*Next: Add Input"):
        Folders.find()
    (tmp_path / "input" / layout).mkdir(parents=True)
    (tmp_path / "input" / layout / "train.csv").touch()
    folders = Folders.find()
    assert folders.input == tmp_path / "input" / layout and folders.published == tmp_path / "working/submission.csv"
    assert folders.submissions == tmp_path / "working/submissions" and tmp_path not in folders.cache.parents
    assert Folders.find(Path("a"), Path("b")).input == Path("a")
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "")
    assert Folders.find() == Folders(ROOT / "input", ROOT / "submissions") and Folders.find().published is None


@pytest.mark.slow
def test_make_notebook_shows_the_newest_run(folders, command):
    where = ("--input", folders / "input", "--submissions", folders / "runs")
    small = ("--folds", "2", "--refit", "0", "--epochs", "1", "--batch-size", "32")
    assert command("train", *small, *where).returncode == 0
    done = command("notebook", *where)
    assert done.returncode == 0, done.stderr
    run = find_run(Folders(folders / "input", folders / "runs"))
    assert done.stdout == f"{run.path / 'notebook.ipynb'}\n"
    check_executed(run.path / "notebook.ipynb", run)
    assert len(list_runs(Folders(folders / "input", folders / "runs"))) == 1  # it trained nothing
    (run.path / "notebook.ipynb").unlink()
    (run.path / "scores.json").unlink()
    done = command("notebook", *where)
    assert done.returncode == 1
    assert re.fullmatch(r"Error: .*scores\.json must be intact and .* Next: .*\.\n", done.stderr)
    assert not (run.path / "notebook.ipynb").exists()


@pytest.mark.parametrize("alarm", [False, True])
def test_the_notebooks_score_gives_way_to_the_alarm(tmp_path, capsys, alarm):
    """The cell itself, of a run whose scores.json has an alarm in place of a predicted score."""
    _, run, _ = finished_run(tmp_path)
    if alarm:
        differ = {"alarm": True, "pixels": [], "predictions": [], "classifier": None, "missing_digits": [9]}
        run.write_json("scores.json", run.scores | {"leaderboard": None, "shift": differ | {"estimate": 0.912}})
    [cell] = [text for kind, text in fill() if kind == "hidden" and "Out-of-fold accuracy" in text]
    exec(cell, {"scores": run.scores, "prediction_shift": prediction_shift, "pd": pd, "display": print})
    printed = capsys.readouterr().out
    assert bool(re.search(r"Predicted leaderboard +0\.99870 +0\.99754 +0\.99943", printed)) == (not alarm)
    for line in ("none: test.csv is not like train.csv", "by labels            train.csv has no 9", "0.912"):
        assert (line in printed) == alarm


def test_a_blend_was_not_trained_and_has_no_notebook(tmp_path):
    folders, run, _ = finished_run(tmp_path)
    run.write_json("manifest.json", run.manifest | {"parents": [{"run": "a", "members": {}}]})
    with pytest.raises(CompetitionError, match=rf"Received: {run.name}, a blend\. Next: RUN=a\."):
        execute(folders, run)


def check_executed(path, run):
    """Every figure is there where it is shown and in the run's folder, and no cell has an error."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(output.output_type != "error" for cell in code for output in cell.outputs)
    calls = [re.findall(r'^show(?:_digits)?\("(\w+)"', cell.source, re.MULTILINE) for cell in code]
    assert {name for names in calls for name in names} == FIGURES and calls[-1]
    for cell, names in zip(code, calls, strict=True):
        assert sum("image/png" in output.get("data", {}) for output in cell.outputs) == len(names), cell.source
    assert {path.name for path in (run.path / "figures").iterdir()} >= {f"notebook-{name}.png" for name in FIGURES}
