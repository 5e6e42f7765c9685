"""Runs a command, all processes of which end when the standard input of this script does.

To be run as a script, by its path. The process that runs it holds the other end of a pipe, which
the system closes however that process ends, by ``kill -9`` too.
"""

from __future__ import annotations

import contextlib
import select
import signal
import subprocess
import sys

import psutil

_POLL_INTERVAL = 0.2  # seconds
_GRACE = 8.0  # seconds for the command to end by itself


def main(command: list[str]) -> int:
    """Run a command until it ends, or standard input does, and return its exit code."""
    # Ctrl-C and the end of a terminal reach all processes in it: what runs this script decides.
    # A handler, unlike SIG_IGN, is not inherited by the command.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - from our command
    try:
        while process.poll() is None and not _input_has_ended():
            pass
    finally:
        _end(process)
    # What a signal has ended has a negative one.
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _input_has_ended() -> bool:
    """Wait a moment for the end of standard input. Nothing else is ever read there."""
    readable, _, _ = select.select([sys.stdin], [], [], _POLL_INTERVAL)
    return bool(readable)


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
