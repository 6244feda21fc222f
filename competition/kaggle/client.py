"""The `kaggle` command line as a few typed functions.

Its exit code is 0 on some failures, so what it prints counts as well.
"""

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from competition.data.constants import COMPETITION
from competition.errors import CompetitionError
from competition.kaggle.cli import patiently, run_kaggle
from competition.kaggle.failures import GET_TOKEN, explain

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
    text = patiently(lambda: run_kaggle(*command, timeout=DOWNLOAD_TIMEOUT, tick=tick))
    if not zipped.is_file():
        raise explain(text)
    return zipped


def submit(path: Path, message: str) -> None:
    """Upload a submission, once: whoever tries again must first look whether it arrived.

    Raises:
        KaggleError: it did not arrive, or (`kind` is `busy`, `network` or `timeout`) may not have.
    """
    text = run_kaggle("competitions", "submit", COMPETITION, "-q", "-f", str(path), "-m", message)
    if not text.strip() or re.search("Could not (submit|find)", text):  # exit code 0 all the same
        raise explain(text)


def submissions() -> list[Submission]:
    """The newest submissions of this competition, newest first."""
    command = ("competitions", "submissions", COMPETITION, "--csv", "--page-size", str(PAGE))
    text = patiently(lambda: run_kaggle(*command))
    start = text.find("ref,fileName,")  # warnings come before the header, on the same stream
    if start < 0:
        if "No submissions found" in text:
            return []
        raise explain(text)
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
    text = patiently(lambda: run_kaggle("competitions", "submission-limits", COMPETITION))
    found = {name: re.search(rf"{name}: (\d+)", text) for name in ("Remaining today", "Lifetime submissions")}
    if not all(found.values()):
        raise explain(text)
    left, total = (int(match[1]) for match in found.values())
    return left, total > 0


def username() -> str:
    """The name of the user that the credentials belong to."""
    found = re.search(r"^- username: (\S+)$", run_kaggle("config", "view"), re.MULTILINE)
    if found is None or found[1] == "None":
        raise CompetitionError(f"Kaggle's command line must know its user. Received: none. Next: {GET_TOKEN}.")
    return found[1]


def push_kernel(folder: Path) -> tuple[str, str]:
    """Push a folder with kernel-metadata.json; Kaggle then runs it.

    Returns:
        The number of the new version (empty where Kaggle gives none) and the kernel's page.

    Raises:
        KaggleError: Kaggle took nothing, or not the sources that the metadata names.
    """
    text = patiently(lambda: run_kaggle("kernels", "push", "-p", str(folder)))
    done = re.search(r"Kernel version (?:(\S+) )?successfully pushed\.\s+Please check progress at (\S*)", text)
    if done is None or "are not valid" in text:  # exit code 0 all the same
        raise explain(text, "are not valid|Kernel push error")
    return done[1] or "", done[2]


def kernel_status(kernel: str) -> KernelStatus:
    """How the newest session of a kernel (`owner/slug`) stands."""
    text = patiently(lambda: run_kaggle("kernels", "status", kernel))
    found = re.search(r'has status "(?:\w+\.)?(\w+)"', text)
    if found is None:
        raise explain(text)
    message = re.search(r'Failure message: "(.*)"', text, re.DOTALL)
    return KernelStatus(found[1], " ".join(message[1].split()) if message else "")


def kernel_output(kernel: str, folder: Path, pattern: str = "") -> None:
    """Fetch the files (all pages) and the log of a kernel's newest session.

    Up to 2.2.4 the command line does not look whether a file's own address answered well: check what arrived.

    Args:
        pattern: regular expression that a file's name must match somewhere; the log always comes.
    """
    command = ("kernels", "output", kernel, "-q", "--force", "-p", str(folder), "--file-pattern", pattern)
    patiently(lambda: run_kaggle(*command, timeout=DOWNLOAD_TIMEOUT))
