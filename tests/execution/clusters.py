"""A real Dask cluster on this machine: a scheduler and workers, each a process of its own."""

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from competition.runs.folders import ROOT

PATIENCE = 600  # seconds that a process may take to start on a machine that has much else to do


def until(true, what, process, seconds=PATIENCE):
    """Wait for something that a living process brings about; fail clearly when it ends or takes too long."""
    end = time.monotonic() + seconds
    while not (value := true()):
        assert process.poll() is None, f"{what}: its process ended with {process.returncode}"
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.1)
    return value


class LocalCluster:
    """A scheduler, and the workers that `worker` starts; leaving the block ends them all."""

    def __init__(self, folder: Path):
        self.folder, self.processes = folder, []

    def __enter__(self):
        file = self.folder / "scheduler.json"
        self.scheduler = self._start(
            "scheduler", "--scheduler-file", file, "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
            "--idle-timeout", "20 minutes",  # nothing outlives a test run that was killed
            folder=self.folder,  # where the package cannot be imported: no scheduler needs it
        )  # fmt: skip
        try:
            until(lambda: file.exists() and file.read_text().endswith("}"), "a scheduler", self.scheduler)
        except BaseException:
            self.__exit__()
            raise
        self.address = json.loads(file.read_text())["address"]
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()

    def worker(self, folder=ROOT, meter=None, **environment):
        """Start a worker in a folder, perhaps with a meter around it; it joins within seconds."""
        flags = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", self.folder)
        flags += meter.worker_flags() if meter else ("--host", "127.0.0.1")
        scheduler = meter.scheduler_for(self.address) if meter else self.address
        return self._start("worker", scheduler, *flags, folder=folder, **environment)

    def _start(self, *arguments, folder=ROOT, **environment):
        with (self.folder / f"{len(self.processes)}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *map(str, arguments)],
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**os.environ, **environment},
            )
        self.processes.append(process)
        return process


@dataclass(frozen=True)
class Echo:
    """Work that trains nothing: it tells three epochs and gives the data's size back."""

    data: bytes

    def check(self):
        """All data is welcome."""

    def __call__(self, member, tell):
        for epoch in range(3):
            tell(member.name, {"epoch": epoch})
        return member.name, len(self.data)


class Meter:
    """Counts the bytes between a worker and all others, by forwarding the TCP connections either end opens.

    Attributes:
        to, back: bytes to the worker, and from it.
    """

    def __init__(self):
        self.to = self.back = 0
        self.lock = threading.Lock()
        self.port = free_port()
        self.contact = self._forward(self.port, "to", "back")

    def worker_flags(self):
        """Lead connections to the worker through here."""
        return ("--listen-address", f"tcp://127.0.0.1:{self.port}",
                "--contact-address", f"tcp://127.0.0.1:{self.contact}")  # fmt: skip

    def scheduler_for(self, address):
        """An address that leads the worker's own connections to the scheduler through here."""
        return f"tcp://127.0.0.1:{self._forward(int(address.rsplit(':')[-1]), 'back', 'to')}"

    def _forward(self, target, onward, backward):
        server = socket.create_server(("127.0.0.1", 0))

        def serve():
            while True:
                near = server.accept()[0]
                try:
                    far = socket.create_connection(("127.0.0.1", target))
                except OSError:
                    near.close()
                    continue
                threading.Thread(target=self._pump, args=(near, far, onward), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, backward), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        return server.getsockname()[1]

    def _pump(self, source, sink, way):
        try:
            while data := source.recv(1 << 16):
                with self.lock:
                    setattr(self, way, getattr(self, way) + len(data))
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)  # wakes the other direction; close alone does not
                end.close()


def free_port():
    """A port that nobody listens on, outside the range from which systems take ports for connections."""
    for port in random.sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no free port")
