"""Draws the summary of docs/performance.md from the tables of that page: `python -m benchmarks.summary [PNG]`."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from pipeline.report.plots.style import BLUE, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
PICTURE = PAGE.parent / "images" / "performance.png"
_OURS = "ours"
_WITH_PORTFOLIO = "ours, with portfolio"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the page: its first column's title, and its rows by their first cell."""

    title: str
    columns: list[str]
    rows: dict[str, list[str]]


def read_tables(section: str) -> list[Table]:
    """The tables of a section of the page.

    Args:
        section: its heading, without the signs before it.

    Raises:
        ValueError: if the page has no such section.
    """
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(
        rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE
    )
    if found is None:
        message = f"docs/performance.md must have a section {section!r}"
        raise ValueError(message)
    tables = []
    for block in re.findall(r"(?:^\|.*\n)+", found[1], re.MULTILINE):
        lines = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()
        ]
        title, *columns = lines[0]
        rows = {cells[0]: cells[1:] for cells in lines[2:]}
        tables.append(Table(title=title.strip("`"), columns=columns, rows=rows))
    return tables


def read_ratio(cell: str) -> tuple[float, float, float]:
    """A median ratio with the smallest and the largest: ``3.13 (2.97 to 3.25)``."""
    middle, low, high = (float(number) for number in re.findall(r"[\d.]+", cell))
    return middle, low, high


def read_mean(cell: str) -> tuple[float, float]:
    """A mean and its standard error: ``.8882 ± .0118``."""
    mean, error = (float(number) for number in cell.split("±"))
    return mean, error


def draw_speed(axes: Axes) -> None:
    """Draw how many times the trials an hour of its peers a tracked sweep reaches."""
    table = read_tables("A whole sweep")[0]
    column = table.columns.index("ratio, 2 workers")
    names = [name.split(": ", 1)[1] for name in table.rows]
    ratios = [read_ratio(cells[column]) for cells in table.rows.values()]
    places = range(len(names))
    axes.barh(places, [ratio[0] for ratio in ratios], color=BLUE, height=0.55)
    spreads = [
        [middle - low for middle, low, _ in ratios],
        [high - middle for middle, _, high in ratios],
    ]
    axes.errorbar([ratio[0] for ratio in ratios], places, xerr=spreads, fmt="none", color="black")
    axes.axvline(1, color=GREY, linewidth=1, linestyle="--")
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlabel("times the trials an hour")
    axes.set_title("A tracked sweep, against", loc="left", fontsize=10)


def read_searches() -> list[Table]:
    """The searches of each data set: those of peers, and ours told a number of trials, as usual."""
    tables = []
    for table in read_tables("Searches at equal epochs"):
        if _OURS not in table.rows:
            continue
        rows = {
            name: cells
            for name, cells in table.rows.items()
            if not name.startswith(_OURS) or name in {_OURS, _WITH_PORTFOLIO}
        }
        tables.append(replace(table, rows=rows))
    return tables


def draw_quality(axes: Axes) -> None:
    """Draw how far each search is from the best one, on each data set, at equal epochs."""
    tables = read_searches()
    searches = list(tables[0].rows)
    height = 0.8 / len(searches)
    for place, name in enumerate(searches):
        color = BLUE if name.startswith(_OURS) else GREY
        offsets = [row + (place - len(searches) / 2) * height for row in range(len(tables))]
        means, errors = zip(
            *(read_mean(table.rows[name][table.columns.index("after 12")]) for table in tables),
            strict=True,
        )
        best = [_best_mean(table) for table in tables]
        axes.errorbar(
            [100 * (mean - top) for mean, top in zip(means, best, strict=True)],
            offsets,
            xerr=[100 * error for error in errors],
            fmt="os^vDP"[place % 6],
            color=color,
            markerfacecolor="white" if name == _WITH_PORTFOLIO else color,
            markersize=4,
            label=name,
        )
    axes.set_yticks(range(len(tables)), [table.title for table in tables])
    axes.invert_yaxis()
    axes.set_xlabel("test accuracy behind the best, percentage points")
    axes.set_title("After the epochs of 12 whole trainings", loc="left", fontsize=10)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _best_mean(table: Table) -> float:
    column = table.columns.index("after 12")
    return max(read_mean(cells[column])[0] for cells in table.rows.values())


def draw(path: Path) -> Path:
    """Draw both, and save them.

    Returns:
        The path.
    """
    figure = Figure(figsize=(10.4, 3.4), dpi=100, layout="constrained")
    speed, quality = figure.subplots(1, 2, width_ratios=(2, 3))
    draw_speed(speed)
    draw_quality(quality)
    for axes in (speed, quality):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    return path


if __name__ == "__main__":
    print(draw(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE))
