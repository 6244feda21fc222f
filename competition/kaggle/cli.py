"""Run Kaggle's command line: as a subprocess, never imported, since `import kaggle` without credentials prints help and
creates a folder. Credentials are its own affair: they are never arguments, and nothing of them gets into a message.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from competition.errors import CompetitionError
from competition.kaggle.credentials import readable_by_others, redacted
from competition.kaggle.failures import KaggleError, explain

OLDEST = (2, 2, 4)  # of the command line: the first whose behaviour the tests pin down
PAUSES = (2, 8, 30)  # seconds before each further attempt while Kaggle is busy
TIMEOUT = 300  # seconds for one command; it has no limit of its own


def run_kaggle(*arguments: str, timeout: float | None = None, tick: Callable[[], None] = lambda: None) -> str:
    """Run the command line; all that it printed, without its warnings, which go to the user once.

    Raises:
        KaggleError: it failed or took longer than `timeout` seconds (TIMEOUT).
    """
    command = _executable()
    for path in readable_by_others():
        _say_once(f"Warning: other users can read your Kaggle credentials. Next: chmod 600 {path}")
    # VERBOSE makes it print the request's headers, and they hold the credential.
    environment = {name: value for name, value in os.environ.items() if name not in ("VERBOSE", "VERBOSE_OUTPUT")}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    ends = time.monotonic() + (timeout or TIMEOUT)
    with subprocess.Popen(
        [command, *arguments], env=environment, text=True, encoding="utf-8", errors="replace", **pipes
    ) as process:
        try:
            while True:
                try:
                    output, errors = process.communicate(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    tick()
                    if time.monotonic() > ends:
                        raise explain(f"no answer in {timeout or TIMEOUT:g} s") from None
        except BaseException:
            process.kill()
            raise
    text = _without_warnings(output) + "\n" + errors
    if process.returncode:
        raise explain(text.strip() or f"exit code {process.returncode}")
    return text


def patiently(call: Callable[[], str]) -> str:
    """Call again after each of PAUSES while Kaggle says it is busy. Only for what may be done twice."""
    for attempt, pause in enumerate(PAUSES, start=1):
        try:
            return call()
        except KaggleError as error:
            if error.kind != "busy":
                raise
            say_busy(pause, attempt)
    return call()


def say_busy(pause: float, attempt: int) -> None:
    """Wait, and say so."""
    print(f"Kaggle is busy; trying again in {pause:g} s ({attempt} of {len(PAUSES)}).", file=sys.stderr)
    time.sleep(pause)


def _without_warnings(output: str) -> str:
    """The command line's output less its warnings; the user sees them once, on stderr."""
    lines = output.splitlines()
    for line in lines:
        if line.startswith("Warning:") and "readable by other" not in line:  # that one is ours, for every file
            _say_once(redacted(line))
    return "\n".join(line for line in lines if not line.startswith("Warning:"))


_SAID: set[str] = set()


def _say_once(line: str) -> None:
    if line not in _SAID:
        _SAID.add(line)
        print(line, file=sys.stderr)


def _executable() -> str:
    """The command line beside this Python, or else on the PATH; not an older one than the tests know."""
    beside = Path(sys.executable).with_name("kaggle")
    command = str(beside) if beside.exists() else shutil.which("kaggle")
    rule = f"The kaggle command line {'.'.join(map(str, OLDEST))} or newer is needed"
    next_step = f"Next: {sys.executable} -m pip install --upgrade kaggle"
    if command is None:
        raise CompetitionError(f"{rule}. Received: none. {next_step}.")
    said = _said_version(command) if command != str(beside) else _installed_version()
    found = re.search(r"\d+\.\d+(\.\d+)?", said)
    if found and tuple(map(int, found[0].split("."))) < OLDEST:
        raise CompetitionError(f"{rule}. Received: {found[0]} at {command}. {next_step}.")
    return command


def _installed_version() -> str:
    try:
        return version("kaggle")
    except PackageNotFoundError:
        return ""


def _said_version(command: str) -> str:
    try:
        return subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
