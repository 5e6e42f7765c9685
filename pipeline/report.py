"""Shows and writes what `pipeline.tables` says of a study: table, JSON, CSV, Markdown, files. Reads no store."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline import published
from pipeline.best import best_detail, headline, remarks, sections
from pipeline.errors import NothingComplete
from pipeline.published import Section
from pipeline.tables import (
    Grid,
    against,
    cell,
    facts,
    failures,
    grid,
    headlines,
    listed,
    listing,
    ranked,
)
from pipeline.text import csv_text
from pipeline.troubles import INFEASIBLE, Row, troubles
from sweeps.comparison import compare, lead
from sweeps.ranking import Ranked, StudyRecord
from sweeps.trial import COMPLETE, PRUNED, RUNNING

FORMATS = ("table", "json", "csv", "md")
_STYLES = {COMPLETE: "", PRUNED: "dim", INFEASIBLE: "dim", RUNNING: "italic"}  # what is in none of these has failed
# Columns of the narrow table: always there, and what comes before and after the searched fields where there is room.
_ALWAYS, _SOON = ("rank", "trial", "family"), ("state", "spread")
_LATE = ("notes", "seconds", "epoch", "parameters", "repeats")
_NARROWEST = 80  # characters of the table of published figures: narrower, its numbers would be cut
_NO_WRAP: Mapping[str, int] = {}
_GAP = 2  # blanks between columns
_REPORT_ROWS = 50  # in report.md; the CSV and JSON files have all


# The terminal's table


def table(record: StudyRecord, top: int | None = None, width: int | None = None) -> Table:
    """The ranked table for a terminal of a width in characters (None: this one; all columns where there is none).

    Columns are left out rather than squeezed, the least important first; the caption names them.
    """
    width = _terminal_width() if width is None else width
    names, every = listing(record)
    shown = every[:top]
    whole = grid(names, shown)
    kept = _fit(whole, record, width)
    result = _table(headlines(record, len(shown), len(every)))
    for i, header in kept.items():
        result.add_column(Text(header), justify="right" if whole.right[i] else "left", no_wrap=True)
    for row, line in zip(shown, whole.lines, strict=True):
        style = "bold" if row["rank"] == 1 and row["state"] == COMPLETE else _STYLES.get(str(row["state"]), "red")
        result.add_row(*(Text(line[i]) for i in kept), style=style)
    missing = [name for i, name in enumerate(whole.names) if i not in kept]
    if missing:
        result.caption = Text(f"no room for {', '.join(missing)}: --format csv has them")
    return result


def _terminal_width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _table(titles: Sequence[str]) -> Table:
    title = Text("\n").join(Text(line, "bold" if i == 0 else "") for i, line in enumerate(titles)) if titles else None
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
    order = [name for name in (*_ALWAYS, record.objective, *_SOON, *searched, *_LATE) if name in whole.names]
    kept, room = [], width + _GAP
    for name in order:
        i = whole.names.index(name)
        need = _GAP + max(widths[i], *map(len, _narrow(name).split("\n")), 0)
        if need <= room or name in (*_ALWAYS, record.objective):
            kept.append(i)
            room -= need
    return {i: _narrow(whole.names[i]) for i in sorted(kept)}


def _narrow(name: str) -> str:
    """A long name on two lines."""
    return name.replace("_", "_\n", 1) if len(name) > len("val_acc") else name


def _text(renderable: RenderableType, width: int | None = None) -> str:
    """Lay out without colours, in a width in characters (None: as wide as it needs)."""
    console = Console(
        file=io.StringIO(), width=width or 10_000, force_terminal=False, color_system=None, legacy_windows=False
    )
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


# The formats


def render(record: StudyRecord, fmt: str, top: int | None = None, *, width: int | None = None) -> str:
    """The ranked table, and what stands under it, as text in one of `FORMATS`, without a line break at the end.

    Under it, but not in the CSV: the first configuration against the second, and ours beside the published figures;
    in JSON and Markdown also what went wrong.

    Args:
        record: the study.
        fmt: ``table``, ``json`` (exact values), ``csv`` or ``md``.
        top: at most this many configurations; None for all.
        width: of the table, as for `table`.
    """
    if fmt == "table":
        width = _terminal_width() if width is None else width
        laid = table(record, top, width)
        return "\n\n".join([_text(laid), *_unsaid(laid, record, top), *_below(record, width)])
    entries = ranked(record)
    names, every = listed(record, entries)
    values, total = every[:top], len(every)
    if fmt == "json":
        shown = {"configurations": total, "shown": len(values), "columns": names, "rows": values}
        return _json({**facts(record), **shown, **_beside(record, entries), "failed": failures(record)})
    if fmt == "csv":
        return _csv([names, *([_csv_cell(name, row[name]) for name in names] for row in values)])
    first, second = headlines(record, len(values), total)
    lines = [f"# {markdown(first)}", markdown(second), _markdown(grid(names, values, thousands=False))]
    ahead = lead(record, entries)
    lines += [markdown(str(against(ahead)["text"]))] if ahead else []
    return "\n\n".join(lines + _published(record, entries) + _troubles(record))


def _unsaid(laid: Table, record: StudyRecord, top: int | None) -> list[str]:
    """The notes of the table's rows, a line each, where it has no room for their column."""
    names, every = listing(record)
    if "notes" not in names or "notes" in [str(column.header) for column in laid.columns]:
        return []
    return ["\n".join(f"Trial {row['trial']} {row['notes']}" for row in every[:top] if row["notes"])]


def _below(record: StudyRecord, width: int | None) -> list[str]:
    """What stands under the terminal's table."""
    entries = ranked(record)
    ahead, found = lead(record, entries), compare(record, entries)
    blocks = [str(against(ahead)["text"])] if ahead else []
    if found:
        section = published.summary(record, found, narrow=True)
        room = None if width is None else max(width, _NARROWEST)
        laid = [_text(_plain(section.laid, wrap={"variant": 10, "verdict": 8}), room)] if section.laid.lines else []
        blocks.append("\n".join([section.title, *laid, *section.lines]))
    return blocks


def _beside(record: StudyRecord, entries: Sequence[Ranked]) -> Row:
    """The values of what stands under the table; published figures only where there are any."""
    ahead, found = lead(record, entries), compare(record, entries)
    values: Row = {"first_against_second": ahead and against(ahead), "what_went_wrong": troubles(record)}
    return {**values, "published": published.rows(record, found)} if found else values


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


def _csv(lines: Iterable[Iterable[str]]) -> str:
    """RFC 4180: lines end with CR LF, cells are quoted where they need it."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n").writerows(lines)
    return file.getvalue().removesuffix("\r\n")


def _csv_cell(name: str, value: object) -> str:
    return csv_text(cell(name, value)) if isinstance(value, str) else cell(name, value)


def _markdown(laid: Grid) -> str:
    """A table of GitHub's Markdown."""
    rules = ("--:" if right else ":--" for right in laid.right)
    lines = [laid.names, rules, *(map(markdown, line) for line in laid.lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown(text: str) -> str:
    """Text that Markdown shows as it is: no HTML, links, columns or emphasis of its own."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # An underscore inside a word means nothing, so that val_acc stays readable in the source.
    return re.sub(r"([\\`*|\[\]~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", text)


def _section(section: Section) -> list[str]:
    """A section in Markdown."""
    lines = "\n".join(f"- {markdown(line)}" for line in section.lines)
    laid = [_markdown(section.laid)] if section.laid.lines else []
    return [f"## {markdown(section.title)}", *laid, *([lines] if lines else [])]


def _published(record: StudyRecord, entries: Sequence[Ranked]) -> list[str]:
    found = compare(record, entries)
    if not found:
        return []
    sections = [published.summary(record, found), *published.details(record, found)]
    return [part for section in sections for part in _section(section)]


def _troubles(record: StudyRecord) -> list[str]:
    found = troubles(record)
    if not found:
        return []
    more = (f"{len(found) - _REPORT_ROWS} more are in the JSON.",) if len(found) > _REPORT_ROWS else ()
    laid = grid(list(found[0]), found[:_REPORT_ROWS], clip=200)
    return _section(Section(title="What went wrong", laid=laid, lines=more))


# The winner


def render_best(record: StudyRecord, fmt: str) -> str:
    """The winner in detail as text in one of `FORMATS`.

    Raises:
        NothingComplete: saying where the trials went instead.
    """
    detail: dict[str, Any] = best_detail(record)
    if fmt == "json":
        return _json(detail)
    if fmt == "csv":
        return _csv([["section", "name", "value"], *_long(detail)])
    if fmt == "md":
        parts = [f"# {markdown(headline(detail))}"]
        for title, laid in sections(detail):
            parts += [f"## {title}", _markdown(laid)]
        steps = {"python": list(filter(None, [detail["load"]])), "sh": detail["next"]}
        code = ["\n".join([f"```{language}", *lines, "```"]) for language, lines in steps.items() if lines]
        return "\n\n".join([*parts, *map(markdown, remarks(detail)), *(["## How to go on", *code] if code else [])])
    blocks = [headline(detail)]
    for title, laid in sections(detail):
        blocks.append(f"{title}\n{_indent(_text(_plain(laid)))}")
    go_on = _go_on(detail)
    blocks += ["\n".join(remarks(detail)), *(["\n".join(["How to go on", *go_on])] if go_on else [])]
    return "\n\n".join(blocks)


def _go_on(detail: dict[str, Any]) -> list[str]:
    return [f"  {line}" for line in (*filter(None, [detail["load"]]), *detail["next"])]


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


def _long(detail: dict[str, Any]) -> Iterable[list[str]]:
    """The winner as lines of section, name and value."""
    for key, value in detail.items():
        if key in ("configuration", "test_scores"):
            yield from ([key, name, _csv_cell(name, item)] for name, item in (value or {}).items())
        elif key == "first_against_second":
            yield [key, "", _csv_cell("", value and value["text"])]
        elif key == "classes":
            yield from (["class", _csv_cell("", row["class"]), cell("accuracy", row["accuracy"])] for row in value)
        elif key == "curve":
            yield from (
                [f"epoch {row['epoch']}", name, cell(name, item)] for row in value for name, item in row.items()
            )
        elif isinstance(value, list):
            yield from ([key, "", _csv_cell("", item)] for item in value)
        else:
            yield ["result", key, _csv_cell(key, value)]


# The files


def write(record: StudyRecord, folder: Path) -> list[Path]:
    """Write ``trials.csv``, ``trials.json``, ``plots/*.png`` and ``report.md``.

    There is ``best.json`` too if a trial is complete, and ``published.csv`` if the study has published figures. The
    same study gives the same bytes. Each text file appears whole or not at all.
    """
    from pipeline import plots  # matplotlib takes a second to import

    folder.mkdir(parents=True, exist_ok=True)
    texts = {"trials.csv": render(record, "csv"), "trials.json": render(record, "json")}
    try:
        texts["best.json"], detail = render_best(record, "json"), render_best(record, "md")
    except NothingComplete as error:
        (folder / "best.json").unlink(missing_ok=True)  # of an earlier study of this name
        detail = markdown(str(error))
    found = compare(record, ranked(record))
    if found:
        texts["published.csv"] = _published_csv(published.rows(record, found))
    else:
        (folder / "published.csv").unlink(missing_ok=True)
    paths = [_put(folder / name, text) for name, text in texts.items()]
    pictures = plots.save(record, folder / "plots")
    links = [f"![{path.stem}]({path.relative_to(folder).as_posix()})" for path in pictures]
    parts = [render(record, "md", _REPORT_ROWS), detail, *(["# Plots", *links] if links else [])]
    return [*paths, _put(folder / "report.md", "\n\n".join(parts)), *pictures]


def _published_csv(rows: Sequence[Row]) -> str:
    names = published.COLUMNS
    kind = {name: "" if name.endswith("_seeds") else "mean" for name in names}
    return _csv([names, *([_csv_cell(kind[name], row[name]) for name in names] for row in rows)])


def _put(path: Path, text: str) -> Path:
    """Write text atomically: a reader sees the old file or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(text + ("\r\n" if path.suffix == ".csv" else "\n"), encoding="utf-8", newline="")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
