"""`data`: downloads by the real `kaggle` command line from the stand-in server."""

import os
import shutil
import signal
import sys
import threading
import time
from collections import namedtuple

import pytest

from competition.kaggle import cli, client
from tests.kaggle import world as kaggle_world
from tests.kaggle.world import World, competition_zip

world = kaggle_world.world
slow = pytest.mark.slow
RULES = "https://www.kaggle.com/competitions/digit-recognizer/rules"
ALL = ["digit-recognizer.zip"]


def test_a_whole_download(world: World):
    world.server.zipped = competition_zip(world.monkeypatch)
    code, output = world.run("data")
    assert code == 0, output
    assert list(world.files(world.folders.input)) == ALL
    assert "content checked" in output
    assert "500 training and 300 test digits, checked in" in output
    assert world.run("data")[0] == 0
    assert len(world.server.calls("DownloadDataFiles")) == 1


@slow
def test_a_broken_download_goes_on_where_it_stopped(world: World):
    world.server.zipped = competition_zip(world.monkeypatch)
    world.server.fail("GET", "hang")
    part = world.folders.input / ".download" / "digit-recognizer.zip"

    def interrupt():
        while not (part.exists() and part.stat().st_size):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert world.run("data")[0] == 130
    arrived = part.stat().st_size
    assert 0 < arrived < len(world.server.zipped)
    assert list(world.files(world.folders.input)) == [f".download/{part.name}", f".download/{part.name}.kaggle-partial"]
    code, output = world.run("data")
    assert code == 0, output
    assert f"bytes={arrived}-" in [headers.get("Range") for _, _, headers in world.server.requests]
    assert list(world.files(world.folders.input)) == ALL


@slow
def test_a_download_that_hangs(world: World):
    world.server.zipped = competition_zip(world.monkeypatch)
    world.server.fail("GET", "hang")
    world.monkeypatch.setattr(client, "DOWNLOAD_TIMEOUT", 3)
    code, output = world.run("data")
    assert (code, "Kaggle must answer in time. Received: no answer in 3 s" in output) == (1, True)


@slow
def test_a_connection_cut_in_mid_download_is_made_again(world: World):
    world.server.zipped = competition_zip(world.monkeypatch)
    world.server.fail("GET", "cut")
    code, output = world.run("data")
    assert code == 0, output
    assert (world.folders.input / ALL[0]).read_bytes() == world.server.zipped


@slow
@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda zipped: zipped[:5000] + b"damaged" + zipped[5007:], "the zip must be whole"),
        (lambda zipped: b"<html>Sign in</html>", "a page, not data: a proxy or a login in between"),
    ],
)
def test_a_corrupt_download(world: World, damage, line):
    zipped = competition_zip(world.monkeypatch)
    world.server.zipped = damage(zipped)
    world.fails(line, "data")
    world.server.zipped = zipped
    assert world.run("data")[0] == 0


@slow
def test_a_download_of_other_digits(world: World):
    world.server.zipped = competition_zip(world.monkeypatch, known=False)
    world.fails("a zip with other ones", "data")


@pytest.mark.parametrize(
    ("status", "message", "line"),
    [
        pytest.param(403, "You must accept this competition's rules before downloading files.", RULES, marks=slow),
        pytest.param(403, "", "join the competition and accept its rules", marks=slow),
        pytest.param(403, "Phone verification is required", "https://www.kaggle.com/settings", marks=slow),
        pytest.param(404, "Not found", "Kaggle must know the competition", marks=slow),
        pytest.param(401, "", "KAGGLE_KEY are wrong, expired or unreadable. Next: `kaggle auth login`", marks=slow),
    ],
)
def test_a_refused_download(world: World, status, message, line):
    world.server.fail("DownloadDataFiles", status, message)
    world.fails(line, "data")


@slow
def test_a_busy_kaggle(world: World):
    world.server.zipped = competition_zip(world.monkeypatch)
    world.server.fail("DownloadDataFiles", 429, "Too many requests")
    world.server.fail("DownloadDataFiles", 502)
    assert world.run("data")[0] == 0
    (world.folders.input / ALL[0]).unlink()
    world.server.fail("DownloadDataFiles", 500, "Internal error", times=9)
    world.fails("Kaggle must be able to answer. Received: Internal error", "data")
    assert len(world.server.calls("DownloadDataFiles")) == 3 + 1 + len(cli.PAUSES)


def test_what_lies_there_is_not_replaced_by_a_download(world: World):
    (world.folders.input / "train.parquet").write_bytes(b"PAR1" + bytes(50))
    world.fails("Received: train.parquet, a Parquet file", "data")
    assert world.server.requests == []
    world.server.zipped = competition_zip(world.monkeypatch)
    assert world.run("data", "--source", "kaggle")[0] == 0
    assert sorted(world.files(world.folders.input)) == [*ALL, "train.parquet"]


def test_no_credentials(world: World):
    world.monkeypatch.delenv("KAGGLE_KEY")
    world.fails("Kaggle must accept your credentials. Received: none. Next: `kaggle auth login`", "data", "--source",
                "kaggle")  # fmt: skip
    code, output = world.run("data")
    assert (code, "This is the embedded SAMPLE" in output) == (0, True)
    assert world.server.requests == []


@slow
def test_the_network_is_down(world: World):
    world.server.close()
    world.fails("Kaggle must be reachable", "data")


def test_the_disk_is_full(world: World):
    usage = namedtuple("usage", "total used free")(0, 0, 1 << 20)
    with world.monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: usage)
        world.fails("1 MiB free, 20 MiB needed", "data")
    assert world.server.requests == []


def test_the_command_line_is_missing_or_too_old(world: World):
    tools = world.home / "bin"
    tools.mkdir()
    world.monkeypatch.setattr(sys, "executable", str(tools / "python"))
    world.monkeypatch.setenv("PATH", str(tools))
    world.fails("2.2.4 or newer is needed. Received: none. Next: ", "data")
    (tools / "kaggle").write_text("#!/bin/sh\necho Kaggle API 1.6.17\n")
    (tools / "kaggle").chmod(0o755)
    world.monkeypatch.setattr(sys, "executable", str(world.home / "python"))
    world.monkeypatch.setenv("PATH", f"{tools}{os.pathsep}/usr/bin{os.pathsep}/bin")
    world.fails(f"Received: 1.6.17 at {tools}/kaggle. Next: ", "data")
