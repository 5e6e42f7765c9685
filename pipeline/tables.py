"""What a report says of a study: rows, the winner in detail, as values and as text. Knows no format and no store."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.errors import NothingComplete
from pipeline.text import clean
from sweeps.ranking import Ranked, StudyRecord, best, ended, rank, searched_values
from sweeps.space import OBJECTIVES
from sweeps.trial import COMPLETE, FAILED, RUNNING, TrialResult

Row = dict[str, object]

CLIP = 40  # characters of a text cell
_SCORES = frozenset({*OBJECTIVES, "spread", "mean", "value", "accuracy", "train_loss", "train_acc", "val_loss"})


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rows as text, ready to be laid out in any format."""

    names: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    right: tuple[bool, ...]  # by column: numbers stand on the right


def grid(names: Sequence[str], values: Sequence[Row], *, thousands: bool = True, clip: int = CLIP) -> Grid:
    """Lay out rows under the names."""
    return Grid(
        names=tuple(names),
        lines=tuple(tuple(clean(cell(n, row[n], thousands=thousands), clip) for n in names) for row in values),
        right=tuple(_numbers(row[name] for row in values) for name in names),
    )


def _numbers(values: Iterable[object]) -> bool:
    return all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values)


def cell(name: str, value: object, *, thousands: bool = False) -> str:
    """A value of a column as text: scores with 4 decimals, seconds with one, other fractions with 4 digits."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, int | float):
        return "" if value is None else clean(value)
    if name in _SCORES:
        return f"{value:.4f}"
    if name == "seconds":
        return f"{value:.1f}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if thousands and name == "parameters" else str(value)


def ranked(record: StudyRecord) -> list[Ranked]:
    """The configurations in the order shown: ranked, what still runs at the end."""
    entries = rank(record.results, maximize=record.maximize)
    return sorted(entries, key=lambda entry: entry.state == RUNNING)


def columns(record: StudyRecord) -> list[str]:
    """The names of the columns; those of repeats only where some configuration has any."""
    return listing(record)[0]


def rows(record: StudyRecord, top: int | None = None) -> list[Row]:
    """One row for each of the ``top`` configurations (None: all), by the names of `columns`; None is blank.

    Values are exact, not rounded. The trial, epoch and parameters are those of the best repeat, seconds the sum over
    the repeats, ``repeats`` the complete ones behind the mean. The state of a failed trial is how it failed.
    """
    return listing(record)[1][:top]


def listing(record: StudyRecord) -> tuple[list[str], list[Row]]:
    """The columns and all rows, for one ranking: of thousands of trials it takes seconds."""
    entries = ranked(record)
    names = _columns(record, entries)
    return names, [{name: row[name] for name in names} for row in (_row(record, entry) for entry in entries)]


def _columns(record: StudyRecord, entries: Sequence[Ranked]) -> list[str]:
    searched = [name for name in record.searched if name != "family"]
    repeats = ["spread", "repeats"] if any(len(entry.trials) > 1 for entry in entries) else []
    last = ["epoch", "parameters", "seconds", "state"]
    return ["rank", "trial", "family", *searched, record.objective, *repeats, *last]


def _row(record: StudyRecord, entry: Ranked) -> Row:
    trial = entry.trials[0]
    searched = searched_values(trial, record.searched)
    return {
        "rank": entry.rank,
        "trial": trial.number,
        **{name: plain(value) for name, value in searched.items()},
        "family": clean(trial.config.family),
        record.objective: plain(entry.value),
        "spread": plain(entry.spread),
        "repeats": sum(t.state == COMPLETE for t in entry.trials),
        "epoch": trial.best_epoch,
        "parameters": trial.parameters,
        "seconds": math.fsum(t.seconds for t in entry.trials),
        "state": clean(trial.end if trial.state == FAILED else trial.state),
    }


def plain(value: object) -> object:
    """A value that every format can take: text cleaned, and None for a number that is none."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return clean(value) if isinstance(value, str) else value


def failures(record: StudyRecord) -> list[Row]:
    """The failed trials, each with how it ended and its error on one line."""
    failed = (result for result in record.results if result.state == FAILED)
    return [{"trial": t.number, "end": clean(t.end), "error": clean(t.error or "", 300)} for t in failed]


def facts(record: StudyRecord) -> Row:
    """What a study is and how far it has come."""
    return {
        "study": clean(record.name),
        "study_file": clean(record.study),
        "dataset": clean(record.dataset),
        "objective": record.objective,
        "maximize": record.maximize,
        "split": "validation",
        "trials_planned": record.trials,
        "ended": clean(ended(record.results)),
        "searched": list(record.searched),
        "classes": [clean(name) for name in record.classes],
        "parent_run_id": record.parent_run_id,
    }


def headlines(record: StudyRecord, shown: int, total: int) -> tuple[str, str]:
    """Say which study this is, and where its trials went: the two lines above a table."""
    source = "" if record.study == record.name else f" (study file {clean(record.study, 60)})"
    parts = [ended(record.results)]
    if len(record.results) < record.trials:
        parts.append(f"{record.trials} planned")
    parts.append(f"{record.objective} on the validation split")
    if shown < total:
        parts.append(f"showing {shown} of {total}")
    return f"Study {clean(record.name, 60)}{source} on {clean(record.dataset, 80)}", clean("; ".join(parts), 300)


def best_detail(record: StudyRecord) -> Row:
    """Describe the winner in detail: the best repeat of the first-ranked configuration.

    Raises:
        NothingComplete: saying where the trials went instead.
    """
    trial = best(record.results, maximize=record.maximize)
    if trial is None:
        counts = clean(ended(record.results), 300)
        raise NothingComplete(f"study '{clean(record.name, 60)}' has no complete trial: {counts}")
    run = f"{shlex.quote(clean(record.name))}#{trial.number}"
    scores = classes(record, trial)
    checkpoint = None if trial.checkpoint is None else clean(trial.checkpoint)
    return {
        "study": clean(record.name),
        "dataset": clean(record.dataset),
        "trial": trial.number,
        "objective": record.objective,
        "value": plain(trial.value),
        "split": "validation",
        "test": "Chosen on the validation split alone: the sweep has not read the test split.",
        **_repeats(record, trial),
        "best_epoch": trial.best_epoch,
        "epochs": len(trial.history),
        "configuration": {name: plain(value) for name, value in trial.config.to_dict().items()},
        "searched": [name for name in record.searched if getattr(trial.config, name) is not None],
        "curve": curve(record, trial),
        "classes": scores,
        "never_predicted": [row["class"] for row in scores if row["predicted"] == 0],
        "parameters": trial.parameters,
        "mflops": plain(trial.mflops),
        "seconds": plain(trial.seconds),
        "checkpoint": checkpoint,
        "run_id": plain(trial.run_id),
        "load": checkpoint and _load(checkpoint),
        "next": [f"pipeline evaluate --run {run} --split test"],
    }


def _repeats(record: StudyRecord, trial: TrialResult) -> Row:
    """Mean and spread over the seeds, where the winner was repeated: its own value is the best of them."""
    # Hashing every configuration takes long, so the hash decides only between those that look alike.
    values = searched_values(trial, record.searched)
    alike = (r for r in record.results if searched_values(r, record.searched) == values)
    group = [r for r in alike if r.config.group == trial.config.group]
    entry = rank(group, maximize=record.maximize)[0]
    if entry.spread is None:
        return {}
    return {"mean": entry.value, "spread": entry.spread, "repeats": sum(t.state == COMPLETE for t in group)}


def _load(checkpoint: str) -> str:
    path = json.dumps(checkpoint, ensure_ascii=False)
    return f"from pipeline.checkpoints import load_model; model, card = load_model({path})"


def curve(record: StudyRecord, trial: TrialResult) -> list[Row]:
    """A trial's metrics by epoch; ``best`` marks the epoch whose weights were kept."""
    keys = {name: name.replace("_", "/", 1) for name in ("train_loss", "train_acc", "val_loss", "val_acc")}
    keys[record.objective] = OBJECTIVES[record.objective][0]
    keys["lr"] = "train/lr"
    return [
        {
            "epoch": epoch.epoch,
            **{name: plain(epoch.metrics.get(key)) for name, key in keys.items()},
            "best": epoch.epoch == trial.best_epoch,
        }
        for epoch in trial.history
    ]


def classes(record: StudyRecord, trial: TrialResult) -> list[Row]:
    """Each class at the best epoch, by validation accuracy: the worst first, those without images last.

    ``images`` are the class's own, ``predicted`` those that were taken for it; None where they were not counted.
    """
    images = [sum(row) for row in trial.confusion or ()]
    predicted = [sum(column) for column in zip(*(trial.confusion or ()), strict=True)]
    accuracies: Sequence[float | None] = trial.best.per_class if trial.best else ()
    if not accuracies:
        hits = [row[i] for i, row in enumerate(trial.confusion or ())]
        accuracies = [hit / count if count else None for hit, count in zip(hits, images, strict=True)]
    return [
        {
            "index": i,
            "class": _class_name(record, i),
            "accuracy": plain(accuracies[i]),
            "images": images[i] if i < len(images) else None,
            "predicted": predicted[i] if i < len(predicted) else None,
        }
        for i in sorted(range(len(accuracies)), key=lambda i: _worst_first(accuracies[i]))
    ]


def _worst_first(accuracy: float | None) -> float:
    return math.inf if accuracy is None or math.isnan(accuracy) else accuracy


def _class_name(record: StudyRecord, index: int) -> str:
    # A name may be nothing but control characters.
    return clean(record.classes[index]) or str(index) if index < len(record.classes) else str(index)
