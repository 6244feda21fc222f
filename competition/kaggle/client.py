"""The `kaggle` command line as a few typed functions.

Its exit code is 0 on some failures, so what it prints counts as well.
"""

import csv
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from competition.data.constants import COMPETITION
from competition.errors import CompetitionError
from competition.kaggle.cli import patiently, run_kaggle
from competition.kaggle.credentials import redacted
from competition.kaggle.failures import GET_TOKEN, KaggleError, explain

DOWNLOAD_TIMEOUT = 3600  # seconds
PAGE = 200  # submissions listed; the command line does not tell where the next page begins


@dataclass(frozen=True)
class Submission:
    """One row of Kaggle's list of submissions.

    Attributes:
        ref: Kaggle's number of it.
        date: when it arrived, UTC, as Kaggle writes it.
        description: the message it was sent with.
        status: `PENDING`, `COMPLETE`, `ERROR`, or one that is newer than this package.
        score: accuracy on the public leaderboard, None while there is none.
    """

    ref: str
    date: str
    description: str
    status: str
    score: float | None


@dataclass(frozen=True)
class KernelStatus:
    """How a kernel's session stands: `QUEUED`, `RUNNING`, `COMPLETE`, `ERROR`, … and why it failed."""

    state: str
    message: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more comes of it."""
        return ended(self.state)


def ended(status: str) -> bool:
    """Whether a status of a session or a submission is final; of one that is new to us, its ending decides."""
    return status not in ("QUEUED", "NEW_SCRIPT", "CANCEL_REQUESTED") and not status.endswith("ING")


def unknown_status(error: KaggleError) -> str:
    """The status that Kaggle reported and its command line does not know, where that was the error; else empty."""
    found = re.search(r"KeyError: '(\w+)'", str(error)) if error.kind == "status" else None
    return found[1] if found else ""


def download(folder: Path, tick: Callable[[], object] = lambda: None) -> Path:
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
    text = patiently(lambda: run_kaggle(*command, timeout=DOWNLOAD_TIMEOUT, tick=tick, download=True))
    page = next(filter(_is_page, folder.rglob("*")), None)  # under the name of the API's method, or of the zip
    if page:
        first = folder / page.relative_to(folder).parts[0]  # that name may have a slash in it
        first.unlink() if first == page else shutil.rmtree(first)
        raise explain("<html>")
    if not zipped.is_file():
        raise explain(text)
    return zipped


def _is_page(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(100).lstrip().startswith(b"<")


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
    left, total = (re.search(rf"{name}: (\d+)", text) for name in ("Remaining today", "Lifetime submissions"))
    if not (left and total):
        raise explain(text)
    return int(left[1]), int(total[1]) > 0


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
        KaggleError: Kaggle refused the kernel, or the sources that the metadata names; or (`kind` is one of TRANSIENT)
            it may have taken it: whoever tries again must first look.
    """
    text = run_kaggle("kernels", "push", "-p", str(folder))
    done = re.search(r"Kernel version (?:(\S+) )?successfully pushed\.\s+Please check progress at (\S*)", text)
    if done is None or "are not valid" in text:  # exit code 0 all the same
        raise explain(text, "are not valid|Kernel push error")
    return done[1] or "", done[2]


def kernel_status(kernel: str) -> KernelStatus:
    """How a session of a kernel stands.

    Args:
        kernel: `owner/slug/version`, or `owner/slug` for the newest version; which the command line up to 2.2.4 takes
            in either case.
    """
    try:
        text = patiently(lambda: run_kaggle("kernels", "status", kernel))
    except KaggleError as error:
        if status := unknown_status(error):
            return KernelStatus(status)
        raise
    found = re.search(r'has status "(?:\w+\.)?(\w+)"', text)
    if found is None:
        raise explain(text)
    message = re.search(r'Failure message: "(.*)"', text, re.DOTALL)
    return KernelStatus(found[1], " ".join(message[1].split()) if message else "")


def kernel_output(kernel: str, folder: Path, pattern: str = "") -> None:
    """Fetch the files (all pages) and the log of a kernel's session.

    Up to 2.2.4 the command line saves a file's error page in its place: check what arrived.

    Args:
        kernel: see `kernel_status`.
        pattern: regular expression that a file's name must match somewhere; the log always comes.
    """
    command = ("kernels", "output", kernel, "-q", "--force", "-p", str(folder), "--file-pattern", pattern)
    patiently(lambda: run_kaggle(*command, timeout=DOWNLOAD_TIMEOUT, download=True))


def dataset_files(dataset: str) -> list[str] | None:
    """The names of a dataset's files; None where there is no such dataset.

    Args:
        dataset: `owner/slug`.
    """
    try:
        text = patiently(lambda: run_kaggle("datasets", "files", dataset, "--csv", "--page-size", str(PAGE)))
    except KaggleError as error:
        if error.kind in ("missing", "forbidden"):
            return None
        raise
    return re.findall(r"^([^,\n]+),\d+,", text, re.MULTILINE)


def send_dataset(folder: Path, version: str | None, public: bool = False) -> None:
    """Create a dataset out of a folder with dataset-metadata.json, or a new version of it, once.

    Args:
        folder: what is a folder in it goes along as an archive, which Kaggle unpacks.
        version: what the version is about; None creates the dataset.
        public: whether everybody sees the dataset that is created.

    Raises:
        KaggleError: Kaggle refused it, or (`kind` is one of TRANSIENT) may have taken it.
    """
    command = ("datasets", "create", *(["--public"] if public else []))
    if version is not None:
        command = ("datasets", "version", "-m", version)
    text = run_kaggle(*command, "-q", "--dir-mode", "zip", "-p", str(folder), timeout=DOWNLOAD_TIMEOUT)
    if "is being created" not in text:  # exit code 0 all the same
        raise explain(text)


def dataset_ready(dataset: str) -> bool:
    """Whether Kaggle has taken in the newest version of a dataset."""
    return "ready" in patiently(lambda: run_kaggle("datasets", "status", dataset)).split()


def gpu_hours() -> str:
    """What is left of the week's GPU hours, in words; empty where Kaggle does not say."""
    text = patiently(lambda: run_kaggle("quota", "--csv"))
    row = re.search(r"^GPU,[\d.]+h,([\d.]+)h,([\d.]+)h,(\S*)", text, re.MULTILINE)
    return f"{row[1]} of {row[2]} GPU hours are left until {row[3][:16]} UTC" if row else ""


def reason_of(submission: Submission) -> str:
    """Why Kaggle could not score a submission; empty where the command line, up to 2.2.4, cannot tell."""
    try:
        text = patiently(lambda: run_kaggle("competitions", "submission", submission.ref))
    except KaggleError:
        return ""
    reason = re.search(r"^Error: +(.+)", text, re.MULTILINE)
    return redacted(reason[1]) if reason else ""
