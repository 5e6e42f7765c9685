"""Ends a command at once: the interpreter's own end looks through all that was imported, for two seconds."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress


class Leaving:
    """The end of this process, when everything that wants to be done at its end is done."""

    def __init__(self) -> None:
        """Be the last to be done: what is registered later is done before."""
        self.code: int | None = None  # to leave with; None to leave as the interpreter does
        atexit.register(self._leave)

    def _leave(self) -> None:
        if self.code is None:
            return
        if (databases := sys.modules.get("pipeline.stores.sqlite")) is not None:
            databases.close_files()
        if (forking := sys.modules.get("pipeline.system.forkserver")) is not None:
            forking.end()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # whoever read it has gone
                stream.flush()
        os._exit(self.code)
