"""`submit` and `scores`, against the stand-in server: what is sent is sent once, and its score finds its way."""

import os
import re
import shutil
import signal

import pytest

from competition.kaggle import cli, leaderboard
from competition.runs import history
from tests.kaggle import world as kaggle_world
from tests.kaggle.world import World

oldest, world, real_world = kaggle_world.oldest, kaggle_world.each_world, kaggle_world.real_world
RULES = "https://www.kaggle.com/competitions/digit-recognizer/rules"


def test_a_run_is_sent_once_and_its_score_kept(world: World):
    run = world.add_run()
    world.server.score_after = 1
    code, printed = world.run("submit")
    assert code == 0, printed
    assert world.server.uploads == [run.submission_csv.read_bytes()]
    row = world.history()[0]
    message = world.server.calls("CreateSubmission")[0]["submissionDescription"]
    assert message == f"fast, out-of-fold 0.99620, commit abc123, sha256 {row['sha256'][:8]}"
    assert (row["leaderboard"], row["status"], row["submission"]) == ("0.99700", "COMPLETE", "1000")
    assert "0.99700, inside the predicted 0.99680 (0.99580 – 0.99760)" in printed
    assert "0.99700" in (world.folders.submissions / "index.html").read_text("utf-8")  # the page of all runs
    world.fails("A file is sent once", "submit")
    assert len(world.server.uploads) == 1


def test_a_run_without_a_predicted_score_is_sent_by_force_alone(world: World):
    run = world.add_run()
    blank = dict.fromkeys(("predicted", "predicted_low", "predicted_high"), "")
    history.add(world.folders, history.find(world.folders, run) | {"status": history.UNLIKE} | blank)
    world.fails("A submission has a predicted score", "submit")
    assert not world.server.uploads
    code, printed = world.run("submit", "--force")
    assert (code, len(world.server.uploads)) == (0, 1)
    assert "Leaderboard score 0.99700; none was predicted, as test.csv is unlike train.csv." in printed
    assert re.search(r"-fast +0.99620 +none +0.99700", world.run("scores")[1])


def test_an_upload_rejected_with_exit_code_0_is_a_failure(world: World):
    world.add_run()
    world.server.fail("PUT", 400)
    world.fails("Could not submit to competition. Next: the same command; nothing was submitted", "submit")
    assert not world.server.calls("CreateSubmission")


@pytest.mark.parametrize(
    ("method", "status", "message", "line"),
    [
        ("CreateSubmission", 400, "Submission Limits reached", "Received: Submission Limits reached"),
        ("CreateSubmission", 400, "Line 3: bad id", "Received: Line 3: bad id."),
        ("StartSubmissionUpload", 403, "You must accept this competition's rules first", RULES),
        ("StartSubmissionUpload", 403, "Permission 'competitions.submit' was denied", "account must be"),
        ("StartSubmissionUpload", 403, "", "account must be allowed"),
        ("StartSubmissionUpload", 404, "Competition not found", "Kaggle must know"),
        ("CreateSubmission", 403, "Please verify your phone number", "https://www.kaggle.com/settings"),
        ("StartSubmissionUpload", 401, "Unauthenticated", "KAGGLE_KEY are wrong, expired"),
    ],
)
def test_a_refused_submission(world: World, method, status, message, line):
    world.add_run()
    world.server.fail(method, status, message)
    world.fails(line, "submit")
    assert not world.server.submissions
    assert len(world.server.calls(method)) == 1


@pytest.mark.parametrize("failure", [(429, "Too many requests"), (429, ""), (503, "")])
def test_a_busy_kaggle_is_tried_again(world: World, failure):
    world.add_run()
    world.server.fail("StartSubmissionUpload", *failure)
    world.server.fail("ListSubmissions", *failure)
    code, printed = world.run("submit")
    assert code == 0, printed
    assert printed.count("Kaggle is busy; trying again") == 2
    assert len(world.server.submissions) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_kaggle_says_how_long_to_wait(world: World, status):
    """Retry-After is heeded, visibly; beyond some minutes the user decides."""
    world.add_run()
    world.server.headers = {"Retry-After": "1.5"}
    world.server.fail("ListSubmissions", status)
    code, printed = world.run("submit")
    assert (code, "Kaggle is busy; trying again in 1.5 s (1 of 2)." in printed) == (0, True), printed
    world.server.headers = {"Retry-After": "3600"}
    world.server.fail("ListSubmissions", status)
    world.fails("Kaggle asks to wait 60 minutes.", "scores")


def test_a_kaggle_that_stays_busy_is_named_in_a_line(world: World):
    world.add_run()
    world.server.fail("CreateSubmission", 500, "Internal error", times=9)
    world.fails("Kaggle must be able to answer. Received: Internal error", "submit")
    assert len(world.server.calls("CreateSubmission")) == 1 + len(cli.PAUSES)


def test_a_submission_that_arrived_in_spite_of_a_500_is_not_sent_twice(world: World):
    world.add_run()
    world.server.fail("CreateSubmission", "after")
    code, printed = world.run("submit")
    assert code == 0, printed
    assert len(world.server.uploads) == 1
    assert world.history()[0]["leaderboard"] == "0.99700"


def test_a_server_that_hangs(real_world: World):
    real_world.add_run()
    real_world.server.fail("StartSubmissionUpload", "hang")
    real_world.monkeypatch.setattr(cli, "TIMEOUT", 4)
    real_world.fails("Kaggle must answer in time. Received: no answer in 4 s", "submit")


def test_a_connection_cut_in_mid_upload_is_made_again(real_world: World):
    run = real_world.add_run()
    real_world.server.fail("PUT", "cut")
    code, printed = real_world.run("submit")
    assert code == 0, printed
    assert real_world.server.uploads == [run.submission_csv.read_bytes()]


def test_a_connection_cut_in_every_upload(real_world: World):
    real_world.add_run()
    real_world.server.fail("PUT", "cut", times=99)
    real_world.monkeypatch.setattr(cli, "TIMEOUT", 5)
    real_world.fails("Received: no answer in 5 s", "submit")
    assert not real_world.server.submissions


def test_the_network_goes_down_when_the_answer_is_due(real_world: World):
    real_world.add_run()
    real_world.server.fail("CreateSubmission", "cut")
    real_world.server.watch = lambda: real_world.server.calls("CreateSubmission") and real_world.server.close()
    real_world.fails("Next: `make scores` brings its score: whether it arrived is not known.", "submit")


def test_a_success_that_kaggles_list_does_not_show_is_a_failure(world: World):
    world.add_run()
    world.server.loses = True
    code, printed = world.run("submit")
    assert code == 1
    assert "Kaggle's list must show what was sent" in printed
    assert not world.history()[0]["submission"]


def test_what_kaggle_lists_already_is_not_sent_again_unless_forced(world: World):
    run = world.add_run()
    world.server.submissions = [world.listed(run)]
    code, printed = world.run("submit")
    assert (code, world.server.uploads) == (1, [])
    assert "sent 2026-01-02" in printed
    assert world.history()[0]["leaderboard"] == "0.99643"
    assert world.run("submit", "--force")[0] == 0
    assert world.history()[0]["submission"] == "1001"


def test_no_submission_is_left_today(world: World):
    world.add_run()
    world.server.left = 0
    world.fails("0 left. Next: wait until 00:00 UTC", "submit")
    world.server.total = 0
    world.fails("join the competition", "submit")
    assert not world.server.uploads
    assert world.run("submit", "--force")[0] == 0


def test_what_saw_other_data_is_never_sent(world: World):
    run = world.add_run(source="sample")
    for arguments in ((), ("--force",), ("--file", str(run.submission_csv), "--force")):
        world.fails("fast, made from sample data", "submit", *arguments)
    manifest = run.manifest
    run.write_json("manifest.json", {**manifest, "source": "kaggle"})
    world.fails("member repeat1-fold1 was made from sample data", "submit", "--force")
    run.write_json(
        "manifest.json", {**manifest, "source": "kaggle", "identity": {**manifest["identity"], "data": ["0", "1"]}}
    )
    world.fails("manifest names other data", "submit", "--force")
    run.write_json("manifest.json", manifest)
    copy = world.home / "copy.csv"
    shutil.move(run.submission_csv, copy)
    shutil.move(run.path, world.home)
    world.fails("fast, made from sample data", "submit", "--file", str(copy), "--force")
    shutil.move(world.home / run.name, run.path)
    shutil.move(copy, run.submission_csv)
    shutil.rmtree(run.path / "members")
    run.write_json("manifest.json", {**manifest, "source": "kaggle"})
    world.fails("0 of 2 members", "submit", "--force")
    assert world.server.requests == []


def test_a_file_that_is_not_as_the_run_wrote_it_or_not_valid(world: World):
    run = world.add_run()
    text = run.submission_csv.read_text()
    run.submission_csv.write_text(text.replace("\n5,3\n", "\n5,4\n"))
    world.fails("must be as the run wrote it", "submit", "--force")
    run.submission_csv.write_text(text.replace("\n5,3\n", "\n5,10\n"))
    world.fails("'10' in row 5", "submit", "--file", str(run.submission_csv), "--force")
    world.fails("must be a readable file", "submit", "--file", "nowhere.csv")
    world.fails("RUN names a run", "submit", "--run", "nowhere")
    assert world.server.requests == []


def test_a_file_of_unknown_origin_needs_force(world: World):
    file = world.home / "mine.csv"
    file.write_text(world.add_run().submission_csv.read_text().replace("\n5,3\n", "\n5,4\n"))
    world.fails("of unknown origin", "submit", "--file", str(file))
    code, printed = world.run("submit", "--file", str(file), "--force")
    assert code == 0, printed
    assert [row["leaderboard"] for row in world.history()] == ["", "0.99700"]
    assert "mine.csv, sha256" in world.server.calls("CreateSubmission")[0]["submissionDescription"]
    world.fails("A file is sent once", "submit", "--file", str(file))


def test_no_wait_leaves_the_score_to_scores(world: World):
    world.add_run()
    world.server.score_after = 1
    code, printed = world.run("submit", "--no-wait")
    assert (code, "No score yet. Next: `make scores`" in printed) == (0, True)
    assert (world.history()[0]["status"], world.history()[0]["leaderboard"]) == ("PENDING", "")
    code, printed = world.run("scores")
    assert code == 0, printed
    assert re.search(r"^20260101-000000-fast +0.99620 +0.99680 +0.99700 +0.99580–0.99760 +yes$", printed, re.MULTILINE)
    assert world.history()[0]["leaderboard"] == "0.99700"


def test_a_score_outside_the_interval_is_named(world: World):
    world.server.submissions = [world.listed(world.add_run(), publicScore="0.99300")]
    assert re.search(r" 0.99300 +0.99580–0.99760 +no$", world.run("scores")[1], re.MULTILINE)


def test_the_table_of_scores_fits_into_80_columns():
    row = dict(zip(("predicted", "predicted_low", "predicted_high"), ("0.99634", "0.99531", "0.99731"), strict=True))
    rows = [
        {**row, "run": "20260203-101500-standard", "oof_accuracy": "0.99611", "leaderboard": "0.99300", "status": ""},
        {**dict.fromkeys(row, ""), "run": "file-0a1b2c3d", "oof_accuracy": "", "leaderboard": "", "status": "PENDING"},
    ]
    assert leaderboard.table(rows).splitlines() == [
        "                     run out-of-fold predicted leaderboard        interval holds",
        "20260203-101500-standard     0.99611   0.99634     0.99300 0.99531–0.99731    no",
        "           file-0a1b2c3d           –         –     pending               –     –",
    ]
    assert leaderboard.inside({**rows[0], "leaderboard": "0.99731"}) is True


def test_a_submission_that_kaggle_cannot_score(world: World):
    world.add_run()
    world.server.final_status, world.server.reason = "ERROR", "Evaluation exception: 3 rows lack a label"
    code, printed = world.run("submit")
    reason = "" if world.version == "oldest" else f": {world.server.reason}"  # 2.2.4 cannot tell
    assert code == 1
    assert f"Received: ERROR for submission 1000{reason}. Next: https://www.kaggle.com/" in printed, printed
    assert world.history()[0]["status"] == "ERROR"


def test_a_score_that_never_comes(world: World):
    world.add_run()
    world.server.score_after = 99
    world.monkeypatch.setattr(leaderboard, "PATIENCE", 1)
    code, printed = world.run("submit")
    assert (code, "Received: PENDING for submission 1000. Next: `make scores`" in printed) == (1, True), printed
    assert (world.history()[0]["submission"], world.history()[0]["status"]) == ("1000", "PENDING")


@pytest.mark.parametrize("failure", ["cut", 503, 200])
def test_failing_looks_while_waiting_for_the_score(world: World, failure):
    """Some end nothing; when they stay, the next step is `make scores`: the same command would be refused."""
    world.add_run()
    world.server.score_after = 2

    def fail_looks(times):
        if world.server.uploads and times:
            world.server.watch = lambda: None
            world.server.fail("ListSubmissions", failure, times=times)

    world.server.watch = lambda: fail_looks(2)
    code, printed = world.run("submit")
    assert (code, world.history()[0]["leaderboard"]) == (0, "0.99700"), printed
    world.server.watch = lambda: len(world.server.uploads) == 2 and fail_looks(99)
    code, printed = world.run("submit", "--force")
    assert code == 1
    assert printed.rstrip().endswith("Next: `make scores` brings its score: the file was sent."), printed
    world.server._failures.clear()
    assert world.run("scores")[0] == 0
    assert [row["submission"] for row in world.history()] == ["1001"]


def test_a_status_that_the_command_line_does_not_know(world: World):
    world.add_run()
    world.server.final_status = "RESCORING"
    world.monkeypatch.setattr(leaderboard, "PATIENCE", 1)
    code, printed = world.run("submit")
    assert code == 1 and "gives a score in 1 s. Received: RESCORING. Next: `make scores`" in printed, printed
    world.fails("must know the status that Kaggle reports. Received: KeyError: 'RESCORING'. Next: ", "scores")
    world.server.submissions[0]["status"] = "COMPLETE"
    assert world.run("scores")[0] == 0
    world.server.final_status = "TIMED_OUT"
    world.monkeypatch.setattr(leaderboard, "PATIENCE", 99)
    code, printed = world.run("submit", "--force")
    assert code == 1 and "KeyError: 'TIMED_OUT'. Next: `make scores` brings its score" in printed, printed


def test_a_page_of_a_proxy_is_no_list(world: World):
    world.add_run()
    world.server.fail("ListSubmissions", 200, times=9)
    world.fails("Kaggle must answer with data. Received: a page, not data: a proxy or a login in between", "scores")


def test_ctrl_c_while_waiting(world: World):
    world.add_run()
    world.server.score_after = 3

    def interrupt():
        if len(world.server.calls("ListSubmissions")) == 3:
            world.server.watch = lambda: None
            os.kill(os.getpid(), signal.SIGINT)

    world.server.watch = interrupt
    code, printed = world.run("submit")
    assert (code, "`make scores` finds it" in printed) == (130, True)
    for _ in range(3):
        assert world.run("scores")[0] == 0
    assert world.history()[0]["leaderboard"] == "0.99700"


def test_scores_brings_the_page_of_all_runs_up_to_date(world: World):
    run = world.add_run()
    world.server.submissions = [world.listed(run, ref=7)]
    assert world.run("scores")[0] == 0
    page = (world.folders.submissions / "index.html").read_text("utf-8")
    assert world.history()[0]["leaderboard"] in page and run.name in page


def test_scores_with_nothing_to_show(world: World):
    world.fails("must list a run", "scores")
    world.add_run()
    assert "lists no submission of a run here" in world.run("scores")[1]


def test_a_list_of_more_than_one_page_and_warnings_before_it(real_world: World):
    old, new = real_world.add_run(), real_world.add_run("20260102-000000-fast", label=4)
    others = [
        real_world.listed(old, ref=i, description="by hand, with a comma\nand a new line") for i in range(100, 145)
    ]
    real_world.server.submissions = [real_world.listed(new, ref=200), *others, real_world.listed(old, ref=7)]
    real_world.server.headers = {"X-Kaggle-APIVersion": "99.0.0"}
    code, printed = real_world.run("scores")
    assert code == 0, printed
    assert [row["submission"] for row in real_world.history()] == ["7", "200"]
    assert printed.count("outdated `kaggle` version") == 1


def test_a_list_that_cannot_be_had_loses_no_score(world: World):
    world.server.submissions = [world.listed(world.add_run())]
    assert world.run("scores")[0] == 0
    for status, message in ((500, "Internal error"), (200, "")):
        world.server.fail("ListSubmissions", status, message, times=9)
        world.fails("Received: ", "scores")
    assert world.history()[0]["leaderboard"] == "0.99643"
