"""Draws the importance of each searched field, by PED-ANOVA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import counted, listed, sentence
from pipeline.report.plots.style import BLUE, drawable_text, titled_figure, use_light_frame
from sweeps.analysis.importance import MIN_TRIALS, Importance, Share, importance
from sweeps.analysis.record import StudyRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class ImportanceInfo:
    """How much each searched dimension decided the value."""

    study: str
    importance: Importance


def importance_info(record: StudyRecord) -> ImportanceInfo | None:
    """Estimate the importance; None if nothing was searched or no trial has a value."""
    estimate = importance(record)
    if not record.dimensions or not estimate.trials:
        return None
    return ImportanceInfo(study=record.name, importance=estimate)


def importance_alt(info: ImportanceInfo) -> str:
    """Tell the shares in falling order."""
    estimate = info.importance
    if estimate.shares:
        shares = ", ".join(f"{share.key} {_percent(share.share)}" for share in estimate.shares)
    else:
        shares = estimate.note or ""
    conditional = ""
    if estimate.conditional and estimate.trials >= MIN_TRIALS:
        texts = [
            f"{share.key} {share.note or _percent(share.share)}" for share in estimate.conditional
        ]
        conditional = f"conditional, among only the trials that have it: {listed(texts)}"
    return sentence(f"Importance among {counted(estimate.trials, 'trial')}: {shares}", conditional)


def _percent(share: float | None) -> str:
    if share is None:
        return ""
    if share >= 0.005:
        return f"{100 * share:.0f} %"
    return "<1 %"


def draw_importance(info: ImportanceInfo) -> Figure:
    """Draw a bar for each dimension, with conditional ones in a group of their own below.

    If no share could be computed, there is no bar but a note that says why.
    """
    estimate = info.importance
    groups = _groups(estimate)
    rows = [len(shares) for _, shares in groups]
    title = "Importance for being among the best third of trials"
    margin = 1.1 if rows else 0.7
    height = margin + 0.4 * sum(rows) + 0.4 * len(rows)
    figure = titled_figure(title, info.study, (8, height))
    if estimate.note:
        figure.supxlabel(estimate.note, x=0.01, ha="left", fontsize=10)
    if groups:
        height_ratios = [count + 0.6 for count in rows]
        grid = figure.subplots(
            len(groups), 1, sharex=True, squeeze=False, height_ratios=height_ratios
        )
        for axes, (group_title, shares) in zip(grid[:, 0], groups, strict=True):
            _draw_bars(axes, shares)
            axes.set_title(group_title, loc="left", fontsize=9)
        grid[-1, 0].set_xlabel("share of importance (%), PED-ANOVA")
    return figure


def _groups(estimate: Importance) -> list[tuple[str, Sequence[Share]]]:
    """The groups of bars with their titles; none if no dimension has a share."""
    groups: list[tuple[str, Sequence[Share]]] = []
    if estimate.shares:
        title = f"Searched in every trial ({estimate.trials}), adding up to 100 %"
        groups.append((title, estimate.shares))
    any_share = any(share.share is not None for share in estimate.conditional)
    if estimate.conditional and (estimate.shares or any_share):
        groups.append(
            ("Conditional: each among only the trials that have it", estimate.conditional)
        )
    return groups


def _draw_bars(axes: Axes, shares: Sequence[Share]) -> None:
    use_light_frame(axes)
    axes.grid(False, axis="y")
    for row, share in enumerate(shares):
        width = 100 * (share.share or 0)
        axes.barh(row, width, height=0.62, color=BLUE, zorder=2)
        note = ", ".join(filter(None, [_percent(share.share), share.note]))
        axes.text(width + 0.8, row, note, va="center", fontsize=9)
    axes.set_xlim(0, 108)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    names = [drawable_text(share.key, 40) for share in shares]
    axes.set_yticks(range(len(shares)), names, fontsize=9, parse_math=False)


PLOT = Plot(
    title="Importance",
    about="With enough trials each field has a bar: the longer, the more its value decided "
    "whether a trial came among the best third; a field with a short one may be set to what is "
    "cheapest.",
    info=importance_info,
    alt=importance_alt,
    draw=draw_importance,
)
