"""`submit` and `scores`: the real `kaggle` command line against the stand-in server."""

import os
import re
import shutil
import signal
import threading

import pytest

from competition.kaggle import cli, leaderboard
from tests.kaggle import world as kaggle_world
from tests.kaggle.world import World

world = kaggle_world.world
slow = pytest.mark.slow
RULES = "https://www.kaggle.com/competitions/digit-recognizer/rules"


def test_a_run_is_sent_once_and_its_score_kept(world: World):
    run = world.add_run()
    world.server.score_after = 1
    code, said = world.run("submit")
    assert code == 0, said
    assert world.server.uploads == [run.submission_csv.read_bytes()]
    row = world.history()[0]
    message = world.server.asked("CreateSubmission")[0]["submissionDescription"]
    assert message == f"fast, out-of-fold 0.99620, commit abc123, sha256 {row['sha256'][:8]}"
    assert (row["leaderboard"], row["status"], row["submission"]) == ("0.99700", "COMPLETE", "1000")
    assert "0.99700, inside the predicted 0.99680 (0.99580 – 0.99760)" in said
    world.fails("same bytes are sent once", "submit")
    assert len(world.server.uploads) == 1


def test_an_upload_rejected_with_exit_code_0_is_a_failure(world: World):
    world.add_run()
    world.server.fail("PUT", 400)
    world.fails("Could not submit to competition. Next: the same command; nothing was submitted", "submit")
    assert not world.server.asked("CreateSubmission")


@slow
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
    assert len(world.server.asked(method)) == 1


@slow
@pytest.mark.parametrize("failure", [(429, "Too many requests"), (429, ""), (503, "")])
def test_a_busy_kaggle_is_asked_again(world: World, failure):
    world.add_run()
    world.server.fail("StartSubmissionUpload", *failure)
    world.server.fail("ListSubmissions", *failure)
    code, said = world.run("submit")
    assert code == 0, said
    assert said.count("Kaggle is busy; trying again") == 2
    assert len(world.server.submissions) == 1


@slow
def test_a_kaggle_that_stays_busy_is_told_in_a_line(world: World):
    world.add_run()
    world.server.fail("CreateSubmission", 500, "Internal error", times=9)
    world.fails("Kaggle must be able to answer. Received: Internal error", "submit")
    assert len(world.server.asked("CreateSubmission")) == 1 + len(cli.PAUSES)


def test_a_submission_that_arrived_in_spite_of_a_500_is_not_sent_twice(world: World):
    world.add_run()
    world.server.fail("CreateSubmission", "after")
    code, said = world.run("submit")
    assert code == 0, said
    assert len(world.server.uploads) == 1
    assert world.history()[0]["leaderboard"] == "0.99700"


@slow
def test_a_server_that_hangs(world: World):
    world.add_run()
    world.server.fail("StartSubmissionUpload", "hang")
    world.monkeypatch.setattr(cli, "TIMEOUT", 4)
    world.fails("Kaggle must answer in time. Received: no answer in 4 s", "submit")


@slow
def test_a_connection_cut_in_mid_upload_is_made_again(world: World):
    run = world.add_run()
    world.server.fail("PUT", "cut")
    code, said = world.run("submit")
    assert code == 0, said
    assert world.server.uploads == [run.submission_csv.read_bytes()]


@slow
def test_a_connection_cut_in_every_upload(world: World):
    world.add_run()
    world.server.fail("PUT", "cut", times=99)
    world.monkeypatch.setattr(cli, "TIMEOUT", 5)
    world.fails("Received: no answer in 5 s", "submit")
    assert not world.server.submissions


@slow
def test_the_network_goes_down_when_the_answer_is_due(world: World):
    world.add_run()
    world.server.fail("CreateSubmission", "cut")
    world.server.watch = lambda: world.server.asked("CreateSubmission") and world.server.close()
    world.fails("Whether it arrived is not known: `make scores` tells", "submit")


@slow
def test_a_success_that_kaggles_list_does_not_show_is_a_failure(world: World):
    world.add_run()
    world.server.loses = True
    code, said = world.run("submit")
    assert code == 1
    assert "Kaggle's list must show what was sent" in said
    assert not world.history()[0]["submission"]


@slow
def test_what_kaggle_lists_already_is_not_sent_again_unless_forced(world: World):
    run = world.add_run()
    world.server.submissions = [world.listed(run)]
    code, said = world.run("submit")
    assert (code, world.server.uploads) == (1, [])
    assert "sent 2026-01-02" in said
    assert world.history()[0]["leaderboard"] == "0.99643"
    assert world.run("submit", "--force")[0] == 0
    assert world.history()[0]["submission"] == "1001"


@slow
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
    world.fails("names a complete run", "submit", "--run", "nowhere")
    assert world.server.requests == []


@slow
def test_a_file_of_unknown_origin_needs_force(world: World):
    file = world.home / "mine.csv"
    file.write_text(world.add_run().submission.read_text().replace("\n5,3\n", "\n5,4\n"))
    world.fails("of unknown origin", "submit", "--file", str(file))
    code, said = world.run("submit", "--file", str(file), "--force")
    assert code == 0, said
    assert [row["leaderboard"] for row in world.history()] == ["", "0.99700"]
    assert "mine.csv, sha256" in world.server.asked("CreateSubmission")[0]["submissionDescription"]
    world.fails("same bytes are sent once", "submit", "--file", str(file))


@slow
def test_no_wait_leaves_the_score_to_scores(world: World):
    world.add_run()
    world.server.score_after = 1
    code, said = world.run("submit", "--no-wait")
    assert (code, "No score yet. Next: `make scores`" in said) == (0, True)
    assert (world.history()[0]["status"], world.history()[0]["leaderboard"]) == ("PENDING", "")
    code, said = world.run("scores")
    assert code == 0, said
    assert re.search(r"^20260101-000000-fast +0.99620 +0.99680 +0.99700 +0.99580–0.99760 +yes$", said, re.MULTILINE)
    assert world.history()[0]["leaderboard"] == "0.99700"


@slow
def test_a_score_outside_the_interval_is_told(world: World):
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


@slow
def test_a_submission_that_kaggle_cannot_score(world: World):
    world.add_run()
    world.server.final_status = "ERROR"
    code, said = world.run("submit")
    assert (code, "Received: ERROR for submission 1000. Next: read the reason at" in said) == (1, True)
    assert world.history()[0]["status"] == "ERROR"


@slow
def test_a_score_that_never_comes(world: World):
    world.add_run()
    world.server.score_after = 99
    world.monkeypatch.setattr(leaderboard, "PATIENCE", 1)
    code, said = world.run("submit")
    assert (code, "none yet for submission 1000. Next: `make scores`" in said) == (1, True)
    assert (world.history()[0]["submission"], world.history()[0]["status"]) == ("1000", "PENDING")


@slow
def test_ctrl_c_while_waiting(world: World):
    world.add_run()
    world.server.score_after = 3

    def interrupt():
        if len(world.server.asked("ListSubmissions")) == 3:
            world.server.watch = lambda: None
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()

    world.server.watch = interrupt
    code, said = world.run("submit")
    assert (code, "`make scores` finds it" in said) == (130, True)
    for _ in range(3):
        assert world.run("scores")[0] == 0
    assert world.history()[0]["leaderboard"] == "0.99700"


@slow
def test_scores_with_nothing_to_show(world: World):
    world.fails("must list a run", "scores")
    world.add_run()
    assert "lists no submission of a run here" in world.run("scores")[1]


@slow
def test_a_list_of_more_than_one_page_and_warnings_before_it(world: World):
    old, new = world.add_run(), world.add_run("20260102-000000-fast", label=4)
    others = [world.listed(old, ref=i, description="by hand, with a comma\nand a new line") for i in range(100, 145)]
    world.server.submissions = [world.listed(new, ref=200), *others, world.listed(old, ref=7)]
    world.server.headers = {"X-Kaggle-APIVersion": "99.0.0"}
    code, said = world.run("scores")
    assert code == 0, said
    assert [row["submission"] for row in world.history()] == ["7", "200"]
    assert said.count("outdated `kaggle` version") == 1


@slow
def test_a_list_that_cannot_be_had_loses_no_score(world: World):
    world.server.submissions = [world.listed(world.add_run())]
    assert world.run("scores")[0] == 0
    for status, message in ((500, "Internal error"), (200, "")):
        world.server.fail("ListSubmissions", status, message, times=9)
        world.fails("Received: ", "scores")
    assert world.history()[0]["leaderboard"] == "0.99643"
