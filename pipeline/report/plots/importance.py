"""Draws the importance of each searched field, by PED-ANOVA."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import counted, listed, sentence
from pipeline.report.plots.style import (
    BLUE,
    GREY,
    LIGHT,
    drawable_text,
    titled_figure,
    use_light_frame,
)
from sweeps.analysis.importance import MIN_CONFIGURATIONS, Importance, Share, importance
from sweeps.analysis.record import StudyRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOT_TOLD = "not told from noise"
_MAX_NAMES = 12  # of dimensions without a bar
_RIGHT_EDGE = 140  # of the axes, in per cent: beyond 100 is room for words


@dataclass(frozen=True, kw_only=True)
class ImportanceInfo:
    """How much each searched dimension decided the value."""

    importance: Importance


def importance_info(record: StudyRecord) -> ImportanceInfo | None:
    """Estimate the importance; None if nothing was searched or no trial has a value."""
    estimate = importance(record)
    if not record.dimensions or not estimate.configurations:
        return None
    return ImportanceInfo(importance=estimate)


def importance_alt(info: ImportanceInfo) -> str:
    """Tell the shares in falling order, those that are told from noise first."""
    estimate = info.importance
    counts = counted(estimate.configurations, "configuration")
    parts = [f"importance among {counts}"]
    if estimate.shares:
        parts[0] += f": {_told_apart(estimate.shares)}"
    else:
        parts[0] += f": {estimate.note}"
    if estimate.conditional and estimate.configurations >= MIN_CONFIGURATIONS:
        texts = _told_apart(estimate.conditional)
        parts.append(f"conditional, among only the configurations that have it: {texts}")
    return sentence(*parts)


def _told_apart(shares: Sequence[Share]) -> str:
    """The shares in words: first those told from noise, last those that are unknown."""
    told = [_words(share) for share in shares if share.is_told]
    noise = [_words(share) for share in shares if share.share is not None and not share.is_told]
    unknown = [_words(share) for share in shares if share.share is None]
    parts = [listed(told)] if told else []
    if noise:
        parts.append(f"{NOT_TOLD}: {listed(noise)}")
    if unknown:
        parts.append(listed(unknown))
    return "; ".join(parts)


def _words(share: Share) -> str:
    return " ".join(filter(None, [share.key, _percent(share.share), share.note]))


def _percent(share: float | None) -> str:
    if share is None:
        return ""
    if share >= 0.005:
        return f"{100 * share:.0f} %"
    return "<1 %"


def draw_importance(info: ImportanceInfo) -> Figure:
    """Draw a bar for each dimension, with conditional ones in a group of their own below.

    Bars that are not told from noise are grey. Dimensions without a share have no bar, and are
    named below.
    """
    estimate = info.importance
    groups = _groups(estimate)
    rows = [len(shares) for _, shares in groups]
    title = "Importance for being among the best third of configurations"
    margin = 1.3 if rows else 0.7
    height = margin + 0.4 * sum(rows) + 0.4 * len(rows)
    figure = titled_figure(title, (8, height))
    if groups:
        height_ratios = [count + 0.6 for count in rows]
        grid = figure.subplots(
            len(groups), 1, sharex=True, squeeze=False, height_ratios=height_ratios
        )
        for axes, (group_title, shares) in zip(grid[:, 0], groups, strict=True):
            _draw_bars(axes, shares)
            axes.set_title(group_title, loc="left", fontsize=9)
        grid[-1, 0].set_xlabel("share of importance (%), PED-ANOVA")
    figure.supxlabel(_below(estimate), x=0.01, ha="left", fontsize=9)
    return figure


def importance_instead(info: ImportanceInfo) -> str:
    """Say why there is no bar; empty if there is one."""
    estimate = info.importance
    if _groups(estimate):
        return ""
    return estimate.note or "too few configurations to say"


def _below(estimate: Importance) -> str:
    """The words below the bars."""
    lines = [estimate.note] if estimate.note else []
    if estimate.told:
        lines.append(
            "Grey band: what noise alone reaches. If no field mattered, some bar would leave its "
            "band in 5 % of studies."
        )
    elif any(share.share is not None for share in (*estimate.shares, *estimate.conditional)):
        lines.append("Grey band: what noise alone reaches. No field is told from noise.")
    unknown = [share for share in (*estimate.shares, *estimate.conditional) if share.share is None]
    if unknown:
        names = listed([share.key for share in unknown], _MAX_NAMES)
        lines.append(textwrap.fill(f"Without a bar, for too few configurations: {names}", 110))
    return "\n".join(lines)


def _groups(estimate: Importance) -> list[tuple[str, Sequence[Share]]]:
    """The groups of bars with their titles; none if no dimension has a share."""
    groups: list[tuple[str, Sequence[Share]]] = []
    shares = _known(estimate.shares)
    if shares:
        title = f"Searched in every configuration ({estimate.configurations}), adding up to 100 %"
        groups.append((title, shares))
    conditional = _known(estimate.conditional)
    if conditional:
        title = "Conditional: each among only the configurations that have it"
        groups.append((title, conditional))
    return groups


def _known(shares: Sequence[Share]) -> list[Share]:
    """The dimensions with a bar."""
    return [share for share in shares if share.share is not None]


def _draw_bars(axes: Axes, shares: Sequence[Share]) -> None:
    use_light_frame(axes)
    axes.grid(False, axis="y")
    for row, share in enumerate(shares):
        width = 100 * (share.share or 0)
        band = 100 * (share.noise or 0)
        colour = BLUE if share.is_told else GREY
        axes.barh(row, band, height=0.86, color=LIGHT, zorder=1.5)
        axes.barh(row, width, height=0.5, color=colour, zorder=2)
        axes.text(max(width, band) + 0.8, row, _label(share), va="center", fontsize=9)
    axes.set_xlim(0, _RIGHT_EDGE)
    axes.set_xticks(range(0, 101, 20))
    axes.spines["bottom"].set_bounds(0, 100)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    names = [drawable_text(share.key, 40) for share in shares]
    axes.set_yticks(range(len(shares)), names, fontsize=9, parse_math=False)


def _label(share: Share) -> str:
    """What stands behind a bar."""
    parts = [_percent(share.share), share.note]
    if share.share is not None and not share.is_told:
        parts.append(NOT_TOLD)
    return ", ".join(filter(None, parts))


PLOT = Plot(
    title="Importance",
    about="With enough configurations each field has a bar: the longer, the more its value decided "
    "whether a configuration came among the best third, compared at equal epochs; a grey bar is "
    "inside the band that noise fills, and names no cause.",
    info=importance_info,
    alt=importance_alt,
    instead=importance_instead,
    draw=draw_importance,
)
