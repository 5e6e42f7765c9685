"""Has a study's plots drawn, by several processes side by side. Knows none of them: matplotlib is imported there."""

from __future__ import annotations

import os
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from pipeline.report.plots.base import DrawnPlot
from pipeline.system import forkserver
from sweeps.analysis.record import StudyRecord

_MOST = 4  # processes: none has many plots to draw


def draw_plots(record: StudyRecord, folder: Path) -> list[DrawnPlot]:
    """Draw what can be drawn of a study into a folder, each a PNG: the same bytes, however many processes draw.

    Raises:
        OSError: if they cannot be written.
    """
    if forkserver.is_daemon() or forkserver.is_imported(
        forkserver.DRAWING_PRELOAD
    ):  # may start none; has nothing to import
        return _draw(record, folder, 0, 1)
    folder = folder.absolute()  # such a process may be elsewhere
    parts = min(_MOST, os.cpu_count() or 1)
    forkserver.warm_up(forkserver.DRAWING_PRELOAD)
    given = bytes(ForkingPickler.dumps(record))  # once for all of them
    found: list[DrawnPlot] = []
    for part, connection in enumerate(
        [_begun(given, folder, part, parts) for part in range(parts)]
    ):
        with connection:
            try:
                answer = connection.recv()
            except (EOFError, OSError):  # it has died: for the lack of memory, it may be
                answer = _draw(record, folder, part, parts)
        if isinstance(answer, Exception):
            raise answer
        found += answer
    return sorted(found, key=lambda drawn: drawn.place)


def _begun(given: bytes, folder: Path, part: int, parts: int) -> Connection[Any, Any]:
    """The line from a process that draws a part."""
    ours, theirs = forkserver.CONTEXT.Pipe()
    with theirs:
        forkserver.CONTEXT.Process(
            target=_work, args=(theirs, folder, part, parts), name="plots", daemon=True
        ).start()
    with suppress(OSError):  # it has died: what is read of it then is that
        ours.send_bytes(given)
    return ours


def _work(connection: Connection[Any, Any], folder: Path, part: int, parts: int) -> None:
    """What such a process does."""
    forkserver.end_with_parent()
    try:
        answer: object = _draw(connection.recv(), folder, part, parts)
    except Exception as error:  # noqa: BLE001 - who wants the plots gets it
        answer = error
    connection.send(answer)


def _draw(record: StudyRecord, folder: Path, part: int, parts: int) -> list[DrawnPlot]:
    from pipeline.report.plots.files import draw_files  # matplotlib takes a second to import

    return draw_files(record, folder, part, parts)
