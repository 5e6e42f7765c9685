"""What is said of a study, as text in each format and as files. Reads no store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.report import finalists, published, terminal
from pipeline.report.formats import (
    csv_cell,
    csv_table,
    escape_markdown,
    json_text,
    markdown_section,
    markdown_table,
)
from pipeline.report.grid import cell_text, grid
from pipeline.report.html import PlotImage, page
from pipeline.report.plots import draw
from pipeline.report.problems import Row, trial_problems
from pipeline.report.published import Section
from pipeline.report.ranked import Listing, failures, lead_values, listing, study_facts, title_lines
from pipeline.report.winner import headline, remarks, sections, winner_detail
from pipeline.system.errors import NothingComplete
from pipeline.system.files import write_text_atomically
from sweeps.analysis.published import compare
from sweeps.analysis.record import StudyRecord

FORMATS = ("table", "json", "csv", "md")
_ROWS = 50  # in report.md; the CSV and JSON files have all


# The formats


def render(
    record: StudyRecord, fmt: str, top: int | None = None, *, width: int | None = None
) -> str:
    """The ranked table, and what stands under it, as text in one of `FORMATS`, without a line break at the end.

    Under it, but not in the CSV: the first configuration against the second, and ours beside the published figures;
    in JSON and Markdown also the health checks and what went wrong, on a terminal the warnings.

    Args:
        record: the study.
        fmt: ``table``, ``json`` (exact values), ``csv`` or ``md``.
        top: at most this many configurations; None for all.
        width: of the table, as for `pipeline.report.terminal.table`.
    """
    if fmt == "table":
        return terminal.render_study(record, top, width)
    return _render(listing(record), fmt, top)


def _render(listed: Listing, fmt: str, top: int | None = None) -> str:
    """The same of a study that is ranked already, for all formats but ``table``."""
    record = listed.record
    names = listed.names
    values = listed.rows[:top]
    total = len(listed.rows)
    if fmt == "json":
        return json_text(study_values(listed, top))
    if fmt == "csv":
        return csv_table(
            [names, *([csv_cell(name, row[name]) for name in names] for row in values)]
        )
    first, second = title_lines(record, len(values), total)
    lines = [
        f"# {escape_markdown(first)}",
        escape_markdown(second),
        markdown_table(grid(names, values, thousands=False)),
    ]
    ahead = record.lead
    search = str(lead_values(ahead)["text"]) if ahead else ""
    again = finalists.section(record)
    blocks = markdown_section(again) if again else []
    if record.decided_finalists:
        lines += [*blocks, escape_markdown(f"In the search: {search}")] if search else blocks
    else:
        lines += [escape_markdown(search), *blocks] if search else blocks
    return "\n\n".join(lines + _checks(listed) + _published(listed) + _troubles(record))


def study_values(listed: Listing, top: int | None = None) -> Row:
    """All of it as values, exact; at most ``top`` configurations."""
    rows = listed.rows[:top]
    shown = {
        "configurations": len(listed.rows),
        "shown": len(rows),
        "columns": listed.names,
        "rows": rows,
    }
    return {
        **study_facts(listed.record),
        **shown,
        **_beside(listed),
        "failed": failures(listed.record),
    }


def _beside(listed: Listing) -> Row:
    """The values of what stands under the table; published figures and finalists only where there are any."""
    ahead = listed.record.lead
    found = compare(listed.record, listed.entries)
    values: Row = {"first_against_second": ahead and lead_values(ahead), "checks": listed.findings}
    values["what_went_wrong"] = trial_problems(listed.record)
    again = finalists.finalist_values(listed.record)
    values |= {"finalists": again} if again else {}
    if found:
        return {**values, "published": published.rows(listed.record, found)}
    return values


def _checks(listed: Listing) -> list[str]:
    found = [
        f"- **{check['level']}** {escape_markdown(str(check['text']))}" for check in listed.findings
    ]
    if found:
        return ["## Health checks", "\n".join(found)]
    return []


def _published(listed: Listing) -> list[str]:
    found = compare(listed.record, listed.entries)
    if not found:
        return []
    sections = [
        published.summary_section(listed.record, found),
        *published.detail_sections(listed.record, found),
    ]
    return [part for section in sections for part in markdown_section(section)]


def _troubles(record: StudyRecord) -> list[str]:
    found = trial_problems(record)
    if not found:
        return []
    more: tuple[str, ...] = ()
    if len(found) > _ROWS:
        more = (f"{len(found) - _ROWS} more are in the JSON.",)
    laid = grid(list(found[0]), found[:_ROWS], clip=200)
    return markdown_section(Section(title="What went wrong", laid=laid, lines=more))


# The winner


def render_winner(record: StudyRecord, fmt: str) -> str:
    """The winner in detail as text in one of `FORMATS`.

    Raises:
        NothingComplete: saying where the trials went instead.
    """
    return _render_best(winner_detail(record), fmt)


def _render_best(detail: dict[str, Any], fmt: str) -> str:
    if fmt == "table":
        return terminal.render_winner(detail)
    if fmt == "json":
        return json_text(detail)
    if fmt == "csv":
        return csv_table([["section", "name", "value"], *_long(detail)])
    parts = [f"# {escape_markdown(headline(detail))}"]
    for title, laid in sections(detail):
        parts += [f"## {title}", markdown_table(laid)]
    steps = {"python": list(filter(None, [detail["load"]])), "sh": detail["next"]}
    code = [
        "\n".join([f"```{language}", *lines, "```"]) for language, lines in steps.items() if lines
    ]
    return "\n\n".join(
        [
            *parts,
            *map(escape_markdown, remarks(detail)),
            *(["## How to go on", *code] if code else []),
        ]
    )


def _long(detail: dict[str, Any]) -> Iterable[list[str]]:
    """The winner as lines of section, name and value."""
    for key, value in detail.items():
        if key in ("configuration", "test_scores"):
            yield from ([key, name, csv_cell(name, item)] for name, item in (value or {}).items())
        elif key == "first_against_second":
            yield [key, "", csv_cell("", value and value["text"])]
        elif key == "classes":
            yield from (
                ["class", csv_cell("", row["class"]), cell_text("accuracy", row["accuracy"])]
                for row in value
            )
        elif key == "curve":
            yield from (
                [f"epoch {row['epoch']}", name, cell_text(name, item)]
                for row in value
                for name, item in row.items()
            )
        elif isinstance(value, list):
            yield from ([key, "", csv_cell("", item)] for item in value)
        else:
            yield ["result", key, csv_cell(key, value)]


# The files


def write(record: StudyRecord, folder: Path) -> list[Path]:
    """Write ``report.html``, ``report.md``, ``trials.csv``, ``trials.json`` and ``plots/*.png``.

    There is ``best.json`` too if a trial is complete, and ``published.csv`` if the study has published figures. The
    same study gives the same bytes. Each text file appears whole or not at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = listing(record)
    texts = {"trials.csv": _render(listed, "csv"), "trials.json": _render(listed, "json")}
    try:
        best = winner_detail(record)
        texts["best.json"] = _render_best(best, "json")
        detail = _render_best(best, "md")
    except NothingComplete as error:
        (folder / "best.json").unlink(missing_ok=True)  # of an earlier study of this name
        detail = escape_markdown(str(error))
    found = compare(record, listed.entries)
    if found:
        texts["published.csv"] = _published_csv(published.rows(record, found))
    else:
        (folder / "published.csv").unlink(missing_ok=True)
    paths = [write_text_atomically(folder / name, text) for name, text in texts.items()]
    drawn = _pictures(record, folder / "plots")
    links = [f"![{escape_markdown(picture.alt)}](plots/{picture.name}.png)" for picture in drawn]
    parts = [_render(listed, "md", _ROWS), detail, *(["# Plots", *links] if links else [])]
    paths += [
        write_text_atomically(folder / "report.md", "\n\n".join(parts)),
        write_text_atomically(folder / "report.html", page(listed, drawn)),
    ]
    return [*paths, *(folder / "plots" / f"{picture.name}.png" for picture in drawn)]


def _pictures(record: StudyRecord, folder: Path) -> list[PlotImage]:
    """Have the plots drawn into a folder, and take them for the page."""
    return [
        PlotImage(
            name=drawn.path.stem,
            title=drawn.title,
            about=drawn.about,
            alt=drawn.alt,
            png=drawn.path.read_bytes(),
        )
        for drawn in draw.draw_plots(record, folder)
    ]


def _published_csv(rows: Sequence[Row]) -> str:
    names = published.COLUMNS
    kind = {name: "" if name.endswith("_seeds") else "mean" for name in names}
    return csv_table(
        [names, *([csv_cell(kind[name], row[name]) for name in names] for row in rows)]
    )
