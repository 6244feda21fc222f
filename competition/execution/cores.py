"""How a machine is divided among members: processes in parallel, and threads of each."""

import math
from contextlib import suppress
from pathlib import Path

import psutil

PROCESS = 1_200_000_000  # bytes that a process takes while it trains; with Doucet's full width (`residual`) 1.44 GB
SERIAL = 0.5  # fraction of a member's time that more threads do not shorten: two take 0.74 of the time of one
THREADS = 16  # of one member at most: more would have too little to do in each of a step's operations


def divide(cores: int, members: int, memory: int, gpus: int, threads: int | None = None) -> tuple[int, int]:
    """Choose the processes and threads that end a run soonest.

    Members in parallel on a thread each use cores better than one member on several, whose small layers leave
    some of them idle. But where members are too few for the cores, or the memory for the members, the cores that
    are left become threads; and a last wave of a few members takes as long as a full one.

    Args:
        cores: that may compute.
        members: that could all train at the same time.
        memory: bytes that their processes may take together.
        gpus: to train on, one member at a time on each; 0 trains on the cores.
        threads: of each member where that is settled; 0 is all cores, None chooses.

    Returns:
        (processes, threads of each), the processes at least 1.
    """
    most = min(members, memory // PROCESS)
    if gpus:
        return max(1, min(most, gpus)), 1 if threads is None else threads
    if threads is not None:
        return max(1, min(most, cores // (threads or cores))), threads

    def of_each(processes: int) -> int:
        return min(THREADS, cores // processes)

    def time(processes: int) -> float:
        return math.ceil(members / processes) * (SERIAL + (1 - SERIAL) / of_each(processes))

    processes = min(range(max(1, min(most, cores)), 0, -1), key=time)
    return processes, of_each(processes)


def memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that processes may take here: what is free, and no more than a container is allowed."""
    limits = [psutil.virtual_memory().available]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # version 2 and 1; psutil knows neither
        with suppress(OSError, ValueError):  # no container, no Linux, or the word max
            limits.append(int((cgroup / name).read_text()))
    return min(limits)
