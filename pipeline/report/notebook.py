"""Writes the summary of a study that a notebook shows: the headline and the top of the ranking."""

from __future__ import annotations

from pipeline.report.answer import answer
from pipeline.report.html import render_template
from pipeline.report.ranked import ranked_table
from sweeps.analysis.record import StudyRecord

_ROWS = 10  # of the ranked table


def summary_html(record: StudyRecord) -> str:
    """Write the winner, what is certain of it, and the first rows of the ranked table as HTML."""
    summary = answer(record)
    table = ranked_table(record)
    rows = table.rows[:_ROWS]
    more = ""
    if len(table.rows) > len(rows):
        more = f"The first {len(rows)} of {len(table.rows)} configurations."
    values = {
        "headline": summary.winner,
        "certainty": summary.certainty,
        "ranked": table.grid(rows),
        "more": more,
    }
    return render_template("notebook.html", values)
