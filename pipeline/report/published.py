"""What a report says of published figures beside ours: rows, and sections as text. Knows no format and no store."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.grid import CLIP, Grid, grid, plain_value
from pipeline.report.problems import Row, class_name
from pipeline.system.text import clean
from sweeps.analysis.naming import config_text
from sweeps.analysis.published import ComparedFigure, Comparison, Variant
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import Score, complete_trials
from sweeps.spec.study_spec import CENTRED_METHODS

SPLITS = {"train": "training", "val": "validation", "test": "test"}
COLUMNS = (
    *("variant", "part", "figure", "split", "published"),
    *(f"{split}{fact}" for split in SPLITS for fact in ("", "_spread", "_seeds")),
    *("difference", "difference_with", "within_spread", "remark", "test_command"),
)
MAX_LINES = 20  # lines of a table of classes or epochs, and configurations listed
_KINDS = {"acc": "accuracy", "loss": "loss"}


@dataclass(frozen=True, kw_only=True)
class Section:
    """A titled table, and what else is to be said, a line each."""

    title: str
    laid: Grid
    lines: tuple[str, ...] = ()


def scoring_command(record: StudyRecord) -> str:
    """What scores all trials of a study on the test split."""
    return f"pipeline evaluate --all --name {shlex.quote(clean(record.name))}"


def rows(record: StudyRecord, found: Comparison) -> list[Row]:
    """One row for each published figure, epoch and class, and each configuration without any, by `COLUMNS`.

    Values are exact. Those of ours are means over seeds, by split, each with its spread and its number of seeds.
    """
    values = [
        _row(record, variant, part, name, compared)
        for variant in found.variants
        for part, name, compared in [
            *(("figure", c.name, c) for c in variant.figures),
            *(("epoch", c.name, c) for c in variant.epochs),
            *(("class", class_name(record, int(c.name)), c) for c in variant.classes),
        ]
    ]
    fields = record.varied_fields
    for entry in found.unnamed:
        blank = dict.fromkeys(COLUMNS)
        facts: Row = {
            "variant": clean(config_text(entry.trials[0], fields)),
            "part": "configuration",
        }
        score = Score.of(t.best.metrics.get("val/acc") for t in complete_trials(entry) if t.best)
        values.append(
            {**blank, **facts, **_facts("val", score), "remark": "no published figure is of it"}
        )
    return values


def _row(
    record: StudyRecord, variant: Variant, part: str, name: str, compared: ComparedFigure
) -> Row:
    return {
        "variant": clean(variant.reference.label),
        "part": part,
        "figure": name,
        "split": compared.split,
        "published": compared.published,
        **{
            key: value
            for split in SPLITS
            for key, value in _facts(split, compared.ours.get(split)).items()
        },
        "difference": plain_value(compared.difference),
        "difference_with": compared.against,
        "within_spread": compared.within,
        "remark": assessment(variant, compared),
        "test_command": scoring_command(record)
        if variant.unscored and compared.split != "train"
        else None,
    }


def _facts(split: str, score: Score | None) -> Row:
    values = (score.mean, score.spread, score.seeds) if score else (None, None, None)
    return dict(zip((split, f"{split}_spread", f"{split}_seeds"), values, strict=True))


def assessment(variant: Variant, compared: ComparedFigure) -> str:
    """What is to be thought of a difference, or why there is none."""
    if variant.entry is None:
        return "no trial matches"
    if not complete_trials(variant.entry):
        ends = sorted({clean(trial.end, 30) for trial in variant.entry.trials})
        return f"no complete trial: {', '.join(ends)}"
    if compared.published is None:
        return "no figure published"
    if not compared.comparable:
        return "not comparable"
    if compared.difference is None:
        return "not known of ours"
    words = {
        True: "within our seeds' spread",
        False: "beyond our seeds' spread",
        None: "one seed: no spread known",
    }
    return words[compared.within]


def summary_section(record: StudyRecord, found: Comparison, *, narrow: bool = False) -> Section:
    """Each published figure beside ours; ``narrow``: ours only on the split that the difference is taken with."""
    pairs = [(variant, compared) for variant in found.variants for compared in variant.figures]
    used = [
        split for split in SPLITS if split != "train" or any(c.split == "train" for _, c in pairs)
    ]
    values = [
        _narrow_row(variant, c) if narrow else _wide_row(variant, c, used) for variant, c in pairs
    ]
    names = list(values[0]) if values else ["variant"]
    return Section(
        title="Published figures", laid=grid(names, values), lines=tuple(_lines(record, found))
    )


def _wide_row(variant: Variant, compared: ComparedFigure, splits: Sequence[str]) -> Row:
    return {
        "variant": clean(variant.reference.label),
        "figure": _KINDS[compared.name.split("_")[1]],
        "published": _number(compared.published),
        "on": SPLITS[compared.split],
        **{
            f"ours, {SPLITS[split]}": _score(compared.ours.get(split), compared, split)
            for split in splits
        },
        "difference": _number(compared.difference, "+"),
        "taken with": _with(compared),
        "verdict": assessment(variant, compared),
    }


def _narrow_row(variant: Variant, compared: ComparedFigure) -> Row:
    split = compared.against or next(iter(compared.ours), "")
    short = assessment(variant, compared).removesuffix(" our seeds' spread").partition(":")[0]
    return {
        "variant": clean(variant.reference.label) if compared is variant.figures[0] else "",
        "figure": compared.name,
        "published": _number(compared.published),
        "ours": _score(compared.ours.get(split), compared, split),
        "on": split,
        "differ": _number(compared.difference, "+"),
        "verdict": short.replace("comparable", "alike"),
    }


def _number(value: float | None, sign: str = "") -> str:
    # and never -0.0000
    if value is None:
        return ""
    return f"{round(value, 4) + 0.0:{sign}.4f}"


def _score(score: Score | None, compared: ComparedFigure, split: str) -> str:
    if score is None:
        if split == "test" and compared.ours and compared.split != "train":
            return "not scored yet"
        return ""
    return (
        _number(score.mean)
        + ("" if score.spread is None else f" ± {score.spread:.4f}")
        + f" ({score.seeds})"
    )


def _with(compared: ComparedFigure) -> str:
    if compared.against is None:
        return ""
    return SPLITS[compared.against] + ("" if compared.against == compared.split else ", not test")


def _lines(record: StudyRecord, found: Comparison) -> list[str]:
    """What the table does not say: how to read it, notes, what is missing on either side."""
    if record.deviations:
        lines = [f"Not as in the study file: {clean(record.deviations, 400)}."]
    else:
        lines = []
    lines += [
        "Ours: mean ± sample standard deviation (the spread) over the complete seeds (how many), at the best epoch.",
        "The difference is ours less the published one; within or beyond the spread of our seeds.",
    ]
    if any(variant.unscored for variant in found.variants):
        lines.append(
            f"Not all is scored on the test split yet; this does it: {scoring_command(record)}"
        )
    for variant in found.variants:
        name = clean(variant.reference.label, CLIP)
        reference = variant.reference
        if variant.matches > 1:
            which = "the centre" if record.method in CENTRED_METHODS else "the best"
            lines.append(
                f"{name}: {variant.matches} configurations match, {which} of them is shown."
            )
        if reference.incomparable:
            lines.append(
                f"{name}: {', '.join(map(clean, reference.incomparable))}: not comparable."
            )
        if reference.note:
            lines.append(f"{name}: {clean(reference.note, 400)}")
    missing = [clean(v.reference.label, CLIP) for v in found.variants if v.entry is None]
    if missing:
        lines.append(f"Published, but no trial matches: {'; '.join(missing)}.")
    if found.unnamed:
        lines.append(
            f"Of these configurations nothing is published: {_names(record, found.unnamed)}."
        )
    return lines


def _names(record: StudyRecord, entries: Sequence[Ranked]) -> str:
    fields = record.varied_fields
    names = [
        clean(config_text(e.trials[0], fields), 80)
        + ("" if e.value is None else f" ({record.objective} {e.value:.4f})")
        for e in entries[:MAX_LINES]
    ]
    more = [f"{len(entries) - MAX_LINES} more"] if len(entries) > MAX_LINES else []
    return "; ".join(names + more)


def detail_sections(record: StudyRecord, found: Comparison) -> list[Section]:
    """The published figures epoch by epoch and class by class: tables of their own."""
    sections = []
    for variant in found.variants:
        name = clean(variant.reference.label, CLIP)
        if variant.epochs:
            laid = _detail([("epoch", int(c.name), c) for c in variant.epochs], ("val", "test"))
            title = f"Published test accuracy epoch by epoch: {name}"
            scored = any("test" in c.ours for c in variant.epochs)
            kept = record.keep_checkpoints == "all"
            if kept:
                how = f"{scoring_command(record)} --each-epoch"
            else:
                how = "a study with keep_checkpoints: all can be scored so"
            hint = () if scored else (f"Ours on the test split after each epoch: {how}",)
            sections.append(Section(title=title, laid=laid, lines=hint))
        by_class = (_by_class(record, variant, split) for split in ("train", "test"))
        sections += [section for section in by_class if section is not None]
    return sections


def _by_class(record: StudyRecord, variant: Variant, split: str) -> Section | None:
    """The published accuracies of each class on one split; of many the largest differences."""
    classes = tuple(c for c in variant.classes if c.split == split)
    if not classes:
        return None
    title = (
        f"Published {SPLITS[split]} accuracy class by class: {clean(variant.reference.label, CLIP)}"
    )
    if len(classes) > MAX_LINES:
        title += f" (the {MAX_LINES} largest differences of {len(classes)})"
        classes = tuple(sorted(classes, key=lambda c: -abs(c.difference or 0.0)))[:MAX_LINES]
    ours = ("train",) if split == "train" else ("val", "test")
    return Section(
        title=title,
        laid=_detail([("class", class_name(record, int(c.name)), c) for c in classes], ours),
    )


def _detail(lines: Sequence[tuple[str, object, ComparedFigure]], splits: Sequence[str]) -> Grid:
    values: list[Row] = [
        {
            head: name,
            "published": c.published,
            **{f"ours, {SPLITS[s]}": _score(c.ours.get(s), c, s) for s in splits},
            "difference": _number(c.difference, "+"),
            "taken with": _with(c),
        }
        for head, name, c in lines
    ]
    return grid(list(values[0]), values)
