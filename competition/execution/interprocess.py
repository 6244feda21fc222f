"""What members say in other processes, carried into this one; no process that only carries it loads TensorFlow."""

import functools
import multiprocessing.resource_tracker
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.managers import SyncManager
from typing import Any

from joblib.externals.loky.backend import resource_tracker
from joblib.externals.loky.backend.context import get_context

Tell = Callable[[str, dict], None]  # a member's name and Keras's logs of an epoch


@contextmanager
def carried(tell: Tell) -> Iterator[Tell]:
    """`tell` for other processes: what they say arrives here by a queue.

    The queue's process starts as loky's workers do, alike on Linux and macOS: no fork of a process that has threads,
    as by Linux's default, and no second run of a script that is not guarded by its `__name__`, as by macOS's.
    """
    manager = SyncManager(ctx=get_context("loky"))
    with undisturbed(signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it ends with the run, not before
        manager.start(end_with, (os.getpid(),))
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


@contextmanager
def undisturbed(*numbers: signal.Signals) -> Iterator[None]:
    """Processes and threads that start herein never hear these signals; the run itself does, right after it."""
    for tracker in (resource_tracker, multiprocessing.resource_tracker):
        tracker.ensure_running()  # started in between, it would unblock them
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
def end_with(parent: int) -> None:
    """End this process soon after its parent, however that ended: a killed run leaves nothing at work."""

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
