"""The files of a report are written again only if they would be others."""

import dataclasses
import json
from pathlib import Path

import pytest
from jinja2 import Environment
from support.endtoend import ONE_PLOT, draw_one_plot
from support.reports import report_study, report_trial

from pipeline.report import manifest, render
from pipeline.report.manifest import MANIFEST
from pipeline.report.plots import draw

RECORD = report_study(report_trial(0, 0.8), report_trial(1, 0.9, lr=0.02))


@pytest.fixture
def drawings(monkeypatch):
    """The folders into which plots were drawn; a line stands in the place of each."""
    folders = []

    def begin_drawing(_record, folder):
        folders.append(folder)
        drawn = [draw.DrawnPlot(place=0, name="edf", title="Distribution", instead="few")]
        return lambda: drawn

    monkeypatch.setattr(draw, "begin_drawing", begin_drawing)
    return folders


def contents(paths):
    """The content of each file."""
    return {path: path.read_bytes() for path in paths}


def test_an_unchanged_report_is_not_written_again(tmp_path, drawings):
    """The files stay as they are, and nothing is drawn; `is_current` says so beforehand."""
    assert not render.is_current(RECORD, tmp_path)
    first = contents(render.write(RECORD, tmp_path))
    times = {path: path.stat().st_mtime_ns for path in first}
    assert render.is_current(RECORD, tmp_path)
    assert contents(render.write(RECORD, tmp_path)) == first
    assert {path: path.stat().st_mtime_ns for path in first} == times
    assert drawings == [tmp_path / "plots"]
    ranked = dataclasses.replace(RECORD)
    assert ranked.ranked, "what is computed of a study is no part of it"
    assert render.is_current(ranked, tmp_path)


def test_what_is_not_drawn_is_written_while_others_draw(tmp_path, monkeypatch):
    """Other processes begin to draw first; then the caller has its turn, the figures, and only then the plots."""
    order = []

    def begin_drawing(_record, folder):
        order.append("drawing")

        def wait_for_plots():
            assert (folder.parent / "trials.json").is_file()
            order.append("waiting")
            return []

        return wait_for_plots

    monkeypatch.setattr(draw, "begin_drawing", begin_drawing)
    render.prepare()
    compiled = []
    monkeypatch.setattr(Environment, "compile", lambda *arguments, **_: compiled.append(arguments))
    render.write(RECORD, tmp_path, beside=lambda: order.append("beside"))
    assert order == ["drawing", "beside", "waiting"]
    assert not compiled, "the templates were compiled when the report was prepared"
    render.write(RECORD, tmp_path, beside=lambda: order.append("beside"))
    assert order[3:] == ["beside"]


def test_a_folder_may_be_relative(tmp_path, monkeypatch):
    """The manifest of a report below the working folder names its plots, too."""
    monkeypatch.chdir(tmp_path)
    draw_one_plot(monkeypatch)
    render.write(RECORD, Path("mine"))
    named = json.loads(Path("mine", MANIFEST).read_text())["files"]
    assert {"report.html", f"plots/{ONE_PLOT}.png"} <= set(named)
    assert render.is_current(RECORD, Path("mine"))
    assert render.is_current(RECORD, tmp_path / "mine")


def edit_a_file(folder):
    """Change a file by hand."""
    (folder / "trials.csv").write_text("")


def lose_a_file(folder):
    """Lose a file."""
    (folder / "report.html").unlink()


def put_a_folder(folder):
    """Put something else in the place of a file."""
    lose_a_file(folder)
    (folder / "report.html").mkdir()


def cut_the_manifest(folder):
    """Lose the end of the manifest."""
    path = folder / MANIFEST
    path.write_text(path.read_text()[:-40])


def name_other_files(folder):
    """Have the manifest name a file outside."""
    path = folder / MANIFEST
    value = json.loads(path.read_text())
    value["files"]["../outside"] = manifest._file_digest(path)
    (folder.parent / "outside").write_bytes(path.read_bytes())
    path.write_text(json.dumps(value))


def empty_the_manifest(folder):
    """Have the manifest be something else."""
    (folder / MANIFEST).write_text("[]")


def show_the_images(folder):
    """Make the page of the images, to which the report then links."""
    page = folder.parent / "data-digits" / "data.html"
    page.parent.mkdir()
    page.touch()


@pytest.mark.parametrize(
    "change",
    [
        *(edit_a_file, lose_a_file, cut_the_manifest, name_other_files),
        *(empty_the_manifest, show_the_images),
    ],
)
def test_a_report_that_would_be_another_is_written_again(tmp_path, drawings, change):
    """A damaged file, one that is missing, and another manifest are noticed; then it is whole again."""
    folder = tmp_path / "study"
    render.write(RECORD, folder)
    change(folder)
    again = contents(render.write(RECORD, folder))
    assert len(drawings) == 2
    assert render.is_current(RECORD, folder)
    assert json.loads(again[folder / "trials.json"])["shown"] == 2


def test_a_folder_in_the_place_of_a_file_is_no_file(tmp_path, drawings):
    """It is not taken for the file, nor overwritten."""
    render.write(RECORD, tmp_path)
    put_a_folder(tmp_path)
    with pytest.raises(OSError, match="directory"):
        render.write(RECORD, tmp_path)
    assert len(drawings) == 2


def test_another_study_or_program_is_another_report(tmp_path, drawings, monkeypatch):
    """A result, the study's name, or another version of a library: all is written anew."""
    render.write(RECORD, tmp_path)
    more = report_study(report_trial(0, 0.8), report_trial(1, 0.9, lr=0.02, seconds=2.0))
    render.write(more, tmp_path)
    renamed = dataclasses.replace(more, name="other")
    render.write(renamed, tmp_path)
    assert len(drawings) == 3
    manifest._program.cache_clear()
    before = manifest._program()
    assert "render.py" in before
    assert "page.css" in before
    assert "numpy-" in before
    monkeypatch.setattr(manifest, "_program", lambda: before.replace("numpy-", "numpy-9"))
    render.write(renamed, tmp_path)
    assert len(drawings) == 4
