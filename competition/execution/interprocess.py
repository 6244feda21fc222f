"""Epoch logs of worker processes, carried into the process of the run; signals and the end of those processes."""

import functools
import multiprocessing.resource_tracker
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener
from typing import Any

from joblib.externals.loky.backend import resource_tracker

Tell = Callable[[str, dict], None]  # a member's name and Keras's logs of an epoch
QUEUE = 128  # connections that may wait
SECONDS = 10  # in which a connection must send its message


@contextmanager
def carried(tell: Tell) -> Iterator[Tell]:
    """`tell` for other processes: what they call it with, a thread here calls it with.

    Each message is a connection of its own to this machine's loopback address, with a key that only this process's
    workers have.
    """
    key = os.urandom(32)
    closed = threading.Event()
    with Listener(("127.0.0.1", 0), backlog=QUEUE, authkey=key) as listener:
        # Accepted connections inherit it: one that sends nothing must not hold up the others.
        limit = struct.pack("ll", SECONDS, 0)
        listener._listener._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)  # type: ignore[attr-defined]

        def listen():
            while True:
                message: Any = ()
                with suppress(AuthenticationError, EOFError, OSError), listener.accept() as connection:
                    message = connection.recv()
                if message is None or (closed.is_set() and not message):
                    return
                with suppress(Exception):  # a message shows progress, no more; the run itself notices a full disk
                    if message:
                        tell(*message)

        put = _Put(listener.address, key)
        listener_thread = threading.Thread(target=listen, daemon=True)
        listener_thread.start()
        try:
            yield put
        finally:
            put.send(None)
            closed.set()
            listener_thread.join()


@dataclass(frozen=True)
class _Put:
    """A `tell` that can be sent to another process."""

    address: tuple[str, int]
    key: bytes

    def __call__(self, name: str, logs: dict) -> None:
        self.send((name, logs))

    def send(self, message: tuple[str, dict] | None) -> None:
        with suppress(AuthenticationError, EOFError, OSError), Client(self.address, authkey=self.key) as connection:
            connection.send(message)


@contextmanager
def undisturbed(*numbers: signal.Signals) -> Iterator[None]:
    """Processes and threads that start herein never get these signals; the run itself does, right after it."""
    for tracker in (resource_tracker, multiprocessing.resource_tracker):
        tracker.ensure_running()  # started in between, it would unblock them
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # what starts here inherits this
    received: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():  # where a signal lands whose thread does not block it
        handlers = {number: signal.signal(number, lambda number, frame: received.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    for first in received[:1]:
        signal.raise_signal(first)


@functools.cache
def end_with(parent: int) -> None:
    """End this process soon after its parent, however that ended: a killed run leaves nothing at work."""

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
