"""A terminal of a chosen width in place of this process's standard streams."""

import contextlib
import fcntl
import os
import re
import struct
import sys
import termios
import threading

import pytest

_SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """What a terminal has shown, once its block has ended."""

    shown = ""

    @property
    def lines(self) -> list[str]:
        """The lines without colours."""
        return _SEQUENCES.sub("", self.shown).replace("\r\n", "\n").splitlines()


@contextlib.contextmanager
def terminal(width: int):
    """Have standard output and error write to a terminal while the block runs.

    Args:
        width: of the terminal, in characters; it has 24 lines.

    Yields:
        The terminal.
    """
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    read: list[bytes] = []

    def drain() -> None:
        with contextlib.suppress(OSError):  # as a terminal says that its writers have gone
            while chunk := os.read(ours, 65536):
                read.append(chunk)

    reader = threading.Thread(target=drain)
    reader.start()
    screen = Terminal()
    try:
        with pytest.MonkeyPatch.context() as patch, os.fdopen(theirs, "w") as stream:
            patch.delenv("COLUMNS", raising=False)
            patch.setenv("TERM", "xterm-256color")
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", stream)
            yield screen
    finally:
        reader.join()
        os.close(ours)
        screen.shown = b"".join(read).decode()
