"""Runs a command, all processes of which end when the standard input of this script does.

To be run as a script, by its path. The process that runs it holds the other end of a pipe, which
the system closes however that process ends, by ``kill -9`` too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

import psutil

_POLL_INTERVAL = 0.2  # seconds
_GRACE = 8.0  # seconds for the command to end by itself


def main(command: list[str]) -> int:
    """Run a command until it ends, or standard input does, and return its exit code."""
    # Ctrl-C and the end of a terminal reach all processes in it: what runs this script decides.
    # A handler, unlike SIG_IGN, is not inherited by the command.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - from our command
    input_has_ended = threading.Event()
    threading.Thread(target=_wait_for_end_of_input, args=(input_has_ended,), daemon=True).start()
    try:
        while process.poll() is None and not input_has_ended.wait(_POLL_INTERVAL):
            pass
    finally:
        _end(process)
    # What a signal has ended has a negative one.
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _wait_for_end_of_input(has_ended: threading.Event) -> None:
    """Set an event at the end of standard input. Nothing else is ever read there."""
    # Not through sys.stdin: at its exit, the interpreter would want the lock that a reader holds.
    os.read(0, 1)
    has_ended.set()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process, and those that it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        processes = [parent, *parent.children(recursive=True)]
        process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=_GRACE)
        for survivor in alive:
            survivor.kill()
    process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
