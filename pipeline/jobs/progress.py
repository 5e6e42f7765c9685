"""Shows a sweep at work: bars on a terminal, a plain line per trial elsewhere. Decides nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from pipeline.system.console import format_duration
from pipeline.system.text import clean
from sweeps.analysis.ranking import searched_values
from sweeps.trial import FAILED, Epoch, TrialConfig, TrialResult

if TYPE_CHECKING:
    from rich.console import Console

    from sweeps.search.study import Study


class ProgressDisplay:
    """What is said while trials run."""

    def __init__(
        self, console: Console, objective: str, searched: tuple[str, ...], total: int, ended: int
    ) -> None:
        self._console = console
        self._objective = objective
        self._searched = searched
        self._total = total
        self._ended = ended
        self._start_ended = ended
        self._began = time.monotonic()
        self._best: TrialResult | None = None
        self._bars: Progress | None = None
        self._trials: TaskID | None = None
        self._epochs: dict[int, TaskID] = {}  # of the trials under way
        self._rates: dict[int, float] = {}  # images a second of the same

    @staticmethod
    def of(study: Study, console: Console | None = None) -> ProgressDisplay:
        """Show a study that is opened to be gone on with, on standard output if not on another console."""
        from rich.console import Console

        searched = tuple(dict.fromkeys(dimension.field for dimension in study.spec.dimensions))
        return ProgressDisplay(
            console or Console(), study.spec.objective, searched, study.total, study.count_ended()
        )

    @staticmethod
    def one(objective: str) -> ProgressDisplay:
        """Show one training, on standard output."""
        from rich.console import Console

        return ProgressDisplay(Console(), objective, (), 1, 0)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show bars while the block runs, on a terminal."""
        if not self._console.is_terminal:
            yield
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(
            *columns, TextColumn("{task.fields[note]}"), console=self._console
        ) as self._bars:
            self._trials = self._bars.add_task(
                "trials", total=self._total, completed=self._ended, note=""
            )
            yield

    def say(self, text: str) -> None:
        """Print one line above the bars."""
        self._console.print(clean(text), markup=False, highlight=False, soft_wrap=True)

    def trial(self, number: int, config: TrialConfig) -> None:
        """A trial begins."""
        if self._bars is not None:
            self._close(number)  # of a worker that died with it
            self._epochs[number] = self._bars.add_task(
                _title(number, config), total=config.epochs, note=""
            )

    def step(self, done: int, steps: int, loss: float, number: int = 0) -> None:
        """A training step of a trial is done."""
        if self._bars is not None:
            self._bars.update(self._epochs[number], note=f"loss {loss:.4f}, step {done}/{steps}")

    def epoch(self, row: Epoch, number: int = 0) -> None:
        """An epoch of a trial is done."""
        self._rates[number] = row.metrics["time/images_per_second"]
        if self._bars is not None and self._trials is not None:
            self._bars.update(self._epochs[number], completed=row.epoch)
            self._bars.update(self._trials, note=", ".join(self._standing()))

    def _close(self, number: int) -> None:
        """Take a trial's bar away."""
        self._rates.pop(number, None)
        if self._bars is not None and number in self._epochs:
            self._bars.remove_task(self._epochs.pop(number))

    def ended(self, result: TrialResult, best: TrialResult | None) -> None:
        """A trial has ended."""
        self._ended = self._ended + 1
        self._best = best
        line = self._line(result)
        self._close(result.number)
        if self._bars is not None and self._trials is not None:
            self._bars.update(self._trials, completed=self._ended, note=", ".join(self._standing()))
        self.say(line)

    def _line(self, result: TrialResult) -> str:
        values = searched_values(
            result, [name for name in self._searched if name not in ("family", "activation")]
        )
        settings = " ".join(
            f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}"
            for k, v in values.items()
            if v is not None
        )
        if result.value is not None:
            outcome = f"{self._objective} {result.value:.4f} at epoch {result.best_epoch}"
        else:
            outcome = ""
        if result.state == FAILED:
            outcome = f"failed: {result.end} ({result.error})"
        elif result.value is None:
            outcome = f"{result.end} ({result.error})"
        elif result.state != "complete":
            outcome += f", {result.state} after {len(result.history)}"
        return (
            f"{_title(result.number, result.config)} {settings}: {outcome}, {result.seconds:.1f} s; "
            + ", ".join([f"{self._ended}/{self._total}", *self._standing()])
        )

    def _standing(self) -> list[str]:
        parts = []
        if self._best is not None and self._best.value is not None:
            parts.append(f"best {self._best.value:.4f} (#{self._best.number})")
        done = self._ended - self._start_ended
        if done and self._ended < self._total:
            left = (time.monotonic() - self._began) / done * (self._total - self._ended)
            parts.append(f"about {format_duration(left)} left")
        if self._rates:
            parts.append(f"{sum(self._rates.values()):,.0f} images/s")
        return parts


def _title(number: int, config: TrialConfig) -> str:
    return clean(" ".join(filter(None, (f"#{number}", config.family, config.activation))))
