"""The way to a tracking store: calls in order on one thread, a server that is away, and how errors are told.

Knows no run. A file of SQLite is never away: what it raises is final.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.tracking._tracking_service.utils import _SERVER_ARTIFACT_ROOT_ENV_VAR as _ARTIFACT_ROOT

from pipeline.system.errors import ServerAway, StorageFailure
from pipeline.tracking.writer import Writer

PATIENCE = 5.0  # seconds that the end of a command waits for a tracking server that is away
STOP_TIMEOUT = 6.0  # seconds that the end of one that is asked to stop may take
START_TIMEOUT = 3.0  # seconds in which one must answer at the start
_SOON = 0.5  # seconds that a trial's end may wait for the id of its run
# MLflow itself would try for minutes, seven times; the writer does that, and can be asked to stop. And it would print
# a link for each run that ends.
_BRIEF = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_PASSING = (408, 429, 500, 502, 503, 504)
_UNKNOWN_USER = 401

T = TypeVar("T")


class Connection:
    """The only thread that writes to a tracking store, and what waits to be written."""

    def __init__(self, uri: str) -> None:
        """Begin, without a call."""
        _be_brief(uri)
        self._uri = uri
        self._writer = Writer(_passes if is_server(uri) else lambda _error: False)
        self._patience = PATIENCE
        self._check: Callable[[], None] = lambda: None
        self._pending: deque[Future[Any]] = deque()

    @property
    def away(self) -> bool:
        """Whether the server is away, as far as is known: its calls are kept, and made when it is back."""
        return self._writer.trouble is not None

    def listen(self, check: Callable[[], None]) -> None:
        """Call this now and then while waiting; it may raise."""
        self._check = check

    def submit(self, call: Callable[..., T], *args: Any) -> Future[T]:
        """Have the writer make a call after those before it. What one raised is raised by the next `submit`."""
        self._raise_first()
        future = self._writer.submit(call, *args)
        self._pending.append(future)
        return future

    def call(self, call: Callable[..., T], *args: Any) -> T:
        """Have the writer make a call after those before it, and return what came of it.

        Raises:
            ServerAway: if the server was away for `PATIENCE` seconds.
            StorageFailure: if it could not be made.
        """
        return self.result(self._writer.submit(call, *args))

    def result(self, future: Future[T], limit: float = math.inf) -> T:
        """Wait for what came of a submitted call.

        Raises:
            ServerAway: if the server was away for `PATIENCE` seconds.
            StorageFailure: if it could not be made.
        """
        check = self._check if limit == math.inf else lambda: None
        if not self._writer.wait(future, patience=self._patience, limit=limit, check=check):
            self._patience = 0.0  # the second to wait need not
            cause = error_line(self._writer.trouble or "it does not answer", self._uri)
            raise ServerAway(f"the tracking server {without_password(self._uri)} is away: {cause}")
        try:
            return future.result()
        except Exception as error:
            raise StorageFailure(
                f"cannot use the tracking store {without_password(self._uri)}: {error_line(error, self._uri)}"
            ) from error

    def soon(self, future: Future[T]) -> T | None:
        """What came of a call, if that is known at once on a server, where training must not wait for it."""
        if is_server(self._uri) and not self._writer.wait(future, patience=0, limit=_SOON):
            return None
        return self.result(future)

    def drain(self, limit: float = math.inf) -> None:
        """Wait until all is written, or for so many seconds.

        Raises:
            ServerAway: if the server was away for `PATIENCE` seconds, or did not answer within the limit.
            StorageFailure: if something could not be.
        """
        end = time.monotonic() + limit
        while self._pending:
            self.result(self._pending.popleft(), end - time.monotonic())

    def close(self) -> None:
        """Write what is left, and end the writer; not, where the server was already waited for in vain."""
        self._writer.close(patience=self._patience, limit=math.inf if self._patience else 0.0)

    def _raise_first(self) -> None:
        while self._pending and self._pending[0].done():
            self.result(self._pending.popleft())


def check_reachable(uri: str) -> None:
    """See that a tracking server answers, making nothing.

    Raises:
        StorageFailure: naming it, if it does not within `START_TIMEOUT` seconds.
    """
    _be_brief(uri)
    writer = Writer(lambda _error: False)
    future = writer.submit(lambda: MlflowClient(uri).search_experiments(max_results=1))
    answered = writer.wait(future, patience=START_TIMEOUT, limit=START_TIMEOUT)
    writer.close(patience=0, limit=0)
    error = future.exception() if answered else f"no answer within {START_TIMEOUT:g} s"
    if isinstance(error, MlflowException) and _status(error) == _UNKNOWN_USER:
        login = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        raise StorageFailure(
            f"the tracking server {without_password(uri)} knows no such user with that password: set {login}"
        )
    if error is not None:
        raise StorageFailure(
            f"cannot reach the tracking server {without_password(uri)}: {error_line(error, uri)}"
        ) from None


@contextmanager
def percent_in_paths(uri: str) -> Iterator[None]:
    """Have MLflow open a store whose folder has a ``%`` in its name.

    It reads ``%20`` in a plain path as a space, so a new store is given the place of its artifacts as a URI; and it
    makes an empty folder of the quoted name beside the true one, which goes again.
    """
    here = Path.cwd()
    quoted = Path(uri.removeprefix("sqlite:///")).parent
    odd = "%" in str(here) and _ARTIFACT_ROOT not in os.environ
    stray = uri.startswith("sqlite:///") and "%" in str(quoted) and not quoted.exists()
    if odd:
        os.environ[_ARTIFACT_ROOT] = (here / "mlruns").as_uri()
    try:
        yield
    finally:
        if odd:
            del os.environ[_ARTIFACT_ROOT]
        if stray:
            with contextlib.suppress(OSError):
                quoted.rmdir()


def is_server(uri: str) -> bool:
    """Whether a tracking URI is a server's."""
    return urlsplit(uri).scheme in ("http", "https")


def _be_brief(uri: str) -> None:
    if is_server(uri):
        for name, value in _BRIEF.items():
            os.environ.setdefault(name, value)


def _passes(error: Exception) -> bool:
    """Whether a call that a server did not answer, or not now, is worth making again: not what it has refused."""
    response = getattr(error, "response", None)  # of an artifact
    if response is not None:
        return response.status_code in _PASSING
    if isinstance(error, MlflowException):
        return _status(error) in _PASSING
    return isinstance(error, ConnectionError | TimeoutError)


def _status(error: MlflowException) -> int:
    return int(error.get_http_status_code())  # type: ignore[no-untyped-call]


def without_password(uri: str) -> str:
    """A URI without its password."""
    if "@" in urlsplit(uri).netloc:
        return uri.replace(f"{urlsplit(uri).netloc.rpartition('@')[0]}@", "")
    return uri


def error_line(error: object, uri: str) -> str:
    """An error in one line, without the password of the URI."""
    secret = urlsplit(uri).netloc.rpartition("@")[0]
    text = " ".join(str(error).split())
    return (text.replace(f"{secret}@", "") if secret else text)[:300]
