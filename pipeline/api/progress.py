"""Shows progress in scripts and notebooks, and stops between two steps when interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.jobs.progress import ProgressDisplay
from pipeline.system import console
from pipeline.system.errors import Interrupted
from pipeline.system.signals import InterruptStopRequest, StopRequest
from sweeps.search.study import Study


class Progress:
    """The progress of a call: on standard output or in the cell of a notebook, or nowhere."""

    def __init__(self, *, visible: bool) -> None:
        self._console = console.make_console(quiet=not visible)

    def say(self, text: str) -> None:
        """Print a line."""
        console.print_line(self._console, text)

    def display(self, study: Study) -> ProgressDisplay:
        """Make the display of a study's trials."""
        return ProgressDisplay.for_study(study, self._console)

    @contextmanager
    def interruptible(self) -> Iterator[StopRequest]:
        """Turn an interrupt into a request to stop, and say how to go on.

        Raises:
            KeyboardInterrupt: once the block has stopped.
        """
        try:
            yield InterruptStopRequest()
        except Interrupted:
            self.say("interrupted; the same call goes on")
            raise
