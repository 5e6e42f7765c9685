"""Tells how far a study's sweep is: on a screen, in a line, or as JSON data.

All figures come in as a `Status`; nothing is read from a store.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.report.scores import plural, unit_of
from pipeline.system.console import format_duration
from pipeline.system.text import clean, clip, wrap_words
from sweeps.analysis.naming import setting_words
from sweeps.analysis.ranking import end_of, ends_text
from sweeps.analysis.record import StudyRecord
from sweeps.search.stored import RunningTrial
from sweeps.trial import TrialResult

_LABEL_WIDTH = 12  # characters of a line's label
_INDENT = 2  # blanks before a label
_MIN_WIDTH = 20  # characters of a wrapped text
_SHOWN_WORDS = 8  # searched values of a trial
_WORD_CLIP = 60  # characters of such a value
_SHOWN_PAUSED = 3  # paused trials, the best ones
_STOP_REASONS = {"until": "its --timeout", "failures": "failures in a row"}


def state_of(record: StudyRecord, holder: str | None) -> str:
    """``running``, ``done``, ``stopped`` by a rule or a limit, or ``interrupted``.

    If the search has ended and its finalists have not, it is the state of the finalists.

    Args:
        record: the study.
        holder: the process that trains the study or its finalists, in words; None if there is none.
    """
    if holder is not None:
        return "running"
    finalists = unfinished_finalists(record)
    if finalists is not None:
        return state_of(finalists, holder)
    if lacks_finalists(record):
        return "interrupted"
    if record.is_finished:
        return "done"
    if record.reason is None:
        return "interrupted"
    return "stopped"


def unfinished_finalists(record: StudyRecord) -> StudyRecord | None:
    """The finalists of a study whose search has ended, while some of them have not."""
    finalists = record.finalists
    if finalists is None or finalists.is_finished:
        return None
    return finalists if _search_has_ended(record) else None


def lacks_finalists(record: StudyRecord) -> bool:
    """Whether a search has ended, and was cut off before the finalists that were to follow."""
    is_due = record.finalists_wanted and record.finalists is None
    return is_due and record.best_trial is not None and _search_has_ended(record)


def _search_has_ended(record: StudyRecord) -> bool:
    return record.is_finished or record.reason not in (None, *_STOP_REASONS)


@dataclass(frozen=True, kw_only=True)
class Status:
    """A study at a moment."""

    record: StudyRecord
    running: tuple[RunningTrial, ...]  # trials that have begun and not ended
    holder: str | None  # the process that trains the study or its finalists, in words
    places: Mapping[str, str]  # where things are stored, by name
    now: float  # seconds since 1970, UTC

    @property
    def ended(self) -> int:
        """The number of ended trials."""
        return self.record.ended

    @property
    def left(self) -> int | None:
        """The number of trials to come, including those that are running or paused.

        None if a budget alone says how many.
        """
        if self.record.has_only_budget:
            return None
        return self.record.trials - self.ended

    @property
    def epochs_trained(self) -> int:
        """The epochs of all trainings so far."""
        earlier = {result.number: len(result.history) for _, result in self.begun}
        new = sum(max(0, trial.epoch - earlier[trial.number]) for trial, _ in self.begun)
        return self.record.epochs_trained + new

    @property
    def epochs_left(self) -> float | None:
        """The epochs to come in a study whose trials are paused and go on; None if not known."""
        promoted = self.record.promoted
        if promoted is None or promoted.expected_epochs is None:
            return None
        return max(0.0, promoted.expected_epochs - self.epochs_trained)

    @property
    def state(self) -> str:
        """``running``, ``done``, ``stopped`` by a rule or a limit, or ``interrupted``."""
        return state_of(self.record, self.holder)

    @property
    def begun(self) -> list[tuple[RunningTrial, TrialResult]]:
        """The running trials with their results so far."""
        results = {result.number: result for result in self.record.results}
        return [(trial, results[trial.number]) for trial in self.running if trial.number in results]


def seconds_left(status: Status) -> float | None:
    """Estimate the rest of the sweep's duration from the mean duration of its trained trials.

    If trials are paused and go on, from the mean duration of an epoch.

    None if no process runs the sweep, or no trial has ended or been paused.
    """
    if status.holder is None or status.record.is_finished:
        return None
    if status.record.promoted is not None:
        return _seconds_of_epochs(status)
    trained = [
        result.seconds
        for result in status.record.results
        if result.has_ended and result.duplicate_of is None
    ]
    if not status.left or not trained:
        return None
    mean = statistics.fmean(trained)
    begins = [trial.since for trial in status.running if trial.since is not None]
    spent = sum(min(mean, status.now - begin) for begin in begins)
    return max(0.0, mean * status.left - spent) / max(1, len(status.running))


def _seconds_of_epochs(status: Status) -> float | None:
    trained = [result for result in status.record.results if result.duplicate_of is None]
    epochs = sum(len(result.history) for result in trained)
    if not epochs or not status.epochs_left:
        return None
    mean = math.fsum(result.seconds for result in trained) / epochs
    return mean * status.epochs_left / max(1, len(status.running))


def resume_command(record: StudyRecord) -> str:
    """The command to continue a study, or those of its finalists that have not ended.

    In words if an older version has not stored the command.
    """
    finalists = unfinished_finalists(record)
    if finalists is not None:
        return finalists.command or f"pipeline finalists {shlex.quote(record.name)}"
    if record.command:
        return record.command
    sweep = f"pipeline sweep {record.study} --name {record.name}"
    return f"the command that began it, or {sweep}"


# As JSON data


def status_values(status: Status) -> dict[str, Any]:
    """The status as JSON data."""
    record = status.record
    ends = Counter(end_of(result) for result in record.results if result.has_ended)
    promoted = record.promoted
    needs_command = status.state not in ("running", "done")
    return {
        "study": record.name,
        "file": record.study,
        "dataset": record.dataset,
        "objective": record.objective,
        "state": status.state,
        "trials": None if record.has_only_budget else record.trials,
        "budget": record.budget,
        "ended": status.ended,
        "ends": dict(ends),
        "running": [_running_values(trial, result) for trial, result in status.begun],
        "paused": [_paused_values(result) for result in record.paused],
        "epochs": {
            "trained": status.epochs_trained,
            "expected": None if promoted is None else promoted.expected_epochs,
        },
        "best": _best_values(record.best_trial),
        "seconds_left": seconds_left(status),
        "holder": status.holder,
        "go_on": resume_command(record) if needs_command else None,
        "places": dict(status.places),
    }


def _running_values(trial: RunningTrial, result: TrialResult) -> dict[str, Any]:
    return {
        **dataclasses.asdict(trial),
        "epochs": result.config.epochs,
        "value": result.value,
        "config": result.config.to_dict(),
    }


def _paused_values(result: TrialResult) -> dict[str, Any]:
    return {
        "number": result.number,
        "epoch": len(result.history),
        "epochs": result.config.epochs,
        "value": result.value,
        "config": result.config.to_dict(),
    }


def _best_values(best: TrialResult | None) -> dict[str, Any] | None:
    if best is None:
        return None
    return {
        "number": best.number,
        "value": best.value,
        "epoch": best.best_epoch,
        "config": best.config.to_dict(),
    }


# As text


def status_text(status: Status, width: int | None = None) -> str:
    """The status on a screen.

    Args:
        status: of the study.
        width: of the terminal in characters; None leaves each text on a line, for `grep`.
    """
    record = status.record
    title = f"{record.name}: {_state_text(status)}"
    if record.study != record.name:
        title += f" (study {record.study} on {record.dataset})"
    lines = _wrapped(title, width)
    for label, text in _labelled_texts(status):
        lines += _labelled_lines(label, text, width)
    return "\n".join(lines)


def _labelled_texts(status: Status) -> list[tuple[str, str]]:
    """The lines below the title: labels and texts."""
    record = status.record
    best = record.best_trial
    ended = ends_text([result for result in record.results if result.has_ended])
    of_all = "" if record.has_only_budget else f" of {record.trials}"
    texts = [("ended", ended.replace(" ended", of_all, 1))]
    label = "training" if status.holder else "cut"
    texts += [(label, _running_text(status, trial, result)) for trial, result in status.begun]
    if record.paused:
        texts.append(("paused", _paused_text(status)))
    if best is not None:
        value = f"{_value_text(record, best.value)} at epoch {best.best_epoch}"
        texts.append(("best", f"{value}: {_trial_text(best, record)}"))
    if record.finalists is not None:
        texts.append(("finalists", _finalists_text(record.finalists)))
    if not record.is_finished:
        texts.append(("left", _left_text(status)))
    if status.state != "done":
        texts.append(("held by", status.holder or "nobody"))
    if status.state in ("interrupted", "stopped"):
        texts.append(("go on", resume_command(record)))
    return [*texts, *status.places.items()]


def status_line(status: Status) -> str:
    """The status in a line."""
    record = status.record
    best = record.best_trial
    seconds = seconds_left(status)
    parts = [f"{status.ended} of {record.trials} trials ended"]
    if record.has_only_budget:
        parts = [f"{plural(status.ended, 'trial')} ended"]
    if record.paused:
        parts.append(f"{len(record.paused)} paused")
    if best is not None:
        parts.append(f"best {_value_text(record, best.value)} (#{best.number})")
    if seconds is not None:
        parts.append(f"about {format_duration(seconds)} left")
    return clean(f"{record.name}: {_state_text(status)}; {', '.join(parts)}")


def _finalists_text(finalists: StudyRecord) -> str:
    """How many of the runs of the finalists have ended, and how."""
    ended = ends_text([result for result in finalists.results if result.has_ended])
    return ended.replace(" ended", f" of {finalists.trials}", 1)


def _state_text(status: Status) -> str:
    finalists = unfinished_finalists(status.record)
    if finalists is not None:
        ended = f"{finalists.ended} of {finalists.trials} ended"
        state = _own_state_text(finalists, status.state)
        return f"{_search_text(status.record)}, finalists {state} ({ended})"
    if status.state == "running" and status.record.is_finished:
        return "all trials ended, completing the record and the report"
    if status.state == "interrupted" and lacks_finalists(status.record):
        return f"{_search_text(status.record)}, finalists not begun"
    return _own_state_text(status.record, status.state)


def _search_text(record: StudyRecord) -> str:
    """How the search of a study with finalists ended."""
    return "search done" if record.is_finished else f"search {_own_state_text(record, 'stopped')}"


def _own_state_text(record: StudyRecord, state: str) -> str:
    """A state, with what stopped the study, if anything did."""
    if state != "stopped":
        return state
    reason = record.reason or ""
    return f"stopped by {_STOP_REASONS.get(reason, reason)}"


def _running_text(status: Status, trial: RunningTrial, result: TrialResult) -> str:
    parts = [f"epoch {trial.epoch} of {result.config.epochs} done"]
    if trial.since is not None:
        duration = format_duration(max(0.0, status.now - trial.since))
        begin = datetime.fromtimestamp(trial.since, UTC)
        parts.append(f"begun {duration} ago, {begin:%H:%M:%S} UTC")
    if result.value is not None:
        parts.append(f"{_value_text(status.record, result.value)} so far")
    return f"{_trial_text(result, status.record)}: {', '.join(parts)}"


def _value_text(record: StudyRecord, value: float | None) -> str:
    """A value with its objective: ``val_acc 96.96 %``."""
    return f"{record.objective} {unit_of(record.objective).value(value or 0.0)}"


def _trial_text(result: TrialResult, record: StudyRecord) -> str:
    """A trial's number and searched values: ``#3 cnn relu lr=0.01``."""
    words = setting_words(result.config, record.searched)
    shown = [clip(word, _WORD_CLIP) for word in words[:_SHOWN_WORDS]]
    return " ".join([f"#{result.number}", *shown])


def _paused_text(status: Status) -> str:
    """Count the paused trials, and name the best of them."""
    paused = status.record.paused
    text = str(len(paused))
    if status.state != "running":
        text += ", which go on with the sweep"
    unit = unit_of(status.record.objective)
    best = [
        f"#{result.number} {unit.value(result.value)} after epoch {len(result.history)} "
        f"of {result.config.epochs}"
        for result in paused[:_SHOWN_PAUSED]
        if result.value is not None
    ]
    if not best:
        return text
    return f"{text}; the best: {', '.join(best)}"


def _left_text(status: Status) -> str:
    parts = []
    if status.left is not None:
        parts.append(plural(status.left, "trial"))
    elif status.record.budget is not None:
        parts.append(f"what is left of the budget {status.record.budget}")
    if status.epochs_left is not None:
        parts.append(f"about {plural(round(status.epochs_left), 'epoch')}")
    text = ", ".join(parts)
    seconds = seconds_left(status)
    if seconds is not None:
        text += f", about {format_duration(seconds)}"
    return text


def _labelled_lines(label: str, text: str, width: int | None) -> list[str]:
    """Wrap a text to the right of its label: further lines begin below the text's first word."""
    indent = " " * _INDENT
    margin = " " * (_INDENT + _LABEL_WIDTH)
    room = None if width is None else width - len(margin)
    first_line, *further_lines = _wrapped(text, room)
    lines = [f"{indent}{label:{_LABEL_WIDTH}}{first_line}"]
    lines += [f"{margin}{line}" for line in further_lines]
    return lines


def _wrapped(text: str, width: int | None) -> list[str]:
    """Wrap a text into lines; an empty text is one empty line."""
    line = clean(text)
    return [line] if width is None else wrap_words(line, max(width, _MIN_WIDTH))
