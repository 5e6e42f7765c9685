"""Completes a study's record in MLflow from Optuna's results: the job behind `pipeline sync`."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.jobs.recorder import Recorder
from pipeline.stores import access, locations, locks
from pipeline.stores.access import study_errors
from pipeline.system.errors import NothingComplete
from pipeline.system.signals import StopRequest
from pipeline.tracking.tracker import Tracker
from sweeps import trial
from sweeps.analysis.ranking import ends_text
from sweeps.analysis.record import StudyRecord
from sweeps.search import stored

_NUMBERS_SHOWN = 20  # trials that are named in the last message


def sync(
    stores: locations.Stores,
    name: str | None,
    *,
    experiment: str | None,
    say: Callable[[str], None],
    stop: StopRequest | None = None,
) -> StudyRecord:
    """Complete a study's record in MLflow from its results in the store of studies.

    Args:
        stores: the stores.
        name: the name of the study; None for the study last opened.
        experiment: MLflow's experiment, if the parent run has to be created again.
        say: called with messages to the user.
        stop: a request to stop; without one, the job runs to its end.

    Returns:
        The study, with its present runs.

    Raises:
        Interrupted: if asked to stop.
        Failure: with a message of one line.
    """
    stop = stop or StopRequest()
    name = access.read_record(stores, name).name
    access.prepare(stores)
    with locks.lock(stores, name) as held, stop.listening():
        tracker = Tracker(stores.tracking, experiment=experiment, server_default=name)
        tracker.listen(stop.check)
        try:
            with study_errors():
                study = stored.load(access.open_studies(stores, held), name)
                recorder = Recorder(study, tracker, stores.home, say, stores.studies_label)
                recorder.describe()
                incomplete = recorder.complete_missing(thorough=True)
                recorder.interrupt_unfinished()
                recorder.finish_trials()
                record, folder = recorder.write_report()
                status, code = _ending(record, study.recall("reason"))
                end_times = [trial.ended_at(result) or 0 for result in record.results]
                last_end = max(end_times, default=0) or None
                recorder.finish(status, code, folder, end=last_end)
        finally:
            tracker.close()
    say(f"study {name}: {_describe_work(incomplete, ends_text(record.results))}")
    return record


def _describe_work(incomplete: list[int], ends: str) -> str:
    """Say which runs were completed, and how many trials there are, by how they ended."""
    if not incomplete:
        return f"no run was incomplete of {ends}"
    numbers = ", ".join(f"#{number}" for number in incomplete[:_NUMBERS_SHOWN])
    if len(incomplete) > _NUMBERS_SHOWN:
        numbers += ", ..."
    return f"completed the runs of {len(incomplete)} trials of {ends}: {numbers}"


def _ending(record: StudyRecord, reason: str | None) -> tuple[str, int | None]:
    """Return the status of the parent run, and the exit code of a sweep that ended by itself.

    Args:
        record: the study.
        reason: why its sweep ended, as the store has it; None if the sweep was cut off.
    """
    if reason is None:
        return "KILLED", None
    winner = record.best_trial
    if reason != "failures" and winner is not None:
        return "FINISHED", 0
    return "FAILED", NothingComplete.code
