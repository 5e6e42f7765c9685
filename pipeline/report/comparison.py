"""Several studies beside each other: what won in each, and whether the winners can be compared. Reads no store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.report import render as one_study
from pipeline.report import terminal
from pipeline.report.answer import OBJECTIVES, standing
from pipeline.report.formats import (
    csv_cell,
    csv_table,
    escape_markdown,
    json_text,
    markdown_section,
)
from pipeline.report.grid import Grid, cell_text, grid
from pipeline.report.html import render_template
from pipeline.report.problems import Row
from pipeline.report.provenance import last_end
from pipeline.report.published import Section
from pipeline.report.ranked import Listing, difference_text, listing, score_text
from pipeline.system.files import write_text_atomically
from pipeline.system.text import clean
from sweeps.analysis.naming import config_text
from sweeps.analysis.ranking import Ranked, ends_text
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import complete_trials, mean_test_score
from sweeps.trial import COMPLETE, config_fields

_NAME = 60  # characters of a study's name
_LONGEST = 100  # characters of a folder's name
_WRAP = {
    "study": 12,
    "dataset": 8,
    "ended": 12,
    "winner": 16,
}  # columns that give way on a narrow terminal


def folder_name(records: Sequence[StudyRecord]) -> str:
    """The name of the folder of a comparison: ``A-and-B``, and with many or long names the first and a hash of all."""
    names = [record.name for record in records]
    name = "-and-".join(names)
    if len(name) <= _LONGEST:
        return name
    rest = f"-and-{len(names) - 1}-more-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return names[0][: _LONGEST - len(rest)] + rest


def rows(listings: Sequence[Listing]) -> list[Row]:
    """One row for each study; values are exact, None is blank.

    ``value`` is the mean of the objective over the winner's complete seeds, ``test_acc`` that on the test split: of the
    finalists' winner with its fresh seeds, once they have decided (``by``). ``seconds`` and ``epochs`` are what all
    trials of the search took.
    """
    return [_row(listed) for listed in listings]


def _row(listed: Listing) -> Row:
    record = listed.record
    first = _first(listed)
    test = None if first is None else mean_test_score(complete_trials(first), "acc")
    trained = [trial for trial in record.results if trial.duplicate_of is None]
    return {
        "study": clean(record.name),
        "dataset": clean(record.dataset),
        "configurations": len(listed.rows),
        "ended": clean(ends_text(record.results)),
        "objective": record.objective,
        "value": first and first.value,
        "spread": first and first.spread,
        "seeds": first and len(complete_trials(first)),
        "by": first and ("finalists" if record.decided_finalists else "search"),
        "test_acc": test and test.mean,
        "seconds": sum(trial.seconds for trial in trained),
        "epochs": sum(len(trial.history) for trial in trained),
        "winner": first and _configuration(record, first),
    }


def _first(listed: Listing) -> Ranked | None:
    """What won: by its fresh seeds, once finalists have decided."""
    again = listed.record.decided_finalists
    if again is None:
        entries = listed.entries
    else:
        entries = again.ranked
    first = next(iter(entries), None)
    if first is not None and first.state == COMPLETE:
        return first
    return None


def _configuration(record: StudyRecord, first: Ranked) -> str:
    return clean(config_text(first.trials[0], record.searched), 200)


def study_differences(listings: Sequence[Listing]) -> list[str]:
    """Say of each two studies that can be compared how their winners differ, and of the others why they cannot.

    The best of those that can be compared is set against each of the others.
    """
    groups: list[list[Listing]] = []
    for listed in listings:
        home = next(
            (group for group in groups if _apart(group[0].record, listed.record) is None), None
        )
        groups.append([listed]) if home is None else home.append(listed)
    found = [line for group in groups for line in _compared(group)]
    heads = [group[0].record for group in groups]
    return found + [f"Not compared: {_apart(heads[0], head)}." for head in heads[1:]]


def _compared(group: Sequence[Listing]) -> list[str]:
    won = [(listed, first) for listed in group if (first := _first(listed)) is not None]
    maximize = group[0].record.maximize
    won.sort(key=lambda pair: (pair[1].value or 0.0) * (-1 if maximize else 1))
    lines = []
    for other, second in won[1:]:
        spreads = [entry.spread for entry in (won[0][1], second) if entry.spread is not None]
        difference = abs((won[0][1].value or 0.0) - (second.value or 0.0))
        text = difference_text(difference, max(spreads, default=None))
        lines.append(f"{_scored(*won[0])} against {_scored(other, second)}: {text}.")
    unfinished = [clean(listed.record.name, _NAME) for listed in group if _first(listed) is None]
    return lines + [f"{name}: no trial is complete." for name in unfinished]


def _scored(listed: Listing, first: Ranked) -> str:
    score = score_text(first.value or 0.0, first.spread, len(complete_trials(first)))
    return f"{clean(listed.record.name, _NAME)}{_by(listed)} {score}"


def _by(listed: Listing) -> str:
    """Whose figures these are, where they are not the search's."""
    if listed.record.decided_finalists:
        return " (finalists)"
    return ""


def _apart(one: StudyRecord, other: StudyRecord) -> str | None:
    """Why two studies cannot be compared; None where they can."""
    names = clean(one.name, _NAME), clean(other.name, _NAME)
    data = (one.dataset, other.dataset)
    objectives = (one.objective, other.objective)
    digests = one.facts.digest, other.facts.digest
    if data[0] != data[1]:
        return f"{names[0]} is of {clean(data[0], 80)}, {names[1]} of {clean(data[1], 80)}"
    if objectives[0] != objectives[1]:
        return f"{names[0]} is ranked by {objectives[0]}, {names[1]} by {objectives[1]}"
    if None not in digests and digests[0] != digests[1]:
        return f"{names[0]} and {names[1]} have other images, or another split, of {clean(data[0], 80)}"
    return None


def sections(listings: Sequence[Listing]) -> list[Section]:
    """The comparison, and the winners' configurations beside each other."""
    overview = Section(
        title="The studies", laid=_overview(listings), lines=tuple(study_differences(listings))
    )
    beside = _beside(listings)
    return [
        overview,
        *([Section(title="The winners side by side", laid=beside)] if beside.lines else []),
    ]


def _overview(listings: Sequence[Listing]) -> Grid:
    same = len({listed.record.objective for listed in listings}) == 1
    shown = [
        {
            **{name: row[name] for name in ("study", "dataset", "configurations", "ended")},
            (str(row["objective"]) if same else "objective"): _value(listed, same),
            "test_acc": row["test_acc"]
            if row["test_acc"] is not None or row["value"] is None
            else "not scored yet",
            **{name: row[name] for name in ("seconds", "epochs")},
            "winner": row["winner"] and f"{row['winner']}{_by(listed)}",
        }
        for listed, row in zip(listings, rows(listings), strict=True)
    ]
    return grid(list(shown[0]), shown, clip=200)


def _value(listed: Listing, same: bool) -> str:
    """The winner's objective, with its name where the studies have different ones."""
    first = _first(listed)
    if first is None:
        return "none complete"
    score = score_text(first.value or 0.0, first.spread, len(complete_trials(first)))
    if same:
        return score
    return f"{listed.record.objective} {score}"


def _beside(listings: Sequence[Listing]) -> Grid:
    """The fields of the winners that were searched, or in which they differ: a line each, a column for each study."""
    won = [
        (listed.record, first.trials[0].config)
        for listed in listings
        if (first := _first(listed)) is not None
    ]
    searched = {name for record, _ in won for name in record.searched}
    names = [
        n
        for n in config_fields()
        if n in searched or len({getattr(config, n) for _, config in won}) > 1
    ]
    return Grid(
        names=("field", *(clean(record.name, _NAME) for record, _ in won)),
        lines=tuple(
            (n, *(clean(cell_text(n, getattr(config, n)), 80) for _, config in won)) for n in names
        ),
        right=(False,) * (1 + len(won)),
    )


def render(records: Sequence[StudyRecord], fmt: str, top: int | None = None) -> str:
    """Each study as `pipeline.report.render.render` gives it, and the comparison, as text in one of its formats.

    A CSV holds the comparison alone: the studies' own tables have other columns.
    """
    listings = [listing(record) for record in records]
    if fmt == "json":
        compared = {"rows": rows(listings), "verdicts": study_differences(listings)}
        return json_text(
            {
                "studies": [one_study.study_values(listed, top) for listed in listings],
                "comparison": compared,
            }
        )
    if fmt == "csv":
        return _csv(listings)
    each = [one_study.render(record, fmt, top) for record in records]
    return "\n\n".join([*each, _markdown(listings) if fmt == "md" else _table(listings)])


def _table(listings: Sequence[Listing]) -> str:
    return "\n\n".join(
        terminal.render_section(section, terminal.terminal_width(), _WRAP)
        for section in sections(listings)
    )


def _markdown(listings: Sequence[Listing]) -> str:
    title = f"# {escape_markdown(_title(listings))}"
    return "\n\n".join(
        [title, *(part for section in sections(listings) for part in markdown_section(section))]
    )


def _csv(listings: Sequence[Listing]) -> str:
    found = rows(listings)
    return csv_table(
        [list(found[0]), *([csv_cell(name, value) for name, value in row.items()] for row in found)]
    )


def _title(listings: Sequence[Listing]) -> str:
    return " and ".join(clean(listed.record.name, _NAME) for listed in listings)


def write(records: Sequence[StudyRecord], folder: Path) -> list[Path]:
    """Write the comparison as ``report.html``, ``report.md``, ``studies.csv`` and ``studies.json``.

    The folder stands beside those of the studies' own reports, to which the page links.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listings = [listing(record) for record in records]
    texts = {
        "studies.csv": _csv(listings),
        "studies.json": json_text(
            {"rows": rows(listings), "verdicts": study_differences(listings)}
        ),
        "report.md": _markdown(listings),
        "report.html": page(listings),
    }
    return [write_text_atomically(folder / name, text) for name, text in texts.items()]


def page(listings: Sequence[Listing]) -> str:
    """The comparison as an HTML page that needs nothing beside it."""
    overview, *beside = sections(listings)
    values: dict[str, Any] = {
        "title": _title(listings),
        "objectives": ", ".join(
            dict.fromkeys(OBJECTIVES[listed.record.objective] for listed in listings)
        ),
        "overview": overview,
        "beside": beside,
        "studies": [
            {
                "name": clean(listed.record.name, 120),
                "page": f"../{quote(listed.record.name)}/report.html",
                "standing": standing(listed.record),
                "ended": clean(ends_text(listed.record.results)),
            }
            for listed in listings
        ],
        "last_end": max(
            filter(None, (last_end(listed.record) for listed in listings)), default=None
        ),
    }
    return render_template("studies.html", values)
