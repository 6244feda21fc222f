"""Where members run on this machine: one after the other in this process, or side by side in several."""

import functools
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.managers import SyncManager
from typing import Any, Protocol

from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from competition.errors import CompetitionError
from competition.network.device import BACKEND, Setup, claim_gpu, gpus

DEATHS = 3  # of worker processes with nothing finished in between, before the run gives up

Tell = Callable[[str, dict], None]  # a member's name and Keras's logs of an epoch
Work = Callable[[Any, Tell], Any]  # trains one member


class Engine(Protocol):
    """A place where members run. Which one it is changes nothing of the answer."""

    def describe(self) -> str:
        """What was chosen, and why."""

    def each(self, work: Work, members: Iterable, tell: Tell) -> Iterator:
        """Call `work(member, tell)` for every member; yield what it returns as each finishes, in any order."""


@dataclass(frozen=True)
class Processes:
    """This machine: `jobs` processes, or this one alone.

    A process computes on as many threads as the setup says, and on one GPU of its own, where there are several.
    """

    jobs: int
    reason: str

    def describe(self) -> str:
        """What was chosen, and why."""
        return f"{self.jobs} at once ({self.reason})"

    def each(self, work: Work, members: Iterable, tell: Tell) -> Iterator:
        """Call `work(member, tell)` for every member; yield what it returns as each finishes.

        Raises:
            CompetitionError: worker processes die again and again; a member whose worker died is repeated.
        """
        members = list(members)
        jobs = max(1, min(self.jobs, len(members)))
        if jobs == 1:
            yield from (work(member, tell) for member in members)
            return
        # Keras leaves 25 MB behind with each member: joblib replaces a worker that has grown by 300, and warns of it.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
        missing, deaths = dict(enumerate(members)), 0
        with _carried(tell) as carry:
            while missing:
                calls = [delayed(_in_a_worker)(os.getpid(), work, n, member, carry) for n, member in missing.items()]
                try:
                    with _undisturbed(signal.SIGINT):
                        results = Parallel(n_jobs=jobs, return_as="generator_unordered")(calls)
                    for number, result in results:
                        del missing[number]
                        deaths = 0
                        yield result
                except BrokenProcessPool:
                    deaths += 1
                    if deaths == DEATHS:
                        raise CompetitionError(
                            f"A worker process must live longer than a member takes. Received: {DEATHS} ended early, "
                            "killed perhaps for want of memory. Next: JOBS=1, or a smaller --batch-size, takes less "
                            "of it; finished members are kept."
                        ) from None
                    tqdm.write(f"A worker process ended early: what it trained starts again ({deaths} of {DEATHS}).")


def choose_processes(setup: Setup, jobs: int | None = None) -> Processes:
    """As many as asked, or what measures fastest: a member a GPU, or as many as keep all cores busy.

    Single-threaded members side by side beat one member on all cores because a step's small layers leave
    cores idle: `make bench ARGS=members` measures both on the machine at hand.

    Raises:
        CompetitionError: `jobs` is below 1.
    """
    cores = cpu_count()
    threads = setup.threads or cores
    if jobs is not None:
        if jobs < 1:
            raise CompetitionError(f"JOBS is 1 or more. Received: {jobs}. Next: `make train`, which chooses.")
        return Processes(jobs, f"as asked; threads of each: {threads}, cores: {cores}")
    if gpus():
        count = len(gpus()) if BACKEND == "tensorflow" else 1
        return Processes(count, "one GPU trains one member at a time")
    reason = "single-threaded members side by side use the cores better than one member on all of them"
    return Processes(max(1, cores // threads), reason if threads == 1 else f"threads of each, as asked: {threads}")


def _in_a_worker(parent: int, work: Work, number: int, member, tell: Tell) -> tuple[int, Any]:
    _end_with(parent)
    claim_gpu()
    return number, work(member, tell)


@contextmanager
def _undisturbed(*numbers: signal.Signals) -> Iterator[None]:
    """Processes and threads that start herein never hear these signals; the run itself does, right after it."""
    resource_tracker.ensure_running()  # started in between, it would unblock them
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # what starts here inherits this
    heard, handlers = [], {}
    if threading.current_thread() is threading.main_thread():  # where a signal lands whose thread does not block it
        handlers = {number: signal.signal(number, lambda number, frame: heard.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    for number in heard[:1]:
        signal.raise_signal(number)


@functools.cache
def _end_with(parent: int) -> None:
    """End this process soon after its parent, however that ended: a killed run leaves nothing at work."""

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _carried(tell: Tell) -> Iterator[Tell]:
    """`tell` for other processes: what they say arrives here by a queue."""
    manager = SyncManager()
    with _undisturbed(signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it ends with the run, not before
        manager.start(_end_with, (os.getpid(),))
    with manager:
        messages = manager.Queue()

        def listen():
            while (message := messages.get()) is not None:
                tell(*message)

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            yield _Put(messages)
        finally:
            messages.put(None)
            listener.join()


@dataclass(frozen=True)
class _Put:
    """A `tell` that can be sent to another process."""

    messages: Any

    def __call__(self, name: str, logs: dict) -> None:
        self.messages.put((name, logs))
