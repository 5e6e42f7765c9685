"""The connection to a tracking store: one thread makes its calls in order.

A tracking server may be away for a while: its calls wait, and are repeated until the server is
back. A SQLite file is never away: its errors are final.
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
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from pipeline.system.errors import Failure, ServerAway, StorageFailure
from pipeline.system.text import hide_secrets, public_url
from pipeline.tracking.later import LaterModule
from pipeline.tracking.writer import Writer

if TYPE_CHECKING:
    from pipeline.tracking import library
else:
    library = LaterModule("pipeline.tracking.library")

# The environment variable by which MLflow's server is told where artifacts are.
ARTIFACT_ROOT = "_MLFLOW_SERVER_ARTIFACT_ROOT"

PATIENCE = 5.0  # seconds that the end of a command waits for a server that is away
STOP_TIMEOUT = 6.0  # seconds that the end of a command may take when it is asked to stop
START_TIMEOUT = 3.0  # seconds in which a server must answer at the start of a command
_SOON = 0.5  # seconds that the end of a trial may wait for the id of its run
_LONGEST_STEP = 2.0  # times the time limit of a request: how long a step of a call may take
_SLOWEST_UPLOAD = 100_000.0  # bytes a second: longer takes only a server that is not waited for
# MLflow itself would repeat a call seven times, for minutes. The writer repeats calls instead, and
# can be asked to stop. MLflow would also print a link for each run that ends.
_BRIEF = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_PASSING = (408, 429, 500, 502, 503, 504)
_UNKNOWN_USER = 401
_SQLITE = "sqlite:///"

T = TypeVar("T")


class Connection:
    """The queue of calls to a tracking store, and the only thread that makes them."""

    def __init__(self, uri: str) -> None:
        """Start the thread; no call is made yet."""
        _be_brief(uri)
        self._uri = uri
        if is_server(uri):
            self._writer = Writer(_passes, _LONGEST_STEP * library.request_timeout())
        else:
            self._writer = Writer(_never_passes)
        self._patience = PATIENCE
        self._check: Callable[[], None] = lambda: None
        self._pending: deque[Future[Any]] = deque()

    @property
    def away(self) -> bool:
        """Whether the server is away, as far as is known. Its calls are made when it is back."""
        return self._writer.trouble is not None or self._writer.is_overdue

    def next_step(self, upload: int = 0) -> None:
        """Begin the next step of the call being made, which may take as long as the first.

        Args:
            upload: the bytes that the step sends.
        """
        self._writer.next_step(upload / _SLOWEST_UPLOAD)

    def listen(self, check: Callable[[], None]) -> None:
        """Call a function every now and then while waiting. The function may raise."""
        self._check = check

    def hold(self) -> None:
        """Make no further call until `release`, or until a call is waited for."""
        self._writer.hold()

    def release(self) -> None:
        """Make the calls that were held, if any were."""
        self._writer.release()

    def submit(self, call: Callable[..., T], *args: Any) -> Future[T]:
        """Queue a call, to be made after those already submitted.

        The exception of a failed call is raised by a later `submit`.
        """
        self._raise_first_failure()
        future = self._writer.submit(call, *args)
        self._pending.append(future)
        return future

    def call(self, call: Callable[..., T], *args: Any) -> T:
        """Make a call after those already submitted, and return its result.

        Raises:
            ServerAway: if the server was away for `PATIENCE` seconds, or answers too slowly.
            StorageFailure: if the call failed.
        """
        return self.result(self._writer.submit(call, *args))

    def result(self, future: Future[T], limit: float = math.inf) -> T:
        """Wait for the result of a submitted call.

        Args:
            future: of the call.
            limit: seconds to wait. With a limit, the function given to `listen` is not called.

        Raises:
            ServerAway: if the server was away for `PATIENCE` seconds or answers too slowly, or if
                the limit has passed.
            StorageFailure: if the call failed.
        """
        check = self._check if limit == math.inf else lambda: None
        if not self._writer.wait(future, patience=self._patience, limit=limit, check=check):
            self._patience = 0.0  # later calls need not wait again
            reason = error_line(self._writer.trouble or "it does not answer in time", self._uri)
            raise ServerAway(f"the tracking server {without_password(self._uri)} is away: {reason}")
        try:
            return future.result()
        except Failure:
            raise
        except Exception as error:
            store = without_password(self._uri)
            reason = error_line(error, self._uri)
            raise StorageFailure(f"cannot use the tracking store {store}: {reason}") from error

    def soon(self, future: Future[T]) -> T | None:
        """Return the result of a call; None if a server does not answer at once.

        For training, which must not wait for a server.
        """
        if is_server(self._uri) and not self._writer.wait(future, patience=0, limit=_SOON):
            return None
        return self.result(future)

    def drain(self, limit: float = math.inf) -> None:
        """Wait until all submitted calls have been made.

        Args:
            limit: seconds to wait at most.

        Raises:
            ServerAway: if the server was away for `PATIENCE` seconds or answers too slowly, or if
                the limit has passed.
            StorageFailure: if a call failed.
        """
        end = time.monotonic() + limit
        while self._pending:
            self.result(self._pending.popleft(), end - time.monotonic())

    def close(self) -> None:
        """Make the remaining calls and end the thread.

        If the server was already waited for in vain, the calls are cancelled.
        """
        limit = math.inf if self._patience else 0.0
        self._writer.close(patience=self._patience, limit=limit)

    def _raise_first_failure(self) -> None:
        while self._pending and self._pending[0].done():
            self.result(self._pending.popleft())


def check_reachable(uri: str) -> None:
    """Check that a tracking server answers, without any change to the store.

    Raises:
        StorageFailure: naming the server, without an answer within `START_TIMEOUT` seconds.
    """
    _be_brief(uri)
    writer = Writer(_never_passes)
    future = writer.submit(lambda: library.MlflowClient(uri).search_experiments(max_results=1))
    answered = writer.wait(future, patience=START_TIMEOUT, limit=START_TIMEOUT)
    writer.close(patience=0, limit=0)
    error = future.exception() if answered else f"no answer within {START_TIMEOUT:g} s"
    server = without_password(uri)
    if isinstance(error, library.MlflowException) and _status(error) == _UNKNOWN_USER:
        variables = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        raise StorageFailure(
            f"the tracking server {server} knows no such user with that password: set {variables}"
        )
    if error is not None:
        raise StorageFailure(
            f"cannot reach the tracking server {server}: {error_line(error, uri)}"
        ) from None


@contextmanager
def artifacts_beside(uri: str) -> Iterator[None]:
    """Have MLflow put the artifacts of new experiments beside the file of the store.

    MLflow itself would put them into the working folder, which may be another one: then the folder
    of the store could not be moved as a whole.

    MLflow reads ``%20`` in a plain path as a space: in a folder with a ``%`` in its name, the
    location is given as a URI. MLflow also makes an empty folder of the quoted name next to the
    real one, which is removed again.
    """
    if not uri.startswith(_SQLITE):
        yield
        return
    quoted_folder = Path(uri.removeprefix(_SQLITE)).parent
    leaves_stray = "%" in str(quoted_folder) and not quoted_folder.exists()
    sets_root = ARTIFACT_ROOT not in os.environ
    if sets_root:
        os.environ[ARTIFACT_ROOT] = artifact_root(Path(unquote(str(quoted_folder))))
    try:
        yield
    finally:
        if sets_root:
            del os.environ[ARTIFACT_ROOT]
        if leaves_stray:
            with contextlib.suppress(OSError):
                quoted_folder.rmdir()


def artifact_root(folder: Path) -> str:
    """Return where the artifacts of new experiments are, for MLflow, of a store in a folder."""
    root = folder / "mlruns"
    return root.as_uri() if "%" in str(root) else str(root)


def is_server(uri: str) -> bool:
    """Whether a tracking URI is that of a server."""
    return urlsplit(uri).scheme in ("http", "https")


def _be_brief(uri: str) -> None:
    if is_server(uri):
        for name, value in _BRIEF.items():
            os.environ.setdefault(name, value)


def _passes(error: Exception) -> bool:
    """Whether a failed call to a server is worth repeating: the server did not refuse it."""
    response = getattr(error, "response", None)  # of an upload or download of artifacts
    if response is not None:
        return response.status_code in _PASSING
    if isinstance(error, library.MlflowException):
        return _status(error) in _PASSING
    return isinstance(error, ConnectionError | TimeoutError)


def _never_passes(_error: Exception) -> bool:
    return False


def _status(error: library.MlflowException) -> int:
    return int(error.get_http_status_code())  # type: ignore[no-untyped-call]


def without_password(uri: str) -> str:
    """Return a URI, that of a server without user, password, query and fragment."""
    return public_url(uri) if is_server(uri) else uri


def error_line(error: object, uri: str) -> str:
    """Return an error's text in one line, without the secrets of the URI."""
    text = " ".join(str(error).split())
    if is_server(uri):
        text = hide_secrets(text, uri)
    return text[:300]
