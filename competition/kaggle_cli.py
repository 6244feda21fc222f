"""The `kaggle` command line as a few typed functions.

It is called as a subprocess, never imported: `import kaggle` without credentials prints help and creates a
folder. Its exit code is 0 on some failures, so what it prints counts as well. Credentials are its own affair:
they are never arguments, and nothing of them gets into a message.
"""

import csv
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from competition import kaggle_failures
from competition.errors import CompetitionError
from competition.kaggle_failures import COMPETITION, KaggleError

OLDEST = (2, 2, 4)  # of the command line: the first whose behaviour the tests pin down
PAUSES = (2, 8, 30)  # seconds before each further attempt while Kaggle is busy
TIMEOUT = 300  # seconds for one command; it has no limit of its own
DOWNLOAD_TIMEOUT = 3600  # seconds
PAGE = 200  # submissions listed; the command line does not tell where the next page begins


@dataclass(frozen=True)
class Submission:
    """One row of Kaggle's list of submissions.

    Attributes:
        ref: Kaggle's number of it.
        date: when it arrived, UTC, as Kaggle writes it.
        description: the message it was sent with.
        status: `PENDING`, `COMPLETE` or `ERROR`.
        score: accuracy on the public leaderboard, None while there is none.
    """

    ref: str
    date: str
    description: str
    status: str
    score: float | None


@dataclass(frozen=True)
class KernelStatus:
    """How a kernel's newest session stands: `QUEUED`, `RUNNING`, `COMPLETE`, `ERROR`, … and why it failed."""

    state: str
    message: str


def download(folder: Path, tick: Callable[[], None] = lambda: None) -> Path:
    """Download the competition's zip into a folder, or go on where an earlier download stopped.

    Args:
        folder: it also holds the command line's note on what a partial file belongs to.
        tick: called about twice a second.

    Returns:
        The zip, not checked yet.

    Raises:
        KaggleError: it failed; what arrived stays for the next attempt.
    """
    zipped = folder / f"{COMPETITION}.zip"
    command = ("competitions", "download", COMPETITION, "-q", "-p", str(folder))
    text = patiently(lambda: _kaggle(*command, timeout=DOWNLOAD_TIMEOUT, tick=tick))
    if not zipped.is_file():
        raise kaggle_failures.explain(text)
    return zipped


def submit(path: Path, message: str) -> None:
    """Upload a submission, once: whoever tries again must first look whether it arrived.

    Raises:
        KaggleError: it did not arrive, or (`kind` is `busy`, `network` or `timeout`) may not have.
    """
    text = _kaggle("competitions", "submit", COMPETITION, "-q", "-f", str(path), "-m", message)
    if not text.strip() or re.search("Could not (submit|find)", text):  # exit code 0 all the same
        raise kaggle_failures.explain(text)


def submissions() -> list[Submission]:
    """The newest submissions of this competition, newest first."""
    command = ("competitions", "submissions", COMPETITION, "--csv", "--page-size", str(PAGE))
    text = patiently(lambda: _kaggle(*command))
    start = text.find("ref,fileName,")  # warnings come before the header, on the same stream
    if start < 0:
        if "No submissions found" in text:
            return []
        raise kaggle_failures.explain(text)
    return [
        Submission(
            ref=row["ref"],
            date=row["date"],
            description=row["description"] or "",
            status=(row["status"] or "").rpartition(".")[2],
            score=float(row["publicScore"]) if row["publicScore"] not in (None, "", "None") else None,
        )
        for row in csv.DictReader(text[start:].splitlines())
    ]


def remaining() -> tuple[int, bool]:
    """How many submissions are left today (UTC), and whether the user has ever sent one."""
    text = patiently(lambda: _kaggle("competitions", "submission-limits", COMPETITION))
    found = {name: re.search(rf"{name}: (\d+)", text) for name in ("Remaining today", "Lifetime submissions")}
    if not all(found.values()):
        raise kaggle_failures.explain(text)
    left, total = (int(match[1]) for match in found.values())
    return left, total > 0


def username() -> str:
    """The name of the user that the credentials belong to."""
    found = re.search(r"^- username: (\S+)$", _kaggle("config", "view"), re.MULTILINE)
    if found is None or found[1] == "None":
        raise CompetitionError(
            f"Kaggle's command line must know its user. Received: none. Next: {kaggle_failures.GET_TOKEN}."
        )
    return found[1]


def push_kernel(folder: Path) -> tuple[str, str]:
    """Push a folder with kernel-metadata.json; Kaggle then runs it.

    Returns:
        The number of the new version (empty where Kaggle gives none) and the kernel's page.

    Raises:
        KaggleError: Kaggle took nothing, or not the sources that the metadata names.
    """
    text = patiently(lambda: _kaggle("kernels", "push", "-p", str(folder)))
    done = re.search(r"Kernel version (?:(\S+) )?successfully pushed\.\s+Please check progress at (\S*)", text)
    if done is None or "are not valid" in text:  # exit code 0 all the same
        raise kaggle_failures.explain(text, "are not valid|Kernel push error")
    return done[1] or "", done[2]


def kernel_status(kernel: str) -> KernelStatus:
    """How the newest session of a kernel (`owner/slug`) stands."""
    text = patiently(lambda: _kaggle("kernels", "status", kernel))
    found = re.search(r'has status "(?:\w+\.)?(\w+)"', text)
    if found is None:
        raise kaggle_failures.explain(text)
    message = re.search(r'Failure message: "(.*)"', text, re.DOTALL)
    return KernelStatus(found[1], " ".join(message[1].split()) if message else "")


def kernel_output(kernel: str, folder: Path, pattern: str = "") -> None:
    """Fetch the files (all pages) and the log of a kernel's newest session.

    The command line does not look whether a file's own address answered well: check what arrived.

    Args:
        pattern: regular expression that a file's name must match somewhere; the log always comes.
    """
    command = ("kernels", "output", kernel, "-q", "--force", "-p", str(folder), "--file-pattern", pattern)
    patiently(lambda: _kaggle(*command, timeout=DOWNLOAD_TIMEOUT))


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


def _kaggle(*arguments: str, timeout: float | None = None, tick: Callable[[], None] = lambda: None) -> str:
    """Run the command line; all that it printed, without its warnings, which go to the user once.

    Raises:
        KaggleError: it failed or took longer than `timeout` seconds (TIMEOUT).
    """
    command = _executable()
    kaggle_failures.warn_of_readable_credentials()
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
                        raise kaggle_failures.explain(f"no answer in {timeout or TIMEOUT:g} s") from None
        except BaseException:
            process.kill()
            raise
    text = kaggle_failures.without_warnings(output) + "\n" + errors
    if process.returncode:
        raise kaggle_failures.explain(text.strip() or f"exit code {process.returncode}")
    return text


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
