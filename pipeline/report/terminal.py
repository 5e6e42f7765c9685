"""Lays a report out for a terminal: tables without colours, and sentences."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.report import finalists, front, published
from pipeline.report.answer import cost_sentence
from pipeline.report.contents import ReportContents
from pipeline.report.grid import Grid, Row, Section
from pipeline.report.problems import INFEASIBLE
from pipeline.report.ranked import ranked_columns, table_notes, title_lines
from pipeline.report.scores import lead_sentences
from pipeline.report.winner import headline, remarks, sections
from pipeline.system.console import stream_width
from pipeline.system.text import clean, wrap_words
from sweeps.analysis.record import StudyRecord
from sweeps.trial import COMPLETE, PAUSED, PRUNED, RUNNING

# The style of a row by its state; all other states are failures.
_STYLES = {COMPLETE: "", PRUNED: "dim", PAUSED: "dim", INFEASIBLE: "dim", RUNNING: "italic"}
_FAILURE_STYLE = "red"
_FIRST_STYLE = "bold"

# The order in which a narrow table takes up columns: the first and the objective always, then these
# before, between and after the searched fields, as long as there is room.
_ALWAYS = ("rank", "trial", "family")
_BEFORE_SEARCHED = ("state", "front", "spread")
_AFTER_FIRST_SEARCHED = ("trained", "epoch")
_AFTER_SEARCHED = ("notes", "repeats", "seconds", "parameters")
_FIRST_SEARCHED = 2  # of the searched fields, by importance

_MIN_SECTION_WIDTH = 80  # characters; in a narrower table numbers would be cut
_MAX_WARNINGS = 4  # health checks below the table
_GAP = 2  # blanks between columns
_LONGEST_WORD = 24  # characters: longer words are broken where a column is narrow
_UNLIMITED = 10_000  # characters: the width of a table that may be as wide as it needs
_NO_WRAP: Mapping[str, int] = {}


def terminal_width() -> int | None:
    """The width of this terminal in characters; None if standard output is no terminal."""
    return stream_width(sys.stdout)


# A study


def render_study(contents: ReportContents, top: int | None = None, width: int | None = None) -> str:
    """The ranked table and, below, the findings, as text without colours.

    Args:
        contents: of the study's report.
        top: the most configurations; None for all.
        width: of the table, as for `table`.
    """
    width = terminal_width() if width is None else width
    ranked = _ranked_table(contents, top, width)
    blocks = [_text(ranked)]
    notes = table_notes(contents.record, contents.table)
    if notes:
        blocks.append(_lines(notes, width))
    if "notes" not in [str(column.header) for column in ranked.columns]:
        blocks += _note_block(contents.table.rows[:top], width)
    blocks += _lead_blocks(contents.record, width)
    shown_front = front.section(contents.record)
    if shown_front is not None:
        wrap = {"configuration": 20, "known": 9}
        blocks.append(render_section(shown_front, _section_width(width), wrap))
    cost = cost_sentence(contents.record)
    if cost:
        blocks.append(_lines([cost], width))
    if contents.comparison is not None:
        section = published.summary_section(contents.record, contents.comparison, narrow=True)
        wrap = {"variant": 10, "verdict": 8}
        blocks.append(render_section(section, _section_width(width), wrap))
    blocks += _warning_block(contents.checks, width)
    return "\n\n".join(blocks)


def table(record: StudyRecord, top: int | None = None, width: int | None = None) -> Table:
    """The ranked table of a study.

    Columns are left out rather than squeezed, the least important first; the caption names them.

    Args:
        record: the study.
        top: the most configurations; None for all.
        width: in characters; None for the width of this terminal. Without a terminal, all columns
            are shown.
    """
    width = terminal_width() if width is None else width
    return _ranked_table(ReportContents(record), top, width)


def _ranked_table(contents: ReportContents, top: int | None, width: int | None) -> Table:
    record = contents.record
    rows = contents.table.rows[:top]
    grid = contents.table.grid(rows)
    headers = _fitting_headers(grid, record, width)
    result = _empty_table(title_lines(record, len(rows), len(contents.table.rows)))
    for position, header in headers.items():
        result.add_column(
            Text(header), justify="right" if grid.numeric[position] else "left", no_wrap=True
        )
    for row, cells in zip(rows, grid.rows, strict=True):
        shown = [Text(cells[position]) for position in headers]
        result.add_row(*shown, style=_row_style(row))
    missing = [name for i, name in enumerate(grid.keys) if i not in headers]
    if missing:
        result.caption = Text(f"no room for {', '.join(missing)}: --format csv has them")
    return result


def _row_style(row: Row) -> str:
    if row["rank"] == 1 and row["state"] == COMPLETE:
        return _FIRST_STYLE
    return _STYLES.get(str(row["state"]), _FAILURE_STYLE)


def _fitting_headers(grid: Grid, record: StudyRecord, width: int | None) -> dict[int, str]:
    """The headers of the columns within a width, by the columns' positions, in order.

    The important columns are taken first, then any further column with enough room. If not all
    columns fit, long names are broken into two lines.
    """
    widths = [_cell_width(grid, position) for position in range(len(grid.columns))]
    full_widths = [max(cells, len(name)) for cells, name in zip(widths, grid.columns, strict=True)]
    gaps = _GAP * (len(full_widths) - 1)
    if width is None or sum(full_widths) + gaps <= width:
        return dict(enumerate(grid.columns))
    required = (*_ALWAYS, record.objective)
    by_importance = ranked_columns(record, grid.keys)
    searched = [name for name in by_importance if name in record.searched and name != "family"]
    positions = []
    room = width + _GAP
    order = (
        *required,
        *_BEFORE_SEARCHED,
        *searched[:_FIRST_SEARCHED],
        *_AFTER_FIRST_SEARCHED,
        *searched[_FIRST_SEARCHED:],
        *_AFTER_SEARCHED,
    )
    for name in order:
        if name not in grid.keys:
            continue
        position = grid.keys.index(name)
        header = _two_lines(grid.columns[position])
        header_width = max(len(line) for line in header.split("\n"))
        column_width = _GAP + max(widths[position], header_width)
        if column_width <= room or name in required:
            positions.append(position)
            room -= column_width
    return {position: _two_lines(grid.columns[position]) for position in sorted(positions)}


def _cell_width(grid: Grid, position: int) -> int:
    """The width of a column's widest cell, in characters."""
    return max((cell_len(row[position]) for row in grid.rows), default=0)


def _two_lines(name: str) -> str:
    """A long name, or a name with its unit, on two lines."""
    if name.endswith(" (%)"):
        return name.replace(" ", "\n")
    if len(name) > len("val_acc"):
        return name.replace("_", "_\n", 1)
    return name


def _note_block(rows: Sequence[Row], width: int | None) -> list[str]:
    """The notes of a table without room for their column."""
    trials: dict[object, list[str]] = {}
    for row in rows:
        if row.get("notes"):
            trials.setdefault(row["notes"], []).append(str(row["trial"]))
    notes = [
        f"{'Trial' if len(numbers) == 1 else 'Trials'} {', '.join(numbers)}: {note}"
        for note, numbers in trials.items()
    ]
    return [_lines(notes, width)] if notes else []


def _lead_blocks(record: StudyRecord, width: int | None) -> list[str]:
    """The lead of the search and the finalists; decided finalists come first."""
    lead = [_lines([sentence], width) for sentence in lead_sentences(record)]
    verdict = []
    if record.finalists is not None:
        verdict.append(render_finalists(record, width))
    return verdict + lead if record.decided_finalists else lead + verdict


def _warning_block(checks: Sequence[Row], width: int | None) -> list[str]:
    warnings = [f"Warning: {check['text']}" for check in checks if check["level"] == "warning"]
    if not warnings:
        return []
    lines = warnings[:_MAX_WARNINGS]
    if len(warnings) > _MAX_WARNINGS:
        lines.append(f"{len(warnings) - _MAX_WARNINGS} more are in the report")
    return [_lines(lines, width)]


# The finalists and the winner


def render_finalists(record: StudyRecord, width: int | None = None) -> str:
    """The finalists of a study and their verdict; empty if there are none.

    Args:
        record: the study.
        width: as for `table`.
    """
    section = finalists.section(record)
    if section is None:
        return ""
    width = terminal_width() if width is None else width
    wrap = {"finalist": 16, finalists.GAP_COLUMN: 10, "difference": 11}
    return render_section(section, _section_width(width), wrap, ("in_search",))


def render_winner(detail: dict[str, Any], width: int | None = None) -> str:
    """The winner in detail.

    Args:
        detail: of the winner, as `pipeline.report.winner.winner_detail` describes it.
        width: of the sentences, as for `table`.
    """
    width = terminal_width() if width is None else width
    blocks = [_lines([headline(detail)], width)]
    blocks += [
        f"{section.title}\n{_indent(_text(_plain_table(section.grid)))}"
        for section in sections(detail)
    ]
    blocks.append(_lines(remarks(detail), width))
    commands = list(detail["next"])
    if detail["load"]:
        commands.insert(0, detail["load"])
    if commands:
        blocks.append("\n".join(["How to go on", _indent(_lines(commands))]))
    return "\n\n".join(blocks)


# Sections and tables


def render_section(
    section: Section,
    width: int | None = None,
    wrap: Mapping[str, int] = _NO_WRAP,
    spare: Sequence[str] = (),
) -> str:
    """A title, a table and sentences.

    Args:
        section: to lay out.
        width: of the table and the sentences, in characters; None for the natural width.
        wrap: the columns to wrap if there is no room, with their least widths.
        spare: the columns to leave out if there is no room then, the first ones first.
    """
    blocks = [section.title]
    lines = list(section.lines)
    if section.grid.rows:
        grid = _fitting_grid(section.grid, wrap, width, spare)
        blocks.append(_text(_plain_table(grid, wrap, width), width))
        missing = [key for key in section.grid.keys if key not in grid.keys]
        if missing:
            lines.append(f"No room for {', '.join(missing)}: a wider terminal shows all.")
    if lines:
        blocks.append(_lines(lines, width))
    return "\n".join(blocks)


def _fitting_grid(
    grid: Grid, wrap: Mapping[str, int], width: int | None, spare: Sequence[str]
) -> Grid:
    """A table without those of its spare columns for which there is no room."""
    keys = list(grid.keys)
    for key in spare:
        widths = _column_widths(grid.only(keys), wrap, width)
        if width is None or sum(widths) + _GAP * (len(widths) - 1) <= width:
            break
        if key in keys:
            keys.remove(key)
    return grid.only(keys)


def render_grid(grid: Grid) -> str:
    """A table without a title, of its natural width."""
    return _text(_plain_table(grid))


def _section_width(width: int | None) -> int | None:
    return None if width is None else max(width, _MIN_SECTION_WIDTH)


def _lines(texts: Iterable[str], width: int | None = None) -> str:
    """Join texts by line breaks, each safe to print.

    Args:
        texts: the lines.
        width: of the terminal in characters; longer lines are broken between words. None leaves
            them as they are.
    """
    lines = [clean(text) for text in texts]
    if width is not None:
        lines = [part for line in lines for part in wrap_words(line, width)]
    return "\n".join(lines)


def _empty_table(titles: Sequence[str] = ()) -> Table:
    """A table without columns; the first title is bold."""
    title = None
    if titles:
        styled = [Text(line, "bold" if i == 0 else "") for i, line in enumerate(titles)]
        title = Text("\n").join(styled)
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


def _plain_table(grid: Grid, wrap: Mapping[str, int] = _NO_WRAP, width: int | None = None) -> Table:
    """A table without a title.

    Args:
        grid: its cells.
        wrap: the columns to wrap if there is no room, with their least widths.
        width: of the table, in characters; None for the natural width.
    """
    result = _empty_table()
    widths = _column_widths(grid, wrap, width)
    for position, name in enumerate(grid.columns):
        result.add_column(
            Text(name),
            justify="right" if grid.numeric[position] else "left",
            no_wrap=grid.keys[position] not in wrap,
            width=widths[position],
            overflow="fold",
        )
    for row in grid.rows:
        result.add_row(*map(Text, row))
    return result


def _column_widths(grid: Grid, wrap: Mapping[str, int], width: int | None) -> list[int]:
    """The widths of a table's columns, in characters: those that wrap share what the others leave.

    The room beyond their least widths goes to the columns with the most text first.
    """
    natural = [
        max(_cell_width(grid, position), cell_len(name))
        for position, name in enumerate(grid.columns)
    ]
    if width is None:
        return natural
    widths = list(natural)
    for position, key in enumerate(grid.keys):
        if key in wrap:
            words = [word for row in grid.rows for word in row[position].split()]
            longest = max(map(cell_len, words), default=0)
            least = max(wrap[key], min(longest, _LONGEST_WORD))
            widths[position] = min(natural[position], least)
    room = width - sum(widths) - _GAP * (len(widths) - 1)
    by_text = sorted(range(len(widths)), key=lambda position: -natural[position])
    for position in by_text:
        more = min(max(0, room), natural[position] - widths[position])
        widths[position] += more
        room -= more
    return widths


def _text(renderable: RenderableType, width: int | None = None) -> str:
    """Lay out without colours.

    Args:
        renderable: a table.
        width: in characters; None for the natural width.
    """
    console = Console(
        file=io.StringIO(),
        width=width or _UNLIMITED,
        force_terminal=False,
        color_system=None,
        legacy_windows=False,
    )
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


def _indent(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
