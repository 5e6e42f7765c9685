"""Lays out for a terminal what `tables` and `render_winner` say of a study. Knows no other format."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.report import finalists as verdict
from pipeline.report import published
from pipeline.report.grid import Grid, grid
from pipeline.report.problems import INFEASIBLE, Row
from pipeline.report.published import Section
from pipeline.report.ranked import Listing, lead_values, listing, title_lines
from pipeline.report.winner import headline, remarks, sections
from sweeps.analysis.published import compare
from sweeps.analysis.record import StudyRecord
from sweeps.trial import COMPLETE, PRUNED, RUNNING

_STYLES = {
    COMPLETE: "",
    PRUNED: "dim",
    INFEASIBLE: "dim",
    RUNNING: "italic",
}  # what is in none of these has failed
# Columns of the narrow table: always there, and what comes before and after the searched fields where there is room.
_ALWAYS = ("rank", "trial", "family")
_SOON = ("state", "spread")
_LATE = ("notes", "seconds", "epoch", "parameters", "repeats")
_NARROWEST = 80  # characters of the table of published figures: narrower, its numbers would be cut
_WARNINGS = 4  # lines of health checks
_NO_WRAP: Mapping[str, int] = {}
_GAP = 2  # blanks between columns


def render_study(record: StudyRecord, top: int | None = None, width: int | None = None) -> str:
    """The ranked table and what stands under it, as text without colours; the arguments are those of `table`."""
    width = terminal_width() if width is None else width
    listed = listing(record)
    laid = _ranked(listed, top, width)
    return "\n\n".join([_text(laid), *_unsaid(laid, listed.rows[:top]), *_below(listed, width)])


def table(record: StudyRecord, top: int | None = None, width: int | None = None) -> Table:
    """The ranked table for a terminal of a width in characters (None: this one; all columns where there is none).

    Columns are left out rather than squeezed, the least important first; the caption names them.
    """
    return _ranked(listing(record), top, terminal_width() if width is None else width)


def render_winner(detail: dict[str, Any]) -> str:
    """The winner in detail, as `pipeline.report.winner.winner_detail` gives it."""
    blocks = [headline(detail)]
    blocks += [f"{title}\n{_indent(_text(_plain(laid)))}" for title, laid in sections(detail)]
    go_on = [f"  {line}" for line in (*filter(None, [detail["load"]]), *detail["next"])]
    return "\n\n".join(
        [
            *blocks,
            "\n".join(remarks(detail)),
            *(["\n".join(["How to go on", *go_on])] if go_on else []),
        ]
    )


def render_section(
    shown: Section, width: int | None = None, wrap: Mapping[str, int] = _NO_WRAP
) -> str:
    """A titled table with its lines; columns to ``wrap`` give way to that many characters where there is no room."""
    laid = [_text(_plain(shown.laid, wrap), width)] if shown.laid.lines else []
    return "\n".join([shown.title, *laid, *shown.lines])


def render_finalists(record: StudyRecord, width: int | None = None) -> str:
    """The finalists of a study and their verdict; nothing where it has none. The width is that of `table`."""
    shown = verdict.section(record)
    width = terminal_width() if width is None else width
    room = None if width is None else max(width, _NARROWEST)
    wrap = {
        "finalist": 20,
        record.objective: 8,
        "test_acc": 8,
        verdict.GAP_COLUMN: 8,
        "difference": 8,
    }
    if shown is None:
        return ""
    return render_section(shown, room, wrap=wrap)


def terminal_width() -> int | None:
    """The width of this terminal in characters; None where there is none."""
    if sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return None


def _ranked(listed: Listing, top: int | None, width: int | None) -> Table:
    shown = listed.rows[:top]
    whole = grid(listed.names, shown)
    kept = _fit(whole, listed.record, width)
    result = _table(title_lines(listed.record, len(shown), len(listed.rows)))
    for i, header in kept.items():
        result.add_column(Text(header), justify="right" if whole.right[i] else "left", no_wrap=True)
    for row, line in zip(shown, whole.lines, strict=True):
        if row["rank"] == 1 and row["state"] == COMPLETE:
            style = "bold"
        else:
            style = _STYLES.get(str(row["state"]), "red")
        result.add_row(*(Text(line[i]) for i in kept), style=style)
    missing = [name for i, name in enumerate(whole.names) if i not in kept]
    if missing:
        result.caption = Text(f"no room for {', '.join(missing)}: --format csv has them")
    return result


def _table(titles: Sequence[str]) -> Table:
    if titles:
        title = Text("\n").join(
            Text(line, "bold" if i == 0 else "") for i, line in enumerate(titles)
        )
    else:
        title = None
    return Table(
        title=title,
        title_justify="left",
        title_style="",
        caption_justify="left",
        caption_style="dim",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, _GAP - 1, 0, 0),  # the box adds one blank between columns
        header_style="",
    )


def _fit(whole: Grid, record: StudyRecord, width: int | None) -> dict[int, str]:
    """The headers of the columns that fit into the width, in order: the important ones first, then what still fits."""
    cells = zip(*whole.lines, strict=True) if whole.lines else [()] * len(whole.names)
    widths = [max(map(cell_len, column), default=0) for column in cells]
    full = [max(w, len(name)) for w, name in zip(widths, whole.names, strict=True)]
    if width is None or sum(full) + _GAP * (len(full) - 1) <= width:
        return dict(enumerate(whole.names))
    searched = [name for name in record.searched if name != "family"]
    order = [
        name
        for name in (*_ALWAYS, record.objective, *_SOON, *searched, *_LATE)
        if name in whole.names
    ]
    kept = []
    room = width + _GAP
    for name in order:
        i = whole.names.index(name)
        need = _GAP + max(widths[i], *map(len, _narrow(name).split("\n")), 0)
        if need <= room or name in (*_ALWAYS, record.objective):
            kept.append(i)
            room -= need
    return {i: _narrow(whole.names[i]) for i in sorted(kept)}


def _narrow(name: str) -> str:
    """A long name on two lines."""
    if len(name) > len("val_acc"):
        return name.replace("_", "_\n", 1)
    return name


def _unsaid(laid: Table, shown: Sequence[Row]) -> list[str]:
    """The notes of the table's rows, a line each, where it has no room for their column."""
    if "notes" in [str(column.header) for column in laid.columns]:
        return []
    said = [f"Trial {row['trial']} {row['notes']}" for row in shown if row.get("notes")]
    if said:
        return ["\n".join(said)]
    return []


def _below(listed: Listing, width: int | None) -> list[str]:
    """What stands under the table."""
    ahead = listed.record.lead
    found = compare(listed.record, listed.entries)
    search = str(lead_values(ahead)["text"]) if ahead else ""
    again = render_finalists(listed.record, width)
    if listed.record.decided_finalists:
        order = (again, f"In the search: {search}" * bool(search))
    else:
        order = (search, again)
    blocks = list(filter(None, order))
    if found:
        room = None if width is None else max(width, _NARROWEST)
        shown = published.summary_section(listed.record, found, narrow=True)
        blocks.append(render_section(shown, room, wrap={"variant": 10, "verdict": 8}))
    warnings = [
        f"Warning: {check['text']}" for check in listed.findings if check["level"] == "warning"
    ]
    if len(warnings) > _WARNINGS:
        more = [f"{len(warnings) - _WARNINGS} more are in the report"]
    else:
        more = []
    return [*blocks, *(["\n".join(warnings[:_WARNINGS] + more)] if warnings else [])]


def _text(renderable: RenderableType, width: int | None = None) -> str:
    """Lay out without colours, in a width in characters (None: as wide as it needs)."""
    console = Console(
        file=io.StringIO(),
        width=width or 10_000,
        force_terminal=False,
        color_system=None,
        legacy_windows=False,
    )
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


def _plain(laid: Grid, wrap: Mapping[str, int] = _NO_WRAP) -> Table:
    """A table without a title; only the columns to ``wrap`` give way where there is no room, to that width."""
    result = _table(())
    for name, right in zip(laid.names, laid.right, strict=True):
        result.add_column(
            Text(name),
            justify="right" if right else "left",
            no_wrap=name not in wrap,
            min_width=wrap.get(name),
            overflow="fold",
        )
    for line in laid.lines:
        result.add_row(*map(Text, line))
    return result


def _indent(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
