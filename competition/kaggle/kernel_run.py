"""Run a packed kernel on Kaggle: push it, follow it to its end, fetch what it made into submissions/.

A session takes hours of the week's quota, so what was pushed is remembered in submissions/kernels.json until it has
been fetched: `make kernel FOLLOW=1` goes on, on another day too.
"""

import json
import re
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tqdm import tqdm

from competition.errors import CompetitionError
from competition.kaggle import cli, client
from competition.kaggle.client import KernelStatus
from competition.kaggle.failures import TRANSIENT, KaggleError
from competition.kaggle.fetch import Refused, take_predictions, take_run
from competition.kaggle.inference import upload
from competition.kaggle.kernel import HOURS, dataset_beside
from competition.runs import files
from competition.runs.folders import Folders
from competition.runs.version import package_sha256

POLL = 30  # seconds between two looks at the kernel
PATIENCE = (HOURS + 1) * 3600  # seconds; Kaggle itself ends a session after HOURS
WANTED = r"^(submission\.csv|submissions/[^.])"  # of the outputs: no caches


@dataclass(frozen=True)
class Pushed:
    """A kernel on its way.

    Attributes:
        kernel: `owner/slug`, as Kaggle's response names it: not the packed one where that is taken already.
        version: as Kaggle counts; empty where it did not say: then the newest.
        url: the kernel's page.
        package: hash of the package that was packed; empty where somebody else pushed it.
        run: the run whose members predict there; empty where the kernel trains one.
        refused: why its outputs were not taken; empty before that.
        content: hash of the packed kernel; empty where somebody else pushed it.
    """

    kernel: str
    version: str
    url: str
    package: str
    run: str = ""
    refused: str = ""
    content: str = ""

    @property
    def name(self) -> str:
        """What the command line asks Kaggle for."""
        return f"{self.kernel}/{self.version}" if self.version else self.kernel


def run_on_kaggle(folders: Folders, packed: Path, run: str = "") -> None:
    """Push a packed folder and its dataset, or go on with what was pushed of it: wait until it ends, and fetch what it
    made.

    Args:
        packed: folder with kernel-metadata.json, packed from this package as it is now.
        run: whose members predict there; empty where the kernel trains a run.

    Raises:
        CompetitionError: Kaggle refused it, another kernel is under way in its place, the kernel failed, or its outputs
            are not those of this version.
    """
    try:
        metadata = json.loads((packed / "kernel-metadata.json").read_text("utf-8"))
        kernel, gpu, public = metadata["id"], metadata["enable_gpu"], not metadata["is_private"]
        content = files.sha256_of(packed / metadata["code_file"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CompetitionError(f"{packed} must hold a packed kernel. Received: {error}. Next: `make kernel`.") from None
    pushed = _remembered(folders).get(kernel)
    if pushed and not pushed.refused:
        if pushed.content not in ("", content):
            what = f"with {pushed.run}" if pushed.run else "of another package or other settings"
            raise CompetitionError(
                f"A kernel is fetched before another takes its place. Received: {pushed.name} {what}, not fetched yet. "
                "Next: `make kernel FOLLOW=1`, then the same command."
            )
        print(f"{pushed.name} was pushed before and is not fetched yet: {pushed.url}", flush=True)
    else:
        if dataset := dataset_beside(packed):
            upload(dataset, run or f"package {content[:8]}", public)
        pushed = _push(kernel, packed, gpu)
        pushed = replace(pushed, run=run, content=content if pushed.package else "")
        _remember(folders, kernel, pushed)
    _finish(folders, kernel, pushed)


def follow_pushed(folders: Folders) -> None:
    """Go on with the kernels that were pushed and not fetched, from anywhere and on any day.

    Raises:
        CompetitionError: there is none, or as `run_on_kaggle`.
    """
    remembered = _remembered(folders)
    if not remembered:
        raise CompetitionError(
            f"FOLLOW=1 goes on with a kernel that was pushed. Received: none in {_memory(folders)}. "
            "Next: `make kernel PUSH=1`."
        )
    for kernel, pushed in sorted(remembered.items(), key=lambda item: item[1].refused):  # those may fail again
        _finish(folders, kernel, pushed)


def _push(kernel: str, packed: Path, gpu: bool) -> Pushed:
    """Push a folder, once; where the answer was lost, look whether it arrived before trying again."""
    url = f"https://www.kaggle.com/code/{kernel}"
    before = _status(kernel)
    if before and not before.ended:
        print(f"{kernel} is {before.state.lower()} already, pushed from elsewhere: {url}", flush=True)
        return Pushed(kernel, "", url, "")
    with suppress(KaggleError):
        if gpu and (hours := client.gpu_hours()):
            print(f"{hours}.", flush=True)
    package = package_sha256()
    for attempt in range(1, len(cli.PAUSES) + 2):
        try:
            version, url = client.push_kernel(packed)
            named = re.search(r"([\w-]+/[\w-]+)/?(\?\S*)?$", url)
            pushed = Pushed(named[1] if named else kernel, version, url, package)
            print(f"Pushed {pushed.name}: {url}", flush=True)
            return pushed
        except KaggleError as error:
            if error.kind not in TRANSIENT:
                raise
            time.sleep(POLL)  # until then, Kaggle may not show what arrived
            try:
                now = _status(kernel)
            except CompetitionError:
                raise CompetitionError(f"{error} Whether it arrived is not known: the same command looks.") from None
            if now and now != before:
                print(f"The answer was lost, but {kernel} is {now.state.lower()}: {url}", flush=True)
                return Pushed(kernel, "", url, package)
            if error.kind != "busy" or attempt > len(cli.PAUSES):
                raise
            cli.wait_while_busy(error, attempt)
    raise AssertionError("the last attempt returns or raises")


def _status(kernel: str) -> KernelStatus | None:
    """How the newest session of a kernel stands; None where there is no such kernel."""
    try:
        return client.kernel_status(kernel)
    except KaggleError as error:
        if error.kind in ("missing", "forbidden"):
            return None
        raise


def _finish(folders: Folders, kernel: str, pushed: Pushed) -> None:
    """Follow a pushed kernel, fetch what it made, and forget it."""
    try:
        status = _follow(pushed)
    except KeyboardInterrupt:
        print(f"{pushed.name} goes on at Kaggle. Next: `make kernel FOLLOW=1`.")
        raise
    if status.state != "COMPLETE":
        log = _log(folders, pushed)
        _remember(folders, kernel, None)
        raise CompetitionError(
            f"The kernel must end well. Received: {status.state}: {status.message or 'no message'}{log}. "
            f"Next: {pushed.url}, then `make kernel PUSH=1`."
        )
    slug = pushed.kernel.rpartition("/")[2]
    fetched = folders.submissions / f"fetched-{slug}-{pushed.version or time.strftime('%Y%m%d-%H%M%S')}"
    try:
        client.kernel_output(pushed.name, fetched, WANTED)
        if pushed.run:
            print(take_predictions(folders, fetched, pushed.run))
        else:
            print(take_run(folders, fetched, pushed.package, exact=bool(pushed.version)))
    except KaggleError:
        shutil.rmtree(fetched, ignore_errors=True)  # a part of them, which Kaggle still has
        raise
    except Refused as error:
        _remember(folders, kernel, replace(pushed, refused=str(error)))
        raise CompetitionError(
            f"The outputs of {pushed.name} must be those of the kernel that was pushed. Received: {error}; they stay "
            f"in {fetched}. Next: {pushed.url}; `make kernel FOLLOW=1` fetches them again, PUSH=1 runs it again."
        ) from None
    shutil.rmtree(fetched, ignore_errors=True)
    _remember(folders, kernel, None)


def _follow(pushed: Pushed) -> KernelStatus:
    """Wait until the session has ended, however it does; failures on the way there end nothing.

    Raises:
        CompetitionError: Kaggle refuses to say how it stands, or it takes longer than PATIENCE.
    """
    started, state, lost = time.monotonic(), "unknown", False
    with tqdm(desc=pushed.name, bar_format="{desc}, {elapsed}", leave=False, disable=None) as bar:
        while time.monotonic() - started < PATIENCE:
            time.sleep(POLL)  # first of all: at once, Kaggle may still tell of the session before
            try:
                status = client.kernel_status(pushed.name)
            except KaggleError as error:
                if error.kind not in TRANSIENT:
                    raise
                if not lost:
                    tqdm.write(f"{str(error).partition(' Next: ')[0]} The kernel goes on; looking every {POLL:g} s.")
                lost = True
                continue
            if status.ended:
                return status
            state, lost = status.state, False
            bar.set_description_str(f"{pushed.name}: {state.lower()}")
    raise CompetitionError(f"The kernel must end within {PATIENCE // 3600} hours. Received: {state}. "
                           f"Next: {pushed.url}, then `make kernel FOLLOW=1`.")  # fmt: skip


def _log(folders: Folders, pushed: Pushed) -> str:
    """Save the kernel's log and say where; a log that does not come is no further failure."""
    slug = pushed.kernel.rpartition("/")[2]
    try:
        client.kernel_output(pushed.name, folders.submissions / ".log", "^$")
        log = (folders.submissions / ".log" / f"{slug}.log").replace(folders.submissions / f"{slug}.log")
    except (KaggleError, OSError):
        return ""
    finally:
        shutil.rmtree(folders.submissions / ".log", ignore_errors=True)
    return f" (log: {log})"


def _memory(folders: Folders) -> Path:
    return folders.submissions / "kernels.json"


def _remembered(folders: Folders) -> dict[str, Pushed]:
    """What was pushed and not fetched, oldest first, by the names that were packed."""
    if not _memory(folders).exists():
        return {}
    try:
        content = json.loads(_memory(folders).read_text("utf-8"))
        return {kernel: Pushed(**fields) for kernel, fields in content.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CompetitionError(
            f"{_memory(folders)} must list the pushed kernels. Received: {error}. "
            "Next: `kaggle kernels list --mine` shows what was pushed; then move the file away."
        ) from None


def _remember(folders: Folders, kernel: str, pushed: Pushed | None) -> None:
    """Keep a pushed kernel, or forget it."""
    with files.alone(_memory(folders)):
        remembered = _remembered(folders)
        remembered.pop(kernel, None)
        if pushed:
            remembered[kernel] = pushed
        if remembered:
            files.write_json(_memory(folders), {name: asdict(kept) for name, kept in remembered.items()})
        else:
            _memory(folders).unlink(missing_ok=True)
