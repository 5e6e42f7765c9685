"""Shows the progress of a sweep: bars on a terminal, and a line for each ended trial anywhere."""

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
from pipeline.system.text import clean, ordinal
from sweeps.analysis.ranking import searched_values
from sweeps.trial import COMPLETE, FAILED, Epoch, TrialConfig, TrialResult

if TYPE_CHECKING:
    from rich.console import Console

    from sweeps.search.study import Pause, Study

_IN_TITLE = ("family", "activation")  # the searched fields that a trial's title names


class ProgressDisplay:
    """Shows the progress of trials on a console."""

    def __init__(
        self,
        console: Console,
        objective: str,
        searched: tuple[str, ...],
        total: int,
        ended: int,
    ) -> None:
        """Make a display, which shows nothing yet.

        Args:
            console: the console to print on.
            objective: the name of the objective.
            searched: the searched fields, for the line of each trial.
            total: the number of trials of the study.
            ended: the number of trials that have ended already.
        """
        self._console = console
        self._objective = objective
        self._searched = searched
        self._total = total
        self._ended = ended
        self._ended_before = ended
        self._began = time.monotonic()
        self._best: TrialResult | None = None
        self._bars: Progress | None = None
        self._study_bar: TaskID | None = None
        self._trial_bars: dict[int, TaskID] = {}  # by the numbers of the running trials
        self._rates: dict[int, float] = {}  # images per second, by the same numbers
        self._pauses: dict[int, str] = {}  # lines of trials that were paused just now, by number

    @staticmethod
    def for_study(study: Study, console: Console | None = None) -> ProgressDisplay:
        """Make the display of a study, on standard output unless another console is given."""
        from rich.console import Console

        searched = tuple(dict.fromkeys(dimension.field for dimension in study.spec.dimensions))
        return ProgressDisplay(
            console or Console(),
            study.spec.objective,
            searched,
            study.total,
            study.count_ended(),
        )

    @staticmethod
    def for_training(objective: str) -> ProgressDisplay:
        """Make the display of a single training, on standard output."""
        from rich.console import Console

        return ProgressDisplay(Console(), objective, (), 1, 0)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show bars while the block runs, if the console is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._console) as self._bars:
            self._study_bar = self._bars.add_task(
                "trials", total=self._total, completed=self._ended, note=""
            )
            yield

    def print_line(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(clean(text), markup=False, highlight=False, soft_wrap=True)

    def trial_began(self, number: int, config: TrialConfig) -> None:
        """Show a bar for a trial."""
        self._pauses.pop(number, None)  # it goes on at once
        self._print_pauses()
        if self._bars is not None:
            self._remove_bar(number)  # of the same trial, if its worker died
            self._trial_bars[number] = self._bars.add_task(
                _title(number, config), total=config.epochs, note=""
            )

    def step_ended(self, step: int, steps: int, loss: float, number: int = 0) -> None:
        """Show the loss of a training step.

        Args:
            step: the number of the step in its epoch, from 1.
            steps: the number of steps in an epoch.
            loss: the training loss of the step.
            number: the number of the trial.
        """
        if self._bars is not None:
            note = f"loss {loss:.4f}, step {step}/{steps}"
            self._bars.update(self._trial_bars[number], note=note)

    def epoch_ended(self, epoch: Epoch, number: int = 0) -> None:
        """Advance the bar of a trial by an epoch."""
        self._rates[number] = epoch.metrics["time/images_per_second"]
        if self._bars is not None and self._study_bar is not None:
            self._bars.update(self._trial_bars[number], completed=epoch.epoch)
            self._bars.update(self._study_bar, note=", ".join(self._summary()))

    def trial_ended(self, result: TrialResult, best: TrialResult | None) -> None:
        """Print the line of a trial, and remove its bar.

        Args:
            result: the result of the trial.
            best: the best result so far.
        """
        self._print_pauses()
        self._ended += 1
        self._best = best
        line = self._describe(result)  # with the rate of this trial, which ends with its bar
        self._remove_bar(result.number)
        if self._bars is not None and self._study_bar is not None:
            note = ", ".join(self._summary())
            self._bars.update(self._study_bar, completed=self._ended, note=note)
        self.print_line(line)

    def trial_paused(self, pause: Pause) -> None:
        """Note the line of a paused trial, and remove its bar.

        The line is printed when it is certain that the trial does not go on at once.
        """
        result = pause.result
        self._remove_bar(result.number)
        self._pauses[result.number] = self._describe_pause(pause)

    def _print_pauses(self) -> None:
        """Print the noted lines."""
        for line in self._pauses.values():
            self.print_line(line)
        self._pauses.clear()

    def _describe_pause(self, pause: Pause) -> str:
        """Write the line of a paused trial: why it is paused."""
        result = pause.result
        epoch = len(result.history)
        title = _title(result.number, result.config)
        line = f"{title} paused after epoch {epoch}: {self._objective} {result.value:.4f}"
        if pause.rivals == 1:
            return f"{line}, the first there"
        line += f", {ordinal(pause.place)} of {pause.rivals} there"
        if pause.goes_on == 0:
            return line
        return f"{line}; the best {pause.goes_on} go on"

    def _remove_bar(self, number: int) -> None:
        """Remove the bar and the rate of a trial."""
        self._rates.pop(number, None)
        if self._bars is not None and number in self._trial_bars:
            self._bars.remove_task(self._trial_bars.pop(number))

    def _describe(self, result: TrialResult) -> str:
        """Write the line of an ended trial."""
        title = _title(result.number, result.config)
        searched = [name for name in self._searched if name not in _IN_TITLE]
        settings = " ".join(
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in searched_values(result, searched).items()
            if value is not None
        )
        summary = ", ".join([f"{self._ended}/{self._total}", *self._summary()])
        return f"{title} {settings}: {self._outcome(result)}, {result.seconds:.1f} s; {summary}"

    def _outcome(self, result: TrialResult) -> str:
        if result.state == FAILED:
            return f"failed: {result.end} ({result.error})"
        if result.value is None:
            return f"{result.end} ({result.error})"
        outcome = f"{self._objective} {result.value:.4f} at epoch {result.best_epoch}"
        if result.state != COMPLETE:
            outcome += f", {result.state} after {len(result.history)}"
        return outcome

    def _summary(self) -> list[str]:
        """Summarise the study: the best value, the remaining time, and the images per second."""
        parts = []
        if self._best is not None and self._best.value is not None:
            parts.append(f"best {self._best.value:.4f} (#{self._best.number})")
        newly_ended = self._ended - self._ended_before
        remaining = self._total - self._ended
        if newly_ended and remaining > 0:
            seconds_per_trial = (time.monotonic() - self._began) / newly_ended
            parts.append(f"about {format_duration(seconds_per_trial * remaining)} left")
        if self._rates:
            parts.append(f"{sum(self._rates.values()):,.0f} images/s")
        return parts


def _title(number: int, config: TrialConfig) -> str:
    """Return a trial's number with its family and, if the family has one, its activation."""
    parts = [f"#{number}", config.family, config.activation]
    return clean(" ".join(part for part in parts if part))
