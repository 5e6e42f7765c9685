"""Draws the places of a sweep over time, and says how long they stood empty, from the study's record.

    pipeline sweep --workers 2
    python -m benchmarks.time_line networks-few_digits --places 2 --out docs/images/time_line.png

Run in the folder of the stores, after a sweep in one go. A place is empty where no epoch is trained
or scored there. A sweep has these parts, of which it prints each one's seconds and the share of the
places' time in it that was empty:

- search: from the first epoch to the last one of the search;
- between: until the first epoch of the finalists;
- finalists: until their last epoch;
- end: until the end of the finalists' run in MLflow. Both reports are written then.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from mlflow import MlflowClient

from pipeline.report.plots.style import BLUE, GREY, LIGHT, ORANGE
from pipeline.report.plots.timeline import Span, lanes_of, training_spans
from pipeline.stores import access, locations
from sweeps.analysis.record import StudyRecord


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a sweep."""

    name: str
    begin: float  # seconds since 1970
    end: float
    spans: Sequence[Span]  # when a trial was trained, in order

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.begin

    def empty(self, places: int) -> float:
        """The share of the places' time in which none was trained."""
        busy = sum(end - begin for begin, end in self.spans)
        return 1 - busy / (places * self.seconds)


def find_spans(record: StudyRecord) -> list[Span]:
    """When trials of a study were trained, in order."""
    trained = [trial for trial in record.results if trial.history and trial.duplicate_of is None]
    pauses = record.promoted is not None
    return sorted(span for trial in trained for span in training_spans(trial, pauses=pauses))


def find_parts(record: StudyRecord, finalists: StudyRecord, client: MlflowClient) -> list[Part]:
    """Split a sweep into its parts, by what was recorded of it."""
    searched = find_spans(record)
    trained = find_spans(finalists)
    limits = [
        searched[0][0],
        max(end for _, end in searched),
        trained[0][0],
        max(end for _, end in trained),
        client.get_run(str(finalists.parent_run_id)).info.end_time / 1000,
    ]
    names = ("search", "between", "finalists", "end")
    spans: dict[str, Sequence[Span]] = {"search": searched, "finalists": trained}
    return [
        Part(name=name, begin=begin, end=end, spans=spans.get(name, ()))
        for name, begin, end in zip(names, limits[:-1], limits[1:], strict=True)
    ]


def draw(parts: Sequence[Part], places: int, path: Path) -> None:
    """Draw the trials of each place over time, on a ground that shows where it was empty."""
    figure = Figure(figsize=(10.4, 1.5 + 0.4 * places), dpi=100, layout="constrained")
    axes = figure.subplots()
    start = parts[0].begin
    total = parts[-1].end - start
    axes.barh(range(places), [total] * places, height=0.7, color=LIGHT, label="empty")
    for part, colour in zip(parts, (BLUE, GREY, ORANGE, GREY), strict=True):
        for lane, (begin, end) in zip(lanes_of(part.spans), part.spans, strict=True):
            label = f"{part.name}: a trial" if (begin, end) == part.spans[0] else None
            axes.barh(
                lane,
                end - begin,
                left=begin - start,
                height=0.7,
                color=colour,
                edgecolor="white",
                linewidth=0.3,
                label=label,
            )
        axes.axvline(part.end - start, color=GREY, linewidth=0.8, linestyle=":")
        if part.spans:
            text = f"{part.name}: {100 * part.empty(places):.1f} % empty"
            middle = (part.begin + part.end) / 2 - start
            axes.text(middle, -0.45, text, ha="center", va="bottom", fontsize=9)
    axes.set_yticks(range(places), [f"place {place + 1}" for place in range(places)])
    axes.set_ylim(places - 0.5, -0.9)
    axes.set_xlim(0, total)
    axes.set_xlabel("seconds since the first epoch")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(path)


def main() -> None:
    """Draw the picture, and print the parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", help="with finalists that were trained by the same command")
    parser.add_argument("--places", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    stores = locations.locate()
    record = access.read_record(stores, options.study)
    if record.finalists is None:
        parser.error(f"{options.study} has no finalists")
    parts = find_parts(record, record.finalists, MlflowClient(stores.tracking))
    draw(parts, options.places, options.out)
    total = sum(part.seconds for part in parts)
    print("| part | seconds | places empty | of all that is empty |")
    print("| --- | --- | --- | --- |")
    empty = sum(part.empty(options.places) * part.seconds for part in parts)
    for part in parts:
        share = part.empty(options.places)
        print(
            f"| {part.name} | {part.seconds:.1f} | {100 * share:.1f} % "
            f"| {100 * share * part.seconds / empty:.0f} % |"
        )
    print(f"| all | {total:.1f} | {100 * empty / total:.1f} % | 100 % |")


if __name__ == "__main__":
    main()
