"""Kernels on Kaggle: push, follow, fetch. Nothing that a session made is lost, whatever fails on the way."""

import json
import os
import signal
import time

import pytest

from competition.errors import CompetitionError
from competition.kaggle import cli, kernel_run
from competition.kaggle.kernel_run import follow_pushed, run_on_kaggle
from competition.runs.folders import Folders
from competition.runs.version import package_sha256
from tests.kaggle import world as kaggle_world
from tests.kaggle.world import World

oldest, world = kaggle_world.oldest, kaggle_world.each_world


def packed(world: World, gpu=True):
    """A packed kernel, as small as Kaggle's command line takes one."""
    folder = world.home / "kernel"
    folder.mkdir(exist_ok=True)
    (folder / "digits.py").write_text("print(1)\n")
    metadata = {
        "id": "ann/digits", "title": "digits", "code_file": "digits.py", "language": "python", "kernel_type": "script",
        "is_private": True, "enable_gpu": gpu, "enable_internet": False, "competition_sources": ["digit-recognizer"],
        "dataset_sources": [],
    }  # fmt: skip
    (folder / "kernel-metadata.json").write_text(json.dumps(metadata))
    return folder


def ran(world: World, name=None) -> dict[str, bytes]:
    """What a kernel of this package leaves in /kaggle/working."""
    there = Folders(world.home / "working", world.home / "working" / "submissions")
    run = world.add_run(name or "20260101-000000-fast", folders=there)
    (there.input / "submission.csv").write_bytes(run.submission_csv.read_bytes())
    (there.submissions / ".cache").mkdir()
    (there.submissions / ".cache" / "pixels.npy").write_bytes(b"large")
    return world.files(there.input)


def fails(world: World, call=None) -> str:
    with pytest.raises(CompetitionError) as error:
        (call or (lambda: run_on_kaggle(world.folders, packed(world))))()
    return str(error.value)


def pushes(world: World) -> int:
    return len(world.server.calls("SaveKernel"))


def kept(world: World) -> list[str]:
    return sorted(path.name for path in world.folders.submissions.glob("[!.]*"))


def test_a_kernel_is_pushed_followed_and_fetched(world: World, capfd):
    world.server.kernel["files"] = ran(world)
    run_on_kaggle(world.folders, packed(world))
    home = world.folders.submissions / "20260101-000000-fast"
    printed = capfd.readouterr().out
    assert "28.50 of 30.00 GPU hours are left until 2026-12-05T00:00 UTC." in printed
    assert printed.endswith(f"{home} is complete. Next: `make submit RUN={home.name}`.\n")
    assert [row["run"] for row in world.history()] == [home.name]
    assert kept(world) == [home.name, "history.csv"]
    pushed = world.server.calls("SaveKernel")[0]
    assert (pushed["isPrivate"], pushed["enableInternet"]) == (True, False)
    follow = world.server.calls("GetKernelSessionStatus")[-1]
    assert follow.get("versionLabel") == (None if world.version == "oldest" else "v3")


def test_failing_polls_end_nothing(world: World, capfd):
    """Resets, a busy Kaggle, a proxy's page: each longer than the command line's own patience."""
    world.server.kernel["files"] = ran(world)
    world.server.kernel["states"] = ["RUNNING", "COMPLETE"]
    folder = packed(world)
    answers = iter([*["cut"] * 2, *[503] * 4, *[200] * 2])

    def fail_polls():
        if world.server.kernel["pushed"] and (failure := next(answers, None)):
            world.server.fail("GetKernelSessionStatus", failure)

    world.server.watch = fail_polls
    run_on_kaggle(world.folders, folder)
    assert pushes(world) == 1 and "is complete" in (printed := capfd.readouterr().out)
    assert "The kernel goes on; looking every" in printed


def test_ctrl_c_and_on_another_day(world: World, capfd):
    """FOLLOW=1 goes on from what is remembered; PUSH=1 while it is under way follows too."""
    world.server.kernel["files"] = ran(world)
    world.server.kernel["states"] = ["RUNNING"]

    def interrupt():
        if len(world.server.calls("GetKernelSessionStatus")) == 3:
            world.server.watch = lambda: None
            os.kill(os.getpid(), signal.SIGINT)

    world.server.watch = interrupt
    with pytest.raises(KeyboardInterrupt):
        run_on_kaggle(world.folders, packed(world))
    assert "ann/digits/3 goes on at Kaggle. Next: `make kernel FOLLOW=1`." in capfd.readouterr().out
    world.server.kernel["states"] = ["RUNNING", "COMPLETE"]
    code, printed = world.run("kernel", "--follow")
    assert (code, "is complete" in printed, pushes(world)) == (0, True, 1), printed
    world.fails("goes on with a kernel that was pushed. Received: none", "kernel", "--follow")


def test_push_while_one_is_under_way_follows_it(world: World, capfd):
    world.server.kernel |= {"files": ran(world), "states": ["RUNNING"]}
    world.monkeypatch.setattr(kernel_run, "PATIENCE", 0)
    assert "must end within" in fails(world)
    world.monkeypatch.setattr(kernel_run, "PATIENCE", 60)
    world.server.kernel["states"] = ["COMPLETE"]
    run_on_kaggle(world.folders, packed(world))
    assert "ann/digits/3 was pushed before and is not fetched yet: https://" in capfd.readouterr().out
    assert pushes(world) == 1 and kept(world) == ["20260101-000000-fast", "history.csv"]


def test_one_that_was_pushed_from_elsewhere_is_followed(world: World, capfd):
    world.server.kernel |= {"files": ran(world), "states": ["RUNNING", "COMPLETE"], "pushed": True}
    run_on_kaggle(world.folders, packed(world))
    assert "ann/digits is running already, pushed from elsewhere" in capfd.readouterr().out
    assert pushes(world) == 0 and "20260101-000000-fast" in kept(world)


@pytest.mark.parametrize("before", [False, True])
def test_a_push_that_arrived_in_spite_of_a_500_is_not_repeated(world: World, before, capfd):
    world.server.kernel |= {"files": ran(world), "states": ["COMPLETE", "QUEUED", "COMPLETE"], "pushed": before}
    if not before:
        world.server.kernel["states"] = ["QUEUED", "COMPLETE"]
    world.server.fail("SaveKernel", "after")
    run_on_kaggle(world.folders, packed(world))
    assert pushes(world) == 1
    assert "The answer was lost, but ann/digits is queued" in capfd.readouterr().out


def test_a_push_that_did_not_arrive_is_repeated_while_kaggle_is_busy(world: World):
    world.server.kernel["files"] = ran(world)
    world.server.fail("SaveKernel", 503)
    run_on_kaggle(world.folders, packed(world))
    assert pushes(world) == 2
    world.server.fail("SaveKernel", 503, times=9)
    world.server.kernel["states"] = ["COMPLETE"]
    assert "Kaggle must be able to answer" in fails(world)
    assert pushes(world) == 2 + 1 + len(cli.PAUSES)


def test_kaggles_slug_is_the_one_to_follow(world: World):
    world.server.kernel["files"] = ran(world)
    world.server.kernel["push"] = {"versionNumber": 1, "url": "https://www.kaggle.com/code/ann/digits-2"}
    run_on_kaggle(world.folders, packed(world))
    assert world.server.calls("GetKernelSessionStatus")[-1]["kernelSlug"] == "digits-2"


def test_the_clock_is_no_judge(world: World):
    """This machine's is ten minutes ahead: the run is taken all the same."""
    world.server.kernel["files"] = ran(world, time.strftime("%Y%m%d-%H%M%S-fast", time.gmtime(time.time() - 600)))
    run_on_kaggle(world.folders, packed(world))
    assert len(kept(world)) == 2


def test_outputs_come_in_pages(world: World):
    files = ran(world)
    world.server.kernel["files"] = {**files, **{f"submissions/run/figures/{i}.png": b"" for i in range(50)}}
    run_on_kaggle(world.folders, packed(world))
    assert world.run("submit", "--run", "20260101-000000-fast")[0] == 0
    if world.version != "printed":
        assert len(world.server.calls("ListKernelSessionOutput")) == 4
        assert "/output/submissions/.cache/pixels.npy" not in [body["path"] for body in world.server.calls("GET")]


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ({"error": "Maximum batch GPU session count of 2 reached."}, "count of 2 reached. Next: `kaggle quota` shows"),
        ({"error": "Something is wrong."}, "Received: Kernel push error: Something is wrong. Next: look at"),
        ({"versionNumber": 3, "invalidCompetitionSources": ["digit-recognizer"]}, "attach the kernel's inputs. "
         "Received: The following are not valid competition sources"),
    ],
)  # fmt: skip
def test_a_push_that_failed_with_exit_code_0(world: World, answer, line):
    world.server.kernel["push"] = answer
    assert line in fails(world)
    assert kept(world) == [] and pushes(world) == 1


@pytest.mark.parametrize(
    ("state", "message", "line"),
    [
        ("ERROR", "Your notebook ran out of memory.", "Received: ERROR: Your notebook ran out of memory. (log: "),
        ("CANCEL_ACKNOWLEDGED", "", "Received: CANCEL_ACKNOWLEDGED: no message (log: "),
        ("TIMED_OUT", "", "Received: TIMED_OUT: no message (log: "),  # which the command line does not know
    ],
)
def test_a_kernel_that_ends_badly(world: World, state, message, line):
    world.server.kernel |= {"states": ["RUNNING", state], "message": message, "log": "what the kernel printed"}
    assert line in fails(world)
    assert kept(world) == ["digits.log"]
    assert (world.folders.submissions / "digits.log").read_text() == "what the kernel printed"


def test_a_kernel_that_is_not_shown_to_this_account(world: World):
    world.server.fail("GetKernelSessionStatus", 404, "Not found")
    world.server.fail("GetKernelSessionStatus", 403, "Permission 'kernels.get' was denied")
    assert "account must be allowed" in fails(world)
    assert kept(world) == ["kernels.json"]  # to go on with other credentials


@pytest.mark.parametrize("what", ["old package", "no run", "damaged", "other file", "other run"])
def test_outputs_that_are_refused_stay(world: World, what):
    line = {
        "old package": "made by another version of the package",
        "no run": "no complete run",
        "damaged": "1 whole members of 2",
        "other file": "another submission.csv than the run's",
        "other run": "which is here already",
    }[what]
    right = ran(world)
    files, names = right.copy(), {name.rpartition("/")[2]: name for name in right}
    if what == "old package":
        files[names["manifest.json"]] = files[names["manifest.json"]].replace(package_sha256().encode(), b"old")
    if what == "no run":
        files = {name: content for name, content in files.items() if "/" not in name}
    if what == "damaged":
        files[next(name for name in files if name.endswith("fold1/test.npy"))] = b"<html>"
    if what == "other file":
        files["submission.csv"] += b"\n"
    if what == "other run":
        world.add_run("20260101-000000-fast", label=4)
    world.server.kernel["files"] = files
    before = world.files()
    message = fails(world)
    fetched = world.folders.submissions / "fetched-digits-3"
    assert f"{line}; they stay in {fetched}. Next: https://" in message, message
    assert (fetched / "submission.csv").read_bytes() == files["submission.csv"]
    assert {**before, **world.files()} == world.files()  # nothing else changed
    if what != "other run":
        world.server.kernel["files"] = right
        follow_pushed(world.folders)  # once the outputs are right they are taken
        assert kept(world) == ["20260101-000000-fast", "history.csv"]
    world.server.kernel["files"] = {}
    pushed = pushes(world)
    fails(world)  # and what was refused may be run again
    assert pushes(world) == pushed + 1


def test_a_run_that_was_fetched_before_is_said_to_be_there(world: World, capfd):
    """As after a crash between the last two steps."""
    world.server.kernel["files"] = ran(world)
    folder = packed(world)
    run_on_kaggle(world.folders, folder)
    before = world.files()
    run_on_kaggle(world.folders, folder)
    assert world.files() == before and capfd.readouterr().out.count("is complete") == 2


def test_an_output_that_answers_500_is_fetched_again_and_then_said(world: World):
    """Kaggle's command line 2.2.4 took such an answer for the file: then what arrived is refused, and stays."""
    world.server.kernel["files"] = ran(world)
    world.server.fail("output", 500, times=len(cli.PAUSES) + 1)
    message = fails(world)
    if world.version != "oldest":
        assert "Kaggle must be able to answer. Received: " in message and "Next: the same command" in message
        assert kept(world) == ["kernels.json"]
    follow_pushed(world.folders)
    assert "20260101-000000-fast" in kept(world) and pushes(world) == 1


def test_a_damaged_memory_is_named(world: World):
    (world.folders.submissions / "kernels.json").write_text("{")
    assert "kernels.json must list the pushed kernels. Received: " in fails(world)
    assert pushes(world) == 0 and kept(world) == ["kernels.json"]
