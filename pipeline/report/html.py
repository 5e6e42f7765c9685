"""Writes a study as a self-contained HTML page, without other files or a network.

Also writes the summary that a notebook shows.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from pipeline.report import finalists, front, mistakes, published
from pipeline.report.answer import OBJECTIVES, Step, answer
from pipeline.report.contents import ReportContents
from pipeline.report.grid import Grid, Row, Section, make_grid
from pipeline.report.problems import INFEASIBLE, grouped_problems
from pipeline.report.provenance import images_command, last_end, origin, search_space
from pipeline.report.ranked import ranked_columns, ranked_table, shown_entries, table_notes
from pipeline.report.thesis.methods import methods_paragraphs
from pipeline.report.winner import headline, remarks, sections, winner_detail
from pipeline.system.errors import NothingComplete
from pipeline.system.text import clean, clip
from sweeps.analysis.ranking import ends_text
from sweeps.analysis.record import StudyRecord
from sweeps.trial import COMPLETE, PAUSED, PRUNED, RUNNING

VISIBLE_ROWS = 50  # rows of the ranked table that are shown at first
MAX_ROWS = 1000  # rows of the ranked table; the CSV has all
if TYPE_CHECKING:
    from jinja2 import Environment

_STUDY = "report.html"  # the template of a study's page
_SUMMARY_ROWS = 10  # of the ranked table in a notebook
_MAX_PROBLEMS = 50  # kinds of problems
_CELL_CLIP = 120  # characters of a cell of the ranked table
_PROBLEM_CLIP = 300  # characters of a cell of the problems
_LONG_CELL = 40  # characters; a column with longer cells is broken into lines
_PLOT_DPI = 130  # pixels per inch of the plots' files
_WIDE = 820  # CSS pixels, above which nothing stands beside a plot
_WITHIN_FIGURE = re.compile(r"(?<=\d) (?=[%±])|(?<=±) (?=\d)")  # the blanks in 97.42 ± 0.52 %
_OPTION = re.compile(r"((?<!\S)--[a-z][\w-]*)")  # of a command, such as --best
_MAX_MARKS = 4000  # of trials in a plot
# The width of a column of the ranked table in CSS pixels, about: of a character, and of the rest.
_CHARACTER = 7.4
_PADDING = 20
_ROOM = 1150  # CSS pixels for a table; columns beyond it are folded away
_CSS_DPI = 96  # CSS pixels per inch
_UNREMARKABLE = (PRUNED, PAUSED, INFEASIBLE, RUNNING)  # states that are no failures


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture that a page holds itself."""

    png: bytes

    @property
    def base64(self) -> str:
        """The PNG, as text for a data URL."""
        return base64.b64encode(self.png).decode()


@dataclass(frozen=True, kw_only=True)
class PlotImage(Picture):
    """A plot as the page shows it."""

    name: str
    title: str
    about: str  # how to read it
    alt: str  # its figures in words
    # Where trials are drawn: shares of the width from the left and of the height from the top, and
    # the number.
    marks: Sequence[tuple[float, float, int]] = ()

    @property
    def places(self) -> str:
        """Where trials are drawn, for the script of the page; empty if nowhere."""
        if not self.marks:
            return ""
        return json.dumps(self.marks[:_MAX_MARKS], separators=(",", ":"))

    @property
    def is_wide(self) -> bool:
        """Whether it needs the whole width of the page."""
        return self.width > _WIDE

    @property
    def width(self) -> int:
        """The width on the page, in CSS pixels."""
        width, _ = mistakes.png_size(self.png)
        return _css_pixels(width)

    @property
    def height(self) -> int:
        """The height on the page, in CSS pixels."""
        _, height = mistakes.png_size(self.png)
        return _css_pixels(height)


@dataclass(frozen=True, kw_only=True)
class NoPlot:
    """A line in the place of a plot that would show nothing."""

    title: str
    why: str


@dataclass(frozen=True)
class Live:
    """What a page tells that `pipeline report --watch` serves, and that loads itself anew."""

    text: str  # how far the study is, and when the page was made
    version: str  # which the server answers until there is a newer page


def _css_pixels(pixels: int) -> int:
    return round(pixels * _CSS_DPI / _PLOT_DPI)


# The values of the template


def page(
    contents: ReportContents,
    plots: Sequence[PlotImage],
    images_page: str = "",
    no_plots: Sequence[NoPlot] = (),
    live: Live | None = None,
) -> str:
    """Write the page of a study.

    Args:
        contents: of the report.
        plots: the study's plots, in order.
        no_plots: the lines in the place of plots that would show nothing.
        images_page: the relative path of the page of its data set; empty if there is none.
        live: for a page that loads itself anew; None for a file.
    """
    record = contents.record
    values: dict[str, Any] = {
        "name": clip(record.name, 120),
        "about": _about(record),
        "answer": answer(record),
        "ended": clip(ends_text(record.results), 600),
        "checks": contents.checks,
        "finalists": finalists.section(record),
        "front": front.section(record),
        **_ranked_values(contents),
        "plots": plots,
        "no_plots": no_plots,
        "methods": methods_paragraphs(record),
        "winner": _winner_values(record),
        **_mistake_values(record),
        **_problem_values(record),
        "published": _published_sections(contents),
        "origin": origin(record),
        "images_command": images_command(record),
        "images_page": images_page,
        "space": search_space(record),
        "last_end": last_end(record),
    }
    return render_template(_STUDY, values, live)


def _about(record: StudyRecord) -> str:
    """The study's description, data set and file."""
    parts = []
    description = clip(record.facts.description or "", 300)
    if description:
        parts.append(description)
    parts.append(f"Data set {clip(record.dataset, 160)}.")
    if record.study != record.name:
        parts.append(f"Study file {clip(record.study, 60)}.")
    return " ".join(parts)


def _ranked_values(contents: ReportContents) -> dict[str, Any]:
    """The ranked table, the style of each row, and the sentence above the table."""
    record = contents.record
    objective = record.objective
    rows = contents.table.rows[:MAX_ROWS]
    columns = ranked_columns(record, contents.table.columns)
    grid = contents.table.grid(rows, columns, limit=_CELL_CLIP)
    numbers = [
        " ".join(str(trial.number) for trial in entry.trials)
        for entry in shown_entries(record)[:MAX_ROWS]
    ]
    total = len(contents.table.rows)
    caption = f"By {OBJECTIVES[objective]}, complete ones first."
    if total > MAX_ROWS:
        caption += f" The first {MAX_ROWS:,} of {total:,} are here, trials.csv has all."
    return {
        "ranked": grid,
        "ranked_kinds": _with_folds(grid),
        "ranked_trials": numbers,
        "ranking_notes": table_notes(record, contents.table),
        "row_styles": [_row_style(row) for row in rows],
        "ranked_caption": caption,
        "visible": VISIBLE_ROWS,
    }


def _with_folds(grid: Grid) -> list[str]:
    """The CSS classes of the ranked table's columns: those without room at first are folded."""
    kinds = []
    room = float(_ROOM)
    for position, kind in enumerate(column_classes(grid)):
        cells = [len(row[position]) for row in grid.rows]
        longest = max([len(grid.columns[position]) + 1, *cells])
        room -= _PADDING + _CHARACTER * min(longest, _LONG_CELL)
        kinds.append(f"{kind} fold".strip() if room < 0 else kind)
    return kinds


def _row_style(row: Row) -> str:
    """The CSS class of a row of the ranked table; empty for most complete trials."""
    if row["state"] == COMPLETE:
        return "first" if row["rank"] == 1 else ""
    if row["state"] in _UNREMARKABLE:
        return str(row["state"])
    return "failed"


def _winner_values(record: StudyRecord) -> dict[str, Any] | None:
    """The winner in detail; None if no trial is complete."""
    try:
        detail: dict[str, Any] = winner_detail(record)
    except NothingComplete:
        return None
    steps = []
    if detail["load"]:
        steps.append(Step(why="Load its weights in Python", command=detail["load"]))
    # These have their own place on the page.
    elsewhere = dict.fromkeys(("chosen", "finalists", "first_against_second", "test_looks"))
    without_lead = {**detail, **elsewhere}
    return {
        "headline": headline(detail),
        "sections": sections(detail),
        "remarks": remarks(without_lead),
        "steps": steps,
    }


def _mistake_values(record: StudyRecord) -> dict[str, Any]:
    """The mistakes of the winner: of the finalists, once decided, else of the search."""
    source = record.decided_finalists or record
    winner = source.best_trial
    if winner is None:
        return {"pairs": [], "worst": (), "right": 0}
    pairs = mistakes.confused_pairs(source, winner)
    images = sum(sum(row) for row in winner.confusion or ())
    return {
        "pairs": pairs,
        "worst": mistakes.worst_mistakes(source, winner),
        "right": 0 if pairs else images,
    }


def _problem_values(record: StudyRecord) -> dict[str, Any]:
    """The kinds of problems as a table, and how many more there are."""
    rows = grouped_problems(record)
    more = []
    if len(rows) > _MAX_PROBLEMS:
        more.append(f"{len(rows) - _MAX_PROBLEMS} more are in trials.json.")
    columns = ["what", "detail", "trials", "numbers"]
    grid = make_grid(columns, rows[:_MAX_PROBLEMS], limit=_PROBLEM_CLIP)
    return {"problems": grid, "more_problems": more}


def _published_sections(contents: ReportContents) -> list[Section]:
    if contents.comparison is None:
        return []
    return published.sections(contents.record, contents.comparison)


def summary_html(record: StudyRecord) -> str:
    """Write the winner, what is certain of it, and the first rows of the ranked table as HTML."""
    summary = answer(record)
    table = ranked_table(record)
    rows = table.rows[:_SUMMARY_ROWS]
    more = ""
    if len(table.rows) > len(rows):
        more = f"The first {len(rows)} of {len(table.rows)} configurations."
    values = {
        "headline": summary.winner,
        "certainty": summary.certainty,
        "ranked": table.grid(rows),
        "more": more,
    }
    return render_template("notebook.html", values)


# The templates


def render_template(template: str, values: Mapping[str, object], live: Live | None = None) -> str:
    """Fill a template of ``pipeline/report/templates``.

    Args:
        template: the name of its file.
        values: by their names in it.
        live: for a page that loads itself anew; None for a file.

    Raises:
        jinja2.UndefinedError: if the template names a missing value.
    """
    style = _template_file("page.css")
    script = _template_file("page.js")
    if live is not None:
        script += _template_file("live.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest_source(style)}; "
        f"script-src {_digest_source(script)}; base-uri 'none'; form-action 'none'"
    )
    if live is not None:
        policy += "; connect-src 'self'"
    page_template = _environment().get_template(template)
    return page_template.render(**values, style=style, script=script, policy=policy, live=live)


def compile_templates() -> None:
    """Compile the templates of a study's page, which its first page would wait for."""
    _environment().get_template(_STUDY)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        finalize=_clean_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["columns"] = column_classes
    environment.filters["pieces"] = _pieces
    return environment


def _clean_text(value: object) -> object:
    """Clean a text before jinja escapes it; HTML of our own templates is left alone.

    No line ends between a number and its spread or unit.
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    text = clean(value)
    if " " not in text:  # such as a plot, which is long
        return text
    return _WITHIN_FIGURE.sub("\N{NO-BREAK SPACE}", text)


def _pieces(text: str) -> list[list[str]]:
    """Split a sentence at its back quotes: every second piece is code.

    Returns:
        The pieces, each split at its options, which are every second part of it: a browser would
        end a line at their hyphens.
    """
    return [_OPTION.split(piece) for piece in str(_clean_text(text)).split("`")]


@cache
def _template_file(name: str) -> str:
    return resources.files("pipeline.report").joinpath("templates", name).read_text("utf-8")


def _digest_source(text: str) -> str:
    """A source of a content security policy, for this text and no other.

    Source: https://www.w3.org/TR/CSP3/#framework-directive-source-list
    """
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def column_classes(grid: Grid) -> list[str]:
    """The CSS class of each column.

    ``n`` for numbers, ``long`` for text broken into lines, or empty.
    """
    classes = []
    for position, numeric in enumerate(grid.numeric):
        longest = max((len(row[position]) for row in grid.rows), default=0)
        if numeric:
            classes.append("n")
        elif longest > _LONG_CELL:
            classes.append("long")
        else:
            classes.append("")
    return classes
