"""Plots drawn by several processes side by side."""

import sys

import pytest
from support.records import mixed_study

from pipeline.report.plots import draw, files
from pipeline.system import forkserver


@pytest.fixture(autouse=True)
def _not_imported(monkeypatch):
    """As in a command: what draws has not been imported there."""
    monkeypatch.delitem(sys.modules, forkserver.DRAWING_PRELOAD)


def test_the_same_bytes_however_many_draw(tmp_path, monkeypatch):
    """All plots of a study, in their order and with their words, as this process draws them by itself."""
    record = mixed_study(6)
    own = files.draw_files(record, tmp_path / "own")
    monkeypatch.chdir(tmp_path)
    found = draw.draw_plots(record, (tmp_path / "others").relative_to(tmp_path))
    assert [(each.title, each.about, each.alt) for each in found] == [
        (e.title, e.about, e.alt) for e in own
    ]
    assert [each.path.read_bytes() for each in found] == [each.path.read_bytes() for each in own]
    assert len(found) > 5


def test_what_cannot_be_written_is_said_here(tmp_path):
    """The error is that of the process that met it."""
    (tmp_path / "plots").touch()
    with pytest.raises(FileExistsError):
        draw.draw_plots(mixed_study(2), tmp_path / "plots")


def test_what_a_process_dies_of_costs_no_plot(tmp_path, monkeypatch):
    """Its part is drawn by this process."""

    def dead(*_):
        ours, theirs = forkserver.CONTEXT.Pipe()
        theirs.close()
        return ours

    monkeypatch.setattr(draw, "_start_process", dead)
    monkeypatch.setattr(files, "DPI", 40)
    assert len(draw.draw_plots(mixed_study(2), tmp_path / "plots")) > 5
