"""Pure: what the plots of a study share before they are drawn: labels, names, order. Knows nothing of matplotlib."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from sweeps.ranking import StudyRecord, rank
from sweeps.trial import COMPLETE, FAILED, TrialResult

LABELS = {
    "val_acc": "validation accuracy (fraction)",
    "val_loss": "validation loss (nats)",
    "balanced_acc": "validation balanced accuracy (fraction)",
    "macro_f1": "validation macro F1 (0 to 1)",
}


def axis_label(record: StudyRecord) -> str:
    """What the objective's axis is called."""
    return LABELS.get(record.objective, record.objective)


def wide(values: Iterable[float]) -> bool:
    """Whether only a logarithmic scale shows them all: positive, over more than a hundredfold."""
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) > 100 * min(known)


def by_rank(record: StudyRecord) -> list[TrialResult]:
    """The best trial of each configuration, in ranked order."""
    return [entry.trials[0] for entry in rank(record.results, maximize=record.maximize)]


def trial_name(result: TrialResult) -> str:
    """Number, family and activation, and how it ended unless it is complete."""
    state = [f"({word})" for word in unless_complete(result)]
    return " ".join([f"#{result.number}", *filter(None, [result.config.family, result.config.activation]), *state])


def unless_complete(result: TrialResult) -> list[str]:
    """How it ended or stands; nothing for a complete one."""
    return [] if result.state == COMPLETE else [result.end if result.state == FAILED else result.state]


def class_names(record: StudyRecord, count: int) -> list[str]:
    """The true names; where they do not match the count, numbers: never a wrong name."""
    return list(record.classes) if len(record.classes) == count else [str(index) for index in range(count)]


def evenly(results: Sequence[TrialResult], most: int) -> list[TrialResult]:
    """At most ``most`` of the results, evenly over their order, the first and the last among them."""
    if len(results) <= most:
        return list(results)
    return [results[round(i * (len(results) - 1) / (most - 1))] for i in range(most)]
