"""Pure: what the plots of a study share before they are drawn: labels, names, order. Knows nothing of matplotlib."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pipeline.system.text import clean
from sweeps.analysis.naming import config_text, differing_fields
from sweeps.analysis.record import StudyRecord
from sweeps.spec.study_spec import OBJECTIVES
from sweeps.trial import COMPLETE, FAILED, PRUNED, TrialResult

LABELS = {
    "val_acc": "validation accuracy (fraction)",
    "val_loss": "validation loss (nats)",
    "balanced_acc": "validation balanced accuracy (fraction)",
    "macro_f1": "validation macro F1 (0 to 1)",
}


def axis_label(record: StudyRecord) -> str:
    """What the objective's axis is called."""
    return LABELS.get(record.objective, record.objective)


def history_key(record: StudyRecord) -> str:
    """Under which key an epoch has the objective."""
    if record.objective in OBJECTIVES:
        return OBJECTIVES[record.objective][0]
    return f"val/{record.objective}"


def wide(values: Iterable[float]) -> bool:
    """Whether only a logarithmic scale shows them all: positive, over more than a hundredfold."""
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) > 100 * min(known)


def with_value(record: StudyRecord) -> list[tuple[float, TrialResult]]:
    """The complete and pruned trials, each with its value, by number; not those that reused another's."""
    ended = sorted(
        (r for r in record.results if r.state in (COMPLETE, PRUNED)), key=lambda r: r.number
    )
    return [(r.value, r) for r in ended if r.value is not None and r.duplicate_of is None]


def by_rank(record: StudyRecord) -> list[TrialResult]:
    """The best trial of each configuration, in ranked order."""
    return [entry.trials[0] for entry in record.ranked]


def trial_name(result: TrialResult) -> str:
    """Number, family and activation, and how it ended unless it is complete."""
    state = [f"({word})" for word in unless_complete(result)]
    return " ".join(
        [
            f"#{result.number}",
            *filter(None, [result.config.family, result.config.activation]),
            *state,
        ]
    )


def trial_names(record: StudyRecord, results: Sequence[TrialResult]) -> list[str]:
    """Their names; where one or two other searched fields tell them apart, number and these."""
    fields = differing_fields(record.searched, results)
    if not 0 < len(fields) <= 2 or set(fields) <= {"family", "activation"}:
        return [trial_name(result) for result in results]
    states = (" ".join(f" ({word})" for word in unless_complete(result)) for result in results)
    return [
        f"#{r.number} {config_text(r, fields)}{state}"
        for r, state in zip(results, states, strict=True)
    ]


def unless_complete(result: TrialResult) -> list[str]:
    """How it ended or stands; nothing for a complete one."""
    if result.state == COMPLETE:
        return []
    return [result.end if result.state == FAILED else result.state]


def class_names(record: StudyRecord, count: int) -> list[str]:
    """The true names; where they do not match the count, numbers: never a wrong name."""
    if len(record.classes) == count:
        return list(record.classes)
    return [str(index) for index in range(count)]


def evenly(results: Sequence[TrialResult], most: int) -> list[TrialResult]:
    """At most ``most`` of the results, evenly over their order, the first and the last among them."""
    if len(results) <= most:
        return list(results)
    return [results[round(i * (len(results) - 1) / (most - 1))] for i in range(most)]


def sentence(*parts: str) -> str:
    """A text alternative of its parts, on one line and safe to print, as in ``A; b.``."""
    text = clean("; ".join(filter(None, parts)))
    if text:
        return f"{text[:1].upper()}{text[1:]}."
    return ""


def rounded(value: float) -> str:
    """Four digits of a number, all of a large one, and no power of ten where it can be written out."""
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


def listed(items: Sequence[str], most: int = 8) -> str:
    """The items in a row; of many the first, and how many more there are."""
    more = [f"{len(items) - most} more"] if len(items) > most else []
    return ", ".join([*items[:most], *more])
