"""Kernels on Kaggle: push, follow, fetch; the real `kaggle` command line against the stand-in server."""

import json
import time

import pytest

from competition.errors import CompetitionError
from competition.kaggle import cli
from competition.kaggle.kernel_run import run_on_kaggle
from competition.runs.folders import Folders
from competition.runs.version import package_sha256
from tests.kaggle import world as kaggle_world
from tests.kaggle.world import World

world = kaggle_world.world
slow = pytest.mark.slow


def packed(world: World):
    """A packed kernel, as small as Kaggle's command line takes one."""
    folder = world.home / "kernel"
    folder.mkdir()
    (folder / "digits.py").write_text("print(1)\n")
    metadata = {
        "id": "ann/digits", "title": "digits", "code_file": "digits.py", "language": "python", "kernel_type": "script",
        "is_private": True, "enable_internet": False, "competition_sources": ["digit-recognizer"],
    }  # fmt: skip
    (folder / "kernel-metadata.json").write_text(json.dumps(metadata))
    return folder


def ran(world: World, name=None) -> dict[str, bytes]:
    """What a kernel of this package leaves in /kaggle/working."""
    there = Folders(world.home / "working", world.home / "working" / "submissions")
    run = world.add_run(name or time.strftime("%Y%m%d-%H%M%S-fast", time.gmtime()), folders=there)
    (there.input / "submission.csv").write_bytes(run.submission_csv.read_bytes())
    (there.submissions / ".cache").mkdir()
    (there.submissions / ".cache" / "pixels.npy").write_bytes(b"large")
    return world.files(there.input)


def refused(world: World) -> str:
    before = world.files()
    with pytest.raises(CompetitionError) as error:
        run_on_kaggle(world.folders, packed(world))
    after = world.files()
    log = after.pop("digits.log", None)
    assert after == before
    return str(error.value) + (log or b"").decode()


def test_a_kernel_is_pushed_followed_and_fetched(world: World, capfd):
    world.server.kernel["files"] = ran(world)
    run = run_on_kaggle(world.folders, packed(world))
    assert capfd.readouterr().out.endswith(f"{run.path} is complete. Next: `make submit RUN={run.name}`.\n")
    assert run.complete
    assert run.path.parent == world.folders.submissions
    assert [row["run"] for row in world.history()] == [run.name]
    assert sorted(path.name for path in world.folders.submissions.glob("[!.]*")) == sorted([run.name, "history.csv"])
    pushed = world.server.asked("SaveKernel")[0]
    assert (pushed["isPrivate"], pushed["enableInternet"]) == (True, False)


@slow
def test_outputs_come_in_pages(world: World):
    files = ran(world)
    world.server.kernel["files"] = {**files, **{f"submissions/run/figures/{i}.png": b"" for i in range(50)}}
    run = run_on_kaggle(world.folders, packed(world))
    assert world.run("submit", "--run", run.name)[0] == 0
    assert len(world.server.asked("ListKernelSessionOutput")) == 4
    assert "/output/submissions/.cache/pixels.npy" not in [body["path"] for body in world.server.asked("GET")]


@slow
@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ({"error": "Maximum batch GPU session count of 2 reached."}, "Kernel push error: Maximum batch"),
        ({"versionNumber": 3, "invalidCompetitionSources": ["digit-recognizer"]}, "are not valid competition"),
    ],
)  # fmt: skip
def test_a_push_that_failed_with_exit_code_0(world: World, answer, line):
    world.server.kernel["push"] = answer
    assert line in refused(world)


@slow
def test_a_kernel_that_ends_in_error(world: World):
    world.server.kernel |= {"states": ["RUNNING", "ERROR"], "message": "Your notebook ran out of memory."}
    world.server.kernel["log"] = "what the kernel printed"
    said = refused(world)
    assert "Received: ERROR: Your notebook ran out of memory. (log: " in said
    assert said.endswith("what the kernel printed")


@slow
def test_a_kernel_that_nobody_knows(world: World):
    world.server.fail("GetKernelSessionStatus", 403, "Permission 'kernels.get' was denied")
    assert "account must be allowed" in refused(world)


@slow
@pytest.mark.parametrize("what", ["old version", "old package", "no run", "damaged", "other file", "fetched before"])
def test_outputs_that_are_not_this_versions(world: World, what):
    line = {
        "old version": "made by an older version of the kernel",
        "old package": "made by an older version of the package",
        "no run": "outputs without a complete run",
        "damaged": "1 whole members of 2",
        "other file": "another submission.csv",
        "fetched before": "is here already",
    }[what]
    files = ran(world, "20260101-000000-fast" if what == "old version" else None)
    names = {name.rpartition("/")[2]: name for name in files}
    if what == "old package":
        files[names["manifest.json"]] = files[names["manifest.json"]].replace(package_sha256().encode(), b"old")
    if what == "no run":
        files = {name: content for name, content in files.items() if "/" not in name}
    if what == "damaged":
        files[next(name for name in files if name.endswith("fold1/test.npy"))] = b"<html>"
    if what == "other file":
        files["submission.csv"] += b"\n"
    if what == "fetched before":
        world.add_run(names["scores.json"].split("/")[1])
    world.server.kernel["files"] = files
    assert line in refused(world)


@slow
def test_an_output_that_answers_500_is_asked_for_again_and_then_said(world: World):
    """Kaggle's command line 2.2.4 took such an answer for the file: then what arrived is refused, as above."""
    world.server.kernel["files"] = ran(world)
    world.server.fail("output", 500, times=len(cli.PAUSES) + 1)
    said = refused(world)
    assert "Kaggle must be able to answer. Received: " in said and "Next: the same command" in said, said
    world.server.fail("output", 500)
    assert run_on_kaggle(world.folders, world.home / "kernel").complete
