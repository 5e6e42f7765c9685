"""Writes tables and sentences for LaTeX: tables with the rules of booktabs, names escaped."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import repeat

from pipeline.report.finalists import section as finalists_section
from pipeline.report.grid import Grid, Section
from pipeline.report.ranked import RankedTable, ranked_columns
from pipeline.report.thesis.methods import methods_paragraphs
from pipeline.system.text import clean
from sweeps.analysis.record import StudyRecord

PREAMBLE = (
    "% Needs \\usepackage{array, booktabs, graphicx} in the preamble. "
    "\\input this file, and edit it as you like."
)
_LONG = 30  # characters of a cell, above which a column is broken into lines
_WIDTH = 84  # characters of a row that fit into a page's text
_FINALISTS = ("place", "finalist", "test_acc", "difference")  # and the objective
_ROWS = 15  # of the ranked table: a page has room for about 40
_MEASURES = ("epoch", "trained", "parameters", "mflops", "latency_ms", "seconds", "notes")
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "±": r"$\pm$",
    "…": r"\ldots{}",
    "[": "{[}",  # after a line break it would be an option
    "]": "{]}",
}


def latex_text(text: str) -> str:
    """Text for pdfLaTeX to print unchanged; characters that its fonts lack are named by number."""
    return "".join(_latex_character(character) for character in clean(text))


def _latex_character(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    plain = unicodedata.normalize("NFC", character)
    is_known = plain.isascii() or (plain.isalpha() and "\u00c0" <= plain <= "\u017f")
    return plain if is_known else f"U+{ord(character):04X}"


def label_name(study: str) -> str:
    """The name of a study for a label: other characters than plain ones stand as their number."""
    return re.sub(r"[^A-Za-z0-9_.-]", lambda found: f"U+{ord(found[0]):04X}", study)


def latex_table(grid: Grid, caption: str, label: str) -> str:
    """A table as a float with a caption and a label; a wide one is shrunk to the text.

    Args:
        grid: the cells.
        caption: above the table, as text.
        label: to refer to it by: ``tab:`` and this.
    """
    alignments = "".join(map(_alignment, range(len(grid.columns)), repeat(grid)))
    lines = [_latex_row(grid.columns), r"\midrule", *map(_latex_row, grid.rows)]
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{latex_text(caption)}}}",
            f"  \\label{{tab:{label}}}",
            r"  \small",
            r"  \resizebox{\ifdim\width>\linewidth \linewidth\else\width\fi}{!}{%",
            rf"  \begin{{tabular}}{{{alignments}}}",
            r"    \toprule",
            *(f"    {line}" for line in lines),
            r"    \bottomrule",
            r"  \end{tabular}}",
            r"\end{table}",
        ]
    )


def _alignment(position: int, grid: Grid) -> str:
    """How a column is set: numbers on the right, and long text broken into lines."""
    if grid.numeric[position]:
        return "r"
    longest = max((len(row[position]) for row in grid.rows), default=0)
    if longest <= _LONG:
        return "l"
    return r">{\raggedright\arraybackslash}p{0.4\linewidth}"


def _latex_row(cells: Sequence[str]) -> str:
    return f"{' & '.join(map(latex_text, cells))} \\\\"


def ranked_latex(record: StudyRecord, table: RankedTable, top: int | None = None) -> str:
    """The ranked table of a study: the result, and the searched fields by importance."""
    rows = table.rows[: top or _ROWS]
    names = [name for name in ranked_columns(record, table.columns) if name not in _MEASURES]
    names = [
        name
        for name in names
        if name in ("rank", record.objective) or any(row[name] not in (None, "") for row in rows)
    ]
    grid = table.grid(rows, names)
    kept = _fitting(grid)
    left_out = [name for name in grid.keys if name not in kept]
    grid = grid.only(kept)
    caption = (
        f"The first {len(rows)} of {len(table.rows)} configurations of the study {record.name}"
    )
    if len(rows) == len(table.rows):
        caption = f"The configurations of the study {record.name}"
    caption += f" on {record.dataset}, by {record.objective} on the validation split."
    if left_out:
        caption += f" No room was left for {', '.join(left_out)}."
    return latex_table(grid, caption, f"ranked-{label_name(record.name)}")


def _fitting(grid: Grid) -> list[str]:
    """The columns that fit into a page's text, the first ones first."""
    room = _WIDTH
    kept = []
    for position, name in enumerate(grid.columns):
        room -= 2 + max([len(name), *(len(row[position]) for row in grid.rows)])
        if room >= 0:
            kept.append(grid.keys[position])
    return kept


def finalists_latex(record: StudyRecord) -> str:
    """The finalists of a study; empty if there are none."""
    section = finalists_section(record)
    if section is None or not section.grid.rows:
        return ""
    caption = (
        f"The finalists of the study {record.name}, trained again with fresh seeds: mean ± sample "
        "standard deviation, in per cent where the sign says so."
    )
    grid = section.grid.only([record.objective, *_FINALISTS])
    return latex_table(grid, caption, f"finalists-{label_name(record.name)}")


def methods_latex(record: StudyRecord) -> str:
    """The paragraphs on methods."""
    return "\n\n".join(latex_text(text) for text in methods_paragraphs(record))


def study_latex(record: StudyRecord, table: RankedTable, top: int | None = None) -> str:
    """All of a study that a thesis may take: methods, the ranked table and the finalists."""
    parts = [PREAMBLE, methods_latex(record), ranked_latex(record, table, top)]
    return "\n\n".join([*parts, *filter(None, [finalists_latex(record)])])


def row_count(text: str) -> int:
    """The number of rows of a table of `latex_table`, for another one as long."""
    _, _, body = text.partition("\\midrule")
    rows, _, _ = body.partition("\\bottomrule")
    return sum(line.endswith("\\\\") for line in rows.splitlines())


def sections_latex(sections: Sequence[Section], label: str) -> str:
    """Sections as tables, each with its title as the caption, and its sentences below.

    Args:
        sections: in order.
        label: of all tables: ``tab:``, this and a number.
    """
    blocks = [PREAMBLE]
    for number, section in enumerate(sections, start=1):
        if section.grid.rows:
            blocks.append(latex_table(section.grid, f"{section.title}.", f"{label}-{number}"))
        if section.lines:
            blocks.append(" ".join(latex_text(line) for line in section.lines))
    return "\n\n".join(blocks)
