"""Pure: health checks of a study's winner: its lead, its learning curve, its test score."""

from __future__ import annotations

import math

from pipeline.report.checks.base import Check, Level, Seen, improvement
from sweeps.analysis.intervals import newcombe_interval
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.verdict import Verdict, doubts
from sweeps.spec.study_spec import CENTRED_METHODS, OBJECTIVES
from sweeps.trial import TrialResult

ENOUGH = (
    5  # configurations with a value: among fewer, a lead over the first says little of a search
)
LARGE_GAP = (
    0.02  # of accuracy, training less validation: less is hardly worth anything that could be done
)
RISE = 1.1  # of the validation loss over its lowest: a curve wavers by some percent
FALL = 0.95  # of the validation loss in the last epochs, where that ranks
LAST = 4  # the last epochs are the last one in so many


def gain(seen: Seen) -> Check | None:
    """Whether the winner is better than the configuration that the study began with, or that it is laid around."""
    entries = seen.complete
    first = _baseline(seen)
    if (
        first is None
        or len(entries) < 2
        or len({trial.config.group for trial in seen.trained}) < ENOUGH
    ):
        return None
    again = _again(seen, first)
    if again is not None:
        return again
    best = entries[0]
    centred = seen.record.method in CENTRED_METHODS
    name = f"the {'centre' if centred else 'first configuration'}, trial {_first_number(first)}"
    if centred:
        remedy = "keep the centre"
    else:
        remedy = "keep the first, search other ranges or train longer"
    if best is first:
        others = len(entries) - 1
        return Check(
            name="gain",
            level="note" if centred else "warning",
            text=f"No other complete configuration ({others}) beats {name} ({_value(first)}): {remedy}.",
        )
    ahead = _ahead(seen, best, first)
    noise = _noise(seen, best, first)
    if noise is None:
        return None
    said = f"{_label(best)} ({_value(best)}) is {ahead:.4f} better than {name} ({_value(first)})"
    if ahead > noise[0]:
        return Check(name="gain", level="good", text=f"{said}, beyond {noise[1]}.")
    text = f"{said}, no more than {noise[1]}: the search may not have paid; {remedy}."
    return Check(name="gain", level="note" if centred else "warning", text=text)


def _again(seen: Seen, first: Ranked) -> Check | None:
    """The same, where the first configuration was trained again with the finalists: they know better."""
    found = () if seen.verdict is None else seen.verdict.finalists
    one = next(
        (one for one in found if one.trial.config.group == first.trials[0].config.group), None
    )
    if one is None or one.against is None or one.against.tie:  # of a tie, the check of ties speaks
        return None
    by = f"{abs(one.against.difference):.4f} better than"
    if one.against.outcome == "behind":
        text = f"The first configuration is {by} the best finalist, beyond chance, but not with all of its seeds."
        return Check(name="gain", level="warning", text=text)
    text = f"The best finalist is {by} the first configuration, beyond chance."
    return Check(name="gain", level="good", text=text)


def tie(seen: Seen) -> Check | None:
    """Whether the winner is ahead of the next ones by more than chance, or its fresh seeds by more than theirs."""
    if seen.verdict is not None and len(seen.verdict.finalists) > 1:
        return _tie_of_finalists(seen.verdict)
    ahead = seen.record.lead
    if ahead is None:
        return None
    first = ahead.first
    second = ahead.second
    noise = _noise(seen, first, second)
    if noise is None:
        return None
    remedy = f"`pipeline finalists {seen.record.name}` trains the best again with fresh seeds"
    leads = f"leads the next, trial {second.trials[0].number}, by {ahead.difference:.4f}"
    level = f"is level with trial {second.trials[0].number} ({_value(second)})"
    said = f"{_label(first)} {leads if ahead.difference else level}"
    near = sum(_ahead(seen, first, entry) <= noise[0] for entry in seen.complete) - 1
    if not near:
        return Check(name="tie", level="good", text=f"{said}, beyond {noise[1]}.")
    text = (
        f"{said}; {near} of the {len(seen.complete) - 1} others are within {noise[1]} of it: "
        f"which of them is first may be luck; {remedy}."
    )
    return Check(name="tie", level="warning" if ahead.spread is not None else "note", text=text)


def _tie_of_finalists(verdict: Verdict) -> Check:
    found = doubts(verdict)
    if not found:
        rule = "the 95 % intervals of the differences, seed by seed, leave out 0"
        text = f"The best of {len(verdict.finalists)} finalists is ahead of each of the others: {rule}."
        return Check(name="tie", level="good", text=text)
    remedies = ["Of a tie, take the cheapest."] if verdict.tied else []
    remedies += (
        ["See why a seed of it failed before you take the winner."] if verdict.behind else []
    )
    level: Level = "warning" if remedies else "note"
    return Check(name="tie", level=level, text=f"Finalists: {' '.join([*found, *remedies])}")


def test_gap(seen: Seen) -> Check | None:
    """Whether the winner's test accuracy differs from its validation accuracy by more than chance."""
    trial = seen.winner
    verdict = seen.verdict
    if verdict is not None and (found := verdict.winner.gap) is not None:
        said = f"The best finalist's validation accuracy is {_above(found.difference)} its test accuracy"
        low = found.low
        high = found.high
    elif (
        trial is None
        or trial.best is None
        or not trial.test
        or "acc" not in trial.test
        or not seen.images
    ):
        return None
    else:
        val = trial.best.metrics["val/acc"]
        test = trial.test["acc"]
        # Where it was not counted: test splits are as large as validation splits, or larger.
        low, high = newcombe_interval(
            val, seen.images, test, int(trial.test.get("images", seen.images))
        )
        said = (
            f"Trial {trial.number}'s validation accuracy {val:.4f} is {_above(val - test)} "
            f"its test accuracy {test:.4f}"
        )
    said += f" (95 %: {low:+.4f} to {high:+.4f})"
    if low > 0:
        remedy = (
            "report the test score; fewer trials or a larger validation split would flatter less"
        )
        return Check(name="test_gap", level="warning", text=f"{said}, beyond chance: {remedy}.")
    if high < 0:
        text = f"{said}, beyond chance: the test images are easier; compare scores of the same split only."
        return Check(name="test_gap", level="note", text=text)
    return Check(name="test_gap", level="good", text=f"{said}, within chance.")


def _above(difference: float) -> str:
    return f"{abs(difference):.4f} {'above' if difference >= 0 else 'below'}"


def overfitting(seen: Seen) -> Check | None:
    """Whether the winner knows its training images better than others, and went on losing while it learned them."""
    trial = seen.winner
    images = seen.images
    if trial is None or trial.best is None or not images:
        return None
    train, val = (trial.best.metrics.get(f"{split}/acc") for split in ("train", "val"))
    losses = {
        row.epoch: value
        for row in trial.history
        if (value := row.metrics.get("val/loss")) is not None
    }
    if train is None or val is None or not losses:
        return None
    known = seen.record.facts.images
    low, high = newcombe_interval(train, known.get("train", images), val, images)
    lowest = min(losses, key=losses.__getitem__)
    last = max(losses)
    said = f"training accuracy {train:.4f} and validation {val:.4f} at trial {trial.number}'s best epoch"
    loss = f"the validation loss rose from {losses[lowest]:.4f} at epoch {lowest} to {losses[last]:.4f} at epoch {last}"
    if low <= 0 or train - val < LARGE_GAP or losses[last] < RISE * losses[lowest]:
        loss = loss if lowest < last else "the validation loss was lowest at the end"
        return Check(name="overfitting", level="good", text=f"No overfitting: {said}; {loss}.")
    text = (
        f"Overfitting: {said}, a gap of {train - val:.4f} (95 %: {low:.4f} to {high:.4f}), and {loss}: "
        "try more dropout, weight_decay or augment, or stop earlier (patience)."
    )
    return Check(name="overfitting", level="warning", text=text)


def underfitting(seen: Seen) -> Check | None:
    """Whether the winner was still getting better when its epochs were over."""
    trial = seen.winner
    if trial is None or len(trial.history) < max(2, trial.config.epochs):
        return None
    epochs = trial.config.epochs
    last = max(1, round(epochs / LAST))
    before = _best_until(seen, trial, epochs - last)
    if before is None or trial.value is None:
        return None
    better = improvement(seen.record, trial.value, before)
    # One network's answers after two epochs are closer than those of two networks: half of that chance will do.
    if seen.record.objective == "val_loss":
        enough = (1 - FALL) * before
    else:
        enough = (seen.chance or math.inf) / 2
    said = f"Trial {trial.number} is best at epoch {trial.best_epoch} of {epochs}"
    if trial.best_epoch == epochs and better > enough:
        words = "epoch" if last == 1 else f"{last} epochs"
        text = (
            f"{said} and got better by {better:.4f} in its last {words}: train longer, as with "
            f"--epochs {2 * epochs} under another --name."
        )
        return Check(name="underfitting", level="note", text=text)
    if trial.best_epoch == epochs:
        rest = f", but better by only {better:.4f} than {last} before"
    else:
        rest = ""
    return Check(
        name="underfitting", level="good", text=f"{said}{rest}: it was trained long enough."
    )


def _best_until(seen: Seen, trial: TrialResult, epoch: int) -> float | None:
    key = OBJECTIVES[seen.record.objective][0]
    values = [value for row in trial.history[:epoch] if (value := row.metrics.get(key)) is not None]
    return (max if seen.record.maximize else min)(values, default=None)


def _baseline(seen: Seen) -> Ranked | None:
    """The configuration that the others are to beat, where it is complete."""
    if seen.record.method in CENTRED_METHODS:
        return next(
            (entry for entry in seen.complete if seen.record.at_centre(entry.trials[0].config)),
            None,
        )
    return next(
        (entry for entry in seen.complete if seen.sampled and _first_number(entry) == 0), None
    )


def _first_number(entry: Ranked) -> int:
    return min(trial.number for trial in entry.trials)


def _label(entry: Ranked) -> str:
    return f"Trial {entry.trials[0].number}"


def _value(entry: Ranked) -> str:
    return f"{_mean(entry):.4f}"


def _mean(entry: Ranked) -> float:
    if entry.value is None:
        return math.nan
    return entry.value


def _ahead(seen: Seen, first: Ranked, second: Ranked) -> float:
    return improvement(seen.record, _mean(first), _mean(second))


def _noise(seen: Seen, first: Ranked, second: Ranked) -> tuple[float, str] | None:
    """What a difference of two configurations has to exceed, and what that is: their seeds' spread, else chance."""
    spreads = [entry.spread for entry in (first, second) if entry.spread is not None]
    if spreads:
        return max(spreads), f"the seeds' spread ({max(spreads):.4f})"
    chance = seen.chance
    if seen.record.objective == "val_acc" and seen.images:
        better, worse = sorted(
            (min(max(_mean(entry), 0.0), 1.0) for entry in (first, second)), reverse=True
        )
        chance = better - worse - newcombe_interval(better, seen.images, worse, seen.images)[0]
    if chance is None:
        return None
    return chance, f"chance (95 %: {chance:.4f} with {seen.images:,} validation images)"
