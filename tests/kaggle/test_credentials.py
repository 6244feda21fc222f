"""Credentials: every form is taken, and none is ever shown."""

import base64
import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from competition.kaggle import cli, client
from competition.kaggle.failures import explain
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


@pytest.mark.parametrize("place", ["KAGGLE_API_TOKEN", "access_token", "kaggle.json"])
def test_what_is_wrong_with_the_form_of_credentials_is_named(place, tmp_path, monkeypatch):
    """As the command line prints it: it quotes the token, which is not shown."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("KAGGLE_")]:
        monkeypatch.delenv(name)
    (tmp_path / ".kaggle").mkdir()
    printed, expected = f"ValueError: Invalid header value b'Bearer {KEY[:9]}\\n{KEY[9:]}'", "a space or a line break"
    if place == "KAGGLE_API_TOKEN":
        monkeypatch.setenv(place, f"{KEY[:9]}\n{KEY[9:]}")
    elif place == "access_token":
        place = tmp_path / ".kaggle" / "access_token"
        place.write_text(f"{KEY[:9]}\n{KEY[9:]}")
    else:
        place = tmp_path / ".kaggle" / "kaggle.json"
        place.write_text('{"username": "ann"}')
        printed, expected = "Authentication required to call the Kaggle API.", "which holds no key"
    message = str(explain(printed))
    assert message.startswith("Kaggle must accept your credentials. Received: ") and KEY[:9] not in message
    assert str(place) in message and expected in message, message


@slow
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
    printed = world.fails("ann:… sent Basic … to http://localhost/a", "submit")
    assert "s3cret" not in printed
    assert world.run("submit")[0] == 0
    secrets = (KEY, base64.b64encode(f"ann:{KEY}".encode()).decode(), "signed-secret")
    for secret in secrets:
        assert secret not in world.printed
        assert not [name for name, content in world.files(world.folders.submissions.parent).items()
                    if secret.encode() in content]  # fmt: skip
    assert any("submit" in line for line in seen)
    assert not any(secret in line for secret in secrets for line in seen)


@slow
def test_credentials_that_others_can_read_get_a_warning_with_the_fix(world: World):
    give(world, "kaggle.json")
    file = world.home / ".kaggle" / "kaggle.json"
    file.chmod(0o644)
    world.add_run()
    code, printed = world.run("scores")
    assert code == 0, printed
    line = f"Warning: other users can read your Kaggle credentials. Next: chmod 600 {file}"
    assert printed.count("Warning") == printed.count(line) == 1
