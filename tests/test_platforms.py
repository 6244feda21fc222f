"""Macs and plain Windows, as far as Linux can play them: what they lack is taken away."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from competition.execution.engines import choose_engine
from competition.network import device
from competition.network.device import Setup
from competition.runs.folders import ROOT, Folders
from competition.runs.run import find_run
from tests.soak import SMALL

# As sitecustomize.py, in every process that starts: the names that Python has on Linux and not on macOS, its /proc
# and /sys, and processes that are forked.
MAC = """
import multiprocessing, os, pathlib, signal

for name in dir(os):
    if name.startswith(("sched_", "SCHED_", "eventfd", "EFD_", "memfd_", "MFD_", "pidfd_", "posix_fa", "POSIX_FADV",
                        "getres", "setres", "xattr", "XATTR")) or name in (
            "getrandom", "splice", "copy_file_range", "fdatasync", "pipe2", "getxattr", "setxattr", "listxattr",
            "removexattr", "unshare", "setns"):
        delattr(os, name)
for name in ("SC_AVPHYS_PAGES", "SC_NPROCESSORS_ONLN", "SC_PHYS_PAGES"):
    os.sysconf_names.pop(name)
for name in ("sigtimedwait", "sigwaitinfo", "SIGRTMIN", "SIGRTMAX", "SIGSTKFLT", "SIGPWR"):
    if hasattr(signal, name):
        delattr(signal, name)

opened = pathlib.Path.open

def open(self, *arguments, **named):
    if str(self).startswith(("/proc", "/sys")):
        raise FileNotFoundError(2, "No such file or directory", str(self))
    return opened(self, *arguments, **named)

pathlib.Path.open = open
multiprocessing.set_start_method("spawn")
"""


@pytest.fixture
def mac(tmp_path):
    """An environment in which processes find what they would on a Mac."""
    (tmp_path / "mac").mkdir()
    (tmp_path / "mac" / "sitecustomize.py").write_text(MAC)
    sysctl = tmp_path / "mac" / "sysctl"
    sysctl.write_text('#!/bin/sh\n[ "$1 $2" = "-n machdep.cpu.brand_string" ] && echo "Apple M2"\n')
    sysctl.chmod(0o755)
    paths = {name: f"{tmp_path / 'mac'}{os.pathsep}{os.environ.get(name, '')}" for name in ("PYTHONPATH", "PATH")}
    return {**os.environ, **paths}


def test_the_machine_is_known_without_linux(mac, monkeypatch):
    """In this process: the line of hardware, and how cores and memory are divided."""
    monkeypatch.setenv("PATH", mac["PATH"])
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setitem(os.sysconf_names, "SC_AVPHYS_PAGES", None)
    monkeypatch.setattr(Path, "read_text", lambda self: self.open("r"))
    monkeypatch.setattr(Path, "open", lambda self, *_: (_ for _ in ()).throw(FileNotFoundError(str(self))))
    device._processor.cache_clear()
    try:
        assert device.hardware() == f"{os.cpu_count()} cores Apple M2"
    finally:
        device._processor.cache_clear()
    engine = choose_engine()
    assert engine.allocate(Setup("float32", False, None), 6).threads >= 1 and engine.jobs >= 1


def test_the_data_is_read_on_a_mac(mac, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "competition", "data", "--source", "sample", "--submissions", tmp_path],
        cwd=ROOT, env=mac, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0 and "6000 training and 2000 test digits" in done.stdout, done.stderr


@pytest.mark.slow
def test_two_processes_on_a_mac_give_the_bytes_of_one_on_linux(mac, folders):
    """Two threads each, from the CSV to the report."""
    for name, environment, jobs in (("linux", dict(os.environ), "1"), ("mac", mac, "2")):
        command = [sys.executable, "-m", "competition", "train", *SMALL, "--precision", "float32", "--threads", "2"]
        command += ["--jobs", jobs, "--input", folders / "input", "--submissions", folders / name]
        done = subprocess.run(
            [*map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900
        )
        assert (done.returncode, done.stderr) == (0, "") and "none (" not in done.stdout, done.stdout + done.stderr
    linux, mac = (find_run(Folders(folders, folders / name)) for name in ("linux", "mac"))
    assert mac.manifest["hardware"].endswith("cores Apple M2") and mac.manifest["identity"]["threads"] == 2
    assert mac.submission_csv.read_bytes() == linux.submission_csv.read_bytes()
    assert all(np.array_equal(*pair) for pair in zip(mac.probabilities(), linux.probabilities(), strict=True))


def test_plain_windows_is_told_of_wsl():
    """Which has no fcntl, nor the signals of a terminal that closes."""
    code = (
        "import runpy, signal, sys; sys.modules['fcntl'] = None; del signal.SIGHUP, signal.SIGPIPE\n"
        "sys.argv = ['competition', 'train']; runpy.run_module('competition', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: Linux or macOS is needed. Received: Windows. Next: wsl --install")
    assert done.stderr.count("\n") == 1
