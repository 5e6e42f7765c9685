"""Shows the progress of a sweep: bars on a terminal, and a line for each event anywhere.

In a study with promotion, events are also the pauses of trials, and that they go on. Progress is
then counted in epochs: nearly all trials end together, when nothing is left to train.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from pipeline.report.scores import unit_of
from pipeline.system.console import format_duration, print_line
from pipeline.system.text import clean, ordinal
from sweeps.analysis.naming import setting_words
from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED, Epoch, TrialConfig, TrialResult

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from sweeps.search.promotion import Standing
    from sweeps.search.study import Pause, Study

_WIDE = 100  # characters of a console with room for long bars
_WIDE_BAR = 40
_NARROW_BAR = 12
_IN_TITLE = ("family", "activation")  # the searched fields that a trial's title names


class _Bars(Progress):
    """Bars, and a line of text below."""

    text = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the bars and the line, which is cut where the terminal ends."""
        yield from super().get_renderables()
        if self.text:
            yield Text(self.text, no_wrap=True, overflow="ellipsis")


class _Tally:
    """Counts the trials and the epochs of a study with promotion."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self.count()

    def count(self) -> None:
        """Count what the store has."""
        results = self._study.results()
        self._drawn = {result.number for result in results}
        self._paused = {result.number for result in results if result.state == PAUSED}
        self._lengths = {
            result.number: len(result.history) for result in results if result.duplicate_of is None
        }
        self._goals = dict(self._lengths)  # the epochs until which trials are trained
        self._expected = self._study.expected_epochs
        self._leading: TrialResult | None = None
        for result in results:
            self._compare(result)

    def _compare(self, result: TrialResult) -> None:
        """Keep the trial that has come to the best value, complete or not."""
        if result.value is None or result.state == FAILED:
            return
        sign = 1 if self._study.spec.maximize else -1
        leading = self._leading
        if leading is None or leading.value is None or sign * (result.value - leading.value) > 0:
            self._leading = result

    def begin(self, number: int, until: int) -> None:
        """Count a trial as in training until an epoch."""
        self._drawn.add(number)
        self._paused.discard(number)
        self._goals[number] = until

    def end_epoch(self, number: int, epoch: int) -> None:
        """Count an epoch of a trial, unless it is trained again."""
        self._lengths[number] = max(epoch, self._lengths.get(number, 0))

    def pause(self, result: TrialResult) -> None:
        """Count a trial as paused."""
        self._paused.add(result.number)
        self._compare(result)
        self._expected = self._study.expected_epochs

    def end(self, result: TrialResult) -> None:
        """Count a trial as ended."""
        self._drawn.add(result.number)
        self._paused.discard(result.number)
        self._goals[result.number] = self._lengths.get(result.number, 0)
        self._compare(result)

    @property
    def epochs(self) -> int:
        """The epochs that were trained."""
        return sum(self._lengths.values())

    @property
    def expected_epochs(self) -> int | None:
        """The epochs that all trials will take; None if that is not known."""
        if self._expected is None:
            return None
        return max(round(self._expected), sum(self._goals.values()), self.epochs)

    def texts(self) -> list[str]:
        """The numbers of drawn and of paused trials."""
        drawn = f"{len(self._drawn)} of {self._study.total} drawn"
        if self._study.spec.has_only_budget:
            drawn = f"{len(self._drawn)} drawn"
        texts = [drawn]
        if self._paused:
            texts.append(f"{len(self._paused)} paused")
        return texts

    @property
    def leading(self) -> str:
        """The best value so far, of a trial that may not be complete."""
        leading = self._leading
        if leading is None or leading.value is None:
            return ""
        unit = unit_of(self._study.spec.objective)
        return f"leading {unit.value(leading.value)} (#{leading.number})"


def _shows_bars(console: Console) -> bool:
    """Whether bars can be shown: on a terminal, and in a notebook that has ipywidgets."""
    if console.is_jupyter:
        return find_spec("ipywidgets") is not None
    return console.is_terminal


class ProgressDisplay:
    """Shows the progress of trials on a console."""

    def __init__(
        self,
        console: Console,
        objective: str,
        searched: tuple[str, ...],
        total: int,
        ended: int,
        study: Study | None = None,
        part: str = "",
    ) -> None:
        """Make a display, which shows nothing yet.

        Args:
            console: the console to print on.
            objective: the name of the objective.
            searched: the searched fields, for the line of each trial.
            total: the number of trials of the study.
            ended: the number of trials that have ended already.
            study: the study, if it is one with promotion.
            part: the name of the part of the command, if that has several.
        """
        self._console = console
        self._part = part
        self._objective = objective
        self._unit = unit_of(objective)
        self._searched = searched
        self._total = total
        self._ended = ended
        self._ended_before = ended
        self._began = time.monotonic()
        self._best: TrialResult | None = None
        self._bars: _Bars | None = None
        self._study_bar: TaskID | None = None
        self._trial_bars: dict[int, TaskID] = {}  # by the numbers of the running trials
        self._rates: dict[int, float] = {}  # images per second, by the same numbers
        self._tally = None if study is None else _Tally(study)
        self._epochs_before = 0 if self._tally is None else self._tally.epochs
        self._pauses: dict[int, str] = {}  # lines of trials that were paused just now, by number
        self._pruned = 0  # paused trials that ended just now

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
            study if study.promotes else None,
            "finalists" if study.facts.finalists is not None else "",
        )

    @staticmethod
    def for_training(objective: str) -> ProgressDisplay:
        """Make the display of a single training, on standard output."""
        from rich.console import Console

        return ProgressDisplay(Console(), objective, (), 1, 0)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show bars while the block runs, if the console is a terminal."""
        try:
            if _shows_bars(self._console):
                with self._show_bars():
                    yield
            else:
                yield
        finally:
            self._print_noted()

    @contextmanager
    def _show_bars(self) -> Iterator[None]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(_NARROW_BAR if self._console.width < _WIDE else _WIDE_BAR),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rung]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with _Bars(*columns, console=self._console) as self._bars:
            name = "trials" if self._tally is None else "epochs"
            title = f"{self._part}: {name}" if self._part else name
            self._study_bar = self._bars.add_task(title, total=None, rung="", note="")
            self._update_study_bar()
            yield

    def _update_study_bar(self) -> None:
        """Show how far the study is: in trials, or in epochs if trials are paused and go on."""
        if self._bars is None or self._study_bar is None:
            return
        completed: int = self._ended
        total: int | None = self._total
        if self._tally is not None:
            completed = self._tally.epochs
            total = self._tally.expected_epochs
        note = ", ".join(self._summary())
        if self._tally is not None:  # too long to stand beside a bar
            self._bars.text = note
            note = ""
        self._bars.update(self._study_bar, completed=completed, total=total, note=note)

    def print_line(self, text: str) -> None:
        """Print a line above the bars."""
        print_line(self._console, text)

    def _print_cut(self, line: str) -> None:
        """Print the line of a trial, which a terminal cuts where it ends."""
        if self._console.is_terminal:
            self._console.print(Text(clean(line)), no_wrap=True, overflow="ellipsis")
        else:
            self.print_line(line)

    def trial_began(self, number: int, config: TrialConfig, until: int | None = None) -> None:
        """Show a bar for a trial.

        Args:
            number: the number of the trial.
            config: the configuration of the trial.
            until: the epoch until which it is trained now; None for the last.
        """
        self._begin(number, config, until or config.epochs)

    def trials_reopened(self) -> None:
        """Count trials as paused again that had ended as pruned."""
        if self._tally is not None:
            self._tally.count()

    def trial_goes_on(self, number: int, config: TrialConfig, after: int, until: int) -> None:
        """Show a bar for a trial that was paused, and print that it goes on.

        Nothing is printed of a trial that goes on at once.

        Args:
            number: the number of the trial.
            config: the configuration of the trial.
            after: the epoch after which it was paused.
            until: the epoch until which it is trained now.
        """
        goes_on_at_once = self._pauses.pop(number, None) is not None
        self._begin(number, config, until, after)
        if not goes_on_at_once:
            end = "to its end" if until == config.epochs else f"until epoch {until}"
            self.print_line(f"{_title(number, config)} goes on after epoch {after}, {end}")

    def _begin(self, number: int, config: TrialConfig, until: int, after: int = 0) -> None:
        self._print_noted()
        if self._tally is not None:
            self._tally.begin(number, until)
        if self._bars is not None:
            self._remove_bar(number)  # of the same trial, if its worker died
            self._trial_bars[number] = self._bars.add_task(
                _title(number, config),
                total=config.epochs,
                completed=after,
                rung=f"until {until}" if until < config.epochs else "",
                note="",
            )
        self._update_study_bar()

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
        if self._tally is not None:
            self._tally.end_epoch(number, epoch.epoch)
        if self._bars is not None:
            self._bars.update(self._trial_bars[number], completed=epoch.epoch)
        self._update_study_bar()

    def trial_ended(self, result: TrialResult, best: TrialResult | None) -> None:
        """Print the line of a trial, and remove its bar.

        The paused trials that end when nothing is left to train have one line together.

        Args:
            result: the result of the trial.
            best: the best result so far.
        """
        self._ended += 1
        self._best = best
        if self._tally is not None:
            self._tally.end(result)
            if result.end == PRUNED:
                self._print_pauses()
                self._pruned += 1
                self._update_study_bar()
                return
        self._print_noted()
        line = self._describe(result)  # with the rate of this trial, which ends with its bar
        self._remove_bar(result.number)
        self._update_study_bar()
        if self._console.is_terminal and result.value is not None:
            line = self._describe_shortly(result)
            self._print_cut(line)
        else:
            self.print_line(line)

    def trial_paused(self, pause: Pause) -> None:
        """Note the line of a paused trial, and remove its bar.

        The line is printed when it is certain that the trial does not go on at once.
        """
        result = pause.result
        if self._tally is not None:
            self._tally.pause(result)
        self._remove_bar(result.number)
        self._update_study_bar()
        self._pauses[result.number] = self._describe_pause(pause)

    def _print_noted(self) -> None:
        """Print what was noted of pauses, and of paused trials that ended."""
        self._print_pauses()
        if self._pruned == 1:
            self.print_line("the paused trial that is left ends as pruned")
        elif self._pruned > 1:
            self.print_line(f"the {self._pruned} paused trials that are left end as pruned")
        self._pruned = 0

    def _print_pauses(self) -> None:
        for line in self._pauses.values():
            self._print_cut(line)
        self._pauses.clear()

    def _describe_pause(self, pause: Pause) -> str:
        """Write the line of a paused trial: why it is paused."""
        result = pause.result
        epoch = len(result.history)
        title = _title(result.number, result.config)
        value = self._unit.value(result.value or 0.0)
        line = f"{title} paused after epoch {epoch}: {self._objective} {value}"
        standing = pause.standing
        if standing is None:  # another seed of the configuration is to come
            return line
        placed_by = self._unit.value(standing.value)
        if placed_by != value:
            line += f", counted as {placed_by}"
        return f"{line}, {_standing_text(standing)}"

    def _remove_bar(self, number: int) -> None:
        """Remove the bar and the rate of a trial."""
        self._rates.pop(number, None)
        if self._bars is not None and number in self._trial_bars:
            self._bars.remove_task(self._trial_bars.pop(number))

    def _describe(self, result: TrialResult) -> str:
        """Write the line of an ended trial."""
        title = _title(result.number, result.config)
        settings = self._settings(result)
        summary = ", ".join(self._summary())
        if self._tally is None:
            summary = ", ".join([f"{self._ended}/{self._total}", *self._summary()])
        return f"{title} {settings}: {self._outcome(result)}, {result.seconds:.1f} s; {summary}"

    def _describe_shortly(self, result: TrialResult) -> str:
        """Write a line of which the end may be cut: the bars show what is said of the study."""
        title = _title(result.number, result.config)
        settings = self._settings(result)
        return clean(f"{title}: {self._outcome(result)}, {result.seconds:.1f} s; {settings}")

    def _settings(self, result: TrialResult) -> str:
        searched = [name for name in self._searched if name not in _IN_TITLE]
        searched.sort(key=lambda name: name != "lr")  # first, as it nearly always matters most
        return " ".join(setting_words(result.config, searched))

    def _outcome(self, result: TrialResult) -> str:
        if result.state == FAILED:
            return f"failed: {result.end} ({result.error})"
        if result.value is None:
            return f"{result.end} ({result.error})"
        outcome = f"{self._objective} {self._unit.value(result.value)} at epoch {result.best_epoch}"
        if result.state != COMPLETE:
            outcome += f", {result.state} after {len(result.history)}"
        return outcome

    def _summary(self) -> list[str]:
        """Summarise the study: the best value, the remaining time, and the images per second."""
        parts = [] if self._tally is None else self._tally.texts()
        if self._best is not None and self._best.value is not None:
            parts.append(f"best {self._unit.value(self._best.value)} (#{self._best.number})")
        elif self._tally is not None and self._tally.leading:
            parts.append(self._tally.leading)
        left = self._seconds_left()
        if left is not None:
            parts.append(f"about {format_duration(left)} left")
        if self._rates:
            parts.append(f"{sum(self._rates.values()):,.0f} images/s")
        return parts

    def _seconds_left(self) -> float | None:
        """Estimate the time left, from the mean of this command; None before its first."""
        done = self._ended - self._ended_before
        remaining = self._total - self._ended
        if self._tally is not None:
            expected = self._tally.expected_epochs
            done = self._tally.epochs - self._epochs_before
            remaining = 0 if expected is None else expected - self._tally.epochs
        if done <= 0 or remaining <= 0:
            return None
        return (time.monotonic() - self._began) / done * remaining


def _standing_text(standing: Standing) -> str:
    """Tell the place of a paused trial, and which places go on."""
    if standing.rivals == 1:
        return "the first there"
    place = f"{ordinal(standing.place)} of {standing.rivals} there"
    if standing.place <= standing.going_on:
        return f"{place}; it may go on later"
    if standing.all_drawn:
        return f"{place}; better ones go on first"
    if standing.going_on == 0:
        return place
    if standing.going_on == 1:
        return f"{place}; the best one goes on"
    return f"{place}; the best {standing.going_on} go on"


def _title(number: int, config: TrialConfig) -> str:
    """Return a trial's number with its family and, if the family has one, its activation."""
    parts = [f"#{number}", config.family, config.activation]
    return clean(" ".join(part for part in parts if part))
