"""How a study was made: its data, plan, settings and search space, as named texts. Knows no format and no store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.report.grid import Grid, grid
from pipeline.report.problems import Row
from pipeline.system.console import format_duration
from pipeline.system.text import clean
from sweeps.analysis.naming import value_text
from sweeps.analysis.record import StudyRecord
from sweeps.trial import began_at, ended_at

_PLAN = (
    "method",
    "of",
    "objective",
    "pruner",
    "repeats",
    "epochs",
    "seed",
    "split_seed",
    "split_file",
    "image_size",
)
_LONGEST = 400  # characters of a text


def origin(record: StudyRecord) -> list[tuple[str, str]]:
    """What a reader needs to judge a study or to make it again, under their names; what is not known is left out."""
    spec = record.spec
    facts = record.facts
    plan = {"trials": record.trials, **{key: getattr(spec, key) for key in _PLAN}}
    if record.study == record.name:
        source = ""
    else:
        source = f" of the study file {record.study}"
    found = {
        "Study": f"{record.name}{source}",
        "Data set": record.dataset,
        "Images": _images(record),
        "Digest of the images": facts.digest,
        "Classes": ", ".join(clean(name, 40) for name in record.classes[:20])
        + (f" and {len(record.classes) - 20} more" if len(record.classes) > 20 else ""),
        "Plan": _named(plan),
        "Limits of a network": _named(spec.constraints),
        "Fixed values": _named(spec.fixed),
        "Settled when it was begun": _named(facts.runtime),
        "Not as in the study file": record.deviations,
        "Begun with": ", ".join(f"{name} {version}" for name, version in facts.versions.items()),
        "Time": _time(record),
        "Weights kept": record.keep_checkpoints,
        "In MLflow": record.parent_run_id
        and f"parent run {record.parent_run_id}, with a run for each trial",
    }
    return [(name, clean(text, _LONGEST)) for name, text in found.items() if text]


def search_space(record: StudyRecord) -> Grid:
    """What was searched: a line for each dimension."""
    rows: list[Row] = [
        {"searched": clean(dimension.key), "values": clean(dimension)}
        for dimension in record.dimensions
    ]
    return grid(["searched", "values"], rows, clip=200)


def last_end(record: StudyRecord) -> str | None:
    """When the last trial ended, in UTC; None where that is not known."""
    return _moment(max(filter(None, map(ended_at, record.results)), default=None))


def _images(record: StudyRecord) -> str:
    shape = "x".join(map(str, record.facts.shape))
    counts = [f"{count:,} {split}" for split, count in record.facts.images.items()]
    split = f"{', '.join(counts)}; the test split apart" if counts else ""
    return "; ".join(filter(None, [shape and f"{shape} (channels x height x width)", split]))


def _named(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {value_text(value)}" for key, value in values.items() if value is not None
    )


def _time(record: StudyRecord) -> str:
    trained = [result for result in record.results if result.duplicate_of is None]
    total = sum(result.seconds for result in trained)
    begun: Iterable[int] = filter(None, map(began_at, trained))
    first = _moment(min(begun, default=None))
    last = last_end(record)
    when = f", from {first} to {last}" if first and last else ""
    if total:
        return f"{format_duration(total)} of training in all{when}"
    return ""


def _moment(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"
