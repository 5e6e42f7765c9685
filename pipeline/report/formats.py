"""Writes values and tables as JSON, CSV and Markdown.

Text from elsewhere (names of classes, folders, studies; errors) is made safe here, on the way out:
free of control characters, spreadsheet formulas and markup.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable

from pipeline.report.grid import Grid, Section, cell_text
from pipeline.system.text import clean, csv_text


def json_text(value: object) -> str:
    """Values as JSON, their strings cleaned.

    Raises:
        ValueError: if a number is infinite or NaN; JSON cannot express these.
    """
    return json.dumps(_with_clean_strings(value), indent=2, ensure_ascii=False, allow_nan=False)


def _with_clean_strings(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _with_clean_strings(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_clean_strings(item) for item in value]
    return value


def csv_table(lines: Iterable[Iterable[str]]) -> str:
    """Lines of cells as CSV (RFC 4180).

    All lines but the last end with CR LF. Cells are quoted if needed.
    """
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n").writerows(lines)
    return file.getvalue().removesuffix("\r\n")


def csv_cell(name: str, value: object) -> str:
    """A value of a column as a CSV cell, never a spreadsheet formula."""
    text = cell_text(name, value)
    if isinstance(value, int | float):
        return text  # may begin with a minus sign
    return csv_text(text)


def markdown_table(grid: Grid) -> str:
    """A table in GitHub's Markdown."""
    alignments = ("--:" if numeric else ":--" for numeric in grid.numeric)
    rows = [[escape_markdown(cell) for cell in row] for row in grid.rows]
    lines = [grid.columns, alignments, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escape_markdown(text: str) -> str:
    """Text for Markdown to show unchanged, without HTML, links, columns or emphasis."""
    text = clean(text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # An underscore inside a word has no meaning: val_acc stays readable in the source.
    return re.sub(r"([\\`*|\[\]~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", text)


def markdown_with_code(text: str) -> str:
    """Text for Markdown, in which what stands between back quotes is code."""
    pieces = clean(text).split("`")
    if len(pieces) % 2 == 0:  # a back quote without its pair
        return escape_markdown(text)
    texts = []
    for position, piece in enumerate(pieces):
        if position % 2:
            texts.append(f"`{piece}`")
        else:
            words = piece.strip()
            texts.append(piece.replace(words, escape_markdown(words)) if words else piece)
    return "".join(texts)


def markdown_section(section: Section) -> list[str]:
    """The Markdown blocks of a section: title, table and list of sentences."""
    blocks = [f"## {escape_markdown(section.title)}"]
    if section.grid.rows:
        blocks.append(markdown_table(section.grid))
    if section.lines:
        blocks.append("\n".join(f"- {escape_markdown(line)}" for line in section.lines))
    return blocks
