"""The winner of a study in detail, as values and as tables of text. Knows no format and no store."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from typing import Any

from pipeline.report.finalists import verdict_lines
from pipeline.report.grid import CLIP, Grid, cell_text, grid, plain_value
from pipeline.report.problems import Row, class_name
from pipeline.report.ranked import lead_values, score_text
from pipeline.system.errors import NothingComplete
from pipeline.system.text import clean
from sweeps.analysis.ranking import Ranked, ends_text
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import complete_trials, mean_test_score
from sweeps.spec.study_spec import OBJECTIVES
from sweeps.trial import COMPLETE, TrialResult

_MANY = 15  # classes up to which all are listed; of more, the 10 worst and the 5 best
_EPOCHS = 20  # lines of a learning curve


def winner_detail(record: StudyRecord) -> Row:
    """Describe the winner in detail: the best repeat of the first-ranked configuration, or of the finalists' winner.

    Raises:
        NothingComplete: saying where the trials went instead.
    """
    finalists = record.decided_finalists
    if finalists is not None:
        # Who is ahead of whom they say themselves, seed by seed.
        return {
            **winner_detail(finalists),
            "first_against_second": None,
            "finalists": verdict_lines(record),
        }
    entries = record.ranked
    if not entries or entries[0].state != COMPLETE:
        counts = clean(ends_text(record.results), 300)
        raise NothingComplete(f"study '{clean(record.name, 60)}' has no complete trial: {counts}")
    trial = entries[0].trials[0]
    ahead = record.lead
    run = f"{shlex.quote(clean(record.name))}#{trial.number}"
    scores = class_rows(record, trial)
    checkpoint = None if trial.checkpoint is None else clean(trial.checkpoint)
    return {
        "study": clean(record.name),
        "dataset": clean(record.dataset),
        "trial": trial.number,
        "objective": record.objective,
        "value": plain_value(trial.value),
        "split": "validation",
        **_test(entries[0]),
        **_repeats(entries[0]),
        "first_against_second": ahead and lead_values(ahead),
        "best_epoch": trial.best_epoch,
        "epochs": len(trial.history),
        "configuration": {
            name: plain_value(value) for name, value in trial.config.to_dict().items()
        },
        "searched": [name for name in record.searched if getattr(trial.config, name) is not None],
        "curve": curve_rows(record, trial),
        "classes": scores,
        "never_predicted": [row["class"] for row in scores if row["predicted"] == 0],
        "parameters": trial.parameters,
        "mflops": plain_value(trial.mflops),
        "seconds": plain_value(trial.seconds),
        "checkpoint": checkpoint,
        "run_id": plain_value(trial.run_id),
        "load": checkpoint and _load(checkpoint),
        "next": [] if trial.test else [f"pipeline evaluate --run {run} --split test"],
    }


def _repeats(entry: Ranked) -> Row:
    """Mean and spread over the seeds, where the winner was repeated: its own value is the best of them."""
    if entry.spread is None:
        return {}
    return {"mean": entry.value, "spread": entry.spread, "repeats": len(complete_trials(entry))}


def _test(entry: Ranked) -> Row:
    """What is known of the winner on the test split: in words, and as ``test_scores`` (None for nothing)."""
    own = entry.trials[0].test
    seeds = mean_test_score(complete_trials(entry), "acc")
    text = "Chosen on the validation split alone: the sweep has not read the test split."
    scores: Row = {name: plain_value(own.get(name)) for name in ("acc", "loss")} if own else {}
    if scores.get("acc") is not None:
        said = [f"test accuracy {scores['acc']:.4f}"]
    else:
        said = []
    if seeds and (seeds.seeds > 1 or not own):
        scores |= {"acc_mean": seeds.mean, "acc_spread": seeds.spread, "seeds": seeds.seeds}
        said.append(
            f"test accuracy over its seeds {score_text(seeds.mean, seeds.spread, seeds.seeds)}"
        )
    if said:
        text = f"{'; '.join(said)}, scored after the choice, which was made on the validation split alone."
    return {"test": text[0].upper() + text[1:], "test_scores": scores or None}


def _load(checkpoint: str) -> str:
    path = json.dumps(checkpoint, ensure_ascii=False)
    return f"from pipeline.checkpoints import load_model; model, card = load_model({path})"


def curve_rows(record: StudyRecord, trial: TrialResult) -> list[Row]:
    """A trial's metrics by epoch; ``best`` marks the epoch whose weights were kept."""
    keys = {
        name: name.replace("_", "/", 1)
        for name in ("train_loss", "train_acc", "val_loss", "val_acc")
    }
    keys[record.objective] = OBJECTIVES[record.objective][0]
    keys["lr"] = "train/lr"
    return [
        {
            "epoch": epoch.epoch,
            **{name: plain_value(epoch.metrics.get(key)) for name, key in keys.items()},
            "best": epoch.epoch == trial.best_epoch,
        }
        for epoch in trial.history
    ]


def class_rows(record: StudyRecord, trial: TrialResult) -> list[Row]:
    """Each class at the best epoch, by validation accuracy: the worst first, those without images last.

    ``images`` are the class's own, ``predicted`` those that were taken for it; None where they were not counted.
    """
    images = [sum(row) for row in trial.confusion or ()]
    predicted = [sum(column) for column in zip(*(trial.confusion or ()), strict=True)]
    accuracies: Sequence[float | None] = trial.best.per_class if trial.best else ()
    if not accuracies:
        hits = [row[i] for i, row in enumerate(trial.confusion or ())]
        accuracies = [
            hit / count if count else None for hit, count in zip(hits, images, strict=True)
        ]
    return [
        {
            "index": i,
            "class": class_name(record, i),
            "accuracy": plain_value(accuracies[i]),
            "images": images[i] if i < len(images) else None,
            "predicted": predicted[i] if i < len(predicted) else None,
        }
        for i in sorted(range(len(accuracies)), key=lambda i: _worst_first(accuracies[i]))
    ]


def _worst_first(accuracy: float | None) -> float:
    if accuracy is None or math.isnan(accuracy):
        return math.inf
    return accuracy


# As text


def headline(detail: dict[str, Any]) -> str:
    """Which trial won, with what value and when."""
    value = f"{detail['objective']} {cell_text('value', detail['value'])}"
    where = f"at epoch {detail['best_epoch']} of {detail['epochs']} (validation split)"
    mean = ""
    if "mean" in detail:
        mean = f"; mean of {detail['repeats']} repeats {detail['mean']:.4f}, spread {detail['spread']:.4f}"
    name = clean(detail["study"], 60)
    dataset = clean(detail["dataset"], 80)
    return f"Best of {name} on {dataset}: trial {detail['trial']}, {value} {where}{mean}"


def sections(detail: dict[str, Any]) -> list[tuple[str, Grid]]:
    """The winner's tables under their titles."""
    searched = detail["searched"]
    fields: list[Row] = [
        {"field": name, "value": cell_text(name, value), "": "searched" if name in searched else ""}
        for name, value in detail["configuration"].items()
    ]
    curve = [
        {**row, "best": "best" if row["best"] else ""} for row in _some_epochs(detail["curve"])
    ]
    measured = [row for row in detail["classes"] if row["accuracy"] is not None]
    marked: list[Row] = [{**row, "": _remark(row, measured)} for row in detail["classes"]]
    title = "Validation accuracy by class, the worst first"
    if len(marked) > _MANY:
        title += f": the 10 worst and the 5 best of {len(marked)}"
        count = len(measured) or len(marked)  # those without images stand last
        marked = marked[:10] + marked[max(10, count - 5) : count]
    sections = [("Configuration", fields), ("Learning curve", curve), (title, marked)]
    return [(title, grid(list(values[0]), values)) for title, values in sections if values]


def _some_epochs(curve: list[Row]) -> list[Row]:
    """About 20 lines of a long learning curve: evenly spaced, with the best and the last epoch."""
    step = math.ceil(len(curve) / _EPOCHS)
    return [
        row
        for i, row in enumerate(curve, start=1)
        if i % step == 0 or row["best"] or i in (1, len(curve))
    ]


def _remark(row: Row, measured: list[Row]) -> str:
    """What is odd about a class, beside those with images in order of accuracy."""
    if row["accuracy"] is None:
        return "no images"
    if row["predicted"] == 0:
        return "never predicted"
    worst = measured[0]["accuracy"]
    top = measured[-1]["accuracy"]
    if row["accuracy"] == worst != top:
        return "worst"
    return ""


def remarks(detail: dict[str, Any]) -> list[str]:
    """What else is to be said of the winner, a line each."""
    dead = detail["never_predicted"]
    more = f" and {len(dead) - 10} more" if len(dead) > 10 else ""
    if detail["parameters"] is not None:
        size = [f"{detail['parameters']:,} parameters"]
    else:
        size = []
    size += [f"{detail['mflops']:.4g} MFLOPs an image"] if detail["mflops"] is not None else []
    size += [f"{detail['seconds']:.1f} s"] if detail["seconds"] is not None else []
    ahead = detail["first_against_second"]
    return [
        *(detail.get("finalists") or ([ahead["text"]] if ahead else [])),
        *(
            [f"Never predicted: {', '.join(clean(name, CLIP) for name in dead[:10])}{more}"]
            if dead
            else []
        ),
        f"Cost: {', '.join(size)}",
        f"Checkpoint: {detail['checkpoint'] or 'not kept'}",
        f"MLflow run: {detail['run_id'] or 'none'}",
        detail["test"],
    ]
