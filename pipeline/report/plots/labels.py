"""Texts and selections of trials that several plots share. It does not import matplotlib."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pipeline.system.text import clean
from sweeps.analysis.naming import config_text, differing_fields
from sweeps.analysis.record import StudyRecord
from sweeps.spec.study_spec import OBJECTIVES
from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED, TrialResult

OBJECTIVE_LABELS = {
    "val_acc": "validation accuracy (%)",
    "val_loss": "validation loss (nats)",
    "balanced_acc": "validation balanced accuracy (%)",
    "macro_f1": "validation macro F1 (0 to 1)",
}


# The objective


def is_percent(label: str) -> bool:
    """Whether a label announces per cent, for values that are shares from 0 to 1."""
    return label.endswith("(%)")


def in_words(label: str) -> str:
    """A label in a sentence, whose values have their unit beside them."""
    return label.removesuffix(" (%)")


def labelled_value(label: str, value: float) -> str:
    """A value of a labelled axis in words: ``97.63 %``, or ``0.1234``."""
    if is_percent(label):
        return f"{100 * value:.4g} %"
    return f"{value:.4g}"


def objective_label(record: StudyRecord) -> str:
    """The objective as the label of an axis."""
    if record.objective == "val_loss":
        return loss_label(record)
    return OBJECTIVE_LABELS.get(record.objective, record.objective)


def loss_label(record: StudyRecord) -> str:
    """The validation loss as the label of an axis; without a unit where trials have several."""
    losses = {result.config.loss for result in record.results}
    if len(losses) > 1:
        return "validation loss"
    if losses == {"squared_error"}:
        return "validation loss (squared error)"
    return OBJECTIVE_LABELS["val_loss"]


def objective_key(record: StudyRecord) -> str:
    """The key of the objective among the metrics of an epoch."""
    if record.objective in OBJECTIVES:
        return OBJECTIVES[record.objective][0]
    return f"val/{record.objective}"


def needs_log_scale(values: Iterable[float]) -> bool:
    """Whether the values are positive and span more than a hundredfold."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return False
    lowest = min(finite)
    return lowest > 0 and max(finite) > 100 * lowest


# Trials


def valued_trials(record: StudyRecord) -> list[tuple[float, TrialResult]]:
    """The complete, pruned and paused trials, each with its value, by number.

    A trial that reused the result of another is left out.
    """
    states = (COMPLETE, PRUNED, PAUSED)
    trials = [result for result in record.results if result.state in states]
    trials.sort(key=lambda result: result.number)
    return [
        (result.value, result)
        for result in trials
        if result.value is not None and result.duplicate_of is None
    ]


def ranked_trials(record: StudyRecord) -> list[TrialResult]:
    """The best trial of each configuration, in ranked order."""
    return [entry.trials[0] for entry in record.ranked]


def thin_evenly(results: Sequence[TrialResult], limit: int) -> list[TrialResult]:
    """At most ``limit`` of the results, evenly over their order, with the first and the last."""
    if len(results) <= limit:
        return list(results)
    last = len(results) - 1
    return [results[round(i * last / (limit - 1))] for i in range(limit)]


def trial_name(result: TrialResult) -> str:
    """A trial's number, family and activation, and its end unless it is complete."""
    words = [f"#{result.number}"]
    words += filter(None, [result.config.family, result.config.activation])
    end = end_unless_complete(result)
    if end:
        words.append(f"({end})")
    return " ".join(words)


def trial_names(record: StudyRecord, results: Sequence[TrialResult]) -> list[str]:
    """The names of trials: by one or two other searched fields, if these tell the trials apart."""
    fields = differing_fields(record.searched, results)
    if not 0 < len(fields) <= 2 or set(fields) <= {"family", "activation"}:
        return [trial_name(result) for result in results]
    names = []
    for result in results:
        name = f"#{result.number} {config_text(result, fields)}"
        end = end_unless_complete(result)
        if end:
            name += f" ({end})"
        names.append(name)
    return names


def end_unless_complete(result: TrialResult) -> str:
    """How a trial ended, or its state if it has not; empty for a complete trial."""
    if result.state == COMPLETE:
        return ""
    if result.state == FAILED:
        return result.end
    return result.state


def best_trial_text(record: StudyRecord, best: TrialResult) -> str:
    """A study's best trial, its searched fields and its value, in words."""
    value = labelled_value(objective_label(record), best.value or 0.0)
    return f"best: trial {best.number} with {config_text(best, record.searched)}: {value}"


def class_names(record: StudyRecord, count: int) -> list[str]:
    """The study's class names, or numbers if their count differs: never a wrong name."""
    if len(record.classes) == count:
        return list(record.classes)
    return [str(index) for index in range(count)]


# Words


def sentence(*parts: str) -> str:
    """Join the parts that are not empty into a text alternative on one line, as in ``A; b.``."""
    text = clean("; ".join(filter(None, parts)))
    if not text:
        return ""
    return f"{text[:1].upper()}{text[1:]}."


def number_text(value: float) -> str:
    """Four digits of a number, all digits of a large one.

    A power of ten appears only where the number is too large to be written out.
    """
    if 1000 <= abs(value) < 1e12:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def counted(number: int, noun: str) -> str:
    """``1 trial``, ``2 trials``, ``2 classes``."""
    if number == 1:
        ending = ""
    elif noun.endswith("s"):
        ending = "es"
    else:
        ending = "s"
    return f"{number:,} {noun}{ending}"


def listed(items: Sequence[str], limit: int = 8) -> str:
    """The items in a row; of many, the first ``limit`` and the number of the others."""
    texts = list(items[:limit])
    if len(items) > limit:
        texts.append(f"{len(items) - limit} more")
    return ", ".join(texts)
