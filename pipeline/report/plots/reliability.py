"""Draws how often the winner is right where it is so sure: a reliability diagram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import counted, sentence, trial_name
from pipeline.report.plots.style import (
    BLUE,
    GREY,
    RED,
    drawable_text,
    label_axis,
    label_low_panel,
    titled_figure,
    use_light_frame,
)
from sweeps.analysis.health import expected_calibration_error, overconfidence
from sweeps.analysis.record import StudyRecord
from sweeps.trial import ConfidenceBin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class ReliabilityInfo:
    """The winner's validation images by the probability of its answer."""

    trial: str
    bins: tuple[ConfidenceBin, ...]  # equal intervals from 0 to 1
    error: float  # expected calibration error
    overconfidence: float  # mean probability less accuracy


def reliability_info(record: StudyRecord) -> ReliabilityInfo | None:
    """Collect the confidences of the winner (of the finalists, once decided); None if unknown."""
    winner = (record.decided_finalists or record).best_trial
    if winner is None or not winner.confidences:
        return None
    error = expected_calibration_error(winner.confidences)
    surplus = overconfidence(winner.confidences)
    if error is None or surplus is None:
        return None
    return ReliabilityInfo(
        trial=trial_name(winner),
        bins=winner.confidences,
        error=error,
        overconfidence=surplus,
    )


def reliability_alt(info: ReliabilityInfo) -> str:
    """Tell the calibration error, and the interval with most images."""
    fullest = max(info.bins, key=lambda one: one.images)
    images = sum(one.images for one in info.bins)
    return sentence(
        f"{info.trial} on {counted(images, 'validation image')}: expected calibration error "
        f"{100 * info.error:.2f} points in {len(info.bins)} equal intervals",
        f"{_surplus_text(info)}",
        f"{counted(fullest.images, 'image')} with a mean probability of "
        f"{100 * fullest.confidence / fullest.images:.1f} %: "
        f"{100 * fullest.right / fullest.images:.1f} % right",
    )


def _surplus_text(info: ReliabilityInfo) -> str:
    """Whether the network is too sure or not sure enough."""
    word = "too sure" if info.overconfidence > 0 else "not sure enough"
    return f"on average {word} by {100 * abs(info.overconfidence):.2f} points"


def draw_reliability(info: ReliabilityInfo) -> Figure:
    """Draw accuracy against probability above, and the number of images below."""
    figure = titled_figure("Reliability of the winner", (5.6, 6))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw_accuracy(upper, info)
    width = 1 / len(info.bins)
    lefts = [index * width for index in range(len(info.bins))]
    use_light_frame(lower)
    counts = [one.images for one in info.bins]
    lower.bar(lefts, counts, width, align="edge", color=GREY, edgecolor="white")
    lower.set_yscale("symlog", linthresh=1)
    lower.set_ylim(0, max(counts) * 2)
    ticks = [0] + [10**power for power in range(len(str(max(counts))))]
    lower.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    label_low_panel(lower, "images")
    label_axis(lower.xaxis, "probability of the answer (%)")
    return figure


def _draw_accuracy(axes: Axes, info: ReliabilityInfo) -> None:
    use_light_frame(axes)
    width = 1 / len(info.bins)
    for index, one in enumerate(info.bins):
        if not one.images:
            continue
        accuracy = one.right / one.images
        confidence = one.confidence / one.images
        axes.bar(index * width, accuracy, width, align="edge", color=BLUE, edgecolor="white")
        # From the accuracy to where it would be if the probability were right.
        axes.plot([confidence, confidence], [accuracy, confidence], color=RED, lw=2.5)
    axes.plot([], [], color=RED, lw=2.5, label="distance to the mean probability")
    axes.plot([0, 1], [0, 1], color="black", lw=1, ls="--", label="as often right as sure")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    label_axis(axes.yaxis, "share of right answers (%)")
    axes.legend(loc="upper left", prop={"size": 8}, framealpha=0.7)
    name = drawable_text(info.trial, 36)
    text = f"{name}: calibration error {100 * info.error:.2f} points,\n{_surplus_text(info)}"
    axes.set_title(text, loc="left", fontsize=9, parse_math=False)


PLOT = Plot(
    title="Reliability of the winner",
    about="Of the validation images to which the winner gives an answer of about the same "
    "probability, so many are right; below the diagonal it is too sure, and the expected "
    "calibration error is the mean distance, weighted by images, in 15 equal intervals of the "
    "probability.",
    info=reliability_info,
    alt=reliability_alt,
    draw=draw_reliability,
)
