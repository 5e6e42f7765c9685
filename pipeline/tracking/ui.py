"""Runs MLflow's UI over an embedded store, on 127.0.0.1, for as long as its command runs."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from pipeline.system.errors import Failure, Interrupted, UsageFailure
from pipeline.system.import_path import safe_environment
from pipeline.system.local_page import HOST
from pipeline.system.signals import stop_requests
from pipeline.tracking import guard

_EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - listened on only behind passwords
# What MLflow's server needs to ask for passwords, besides its packages.
_PASSWORD_VARIABLES = ("MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY")
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


def check_host(host: str) -> None:
    """Check that nobody but the users of this machine reaches the UI without a password.

    Raises:
        UsageFailure: for any address but this machine's own, unless MLflow's server can ask for
            passwords.
    """
    if is_own_address(host):
        return
    missing = [name for name in _PASSWORD_VARIABLES if not os.environ.get(name)]
    if find_spec("flask_wtf") is None:
        missing.append("pip install 'mlflow[auth]'")
    if missing:
        raise UsageFailure(
            f"--host {host} would show the record to everyone who reaches it: ssh -L shows it to "
            f"you alone; to ask for passwords, set {', '.join(missing)} (SECURITY.md)"
        )


def is_own_address(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(tracking: str, host: str, port: int, ready: Callable[[], None]) -> None:
    """Run the UI until it is stopped by Ctrl-C, SIGTERM, or the end of the terminal.

    Args:
        tracking: the store's URI.
        host: the address to listen on, for which `check_host` was called.
        port: where to listen.
        ready: called once the UI answers.

    Raises:
        Failure: if the UI ended by itself.
    """
    with stop_requests() as stop, _server(tracking, host, port) as process:
        try:
            answered = False
            while process.poll() is None:
                stop.check()
                if not answered and _answers(host, port):
                    answered = True
                    ready()
                time.sleep(_POLL_INTERVAL)
        except Interrupted:
            return
    raise Failure(
        f"MLflow's UI ended by itself with code {process.returncode}: what it said stands above"
    )


@contextlib.contextmanager
def _server(tracking: str, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server; all its processes are gone once the block is left, or this process ends."""
    address = ["--host", host, "--port", str(port)]
    if not is_own_address(host):
        address += ["--app-name", "basic-auth"]
    stores = ["--backend-store-uri", tracking, "--registry-store-uri", tracking]
    server = [sys.executable, "-m", "mlflow", "ui", *address, *stores, *_OPTIONS]
    # In our own process group, so that the end of the terminal ends it too.
    command = [sys.executable, "-P", guard.__file__, *server]
    environment = _ENVIRONMENT | os.environ | safe_environment()
    # Its input is closed at the end of the block. The command holds no user input.
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:  # noqa: S603
        yield process


def _answers(host: str, port: int) -> bool:
    if host == _EVERY_ADDRESS:
        host = HOST
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/health", timeout=5):
            return True
    except (OSError, urllib.error.URLError):
        return False
