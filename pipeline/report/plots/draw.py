"""Draws a study's plots for its report, in several processes side by side.

Only the processes import matplotlib: it takes a second.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from functools import partial
from itertools import chain, count
from multiprocessing.connection import wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from threading import Thread
from typing import TypeAlias, cast

from pipeline.report.plots.base import DrawnPlot, Output
from pipeline.system import forkserver, garbage
from sweeps.analysis.record import StudyRecord

_MAX_PROCESSES = 4  # more would have too few plots to draw

# The drawn plots, and the places of those that no process has drawn.
_Collected: TypeAlias = tuple[list[DrawnPlot], Iterable[int]]


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
    return begin_drawing(record, folder, output)()


def begin_drawing(
    record: StudyRecord,
    folder: Path,
    output: Output = Output(),  # noqa: B008 - it is frozen
) -> Callable[[], list[DrawnPlot]]:
    """Begin to draw as `draw_plots` does, beside what this process does next.

    Returns:
        Waits for the plots, and returns or raises what `draw_plots` does.
    """
    # A daemon may not start processes, and more processes would not save an import made already.
    if forkserver.is_daemon() or forkserver.is_imported(forkserver.DRAWING_PRELOAD):
        return partial(_draw, record, folder, count(), output)
    folder = folder.absolute()  # a process of the fork server may have another working directory
    forkserver.warm_up(forkserver.DRAWING_PRELOAD)
    pickled_record = bytes(ForkingPickler.dumps(record))  # once for all processes
    collected: Future[_Collected] = Future()
    # A daemon: nothing waits for drawings that nobody waits for any more.
    drawing = (pickled_record, folder, output, collected)
    Thread(target=_draw_beside, args=drawing, name="plots", daemon=True).start()

    def wait_for_plots() -> list[DrawnPlot]:
        plots, left = collected.result()
        if left:
            plots = plots + _draw(record, folder, left, output)
        return sorted(plots, key=lambda plot: plot.place)

    return wait_for_plots


def _draw_beside(
    pickled_record: bytes, folder: Path, output: Output, collected: Future[_Collected]
) -> None:
    """Let processes draw, once their server has imported what draws; the plots are the result."""
    try:
        with ExitStack() as stack:
            connections = [
                stack.enter_context(_start_process(pickled_record, folder, output))
                for _ in range(min(_MAX_PROCESSES, os.cpu_count() or 1))
            ]
            plots = _collect(connections)
    except Exception as error:  # noqa: BLE001 - raised where the plots are waited for
        collected.set_exception(error)
    else:
        collected.set_result(plots)


def _start_process(pickled_record: bytes, folder: Path, output: Output) -> forkserver.Connection:
    """Start a process that draws, and return the connection to it."""
    ours, theirs = forkserver.CONTEXT.Pipe()
    with theirs:
        forkserver.start(_work, (theirs, folder, output), "plots")
    with suppress(OSError):  # the process has died, as the reader of its answer will notice
        ours.send_bytes(pickled_record)
    return ours


def _collect(connections: Sequence[forkserver.Connection]) -> _Collected:
    """Tell each process what to draw, and what is next when it has drawn that.

    Returns:
        The drawn plots, and the places of those that no process has drawn because it died.

    Raises:
        OSError: of a process that could not write.
    """
    places = count()  # in the registry, which only the processes import
    in_hand: dict[forkserver.Connection, int] = {}

    def tell(connection: forkserver.Connection) -> None:
        in_hand[connection] = next(places)
        with suppress(OSError):  # it has died, as the reader of its answer will notice
            connection.send(in_hand[connection])

    for connection in connections:
        tell(connection)
    plots: list[DrawnPlot] = []
    lost: list[int] = []
    at_end = False  # whether the places have come to the end of the registry
    while in_hand:
        for ready in wait(list(in_hand)):
            connection = cast("forkserver.Connection", ready)
            place = in_hand.pop(connection)
            try:
                answer = connection.recv()
            except (EOFError, OSError):  # the process has died, perhaps for lack of memory
                lost.append(place)
                continue
            if isinstance(answer, Exception):
                raise answer
            if answer is None:
                at_end = True
            else:
                plots += answer
                tell(connection)
    return plots, sorted(lost) if at_end else chain(sorted(lost), places)


def _work(connection: forkserver.Connection, folder: Path, output: Output) -> None:
    """Receive the record, draw what is told, and send the drawn plots or the error."""
    forkserver.end_with_parent()
    with suppress(EOFError, OSError):  # nobody waits for the plots any more
        try:
            with garbage.freeze_loaded():  # to look for garbage there takes a tenth of the time
                record = connection.recv()
            for plots in _draw_each(record, folder, iter(connection.recv, None), output):
                connection.send(plots)
            connection.send(None)
        except Exception as error:  # noqa: BLE001 - the parent raises it
            connection.send(error)


def _draw(
    record: StudyRecord, folder: Path, places: Iterable[int], output: Output
) -> list[DrawnPlot]:
    return list(chain.from_iterable(_draw_each(record, folder, places, output)))


def _draw_each(
    record: StudyRecord, folder: Path, places: Iterable[int], output: Output
) -> Iterator[list[DrawnPlot]]:
    from pipeline.report.plots.files import draw_each  # matplotlib takes a second to import

    return draw_each(record, folder, places, output)
