"""What MLflow says of a study on its run's page: Markdown, its first lines the answer. Pure: opens no store."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pipeline.report.answer import Step, answer
from pipeline.report.formats import escape_markdown as github
from pipeline.system.text import clean
from pipeline.tracking import comparison_view
from pipeline.tracking.run_contents import MAX_CLASS_METRICS
from sweeps.analysis.ranking import ends_text
from sweeps.analysis.record import StudyRecord


def study_description(record: StudyRecord, experiment: str, run: str) -> str:
    """A study's description: what won and how sure that is, how it ended, where to look, how to go on.

    Args:
        record: the study.
        experiment: the id of its experiment.
        run: the id of its parent run, where this stands.
    """
    found = answer(record)
    report, comparison = (
        link.removeprefix("/")  # wherever the UI itself is
        for link in (
            comparison_view.report_link(experiment, run),
            comparison_view.comparison_link(experiment, record.name),
        )
    )
    blocks = [
        # MLflow folds up all but the first three lines, and covers the third.
        f"**{markdown(found.winner)}**  \n[The report]({report}) · [the trials beside each other]({comparison})",
        " ".join(
            map(
                markdown,
                filter(
                    None,
                    [*found.certainty, found.test, found.progress, f"{ends_text(record.results)}."],
                ),
            )
        ),
        "\n".join(
            f"- {markdown(why)}: `{_code(command)}`" for why, command in _steps(record, found.steps)
        ),
    ]
    if 0 < len(record.classes) <= MAX_CLASS_METRICS:
        rows = [f"| {index:02d} | {markdown(name)} |" for index, name in enumerate(record.classes)]
        blocks.append("\n".join(["| `val_class/` | class |", "| --- | --- |", *rows]))
    return "\n\n".join(blocks)


def _steps(record: StudyRecord, steps: Sequence[Step]) -> list[tuple[str, str]]:
    finalists = record.facts.finalists
    if finalists is not None:  # another study's, which are continued and reported as that study's
        of = finalists.of
        return [
            ("Go on", f"pipeline finalists {shlex.quote(of)}"),
            ("Report", f"pipeline report {shlex.quote(of)}"),
        ]
    if record.command:
        again = [("Go on; a higher --trials adds to it", record.command)]
    else:
        again = []
    return again + [(step.why, step.command) for step in steps]


def markdown(text: str) -> str:
    """Text as it is: MLflow's Markdown knows no formulas, and shows the backslash that keeps GitHub's from them."""
    return github(text).replace(r"\$", "$")


def _code(command: str) -> str:
    """A command inside backquotes, where nothing can be escaped."""
    return clean(command).replace("`", "'")
