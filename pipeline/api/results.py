"""A study as scripts and notebooks see it: its trials, its winner, its report and its plots."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

from pipeline.api.definitions import check_not_loading
from pipeline.api.progress import Progress
from pipeline.jobs import finalists as finalists_job
from pipeline.jobs.sweep import Request
from pipeline.report import html, render
from pipeline.report.plots.base import PRINT_DPI, Output
from pipeline.stores import access
from pipeline.stores.locations import Stores
from pipeline.system.errors import NothingComplete, UsageFailure
from pipeline.system.text import clip
from sweeps.analysis.ranking import ends_text
from sweeps.analysis.record import StudyRecord
from sweeps.trial import TrialResult, Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial of a study: what was trained, and what came of it."""

    study: str  # the study's name in the stores
    number: int  # from 0
    state: str  # complete, pruned, paused, failed or running
    config: Mapping[str, Value]  # the fields that apply to it
    value: float | None  # of the objective, on the validation images at the best epoch
    epoch: int | None  # the best one, from 1
    epochs_trained: int
    seconds: float  # of training
    parameters: int | None
    # One mapping for each epoch: `epoch`, and the metrics as MLflow has them, such as `val/acc`.
    history: tuple[Mapping[str, float], ...] = dataclasses.field(repr=False)
    test: Mapping[str, float] | None = dataclasses.field(repr=False)  # scores, if evaluated
    checkpoint: str | None = dataclasses.field(repr=False)  # for `pipeline.load_model`
    run_id: str | None = dataclasses.field(repr=False)  # of its run in MLflow

    @staticmethod
    def of(study: str, result: TrialResult) -> Trial:
        """Make the view of a trial from its stored result."""
        return Trial(
            study=study,
            number=result.number,
            state=result.state,
            config=result.config.to_dict(),
            value=result.value,
            epoch=result.best_epoch,
            epochs_trained=len(result.history),
            seconds=result.seconds,
            parameters=result.parameters,
            history=tuple({"epoch": row.epoch, **row.metrics} for row in result.history),
            test=result.test,
            checkpoint=result.checkpoint,
            run_id=result.run_id,
        )


class Trials(Sequence[Trial]):
    """The trials of a study, by number."""

    def __init__(self, record: StudyRecord) -> None:
        self._record = record
        self._trials = tuple(Trial.of(record.name, result) for result in record.results)

    @overload
    def __getitem__(self, index: int) -> Trial: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Trial, ...]: ...
    def __getitem__(self, index: int | slice) -> Trial | tuple[Trial, ...]:
        """A trial by its number, or several."""
        return self._trials[index]

    def __len__(self) -> int:
        """The number of trials."""
        return len(self._trials)

    def __iter__(self) -> Iterator[Trial]:
        """Go through the trials, by number."""
        return iter(self._trials)

    def __repr__(self) -> str:
        """How the trials ended."""
        return f"<{len(self)} trials of {self._record.name!r}: {ends_text(self._record.results)}>"

    def to_frame(self) -> DataFrame:
        """Make a table with a row for each trial.

        Returns:
            The columns ``number``, ``state``, the objective by its name, ``epoch``, every field of
            the configuration that any trial has, ``epochs_trained``, ``seconds``, ``parameters``,
            ``test_acc`` and ``run_id``; the index is the number.
        """
        import pandas as pd

        names = dict.fromkeys(name for trial in self for name in trial.config)
        first = [*self._record.searched, *names]
        fields = list(dict.fromkeys(name for name in first if name in names))
        rows = [
            {
                "number": trial.number,
                "state": trial.state,
                self._record.objective: trial.value,
                "epoch": trial.epoch,
                **{name: trial.config.get(name) for name in fields},
                "epochs_trained": trial.epochs_trained,
                "seconds": trial.seconds,
                "parameters": trial.parameters,
                "test_acc": (trial.test or {}).get("acc"),
                "run_id": trial.run_id,
            }
            for trial in self
        ]
        return pd.DataFrame(rows).set_index("number")


class StudyResults:
    """A study read from its store. In a notebook, it shows its headline and its ranking."""

    def __init__(self, stores: Stores, record: StudyRecord, data_dir: Path) -> None:
        """Use `pipeline.sweep` or `pipeline.load_study`."""
        self._stores = stores
        self._record = record
        self._data_dir = data_dir

    @property
    def name(self) -> str:
        """The study's name in the stores."""
        return self._record.name

    @property
    def trials(self) -> Trials:
        """All trials, by number."""
        return Trials(self._record)

    @property
    def best(self) -> Trial:
        """The winner: that of the finalists once they have decided, else that of the search.

        Raises:
            NothingComplete: if no trial is complete.
        """
        record = self._record.decided_finalists or self._record
        winner = record.best_trial
        if winner is None:
            raise _nothing_complete(record)
        return Trial.of(record.name, winner)

    def best_within(self, within: float) -> Trial:
        """The cheapest trial that is hardly worse than the winner, as ``--best --within`` takes it.

        The cost is the second objective, else the operations of an image, else the parameters.

        Args:
            within: by how much the objective may be worse: 0.005 is half a point of accuracy.

        Raises:
            UsageFailure: if `within` is negative or no number.
            NothingComplete: if no trial is complete.
        """
        if not within >= 0:
            raise UsageFailure(f"within must be a number from 0: got {within!r}")
        record = self._record.decided_finalists or self._record
        choice = record.choose(within)
        if choice is None:
            raise _nothing_complete(record)
        return Trial.of(record.name, choice.entry.trials[0])

    def summary(self, top: int = 20) -> str:
        """The ranked table and the findings, as `pipeline report` prints them.

        Args:
            top: rows of the table at most.
        """
        return render.render(self._record, "table", top)

    def report(
        self, out: str | Path | None = None, *, plots: Sequence[str] = (), paper: bool = False
    ) -> Path:
        """Write the report: a page, tables and plots, as `pipeline report` does.

        Args:
            out: the folder; None for ``reports/NAME`` beside the stores.
            plots: the formats (``"png"``, ``"svg"``, ``"pdf"``) of further plots for print, in its
                folder ``figures``.
            paper: whether these are without titles, and as wide as a page's text.

        Returns:
            The path of ``report.html``.

        Raises:
            UsageFailure: if a format is unknown.
        """
        folder = Path(out) if out is not None else self._stores.reports(self.name)
        render.write(self._record, folder)
        if plots:
            output = Output(formats=tuple(plots), paper=paper, dpi=PRINT_DPI)
            render.write_figures(self._record, folder, output)
        return folder / "report.html"

    def plot(self, name: str) -> Figure:
        """Draw one of the report's plots.

        Args:
            name: such as ``"slices"``, ``"learning_curves"`` or ``"importance"``.

        Returns:
            A matplotlib figure, which notebooks show.

        Raises:
            UsageFailure: if there is no such plot, or this study has nothing to show in it.
        """
        from pipeline.report.plots import figures  # matplotlib takes a second to import

        figure = figures.draw_figure(self._record, name)
        if figure is None:
            raise UsageFailure(f"study {self.name!r} has nothing to show in the plot {name!r}")
        return figure

    def finalists(
        self,
        top: int | None = None,
        seeds: int | None = None,
        *,
        split_seeds: int | None = None,
        folds: int | None = None,
        refit: bool = False,
        device: str | None = None,
        workers: int | None = None,
        engine: str = "local",
        address: str | None = None,
        progress: bool = True,
    ) -> StudyResults:
        """Train the best configurations again with fresh seeds, as `pipeline finalists` does.

        Args:
            top: the number of configurations; None for the earlier choice, or 3.
            seeds: fresh seeds of each; None for those that there are, or 3.
            split_seeds: instead of `seeds`: as many, each with its own draw of train and
                validation.
            folds: instead of `seeds`: as many, each validated on another fold.
            refit: whether the winner is then trained on training and validation images together.
            device: where to train; None for the study's device.
            workers: trials at a time.
            engine: where trials are trained: ``"local"`` or ``"ray"``.
            address: the Ray cluster to join.
            progress: whether lines and bars of progress are shown.

        Returns:
            This study, with its finalists: `best` is their winner.

        Raises:
            Failure: with a message of one line.
            KeyboardInterrupt: if it was interrupted; the same call goes on.
        """
        check_not_loading()
        shown = Progress(visible=progress)
        request = Request(
            data_dir=self._data_dir,
            storage=self._stores.studies,
            workers=workers,
            engine=engine,
            address=address,
        )
        with shown.interruptible() as stop:
            outcome = finalists_job.choose_and_train(
                self._stores,
                self.name,
                request,
                shown.say,
                top=top,
                repeats=finalists_job.asked_repeats(seeds, split_seeds, folds),
                device=device,
                refit=refit,
                make_display=shown.display,
                stop=stop,
            )
        self._record = outcome.record
        return self

    def refresh(self) -> StudyResults:
        """Read the study anew, such as while another process goes on with it."""
        self._record = access.read_record(self._stores, self.name)
        return self

    def __repr__(self) -> str:
        """The study's name, and how its trials ended."""
        record = self._record
        return f"<study {clip(record.name, 60)!r}: {ends_text(record.results)}>"

    def _repr_html_(self) -> str:
        """The headline and the top of the ranking, for a notebook."""
        return html.summary_html(self._record)


def _nothing_complete(record: StudyRecord) -> NothingComplete:
    return NothingComplete(
        f"study {record.name!r} has no complete trial: {ends_text(record.results)}"
    )
