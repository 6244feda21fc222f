"""Where members run beyond this machine: the workers of a Dask cluster.

Written with Dask's own client: joblib's dask backend trains in the client itself where the cluster begins
with one single-threaded worker, loses the data when the workers that hold it die, and can wait for ever for
a result that was on its way when the scheduler went (joblib 1.6).
"""

import asyncio
import logging
import pickle
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from operator import methodcaller
from random import Random
from threading import Lock
from typing import Any
from uuid import uuid4

import distributed
from distributed import CancelledError, Client, KilledWorker, get_worker, wait
from tqdm import tqdm

from competition.errors import CompetitionError, one_line
from competition.network.device import ONEDNN, Setup, use_free_gpu, versions
from competition.runs.version import package_sha256

PATIENCE = 10  # seconds that a scheduler may take to answer
TRANSFER = 120  # seconds that data or a result may take from machine to machine
DEATHS = 3  # of its workers, before a member is held to be what kills them
# Keras draws the seeds of layers from Python's own generator, and Dask's threads draw from it in between, to
# estimate sizes by samples: three of four members began with other weights. Dask gets one of its own.
import_module("dask.sizeof").random = Random()  # type: ignore[attr-defined]
LOST = (OSError, KilledWorker, CancelledError, asyncio.CancelledError)  # a timeout is an OSError
KERAS = Lock()  # its state is the process's: an abandoned task ends before the next one begins


class Cluster:
    """The workers of a Dask cluster; those that join later too.

    A worker gets the data when it is admitted, and then one member at a time. Members of a worker that
    dies are trained again elsewhere.

    Args:
        address: of the scheduler, like `tcp://host:8786`.

    Raises:
        CompetitionError: no scheduler answers there.
    """

    def __init__(self, address: str):
        self.address = address
        self.refused: set[str] = set()
        self.start = f"python -m dask worker {address} --nthreads 1, in the project's folder on its machine"
        for logger in ("distributed", "distributed.client", "distributed.core", "tornado.application"):
            logging.getLogger(logger).setLevel(logging.CRITICAL)  # what matters is printed here in a line
        self.client = self._connected()
        self.jobs = max(1, len(self.client.nthreads()))

    def allocate(self, setup: Setup, members: int) -> Setup:
        """One thread a member, where the setup leaves that open: workers are started one a core."""
        return replace(setup, threads=1) if setup.threads is None else setup

    def describe(self) -> str:
        """What was chosen, and why."""
        return f"one a worker on the cluster {self.address} ({len(self.client.nthreads())} workers now)"

    def each(self, work, members: Iterable, tell: Callable[[str, dict], None]) -> Iterator:
        """Call `work(member, tell)` on the workers for every member; yield what it returns as each finishes.

        `work` also has a method `check`, which raises CompetitionError where its data has not arrived intact.

        Raises:
            CompetitionError: the scheduler is lost, every worker is refused, or a member kills its workers.
        """
        if self.client.status != "running":
            self.client = self._connected()
        topic = f"competition-{uuid4().hex}"
        self.client.subscribe_topic(topic, lambda event: tell(*event[1]))
        try:
            yield from self._each(_Seat(work, topic), list(members))
        except LOST as error:
            raise CompetitionError(
                f"The scheduler must stay until the run ends. Received: none at {self.address} any more, "
                f"{one_line(error)}. Next: the same `make train` with or without SCHEDULER= goes on from what is kept."
            ) from None
        finally:
            self.client.close(timeout=2)

    def _connected(self) -> Client:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # admission compares versions
                return Client(self.address, timeout=PATIENCE)
        except (OSError, TypeError, ValueError) as error:
            raise CompetitionError(
                f"SCHEDULER names a Dask scheduler that answers, like tcp://host:8786. Received: {self.address}, "
                f"{one_line(error)}. Next: python -m dask scheduler, on that machine."
            ) from None

    def _each(self, seat: "_Seat", members: list) -> Iterator:
        waiting, announced = members[::-1], False
        running: dict[Any, tuple[str, Any]] = {}  # future → its worker, its member
        deaths: Counter[str] = Counter()
        fit: set[str] = set()  # workers that may have the data
        held: dict[str, Any] = {}  # those that have it, and where
        while waiting or running:
            present = self._workers()
            for future, (address, member) in list(running.items()):
                if _died(future) or address not in present:
                    del running[future]
                    future.release()  # or it would be trained there if a worker came back at this address
                    held.pop(address, None)
                    waiting.append(member)
                    deaths[member.name] += 1
                    if deaths[member.name] == DEATHS:
                        raise CompetitionError(
                            f"A worker must live longer than a member takes. Received: {DEATHS} died while they "
                            f"trained {member.name}. Next: read their logs; each may need more memory."
                        )
                    tqdm.write(f"Worker {address} is gone: {member.name} starts again on another one.")
            held = {address: data for address, data in held.items() if address in present}
            self.refused &= present
            self.jobs = max(1, len(present - self.refused))
            fit = (fit & present) | self._fitting(present - held.keys() - self.refused - fit)
            if fit:  # one a round, so that the first begin while the others get it
                address = fit.pop()
                data = self._sent(address, seat)
                if data is not None:
                    held[address] = data
            for address in sorted(held.keys() - {address for address, _ in running.values()})[: len(waiting)]:
                member = waiting.pop()
                train = methodcaller("train", pickle.dumps(member))
                future = self.client.submit(train, held[address], key=f"{member.name}-{uuid4().hex}", workers=[address])
                running[future] = address, member
            if not running and present and present <= self.refused:
                raise CompetitionError(
                    f"The cluster must have a worker that fits. Received: {len(present)}, all refused (see above). "
                    f"Next: {self.start}."
                )
            if not running and not fit and not announced:
                announced = True
                tqdm.write(f"Waiting for a worker. Next: {self.start}.")
            yield from self._results(running, seconds=0 if fit else 1)

    def _workers(self) -> set[str]:
        if self.client.status != "running":
            raise OSError("connection lost")  # Dask would connect again, but has dropped what was sent
        return set(self.client.nthreads())

    def _results(self, running: dict, seconds: float) -> Iterator:
        """Wait so many seconds for a member to finish; take those that did out of `running`, yield what they gave.

        Raises:
            CompetitionError, RuntimeError: a member failed, by a reason of its own.
        """
        if not running:
            return time.sleep(seconds)
        with suppress(*LOST):  # the next round sees why, here and below
            wait(list(running), timeout=seconds, return_when="FIRST_COMPLETED")
        for future in [future for future in running if future.done() and not _died(future)]:
            if future.status == "error":
                error = future.exception()
                if isinstance(error, CompetitionError):
                    raise error
                address, member = running[future]
                raise RuntimeError(f"{member.name} failed on worker {address}") from error
            try:
                result = future.result(timeout=TRANSFER)
            except LOST:
                continue
            del running[future]
            yield result

    def _fitting(self, addresses: set[str]) -> set[str]:
        """Those of some workers that have the same libraries and package; the others are refused."""
        if not addresses:
            return set()
        wanted, fitting = _facts(), set()
        for address, answer in self.client.run(_facts, workers=list(addresses), on_error="return").items():
            if isinstance(answer, OSError):
                continue  # it died; where it comes back, it is checked again
            if isinstance(answer, Exception):
                self._refuse(address, f"one that fails to import the package ({one_line(answer)})")
            elif answer != wanted:
                self._refuse(address, ", ".join(
                    f"{name} {answer.get(name)} in place of {wanted.get(name)}"
                    for name in sorted({*wanted, *answer}) if answer.get(name) != wanted.get(name)
                ))  # fmt: skip
            else:
                fitting.add(address)
        return fitting

    def _sent(self, address: str, seat: "_Seat"):
        """The data on a worker, checked there; None where it arrived damaged, or the worker died."""
        try:
            data = self.client.scatter(seat, workers=[address], hash=False)
            self.client.submit(methodcaller("check"), data, workers=[address], pure=False).result(timeout=TRANSFER)
        except CompetitionError as error:
            self._refuse(address, str(error))
        except LOST:
            pass  # the next round sees why
        else:
            return data
        return None

    def _refuse(self, address: str, received: str) -> None:
        self.refused.add(address)
        tqdm.write(
            f"Worker {address} is refused: it must have this machine's libraries, package and data. "
            f"Received: {received}. Next: {self.start}."
        )


def _facts() -> dict:
    """What must be the same wherever a member runs."""
    return {**versions(), "oneDNN": ONEDNN, "distributed": distributed.__version__, "package": package_sha256()[:12]}


@dataclass(frozen=True)
class _Seat:
    """What a worker holds of a run. Its methods are called by name: the scheduler need not import the package."""

    work: Any
    topic: str

    def check(self) -> None:
        self.work.check()

    def train(self, packed: bytes):
        """One member; its epochs come by the scheduler's event stream."""
        worker, member = get_worker(), pickle.loads(packed)
        key = worker.get_current_task()

        def tell(name: str, logs: dict) -> None:
            task = worker.state.tasks.get(key)
            if task is None or task.state == "cancelled":
                raise CompetitionError(f"{name} is not wanted any more.")  # by a run that was stopped; nobody reads it
            worker.log_event(self.topic, (name, {key: float(value) for key, value in logs.items()}))

        with KERAS:
            use_free_gpu()
            return self.work(member, tell)


def _died(future) -> bool:
    """Whether a future ended with its worker."""
    return future.cancelled() or (future.status == "error" and isinstance(future.exception(), KilledWorker))
