"""Completes a study's record in MLflow from its results in Optuna."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.jobs.recorder import Recorder
from pipeline.stores import access, locations, locks
from pipeline.stores.access import study_errors
from pipeline.system.errors import NothingComplete
from pipeline.system.signals import stop_requests
from pipeline.tracking.tracker import Tracker
from sweeps import trial
from sweeps.analysis.ranking import ends_text
from sweeps.analysis.record import StudyRecord
from sweeps.search import stored


def sync(
    where: locations.Stores, name: str | None, *, experiment: str | None, say: Callable[[str], None]
) -> StudyRecord:
    """Complete a study's record from what Optuna kept; of the one last opened, if none is named.

    Args:
        where: the stores.
        name: the study's.
        experiment: MLflow's, where the parent run has to be made anew.
        say: told what is done.

    Returns:
        The study, with the runs it has now.

    Raises:
        Interrupted: asked to stop by a signal.
        Failure: in one line.
    """
    found = access.read_record(where, name)
    access.prepare(where)
    with locks.lock(where, found.name) as held, stop_requests() as stop:
        tracker = Tracker(where.tracking, experiment=experiment, server_default=found.name)
        tracker.listen(stop.check)
        try:
            with study_errors():
                recorder = Recorder(
                    stored.load(access.open_studies(where, held), found.name),
                    tracker,
                    where.home,
                    say,
                )
                recorder.describe()
                missing = recorder.complete(thorough=True)
                recorder.interrupt_begun()
                recorder.settle()
                record, folder = recorder.write_report()
                status, code = _ending(record, recorder.study.recall("reason"))
                times = [trial.ended_at(result) or 0 for result in record.results]
                recorder.finish(status, code, folder, end=max(times, default=0) or None)
        finally:
            tracker.close()
    numbers = ", ".join(f"#{number}" for number in missing[:20]) + (
        ", ..." if len(missing) > 20 else ""
    )
    of = f"of {ends_text(record.results)}"
    say(
        f"study {found.name}: "
        + (
            f"completed the runs of {len(missing)} trials {of}: {numbers}"
            if missing
            else f"no run was incomplete {of}"
        )
    )
    return record


def _ending(record: StudyRecord, reason: str | None) -> tuple[str, int | None]:
    """How a study's sweep ended: the status of its parent run, and the exit code if it came to an end by itself."""
    if reason is None:
        return "KILLED", None
    if reason != "failures" and record.best_trial is not None:
        return "FINISHED", 0
    return "FAILED", NothingComplete.code
