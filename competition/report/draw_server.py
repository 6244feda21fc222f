"""A page to draw digits on, served to this computer alone: what a run's ensemble thinks of them while they are drawn.

Any page on the web can make a browser send requests to 127.0.0.1. So one that names another host (a name that was
pointed here, "DNS rebinding") is refused, and one with a drawing must come from this page: browsers name the origin of
every POST. The page itself may ask no other host, which the browser sees to by its Content-Security-Policy.
"""

import json
import os
import re
import sys
import threading
import webbrowser
from base64 import b64encode
from contextlib import suppress
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

from competition.errors import CompetitionError
from competition.report.draw_backend import NEAREST, Reader, shown
from competition.report.html import render
from competition.runs.folders import Folders
from competition.runs.run import Run, find_run

HOST, PORT = "127.0.0.1", 8028
PORTS_TRIED = 20
LARGEST = 1 << 20  # bytes of a drawing; the page's own take 10,000


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
    with listen(port) as server, suppress(KeyboardInterrupt):
        print(f"Loading {run.name} …", flush=True)
        server.load(folders, run)
        print(f"Draw at {server.url} (for this computer alone; Ctrl-C ends it)", flush=True)
        if browser and _screen():
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        server.serve_forever()
    print("\nThe page is closed.")


def policy_of(page: str) -> str:
    """The Content-Security-Policy that lets a page run and show what stands in it, and ask its own server alone."""
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
    """Listens on 127.0.0.1 alone.

    Attributes:
        reader: of the drawings.
        page: the HTML page.
        policy: its Content-Security-Policy.
    """

    daemon_threads = True

    def load(self, folders: Folders, run: Run) -> None:
        """Make ready to answer, which takes some seconds."""
        self.reader = Reader(folders, run)
        if self.reader.missing:
            print(f"No nearest training digits are shown: {self.reader.missing}", file=sys.stderr)
        self.page = render("draw.html.j2", run=run, members=self.reader.ensemble.members, nearest=NEAREST,
                           missing=self.reader.missing, folder=shown(self.reader.folder))  # fmt: skip
        self.policy = policy_of(self.page)

    def server_bind(self) -> None:
        """As HTTPServer does, but without asking a name server what 127.0.0.1 is called."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"

    def handle_error(self, request, client_address):
        """A browser that goes away is no error."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def listen(port: int | None = None) -> Server:
    """A server on that port, or on PORT or the first free one after it.

    Raises:
        CompetitionError: it is taken, or none is free.
    """
    if port is not None and not 0 <= port <= 65535:
        raise CompetitionError(f"PORT lies between 0 and 65535. Received: {port}. Next: make draw PORT={PORT}.")
    for number in [port] if port is not None else range(PORT, PORT + PORTS_TRIED):
        try:
            server = Server((HOST, number), Handler)
        except OSError as error:
            received = error.strerror
        else:
            if port is None and number != PORT:
                print(f"Port {PORT} is taken by another program: this is {number}.")
            return server
    raise CompetitionError(
        f"{f'PORT={port}' if port is not None else f'A port from {PORT} on'} must be free. Received: {received}. "
        f"Next: `make draw{'` takes a free one' if port is not None else ' PORT=0` takes any'}."
    )


class Handler(BaseHTTPRequestHandler):
    """Answers a request of the page, and refuses any other."""

    server: Server
    server_version, sys_version = "draw", ""
    timeout = 10  # seconds that a request may take to arrive

    def do_GET(self):
        """The page."""
        if self.ours() and self.known(self.path == "/"):
            self.answer(200, self.server.page.encode(), "text/html; charset=utf-8")

    def do_POST(self):
        """A drawing to read, or to keep with its right label."""
        asked = re.fullmatch("/read|/keep/([0-9])", self.path)
        if not (self.ours() and self.of_the_page() and self.known(asked)):
            return
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,9}", length, re.ASCII):
            return self.refuse(411, "A drawing comes with its length.")
        if int(length) > LARGEST:
            return self.refuse(413, f"A drawing has at most {LARGEST} bytes.")
        png, reader = self.rfile.read(int(length)), self.server.reader
        try:
            result = reader.read(png) if asked[1] is None else reader.keep(png, int(asked[1]))
        except CompetitionError as error:
            return self.refuse(422, str(error))
        self.answer(200, json.dumps(result).encode(), "application/json")

    def ours(self) -> bool:
        """Whether the request names this server, and not another host that leads to it; refuses it otherwise."""
        name, _, port = self.headers.get("Host", "").partition(":")
        named = name in (HOST, "localhost") and (port or "80") == str(self.server.server_port)
        return named or self.refuse(403, f"Only {self.server.url} is answered.")

    def of_the_page(self) -> bool:
        """Whether it comes from the page that this server gave; refuses it otherwise."""
        own = self.headers.get("Origin") == f"http://{self.headers['Host']}"
        return own or self.refuse(403, "Only its own page may ask.")

    def known(self, found) -> bool:
        """Whether there is such a path; refuses it otherwise."""
        return bool(found) or self.refuse(404, "There is nothing here.")

    def refuse(self, status: int, why: str) -> bool:
        """Say why not, as JSON; always False."""
        self.answer(status, json.dumps({"error": why}).encode(), "application/json")
        return False

    def answer(self, status: int, body: bytes, kind: str) -> None:
        """Send a whole answer; what the browser may do with it is the page's policy."""
        self.send_response(status)
        for name, value in {
            "Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store",
            "Content-Security-Policy": self.server.policy, "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
        }.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        """Nothing: every stroke makes a request."""


def _screen() -> bool:
    """Whether a browser would have a screen; without one, Python's `webbrowser` may fill the terminal with a page."""
    if os.environ.get("CI"):
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
