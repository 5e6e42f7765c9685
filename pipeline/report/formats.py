"""Writes values and tables as JSON, CSV and Markdown, safe for who opens them. Knows nothing of studies."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable

from pipeline.report.grid import Grid, cell_text
from pipeline.report.published import Section
from pipeline.system.text import csv_text


def json_text(value: object) -> str:
    """Values as JSON, which knows no NaN."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


def csv_table(lines: Iterable[Iterable[str]]) -> str:
    """RFC 4180: lines end with CR LF, the last one excepted; cells are quoted where they need it."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n").writerows(lines)
    return file.getvalue().removesuffix("\r\n")


def csv_cell(name: str, value: object) -> str:
    """A value of a column as a CSV's cell."""
    if isinstance(value, str):
        return csv_text(cell_text(name, value))
    return cell_text(name, value)


def markdown_table(laid: Grid) -> str:
    """A table of GitHub's Markdown."""
    rules = ("--:" if right else ":--" for right in laid.right)
    lines = [laid.names, rules, *(map(escape_markdown, line) for line in laid.lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is: no HTML, links, columns or emphasis of its own."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # An underscore inside a word means nothing, so that val_acc stays readable in the source.
    return re.sub(r"([\\`*|\[\]~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", text)


def markdown_section(section: Section) -> list[str]:
    """A section's blocks in Markdown."""
    lines = "\n".join(f"- {escape_markdown(line)}" for line in section.lines)
    laid = [markdown_table(section.laid)] if section.laid.lines else []
    return [f"## {escape_markdown(section.title)}", *laid, *([lines] if lines else [])]
