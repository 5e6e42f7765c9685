"""Serves one HTML page on 127.0.0.1, whose reader is told when there is a newer one."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pipeline.system.errors import UsageFailure

HOST = "127.0.0.1"
# Names by which a browser of this machine, or at the other end of `ssh -L`, calls this one. A page
# of another site that has its own name point here is refused.
_LOCAL = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",  # the rest is in the page
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_CLIENT_TIMEOUT = 10.0  # seconds for a request to arrive


def check_port(port: int) -> None:
    """Check that a port of this machine is free.

    Raises:
        UsageFailure: if the port is taken; the message names a free port.
    """
    with socket.socket() as probe:
        # As a server does: a port whose last user has just ended is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            probe.bind((HOST, 0))
            free = probe.getsockname()[1]
            raise UsageFailure(
                f"cannot use port {port} of {HOST}: {error.strerror}; try --port {free}"
            ) from None


def first_free_port(first: int, count: int) -> int:
    """Return the first free port of several in a row.

    Raises:
        UsageFailure: if all are taken.
    """
    for port in range(first, first + count - 1):
        try:
            check_port(port)
        except UsageFailure:
            continue
        return port
    check_port(first + count - 1)
    return first + count - 1


@dataclass
class LivePage:
    """A page that is replaced from time to time, and served meanwhile.

    Attributes:
        content: the HTML.
        version: a text without spaces, which changes with the content.
    """

    content: bytes = b""
    version: str = ""
    _asked_at: float = -float("inf")

    def ask(self) -> None:
        """Note that somebody looks at the page."""
        self._asked_at = time.monotonic()

    def was_asked_within(self, seconds: float) -> bool:
        """Whether somebody has looked at the page so recently."""
        return time.monotonic() - self._asked_at <= seconds


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a reader that does not let go is not waited for

    def __init__(self, page: LivePage, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.page = page

    def handle_error(self, *_: object) -> None:
        """Print nothing: a reader has gone in the middle of an answer."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _CLIENT_TIMEOUT
    server_version = "sweep-pipeline"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with the page, or its version."""
        self._answer(has_body=True)

    def do_HEAD(self) -> None:
        """Answer as for GET, without the body."""
        self._answer(has_body=False)

    def _answer(self, *, has_body: bool) -> None:
        page = self.server.page
        status = HTTPStatus.OK
        body = b""
        kind = "text/plain"
        if not _LOCAL.fullmatch(self.headers.get("Host", "")):
            status = HTTPStatus.FORBIDDEN
        elif self.path == "/":
            page.ask()
            body = page.content
            kind = "text/html"
        elif self.path == "/version":
            page.ask()
            body = page.version.encode()
        else:
            status = HTTPStatus.NOT_FOUND
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if has_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing: a page that renews itself asks every few seconds."""


@contextmanager
def serve(page: LivePage, port: int) -> Iterator[None]:
    """Serve a page while the block runs: ``/`` is its content, ``/version`` its version.

    Args:
        page: what to serve; the caller replaces its content.
        port: where to listen, on 127.0.0.1 only.
    """
    with _Server(page, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
