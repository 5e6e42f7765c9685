"""Writes the description of a study for its run's page in MLflow, in Markdown."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from pipeline.report.answer import Step, answer
from pipeline.report.formats import escape_markdown
from pipeline.system.text import clean
from pipeline.tracking import comparison_view
from pipeline.tracking.run_contents import MAX_CLASS_METRICS
from sweeps.analysis.ranking import ends_text
from sweeps.analysis.record import StudyRecord


def study_description(
    record: StudyRecord, experiment: str, run: str, *, has_weights: bool = False
) -> str:
    """Describe a study: the links, the winner and its certainty, the end, and the next commands.

    Args:
        record: the study.
        experiment: the id of the study's experiment.
        run: the id of the study's parent run, which has the description.
        has_weights: whether this run has the weights of the study's best network, too.
    """
    summary = answer(record)
    # Without the first slash, links are relative to the address of the UI, wherever that is.
    report = comparison_view.report_link(experiment, run).removeprefix("/")
    comparison = comparison_view.comparison_link(experiment, record.name).removeprefix("/")
    # MLflow folds away all but the first three lines, and hides the third.
    head = (
        f"[The report]({report}) · [the trials beside each other]({comparison})  \n"
        f"**{markdown(summary.winner)}**"
    )
    ends = f"{ends_text(record.results)}."
    sentences = [*summary.certainty, summary.test, summary.progress, ends, summary.cost]
    text = " ".join(markdown(sentence) for sentence in sentences if sentence)
    if has_weights:
        text += " The weights of the best network are the artifact `checkpoint` of this run."
    blocks = [
        head,
        text,
        _step_list(_steps(record, summary.steps)),
    ]
    if 0 < len(record.classes) <= MAX_CLASS_METRICS:
        blocks.append(_class_table(record.classes))
    return "\n\n".join(blocks)


def _steps(record: StudyRecord, steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Return the next steps as pairs of a reason and a command."""
    finalists = record.facts.finalists
    if finalists is not None:  # another study's, which are continued and reported as that study's
        study = shlex.quote(finalists.of)
        return [
            ("Go on", f"pipeline finalists {study}"),
            ("Report", f"pipeline report {study}"),
        ]
    pairs = [(step.why, step.command) for step in steps]
    if record.command:
        pairs.insert(0, ("Go on; a higher --trials adds to it", record.command))
    return pairs


def _step_list(steps: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"- {markdown(reason)}: `{_code(command)}`" for reason, command in steps)


def _class_table(classes: Sequence[str]) -> str:
    """Write the table of the classes, by the numbers in the names of their metrics."""
    lines = ["| `val_class/` | class |", "| --- | --- |"]
    lines += [f"| {index:02d} | {markdown(name)} |" for index, name in enumerate(classes)]
    return "\n".join(lines)


def markdown(text: str) -> str:
    """Escape text for MLflow's Markdown.

    MLflow knows no formulas, and would show the backslash that GitHub needs before a dollar sign.
    """
    return escape_markdown(text).replace(r"\$", "$")


def _code(command: str) -> str:
    """Return a command to write between backquotes, where nothing can be escaped."""
    return clean(command).replace("`", "'")
