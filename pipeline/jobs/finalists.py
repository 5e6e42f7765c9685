"""Retrains a study's top configurations with new seeds: the job behind `pipeline finalists`.

The finalists are a study of their own. Each of their runs is scored once on the test split. A study
file can ask for them: then `pipeline sweep` trains them after the search.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import yaml

from pipeline.data.search_data import SearchData, known_images, load_for, located
from pipeline.inference import evaluate, kept_code
from pipeline.jobs import preflight, pretrained, sources, sweep, sync
from pipeline.jobs import refit as refitting
from pipeline.jobs.progress import ProgressDisplay
from pipeline.stores import access, locations, locks
from pipeline.stores.access import study_errors
from pipeline.system import failpoints
from pipeline.system.errors import NothingComplete, StudyBusy, UsageFailure
from pipeline.system.garbage import LoadingContext
from pipeline.system.signals import StopRequest
from sweeps.analysis.facts import ChosenFinalists
from sweeps.analysis.finalists import (
    FINALISTS_SUFFIX,
    choose_finalists,
    seeds_are_free,
    study_document,
)
from sweeps.analysis.power import visible_lead
from sweeps.analysis.ranking import ends_text
from sweeps.analysis.record import StudyRecord
from sweeps.search import stored
from sweeps.search.study import Study
from sweeps.spec.configurations import configuration
from sweeps.spec.own_values import read_document
from sweeps.spec.study_spec import Finalists, Repeats, StudySpec
from sweeps.trial import COMPLETE, TrialConfig


def asked_repeats(seeds: int | None, split_seeds: int | None, folds: int | None) -> Repeats | None:
    """Return the repeats of each finalist that are asked for; None if none are.

    Args:
        seeds: fresh seeds.
        split_seeds: fresh seeds, each with its own draw of train and validation.
        folds: fresh seeds, each with its own fold of train and validation.

    Raises:
        UsageFailure: if several are asked for.
    """
    counts = {None: seeds, "split_seeds": split_seeds, "folds": folds}
    given = [Repeats(count, key) for key, count in counts.items() if count is not None]
    if len(given) > 1:
        options = " and ".join(repeats.option for repeats in given)
        raise UsageFailure(f"{options} each say how often a finalist is trained: give one")
    return given[0] if given else None


def make_plan(
    stores: locations.Stores,
    name: str | None,
    data_dir: Path,
    *,
    top: int | None,
    repeats: Repeats | None,
    device: str | None,
) -> sweep.Plan:
    """Choose the finalists of a study, or read the choice of an earlier command.

    The choice is made from the results of a study that no sweep goes on with. A sweep which begins
    after that does not change the choice, even before the choice is stored.

    Args:
        stores: the stores.
        name: the name of the study; None for the study last opened.
        data_dir: the folder of data sets.
        top: the number of configurations; None for the earlier choice, or the default.
        repeats: the number of new seeds of each, at least as many as there are, and their splits;
            None for those that there are, or the default.
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
    chosen = _earlier_choice(stores, record)
    if chosen is None:
        wanted = Finalists()
        chosen = _choose_from_idle_study(
            stores, record.name, top or wanted.top, repeats or wanted.repeats
        )
    else:
        chosen = _keep_choice(record, chosen, top, repeats)
    for config in chosen.configs:
        sources.check_places(config, f"study {record.name!r}")
        _check_code(stores, record, str(config["family"]))
    spec = read_document(study_document(chosen, device))
    return _plan_of(chosen, stores, _load_known(stores, record.name, spec, data_dir), device)


def _check_code(stores: locations.Stores, record: StudyRecord, family: str) -> None:
    """Check that the code of a finalist's network can be loaded.

    Raises:
        CodeFailure: if it cannot.
    """
    runs = [trial.run_id for trial in record.results if trial.config.family == family]
    kept_code.check_code(stores, family, next(filter(None, runs), None))


def _load_known(stores: locations.Stores, name: str, spec: StudySpec, data_dir: Path) -> SearchData:
    """Read the images of a study from where they are now.

    Args:
        stores: the stores.
        name: of the study.
        spec: of the study, or of finalists of it.
        data_dir: the folder of data sets.
    """
    place = access.read_place(stores, name)
    with known_images():
        return load_for(located(configuration(spec, {}), place), data_dir)


def _plan_of(
    chosen: ChosenFinalists, stores: locations.Stores, data: SearchData, device: str | None
) -> sweep.Plan:
    """Plan the study of finalists.

    Args:
        chosen: the finalists.
        stores: the stores.
        data: the images.
        device: the device for training; None for the device of the study.

    Raises:
        UsageFailure: if the images are not those of the study that the finalists come from.
    """
    document = study_document(chosen, device)
    spec = read_document(document)
    with access.read_studies(stores) as storage:
        search = stored.load(storage, chosen.of)
        sweep.check_images(search, data)
        results = search.results()
    configs = [TrialConfig.from_dict(config) for config in chosen.configs]
    sources.check_unchanged(
        configs,
        f"study {chosen.of!r} chose it",
        "the study's run",
        "search again under another --name",
    )
    pretrained.check_unchanged(configs, f"study {chosen.of!r}")
    preflight.check_parts(spec, data)
    pretrained.fetch(configs)
    preflight.check_networks(spec, data.shape, len(data.classes))
    name = f"{chosen.of}{FINALISTS_SUFFIX}"
    return sweep.Plan(
        study=name,
        name=name,
        text=yaml.safe_dump(document, sort_keys=False, allow_unicode=True),
        spec=spec,
        data=data,
        stores=stores,
        deviations="",
        finalists=chosen,
        epoch_seconds={
            result.config.group: result.seconds / len(result.history)
            for result in results
            if result.number in chosen.trials and result.history
        },
    )


def _earlier_choice(stores: locations.Stores, record: StudyRecord) -> ChosenFinalists | None:
    """Return the finalists that an earlier command chose, with their present number of seeds.

    Args:
        stores: the stores.
        record: the study that they come from.
    """
    facts = access.read_facts(stores, f"{record.name}{FINALISTS_SUFFIX}")
    if facts is None or facts.finalists is None:
        return None
    if record.finalists is None:  # a process was killed while it made their study
        return facts.finalists
    return dataclasses.replace(facts.finalists, seeds=record.finalists.spec.repeats)


def _keep_choice(
    record: StudyRecord, chosen: ChosenFinalists, top: int | None, repeats: Repeats | None
) -> ChosenFinalists:
    """Check that the earlier choice is what is asked for now, and take more seeds.

    Args:
        record: the study that they come from.
        chosen: the finalists, with their present number of seeds.
        top: the number of configurations asked for; None for any.
        repeats: the number of seeds asked for, and their splits; None for those that there are.

    Raises:
        UsageFailure: if other configurations, fewer seeds or other splits are asked for, or if the
            study has used one of the seeds.
    """
    if top not in (None, chosen.top):
        raise UsageFailure(
            f"the finalists of {record.name!r} were chosen as the top {chosen.top}, which stays, "
            f"because a second choice would know the first one's test scores: leave out --top {top}"
        )
    if repeats is None:
        return chosen
    present = chosen.repeats
    if not _can_become(present, repeats):
        raise UsageFailure(
            f"the finalists of {record.name!r} were trained with {present.option}, which stays: "
            f"leave out {repeats.option}"
        )
    if repeats.number < present.number:
        raise UsageFailure(
            f"the finalists of {record.name!r} have {chosen.seeds} seeds, which stay: "
            f"give {present.option} or more, or leave it out: got {repeats.number}"
        )
    return _with_seeds(record, chosen, repeats.number)


def _can_become(present: Repeats, wanted: Repeats) -> bool:
    """Whether finalists can go on with other repeats, apart from their number.

    All are trained on splits of one kind, and another number of folds would be other folds.
    """
    return present == wanted or (present.redraw == wanted.redraw != "folds")


def _with_seeds(record: StudyRecord, chosen: ChosenFinalists, seeds: int) -> ChosenFinalists:
    """Give finalists more seeds.

    Args:
        record: the study that they come from.
        chosen: the finalists, with their present number of seeds.
        seeds: their number from now on.

    Raises:
        UsageFailure: if the study has used one of the seeds, or there is none left.
    """
    more = dataclasses.replace(chosen, seeds=seeds)
    if seeds > chosen.seeds and not seeds_are_free(record, more):
        raise UsageFailure(
            f"the finalists of {record.name!r} cannot have {seeds} seeds: those after the first "
            f"{chosen.seeds} are used by the study, or there are no more"
        )
    return more


def _choose_from_idle_study(
    stores: locations.Stores, study_name: str, top: int, repeats: Repeats
) -> ChosenFinalists:
    """Choose the finalists of a study, unless a sweep is running it.

    Args:
        stores: the stores.
        study_name: the study to choose from.
        top: the number of configurations.
        repeats: the number of new seeds of each configuration, and their splits.

    Raises:
        StudyBusy: at once, if a sweep is running the study.
        NothingComplete: if no trial of the study is complete.
    """
    with locks.lock(stores, study_name):  # the results do not change while they are read
        record = access.read_record(stores, study_name)
    chosen = choose_finalists(record, top=top, seeds=repeats.number, redraw=repeats.redraw)
    if not chosen.trials:
        raise NothingComplete(
            f"study {study_name!r} has no complete trial: {ends_text(record.results)}"
        )
    return chosen


def finish_promising(
    stores: locations.Stores,
    name: str | None,
    request: sweep.Request,
    say: Callable[[str], None],
    *,
    top: int | None,
    make_display: Callable[[Study], ProgressDisplay] = ProgressDisplay.for_study,
    stop: StopRequest | None = None,
    loading: LoadingContext = nullcontext,
) -> None:
    """Train the promising trials of an ended search to their ends, before finalists are chosen.

    A search with promotion leaves trials that were paused, and may be better than complete ones.
    Nothing is done if finalists were chosen already, if the search has not come to its end, or if
    it was begun by a version that leaves such trials as they are.

    Args:
        stores: the stores.
        name: the name of the study; None for the study last opened.
        request: the request of the command.
        say: called with messages to the user, besides those of the training.
        top: how many finalists are to be chosen; None for the default.
        make_display: makes the display of the progress, for an opened study.
        stop: a request to stop between two steps; without one, the job runs to its end.
        loading: as for `pipeline.jobs.sweep.sweep`.

    Raises:
        StudyBusy: if a sweep goes on with the study.
        Interrupted: if asked to stop; the same command resumes.
        Failure: with a message of one line and an exit code.
    """
    count = top or Finalists().top
    record = access.read_record(stores, name)
    if record.facts.finalists is not None or _earlier_choice(stores, record) is not None:
        return
    if not sweep.search_has_ended(record.reason):
        return
    with access.read_studies(stores) as storage, study_errors():
        study = stored.load(storage, record.name)
        numbers = [
            number for number in study.promising_trials(count) if study.is_unfinished(number)
        ]
        spec = study.specification()
    if not numbers:
        return
    shown = ", ".join(f"#{number}" for number in numbers)
    say(f"before the choice, promising trials that were paused are trained to their end: {shown}")
    plan = sweep.Plan(
        study=record.study,
        name=record.name,
        text="",
        spec=spec,
        data=_load_known(stores, record.name, spec, request.data_dir),
        stores=stores,
        deviations=record.deviations,
        finishes_for=count,
    )
    sweep.sweep(plan, request, make_display, stop=stop, loading=loading)


def run(
    plan: sweep.Plan,
    request: sweep.Request,
    say: Callable[[str], None],
    *,
    refit: bool = False,
    make_display: Callable[[Study], ProgressDisplay] = ProgressDisplay.for_study,
    stop: StopRequest | None = None,
    loading: LoadingContext = nullcontext,
) -> sweep.Outcome:
    """Train the finalists, score each on the test split, and write the reports of both studies.

    Args:
        plan: the study of the finalists.
        request: the request of the command.
        say: called with messages to the user, besides those of the training.
        refit: train the winner once more, on training and validation images together.
        make_display: makes the display of the progress, for the opened study.
        stop: a request to stop between two steps; without one, the job runs to its end.
        loading: as for `pipeline.jobs.sweep.sweep`.

    Returns:
        How the training of the finalists ended, with the record and the report of the study that
        they come from.

    Raises:
        Interrupted: if asked to stop; the same command resumes.
        Failure: with a message of one line and an exit code.
    """
    stop = stop or StopRequest()
    chosen = plan.finalists
    if chosen is not None and len(chosen.trials) < chosen.top:
        say(f"only {len(chosen.trials)} of the {chosen.top} asked for: no more are complete")
    if chosen is not None:
        power = _power_sentence(chosen, access.read_record(plan.stores, chosen.of))
        if power is not None:
            say(power)

    def score(stop: StopRequest) -> None:
        _score_unscored(plan, request, say, stop)

    outcome = sweep.sweep(plan, request, make_display, score, stop=stop, loading=loading)
    if refit:
        display = ProgressDisplay.for_training(plan.spec.objective)
        refitting.refit(plan, request, display, stop)
    record = _update_study(plan, request, stop)
    is_one_complete = any(result.state == COMPLETE for result in outcome.record.results)
    if not is_one_complete and sweep.search_has_ended(outcome.reason):
        raise NothingComplete(f"no finalist is complete: {ends_text(outcome.record.results)}")
    report = plan.stores.reports(record.name)
    return dataclasses.replace(outcome, record=record, report=report)


def _power_sentence(chosen: ChosenFinalists, search: StudyRecord) -> str | None:
    """Say how large a lead the runs will tell from chance; None if it is not known beforehand."""
    if len(chosen.trials) < 2:
        return None
    if chosen.seeds == 1:
        return "with one seed each, no finalist can be told from another"
    if chosen.objective != "val_acc" or chosen.redraw is not None:
        return None
    numbers = set(chosen.trials)
    trials = [trial for trial in search.results if trial.number in numbers]
    lead = visible_lead(trials, chosen.seeds)
    if lead is None:
        return None
    images = sum(map(sum, trials[0].confusion or ()))
    return (
        f"with {chosen.seeds} seeds and {images:,} validation images, only a lead of "
        f"{100 * lead:.1f} points or more would be noticed (4 times in 5)"
    )


def choose_and_train(
    stores: locations.Stores,
    name: str | None,
    request: sweep.Request,
    say: Callable[[str], None],
    *,
    top: int | None = None,
    repeats: Repeats | None = None,
    device: str | None = None,
    refit: bool = False,
    make_display: Callable[[Study], ProgressDisplay] = ProgressDisplay.for_study,
    stop: StopRequest | None = None,
    loading: LoadingContext = nullcontext,
) -> sweep.Outcome:
    """Choose the finalists of a searched study, or keep the earlier choice, and train them.

    Promising trials that the search had paused are trained to their end first. After an
    interruption, the same call goes on.

    Args:
        stores: the stores.
        name: the name of the study; None for the study last opened.
        request: the request of the command.
        say: called with messages to the user, besides those of the training.
        top: as for `make_plan`.
        repeats: as for `make_plan`.
        device: as for `make_plan`.
        refit: as for `run`.
        make_display: makes the display of the progress, for an opened study.
        stop: a request to stop between two steps; without one, the job runs to its end.
        loading: as for `pipeline.jobs.sweep.sweep`.

    Raises:
        Interrupted: if asked to stop; the same command resumes.
        Failure: with a message of one line and an exit code.
    """
    finish_promising(
        stores, name, request, say, top=top, make_display=make_display, stop=stop, loading=loading
    )
    with loading():
        plan = make_plan(stores, name, request.data_dir, top=top, repeats=repeats, device=device)
    request = dataclasses.replace(request, max_failures=plan.spec.trials or 1)
    return run(
        plan, request, say, refit=refit, make_display=make_display, stop=stop, loading=loading
    )


def search_and_train(
    plan: sweep.Plan,
    request: sweep.Request,
    say: Callable[[str], None],
    *,
    make_display: Callable[[Study], ProgressDisplay] = ProgressDisplay.for_study,
    stop: StopRequest | None = None,
    loading: LoadingContext = nullcontext,
) -> sweep.Outcome:
    """Search a study, then train finalists if its file asks for them.

    After an interruption in either part, the same call goes on.

    Args:
        plan: the study.
        request: the request of the command.
        say: called with messages to the user, besides those of the training.
        make_display: makes the display of the progress, for an opened study.
        stop: a request to stop between two steps; without one, the job runs to its end.
        loading: as for `pipeline.jobs.sweep.sweep`.

    Returns:
        How the last of the two parts that began has ended, with the record of the study. Finalists
        do not begin if the search stops before its end, or no trial is complete.

    Raises:
        Interrupted: if asked to stop; the same command resumes.
        Failure: with a message of one line and an exit code.
    """
    if plan.spec.finalists is None:
        return sweep.sweep(plan, request, make_display, stop=stop, loading=loading)
    stop = stop or StopRequest()
    began = time.monotonic()
    say("part 1 of 2: the search")
    outcome = sweep.sweep(plan, request, make_display, stop=stop, loading=loading)
    if not sweep.search_has_ended(outcome.reason) or outcome.record.best_trial is None:
        return outcome
    failpoints.reach("before_finalists")
    chosen = _choose_wanted(plan, say)
    count = min(len(chosen.trials), chosen.top)
    plural = "s" if count > 1 else ""
    baseline = " and the best baseline" if len(chosen.trials) > count else ""
    say(
        f"part 2 of 2: the finalists, the best {count} configuration{plural}{baseline} again with "
        f"{chosen.repeats.text}"
    )
    device = plan.spec.base.get("device")
    finalists_plan = _plan_of(
        chosen, plan.stores, plan.data, None if device in (None, "auto") else str(device)
    )
    time_left = request.timeout
    if time_left is not None:
        time_left = max(0.0, time_left - (time.monotonic() - began))
    rest = dataclasses.replace(
        request, timeout=time_left, max_failures=finalists_plan.spec.trials or 1
    )
    return run(finalists_plan, rest, say, make_display=make_display, stop=stop, loading=loading)


def _choose_wanted(plan: sweep.Plan, say: Callable[[str], None]) -> ChosenFinalists:
    """Choose the finalists that a study file asks for, or keep the earlier choice.

    What was chosen stays, also if the file asks for others by now: that is said. More seeds are
    added.

    Args:
        plan: the study that they come from.
        say: called with messages to the user.

    Raises:
        StudyBusy: if no choice was made yet and a sweep goes on with the study.
        UsageFailure: if there are no such seeds left.
    """
    wanted = plan.spec.finalists or Finalists()
    record = access.read_record(plan.stores, plan.name)
    chosen = _earlier_choice(plan.stores, record)
    if chosen is None:
        return _choose_from_idle_study(plan.stores, plan.name, wanted.top, wanted.repeats)
    if wanted.top != chosen.top:
        say(f"the finalists were chosen as the top {chosen.top}, which stays: not {wanted.top}")
    if not _can_become(chosen.repeats, wanted.repeats):
        say(f"the finalists were trained with {chosen.repeats.text}, which stays")
        return chosen
    if wanted.seeds < chosen.seeds:
        say(f"the finalists have {chosen.seeds} seeds, which stay: not {wanted.seeds}")
    return _with_seeds(record, chosen, max(wanted.seeds, chosen.seeds))


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
