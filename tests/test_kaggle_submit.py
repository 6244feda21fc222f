"""`submit` and `scores`: the real `kaggle` command line against the stand-in server."""

import pytest

from competition import kaggle_cli, leaderboard
from tests.kaggle_world import KEY, World, world  # noqa: F401: a fixture

NOT_SENT = pytest.mark.slow


def test_a_run_is_sent_and_its_score_kept(world: World):
    run = world.add_run()
    world.server.score_after = 1
    code, said = world.run("submit")
    assert code == 0, said
    assert world.server.uploads == [run.submission.read_bytes()]
    row = world.history()[0]
    message = world.server.asked("CreateSubmission")[0]["submissionDescription"]
    assert message == f"fast, out-of-fold 0.99620, commit abc123, sha256 {row['sha256'][:8]}"
    assert (row["leaderboard"], row["status"], row["submission"]) == ("0.99700", "COMPLETE", "1000")
    assert "0.99700, inside the predicted 0.99680" in said
    world.fails("sent once", "submit")
    assert len(world.server.uploads) == 1
