"""MLflow's UI over an embedded store: started on 127.0.0.1, waited for, and ended with its command. Knows no study."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import psutil

from pipeline.system.errors import Failure, Interrupted, UsageFailure
from pipeline.system.signals import stop_requests

HOST = "127.0.0.1"
_LOOK_EVERY = 0.2  # seconds
_GRACE = 8.0  # seconds in which the server ends of itself
# One process serves one person; further ones would take 280 MB each, and outlive a terminal that is closed.
_OPTIONS = ("--workers", "1", "--uvicorn-opts", "--log-level warning")
_QUIET = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job runners outlive it
    "PYTHONWARNINGS": "ignore",  # what its libraries say to its authors
}


def check_port(port: int) -> None:
    """See that nobody listens there.

    Raises:
        UsageFailure: naming a port that is free.
    """
    with socket.socket() as place:
        place.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as the server does: what just ended is no one
        try:
            place.bind((HOST, port))
        except OSError as error:
            place.bind((HOST, 0))
            free = place.getsockname()[1]
            raise UsageFailure(
                f"cannot use port {port} of {HOST}: {error.strerror}; try --port {free}"
            ) from None


def serve(tracking: str, port: int, ready: Callable[[], None]) -> None:
    """Run the UI until somebody stops it: Ctrl-C, SIGTERM, or the end of the terminal.

    Args:
        tracking: the store's URI.
        port: where it listens.
        ready: called once it answers.

    Raises:
        Failure: if it ended by itself.
    """
    with stop_requests() as stop, _hang_up_too(), _server(tracking, port) as process:
        try:
            answered = False
            while process.poll() is None:
                stop.check()
                if not answered and _answers(port):
                    answered = True
                    ready()
                time.sleep(_LOOK_EVERY)
        except Interrupted:
            return
    raise Failure(
        f"MLflow's UI ended by itself with code {process.returncode}: what it said stands above"
    )


@contextlib.contextmanager
def _hang_up_too() -> Iterator[None]:
    """Have a terminal's end, unless that is ignored (nohup), ask for the same as SIGTERM."""
    before = signal.getsignal(signal.SIGHUP)
    if before != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@contextlib.contextmanager
def _server(tracking: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The server's process, which is no more once the block is left."""
    place = [
        "--host",
        HOST,
        "--port",
        str(port),
        "--backend-store-uri",
        tracking,
        "--registry-store-uri",
        tracking,
    ]
    command = [sys.executable, "-m", "mlflow", "ui", *place, *_OPTIONS]
    # In our own group: a terminal that ends, ends it too. It hands SIGTERM on to what it starts.
    process = subprocess.Popen(command, env=_QUIET | os.environ)  # noqa: S603 - our own words
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            family = [
                psutil.Process(process.pid),
                *psutil.Process(process.pid).children(recursive=True),
            ]
            process.terminate()
            _, left = psutil.wait_procs(family, timeout=_GRACE)
            for each in left:
                each.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5):
            return True
    except (OSError, urllib.error.URLError):
        return False
