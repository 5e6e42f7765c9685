"""Describes the winner of a study in detail, as values and as sections of text."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from typing import Any

from pipeline.report.finalists import verdict_lines
from pipeline.report.front import choice_text
from pipeline.report.grid import CLIP, Row, Section, cell_text, finite_value, make_grid
from pipeline.report.problems import class_name
from pipeline.report.provenance import looks_text
from pipeline.report.scores import PERCENT, lead_values, unit_of
from pipeline.system.errors import NothingComplete
from pipeline.system.text import clean, clip
from sweeps.analysis.finalists import FINALISTS_SUFFIX
from sweeps.analysis.health import (
    balanced_accuracy,
    expected_calibration_error,
    macro_f1,
    overconfidence,
)
from sweeps.analysis.ranking import Ranked, ends_text
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import complete_trials, mean_test_score
from sweeps.spec.study_spec import OBJECTIVES
from sweeps.trial import COMPLETE, TrialResult

_MAX_CLASSES = 15  # classes of which all are listed
_WORST_CLASSES = 10  # of more classes
_BEST_CLASSES = 5
_MAX_EPOCHS = 20  # rows of a learning curve, about
_MAX_DEAD = 10  # names of classes that are never predicted


# As values


def winner_detail(record: StudyRecord, *, within: float | None = None) -> Row:
    """Describe the winner: the best repeat of the first-ranked configuration.

    Once the finalists are decided, their winner is described instead.

    Args:
        record: the study.
        within: describe the cheapest configuration that is worse by no more instead, see
            `sweeps.analysis.front.choose`.

    Raises:
        NothingComplete: if no trial is complete; the message tells how the trials ended.
    """
    finalists = record.decided_finalists
    if finalists is not None:
        # The verdict compares the finalists seed by seed; that replaces the lead.
        return {
            **winner_detail(finalists, within=within),
            "first_against_second": None,
            "finalists": verdict_lines(record),
            "test_looks": looks_text(record),
        }
    if not record.complete_configurations:
        counts = clip(ends_text(record.results), 300)
        name = clip(record.name, 60)
        is_complete = any(trial.state == COMPLETE for trial in record.results)
        what = "no complete trial with a value" if is_complete else "no complete trial"
        raise NothingComplete(f"study '{name}' has {what}: {counts}")
    choice = record.choose(within)
    entry = record.complete_configurations[0] if choice is None else choice.entry
    is_first = choice is None or choice.entry is choice.best
    trial = entry.trials[0]
    return {
        "study": record.name,
        "dataset": record.dataset,
        "trial": trial.number,
        "chosen": None if choice is None else choice_text(record, choice),
        "objective": record.objective,
        "value": finite_value(trial.value),
        "split": "validation",
        **_test_values(entry),
        "test_looks": looks_text(record),
        **_repeat_values(entry),
        "first_against_second": lead_values(record) if is_first else None,
        **_training_values(record, trial),
        **_artifact_values(record, trial),
    }


def _training_values(record: StudyRecord, trial: TrialResult) -> Row:
    """The winner's configuration and metrics."""
    classes = class_rows(record, trial)
    return {
        "best_epoch": trial.best_epoch,
        "epochs": len(trial.history),
        "configuration": {
            name: finite_value(value) for name, value in trial.config.to_dict().items()
        },
        "searched": [name for name in record.searched if trial.config.value(name) is not None],
        "curve": curve_rows(record, trial),
        "classes": classes,
        **_further_values(trial),
        "never_predicted": [row["class"] for row in classes if row["predicted"] == 0],
    }


def _further_values(trial: TrialResult) -> Row:
    """What the winner's validation outputs tell besides accuracy; None where it is not known."""
    confusion = trial.confusion
    best = trial.best
    bins = trial.confidences or ()
    return {
        "balanced_acc": balanced_accuracy(confusion) if confusion else None,
        "macro_f1": macro_f1(confusion) if confusion else None,
        "top5_acc": best.metrics.get("val/top5_acc") if best else None,
        "calibration_error": expected_calibration_error(bins),
        "calibration_bins": len(bins) or None,
        "overconfidence": overconfidence(bins),
    }


def _artifact_values(record: StudyRecord, trial: TrialResult) -> Row:
    """The winner's cost and checkpoint, and commands to go on with."""
    # A path is cleaned before it is quoted as Python code.
    checkpoint = None if trial.checkpoint is None else clean(trial.checkpoint)
    commands = []
    if not trial.test:
        run = f"{shlex.quote(record.name)}#{trial.number}"
        commands.append(f"pipeline evaluate --run {run} --split test")
    return {
        "parameters": trial.parameters,
        "mflops": finite_value(trial.mflops),
        "latency_ms": finite_value(trial.latency_ms),
        "seconds": finite_value(trial.seconds),
        "checkpoint": checkpoint,
        "run_id": trial.run_id,
        "load": checkpoint and _load_code(checkpoint),
        "next": commands,
    }


def _repeat_values(entry: Ranked) -> Row:
    """Mean and spread over the repeats; the winner's own value is the best of these."""
    if entry.spread is None:
        return {}
    return {"mean": entry.value, "spread": entry.spread, "repeats": len(complete_trials(entry))}


def _test_values(entry: Ranked) -> Row:
    """The winner on the test split: a sentence, and ``test_scores`` (None if not scored)."""
    own = entry.trials[0].test
    mean = mean_test_score(complete_trials(entry), "acc")
    scores: Row = {}
    texts = []
    if own:
        scores = {name: finite_value(own.get(name)) for name in ("acc", "loss")}
        if scores["acc"] is not None:
            texts.append(f"test accuracy {PERCENT.value(own['acc'])}")
    if mean and (mean.seeds > 1 or not own):
        scores |= {"acc_mean": mean.mean, "acc_spread": mean.spread, "seeds": mean.seeds}
        texts.append(f"test accuracy over its seeds {PERCENT.mean(mean)}")
    if texts:
        text = "; ".join(texts)
        sentence = (
            f"{text[0].upper()}{text[1:]}, scored after the choice, which was made on the "
            "validation split alone."
        )
    else:
        sentence = "Chosen on the validation split alone: the sweep has not read the test split."
    return {"test": sentence, "test_scores": scores or None}


def _load_code(checkpoint: str) -> str:
    path = json.dumps(checkpoint, ensure_ascii=False)
    return f"import pipeline; model = pipeline.load_model({path})"


def curve_rows(record: StudyRecord, trial: TrialResult) -> list[Row]:
    """A trial's metrics by epoch; ``best`` marks the epoch of the kept weights."""
    keys = {
        "train_loss": "train/loss",
        "train_acc": "train/acc",
        "val_loss": "val/loss",
        "val_acc": "val/acc",
    }
    keys[record.objective] = OBJECTIVES[record.objective][0]
    keys["lr"] = "train/lr"
    return [
        {
            "epoch": epoch.epoch,
            **{name: finite_value(epoch.metrics.get(key)) for name, key in keys.items()},
            "best": epoch.epoch == trial.best_epoch,
        }
        for epoch in trial.history
    ]


def class_rows(record: StudyRecord, trial: TrialResult) -> list[Row]:
    """The classes by validation accuracy at the best epoch, the worst first.

    Classes without images come last. ``images`` counts the images of the class, ``right`` those of
    them that were recognised, ``predicted`` the images with this prediction; all are None if they
    were not counted.
    """
    confusion = trial.confusion or ()
    images = [sum(row) for row in confusion]
    predicted = [sum(column) for column in zip(*confusion, strict=True)]
    accuracies: Sequence[float | None] = trial.best.per_class if trial.best else ()
    if not accuracies:
        hits = [row[index] for index, row in enumerate(confusion)]
        pairs = zip(hits, images, strict=True)
        accuracies = [hit / count if count else None for hit, count in pairs]
    order = sorted(range(len(accuracies)), key=lambda index: _sort_key(accuracies[index]))
    return [
        {
            "index": index,
            "class": class_name(record, index),
            "accuracy": finite_value(accuracies[index]),
            "right": confusion[index][index] if index < len(confusion) else None,
            "images": images[index] if index < len(images) else None,
            "predicted": predicted[index] if index < len(predicted) else None,
        }
        for index in order
    ]


def _sort_key(accuracy: float | None) -> float:
    return math.inf if accuracy is None or math.isnan(accuracy) else accuracy


# As text


def headline(detail: dict[str, Any]) -> str:
    """The winning trial, its value and its epoch, on a line."""
    name = clip(detail["study"], 60)
    if name.endswith(FINALISTS_SUFFIX):
        name = f"{name.removesuffix(FINALISTS_SUFFIX)}'s finalists"
    dataset = clip(detail["dataset"], 80)
    unit = unit_of(detail["objective"])
    value = f"{detail['objective']} {unit.value(detail['value'] or 0.0)}"
    epoch = f"at epoch {detail['best_epoch']} of {detail['epochs']} (validation split)"
    line = f"Best of {name} on {dataset}: trial {detail['trial']}, {value} {epoch}"
    if "mean" in detail:
        line += f"; mean of {detail['repeats']} repeats {unit.value(detail['mean'])}"
        line += f", spread {unit.difference(detail['spread'])}"
    return line


def sections(detail: dict[str, Any]) -> list[Section]:
    """The winner's configuration, learning curve and classes as tables."""
    tables = [
        ("Configuration", _configuration_rows(detail)),
        ("Learning curve", _marked_curve(detail["curve"])),
        _classes_table(detail["classes"]),
    ]
    return [
        Section(title=title, grid=make_grid(list(rows[0]), rows)) for title, rows in tables if rows
    ]


def _configuration_rows(detail: dict[str, Any]) -> list[Row]:
    return [
        {
            "field": name,
            "value": cell_text(name, value),
            "": "searched" if name in detail["searched"] else "",
        }
        for name, value in detail["configuration"].items()
    ]


def _marked_curve(curve: list[Row]) -> list[Row]:
    """About 20 rows of a learning curve: evenly spaced, with the best and the last epoch."""
    step = math.ceil(len(curve) / _MAX_EPOCHS)
    rows = []
    for position, row in enumerate(curve, start=1):
        at_end = position in (1, len(curve))
        if position % step == 0 or row["best"] or at_end:
            rows.append({**row, "best": "best" if row["best"] else ""})
    return rows


def _classes_table(classes: list[Row]) -> tuple[str, list[Row]]:
    """The title and rows of the classes; of many, only the worst and the best."""
    title = "Validation accuracy by class, the worst first"
    measured = [row for row in classes if row["accuracy"] is not None]
    rows = [{**row, "": _class_remark(row, measured)} for row in classes]
    if len(rows) <= _MAX_CLASSES:
        return title, rows
    title += f": the {_WORST_CLASSES} worst and the {_BEST_CLASSES} best of {len(rows)}"
    end = len(measured) or len(rows)  # classes without images come last
    best = rows[max(_WORST_CLASSES, end - _BEST_CLASSES) : end]
    return title, rows[:_WORST_CLASSES] + best


def _class_remark(row: Row, measured: list[Row]) -> str:
    """Say why a class is remarkable; mostly nothing.

    Args:
        row: of the class.
        measured: the rows of all classes with images, in order of accuracy.
    """
    if row["accuracy"] is None:
        return "no images"
    if row["predicted"] == 0:
        return "never predicted"
    worst = measured[0]["accuracy"]
    if row["accuracy"] == worst and worst != measured[-1]["accuracy"]:
        return "worst"
    return ""


def remarks(detail: dict[str, Any]) -> list[str]:
    """Further facts about the winner, in sentences."""
    lines = [detail["chosen"]] if detail["chosen"] else []
    lead = detail["first_against_second"]
    if detail.get("finalists"):
        lines += detail["finalists"]
    elif lead:
        lines.append(lead["text"])
    looks = [detail["test_looks"]] if detail["test_looks"] else []
    dead = detail["never_predicted"]
    if dead:
        names = ", ".join(clip(name, CLIP) for name in dead[:_MAX_DEAD])
        if len(dead) > _MAX_DEAD:
            names += f" and {len(dead) - _MAX_DEAD} more"
        lines.append(f"Never predicted: {names}")
    return [
        *lines,
        *_further_lines(detail),
        f"Cost: {_cost_text(detail)}",
        f"Checkpoint: {detail['checkpoint'] or 'not kept'}",
        f"MLflow run: {detail['run_id'] or 'none'}",
        detail["test"],
        *looks,
    ]


def _further_lines(detail: dict[str, Any]) -> list[str]:
    """What the winner's validation outputs tell besides accuracy."""
    lines = []
    if detail["macro_f1"] is not None:
        line = f"Over the classes: balanced accuracy {PERCENT.value(detail['balanced_acc'])}"
        line += f", macro F1 {detail['macro_f1']:.4f}"
        if detail["top5_acc"] is not None:
            top5 = PERCENT.value(detail["top5_acc"])
            line += f"; the class is among the first five answers for {top5}"
        lines.append(line)
    if detail["calibration_error"] is not None:
        surplus = detail["overconfidence"]
        word = "too sure" if surplus > 0 else "not sure enough"
        lines.append(
            "Calibration: expected calibration error "
            f"{PERCENT.difference(detail['calibration_error'])} "
            f"({detail['calibration_bins']} equal intervals of the answer's probability); "
            f"on average {word} by {PERCENT.difference(abs(surplus))}"
        )
    return lines


def _cost_text(detail: dict[str, Any]) -> str:
    parts = []
    if detail["parameters"] is not None:
        parts.append(f"{detail['parameters']:,} parameters")
    if detail["mflops"] is not None:
        parts.append(f"{detail['mflops']:.4g} MFLOPs an image")
    if detail["latency_ms"] is not None:
        parts.append(f"{detail['latency_ms']:.4g} ms an image")
    if detail["seconds"] is not None:
        parts.append(f"{detail['seconds']:.1f} s")
    return ", ".join(parts)
