"""Run a packed kernel on Kaggle: push it, follow it to its end, fetch its run into submissions/."""

import calendar
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from competition.errors import CompetitionError
from competition.kaggle import client
from competition.kaggle.failures import KaggleError
from competition.runs import files, history
from competition.runs.folders import Folders
from competition.runs.run import Run, list_runs
from competition.runs.version import package_sha256

POLL = 30  # seconds between two looks at the kernel
PATIENCE = 13 * 3600  # seconds; Kaggle itself ends a kernel after 12 hours
CLOCKS = 300  # seconds that two machines' clocks may differ
WANTED = r"^(submission\.csv|submissions/[^.])"  # of the outputs: no caches
FAILED = ("ERROR", "CANCEL_REQUESTED", "CANCEL_ACKNOWLEDGED")


@dataclass(frozen=True)
class Pushed:
    """A kernel on its way.

    Attributes:
        kernel: `owner/slug`.
        version: as Kaggle counts; empty where it does not say.
        url: the kernel's page.
        package: hash of the package that was packed.
        time: when, seconds since 1970.
    """

    kernel: str
    version: str
    url: str
    package: str
    time: float


def run_on_kaggle(folders: Folders, packed: Path) -> Run:
    """Push a packed folder, wait until the kernel ends and bring its run home.

    Args:
        packed: folder with kernel-metadata.json, packed from this package as it is now.

    Raises:
        CompetitionError: Kaggle took it not, the kernel failed, or its outputs are not those of this version.
    """
    pushed = push(packed)
    print(f"Pushed version {pushed.version or '?'} of {pushed.kernel}: {pushed.url}", flush=True)
    follow(folders, pushed)
    run = fetch(folders, pushed)
    print(f"{run.path} is complete. Next: `make submit RUN={run.name}`.")
    return run


def push(packed: Path) -> Pushed:
    """Push a packed folder; Kaggle then runs it."""
    try:
        kernel = json.loads((packed / "kernel-metadata.json").read_text("utf-8"))["id"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CompetitionError(f"{packed} must hold a packed kernel. Received: {error}. Next: `make kernel`.") from None
    started, package = time.time(), package_sha256()
    version, url = client.push_kernel(packed)
    return Pushed(kernel, version, url, package, started)


def follow(folders: Folders, pushed: Pushed) -> None:
    """Wait until the kernel's newest session has ended well.

    Raises:
        CompetitionError: it failed, with Kaggle's own message, or takes longer than PATIENCE.
    """
    started, line = time.monotonic(), "{desc}, {elapsed}"
    with tqdm(desc=pushed.kernel, bar_format=line, leave=False, disable=None) as bar:
        while time.monotonic() - started < PATIENCE:
            time.sleep(POLL)  # first of all: at once, Kaggle may still tell of the session before
            status = client.kernel_status(pushed.kernel)
            if status.state == "COMPLETE":
                return
            if status.state in FAILED:
                raise CompetitionError(
                    f"The kernel must end well. Received: {status.state}: {status.message or 'no message'}"
                    f"{_log(folders, pushed)}. Next: {pushed.url}, then `make kernel PUSH=1`."
                )
            bar.set_description_str(f"{pushed.kernel}: {status.state.lower()}")
    raise CompetitionError(f"The kernel must end within {PATIENCE // 3600} hours. Received: {status.state}. "
                           f"Next: {pushed.url}.")  # fmt: skip


def fetch(folders: Folders, pushed: Pushed) -> Run:
    """Fetch the outputs of a kernel into a run folder like a local run's, with its row in history.csv.

    Raises:
        CompetitionError: the outputs are damaged, incomplete or of an older version; nothing is kept then.
    """
    fetched = folders.submissions / f".{pushed.kernel.rpartition('/')[2]}"
    shutil.rmtree(fetched, ignore_errors=True)
    try:
        client.kernel_output(pushed.kernel, fetched, WANTED)
        inside = Folders(fetched, fetched / "submissions")
        run = _checked(inside, pushed)
        row = history.find(inside, run)
        home = Run(folders.submissions / run.name)
        if home.path.exists():
            raise _refusal(pushed, f"{run.name}, which is here already")
        run.path.rename(home.path)
    finally:
        shutil.rmtree(fetched, ignore_errors=True)
    history.add(folders, row or history.row_of(home, home.scores))
    return home


def _checked(inside: Folders, pushed: Pushed) -> Run:
    """The run among the outputs, when it is whole and that of the pushed version."""
    complete = [run for run in list_runs(inside) if run.complete]
    if not complete:
        raise _refusal(pushed, "outputs without a complete run")
    run = complete[-1]
    if run.manifest.get("identity", {}).get("package") != pushed.package:
        raise _refusal(pushed, f"{run.name}, made by an older version of the package")
    try:
        began = calendar.timegm(time.strptime(run.name[:15], "%Y%m%d-%H%M%S"))
    except ValueError:
        raise _refusal(pushed, f"{run.name}, no run's name") from None
    if began < pushed.time - CLOCKS:
        raise _refusal(pushed, f"{run.name}, made by an older version of the kernel")
    members = [path.name for path in (run.path / "members").glob("*") if path.name in (run.part or [path.name])]
    whole = sum(_is_whole(run, name) for name in members)
    wanted = len(run.part or ()) or run.config.members
    if whole < max(wanted, len(members)):
        raise _refusal(pushed, f"{whole} whole members of {wanted}")
    sums = [files.sha256_of(path) for path in (run.submission_csv, inside.input / "submission.csv") if path.exists()]
    if sums != [run.read_json("done.json").get("sha256")] * 2:
        raise _refusal(pushed, "another submission.csv than the run's")
    return run


def _is_whole(run: Run, member: str) -> bool:
    try:
        run.load_member(member)
    except CompetitionError:
        return False
    return True


def _refusal(pushed: Pushed, received: str) -> CompetitionError:
    return CompetitionError(
        f"The outputs of {pushed.kernel} must be those of version {pushed.version or 'pushed'}. "
        f"Received: {received}. Next: {pushed.url}, then `make kernel PUSH=1`."
    )


def _log(folders: Folders, pushed: Pushed) -> str:
    """Save the kernel's log and say where; a log that does not come is no further failure."""
    slug = pushed.kernel.rpartition("/")[2]
    try:
        client.kernel_output(pushed.kernel, folders.submissions / ".log", "^$")
        log = (folders.submissions / ".log" / f"{slug}.log").replace(folders.submissions / f"{slug}.log")
    except (KaggleError, OSError):
        return ""
    finally:
        shutil.rmtree(folders.submissions / ".log", ignore_errors=True)
    return f" (log: {log})"
