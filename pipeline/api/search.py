"""`pipeline.sweep` and `pipeline.load_study`: search a study, and read it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.api.definitions import Definitions, check_not_loading
from pipeline.api.progress import Progress
from pipeline.api.results import StudyResults
from pipeline.api.values import command_of, data_folder, plain_value
from pipeline.jobs import finalists as finalists_job
from pipeline.jobs import sweep as sweep_job
from pipeline.stores import access, locations
from sweeps.search.loop import MAX_FAILURES
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import Value

# Arguments that replace a value of the study.
_STUDY_KEYS = (
    "trials",
    "budget",
    "epochs",
    "dataset",
    "seed",
    "pruner",
    "keep_checkpoints",
    "method",
)


def sweep(
    study: str | Path | Mapping[str, Any] | StudySpec | None = None,
    *,
    name: str | None = None,
    trials: int | None = None,
    budget: float | str | None = None,
    epochs: int | None = None,
    dataset: str | Callable[..., Any] | None = None,
    data_dir: str | Path | None = None,
    families: Sequence[str | Callable[..., Any]] | None = None,
    objectives: Sequence[str] | None = None,
    method: str | None = None,
    pruner: str | None = None,
    seed: int | None = None,
    warm_start: Sequence[str] | None = None,
    set: Mapping[str, Value | Callable[..., Any]] | None = None,  # noqa: A002 - as the option --set
    finalists: bool | None = None,
    keep_checkpoints: str | None = None,
    workers: int | None = None,
    deterministic: bool | None = None,
    engine: str = "local",
    address: str | None = None,
    timeout: float | None = None,
    trial_timeout: float | None = None,
    max_failures: int = MAX_FAILURES,
    experiment: str | None = None,
    storage: str | None = None,
    progress: bool = True,
) -> StudyResults:
    """Search a study, as `pipeline sweep` does. The same call again goes on with it.

    The stores are those of the command line in the same folder: a study that is begun here can be
    gone on with there, and the other way round. A network of your own is a family by its class
    itself, or by ``"FILE.py:Class"``: as ``set={"family": TinyNet}``, in `families`, and in the
    mapping of a study; a data set and an augmentation of your own are functions.

    In the main thread, Ctrl-C (in a notebook: the interrupt of the kernel) stops between two steps
    and keeps all that was trained.

    Args:
        study: the name of a shipped study, the path of a study file, or what such a file contains:
            a mapping, or a `StudySpec`. Without it, the shipped study that the one called ``name``
            was made from, or ``networks``.
        name: the study's name in the stores. The default is the name of the file (``study`` if
            there is none) and of the data set.
        trials: the total of trials. More than before extends a study.
        budget: what all trials may take together, as in a study file: ``12``, ``"1.5h"``.
        epochs: the most epochs of a trial.
        dataset: the data set, such as ``"mnist"`` or ``"folder:photos"``, or a function.
        data_dir: the folder of data sets. The default is ``PIPELINE_DATA_DIR``, or ``data``.
        families: the families of networks to search: names or classes.
        objectives: a metric and a cost whose front is searched, such as ``["val_acc",
            "parameters"]``.
        method: how configurations are chosen: ``"tpe"``, ``"random"`` or ``"grid"``.
        pruner: what becomes of trials that lag behind: ``"asha"``, ``"median"`` or ``"none"``.
        seed: decides weights, order, dropout and sampler.
        warm_start: earlier studies in the store, from which the search learns.
        set: fixed values of fields, such as ``{"optimizer": "sgd"}``.
        finalists: whether the best are trained again after the search; None for what the study
            says.
        keep_checkpoints: whose weights stay: ``"each"``, ``"all"``, ``"best"`` or ``"top:K"``.
        workers: trials at a time; None for the number of an earlier call, or that of the machine.
        deterministic: whether the list of trials is the same each time; None for the choice of an
            earlier call, or True.
        engine: where trials are trained: ``"local"`` or ``"ray"``.
        address: the Ray cluster to join.
        timeout: seconds after which no further trial begins.
        trial_timeout: seconds of training that each trial may take.
        max_failures: the number of failures in a row that ends the sweep.
        experiment: the MLflow experiment.
        storage: the store of the studies, as the option ``--storage``.
        progress: whether lines and bars of progress are shown.

    Returns:
        The study as it stands at the end, with its finalists if they were trained.

    Raises:
        UsageFailure: if the study, a value or the data are wrong; nothing was written.
        NothingComplete: if no trial is complete, or too many failed in a row.
        Failure: for other errors, each with a message of one line, see `pipeline.Failure`.
        KeyboardInterrupt: if it was interrupted; the same call goes on.
    """
    check_not_loading()
    definitions = Definitions()
    if not isinstance(study, StudySpec):
        study = definitions.named(study)
    dataset = definitions.named(dataset)
    families = None if families is None else definitions.named(list(families))
    set = definitions.named(dict(set or {}))  # noqa: A001 - the argument
    given = {
        "name": name,
        "trials": trials,
        "budget": budget,
        "epochs": epochs,
        "dataset": dataset,
        "data_dir": data_dir,
        "families": families,
        "objectives": objectives,
        "method": method,
        "pruner": pruner,
        "seed": seed,
        "warm_start": warm_start,
        "set": set,
        "finalists": finalists,
        "keep_checkpoints": keep_checkpoints,
        "workers": workers,
        "deterministic": deterministic,
        "engine": None if engine == "local" else engine,
        "address": address,
        "timeout": timeout,
        "trial_timeout": trial_timeout,
        "max_failures": None if max_failures == MAX_FAILURES else max_failures,
        "experiment": experiment,
        "storage": storage,
    }
    overrides = {key: given[key] for key in _STUDY_KEYS}
    overrides["families"] = families
    overrides["objectives"] = None if objectives is None else list(objectives)
    overrides["warm_start"] = None if warm_start is None else list(warm_start)
    overrides["set"] = {key: plain_value(value) for key, value in set.items()}
    request = sweep_job.Request(
        study=str(study) if isinstance(study, Path) else study,
        name=name,
        overrides=overrides,
        data_dir=data_folder(data_dir),
        storage=storage,
        experiment=experiment,
        timeout=timeout,
        trial_timeout=trial_timeout,
        finalists=finalists,
        max_failures=max_failures,
        workers=workers,
        deterministic=deterministic,
        engine=engine,
        address=address,
        command=command_of(study, given),
        given_by="arguments",
    )
    shown = Progress(visible=progress)
    with definitions.written():
        plan = sweep_job.make_plan(request)
    with shown.interruptible() as stop:
        outcome = finalists_job.search_and_train(
            plan, request, shown.say, make_display=shown.display, stop=stop
        )
    sweep_job.check_complete(outcome, max_failures)
    return StudyResults(plan.stores, outcome.record, request.data_dir)


def load_study(
    name: str | None = None,
    *,
    storage: str | None = None,
    data_dir: str | Path | None = None,
) -> StudyResults:
    """Read a study back from its store. Nothing is written.

    Args:
        name: the study's name in the stores; None for the study last run.
        storage: the store of the studies, as for `pipeline.sweep`.
        data_dir: the folder of data sets, for `StudyResults.finalists`.

    Raises:
        UsageFailure: if there is no such study.
        StorageFailure: if the store cannot be read.
    """
    stores = locations.locate(storage)
    return StudyResults(stores, access.read_record(stores, name), data_folder(data_dir))
