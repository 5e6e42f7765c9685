"""Manages the server that forks helper processes: the workers of a sweep, and drawers of plots.

The server imports what helpers need while this process goes on. A helper then starts within a
hundredth of a second, and helpers share the memory of the imported modules.

Windows cannot fork: there, each helper is a new process, which takes seconds to import all of that.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeAlias

from pipeline.system.errors import KILL, UsageFailure
from pipeline.system.files import temporary_folder, temporary_parent
from pipeline.system.import_path import safe_children
from pipeline.system.signals import HANGUP

if sys.platform == "win32":
    CONTEXT = multiprocessing.get_context("spawn")
    Connection: TypeAlias = "connection.PipeConnection[Any, Any]"
else:
    import fcntl

    CONTEXT = multiprocessing.get_context("forkserver")
    Connection: TypeAlias = "connection.Connection[Any, Any]"

TRAINING_PRELOAD = "pipeline.engines.preload"
DRAWING_PRELOAD = "pipeline.report.plots.files"
# Bytes. The name of a socket has at most 103 on macOS, 107 on Linux, and Python's own need 46 more.
_LONGEST_PARENT = 57
_USUAL_PARENTS = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - for folders of random names


def warm_up(module: str) -> None:
    """Start the server unless it runs; it imports a module, beside whatever this process does next.

    No server is started if this process has already imported the module, or where there is none.

    Raises:
        UsageFailure: if there is no folder for the server's socket.
    """
    check()
    if CONTEXT.get_start_method() != "forkserver" or is_imported(module):
        return
    CONTEXT.set_forkserver_preload([module])
    with safe_children(), _deaf_to_interrupts():
        forkserver.ensure_running()


def check() -> None:
    """Check that a server can be started later, where there is one.

    Raises:
        UsageFailure: if there is no folder for the server's socket.
    """
    if CONTEXT.get_start_method() == "forkserver":
        _place_sockets()


def import_later(load: Callable[[], object], seconds: float) -> None:
    """Have the server, in which this is called, import something more after some seconds.

    What it has to fork at that time waits for the import. Helpers that begin before do without.

    Args:
        load: imports it.
        seconds: until then.
    """
    if sys.platform == "win32":  # there is no server
        return

    def load_now(*_: object) -> None:
        with suppress(Exception):  # the helper that needs it will tell
            load()

    signal.signal(signal.SIGALRM, load_now)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def start(work: Callable[..., None], arguments: tuple[object, ...], name: str) -> BaseProcess:
    """Start a helper process, which does not outlive this one.

    Args:
        work: a function of this package. The main module of this process is not imported there.
        arguments: of the function.
        name: of the process.
    """
    process = CONTEXT.Process(target=work, args=arguments, name=name, daemon=True)
    with (
        safe_children(),
        _deaf_to_interrupts(),
        _hidden_main(),
    ):  # a server that has died is started again
        process.start()
    return process


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Have processes that start in this block never see a Ctrl-C; this process sees it after it.

    A terminal sends it to all processes. Python's server ignores it only after its imports: until
    then it would end with a traceback, on the same terminal.
    """
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # whose start would end the deafness
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Keep helpers that start in this block from importing the main module.

    Python would import it in each of them. That takes time, and runs a script without the guard
    ``if __name__ == "__main__"`` again.
    """
    main = sys.modules["__main__"]
    names = [name for name in ("__file__", "__spec__") if hasattr(main, name)]
    before = {name: getattr(main, name) for name in names}
    for name in names:
        setattr(main, name, None)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(main, name, value)


def _place_sockets() -> None:
    """Choose the folder for the sockets of this process and its helpers, once.

    Python would put them below TMPDIR, whose name may be too long for a socket's, and would leave
    them there when this process is killed.
    """
    # There is no public way: the environment is read only once, and not by this process alone.
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined] # noqa: SLF001
    if "tempdir" in config:  # a helper uses its parent's
        return
    parents = [temporary_parent(), *_USUAL_PARENTS]
    for parent in parents:
        if len(os.fsencode(parent)) <= _LONGEST_PARENT and os.access(parent, os.W_OK | os.X_OK):
            folders = ExitStack()
            config["tempdir"] = str(folders.enter_context(temporary_folder(parent)))
            atexit.register(folders.close)
            return
    raise UsageFailure(
        f"helper processes need a folder of at most {_LONGEST_PARENT} characters for sockets: "
        f"set TMPDIR to one, got {str(parents[0])!r}"
    )


def is_imported(module: str) -> bool:
    """Tell whether this process has imported a module."""
    return module in sys.modules


def stop_server() -> None:
    """Kill the server.

    By itself, the server would finish its imports first, and readers of our output would wait.
    """
    # Python stops its own server only in tests, and has no public function for that.
    pid = getattr(forkserver._forkserver, "_forkserver_pid", None)  # noqa: SLF001
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, KILL)


def is_daemon() -> bool:
    """Tell whether this process is itself a helper, and may therefore start no helpers."""
    return multiprocessing.current_process().daemon


def end_with_parent() -> None:
    """Make this helper end when its parent has ended, for whatever reason, and ignore Ctrl-C.

    For the start of a helper process: sets signal handlers and starts a thread.
    """
    # A Ctrl-C, or the end of the terminal, reaches all of its processes: the parent decides then.
    for number in (signal.SIGINT, *HANGUP):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel  # a file descriptor that becomes readable when the parent ends

    def watch() -> None:
        connection.wait([sentinel])
        os.kill(os.getpid(), KILL)

    threading.Thread(target=watch, daemon=True).start()
    if sys.platform != "win32":
        # The thread cannot run while a call into a library holds the interpreter lock. The system's
        # own signal (SIGIO, which kills by default) ends the process there.
        fcntl.fcntl(sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(sentinel, fcntl.F_SETFL, fcntl.fcntl(sentinel, fcntl.F_GETFL) | os.O_ASYNC)
