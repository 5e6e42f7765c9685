"""A study as one HTML page that needs nothing beside it. Pure: a ranked record and pictures in, text out."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.report import finalists, mistakes, published
from pipeline.report.answer import OBJECTIVES, Step, answer
from pipeline.report.grid import Grid, grid
from pipeline.report.problems import INFEASIBLE, Row, grouped_problems
from pipeline.report.provenance import last_end, origin, search_space
from pipeline.report.published import Section
from pipeline.report.ranked import Listing
from pipeline.report.winner import headline, remarks, sections, winner_detail
from pipeline.system.text import clean
from sweeps.analysis.published import compare
from sweeps.analysis.ranking import ends_text
from sweeps.analysis.record import StudyRecord
from sweeps.trial import COMPLETE, PRUNED, RUNNING, TrialResult

VISIBLE_ROWS = 50  # rows of the ranked table that are seen at once
MAX_ROWS = 1000  # rows of it at most; the CSV has all
_TROUBLES = 50  # kinds of trouble
_CLIP = 120  # characters of a cell
_DPI = 130  # pixels to an inch of the plots' files
_QUIET = (PRUNED, INFEASIBLE, RUNNING)


@dataclass(frozen=True, kw_only=True)
class PlotImage:
    """A plot as the page shows it."""

    name: str
    title: str
    about: str  # how to read it
    alt: str  # the figures that it shows
    png: bytes

    @property
    def base64(self) -> str:
        """The file, as it stands in an address."""
        return base64.b64encode(self.png).decode()

    @property
    def width(self) -> int:
        """As it is shown, in CSS pixels, of which an inch has 96."""
        return self._shown(0)

    @property
    def height(self) -> int:
        """The same, down."""
        return self._shown(1)

    def _shown(self, axis: int) -> int:
        return round(mistakes.png_size(self.png)[axis] * 96 / _DPI)


def page(listing: Listing, pictures: Sequence[PlotImage]) -> str:
    """The page of a study.

    Args:
        listing: the study, ranked.
        pictures: its plots.
    """
    record = listing.record
    source = record.decided_finalists or record  # the study that the winner comes from
    won = source.best_trial
    values: dict[str, Any] = {
        "name": clean(record.name, 120),
        "about": _about(record),
        "answer": answer(record, listing.entries),
        "ended": clean(ends_text(record.results), 600),
        "checks": listing.findings,
        "finalists": finalists.section(record),
        **_ranked(listing),
        "pictures": pictures,
        "winner": won and _winner(record),
        **_mistakes(source, won),
        **_troubles(record),
        "published": _published(listing),
        "origin": origin(record),
        "space": search_space(record),
        "last_end": last_end(record),
    }
    return render_template("report.html", values)


def _about(record: StudyRecord) -> str:
    said = clean(record.facts.description or "", 300)
    if record.study == record.name:
        source = ""
    else:
        source = f" Study file {clean(record.study, 60)}."
    return f"{said}{' ' * bool(said)}Data set {clean(record.dataset, 160)}.{source}"


def _ranked(listing: Listing) -> dict[str, Any]:
    rows = listing.rows[:MAX_ROWS]
    count = len(listing.rows)
    if count > MAX_ROWS:
        more = f" The first {MAX_ROWS:,} of {count:,} are here, trials.csv has all."
    else:
        more = ""
    front = [
        "rank",
        "trial",
        "family",
        listing.record.objective,
        "spread",
        "repeats",
    ]  # seen on a phone, too
    names = sorted(
        listing.names, key=lambda name: front.index(name) if name in front else len(front)
    )
    return {
        "ranked": grid(names, rows, clip=_CLIP),
        "states": [_state(row) for row in rows],
        "ranked_note": f"By {OBJECTIVES[listing.record.objective]}, complete ones first.{more}",
        "visible": VISIBLE_ROWS,
    }


def _state(row: Row) -> str:
    """How a row is to look; mostly like the others."""
    if row["state"] == COMPLETE:
        if row["rank"] == 1:
            return "first"
        return ""
    if row["state"] in _QUIET:
        return str(row["state"])
    return "failed"


def _winner(record: StudyRecord) -> dict[str, Any]:
    detail: dict[str, Any] = winner_detail(record)
    if detail["load"]:
        load = [Step(why="Load its weights in Python", command=detail["load"])]
    else:
        load = []
    shown = [Section(title=title, laid=laid) for title, laid in sections(detail)]
    own = remarks({**detail, "finalists": None, "first_against_second": None})  # which stand above
    return {"headline": headline(detail), "sections": shown, "remarks": own, "steps": load}


def _mistakes(record: StudyRecord, won: TrialResult | None) -> dict[str, Any]:
    pairs = mistakes.confused_pairs(record, won) if won else []
    images = sum(map(sum, (won and won.confusion) or ()))
    return {
        "pairs": pairs,
        "worst": mistakes.worst_mistakes(record, won) if won else (),
        "right": 0 if pairs else images,
    }


def _troubles(record: StudyRecord) -> dict[str, Any]:
    found = grouped_problems(record)
    more = []
    if len(found) > _TROUBLES:
        more.append(f"{len(found) - _TROUBLES} more are in trials.json.")
    laid = grid(["what", "detail", "trials", "numbers"], found[:_TROUBLES], clip=300)
    return {"troubles": laid, "troubles_more": more}


def _published(listing: Listing) -> list[Section]:
    found = compare(listing.record, listing.entries)
    if found is None:
        return []
    return [
        published.summary_section(listing.record, found),
        *published.detail_sections(listing.record, found),
    ]


_LONG = 40  # characters of a cell; a column with longer ones is broken into lines


def render_template(template: str, values: Mapping[str, object]) -> str:
    """Fill a template of ``pipeline/report/templates``, which must find every value that it names."""
    style = _own("page.css")
    script = _own("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template(template)
        .render(**values, style=style, script=script, policy=policy)
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["columns"] = column_classes
    return environment


@cache
def _own(name: str) -> str:
    return resources.files("pipeline.report").joinpath("templates", name).read_text("utf-8")


def _digest(text: str) -> str:
    """A source of a content security policy: what has this text and no other.

    Source: https://www.w3.org/TR/CSP3/#framework-directive-source-list
    """
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def column_classes(laid: Grid) -> list[str]:
    """The class of each column in the style: ``n`` for numbers, ``long`` for text of several lines, or none."""
    longest = [max(map(len, column)) for column in zip(*laid.lines, strict=True)] or [0] * len(
        laid.names
    )
    return [
        "n" if right else "long" * (size > _LONG)
        for right, size in zip(laid.right, longest, strict=True)
    ]
