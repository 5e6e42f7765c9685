"""Health checks of a study's winner: its lead, its learning curve, its test score."""

from __future__ import annotations

import math
from typing import NamedTuple

from pipeline.report.checks.base import (
    Check,
    Level,
    improvement,
    is_sampled,
    trained_trials,
    validation_images,
    winner_uncertainty,
)
from sweeps.analysis.intervals import newcombe_interval
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.verdict import Verdict, doubts
from sweeps.spec.study_spec import CENTRED_METHODS, OBJECTIVES
from sweeps.trial import TrialResult

ENOUGH = 5  # configurations with a value; with fewer, a lead over the first says little of a search
LARGE_GAP = 0.02  # training minus validation accuracy; a smaller gap is hardly worth closing
RISE = 1.1  # of the validation loss over its lowest; learning curves waver by some percent
FALL = 0.95  # of the validation loss over the last epochs, if it is the objective
LAST = 4  # the "last epochs" are one in so many


class _Noise(NamedTuple):
    """The threshold for a meaningful difference of two configurations."""

    size: float  # in units of the objective
    text: str


# The lead


def gain(record: StudyRecord) -> Check | None:
    """Compare the winner with the baseline: the study's first configuration, or its centre."""
    entries = record.complete_configurations
    baseline = _baseline(record)
    configurations = {trial.config.group for trial in trained_trials(record)}
    if baseline is None or len(entries) < 2 or len(configurations) < ENOUGH:
        return None
    check = _gain_of_finalists(record, baseline)
    if check is not None:
        return check
    disappointing: Level
    number = _first_number(baseline)
    if record.method in CENTRED_METHODS:
        disappointing = "note"
        name = f"the centre, trial {number}"
        remedy = "keep the centre"
    else:
        disappointing = "warning"
        name = f"the first configuration, trial {number}"
        remedy = "keep the first, search other ranges or train longer"
    winner = entries[0]
    if winner is baseline:
        count = len(entries) - 1
        text = (
            f"No other complete configuration ({count}) beats {name} ({_value(baseline)}): "
            f"{remedy}."
        )
        return Check(name="gain", level=disappointing, text=text)
    noise = _noise(record, winner, baseline)
    if noise is None:
        return None
    ahead = _improvement(record, winner, baseline)
    finding = (
        f"{_label(winner)} ({_value(winner)}) is {ahead:.4f} better than "
        f"{name} ({_value(baseline)})"
    )
    if ahead > noise.size:
        return Check(name="gain", level="good", text=f"{finding}, beyond {noise.text}.")
    text = f"{finding}, no more than {noise.text}: the search may not have paid; {remedy}."
    return Check(name="gain", level=disappointing, text=text)


def _gain_of_finalists(record: StudyRecord, baseline: Ranked) -> Check | None:
    """Judge the gain by the finalists, if the baseline is among them and does not tie."""
    verdict = record.final_verdict
    if verdict is None:
        return None
    group = baseline.trials[0].config.group
    finalist = next((f for f in verdict.finalists if f.trial.config.group == group), None)
    if finalist is None or finalist.against is None or finalist.against.tie:
        return None  # the check of ties tells of a tie
    by = f"{abs(finalist.against.difference):.4f} better than"
    if finalist.against.outcome == "behind":
        text = (
            f"The first configuration is {by} the best finalist, beyond chance, "
            "but not with all of its seeds."
        )
        return Check(name="gain", level="warning", text=text)
    text = f"The best finalist is {by} the first configuration, beyond chance."
    return Check(name="gain", level="good", text=text)


def tie(record: StudyRecord) -> Check | None:
    """Compare the winner's lead over the next configurations with chance.

    Once finalists have been trained, their fresh seeds are judged instead.
    """
    verdict = record.final_verdict
    if verdict is not None and len(verdict.finalists) > 1:
        return _tie_of_finalists(verdict)
    lead = record.lead
    if lead is None:
        return None
    noise = _noise(record, lead.first, lead.second)
    if noise is None:
        return None
    second = lead.second.trials[0].number
    if lead.difference:
        relation = f"leads the next, trial {second}, by {lead.difference:.4f}"
    else:
        relation = f"is level with trial {second} ({_value(lead.second)})"
    finding = f"{_label(lead.first)} {relation}"
    others = record.complete_configurations[1:]
    near = sum(_improvement(record, lead.first, entry) <= noise.size for entry in others)
    if not near:
        return Check(name="tie", level="good", text=f"{finding}, beyond {noise.text}.")
    remedy = f"`pipeline finalists {record.name}` trains the best again with fresh seeds"
    text = (
        f"{finding}; {near} of the {len(others)} others are within {noise.text} of it: "
        f"which of them is first may be luck; {remedy}."
    )
    level: Level = "note" if lead.spread is None else "warning"
    return Check(name="tie", level=level, text=text)


def _tie_of_finalists(verdict: Verdict) -> Check:
    sentences = list(doubts(verdict))
    if not sentences:
        count = len(verdict.finalists)
        rule = "the 95 % intervals of the differences, seed by seed, leave out 0"
        text = f"The best of {count} finalists is ahead of each of the others: {rule}."
        return Check(name="tie", level="good", text=text)
    level: Level = "note"
    if verdict.tied:
        level = "warning"
        sentences.append("Of a tie, take the cheapest.")
    if verdict.behind:
        level = "warning"
        sentences.append("See why a seed of it failed before you take the winner.")
    return Check(name="tie", level=level, text=f"Finalists: {' '.join(sentences)}")


# The test score


def test_gap(record: StudyRecord) -> Check | None:
    """Compare the gap between the winner's validation and test accuracy with chance."""
    verdict = record.final_verdict
    trial = record.best_trial
    images = validation_images(trial)
    if verdict is not None and verdict.winner.gap is not None:
        gap = verdict.winner.gap
        above = _above(gap.difference)
        finding = f"The best finalist's validation accuracy is {above} its test accuracy"
        low = gap.low
        high = gap.high
    elif trial is not None and trial.best and images and trial.test and "acc" in trial.test:
        val = trial.best.metrics["val/acc"]
        test = trial.test["acc"]
        # Older studies did not count the test images. Test splits are at least as large.
        test_images = int(trial.test.get("images", images))
        low, high = newcombe_interval(val, images, test, test_images)
        finding = (
            f"Trial {trial.number}'s validation accuracy {val:.4f} is {_above(val - test)} "
            f"its test accuracy {test:.4f}"
        )
    else:
        return None
    finding += f" (95 %: {low:+.4f} to {high:+.4f})"
    if low > 0:
        remedy = (
            "report the test score; fewer trials or a larger validation split would flatter less"
        )
        return Check(name="test_gap", level="warning", text=f"{finding}, beyond chance: {remedy}.")
    if high < 0:
        remedy = "the test images are easier; compare scores of the same split only"
        return Check(name="test_gap", level="note", text=f"{finding}, beyond chance: {remedy}.")
    return Check(name="test_gap", level="good", text=f"{finding}, within chance.")


def _above(difference: float) -> str:
    direction = "above" if difference >= 0 else "below"
    return f"{abs(difference):.4f} {direction}"


# The learning curve


def overfitting(record: StudyRecord) -> Check | None:
    """Check the winner for overfitting.

    An overfitted network is better on its training images than on others, and its validation loss
    has risen in the course of the training.
    """
    trial = record.best_trial
    images = validation_images(trial)
    if trial is None or trial.best is None or not images:
        return None
    train = trial.best.metrics.get("train/acc")
    val = trial.best.metrics.get("val/acc")
    losses = _validation_losses(trial)
    if train is None or val is None or not losses:
        return None
    train_images = record.facts.images.get("train", images)
    low, high = newcombe_interval(train, train_images, val, images)
    lowest = min(losses, key=losses.__getitem__)
    last = max(losses)
    accuracies = (
        f"training accuracy {train:.4f} and validation {val:.4f} "
        f"at trial {trial.number}'s best epoch"
    )
    loss = (
        f"the validation loss rose from {losses[lowest]:.4f} at epoch {lowest} "
        f"to {losses[last]:.4f} at epoch {last}"
    )
    small_gap = low <= 0 or train - val < LARGE_GAP
    if small_gap or losses[last] < RISE * losses[lowest]:
        if lowest >= last:
            loss = "the validation loss was lowest at the end"
        return Check(
            name="overfitting", level="good", text=f"No overfitting: {accuracies}; {loss}."
        )
    text = (
        f"Overfitting: {accuracies}, a gap of {train - val:.4f} "
        f"(95 %: {low:.4f} to {high:.4f}), and {loss}: "
        "try more dropout, weight_decay or augment, or stop earlier (patience)."
    )
    return Check(name="overfitting", level="warning", text=text)


def _validation_losses(trial: TrialResult) -> dict[int, float]:
    """Collect the validation losses that are known, by epoch."""
    losses = {}
    for row in trial.history:
        loss = row.metrics.get("val/loss")
        if loss is not None:
            losses[row.epoch] = loss
    return losses


def underfitting(record: StudyRecord) -> Check | None:
    """Check whether the winner was still improving when its epochs were over."""
    trial = record.best_trial
    if trial is None or len(trial.history) < max(2, trial.config.epochs):
        return None
    epochs = trial.config.epochs
    last = max(1, round(epochs / LAST))
    earlier_best = _best_until(record, trial, epochs - last)
    if earlier_best is None or trial.value is None:
        return None
    gained = improvement(record, trial.value, earlier_best)
    if record.objective == "val_loss":
        enough = (1 - FALL) * earlier_best
    else:
        # The answers of one network after two epochs are closer than those of two networks:
        # half of their uncertainty is enough.
        enough = (winner_uncertainty(record) or math.inf) / 2
    finding = f"Trial {trial.number} is best at epoch {trial.best_epoch} of {epochs}"
    best_at_end = trial.best_epoch == epochs
    if best_at_end and gained > enough:
        words = "epoch" if last == 1 else f"{last} epochs"
        text = (
            f"{finding} and got better by {gained:.4f} in its last {words}: train longer, as with "
            f"--epochs {2 * epochs} under another --name."
        )
        return Check(name="underfitting", level="note", text=text)
    if best_at_end:
        finding += f", but better by only {gained:.4f} than {last} before"
    return Check(name="underfitting", level="good", text=f"{finding}: it was trained long enough.")


def _best_until(record: StudyRecord, trial: TrialResult, epoch: int) -> float | None:
    """Return the best value of the objective in the first epochs; None if none is known."""
    key = OBJECTIVES[record.objective][0]
    metrics = [row.metrics.get(key) for row in trial.history[:epoch]]
    values = [value for value in metrics if value is not None]
    if not values:
        return None
    if record.maximize:
        return max(values)
    return min(values)


# Configurations


def _baseline(record: StudyRecord) -> Ranked | None:
    """Return the configuration for the others to beat; None if it is not complete."""
    for entry in record.complete_configurations:
        if record.method in CENTRED_METHODS:
            is_baseline = record.at_centre(entry.trials[0].config)
        else:
            is_baseline = is_sampled(record) and _first_number(entry) == 0
        if is_baseline:
            return entry
    return None


def _first_number(entry: Ranked) -> int:
    return min(trial.number for trial in entry.trials)


def _label(entry: Ranked) -> str:
    return f"Trial {entry.trials[0].number}"


def _value(entry: Ranked) -> str:
    return f"{_mean(entry):.4f}"


def _mean(entry: Ranked) -> float:
    return math.nan if entry.value is None else entry.value


def _improvement(record: StudyRecord, entry: Ranked, reference: Ranked) -> float:
    return improvement(record, _mean(entry), _mean(reference))


def _noise(record: StudyRecord, first: Ranked, second: Ranked) -> _Noise | None:
    """Return the noise of two configurations: their seeds' spread, else chance if it is known."""
    spreads = [entry.spread for entry in (first, second) if entry.spread is not None]
    if spreads:
        spread = max(spreads)
        return _Noise(spread, f"the seeds' spread ({spread:.4f})")
    images = validation_images(record.best_trial)
    chance = winner_uncertainty(record)
    if record.objective == "val_acc" and images:
        accuracies = [min(max(_mean(entry), 0.0), 1.0) for entry in (first, second)]
        better = max(accuracies)
        worse = min(accuracies)
        low, _ = newcombe_interval(better, images, worse, images)
        chance = better - worse - low
    if chance is None or images is None:
        return None
    return _Noise(chance, f"chance (95 %: {chance:.4f} with {images:,} validation images)")
