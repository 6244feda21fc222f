"""What a person reads while members train: a live line on a terminal, a line a minute elsewhere."""

import os
import pty
import re
import sys
import termios
import threading
import time
from types import SimpleNamespace

import pytest

from competition.execution import progress
from competition.execution.progress import Progress

FACTS = {"accuracy": 0.9876, "epochs": 3, "seconds": 30.0}


@pytest.fixture
def clock(monkeypatch):
    """The time, as a test sets it: `clock.now`."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def counted(clock):
    """Two members of four epochs, and one that was finished before, in a log."""
    counted = Progress(2, done=1, epochs=4)
    yield counted
    counted.close()


def test_the_time_left_goes_by_epochs(clock, counted, capsys):
    assert counted._left() == ""  # nobody knows yet
    clock.now = 30.0
    counted.epoch("first", {})
    assert counted._left() == ", 03:30 left"  # one of eight took 30 seconds
    clock.now = 50.0
    counted.member("first", FACTS, 0.98)  # it stopped early: its four epochs are done
    assert counted._left() == ", 00:50 left"
    clock.now = 200.0
    counted.member("second", FACTS, 0.99)
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "member 2 of 3 (first): accuracy 0.9876 (all 0.9800), 30 s, 00:50 left",
        "member 3 of 3 (second): accuracy 0.9876 (all 0.9900), 30 s",
    ]


class Waits:
    """In place of an Event: the clock goes on by what is waited for, and at each awakening something happens."""

    def __init__(self, clock, *happenings):
        self.clock, self.happenings, self.waited = clock, list(happenings), []

    def wait(self, seconds):
        self.waited.append(seconds)
        self.clock.now += max(0, seconds)
        if self.happenings:
            self.happenings.pop(0)()
            return False
        return True

    def set(self):
        """Nobody waits."""


def test_a_log_hears_of_the_training_after_each_minute_without_a_line(clock, counted, capsys):
    def nothing():
        pass

    def another_line():
        counted.epoch("first", {})
        clock.now += 10
        counted.say("a line")

    counted.closed.set()  # the thread of the fixture ends; here its work is called
    counted.closed = Waits(clock, nothing, another_line, nothing, nothing)
    counted._remind()
    assert counted.closed.waited == [60, 60, 60, 60, 60]
    assert capsys.readouterr().out.splitlines() == [
        "still training: 4 of 12 epochs",
        "a line",
        "still training: 5 of 12 epochs, 22:10 left",
        "still training: 5 of 12 epochs, 29:10 left",
    ]


def test_the_lines_come_by_themselves_and_end_with_the_training(monkeypatch, capsys):
    monkeypatch.setattr(progress, "QUIET", 0.02)
    counted = Progress(2, done=0, epochs=4)
    said = ""
    end = time.monotonic() + 30
    while said.count("still training: 0 of 8 epochs\n") < 3:
        assert time.monotonic() < end, said
        time.sleep(0.01)
        said += capsys.readouterr().out
    counted.close()
    time.sleep(0.1)
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().out == ""


def test_on_a_terminal_one_live_line_and_no_reminders(monkeypatch):
    """What a terminal of 100 columns is sent, as a person would see it at the end of each epoch."""
    monkeypatch.setattr(progress, "QUIET", 0.02)
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    before = threading.active_count()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr("tqdm.std.tqdm.monitor_interval", 0)
        counted = Progress(2, done=1, epochs=4)
        assert threading.active_count() == before
        for _ in range(2):
            time.sleep(0.15)  # tqdm draws ten times a second at most
            counted.epoch("first", {"val_accuracy": 0.9712})
        counted.member("first", FACTS, 0.98)
        counted.close()
        print("END", end="", file=terminal, flush=True)
        sent = b""
        while not sent.endswith(b"END"):
            sent += os.read(master, 100_000)
    os.close(master)
    sent = sent.decode().removesuffix("END")
    screens = [line.rstrip() for line in re.split(r"[\r\n]+", sent) if line.strip()]
    assert re.fullmatch(r"member 2 of 3 █{8} {17}4/12 epochs, \? left", screens[0])
    live = [line for line in screens if re.search(r"6/12 epochs, 00:0\d left, accuracy 0\.9712", line)]
    assert live and all(line.startswith("member 2 of 3 ") for line in live)
    assert sum(line.startswith("member 2 of 3 (first): accuracy 0.9876") for line in screens) == 1
    assert "still training" not in sent
    assert sent.endswith("\r") and sent.rstrip("\r").endswith(" " * 20)  # the line is wiped at the end
