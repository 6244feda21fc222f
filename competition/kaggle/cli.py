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
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from competition.errors import CompetitionError
from competition.kaggle.credentials import readable_by_others, redacted
from competition.kaggle.failures import KaggleError, explain

OLDEST = (2, 2, 4)  # of the command line: the first whose behaviour the tests pin down
PAUSES = (2, 8, 30)  # seconds before each further attempt while Kaggle is busy
LONGEST_PAUSE = 300  # seconds that Kaggle may ask for in Retry-After; beyond them the user decides
TIMEOUT = 300  # seconds for one command; it has no limit of its own
# What it prints of each request and response with VERBOSE=1, the credential included.
EXCHANGE = re.compile(r"^-+(Request|Response)-+\n.*?^-{50}\n", re.MULTILINE | re.DOTALL)


def run_kaggle(
    *arguments: str, timeout: float | None = None, tick: Callable[[], object] = lambda: None, download: bool = False
) -> str:
    """Run the command line; all that it printed, without its warnings, which go to the user once.

    Args:
        timeout: seconds; None takes TIMEOUT.
        tick: called about twice a second.
        download: whether files come; otherwise the headers of Kaggle's responses are read as well, for Retry-After.

    Raises:
        KaggleError: it failed or took too long.
    """
    command = _executable()
    for path in readable_by_others():
        _warn_once(f"Warning: other users can read your Kaggle credentials. Next: chmod 600 {path}")
    environment = {name: value for name, value in os.environ.items() if name not in ("VERBOSE", "VERBOSE_OUTPUT")}
    if not download:  # whose whole content it would print
        environment["VERBOSE"] = "1"
    output = errors = ""
    ends = time.monotonic() + (timeout or TIMEOUT)
    with subprocess.Popen(
        [command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment, text=True, encoding="utf-8", errors="replace",
    ) as process:  # fmt: skip
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
    waits = [_seconds(value) for value in re.findall(r"^Retry-After: (.*)", output, re.MULTILINE | re.IGNORECASE)]
    errors = re.sub(r"^(DEBUG|INFO):.*\n?", "", errors, flags=re.MULTILINE)
    text = _without_warnings(EXCHANGE.sub("", output)) + "\n" + errors
    if process.returncode:
        error = explain(text.strip() or f"exit code {process.returncode}")
        error.retry_after = waits[-1] if waits else None
        raise error
    return text


def patiently(call: Callable[[], str]) -> str:
    """Call again after each of PAUSES, or when Kaggle asks for, while it is busy. Only for what may be done twice."""
    for attempt in range(1, len(PAUSES) + 1):
        try:
            return call()
        except KaggleError as error:
            if error.kind != "busy":
                raise
            wait_while_busy(error, attempt)
    return call()


def wait_while_busy(error: KaggleError, attempt: int) -> None:
    """Wait for as long as Kaggle asks for, else the attempt's of PAUSES, and say so.

    Raises:
        KaggleError: the same, when Kaggle asks for more than LONGEST_PAUSE.
    """
    pause = max(PAUSES[attempt - 1], error.retry_after or 0)
    if pause > LONGEST_PAUSE:
        raise KaggleError(error.kind, f"{error} Kaggle asks to wait {pause / 60:.0f} minutes.")
    print(f"Kaggle is busy; trying again in {pause:g} s ({attempt} of {len(PAUSES)}).", file=sys.stderr)
    time.sleep(pause)


def _seconds(retry_after: str) -> float | None:
    """How long a Retry-After header asks to wait: it holds seconds or a date (RFC 9110, 10.2.3)."""
    try:
        return float(retry_after)
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


def _without_warnings(output: str) -> str:
    """The command line's output less its warnings; the user sees them once, on stderr."""
    lines = output.splitlines()
    for line in lines:
        if line.startswith("Warning:") and "readable by other" not in line:  # that one is ours, for every file
            _warn_once(redacted(line))
    return "\n".join(line for line in lines if not line.startswith("Warning:"))


_WARNED: set[str] = set()


def _warn_once(line: str) -> None:
    if line not in _WARNED:
        _WARNED.add(line)
        print(line, file=sys.stderr)


def _executable() -> str:
    """The command line beside this Python, or else on the PATH; not an older one than the tests know."""
    beside = Path(sys.executable).with_name("kaggle")
    command = str(beside) if beside.exists() else shutil.which("kaggle")
    rule = f"The kaggle command line {'.'.join(map(str, OLDEST))} or newer is needed"
    next_step = f"Next: {sys.executable} -m pip install --upgrade kaggle"
    if command is None:
        raise CompetitionError(f"{rule}. Received: none. {next_step}.")
    printed = _printed_version(command) if command != str(beside) else _installed_version()
    found = re.search(r"\d+\.\d+(\.\d+)?", printed)
    if found and tuple(map(int, found[0].split("."))) < OLDEST:
        raise CompetitionError(f"{rule}. Received: {found[0]} at {command}. {next_step}.")
    return command


def _installed_version() -> str:
    try:
        return version("kaggle")
    except PackageNotFoundError:
        return ""


def _printed_version(command: str) -> str:
    try:
        return subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
