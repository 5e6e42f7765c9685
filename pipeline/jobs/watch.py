"""Looks at a study while its sweep runs: its status, and a page of its report that is renewed."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from pipeline.report import render
from pipeline.report.html import Live
from pipeline.report.status import Status, status_line
from pipeline.stores import access, locations, locks
from pipeline.system.console import format_size
from pipeline.system.errors import Failure
from pipeline.system.files import folder_size
from pipeline.system.local_page import LivePage, serve
from pipeline.system.signals import StopRequest

_INTERVAL = 5.0  # seconds between two looks into the store, at least
_SHARE = 4  # so many times as long as a look takes, there is a pause after it
_POLL_INTERVAL = 0.2  # seconds
_READER_GONE = 30.0  # seconds after which a page that nobody has asked for is not renewed


def read_status(stores: locations.Stores, name: str | None) -> Status:
    """Read the status of a study, or of the study last opened."""
    record = access.read_record(stores, name)
    checkpoints = stores.home / "checkpoints" / record.name
    return Status(
        record=record,
        running=access.read_running(stores, record.name),
        holder=locks.holder_of_any(stores, record.name),
        places={
            "record": locations.display_name(stores.tracking),
            "studies": locations.display_name(stores.studies),
            "checkpoints": f"{checkpoints}, {format_size(folder_size(checkpoints))}",
            "report": str(stores.reports(record.name)),
        },
        now=time.time(),
    )


def pause_after(seconds: float) -> float:
    """Return how long to wait after a look that took so long: to watch must not slow the sweep."""
    return max(_INTERVAL, _SHARE * seconds)


class Watch:
    """The page of a study, which is made anew when the study has changed.

    Only reads the stores; the plots are drawn in a temporary folder.
    """

    def __init__(self, read: Callable[[], Status]) -> None:
        """Make the page for the first time.

        Args:
            read: returns the status of the study.

        Raises:
            Failure: if the study cannot be read.
        """
        self.page = LivePage()
        self._read = read
        self._seen: Status | None = None
        self._made = 0  # how often the page was made
        self._next_look = 0.0
        self.look()

    def look(self) -> None:
        """Read the study, and make its page anew if it has changed.

        Raises:
            Failure: if the study cannot be read.
        """
        began = time.monotonic()
        status = self._read()
        if self._seen is None or _is_other(status, self._seen):
            self._seen = status
            self._made += 1
            renewed = datetime.fromtimestamp(status.now, UTC)
            text = f"{status_line(status)}. Renewed {renewed:%Y-%m-%d %H:%M:%S} UTC."
            version = f"{self._made}-{renewed:%Y%m%d%H%M%S}"
            self.page.content = render.live_page(status.record, Live(text, version)).encode()
            self.page.version = version
        ended = time.monotonic()
        self._next_look = ended + pause_after(ended - began)

    def look_if_due(self) -> None:
        """Look again if somebody reads the page, and the last look is long enough ago.

        A store that cannot be read now, perhaps because it is locked, is looked into later.
        """
        if time.monotonic() < self._next_look or not self.page.was_asked_within(_READER_GONE):
            return
        try:
            self.look()
        except Failure:
            self._next_look = time.monotonic() + _INTERVAL


def _is_other(status: Status, earlier: Status) -> bool:
    """Whether a study has changed: its trials, their progress, or who holds it."""
    return (status.record, status.running, status.holder) != (
        earlier.record,
        earlier.running,
        earlier.holder,
    )


def watch(
    read: Callable[[], Status], port: int, ready: Callable[[], None], stop: StopRequest
) -> None:
    """Serve the page of a study, and renew it, until asked to stop.

    Args:
        read: returns the status of the study.
        port: where to listen, on 127.0.0.1.
        ready: called once the page can be opened.
        stop: the request to stop.

    Raises:
        Interrupted: if asked to stop.
        Failure: if the study cannot be read the first time.
    """
    watched = Watch(read)
    with serve(watched.page, port):
        ready()
        while True:
            stop.check()
            watched.look_if_due()
            time.sleep(_POLL_INTERVAL)
