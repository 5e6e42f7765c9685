"""Compares several studies: the winner of each, and whether the winners can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.report import render as one_study
from pipeline.report import terminal
from pipeline.report.answer import OBJECTIVES, progress_sentence
from pipeline.report.contents import ReportContents
from pipeline.report.formats import (
    csv_cell,
    csv_table,
    escape_markdown,
    json_text,
    markdown_section,
)
from pipeline.report.grid import Grid, Row, Section, cell_text, make_grid
from pipeline.report.html import render_template
from pipeline.report.provenance import last_end
from pipeline.report.scores import PERCENT, difference_text, entry_score_text, unit_of
from pipeline.report.thesis.latex import label_name, sections_latex
from pipeline.system.files import write_text_atomically
from pipeline.system.text import clip
from sweeps.analysis.naming import config_text
from sweeps.analysis.ranking import Ranked, ends_text
from sweeps.analysis.record import StudyRecord, compare_winners
from sweeps.analysis.scores import complete_trials, mean_test_score
from sweeps.trial import value_names

_NAME_CLIP = 60  # characters of a study's name
_DATASET_CLIP = 80
_CONFIG_CLIP = 200
_FOLDER_LENGTH = 100  # characters of a folder's name
# Columns that are wrapped on a narrow terminal, with their least widths in characters.
_WRAP = {"study": 12, "dataset": 8, "ended": 12, "winner": 16}
_VALUE_WIDTH = 14  # characters of a mean with its spread
_SPARE = ("epochs", "seconds", "configurations", "ended", "dataset")  # if there is no room


def folder_name(records: Sequence[StudyRecord]) -> str:
    """The name of a comparison's folder: ``A-and-B``, in the order of the studies.

    If that is too long: the beginning of the first name, the number of further studies, and a hash
    of all names, so that every comparison has a folder of its own.
    """
    names = [record.name for record in records]
    name = "-and-".join(names)
    if len(name) <= _FOLDER_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    suffix = f"-and-{len(names) - 1}-more-{digest}"
    return names[0][: _FOLDER_LENGTH - len(suffix)] + suffix


# As values


def rows(records: Sequence[StudyRecord]) -> list[Row]:
    """A row for each study; values are exact, None is an empty cell.

    ``value`` is the mean of the objective over the winner's complete seeds, ``test_acc`` the mean
    accuracy on the test split. Both are of the finalists' winner once the finalists are decided;
    ``by`` tells. ``seconds`` and ``epochs`` count all trials of the search.
    """
    return [_row(record) for record in records]


def _row(record: StudyRecord) -> Row:
    winner = _winner(record)
    seeds = complete_trials(winner)
    test = mean_test_score(seeds, "acc")
    trained = [trial for trial in record.results if trial.duplicate_of is None]
    row: Row = {
        "study": record.name,
        "dataset": record.dataset,
        "configurations": len(record.ranked),
        "ended": ends_text(record.results),
        "objective": record.objective,
        "value": None,
        "spread": None,
        "seeds": None,
        "by": None,
        "test_acc": test and test.mean,
        "seconds": sum(trial.seconds for trial in trained),
        "epochs": sum(len(trial.history) for trial in trained),
        "winner": None,
    }
    if winner is not None:
        row["value"] = winner.value
        row["spread"] = winner.spread
        row["seeds"] = len(seeds)
        row["by"] = "finalists" if record.decided_finalists else "search"
        row["winner"] = clip(config_text(winner.trials[0], record.searched), _CONFIG_CLIP)
    return row


def _winner(record: StudyRecord) -> Ranked | None:
    """The winning configuration of a study or, once they are decided, of its finalists."""
    source = _source(record)
    if source.complete_configurations:
        return source.complete_configurations[0]
    return None


def _source(record: StudyRecord) -> StudyRecord:
    """The study whose winner counts: that of the finalists, once they are decided."""
    return record.decided_finalists or record


# The differences in sentences


def study_differences(records: Sequence[StudyRecord]) -> list[str]:
    """Say how the winners of the studies differ, in sentences.

    Only comparable studies are compared. If there are several groups of comparable studies, a
    sentence for each further group gives the reason why it is not compared with the first.

    Args:
        records: the studies, at least one.
    """
    groups = _comparable_groups(records)
    lines = []
    for group in groups:
        lines += _group_differences(group)
    first_study = groups[0][0]
    for group in groups[1:]:
        reason = _reason_not_to_compare(first_study, group[0])
        lines.append(f"Not compared: {reason}.")
    return lines


def _comparable_groups(records: Sequence[StudyRecord]) -> list[list[StudyRecord]]:
    """Group studies: all studies of a group can be compared with the first of the group."""
    groups: list[list[StudyRecord]] = []
    for record in records:
        for group in groups:
            if _reason_not_to_compare(group[0], record) is None:
                group.append(record)
                break
        else:
            groups.append([record])
    return groups


def _group_differences(group: Sequence[StudyRecord]) -> list[str]:
    """Compare the best winner of comparable studies with each other winner."""
    winners = []
    unfinished = []
    for record in group:
        winner = _winner(record)
        if winner is None:
            unfinished.append(record)
        else:
            winners.append((record, winner))
    sign = -1 if group[0].maximize else 1
    winners.sort(key=lambda pair: sign * (pair[1].value or 0.0))
    lines = []
    for record, winner in winners[1:]:
        best_record, best = winners[0]
        difference = compare_winners(_source(best_record), _source(record))
        if difference is not None:
            lines.append(
                f"{_score_of(best_record, best)} against {_score_of(record, winner)}: "
                f"{difference_text(difference, unit_of(record.objective))}."
            )
    return lines + [f"{_name(record)}: no trial is complete." for record in unfinished]


def _score_of(record: StudyRecord, winner: Ranked) -> str:
    score = entry_score_text(winner, unit_of(record.objective))
    return f"{_name(record)}{_source_text(record)} {score}"


def _name(record: StudyRecord) -> str:
    return clip(record.name, _NAME_CLIP)


def _source_text(record: StudyRecord) -> str:
    """The source of a winner's figures: empty for the search."""
    return " (finalists)" if record.decided_finalists else ""


def _reason_not_to_compare(first: StudyRecord, second: StudyRecord) -> str | None:
    """Why two studies cannot be compared; None if they can."""
    first_name = _name(first)
    second_name = _name(second)
    dataset = clip(first.dataset, _DATASET_CLIP)
    if first.dataset != second.dataset:
        second_dataset = clip(second.dataset, _DATASET_CLIP)
        return f"{first_name} is of {dataset}, {second_name} of {second_dataset}"
    if first.objective != second.objective:
        return f"{first_name} is ranked by {first.objective}, {second_name} by {second.objective}"
    first_digest = first.facts.digest
    second_digest = second.facts.digest
    known = first_digest is not None and second_digest is not None
    if known and first_digest != second_digest:
        return f"{first_name} and {second_name} have other images, or another split, of {dataset}"
    return None


# As tables of text


def sections(records: Sequence[StudyRecord]) -> list[Section]:
    """The studies and, if any has a winner, the winners' configurations side by side."""
    overview = Section(
        title="The studies", grid=_overview(records), lines=tuple(study_differences(records))
    )
    winners = _winners_grid(records)
    if not winners.rows:
        return [overview]
    return [overview, Section(title="The winners side by side", grid=winners)]


def _overview(records: Sequence[StudyRecord]) -> Grid:
    same_objective = len({record.objective for record in records}) == 1
    objective = records[0].objective if same_objective else "objective"
    shown = []
    for record, row in zip(records, rows(records), strict=True):
        test = row["test_acc"]
        if isinstance(test, float):
            test = PERCENT.value(test)
        elif row["value"] is not None:
            test = "not scored yet"
        shown.append(
            {
                "study": row["study"],
                "dataset": row["dataset"],
                "configurations": row["configurations"],
                "ended": row["ended"],
                objective: _value_text(record, with_objective=not same_objective),
                "test_acc": test,
                "seconds": row["seconds"],
                "epochs": row["epochs"],
                "winner": row["winner"] and f"{row['winner']}{_source_text(record)}",
            }
        )
    return make_grid(list(shown[0]), shown, limit=_CONFIG_CLIP)


def _value_text(record: StudyRecord, *, with_objective: bool) -> str:
    """The winner's mean objective."""
    winner = _winner(record)
    if winner is None:
        return "none complete"
    score = entry_score_text(winner, unit_of(record.objective))
    return f"{record.objective} {score}" if with_objective else score


def _winners_grid(records: Sequence[StudyRecord]) -> Grid:
    """The winners' configurations: a row for each field, a column for each study with a winner.

    Shown are the searched fields, and further fields with different values.
    """
    names = []
    configs = []
    searched: set[str] = set()
    for record in records:
        winner = _winner(record)
        if winner is not None:
            names.append(_name(record))
            configs.append(winner.trials[0].config)
            searched.update(record.searched)
    lines = []
    for field in value_names(configs):
        values = [config.value(field) for config in configs]
        if field in searched or len(set(values)) > 1:
            cells = [clip(cell_text(field, value), 80) for value in values]
            lines.append((field, *cells))
    columns = ("field", *names)
    numeric = (False,) * len(columns)
    return Grid(columns=columns, keys=columns, rows=tuple(lines), numeric=numeric)


# The formats


def render(records: Sequence[StudyRecord], fmt: str, top: int | None = None) -> str:
    """Each study as `pipeline.report.render.render` writes it, and the comparison.

    A CSV holds the comparison alone: the tables of the studies have different columns.

    Args:
        records: the studies.
        fmt: a format of `pipeline.report.render.FORMATS`.
        top: the most configurations of each study; None for all.
    """
    if fmt == "json":
        studies = [one_study.study_values(ReportContents(record), top) for record in records]
        return json_text({"studies": studies, "comparison": _values(records)})
    if fmt == "csv":
        return _csv(records)
    if fmt == "latex":
        return _latex(records)
    texts = [one_study.render(record, fmt, top) for record in records]
    texts.append(_markdown(records) if fmt == "md" else _table(records))
    return "\n\n".join(texts)


def _latex(records: Sequence[StudyRecord]) -> str:
    return sections_latex(sections(records), f"comparison-{label_name(folder_name(records))}")


def _values(records: Sequence[StudyRecord]) -> Row:
    return {"rows": rows(records), "verdicts": study_differences(records)}


def _table(records: Sequence[StudyRecord]) -> str:
    width = terminal.terminal_width()
    wrap = {**_WRAP, "objective": _VALUE_WIDTH, records[0].objective: _VALUE_WIDTH}
    return "\n\n".join(
        terminal.render_section(section, width, wrap, _SPARE) for section in sections(records)
    )


def _markdown(records: Sequence[StudyRecord]) -> str:
    blocks = [f"# {escape_markdown(_title(records))}"]
    for section in sections(records):
        blocks += markdown_section(section)
    return "\n\n".join(blocks)


def _csv(records: Sequence[StudyRecord]) -> str:
    values = rows(records)
    lines = [[csv_cell(name, value) for name, value in row.items()] for row in values]
    return csv_table([list(values[0]), *lines])


def _title(records: Sequence[StudyRecord]) -> str:
    return " and ".join(_name(record) for record in records)


def write(records: Sequence[StudyRecord], folder: Path) -> list[Path]:
    """Write the comparison as ``report.html``, ``report.md``, ``studies.csv`` and ``studies.json``.

    Args:
        records: the studies.
        folder: beside the folders of the studies' own reports; the page links to them.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "studies.csv": _csv(records),
        "studies.json": json_text(_values(records)),
        "report.md": _markdown(records),
        "report.html": page(records),
    }
    return [write_text_atomically(folder / name, text) for name, text in texts.items()]


def write_latex(records: Sequence[StudyRecord], folder: Path) -> Path:
    """Write the comparison as ``studies.tex``.

    Args:
        records: the studies.
        folder: of the comparison, which is there.

    Returns:
        The file.
    """
    return write_text_atomically(folder / "studies.tex", _latex(records))


def page(records: Sequence[StudyRecord]) -> str:
    """The comparison as a self-contained HTML page."""
    overview, *beside = sections(records)
    objectives = dict.fromkeys(OBJECTIVES[record.objective] for record in records)
    ends = [end for end in map(last_end, records) if end]
    values: dict[str, Any] = {
        "title": _title(records),
        "objectives": ", ".join(objectives),
        "overview": overview,
        "beside": beside,
        "studies": [_page_study(record) for record in records],
        "last_end": max(ends, default=None),
    }
    return render_template("studies.html", values)


def _page_study(record: StudyRecord) -> dict[str, str]:
    return {
        "name": clip(record.name, 120),
        "page": f"../{quote(record.name)}/report.html",
        "progress": progress_sentence(record),
        "ended": ends_text(record.results),
    }
