"""Writes what a study did as the paragraphs "methods" of a thesis, ready to be edited."""

from __future__ import annotations

from pipeline.report.provenance import NO_SETTINGS, looks_text
from pipeline.report.scores import PERCENT, plural, unit_of
from pipeline.system.text import clip
from sweeps.analysis.naming import config_text, value_text
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.verdict import Verdict
from sweeps.spec.study_spec import PLANNED_METHODS
from sweeps.trial import TrialResult

_OBJECTIVES = {
    "val_acc": "accuracy",
    "val_loss": "loss",
    "balanced_acc": "balanced accuracy (the mean of the accuracies of the classes)",
    "macro_f1": "macro F1",
}
_METHODS = {
    "tpe": "the tree-structured Parzen estimator of Optuna",
    "gp": "Bayesian optimisation with a Gaussian process",
    "random": "random search",
    "grid": "a grid of all combinations",
    "zip": "a list of combinations",
    "one_factor": "varying one factor at a time around a centre",
    "ablate": "setting each choice of an earlier study's best configuration back in turn",
}
_CLIP = 1200  # characters of a paragraph
_TOLD_ELSEWHERE = (*NO_SETTINGS, "train_images")
_GIVEN = 5  # configurations of a kind that are written out


def methods_paragraphs(record: StudyRecord) -> list[str]:
    """Say what a study did: its images, search, training, selection, finalists and test scores.

    Only what was recorded is said, so that nothing is claimed that was not done.
    """
    paragraphs = [
        _images(record),
        _search(record),
        _given(record),
        _training(record),
        _selection(record),
        _finalists(record),
        looks_text(record),
        _machine(record),
    ]
    return [clip(text, _CLIP) for text in paragraphs if text]


def _images(record: StudyRecord) -> str:
    """The data set and its splits."""
    spec = record.spec
    facts = record.facts
    text = f"The data set was {record.dataset}"
    if record.classes:
        text += f", with {len(record.classes)} classes"
    if facts.shape:
        channels, height, width = facts.shape
        text += f" and images of {width} x {height} pixels in {plural(channels, 'channel')}"
    text += "."
    counts = [f"{count:,} for {_SPLITS.get(name, name)}" for name, count in facts.images.items()]
    if counts:
        text += f" Of its images, {' and '.join(counts)} were used"
        text += ", apart from the test split."
    tested = _test_images(record)
    if tested:
        text += f" The test split has {plural(tested, 'image')}."
    if spec.split_file:
        text += f" The splits are those of the file {spec.split_file}."
    elif spec.split_seed is not None:
        text += f" The splits were made with the seed {spec.split_seed}."
    part = spec.fixed.get("train_images")
    if part is not None:
        text += f" Only {part:,} of the training images were trained on."
    if spec.folds:
        text += (
            f" Each configuration was trained {spec.folds} times, each time with another of "
            f"{spec.folds} folds of training and validation images for validation."
        )
    elif spec.split_seeds:
        text += (
            f" Each configuration was trained {spec.split_seeds} times, each time on another "
            "random draw of training and validation images."
        )
    return text


def _test_images(record: StudyRecord) -> int:
    """The number of test images; 0 as long as no network was scored on them."""
    results = [*record.results, *(record.finalists.results if record.finalists else ())]
    return max((int(one.test.get("images", 0)) for one in results if one.test), default=0)


_SPLITS = {"train": "training", "val": "validation", "test": "testing"}


def _search(record: StudyRecord) -> str:
    """The searched space, the method, and the number of trials."""
    spec = record.spec
    tried = [one for one in record.results if one.has_ended and one.duplicate_of is None]
    if not record.applying:
        return ""
    space = "; ".join(f"{dimension.key}: {dimension}" for dimension in record.applying)
    method = _METHODS.get(record.method, record.method)
    if _drawn(record) == 0 and record.method not in PLANNED_METHODS:
        text = (
            f"No configuration was drawn by the search, which would have been {method}, over "
            f"{space}."
        )
    else:
        text = f"Configurations were searched by {method}, over {space}."
        text += f" The seed of the search was {spec.seed}."
    text += f" {plural(len(tried), 'trial')} had ended"
    if record.promoted is not None and record.whole_epochs:
        share = 100 * record.epochs_trained / record.whole_epochs
        text += (
            f"; by asynchronous successive halving, trials that lagged were paused and went on "
            f"only if their place among the others allowed, so that {record.epochs_trained:,} of "
            f"{record.whole_epochs:,} epochs ({share:.0f} %) were trained"
        )
    elif spec.pruner not in (None, "none"):
        text += f"; trials that lagged were stopped early (pruner {spec.pruner})"
    if spec.repeats > 1 and not spec.folds and not spec.split_seeds:
        text += f"; each configuration was trained with {plural(spec.repeats, 'seed')}"
    return f"{text}."


def _drawn(record: StudyRecord) -> int:
    """The number of configurations that were not given before the search."""
    return len({one.config.group for one in record.results} - record.given_first.keys())


def _given(record: StudyRecord) -> str:
    """The configurations that were tried before those of the search, as what they are."""
    given = record.given_first
    if not given:
        return ""
    trials = {one.config.group: one for one in reversed(record.results)}
    parts = []
    for kind, (one, several) in _KINDS.items():
        groups = [group for group, its_kind in given.items() if its_kind == kind]
        if not groups:
            continue
        texts = [_settings(record, trials[group]) for group in groups[:_GIVEN]]
        if len(groups) > _GIVEN:
            texts.append(f"and {len(groups) - _GIVEN} more")
        parts.append(f"{len(groups)} {one if len(groups) == 1 else several} ({'; '.join(texts)})")
    text = f"These configurations were tried first: {', then '.join(parts)}."
    drawn = _drawn(record)
    if drawn and record.method not in PLANNED_METHODS:
        text += f" The search then drew {plural(drawn, 'configuration')}."
    return text


_KINDS = {
    "baseline": ("baseline to compare with", "baselines to compare with"),
    "start": ("configuration given to begin with", "configurations given to begin with"),
    "earlier study": (
        "configuration taken from earlier studies",
        "configurations taken from earlier studies",
    ),
}


def _settings(record: StudyRecord, trial: TrialResult) -> str:
    """The configuration of a trial, by the family, the optimizer and what was searched."""
    return config_text(trial, list(dict.fromkeys(("family", "optimizer", *record.searched))))


def _training(record: StudyRecord) -> str:
    """What all trials share."""
    parts = []
    if record.spec.epochs:
        parts.append(f"A trial was trained for at most {plural(record.spec.epochs, 'epoch')}.")
    fixed = {
        name: value
        for name, value in record.spec.fixed.items()
        if value is not None and name not in _TOLD_ELSEWHERE
    }
    if fixed:
        values = ", ".join(f"{name} {value_text(value)}" for name, value in fixed.items())
        parts.append(f"All trials had in common: {values}.")
    return " ".join(parts)


def _selection(record: StudyRecord) -> str:
    """How the best epoch and the best configuration were chosen, and which it is."""
    objective = _OBJECTIVES.get(record.objective, record.objective)
    best = "highest" if record.maximize else "lowest"
    text = (
        f"Of each trial the epoch with the {best} {objective} on the validation split was kept, "
        "and configurations were ranked by it"
    )
    if record.spec.repeats > 1:
        text += ", as the mean over their repeats"
    text += "; the test split was not read in the search."
    if record.complete_configurations:
        entry = record.complete_configurations[0]
        value = unit_of(record.objective).value(entry.value or 0.0)
        trial = entry.trials[0]
        what = _WHAT.get(record.given_first.get(trial.config.group, ""), "")
        text += f" The first in the ranking was {what}{_settings(record, trial)}, with {value}."
    return text


# Before the settings of a configuration that no search has drawn.
_WHAT = {
    "baseline": "the baseline ",
    "start": "one of those given to begin with, ",
    "earlier study": "one taken from earlier studies, ",
}


def _finalists(record: StudyRecord) -> str:
    """How the finalists were trained and judged; that there were none, if so."""
    verdict = record.final_verdict
    if record.finalists is None:
        return "No configuration was trained again with other seeds after the search."
    if verdict is None:
        return "Finalists of the search are being trained again; not all of their runs have ended."
    spec = record.finalists.spec
    seeds = max(len(finalist.entry.trials) for finalist in verdict.finalists)
    how = f"with {plural(seeds, 'new seed')} each"
    if spec.folds:
        how = f"each on {spec.folds} folds of the training and validation images"
    elif spec.split_seeds:
        how = f"each on {spec.split_seeds} new draws of the training and validation images"
    count = plural(len(verdict.finalists), "configuration")
    which = "the first in the ranking"
    baselines = sum(record.is_baseline(finalist.trial.config) for finalist in verdict.finalists)
    if baselines == len(verdict.finalists):
        which = "the first in the ranking, of baselines alone"
    elif baselines:
        which += f", with {plural(baselines, 'baseline')} among them"
    text = f"After the search {count} ({which}) were trained again, {how}"
    text += f", and ranked by their mean on the validation split.{_outcome(record, verdict)}"
    known = [one.against for one in verdict.finalists if one.against is not None]
    if any(difference.half_width is not None for difference in known):
        over = "draws of training and validation images" if known[0].redraws else "seeds and images"
        text += (
            f" Differences have 95 % intervals over {over}, which hold for all pairs of finalists "
            "together (Tukey and Kramer)."
        )
    return text


def _outcome(record: StudyRecord, verdict: Verdict) -> str:
    """The winner of the finalists with its scores, and what is known of its lead."""
    winner = verdict.winner
    if winner.value is None:
        return ""
    what = "the baseline " if record.is_baseline(winner.trial.config) else ""
    text = f" The winner, {what}{_settings(record, winner.trial)}, reached "
    text += f"{unit_of(record.objective).mean(winner.value)} on the validation split"
    if winner.test is not None:
        text += f" and an accuracy of {PERCENT.mean(winner.test)} on the test split"
        if winner.test_interval is not None:
            text += f" (95 % interval {PERCENT.interval(*winner.test_interval)})"
    text += " (mean and sample standard deviation)."
    others = len(verdict.undecided) + len(verdict.equal)
    if others:
        text += f" {plural(others, 'other finalist')} could not be told apart from it."
    return text


def _machine(record: StudyRecord) -> str:
    """The versions and the settings of the machine."""
    facts = record.facts
    parts = []
    if facts.versions:
        versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
        parts.append(f"The study was begun with {versions}.")
    runtime = {name: value for name, value in facts.runtime.items() if name != "augment"}
    if runtime:
        values = ", ".join(f"{name} {value_text(value)}" for name, value in runtime.items())
        parts.append(f"It was computed with: {values}.")
    return " ".join(parts)
