"""Sets published figures beside ours: rows for JSON and CSV, and sections of text."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pipeline.report.grid import CLIP, Grid, Row, Section, finite_value, make_grid
from pipeline.report.problems import class_name
from pipeline.report.ranked import shown_entries
from pipeline.report.scores import Unit, score_values, unit_of
from pipeline.system.text import clip
from sweeps.analysis.naming import config_text
from sweeps.analysis.published import ComparedFigure, Comparison, Variant, compare
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import Score, complete_trials
from sweeps.spec.study_spec import CENTRED_METHODS

SPLITS = {"train": "training", "val": "validation", "test": "test"}
# Columns of published.csv.
COLUMNS = (
    "variant",
    "part",
    "figure",
    "split",
    "published",
    *(f"{split}{suffix}" for split in SPLITS for suffix in ("", "_spread", "_seeds")),
    "difference",
    "difference_with",
    "within_spread",
    "remark",
    "test_command",
)
MAX_LINES = 20  # rows of a table of classes, and configurations in a list
_KINDS = {"acc": "accuracy", "loss": "loss"}
_NOTE_CLIP = 400  # characters of a note


def compare_published(record: StudyRecord) -> Comparison | None:
    """Compare a study with the published figures; None if there are none."""
    return compare(record, shown_entries(record))


def scoring_command(record: StudyRecord) -> str:
    """The command for scoring all trials of a study on the test split."""
    return f"pipeline evaluate --all --name {shlex.quote(record.name)}"


# As values


def rows(record: StudyRecord, comparison: Comparison) -> list[Row]:
    """A row of `COLUMNS` for each published figure, epoch and class.

    Configurations without published figures follow. Values are exact. Our figures are means over
    seeds, by split, with their spread and number of seeds.
    """
    values: list[Row] = []
    for variant in comparison.variants:
        values += _figure_rows(record, variant, "figure", variant.figures)
        values += _figure_rows(record, variant, "epoch", variant.epochs)
        values += _figure_rows(record, variant, "class", variant.classes)
    values += [_unnamed_row(record, entry) for entry in comparison.unnamed]
    return values


def _figure_rows(
    record: StudyRecord, variant: Variant, part: str, figures: Sequence[ComparedFigure]
) -> list[Row]:
    return [_figure_row(record, variant, part, figure) for figure in figures]


def _figure_row(record: StudyRecord, variant: Variant, part: str, figure: ComparedFigure) -> Row:
    name = figure.name
    if part == "class":
        name = class_name(record, int(figure.name))
    row: Row = {
        "variant": variant.reference.label,
        "part": part,
        "figure": name,
        "split": figure.split,
        "published": figure.published,
    }
    for split in SPLITS:
        row |= score_values(split, figure.ours.get(split))
    command = None
    if variant.unscored and figure.split != "train":
        command = scoring_command(record)
    return {
        **row,
        "difference": finite_value(figure.difference),
        "difference_with": figure.against,
        "within_spread": figure.within,
        "remark": assessment(variant, figure),
        "test_command": command,
    }


def _unnamed_row(record: StudyRecord, entry: Ranked) -> Row:
    """The row of a configuration without published figures: its validation accuracy."""
    trials = complete_trials(entry)
    score = Score.of(trial.best.metrics.get("val/acc") for trial in trials if trial.best)
    return {
        **dict.fromkeys(COLUMNS),
        "variant": config_text(entry.trials[0], record.varied_fields),
        "part": "configuration",
        **score_values("val", score),
        "remark": "no published figure is of it",
    }


def assessment(variant: Variant, figure: ComparedFigure) -> str:
    """Assess a difference from a published figure, or say why there is none."""
    if figure.difference is None or not complete_trials(variant.entry):
        return _missing_difference(variant, figure)
    if figure.within is None:
        return "one seed: no spread known"
    return "within our seeds' spread" if figure.within else "beyond our seeds' spread"


def _missing_difference(variant: Variant, figure: ComparedFigure) -> str:
    """Say why there is no difference from a published figure."""
    if variant.entry is None:
        return "no trial matches"
    if not complete_trials(variant.entry):
        ends = sorted({clip(trial.end, 30) for trial in variant.entry.trials})
        return f"no complete trial: {', '.join(ends)}"
    if figure.published is None:
        return "no figure published"
    if not figure.comparable:
        return "not comparable"
    return "not known of ours"


# As text


def sections(record: StudyRecord, comparison: Comparison) -> list[Section]:
    """The published figures beside ours: a summary, then epoch by epoch and class by class."""
    return [summary_section(record, comparison), *detail_sections(record, comparison)]


def summary_section(
    record: StudyRecord, comparison: Comparison, *, narrow: bool = False
) -> Section:
    """Each published figure beside ours.

    Args:
        record: the study.
        comparison: with the published figures.
        narrow: show ours only on the split of the difference, for a terminal.
    """
    pairs = [(variant, figure) for variant in comparison.variants for figure in variant.figures]
    if narrow:
        values = [_narrow_row(variant, figure) for variant, figure in pairs]
    else:
        # Our training figures are shown only beside published ones.
        train = any(figure.split == "train" for _, figure in pairs)
        splits = [split for split in SPLITS if split != "train" or train]
        values = [_wide_row(variant, figure, splits) for variant, figure in pairs]
    columns = list(values[0]) if values else ["variant"]
    return Section(
        title="Published figures",
        grid=make_grid(columns, values),
        lines=tuple(_summary_lines(record, comparison)),
    )


def _wide_row(variant: Variant, figure: ComparedFigure, splits: Sequence[str]) -> Row:
    kind = figure.name.split("_")[1]
    return {
        "variant": variant.reference.label,
        "figure": _KINDS[kind],
        "published": _value_text(figure),
        "on": SPLITS[figure.split],
        **_our_scores(figure, splits),
        "difference": _difference_text(figure),
        "taken with": _taken_with(figure),
        "verdict": assessment(variant, figure),
    }


def _narrow_row(variant: Variant, figure: ComparedFigure) -> Row:
    """A row of the terminal's table; each variant is named once."""
    split = figure.against or next(iter(figure.ours), "")
    remark = assessment(variant, figure).removesuffix(" our seeds' spread").partition(":")[0]
    return {
        "variant": variant.reference.label if figure is variant.figures[0] else "",
        "figure": figure.name,
        "published": _value_text(figure),
        "ours": _score_text(figure, split),
        "on": split,
        "differ": _difference_text(figure),
        "verdict": remark.replace("comparable", "alike"),
    }


def _our_scores(figure: ComparedFigure, splits: Sequence[str]) -> Row:
    return {f"ours, {SPLITS[split]}": _score_text(figure, split) for split in splits}


def _unit(figure: ComparedFigure) -> Unit:
    """The unit of a figure: all but losses are shares of images."""
    return Unit(percent=not figure.name.endswith("_loss"))


def _value_text(figure: ComparedFigure) -> str:
    return "" if figure.published is None else _unit(figure).value(figure.published)


def _difference_text(figure: ComparedFigure) -> str:
    difference = figure.difference
    return "" if difference is None else _unit(figure).difference(difference, sign=True)


def _score_text(figure: ComparedFigure, split: str) -> str:
    score = figure.ours.get(split)
    if score is None:
        if split == "test" and figure.ours and figure.split != "train":
            return "not scored yet"
        return ""
    return f"{_unit(figure).score(score)} ({score.seeds})"


def _taken_with(figure: ComparedFigure) -> str:
    """The split of our score in a difference."""
    if figure.against is None:
        return ""
    split = SPLITS[figure.against]
    return split if figure.against == figure.split else f"{split}, not test"


def _summary_lines(record: StudyRecord, comparison: Comparison) -> list[str]:
    """How to read the summary; notes; figures and configurations without a counterpart."""
    lines = []
    if record.deviations:
        lines.append(f"Not as in the study file: {clip(record.deviations, _NOTE_CLIP)}.")
    lines.append(
        "Ours: mean ± sample standard deviation (the spread) over the complete seeds (how many), "
        "at the best epoch."
    )
    lines.append(
        "The difference is ours less the published one; within or beyond the spread of our seeds."
    )
    if any(variant.unscored for variant in comparison.variants):
        command = scoring_command(record)
        lines.append(f"Not all is scored on the test split yet; this does it: {command}")
    for variant in comparison.variants:
        lines += _variant_lines(record, variant)
    missing = [_label(variant) for variant in comparison.variants if variant.entry is None]
    if missing:
        lines.append(f"Published, but no trial matches: {'; '.join(missing)}.")
    if comparison.unnamed:
        names = _unnamed_text(record, comparison.unnamed)
        lines.append(f"Of these configurations nothing is published: {names}.")
    return lines


def _variant_lines(record: StudyRecord, variant: Variant) -> list[str]:
    lines = []
    name = _label(variant)
    reference = variant.reference
    if variant.matches > 1:
        which = "the centre" if record.method in CENTRED_METHODS else "the best"
        lines.append(f"{name}: {variant.matches} configurations match, {which} of them is shown.")
    if reference.incomparable:
        lines.append(f"{name}: {', '.join(reference.incomparable)}: not comparable.")
    if reference.note:
        lines.append(f"{name}: {clip(reference.note, _NOTE_CLIP)}")
    return lines


def _label(variant: Variant) -> str:
    return clip(variant.reference.label, CLIP)


def _unnamed_text(record: StudyRecord, entries: Sequence[Ranked]) -> str:
    names = []
    for entry in entries[:MAX_LINES]:
        name = clip(config_text(entry.trials[0], record.varied_fields), 80)
        if entry.value is not None:
            name += f" ({record.objective} {unit_of(record.objective).value(entry.value)})"
        names.append(name)
    if len(entries) > MAX_LINES:
        names.append(f"{len(entries) - MAX_LINES} more")
    return "; ".join(names)


def detail_sections(record: StudyRecord, comparison: Comparison) -> list[Section]:
    """The published figures of each variant epoch by epoch and class by class."""
    found = []
    for variant in comparison.variants:
        found += [
            _epochs_section(record, variant),
            _classes_section(record, variant, "train"),
            _classes_section(record, variant, "test"),
        ]
    return [section for section in found if section is not None]


def _epochs_section(record: StudyRecord, variant: Variant) -> Section | None:
    """The published test accuracies after each epoch."""
    if not variant.epochs:
        return None
    lines = []
    if not any("test" in figure.ours for figure in variant.epochs):
        if record.keep_checkpoints == "all":
            how = f"{scoring_command(record)} --each-epoch"
        else:
            how = "a study with keep_checkpoints: all can be scored so"
        lines.append(f"Ours on the test split after each epoch: {how}")
    figures = [(int(figure.name), figure) for figure in variant.epochs]
    return Section(
        title=f"Published test accuracy epoch by epoch: {_label(variant)}",
        grid=_detail_grid("epoch", figures, ("val", "test")),
        lines=tuple(lines),
    )


def _classes_section(record: StudyRecord, variant: Variant, split: str) -> Section | None:
    """The published accuracies of the classes on a split; of many, the largest differences."""
    figures = [figure for figure in variant.classes if figure.split == split]
    if not figures:
        return None
    title = f"Published {SPLITS[split]} accuracy class by class: {_label(variant)}"
    if len(figures) > MAX_LINES:
        title += f" (the {MAX_LINES} largest differences of {len(figures)})"
        figures.sort(key=lambda figure: -abs(figure.difference or 0.0))
        figures = figures[:MAX_LINES]
    named = [(class_name(record, int(figure.name)), figure) for figure in figures]
    splits = ("train",) if split == "train" else ("val", "test")
    return Section(title=title, grid=_detail_grid("class", named, splits))


def _detail_grid(
    head: str, figures: Sequence[tuple[object, ComparedFigure]], splits: Sequence[str]
) -> Grid:
    """A table of named figures, a row each.

    Args:
        head: the column of the names.
        figures: with their names.
        splits: the splits of ours to show.
    """
    values: list[Row] = [
        {
            head: name,
            "published": _value_text(figure),
            **_our_scores(figure, splits),
            "difference": _difference_text(figure),
            "taken with": _taken_with(figure),
        }
        for name, figure in figures
    ]
    return make_grid(list(values[0]), values)
