"""The server that this process's helpers are forked from: it imports what they need while this process goes on.

A helper takes a hundredth of a second to begin, and what is imported is in memory once. Knows no trial and no plot.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import wait

CONTEXT = multiprocessing.get_context("forkserver")
# what it imports: the first imports the second
TRAINING_PRELOAD = "pipeline.engines.preload"
DRAWING_PRELOAD = "pipeline.report.plots.files"


def warm_up(module: str) -> None:
    """Start the server, unless there is one; it imports a module, beside whatever this process does next.

    None is started for what is imported here already.
    """
    if is_imported(module):
        return
    CONTEXT.set_forkserver_preload([module])
    forkserver.ensure_running()


def is_imported(module: str) -> bool:
    """Whether this process has a module already."""
    return module in sys.modules


def stop_server() -> None:
    """End the server at once: by itself it would finish its imports first, and whoever reads our output would wait."""
    pid = getattr(forkserver._forkserver, "_forkserver_pid", None)  # noqa: SLF001 - Python stops its own only in tests
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_daemon() -> bool:
    """Whether this process may start none: it is a helper itself."""
    return multiprocessing.current_process().daemon


def end_with_parent() -> None:
    """End this process when the one that started it has ended, however that did; and leave a Ctrl-C to that one."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # it reaches all; who started this one knows what to do
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel  # which is readable then

    def watch() -> None:
        wait([sentinel])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    # A thread does not run while a call into a library holds the interpreter: there the system's own signal ends it.
    fcntl.fcntl(sentinel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sentinel, fcntl.F_SETFL, fcntl.fcntl(sentinel, fcntl.F_GETFL) | os.O_ASYNC)
