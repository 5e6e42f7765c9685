"""What of a trial becomes metrics and tags of its run. Knows no store."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.system.text import clean
from sweeps.analysis.health import collapsed, dead_classes
from sweeps.trial import Epoch, TrialResult

MAX_CLASS_METRICS = 20  # with more classes, their accuracies are in the artifact only


def at_the_end(result: TrialResult) -> dict[str, float]:
    """The metrics of a finished trial: its best epoch's, and what it cost."""
    found = {
        "cost/params_millions": None if result.parameters is None else result.parameters / 1e6,
        "cost/mflops": result.mflops,
        "cost/latency_ms": result.latency_ms,
        "cost/seconds": result.seconds,
    }
    best = result.best
    if best is not None:  # a failed trial has none: it would rank
        known = [accuracy for accuracy in best.per_class if accuracy is not None]
        found |= {f"best/{k.replace('/', '_')}": v for k, v in best.metrics.items() if k.startswith("val/")}
        found |= {"best/epoch": float(best.epoch), "best/worst_class_acc": min(known) if known else None}
    return {key: value for key, value in found.items() if value is not None}


def began_at(result: TrialResult) -> int | None:
    """When its training began: milliseconds since 1970, UTC. None for one that was not trained."""
    if not result.history or result.duplicate_of is not None:
        return None
    first = result.history[0]
    return first.time - round(1000 * first.metrics.get("time/epoch_seconds", 0.0))


def ended_at(result: TrialResult) -> int | None:
    """When its training ended: milliseconds since 1970, UTC. None for one that was not trained."""
    return result.history[-1].time if result.history else None


def tags(result: TrialResult, classes: Sequence[str]) -> dict[str, str]:
    """How a trial ended, and what is wrong with it."""
    found = {"sweep.end": result.end if result.duplicate_of is None else "duplicate"}
    if result.duplicate_of is not None:
        found["sweep.duplicate_of"] = str(result.duplicate_of)
    if result.error:
        found["sweep.error"] = result.error
    top, dead = collapsed(result), dead_classes(result)
    if top is not None:
        found["sweep.collapsed"] = clean(classes[top], 100)
    if dead:
        found["sweep.dead_classes"] = clean(", ".join(classes[index] for index in dead), 1000)
    return found


def by_class(row: Epoch) -> dict[str, float]:
    """The metrics of an epoch's classes; of many classes none, whose accuracies are in an artifact."""
    if len(row.per_class) > MAX_CLASS_METRICS:
        return {}
    return {f"val_class/{index:02d}": value for index, value in enumerate(row.per_class) if value is not None}
