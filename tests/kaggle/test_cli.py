"""What the command line prints → one line with the step that helps; captured from 2.2.4 and 2.2.5, and by both."""

import errno
import os

import pytest

from competition.kaggle.failures import explain
from tests.kaggle import world as kaggle_world
from tests.kaggle.printed import LOST, UNEXPECTED
from tests.kaggle.world import World, competition_zip

oldest, world, real_world = kaggle_world.oldest, kaggle_world.each_world, kaggle_world.real_world
TRACEBACK = """Traceback (most recent call last):
  File "kagglesdk/kaggle_object.py", line 65, in _from_str
    return cls[v]
           ~~~^^^
"""
TLS = (
    "HTTPSConnectionPool(host='api.kaggle.com', port=443): Max retries exceeded with url: /v1 (Caused by "
    "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed')))"
)


@pytest.mark.parametrize(
    ("printed", "kind", "parts"),
    [
        (f"KeyError: 'RESCORING'\n{UNEXPECTED}", "status", ["Received: KeyError: 'RESCORING'. Next: "]),
        (f"{TRACEBACK}KeyError: 'RESCORING'", "status", ["Received: KeyError: 'RESCORING'. Next: "]),
        (f"ZeroDivisionError: division by zero\n{UNEXPECTED}", "other", ["Received: ZeroDivisionError: division by"]),
        (LOST, "network", ["must be reachable", "https_proxy"]),
        (TLS, "tls", ["certificate must be trusted", "Next: export REQUESTS_CA_BUNDLE="]),
        ("Could not find a suitable TLS CA certificate bundle, invalid path: /no", "tls", ["REQUESTS_CA_BUNDLE="]),
        ("Expecting value: line 1 column 1 (char 0)", "page", ["Received: a page, not data: a proxy or a login"]),
        ("503 Server Error: Service Unavailable for url: http://x", "busy", ["Received: 503 Server Error"]),
        ("Too many requests\n\nYou have been rate limited. Wait a little while before retrying.", "busy",
         ["Received: Too many requests. Next: the same command in some minutes"]),
        ("Kernel push error: Maximum batch GPU session count of 2 reached.", "quota", ["`kaggle quota`", "GPU=none"]),
        ("Kernel push error: You have exceeded your weekly GPU quota.", "quota", ["`kaggle quota`"]),
        ("The following are not valid dataset sources and could not be added to the kernel: ['a/b']", "sources",
         ["attach the kernel's inputs", "`make kernel PUSH=1` again"]),
        ("Permission 'datasets.get' was denied\n\nYou don't have access to this resource.\nIf this is a competition, "
         "you may need to accept its rules first", "forbidden", ["'datasets.get' was denied"]),
        ("404 Client Error: Not Found for url: http://x", "missing", ["must know the competition, kernel or dataset"]),
        ("OSError: [Errno 28] No space left on device", "disk", ["room on the disk", "what arrived is kept"]),
    ],
)  # fmt: skip
def test_each_failure_has_its_own_next_step(printed, kind, parts):
    error = explain(printed)
    assert error.kind == kind and "\n" not in str(error), error
    assert "Received: " in str(error) and "Next: " in str(error)
    assert all(part in str(error) for part in parts), error
    assert "github.com" not in str(error)


@pytest.mark.parametrize("place", ["API", "file"])
def test_a_page_in_place_of_the_download(world: World, place):
    """A proxy's or a hotel's: nothing of it stays in input/."""
    world.server.zipped = competition_zip(world.monkeypatch)
    if place == "API":
        world.server.fail("DownloadDataFiles", 200)
    else:
        world.server.fail("GET", "page")
    world.fails("Received: a page, not data: a proxy or a login in between", "data")
    assert not list(world.folders.input.glob(".download/*"))
    assert world.run("data")[0] == 0


def test_a_disk_that_is_full_once_the_zip_is_there_keeps_it(world: World):
    """It is read as it is: what finds no room is the parsed copy, and costs time."""
    world.server.zipped = competition_zip(world.monkeypatch)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with world.monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        code, printed = world.run("data")
    assert code == 0 and "No space left on device" in printed, printed
    assert (world.folders.input / "digit-recognizer.zip").read_bytes() == world.server.zipped
    assert len(world.server.calls("DownloadDataFiles")) <= 1
    assert world.run("data")[0] == 0


def test_a_certificate_that_is_not_trusted(real_world: World):
    """By the command line itself: it looks for the bundle before it connects."""
    real_world.monkeypatch.delenv("KAGGLE_API_ENVIRONMENT")
    real_world.monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    real_world.fails("Kaggle's certificate must be trusted. Received: Could not find a suitable TLS CA", "data",
                     "--source", "kaggle")  # fmt: skip


def test_hours_and_retry_after_are_read_and_no_credential_stays(real_world: World):
    """For them the command line prints the headers of requests too, which hold the key."""
    real_world.server.headers = {"Retry-After": "Wed, 01 Jan 2020 00:00:00 GMT"}
    real_world.server.fail("GetSubmissionLimits", 429, "Too many requests", times=3)
    real_world.add_run()
    code, printed = real_world.run("submit")
    assert code == 1 and "Kaggle must be able to answer" in printed
    assert "Authorization" not in printed and kaggle_world.KEY not in printed and "DEBUG" not in printed
