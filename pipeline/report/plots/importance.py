"""The importance of each searched field, by PED-ANOVA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.report.plots.base import Plot
from pipeline.report.plots.style import (
    BLUE,
    light,
    plain,
    titled_figure,
)
from sweeps.analysis.importance import Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from dataclasses import dataclass

from pipeline.report.plots.labels import counted, listed, sentence
from sweeps.analysis.importance import MIN_TRIALS, Importance, importance
from sweeps.analysis.record import StudyRecord


@dataclass(frozen=True, kw_only=True)
class ImportanceInfo:
    """Which searched dimension decided the value."""

    study: str
    importance: Importance


def importance_info(record: StudyRecord) -> ImportanceInfo | None:
    """Estimate the importance; None where nothing was searched or no trial has a value."""
    found = importance(record)
    if not record.dimensions or not found.trials:
        return None
    return ImportanceInfo(study=record.name, importance=found)


def importance_alt(info: ImportanceInfo) -> str:
    """The shares in falling order."""
    found = info.importance
    if found.shares:
        parts = [", ".join(f"{s.key} {percent(s.share)}" for s in found.shares)]
    else:
        parts = [found.note or ""]
    own = [f"{s.key} {s.note or percent(s.share)}" for s in found.conditional]
    if own and found.trials >= MIN_TRIALS:
        apart = f"conditional, among only the trials that have it: {listed(own)}"
    else:
        apart = ""
    return sentence(f"Importance among {counted(found.trials, 'trial')}: {parts[0]}", apart)


def percent(share: float | None) -> str:
    """A share as text."""
    if share is None:
        return ""
    if share >= 0.005:
        return f"{100 * share:.0f} %"
    return "<1 %"


def draw_importance(info: ImportanceInfo) -> Figure:
    """Draw a bar for each dimension, conditional ones below in a group of their own; a note where there is no bar."""
    found = info.importance
    if found.shares:
        groups = [(f"Searched in every trial ({found.trials}), adding up to 100 %", found.shares)]
    else:
        groups = []
    if groups or any(share.share is not None for share in found.conditional):
        groups += [("Conditional: each among only the trials that have it", found.conditional)]
    groups = [(title, shares) for title, shares in groups if shares]
    rows = [len(shares) for _, shares in groups]
    title = "Importance for being among the best third of trials"
    figure = titled_figure(
        title, info.study, (8, (1.1 if rows else 0.7) + 0.4 * sum(rows) + 0.4 * len(rows))
    )
    if found.note:
        figure.supxlabel(found.note, x=0.01, ha="left", fontsize=10)
    if groups:
        panels = figure.subplots(
            len(groups), 1, sharex=True, squeeze=False, height_ratios=[n + 0.6 for n in rows]
        )
        for axes, (title, shares) in zip(panels[:, 0], groups, strict=True):
            _bars(axes, shares)
            axes.set_title(title, loc="left", fontsize=9)
        panels[-1, 0].set_xlabel("share of importance (%), PED-ANOVA")
    return figure


def _bars(axes: Axes, shares: Sequence[Share]) -> None:
    light(axes)
    axes.grid(False, axis="y")
    for row, share in enumerate(shares):
        width = 100 * (share.share or 0)
        axes.barh(row, width, height=0.62, color=BLUE, zorder=2)
        note = ", ".join(filter(None, [percent(share.share), share.note]))
        axes.text(width + 0.8, row, note, va="center", fontsize=9)
    axes.set_xlim(0, 108)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_yticks(
        range(len(shares)), [plain(s.key, 40) for s in shares], fontsize=9, parse_math=False
    )


PLOT = Plot(
    title="Importance",
    about="With enough trials each field has a bar: the longer, the more its value decided whether a trial came "
    "among the best third; a field with a short one may be set to what is cheapest.",
    info=importance_info,
    alt=importance_alt,
    draw=draw_importance,
)
