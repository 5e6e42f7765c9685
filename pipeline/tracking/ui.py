"""Runs MLflow's UI over an embedded store, on 127.0.0.1, for as long as its command runs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

from pipeline.system.errors import Failure, Interrupted
from pipeline.system.import_path import safe_environment
from pipeline.system.local_page import HOST
from pipeline.system.signals import stop_requests
from pipeline.tracking import guard

_POLL_INTERVAL = 0.2  # seconds
# One process serves one person. Further ones would take 280 MB each, and would outlive a terminal
# that is closed.
_OPTIONS = ("--workers", "1", "--uvicorn-opts", "--log-level warning")
_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job runners would outlive it
    # Else the server would import from the working folder first.
    "UVICORN_APP_DIR": sysconfig.get_path("stdlib"),
    "PYTHONWARNINGS": "ignore",  # the warnings of its libraries are meant for their authors
}


def serve(tracking: str, port: int, ready: Callable[[], None]) -> None:
    """Run the UI until it is stopped by Ctrl-C, SIGTERM, or the end of the terminal.

    Args:
        tracking: the store's URI.
        port: where to listen.
        ready: called once the UI answers.

    Raises:
        Failure: if the UI ended by itself.
    """
    with stop_requests() as stop, _server(tracking, port) as process:
        try:
            answered = False
            while process.poll() is None:
                stop.check()
                if not answered and _answers(port):
                    answered = True
                    ready()
                time.sleep(_POLL_INTERVAL)
        except Interrupted:
            return
    raise Failure(
        f"MLflow's UI ended by itself with code {process.returncode}: what it said stands above"
    )


@contextlib.contextmanager
def _server(tracking: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server; all its processes are gone once the block is left, or this process ends."""
    address = ["--host", HOST, "--port", str(port)]
    stores = ["--backend-store-uri", tracking, "--registry-store-uri", tracking]
    server = [sys.executable, "-m", "mlflow", "ui", *address, *stores, *_OPTIONS]
    # In our own process group, so that the end of the terminal ends it too.
    command = [sys.executable, "-P", guard.__file__, *server]
    environment = _ENVIRONMENT | os.environ | safe_environment()
    # Its input is closed at the end of the block. The command holds no user input.
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:  # noqa: S603
        yield process


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5):
            return True
    except (OSError, urllib.error.URLError):
        return False
