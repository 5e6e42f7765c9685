"""Where a study's sweep stands, in words that fit a screen. Pure: what is known comes in; opens no store."""

from __future__ import annotations

import dataclasses
import statistics
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.system.console import format_duration
from pipeline.system.text import clean
from sweeps.analysis.ranking import end_of, ends_text, searched_values
from sweeps.analysis.record import StudyRecord
from sweeps.search.stored import RunningTrial
from sweeps.trial import RUNNING, TrialResult

_LABEL = 12  # characters of what stands before a line
_SEARCHED = 6  # fields of a configuration that are shown


@dataclass(frozen=True, kw_only=True)
class Status:
    """What is known of a study at one moment."""

    record: StudyRecord
    running: tuple[RunningTrial, ...]  # how far the trials are that have not ended
    holder: str | None  # who goes on with it, in words
    places: Mapping[str, str]  # where things are kept, by what they are
    now: float  # seconds since 1970, UTC

    @property
    def left(self) -> int:
        """Trials to come, those under way included."""
        return self.record.trials - sum(result.state != RUNNING for result in self.record.results)

    @property
    def state(self) -> str:
        """``running``, ``done``, ``stopped`` by a rule or a limit, or ``interrupted``."""
        if self.holder is not None:
            return "running"
        if self.left <= 0:
            return "done"
        if self.record.reason is None:
            return "interrupted"
        return "stopped"


def seconds_left(status: Status) -> float | None:
    """How long the rest will take, by the trials that were trained; None where nobody trains, or none has ended."""
    trained = [
        r.seconds for r in status.record.results if r.state != RUNNING and r.duplicate_of is None
    ]
    if status.holder is None or status.left <= 0 or not trained:
        return None
    each = statistics.fmean(trained)
    spent = sum(
        min(each, status.now - trial.since) for trial in status.running if trial.since is not None
    )
    return max(0.0, each * status.left - spent) / max(1, len(status.running))


def status_values(status: Status) -> dict[str, Any]:
    """All of it, as JSON data."""
    record = status.record
    results = {result.number: result for result in record.results}
    winner = record.best_trial
    return {
        "study": record.name,
        "file": record.study,
        "dataset": record.dataset,
        "objective": record.objective,
        "state": status.state,
        "trials": record.trials,
        "ended": record.trials - status.left,
        "ends": dict(
            Counter(end_of(result) for result in record.results if result.state != RUNNING)
        ),
        "running": [
            {
                **dataclasses.asdict(trial),
                "epochs": results[trial.number].config.epochs,
                "value": results[trial.number].value,
                "config": results[trial.number].config.to_dict(),
            }
            for trial in status.running
            if trial.number in results
        ],
        "best": winner
        and {
            "number": winner.number,
            "value": winner.value,
            "epoch": winner.best_epoch,
            "config": winner.config.to_dict(),
        },
        "seconds_left": seconds_left(status),
        "holder": status.holder,
        "go_on": None if status.state in ("running", "done") else resume_command(record),
        "places": dict(status.places),
    }


def resume_command(record: StudyRecord) -> str:
    """The command that goes on with a study; in words, where an older version did not keep it."""
    return (
        record.command
        or f"the command that began it, or pipeline sweep {record.study} --name {record.name}"
    )


def status_text(status: Status, width: int = 80) -> str:
    """All of it, one screen of a terminal."""
    record = status.record
    winner = status.record.best_trial
    results = {result.number: result for result in record.results}
    known = ends_text([result for result in record.results if result.state != RUNNING])
    rows = [("ended", known.replace(" ended", f" of {record.trials}", 1))]
    under_way = [
        (trial, results[trial.number]) for trial in status.running if trial.number in results
    ]
    rows += [
        ("training" if status.holder else "cut", _under_way(status, *pair)) for pair in under_way
    ]
    if winner is not None:
        value = f"{record.objective} {winner.value:.4f} at epoch {winner.best_epoch}"
        rows.append(("best", f"{value}: {_trial(winner, record)}"))
    if record.finalists is not None:
        rows.append(("finalists", ends_text(record.finalists.results)))
    rows += [("left", _left(status))] if status.left > 0 else []
    rows += [("held by", status.holder or "nobody")] if status.state != "done" else []
    if status.state in ("interrupted", "stopped"):
        rows.append(("go on", resume_command(record)))
    rows += status.places.items()
    title = f"{record.name}: {_standing(status)}"
    if record.study != record.name:
        title += f" (study {record.study} on {record.dataset})"
    return "\n".join(
        [*_wrapped(title, width, 0), *(line for row in rows for line in _row(*row, width))]
    )


def status_line(status: Status) -> str:
    """The same in one line."""
    record = status.record
    winner = status.record.best_trial
    seconds = seconds_left(status)
    parts = [f"{record.trials - status.left} of {record.trials} trials ended"]
    parts += (
        [f"best {record.objective} {winner.value:.4f} (#{winner.number})"]
        if winner is not None
        else []
    )
    parts += [f"about {format_duration(seconds)} left"] if seconds is not None else []
    return clean(f"{record.name}: {_standing(status)}; {', '.join(parts)}")


def _standing(status: Status) -> str:
    if status.state == "running" and status.left <= 0:
        return "all trials ended, completing the record and the report"
    reasons = {"until": "its --timeout", "failures": "failures in a row"}
    reason = status.record.reason or ""
    if status.state == "stopped":
        return f"stopped by {reasons.get(reason, reason)}"
    return status.state


def _under_way(status: Status, trial: RunningTrial, result: TrialResult) -> str:
    parts = [f"epoch {trial.epoch} of {result.config.epochs} done"]
    if trial.since is not None:
        begun = datetime.fromtimestamp(trial.since, UTC).strftime("%H:%M:%S UTC")
        parts.append(f"begun {format_duration(max(0.0, status.now - trial.since))} ago, {begun}")
    if result.value is not None:
        parts.append(f"{status.record.objective} {result.value:.4f} so far")
    return f"{_trial(result, status.record)}: {', '.join(parts)}"


def _trial(result: TrialResult, record: StudyRecord) -> str:
    """A trial by its number, and what of it was searched."""
    values = {k: v for k, v in searched_values(result, record.searched).items() if v is not None}
    shown = [str(values.pop(name)) for name in ("family", "activation") if name in values]
    shown += [
        f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}"
        for k, v in list(values.items())[:_SEARCHED]
    ]
    return " ".join([f"#{result.number}", *shown])


def _left(status: Status) -> str:
    seconds = seconds_left(status)
    count = f"{status.left} trial{'s' * (status.left > 1)}"
    if seconds is None:
        return count
    return f"{count}, about {format_duration(seconds)}"


def _row(label: str, value: str, width: int) -> list[str]:
    first, *rest = _wrapped(value, width - _LABEL - 2, 0)
    return [f"  {label:{_LABEL}}{first}", *(" " * (_LABEL + 2) + part for part in rest)]


def _wrapped(value: str, width: int, indent: int) -> Sequence[str]:
    return textwrap.wrap(
        clean(value), max(width, 20), subsequent_indent=" " * indent, break_on_hyphens=False
    ) or [""]
