import json
import multiprocessing
import shutil
import time

import numpy as np
import pytest

from competition.config import Config
from competition.errors import CompetitionError
from competition.runs import files, history, resuming
from competition.runs.checkpoint import MEMBER_FILES, MemberResult
from competition.runs.folders import Folders
from competition.runs.run import find_run, list_runs

RESULT = MemberResult(
    val_probs=np.full((2, 3, 10), 0.1, np.float32),
    test_probs=np.full((2, 4, 10), 0.1, np.float32),
    weights=[np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, np.float32)],
    history=[{**dict.fromkeys(("accuracy", "val_accuracy", "val_loss"), 0.9), "loss": loss} for loss in (0.5, 0.25)],
    facts={"seed": 7, "accuracy": 0.75, "data_sha256": "a", "seconds": 1.5, "epochs": 2, "kept_epoch": 2},
)
IDENTITY = {"settings": {"epochs": 20}, "data": ["a", "b"], "precision": "float32"}
SCORES = {
    "out_of_fold": {"accuracy": 0.9912345, "low": 0.99, "high": 0.992, "log_loss": 0.03, "errors": 9},
    "leaderboard": {"score": 0.993, "low": 0.991, "high": 0.995},
    "members": {"accuracy": 0.99},
}


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path / "input", tmp_path / "submissions")


def start(folders, identity=IDENTITY, **settings):
    manifest = {"identity": identity, "source": "kaggle", "hardware": "a, b"}
    return resuming.open_run(folders, Config(**settings), manifest)


def finish(folders, run, part=None, label=0):
    run.submission_csv.write_text(f"ImageId,Label\n1,{label}\n")
    history.finish(folders, run, SCORES, {"members": 12.5, "data": 1}, part)


def test_a_member_comes_back_as_it_was_stored(folders):
    run = start(folders)
    run.store_member("m", RESULT)
    loaded = run.load_member("m")
    np.testing.assert_array_equal(loaded.val_probs, RESULT.val_probs)
    assert all((a == b).all() and a.dtype == b.dtype for a, b in zip(loaded.weights, RESULT.weights, strict=True))
    assert loaded.facts == RESULT.facts and loaded.history[1]["loss"] == "0.25"
    assert run.intact_member("other") is None
    with pytest.raises(CompetitionError, match=r"must hold other. Received: none. Next: `make train RUN=.*`\."):
        run.load_member("other")


@pytest.mark.parametrize("name", [*MEMBER_FILES, "done.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_a_damaged_member_is_noticed_and_named(folders, capsys, name, damage):
    run = start(folders)
    run.store_member("m", RESULT)
    path = run.path / "members" / "m" / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
        path.write_bytes({"flip": flipped, "cut": content[:middle], "empty": b""}[damage])
    assert run.intact_member("m") is None
    at_fault = "" if name == "done.json" else f"m/{name} is "  # another file's checksum may be what is damaged in it
    assert (name, damage) == ("done.json", "gone") or f"{at_fault}damaged: m is" in capsys.readouterr().out
    with pytest.raises(CompetitionError, match=r"must hold m. Received: .* Next: `make train RUN=.*`\."):
        run.load_member("m")
    assert capsys.readouterr().out == ""  # a reader's output may be somebody's CSV


def test_settings_of_older_versions_are_read_where_they_mean_what_is_there(folders):
    """A setting's older name; and one that is gone, at the value that all runs have now."""
    run = start(folders, epochs=7)
    older = {name: value for name, value in run.read_json("config.json").items() if name != "tta"}
    run.write_json(
        "config.json", older | {"test_views": 0.25, "teachers": 0, "elastic": 0.0, "grid": 0.0, "unmoved": 0.0}
    )
    assert run.config == Config(epochs=7, tta=0.25)
    run.write_json("config.json", older | {"grid": 1.0})
    with pytest.raises(CompetitionError, match=r"must hold this version's settings\. Received: .*grid"):
        print(run.config)
    run.write_json("config.json", older | {"teachers": 1})
    with pytest.raises(CompetitionError, match=r"must hold this version's settings\. Received: .*teachers"):
        print(run.config)


def test_the_newest_unfinished_run_of_the_same_goes_on(folders, capsys):
    first = start(folders)
    assert start(folders) == first and "Going on with" in capsys.readouterr().out
    other = start(folders, {**IDENTITY, "data": ["a", "c"]})
    assert other != first and "changed since: data" in capsys.readouterr().out
    assert start(folders) in (first, other)
    finish(folders, first)
    assert start(folders) != first
    assert resuming.open_run(folders, Config(), {"identity": IDENTITY}, new=True) not in (first, other)


def test_a_named_run_goes_on_where_nothing_changed(folders):
    """Complete or not; its settings are those of its manifest, as config.json may be what is damaged."""
    run = start(folders)
    finish(folders, run)
    (run.path / "config.json").write_text("damaged")
    for name in (run.name, str(run.path)):
        found, settings, source = resuming.settings_again(folders, name, [])
        assert (found, settings, source) == (run, IDENTITY["settings"], "kaggle")
    run.lock.close()
    assert resuming.open_run(folders, Config(), run.manifest, named=found) == run and run.config == Config()
    changed = {**run.manifest, "identity": {**IDENTITY, "data": ["a", "c"]}}
    with pytest.raises(CompetitionError, match=r"changed since: data. Next: `make train NEW=1`"):
        resuming.open_run(folders, Config(), changed, named=found)
    with pytest.raises(CompetitionError, match=r"Received: epochs as well. Next: `make train RUN="):
        resuming.settings_again(folders, run.name, ["epochs"])
    run.write_json("manifest.json", {**run.manifest, "parents": [{"run": n, "members": {}} for n in "ab"]})
    with pytest.raises(CompetitionError, match=r"Received: a blend. Next: `make blend RUNS=a,b`"):
        resuming.settings_again(folders, run.name, [])


def test_finishing_writes_history_and_done(folders):
    run = start(folders)
    finish(folders, run)
    finish(folders, run)  # again, as after a kill: one row all the same
    (row,) = history.read(folders)
    assert (row["run"], row["oof_accuracy"], row["predicted_low"]) == (run.name, "0.99123", "0.99100")
    assert row["hardware"] == "a, b" and row["seconds"] == "27"
    assert run.complete and json.loads((run.path / "done.json").read_text())["sha256"] == row["sha256"]
    assert find_run(folders) == find_run(folders, run.name) == run


@pytest.fixture(params=("EAST-14", "WEST+12"))
def abroad(request, monkeypatch):
    """The clock of a country far from Greenwich."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


def test_the_newest_run_is_the_newest_by_whatever_clock_it_was_named(folders, abroad):
    """A kernel's is named by UTC, on Kaggle's machines."""
    here = start(folders)
    finish(folders, here)

    def kernels(minutes):
        name = time.strftime("%Y%m%d-%H%M%S-fast", time.gmtime(time.time() + 60 * minutes))
        return type(here)(shutil.copytree(here.path, folders.submissions / name))

    before = kernels(-1)
    assert find_run(folders) == here
    after = kernels(1)
    assert find_run(folders) == after and list_runs(folders) == [before, here, after]


def add_rows(folders, ready, name):
    ready.wait()
    for number in range(20):
        history.add(folders, {"run": f"{name}{number}"})


def test_two_processes_that_write_history_at_once_lose_no_row(folders):
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(2)
    processes = [context.Process(target=add_rows, args=(folders, ready, name)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert sorted(row["run"] for row in history.read(folders)) == sorted(f"{n}{i}" for n in "ab" for i in range(20))


def test_a_run_whose_time_ran_out_goes_on_and_stays_complete_meanwhile(folders, capsys):
    run = start(folders)
    finish(folders, run, ["repeat1-fold1"])
    assert run.complete and not run.whole and run.part == ["repeat1-fold1"] and find_run(folders) == run
    start(folders, {**IDENTITY, "data": ["a", "c"]})
    assert capsys.readouterr().out == ""  # others do not hear that it is unfinished
    assert start(folders) == run and run.complete and run.manifest["seconds"] == {"members": 12.5, "data": 1.0}
    finish(folders, run)
    assert run.whole and run.part is None and run.manifest["seconds"] == {"members": 25.0, "data": 2.0}
    assert start(folders) != run


def test_a_row_that_was_sent_stays_when_its_run_goes_on(folders):
    run = start(folders)
    finish(folders, run, ["repeat1-fold1"])
    sent = history.find(folders, run) | {"submission": "7", "submitted": "2026", "leaderboard": "0.99", "status": "x"}
    history.add(folders, sent)
    finish(folders, run, ["repeat1-fold1"])  # the same bytes
    assert history.read(folders) == [sent | {"seconds": "27"}]
    finish(folders, run, label=1)
    new, old = history.read(folders)
    assert old == sent | {"run": f"{run.name}-{sent['sha256'][:8]}", "seconds": "27"}
    assert new["run"] == run.name and new["submission"] == new["leaderboard"] == "" and new["sha256"] != old["sha256"]


def test_a_run_without_a_prediction_is_listed_as_such(folders):
    run = start(folders)
    finish(folders, run)
    row = history.row_of(run, SCORES | {"leaderboard": None})
    assert (row["predicted"], row["predicted_low"], row["predicted_high"]) == ("", "", "")
    assert row["status"] == history.UNLIKE and history.row_of(run, SCORES)["status"] == ""


def test_recording_copies_the_row_with_a_remark(folders):
    run = start(folders)
    finish(folders, run)
    history.record(folders, None, "first")
    history.record(folders, run.name, 'second, "quoted"')
    lines = folders.record.read_text().splitlines()
    assert len(lines) == 2 and lines[0].endswith(",remark") and lines[1].endswith(',"second, ""quoted"""')


def test_a_table_that_names_a_column_twice_is_refused(tmp_path):
    table = tmp_path / "history.csv"
    table.write_text("run,score,seconds\na,0.99,1\n")
    assert files.read_table(table) == [{"run": "a", "score": "0.99", "seconds": "1"}]
    table.write_text("run,score,score\na,0.99,1\n")  # a dict would hold one of the two
    with pytest.raises(CompetitionError, match=r"history.csv must be a CSV file. Received: a column twice. Next: mend"):
        files.read_table(table)


def test_runs_that_are_not_there_are_said(folders):
    with pytest.raises(CompetitionError, match="Received: none"):
        find_run(folders)
    run = start(folders)
    with pytest.raises(CompetitionError, match=r"which is unfinished. Next: `make train RUN="):
        find_run(folders, run.name)
    with pytest.raises(CompetitionError, match="nothing there"):
        find_run(folders, "other")


def test_a_pickle_in_a_run_is_not_executed(folders):
    run = start(folders)

    class Hostile:
        def __reduce__(self):
            return (pytest.fail, ("executed",))

    np.savez(run.path / "probabilities.npz", test=np.array([Hostile()], dtype=object))
    with pytest.raises(CompetitionError, match="must hold arrays"):
        run.read_arrays("probabilities.npz")
