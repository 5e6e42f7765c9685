"""Retrains a study's top configurations with new seeds: the job behind `pipeline finalists`.

The finalists are a study of their own. Each of their runs is scored once on the test split.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import yaml

from pipeline.data.search_data import load_for
from pipeline.inference import evaluate
from pipeline.jobs import preflight, sweep, sync
from pipeline.jobs import refit as refitting
from pipeline.jobs.progress import ProgressDisplay
from pipeline.stores import access, locations, locks
from pipeline.system.errors import NothingComplete, StudyBusy, UsageFailure
from pipeline.system.signals import StopRequest
from sweeps.analysis.facts import ChosenFinalists
from sweeps.analysis.finalists import (
    FINALISTS_SUFFIX,
    choose_finalists,
    seeds_are_free,
    study_document,
)
from sweeps.analysis.ranking import ends_text
from sweeps.analysis.record import StudyRecord
from sweeps.search import stored
from sweeps.spec.configurations import configuration
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import COMPLETE

DEFAULT_TOP = 3  # configurations
DEFAULT_SEEDS = 3  # new seeds of each configuration


def make_plan(
    stores: locations.Stores,
    name: str | None,
    data_dir: Path,
    *,
    top: int | None,
    seeds: int | None,
    device: str | None,
) -> sweep.Plan:
    """Choose the finalists of a study, or read the choice of an earlier command.

    The choice is made from the results of a study that no sweep goes on with. A sweep which begins
    after that does not change the choice, even before the choice is stored.

    Args:
        stores: the stores.
        name: the name of the study; None for the study last opened.
        data_dir: the folder of data sets.
        top: the number of configurations; None for the earlier choice, or `DEFAULT_TOP`.
        seeds: the number of new seeds of each, at least as many as there are; None for as many as
            there are, or `DEFAULT_SEEDS`.
        device: the device for training; None for the device of the study.

    Raises:
        StudyBusy: if no choice was made yet and a sweep goes on with the study.
        NothingComplete: if no trial of the study is complete.
        UsageFailure: if other finalists were chosen before or have more seeds, or if the images are
            not the study's.
    """
    if name is not None and name.endswith(FINALISTS_SUFFIX):
        study_name = name.removesuffix(FINALISTS_SUFFIX)
        raise UsageFailure(f"{name!r} are finalists already: name their study, {study_name!r}")
    record = access.read_record(stores, name)
    study_name = record.name
    finalists_name = f"{study_name}{FINALISTS_SUFFIX}"
    facts = access.read_facts(stores, finalists_name)
    if facts is None or facts.finalists is None:
        chosen = _choose_from_idle_study(
            stores, study_name, top or DEFAULT_TOP, seeds or DEFAULT_SEEDS
        )
    else:
        chosen = _keep_choice(record, facts.finalists, top, seeds)
    document = study_document(chosen, device)
    spec = StudySpec.model_validate(document)
    data = load_for(configuration(spec, {}), data_dir)
    with access.read_studies(stores) as storage:
        sweep.check_images(stored.load(storage, study_name), data)
    preflight.check_networks(spec, data.shape, len(data.classes))
    return sweep.Plan(
        study=finalists_name,
        name=finalists_name,
        text=yaml.safe_dump(document, sort_keys=False, allow_unicode=True),
        spec=spec,
        data=data,
        stores=stores,
        deviations="",
        finalists=chosen,
    )


def _keep_choice(
    record: StudyRecord, chosen: ChosenFinalists, top: int | None, seeds: int | None
) -> ChosenFinalists:
    """Return the finalists that an earlier command chose, with as many seeds as are asked for now.

    Args:
        record: the study that they come from.
        chosen: the finalists.
        top: the number of configurations asked for; None for any.
        seeds: the number of seeds asked for; None for as many as there are.

    Raises:
        UsageFailure: if other configurations or fewer seeds are asked for, or if the study has
            used one of the seeds.
    """
    present = chosen.seeds if record.finalists is None else record.finalists.spec.repeats
    if top not in (None, chosen.top):
        raise UsageFailure(
            f"the finalists of {record.name!r} were chosen as the top {chosen.top}, which stays, "
            f"because a second choice would know the first one's test scores: leave out --top {top}"
        )
    if seeds is not None and seeds < present:
        raise UsageFailure(
            f"the finalists of {record.name!r} have {present} seeds, which stay: "
            f"give --seeds {present} or more, or leave it out: got {seeds}"
        )
    with_seeds = dataclasses.replace(chosen, seeds=seeds or present)
    if not seeds_are_free(record, with_seeds):
        raise UsageFailure(
            f"the finalists of {record.name!r} cannot have {seeds} seeds: those after the first "
            f"{present} are used by the study, or there are no more"
        )
    return with_seeds


def _choose_from_idle_study(
    stores: locations.Stores, study_name: str, top: int, seeds: int
) -> ChosenFinalists:
    """Choose the finalists of a study, unless a sweep is running it.

    Args:
        stores: the stores.
        study_name: the study to choose from.
        top: the number of configurations.
        seeds: the number of new seeds of each configuration.

    Raises:
        StudyBusy: at once, if a sweep is running the study.
        NothingComplete: if no trial of the study is complete.
    """
    with locks.lock(stores, study_name):  # the results do not change while they are read
        record = access.read_record(stores, study_name)
    chosen = choose_finalists(record, top=top, seeds=seeds)
    if not chosen.trials:
        raise NothingComplete(
            f"study {study_name!r} has no complete trial: {ends_text(record.results)}"
        )
    return chosen


def run(
    plan: sweep.Plan,
    request: sweep.Request,
    say: Callable[[str], None],
    *,
    refit: bool = False,
    stop: StopRequest | None = None,
    loading: sweep.LoadingContext = nullcontext,
) -> StudyRecord:
    """Train the finalists, score each on the test split, and write the reports of both studies.

    Args:
        plan: the study of the finalists.
        request: the request of the command.
        say: called with messages to the user, besides those of the training.
        refit: train the winner once more, on training and validation images together.
        stop: a request to stop between two steps; without one, the job runs to its end.
        loading: as for `pipeline.jobs.sweep.sweep`.

    Returns:
        The study that the finalists come from.

    Raises:
        Interrupted: if asked to stop; the same command resumes.
        Failure: with a message of one line and an exit code.
    """
    stop = stop or StopRequest()
    chosen = plan.finalists
    if chosen is not None and len(chosen.trials) < chosen.top:
        say(f"only {len(chosen.trials)} of the {chosen.top} asked for: no more are complete")

    def score(stop: StopRequest) -> None:
        _score_unscored(plan, request, say, stop)

    outcome = sweep.sweep(
        plan, request, ProgressDisplay.for_study, score, stop=stop, loading=loading
    )
    if refit:
        display = ProgressDisplay.for_training(plan.spec.objective)
        refitting.refit(plan, request, display, stop)
    record = _update_study(plan, request, stop)
    if not any(result.state == COMPLETE for result in outcome.record.results):
        raise NothingComplete(f"no finalist is complete: {ends_text(outcome.record.results)}")
    return record


def _score_unscored(
    plan: sweep.Plan, request: sweep.Request, say: Callable[[str], None], stop: StopRequest
) -> None:
    """Score the complete finalists without a test score; an existing score is never replaced."""
    unscored = [
        trial
        for trial in access.read_record(plan.stores, plan.name).results
        if trial.state == COMPLETE and trial.test is None
    ]
    for trial in unscored:
        stop.check()
        evaluate.evaluate(plan.stores, request.data_dir, split="test", run_id=trial.run_id)
    if unscored:
        plural = "s" if len(unscored) > 1 else ""
        say(f"scored {len(unscored)} run{plural} on the test split")


def _update_study(plan: sweep.Plan, request: sweep.Request, stop: StopRequest) -> StudyRecord:
    """Update the report and the record of the study that the finalists come from."""
    name = plan.name.removesuffix(FINALISTS_SUFFIX)
    try:
        return sync.sync(
            plan.stores, name, experiment=request.experiment, say=lambda _: None, stop=stop
        )
    except StudyBusy:  # a sweep goes on with the study, and updates both in the end
        return access.read_record(plan.stores, name)
