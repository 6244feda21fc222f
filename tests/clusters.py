"""A real Dask cluster on this machine: a scheduler and workers, each a process of its own."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from competition.runs import ROOT


class LocalCluster:
    """A scheduler, and the workers that `worker` starts; leaving the block ends them all."""

    def __init__(self, folder: Path):
        self.folder, self.processes = folder, []

    def __enter__(self):
        file = self.folder / "scheduler.json"
        self.scheduler = self._start(
            "scheduler", "--scheduler-file", file, "--host", "127.0.0.1", "--port", "0", "--no-dashboard"
        )
        while not (file.exists() and file.read_text()):
            assert self.scheduler.poll() is None, "no scheduler"
            time.sleep(0.1)
        self.address = json.loads(file.read_text())["address"]
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()

    def worker(self, *arguments, folder=ROOT, **environment):
        """Start a worker in a folder; it joins within seconds."""
        flags = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", self.folder)
        if "--worker-port" not in arguments:
            flags += ("--host", "127.0.0.1")
        return self._start("worker", self.address, *flags, *arguments, folder=folder, **environment)

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


class Meter:
    """Forwards TCP connections to a port of this machine and counts their bytes, both ways."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.target, self.to, self.back = free_port(), 0, 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            near = self.server.accept()[0]
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            threading.Thread(target=self._pump, args=(near, far, "to"), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, "back"), daemon=True).start()

    def _pump(self, source, sink, way):
        try:
            while data := source.recv(1 << 16):
                setattr(self, way, getattr(self, way) + len(data))
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                end.close()

    def worker_flags(self):
        """Flags that lead all connections to a worker through here."""
        return ("--worker-port", self.target, "--listen-address", f"tcp://127.0.0.1:{self.target}",
                "--contact-address", f"tcp://127.0.0.1:{self.port}")  # fmt: skip


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
