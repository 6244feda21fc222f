"""A page to draw digits on, served to this computer alone: what a run's ensemble predicts while they are drawn.

Any page on the web can make a browser send requests to 127.0.0.1. So one that names another host (a name that was
pointed here, "DNS rebinding") is refused, and one with a drawing must come from this page: browsers name the origin of
every POST. The page itself can send requests to no other host: its Content-Security-Policy forbids it.
"""

import io
import json
import os
import re
import socket
import sys
import threading
import time
import webbrowser
from base64 import b64encode
from contextlib import suppress
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from urllib.parse import unquote

from competition.errors import CompetitionError
from competition.report.draw_backend import NEAREST, Backend, described
from competition.report.html import render
from competition.runs.folders import Folders, shown
from competition.runs.run import Run, find_run

HOST, PORT = "127.0.0.1", 8028
PORTS_TRIED = 20
LARGEST = 5 << 20  # bytes of a drawing or picture: the page sends at most 1024 × 1024 pixels, as PNG
SECONDS = 10  # in which a request must arrive


def serve(folders: Folders, name: str | None = None, port: int | None = None, browser: bool = True) -> None:
    """Serve the page until Ctrl-C.

    Args:
        name: of the run; None takes the newest complete one.
        port: None takes PORT or one of the next ones.
        browser: whether to open the page there, where there is a screen to see it on.

    Raises:
        CompetitionError: there is no such run, one of its members is damaged, or the port is taken.
    """
    run = find_run(folders, name)
    with bound(port) as server, suppress(KeyboardInterrupt):
        print(f"Loading {run.name} …", flush=True)
        server.open(folders, run)
        print(f"Draw at {server.url} (for this computer alone; Ctrl-C ends it)", flush=True)
        if browser and _screen():
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        server.serve_forever()
    print("\nThe page is closed.")


def policy_of(page: str) -> str:
    """The Content-Security-Policy that lets a page use what stands in it, and send requests to its own server alone."""
    allowed = {
        tag: " ".join(
            f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
            for text in re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        )
        for tag in ("style", "script")
    }
    return (
        f"default-src 'none'; style-src {allowed['style']}; script-src {allowed['script']}; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class Server(ThreadingHTTPServer):
    """Listens on 127.0.0.1 alone, from `open` on.

    Attributes:
        backend: of the page.
        page: the HTML page.
        policy: its Content-Security-Policy.
    """

    daemon_threads = True
    request_queue_size = 128  # connections that wait to be accepted; socketserver's 5 are fewer than a browser opens

    def open(self, folders: Folders, run: Run) -> None:
        """Load the run, which takes some seconds, and listen: who connects before is refused and need not wait.

        Raises:
            CompetitionError: a member of the run is damaged, or another program took the port meanwhile.
        """
        self.backend = Backend(folders, run)
        first = self.backend.first
        if first.missing:
            print(f"No nearest training digits are shown: {first.missing}", file=sys.stderr)
        self.page = render("draw.html.j2", runs={name: described(run) for name, run in self.backend.runs.items()},
                           examples=first.examples, nearest=NEAREST,
                           folder=shown(self.backend.folder))  # fmt: skip
        self.policy = policy_of(self.page)
        try:
            self.server_activate()
        except OSError as error:
            raise _taken(self.server_port, error) from None

    def server_bind(self) -> None:
        """As HTTPServer does, but without a name server's name for 127.0.0.1."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.socket.getsockname()[1]

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"

    def handle_error(self, request, client_address):
        """A browser that goes away is no error."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def bound(port: int | None = None) -> Server:
    """A server that has that port, or PORT or the first free one after it, and does not listen yet.

    Raises:
        CompetitionError: it is taken, or none is free.
    """
    if port is not None and not 0 <= port <= 65535:
        raise CompetitionError(f"PORT lies between 0 and 65535. Received: {port}. Next: make draw PORT={PORT}.")
    problem = None
    for number in [port] if port is not None else range(PORT, PORT + PORTS_TRIED):
        server = Server((HOST, number), Handler, bind_and_activate=False)
        try:
            server.server_bind()
        except OSError as error:
            server.server_close()
            problem = _taken(port, error)
        else:
            if port is None and number != PORT:
                print(f"Port {PORT} is taken by another program: this is {number}.")
            return server
    assert problem
    raise problem


def _taken(port: int | None, error: OSError) -> CompetitionError:
    rule, following = (
        (f"A port from {PORT} on", "make draw PORT=0` takes any") if port is None
        else (f"PORT={port}", "make draw` takes a free one")
    )  # fmt: skip
    return CompetitionError(f"{rule} must be free. Received: {error.strerror}. Next: `{following}.")


class Handler(BaseHTTPRequestHandler):
    """Answers a request of the page, and refuses any other."""

    server: Server
    server_version, sys_version = "draw", ""
    timeout = SECONDS  # of each read or write; see `_Request` for all reads

    def setup(self):
        """As usual, but for how a request is read."""
        super().setup()
        self.rfile = io.BufferedReader(_Request(self.connection))

    def do_GET(self):
        """The page."""
        if self.ours() and self.known(self.path == "/"):
            self.answer(200, self.server.page.encode(), "text/html; charset=utf-8")

    def do_POST(self):
        """A drawing to predict, to explain, or to keep with its right label."""
        backend = self.server.backend
        found = re.fullmatch("/(predict|occlude)/(.+)|/keep/([0-9])", unquote(self.path))
        if not (self.ours() and self.of_the_page() and self.known(found and (found[3] or found[2] in backend.runs))):
            return
        assert found  # else it was refused
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,9}", length, re.ASCII):
            return self.refuse(411, "A drawing comes with its length.")
        if int(length) > LARGEST:
            return self.refuse(413, f"A drawing has at most {LARGEST} bytes.")
        png = self.rfile.read(int(length))
        try:
            if found[3]:
                result = backend.keep(png, int(found[3]))
            else:
                result = (backend.predict if found[1] == "predict" else backend.occlude)(png, found[2])
        except CompetitionError as error:
            return self.refuse(422, str(error))
        self.answer(200, json.dumps(result).encode(), "application/json")

    def ours(self) -> bool:
        """Whether the request names this server, and not another host that leads to it; refuses it otherwise."""
        name, _, port = self.headers.get("Host", "").partition(":")
        named = name in (HOST, "localhost") and (port or "80") == str(self.server.server_port)
        return named or self.refuse(403, f"This server is {self.server.url}.")

    def of_the_page(self) -> bool:
        """Whether it comes from the page that this server gave; refuses it otherwise."""
        own = self.headers.get("Origin") == f"http://{self.headers['Host']}"
        return own or self.refuse(403, "Only the page of this server sends drawings.")

    def known(self, found) -> bool:
        """Whether there is such a path; refuses it otherwise."""
        return bool(found) or self.refuse(404, "There is nothing here. Reload the page if the server was restarted.")

    def refuse(self, status: int, why: str) -> bool:
        """Send the reason, as JSON; always False."""
        self.answer(status, json.dumps({"error": why}).encode(), "application/json")
        return False

    def send_error(self, code, message=None, explain=None):
        """What the base class refuses, such as an unknown method, has the same headers as all else."""
        self.refuse(code, message or self.responses[code][0])

    def answer(self, status: int, body: bytes, kind: str) -> None:
        """Send a whole answer; what the browser may do with it is the page's policy."""
        self.connection.settimeout(SECONDS)
        self.send_response(status)
        for name, value in {
            "Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store",
            "Content-Security-Policy": self.server.policy, "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
        }.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *words):
        """Nothing: every stroke makes a request."""


class _Request(socket.SocketIO):
    """What arrives within SECONDS in all: a timeout of the socket is of each read, however few bytes it brings."""

    def __init__(self, connection: socket.socket):
        super().__init__(connection, "r")
        self._connection, self._end = connection, time.monotonic() + SECONDS

    def readinto(self, buffer):
        self._connection.settimeout(max(0.001, self._end - time.monotonic()))
        return super().readinto(buffer)


def _screen() -> bool:
    """Whether a browser would have a screen; without one, Python's `webbrowser` may fill the terminal with a page."""
    if os.environ.get("CI"):
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
