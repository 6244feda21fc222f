"""Credentials: every form is taken, and none is ever shown."""

import base64
import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from competition.kaggle import cli, client
from tests.kaggle import world as kaggle_world
from tests.kaggle.world import KEY, World, competition_zip
from tests.processes import processes

world = kaggle_world.world
slow = pytest.mark.slow


def give(world: World, form: str) -> str:
    """Leave one form of credentials only; what a request must carry."""
    world.monkeypatch.delenv("KAGGLE_USERNAME")
    world.monkeypatch.delenv("KAGGLE_KEY")
    home = world.home / ".kaggle"
    home.mkdir()
    basic = "Basic " + base64.b64encode(f"ann:{KEY}".encode()).decode()
    if form == "username and key":
        world.monkeypatch.setenv("KAGGLE_USERNAME", "ann")
        world.monkeypatch.setenv("KAGGLE_KEY", KEY)
        return basic
    if form == "token":
        world.monkeypatch.setenv("KAGGLE_API_TOKEN", KEY)
    name, content = {
        "kaggle.json": ("kaggle.json", json.dumps({"username": "ann", "key": KEY})),
        "OAuth": (
            "credentials.json",
            json.dumps(
                {
                    "refresh_token": "refresh-" + KEY,
                    "access_token": KEY,
                    "username": "ann",
                    "access_token_expiration": (datetime.now(UTC) + timedelta(hours=2)).isoformat(),
                }
            ),
        ),
    }.get(form, ("access_token", KEY))
    if form != "token":
        (home / name).write_text(content)
        (home / name).chmod(0o600)
    world.server.token_user = "ann"
    return basic if form == "kaggle.json" else f"Bearer {KEY}"


@slow
@pytest.mark.parametrize("form", ["username and key", "token", "access_token", "kaggle.json", "OAuth"])
def test_every_form_of_credentials_is_taken(world: World, form):
    header = give(world, form)
    assert client.submissions() == []
    assert world.server.requests[-1][2]["Authorization"] == header
    assert client.username() == "ann"
    world.monkeypatch.setenv("VERBOSE", "1")  # makes the command line print the headers of its requests
    assert header not in cli.run_kaggle("competitions", "submission-limits", "digit-recognizer")


@slow
@pytest.mark.parametrize("form", ["token", "kaggle.json"])
def test_refused_credentials_are_named_by_their_place(world: World, form):
    give(world, form)
    world.server.token_user = None  # an expired token is introspected as inactive
    world.server.fail("DownloadDataFiles", 401, "Unauthenticated")
    place = "KAGGLE_API_TOKEN" if form == "token" else str(world.home / ".kaggle" / "kaggle.json")
    world.fails(f"Received: those in {place} are wrong, expired or unreadable", "data")


def test_the_credential_appears_nowhere(world: World):
    """Not in what is printed (even if Kaggle echoes it), not on disk, not in the process list."""
    seen = []
    world.server.watch = lambda: seen.extend(processes(os.getsid, os.getsid(0)))
    world.monkeypatch.setenv("VERBOSE", "1")
    world.server.zipped = competition_zip(world.monkeypatch)
    world.add_run()
    assert world.run("data")[0] == 0
    world.server.fail(
        "StartSubmissionUpload", 400, f"ann:{KEY} sent Basic {KEY} to http://localhost/a?signature=s3cret"
    )
    said = world.fails("ann:… sent Basic … to http://localhost/a", "submit")
    assert "s3cret" not in said
    assert world.run("submit")[0] == 0
    secrets = (KEY, base64.b64encode(f"ann:{KEY}".encode()).decode(), "signed-secret")
    for secret in secrets:
        assert secret not in world.said
        assert not [name for name, content in world.files(world.folders.submissions.parent).items()
                    if secret.encode() in content]  # fmt: skip
    assert any("submit" in line for line in seen)
    assert not any(secret in line for secret in secrets for line in seen)


def test_credentials_that_others_can_read_get_a_warning_with_the_fix(world: World):
    give(world, "kaggle.json")
    file = world.home / ".kaggle" / "kaggle.json"
    file.chmod(0o644)
    world.add_run()
    code, said = world.run("scores")
    assert code == 0, said
    line = f"Warning: other users can read your Kaggle credentials. Next: chmod 600 {file}"
    assert said.count("Warning") == said.count(line) == 1
