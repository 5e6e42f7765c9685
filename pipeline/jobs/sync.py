"""Completes a study's record in MLflow from Optuna's results: the job behind `pipeline sync`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from pipeline.jobs import audit
from pipeline.jobs.recorder import Recorder, logged_places
from pipeline.stores import access, locations, locks
from pipeline.stores.access import study_errors
from pipeline.system.errors import IntegrityFailure, NothingComplete
from pipeline.system.signals import StopRequest
from pipeline.tracking.gaps import WEIGHTS
from pipeline.tracking.tracker import Tracker
from sweeps import trial
from sweeps.analysis.ranking import ends_text
from sweeps.analysis.record import StudyRecord
from sweeps.search import stored

_NUMBERS_SHOWN = 20  # trials that are named in the last message
_GAPS_SHOWN = 6  # of a run


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
                study.check()
                recorder = Recorder(study, tracker, stores.home, say, stores.studies_label)
                gaps = audit.trial_gaps(
                    tracker, study.record(), recorder.parent, places=logged_places(study)
                )
                recorder.describe()
                incomplete = recorder.complete_missing(gaps)
                recorder.interrupt_unfinished()
                recorder.finish_trials()
                record, folder = recorder.write_report()
                left = audit.trial_gaps(tracker, record, recorder.parent, gaps)
                close_record(recorder, record, folder)
        finally:
            tracker.close()
    say(f"study {name}: {_describe_work(incomplete, ends_text(record.results))}")
    _say_what_is_left(name, left, say)
    return record


def close_record(recorder: Recorder, record: StudyRecord, folder: Path) -> None:
    """End the parent run of a study as its last sweep did, with the study's report.

    Args:
        recorder: of the study.
        record: the study.
        folder: of the report.
    """
    status, code = _ending(record, record.reason)
    end_times = [trial.ended_at(result) or 0 for result in record.results]
    last_end = max(end_times, default=0) or None
    recorder.finish(status, code, folder, end=last_end)


def check(stores: locations.Stores, name: str | None, *, say: Callable[[str], None]) -> None:
    """Say what a study's record in MLflow lacks, and change nothing.

    Args:
        stores: the stores.
        name: the name of the study; None for the study last opened.
        say: called with messages to the user.

    Raises:
        IntegrityFailure: if anything is lacking.
        Failure: with a message of one line.
    """
    record = access.read_record(stores, name)
    name = record.name
    gaps: dict[int | None, list[str]] = {}
    tracking_file = locations.sqlite_file(stores.tracking)
    if tracking_file is not None and not tracking_file.exists():
        gaps[None] = [f"the tracking store {tracking_file}, and all runs with it"]
    else:
        with (
            access.read_tracking(stores) as uri,
            closing(Tracker(uri)) as tracker,
            access.read_studies(stores) as storage,
            study_errors(),
        ):
            gaps = _gaps(tracker, stored.load(storage, name), record)
    for number, lacking in gaps.items():
        whose = "the parent run" if number is None else f"#{number}"
        say(f"{whose} lacks {_in_words(lacking)}")
    if gaps:
        count = "1 run is" if len(gaps) == 1 else f"{len(gaps)} runs are"
        raise IntegrityFailure(
            f"study {name}: {count} incomplete; send what is lacking: "
            f"pipeline sync {shlex.quote(name)}"
        )
    say(f"study {name}: no run is incomplete of {ends_text(record.results)}")


def _gaps(
    tracker: Tracker, study: stored.StoredStudy, record: StudyRecord
) -> dict[int | None, list[str]]:
    """Return what each run of a study lacks, the parent run's under None."""
    parent = tracker.call(tracker.find_parent, record.parent_run_id)
    if parent is None:
        return {None: ["the parent run"]}
    gaps: dict[int | None, list[str]] = {}
    status, _ = _ending(record, record.reason)
    of_parent = audit.parent_gaps(tracker, study, record, parent, status)
    if of_parent:
        gaps[None] = of_parent
    return gaps | audit.trial_gaps(tracker, record, parent.info.run_id, places=logged_places(study))


def _say_what_is_left(
    name: str, gaps: Mapping[int, Sequence[str]], say: Callable[[str], None]
) -> None:
    """Say which weights are lost, and what else could not be completed."""
    lost = [number for number, lacking in gaps.items() if WEIGHTS in lacking]
    if lost:
        numbers = _listed(lost)
        say(
            f"the weights of {numbers} are lost; to train one of them again: "
            f"pipeline train --from-run {shlex.quote(f'{name}#{lost[0]}')}"
        )
    for number, lacking in gaps.items():
        others = [gap for gap in lacking if gap != WEIGHTS]
        if others:
            say(
                f"#{number} still lacks {_in_words(others)}, which cannot be changed in its run: "
                "delete the run in MLflow, and run the same command again"
            )


def _in_words(gaps: Sequence[str]) -> str:
    """List what a run lacks, as far as it fits in a line or two."""
    more = len(gaps) - _GAPS_SHOWN
    shown = ", ".join(gaps[:_GAPS_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _listed(numbers: Sequence[int]) -> str:
    """List the numbers of trials, the first of them if there are many."""
    text = ", ".join(f"#{number}" for number in numbers[:_NUMBERS_SHOWN])
    return f"{text}, ..." if len(numbers) > _NUMBERS_SHOWN else text


def _describe_work(incomplete: list[int], ends: str) -> str:
    """Say which runs were completed, and how many trials there are, by how they ended."""
    if not incomplete:
        return f"no run was incomplete of {ends}"
    return f"completed the runs of {len(incomplete)} trials of {ends}: {_listed(incomplete)}"


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
