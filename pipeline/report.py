"""Shows and writes what `pipeline.tables` says of a study: table, JSON, CSV, Markdown, files. Reads no store."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.errors import NothingComplete
from pipeline.tables import (
    CLIP,
    Grid,
    Row,
    best_detail,
    cell,
    facts,
    failures,
    grid,
    headlines,
    listing,
)
from pipeline.text import clean, csv_text
from sweeps.ranking import StudyRecord
from sweeps.trial import COMPLETE, PRUNED, RUNNING

FORMATS = ("table", "json", "csv", "md")
_STYLES = {COMPLETE: "", PRUNED: "dim", RUNNING: "italic"}  # what is in none of these has failed
# Columns of the narrow table: always there, and what comes before and after the searched fields where there is room.
_ALWAYS, _SOON, _LATE = ("rank", "trial", "family"), ("state", "spread"), ("seconds", "epoch", "parameters", "repeats")
_GAP = 2  # blanks between columns
_MANY = 15  # classes up to which all are listed; of more, the 10 worst and the 5 best
_EPOCHS = 20  # lines of a learning curve
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


def _text(renderable: RenderableType) -> str:
    """Lay out without colours, as wide as it needs."""
    console = Console(file=io.StringIO(), width=10_000, force_terminal=False, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


# The formats


def render(record: StudyRecord, fmt: str, top: int | None = None, *, width: int | None = None) -> str:
    """The ranked table as text in one of `FORMATS`, without a line break at the end.

    Args:
        record: the study.
        fmt: ``table``, ``json`` (exact values), ``csv`` or ``md``.
        top: at most this many configurations; None for all.
        width: of the table, as for `table`.
    """
    if fmt == "table":
        return _text(table(record, top, width))
    names, every = listing(record)
    values, total = every[:top], len(every)
    if fmt == "json":
        shown = {"configurations": total, "shown": len(values), "columns": names, "rows": values}
        return _json({**facts(record), **shown, "failed": failures(record)})
    if fmt == "csv":
        return _csv([names, *([_csv_cell(name, row[name]) for name in names] for row in values)])
    first, second = headlines(record, len(values), total)
    lines = [f"# {markdown(first)}", markdown(second), _markdown(grid(names, values, thousands=False))]
    return "\n\n".join(lines + _failures(record))


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


def _failures(record: StudyRecord) -> list[str]:
    failed = failures(record)
    if not failed:
        return []
    more = [f"{len(failed) - _REPORT_ROWS} more are in the JSON."] if len(failed) > _REPORT_ROWS else []
    return ["## Failed trials", _markdown(grid(list(failed[0]), failed[:_REPORT_ROWS], clip=200)), *more]


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
        parts = [f"# {markdown(_headline(detail))}"]
        for title, laid in _sections(detail):
            parts += [f"## {title}", _markdown(laid)]
        code = ["```python", *filter(None, [detail["load"]]), "```", "", "```sh", *detail["next"], "```"]
        return "\n\n".join([*parts, *map(markdown, _notes(detail)), "## How to go on", "\n".join(code)])
    blocks = [_headline(detail)]
    for title, laid in _sections(detail):
        blocks.append(f"{title}\n{_indent(_text(_plain(laid)))}")
    blocks += ["\n".join(_notes(detail)), "\n".join(["How to go on", *_go_on(detail)])]
    return "\n\n".join(blocks)


def _headline(detail: dict[str, Any]) -> str:
    value = f"{detail['objective']} {cell('value', detail['value'])}"
    where = f"at epoch {detail['best_epoch']} of {detail['epochs']} (validation split)"
    mean = ""
    if "mean" in detail:
        mean = f"; mean of {detail['repeats']} repeats {detail['mean']:.4f}, spread {detail['spread']:.4f}"
    name, dataset = clean(detail["study"], 60), clean(detail["dataset"], 80)
    return f"Best of {name} on {dataset}: trial {detail['trial']}, {value} {where}{mean}"


def _sections(detail: dict[str, Any]) -> list[tuple[str, Grid]]:
    """The winner's tables under their titles."""
    searched = detail["searched"]
    fields: list[Row] = [
        {"field": name, "value": cell(name, value), "": "searched" if name in searched else ""}
        for name, value in detail["configuration"].items()
    ]
    curve = [{**row, "best": "best" if row["best"] else ""} for row in _some_epochs(detail["curve"])]
    measured = [row for row in detail["classes"] if row["accuracy"] is not None]
    marked: list[Row] = [{**row, "": _remark(row, measured)} for row in detail["classes"]]
    title = "Validation accuracy by class, the worst first"
    if len(marked) > _MANY:
        title += f": the 10 worst and the 5 best of {len(marked)}"
        count = len(measured) or len(marked)  # those without images stand last
        marked = marked[:10] + marked[max(10, count - 5) : count]
    sections = [("Configuration", fields), ("Learning curve", curve), (title, marked)]
    return [(title, grid(list(values[0]), values)) for title, values in sections if values]


def _some_epochs(curve: list[Row]) -> list[Row]:
    """About 20 lines of a long learning curve: evenly spaced, with the best and the last epoch."""
    step = math.ceil(len(curve) / _EPOCHS)
    return [row for i, row in enumerate(curve, start=1) if i % step == 0 or row["best"] or i in (1, len(curve))]


def _remark(row: Row, measured: list[Row]) -> str:
    """What is odd about a class, beside those with images in order of accuracy."""
    if row["accuracy"] is None:
        return "no images"
    if row["predicted"] == 0:
        return "never predicted"
    worst, top = measured[0]["accuracy"], measured[-1]["accuracy"]
    return "worst" if row["accuracy"] == worst != top else ""


def _notes(detail: dict[str, Any]) -> list[str]:
    """What else is to be said of the winner, a line each."""
    dead = detail["never_predicted"]
    more = f" and {len(dead) - 10} more" if len(dead) > 10 else ""
    size = [f"{detail['parameters']:,} parameters"] if detail["parameters"] is not None else []
    size += [f"{detail['mflops']:.4g} MFLOPs an image"] if detail["mflops"] is not None else []
    size += [f"{detail['seconds']:.1f} s"] if detail["seconds"] is not None else []
    return [
        *([f"Never predicted: {', '.join(clean(name, CLIP) for name in dead[:10])}{more}"] if dead else []),
        f"Cost: {', '.join(size)}",
        f"Checkpoint: {detail['checkpoint'] or 'not kept'}",
        f"MLflow run: {detail['run_id'] or 'none'}",
        detail["test"],
    ]


def _go_on(detail: dict[str, Any]) -> list[str]:
    return [f"  {line}" for line in (*filter(None, [detail["load"]]), *detail["next"])]


def _plain(laid: Grid) -> Table:
    result = _table(())
    for name, right in zip(laid.names, laid.right, strict=True):
        result.add_column(Text(name), justify="right" if right else "left", no_wrap=True)
    for line in laid.lines:
        result.add_row(*map(Text, line))
    return result


def _indent(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


def _long(detail: dict[str, Any]) -> Iterable[list[str]]:
    """The winner as lines of section, name and value."""
    for key, value in detail.items():
        if key == "configuration":
            yield from ([key, name, _csv_cell(name, item)] for name, item in value.items())
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
    """Write ``trials.csv``, ``trials.json``, ``best.json`` (if a trial is complete), ``plots/*.png``, ``report.md``.

    The same study gives the same bytes. Each text file appears whole or not at all.
    """
    from pipeline import plots  # matplotlib takes a second to import

    folder.mkdir(parents=True, exist_ok=True)
    texts = {"trials.csv": render(record, "csv"), "trials.json": render(record, "json")}
    try:
        texts["best.json"], detail = render_best(record, "json"), render_best(record, "md")
    except NothingComplete as error:
        (folder / "best.json").unlink(missing_ok=True)  # of an earlier study of this name
        detail = markdown(str(error))
    paths = [_put(folder / name, text) for name, text in texts.items()]
    pictures = plots.save(record, folder / "plots")
    links = [f"![{path.stem}]({path.relative_to(folder).as_posix()})" for path in pictures]
    parts = [render(record, "md", _REPORT_ROWS), detail, *(["# Plots", *links] if links else [])]
    return [*paths, _put(folder / "report.md", "\n\n".join(parts)), *pictures]


def _put(path: Path, text: str) -> Path:
    """Write text atomically: a reader sees the old file or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(text + ("\r\n" if path.suffix == ".csv" else "\n"), encoding="utf-8", newline="")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
