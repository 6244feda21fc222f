"""How many processes, and threads of each, by cores, members, memory and GPUs."""

from types import SimpleNamespace

import pytest

from competition.execution import cores
from competition.execution.cores import PROCESS, divide, memory

GB = 1_000_000_000


@pytest.mark.parametrize(
    ("members", "table"),
    [
        (6, {1: (1, 1), 2: (2, 1), 3: (3, 1), 4: (4, 1), 5: (5, 1), 6: (6, 1), 8: (6, 1), 11: (6, 1), 12: (6, 2),
             16: (6, 2), 18: (6, 3), 32: (6, 5), 96: (6, 16), 256: (6, 16)}),
        (12, {2: (2, 1), 8: (8, 1), 12: (12, 1), 16: (12, 1), 24: (12, 2)}),
        (4, {2: (2, 1), 4: (4, 1), 6: (4, 1), 8: (4, 2), 16: (4, 4)}),
        (3, {2: (2, 1), 4: (3, 1), 8: (3, 2)}),
        (1, {1: (1, 1), 2: (1, 2), 8: (1, 8)}),
    ],
)  # fmt: skip
def test_members_fill_the_cores_and_spare_cores_become_threads(members, table):
    assert {count: divide(count, members, 1000 * GB, gpus=0) for count in table} == table


@pytest.mark.parametrize(
    ("count", "members", "room", "chosen"),
    [
        (16, 100, 16 * GB, (13, 1)),  # not sixteen
        (16, 6, 16 * GB, (6, 2)),
        (16, 6, 4 * GB, (3, 5)),
        (16, 6, 6 * GB, (3, 5)),  # not five, of which one alone would train the sixth: twice as long, on three threads
        (16, 12, 12 * GB, (8, 2)),  # nor ten, and then two
        (8, 6, 4 * GB, (3, 2)),
        (2, 6, 2 * GB, (1, 2)),
        (2, 6, 2.4 * GB, (2, 1)),
        (4, 6, 0, (1, 4)),  # one is tried in any case
    ],
)
def test_no_more_processes_than_the_memory_holds(count, members, room, chosen):
    assert divide(count, members, int(room), gpus=0) == chosen


@pytest.mark.parametrize(
    ("gpus", "members", "room", "chosen"),
    [(1, 6, 64 * GB, (1, 1)), (2, 6, 29 * GB, (2, 1)), (8, 6, 64 * GB, (6, 1)), (4, 6, 3 * GB, (2, 1))],
)
def test_a_gpu_is_one_members(gpus, members, room, chosen):
    assert divide(16, members, room, gpus) == chosen


@pytest.mark.parametrize(
    ("count", "threads", "gpus", "processes"),
    [(4, 1, 0, 4), (4, 2, 0, 2), (4, 3, 0, 1), (4, 4, 0, 1), (4, 9, 0, 1), (4, 0, 0, 1), (16, 1, 0, 6), (16, 2, 2, 2)],
)
def test_threads_that_are_settled_stay_and_the_processes_follow(count, threads, gpus, processes):
    """0 is all cores."""
    assert divide(count, 6, 1000 * GB, gpus, threads) == (processes, threads)


def test_the_memory_is_what_is_free_and_what_a_container_may_have(tmp_path, monkeypatch):
    monkeypatch.setattr(cores.psutil, "virtual_memory", lambda: SimpleNamespace(total=16 * GB, available=9 * GB))
    assert memory(tmp_path) == 9 * GB  # as on a Mac: no such files
    (tmp_path / "memory.max").write_text("max\n")
    assert memory(tmp_path) == 9 * GB
    (tmp_path / "memory.max").write_text(f"{4 * GB}\n")
    assert memory(tmp_path) == 4 * GB
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text(f"{3 * GB}\n")
    assert memory(tmp_path) == 3 * GB


def test_the_memory_of_this_machine_is_known():
    assert PROCESS / 10 < memory() < 1e14
