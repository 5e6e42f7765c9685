"""Drawing plots in several processes side by side."""

import sys

import pytest
from support.records import mixed_study

from pipeline.report.plots import draw, files
from pipeline.system import forkserver


@pytest.fixture(autouse=True)
def _not_imported(monkeypatch):
    """Pretend that this process has not imported the drawing yet, as in a command."""
    monkeypatch.delitem(sys.modules, forkserver.DRAWING_PRELOAD)


def test_the_same_bytes_however_many_draw(tmp_path, monkeypatch):
    """Plots, their order and their words are those of a single process."""
    record = mixed_study(6)
    expected = files.draw_files(record, tmp_path / "expected")
    monkeypatch.chdir(tmp_path)
    drawn = draw.draw_plots(record, (tmp_path / "drawn").relative_to(tmp_path))
    assert _words(drawn) == _words(expected)
    assert [path.read_bytes() for plot in drawn for path in plot.paths] == [
        path.read_bytes() for plot in expected for path in plot.paths
    ]
    assert len(drawn) > 5


def _words(plots):
    return [(plot.title, plot.about, plot.alt, plot.instead, plot.marks) for plot in plots]


def test_error_of_a_process_is_raised(tmp_path):
    """The caller gets the error of the process that could not write."""
    (tmp_path / "plots").touch()
    with pytest.raises(FileExistsError):
        draw.draw_plots(mixed_study(2), tmp_path / "plots")


def test_dead_process_costs_no_plot(tmp_path, monkeypatch):
    """This process draws the part of a process that has died."""

    def start_dead_process(*_):
        ours, theirs = forkserver.CONTEXT.Pipe()
        theirs.close()
        return ours

    monkeypatch.setattr(draw, "_start_process", start_dead_process)
    assert len(draw.draw_plots(mixed_study(2), tmp_path / "plots")) > 5


def test_another_process_draws_what_a_dead_one_has_left(tmp_path, monkeypatch):
    """Of two processes one has died: no plot is missing, and their order is that of the registry."""
    start = draw._start_process
    died = []

    def start_dead_process(*arguments):
        if died:
            return start(*arguments)
        ours, theirs = forkserver.CONTEXT.Pipe()
        theirs.close()
        died.append(ours)
        return ours

    monkeypatch.setattr(draw.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(draw, "_start_process", start_dead_process)
    record = mixed_study(2)
    drawn = draw.draw_plots(record, tmp_path / "plots")
    assert died
    assert _words(drawn) == _words(files.draw_files(record, tmp_path / "expected"))
