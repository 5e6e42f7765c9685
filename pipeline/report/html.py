"""Writes a study as a self-contained HTML page, without other files or a network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.report import finalists, front, mistakes, published
from pipeline.report.answer import OBJECTIVES, Step, answer
from pipeline.report.contents import ReportContents
from pipeline.report.grid import Grid, Row, Section, make_grid
from pipeline.report.problems import INFEASIBLE, grouped_problems
from pipeline.report.provenance import images_command, last_end, origin, search_space
from pipeline.report.ranked import table_notes
from pipeline.report.winner import headline, remarks, sections, winner_detail
from pipeline.system.errors import NothingComplete
from pipeline.system.text import clean, clip
from sweeps.analysis.ranking import ends_text
from sweeps.analysis.record import StudyRecord
from sweeps.trial import COMPLETE, PAUSED, PRUNED, RUNNING

VISIBLE_ROWS = 50  # rows of the ranked table that are shown at first
MAX_ROWS = 1000  # rows of the ranked table; the CSV has all
_MAX_PROBLEMS = 50  # kinds of problems
_CELL_CLIP = 120  # characters of a cell of the ranked table
_PROBLEM_CLIP = 300  # characters of a cell of the problems
_LONG_CELL = 40  # characters; a column with longer cells is broken into lines
_PLOT_DPI = 130  # pixels per inch of the plots' files
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


def _css_pixels(pixels: int) -> int:
    return round(pixels * _CSS_DPI / _PLOT_DPI)


# The values of the template


def page(contents: ReportContents, plots: Sequence[PlotImage], images_page: str = "") -> str:
    """Write the page of a study.

    Args:
        contents: of the report.
        plots: the study's plots, in order.
        images_page: the relative path of the page of its data set; empty if there is none.
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
    return render_template("report.html", values)


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
    objective = contents.record.objective
    # A narrow screen shows the first columns only.
    first = ["rank", "trial", "family", objective, "front", "spread", "repeats", "epoch", "trained"]
    columns = contents.table.columns
    columns = [name for name in first if name in columns] + [
        name for name in columns if name not in first
    ]
    rows = contents.table.rows[:MAX_ROWS]
    total = len(contents.table.rows)
    caption = f"By {OBJECTIVES[objective]}, complete ones first."
    if total > MAX_ROWS:
        caption += f" The first {MAX_ROWS:,} of {total:,} are here, trials.csv has all."
    return {
        "ranked": contents.table.grid(rows, columns, limit=_CELL_CLIP),
        "ranking_notes": table_notes(contents.record, contents.table),
        "row_styles": [_row_style(row) for row in rows],
        "ranked_caption": caption,
        "visible": VISIBLE_ROWS,
    }


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


# The templates


def render_template(template: str, values: Mapping[str, object]) -> str:
    """Fill a template of ``pipeline/report/templates``.

    Raises:
        jinja2.UndefinedError: if the template names a missing value.
    """
    style = _template_file("page.css")
    script = _template_file("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest_source(style)}; "
        f"script-src {_digest_source(script)}; base-uri 'none'; form-action 'none'"
    )
    page_template = _environment().get_template(template)
    return page_template.render(**values, style=style, script=script, policy=policy)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        finalize=_clean_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["columns"] = column_classes
    return environment


def _clean_text(value: object) -> object:
    """Clean a text before jinja escapes it; HTML of our own templates is left alone."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return clean(value)
    return value


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
