"""Where members run on this machine: one after the other in this process, or in parallel in several."""

import importlib.util
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any, Protocol

from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from competition.errors import CompetitionError
from competition.execution.cores import PROCESS, divide, memory
from competition.execution.interprocess import Tell, carried, end_with, undisturbed
from competition.network.device import BACKEND, Setup, gpus, use_free_gpu

DEATHS = 3  # of worker processes with nothing finished in between, before the run gives up

Work = Callable[[Any, Tell], Any]  # trains one member


class Engine(Protocol):
    """A place where members run. Which one it is changes nothing of the result, but for the threads of each."""

    @property
    def jobs(self) -> int | None:
        """How many members train in parallel; known once `allocate` was called."""

    def allocate(self, setup: Setup, members: int) -> Setup:
        """Decide how many train at once, of so many that could; the setup with threads, where it leaves them open."""

    def describe(self) -> str:
        """What was chosen, and why."""

    def each(self, work: Work, members: Iterable, tell: Tell) -> Iterator:
        """Call `work(member, tell)` for every member; yield what it returns as each finishes, in any order."""


@dataclass
class Processes:
    """This machine: `jobs` processes, or this one alone.

    A process computes on as many threads as the setup says, and on one GPU of its own, where there are several.

    Attributes:
        jobs: how many; None until `allocate` chooses what suits the machine.
        chosen: what `describe` says.
    """

    jobs: int | None = None
    chosen: str = ""

    def allocate(self, setup: Setup, members: int) -> Setup:
        """Choose the processes, and the threads where the setup leaves them open: see `divide`.

        `jobs` that the user chose change no threads: with any number of processes results are bit-identical.
        """
        cores, room, found = cpu_count(), memory(), len(gpus())
        usable = found if BACKEND == "tensorflow" else min(1, found)
        chosen, threads = divide(cores, members, room, usable, setup.threads)
        why = ["JOBS"] if self.jobs else ["one a GPU"] if usable else []
        self.jobs = self.jobs or chosen
        self.chosen = f"{self.jobs} at once on {threads or 'all'} {'thread' if threads == 1 else 'threads'} each"
        self.chosen += f" ({', '.join([*why, f'{cores} cores', f'memory for {room // PROCESS} members'])})"
        return replace(setup, threads=threads)

    def describe(self) -> str:
        """What was chosen, and why."""
        return self.chosen

    def each(self, work: Work, members: Iterable, tell: Tell) -> Iterator:
        """Call `work(member, tell)` for every member; yield what it returns as each finishes.

        Raises:
            CompetitionError: worker processes die again and again; a member whose worker died is repeated.
        """
        members = list(members)
        jobs = min(self.jobs or 1, len(members))
        if jobs <= 1:
            yield from (work(member, tell) for member in members)
            return
        # Keras leaves 25 MB behind with each member: joblib replaces a worker that has grown by 300, and warns of it.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
        missing, deaths = dict(enumerate(members)), 0
        with carried(tell) as carry:
            while missing:
                calls = [delayed(_in_a_worker)(os.getpid(), work, n, member, carry) for n, member in missing.items()]
                try:
                    with undisturbed(signal.SIGINT):
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


def choose_engine(jobs: int | None = None, scheduler: str | None = None, tensorboard: bool = False) -> Engine:
    """Where members run.

    Args:
        jobs: how many processes on this machine; None takes what suits it.
        scheduler: address of a Dask scheduler whose workers take the members instead.
        tensorboard: whether they are to write TensorBoard logs, which they can on this machine alone.

    Raises:
        CompetitionError: `jobs` is below 1, there is no such scheduler, or no dask or tensorboard here.
    """
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise CompetitionError(
            f"TENSORBOARD=1 needs the package. Received: none. Next: {sys.executable} -m pip install tensorboard."
        )
    if tensorboard and scheduler:
        raise CompetitionError(
            "TENSORBOARD=1 logs what trains on this machine. Received: SCHEDULER= as well. Next: one without the other."
        )
    if scheduler is None:
        if jobs is not None and jobs < 1:
            raise CompetitionError(f"JOBS is 1 or more. Received: {jobs}. Next: `make train`, which chooses.")
        return Processes(jobs)
    if importlib.util.find_spec("distributed") is None:
        raise CompetitionError(
            "SCHEDULER= needs the package dask. Received: none. "
            f"Next: {sys.executable} -m pip install 'dask[distributed]>=2025.1,<2027'."
        )
    from competition.execution.cluster import Cluster

    return Cluster(scheduler)


def _in_a_worker(parent: int, work: Work, number: int, member, tell: Tell) -> tuple[int, Any]:
    end_with(parent)
    use_free_gpu()
    return number, work(member, tell)
