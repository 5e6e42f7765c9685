"""The first of a study, trained again with fresh seeds as a study of its own, and scored once on the test split."""

from __future__ import annotations

from collections.abc import Callable
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
from sweeps.analysis.finalists import FINALISTS_SUFFIX, choose_finalists, study_document
from sweeps.analysis.ranking import ends_text
from sweeps.analysis.record import StudyRecord
from sweeps.search import stored
from sweeps.spec.configurations import configuration
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import COMPLETE

# finalists, and fresh seeds of each, where nothing else is asked for
TOP = 3
SEEDS = 3


def make_plan(
    where: locations.Stores,
    name: str | None,
    data_dir: Path,
    *,
    top: int | None,
    seeds: int | None,
    device: str | None,
) -> sweep.Plan:
    """Choose the finalists of a study, or take those that were chosen before.

    They are chosen from what is read while no sweep goes on with the study. One that is begun after that, even before
    they are kept with their own study, changes nothing of them.

    Args:
        where: the stores.
        name: the study; the one last opened, if none is named.
        data_dir: the folder of data sets.
        top: so many configurations; None for as many as before, or `TOP`.
        seeds: so many fresh seeds of each; None for as many as before, or `SEEDS`.
        device: where to train, if not where the study did.

    Raises:
        StudyBusy: if they are still to be chosen, and a sweep goes on with the study.
        NothingComplete: if there is nothing to choose from.
        UsageFailure: for other finalists than those that were chosen, or other images than the study's.
    """
    if name is not None and name.endswith(FINALISTS_SUFFIX):
        raise UsageFailure(
            f"{name!r} are finalists already: name their study, {name.removesuffix(FINALISTS_SUFFIX)!r}"
        )
    record = access.read_record(where, name)
    own = f"{record.name}{FINALISTS_SUFFIX}"
    facts = access.read_facts(where, own)
    chosen = None if facts is None else facts.finalists
    if chosen is None:
        with locks.lock(where, record.name):
            record = access.read_record(where, record.name)
        chosen = choose_finalists(record, top=top or TOP, seeds=seeds or SEEDS)
        if not chosen.trials:
            raise NothingComplete(
                f"study {record.name!r} has no complete trial: {ends_text(record.results)}"
            )
    elif (top or chosen.top, seeds or chosen.seeds) != (chosen.top, chosen.seeds):
        raise UsageFailure(
            f"the finalists of {record.name!r} were chosen as the top {chosen.top} with {chosen.seeds} seeds, "
            "which stays: leave out --top and --seeds"
        )
    raw = study_document(chosen, device)
    spec = StudySpec.model_validate(raw)
    data = load_for(configuration(spec, {}), data_dir)
    with access.read_studies(where) as storage:
        sweep.check_images(stored.load(storage, record.name), data)
    preflight.check_networks(spec, data.shape, len(data.classes))
    text = yaml.safe_dump(raw, sort_keys=False, allow_unicode=True)
    return sweep.Plan(own, own, text, spec, data, where, "", finalists=chosen)


def run(
    made: sweep.Plan, request: sweep.Request, say: Callable[[str], None], *, refit: bool = False
) -> StudyRecord:
    """Train what is left of the finalists, score each on the test split, and write both studies' reports.

    Args:
        made: the finalists.
        request: what was asked for.
        say: told what is done besides training.
        refit: train the winner once more, on training and validation images together.

    Returns:
        The study that they are the first of.

    Raises:
        Interrupted: asked to stop by a signal; the same command goes on.
        Failure: in one line, with its exit code.
    """

    def score(stop: StopRequest) -> None:
        """Score what has no test score yet: of a run that has one it stays."""
        unscored = [
            trial
            for trial in access.read_record(made.stores, made.name).results
            if trial.state == COMPLETE and trial.test is None
        ]
        for trial in unscored:
            stop.check()
            evaluate.evaluate(made.stores, request.data_dir, split="test", run_id=trial.run_id)
        if unscored:
            say(f"scored {len(unscored)} run{'s' * (len(unscored) > 1)} on the test split")

    chosen = made.finalists
    if chosen is not None and len(chosen.trials) < chosen.top:
        say(f"only {len(chosen.trials)} of the {chosen.top} asked for: no more are complete")
    outcome = sweep.sweep(made, request, ProgressDisplay.of, score)
    if refit:
        refitting.refit(made, request, ProgressDisplay.one(made.spec.objective))
    record = _say_so(made, request)
    if not any(result.state == COMPLETE for result in outcome.record.results):
        raise NothingComplete(f"no finalist is complete: {ends_text(outcome.record.results)}")
    return record


def _say_so(made: sweep.Plan, request: sweep.Request) -> StudyRecord:
    """Bring the report and the record of the study that they are the first of up to date."""
    name = made.name.removesuffix(FINALISTS_SUFFIX)
    try:
        return sync.sync(made.stores, name, experiment=request.experiment, say=lambda _: None)
    except StudyBusy:  # by a sweep that goes on with it, which does the same in the end
        return access.read_record(made.stores, name)
