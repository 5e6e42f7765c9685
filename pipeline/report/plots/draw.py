"""Draws a study's plots for its report, in several processes side by side.

Only the processes import matplotlib: it takes a second.
"""

from __future__ import annotations

import os
from contextlib import suppress
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

from pipeline.report.plots.base import DrawnPlot, Output
from pipeline.system import forkserver
from sweeps.analysis.record import StudyRecord

_MAX_PROCESSES = 4  # more would have too few plots to draw


def draw_plots(
    record: StudyRecord,
    folder: Path,
    output: Output = Output(),  # noqa: B008 - it is frozen
) -> list[DrawnPlot]:
    """Draw every plot of a study that has something to show, each into a file of each format.

    The bytes are the same, however many processes draw.

    Args:
        record: the study.
        folder: where each plot is written as ``NAME.png``, ``NAME.pdf``, ...
        output: the formats, and the look.

    Returns:
        The drawn plots, and the lines that stand in the place of some, in the order of the
        registry.

    Raises:
        OSError: if a file cannot be written.
    """
    # A daemon may not start processes, and more processes would not save an import made already.
    if forkserver.is_daemon() or forkserver.is_imported(forkserver.DRAWING_PRELOAD):
        return _draw(record, folder, 0, 1, output)
    folder = folder.absolute()  # a process of the fork server may have another working directory
    parts = min(_MAX_PROCESSES, os.cpu_count() or 1)
    forkserver.warm_up(forkserver.DRAWING_PRELOAD)
    pickled_record = bytes(ForkingPickler.dumps(record))  # once for all processes
    connections = [
        _start_process(pickled_record, folder, part, parts, output) for part in range(parts)
    ]
    plots: list[DrawnPlot] = []
    for part, connection in enumerate(connections):
        with connection:
            try:
                answer = connection.recv()
            except (EOFError, OSError):  # the process has died, perhaps for lack of memory
                answer = _draw(record, folder, part, parts, output)
        if isinstance(answer, Exception):
            raise answer
        plots += answer
    return sorted(plots, key=lambda plot: plot.place)


def _start_process(
    pickled_record: bytes, folder: Path, part: int, parts: int, output: Output
) -> forkserver.Connection:
    """Start a process that draws a part, and return the connection for its answer."""
    ours, theirs = forkserver.CONTEXT.Pipe()
    with theirs:
        forkserver.start(_work, (theirs, folder, part, parts, output), "plots")
    with suppress(OSError):  # the process has died, as the reader of its answer will notice
        ours.send_bytes(pickled_record)
    return ours


def _work(
    connection: forkserver.Connection, folder: Path, part: int, parts: int, output: Output
) -> None:
    """Receive the record, draw one part, and send the drawn plots or the error."""
    forkserver.end_with_parent()
    try:
        answer: object = _draw(connection.recv(), folder, part, parts, output)
    except Exception as error:  # noqa: BLE001 - the parent raises it
        answer = error
    connection.send(answer)


def _draw(
    record: StudyRecord, folder: Path, part: int, parts: int, output: Output
) -> list[DrawnPlot]:
    from pipeline.report.plots.files import draw_files  # matplotlib takes a second to import

    return draw_files(record, folder, part, parts, output)
