"""Opens, writes, ends and reads the runs of an experiment in an MLflow tracking store.

All calls to the store are made by one thread, in order, while the training goes on. Everything can
be sent again with the same values and timestamps: the calls to a server that is away are repeated
until it is back, and a run can always be completed from the result of its trial.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.system.errors import StorageFailure, UsageFailure
from pipeline.system.files import temporary_folder
from pipeline.system.garbage import LoadingContext
from pipeline.tracking import home_tags, run_contents, run_tags
from pipeline.tracking.later import LaterModule
from pipeline.tracking.notes import description_tags
from pipeline.tracking.server import (
    Connection,
    artifacts_beside,
    error_line,
    is_server,
    without_password,
)
from pipeline.tracking.source_code import CodeState, read_code_state
from sweeps import trial
from sweeps.analysis.facts import SELECTION
from sweeps.trial import FAILED, Epoch, TrialConfig, TrialResult

if TYPE_CHECKING:
    from pipeline.tracking import library
    from pipeline.tracking.library import ArtifactRepository, MlflowClient, Run
else:
    library = LaterModule("pipeline.tracking.library")

_RUNS = 100  # run ids in a filter
_BATCH = 1000  # metrics in a request; MLflow accepts no more
STORAGE = "sweep.storage"  # tag of a parent: the store of its study
_RUN_ID = re.compile("[0-9a-zA-Z_-]{1,64}")
_EXPERIMENT_VARIABLES = ("MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
_PARENT = f"tags.`{run_tags.PARENT}`"


class Tracker(Connection):
    """One experiment of a tracking store, and the only thread that writes to it."""

    def __init__(
        self,
        uri: str,
        *,
        experiment: str | None = None,
        server_default: str | None = None,
        takes_given_run: bool = True,
    ) -> None:
        """Open the store.

        Args:
            uri: the tracking URI.
            experiment: name of the experiment. By default MLflow's environment variables decide,
                then `server_default`.
            server_default: name of the experiment on a tracking server, where many people share
                experiment 0.
            takes_given_run: whether the run that `mlflow run` has made for this command is of the
                study that is opened first.

        Raises:
            StorageFailure: if the store cannot be used.
        """
        super().__init__(uri)
        self._takes_given_run = takes_given_run
        self._invocation: str | None = None  # the run of a later `mlflow run` of the study
        self._key = uuid.uuid4().hex  # finds a run that belongs to no study
        self._sent: dict[str, int] = {}  # epochs already sent, by run
        self._locations: dict[str, str] = {}  # of the artifacts of running trials, by run
        self._starts: dict[str, int] = {}  # of running trials, in milliseconds, by run
        # Trials whose runs were opened before, perhaps in vain: their parents and numbers.
        self._tried: set[tuple[str | None, int]] = set()
        self._opening = threading.Lock()
        default = server_default if is_server(uri) else None
        is_named = bool(experiment or default or any(map(os.environ.get, _EXPERIMENT_VARIABLES)))
        self.experiment_id = "0"  # which every store has
        if is_named:
            self.experiment_id = self.call(self._find_experiment, experiment, default)

    @cached_property
    def _client(self) -> MlflowClient:
        """MLflow's own client. Its first use imports MLflow, which takes more than a second."""
        with self._opening, artifacts_beside(self._uri):
            return library.MlflowClient(self._uri)

    def _find_experiment(self, name: str | None, default: str | None) -> str:
        """Return the id of a named experiment, which is made if necessary."""
        if name is None and os.environ.get("MLFLOW_EXPERIMENT_ID"):
            experiment_id = os.environ["MLFLOW_EXPERIMENT_ID"]
            return str(self._client.get_experiment(experiment_id).experiment_id)
        name = name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or str(default)
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            return self._client.create_experiment(
                name, tags={library.mlflow_tags.MLFLOW_USER: _user()}
            )
        if experiment.lifecycle_stage != "active":
            text = f"experiment {name!r} is deleted: restore it, or name another with --experiment"
            raise library.MlflowException(text, error_code=library.INVALID_STATE)
        return str(experiment.experiment_id)

    def open_store(self, loading: LoadingContext = nullcontext) -> None:
        """Open the store, in which MLflow makes the tables that are missing.

        Args:
            loading: a context for the import of MLflow.
        """
        with loading():
            _ = self._client

    @property
    def refuses_nobody(self) -> bool:
        """Whether opening a parent run cannot fail by what a user has set.

        A server may be away, and the environment may name a run that is not there.
        """
        return not is_server(self._uri) and "MLFLOW_RUN_ID" not in os.environ

    # The parent run: one for each study, for as long as the study exists

    def open_parent(
        self,
        study: str,
        stored_id: str | None,
        key: str,
        tags: Mapping[str, str],
        parent_study_run: str | None = None,
    ) -> str:
        """Open the parent run of a study; its experiment becomes the tracker's.

        The parent is the first of these runs:

        - the run with the stored id, unless it was deleted;
        - the run with the study's key, if a process made it and died before it stored the id;
        - the run that `mlflow run` has made for this command, unless that is another study's;
        - a new run.

        If the study has a parent and `mlflow run` continues the study, the run made by `mlflow run`
        is nested under the parent as ``continued <date>``.

        Args:
            study: name of the study.
            stored_id: the parent's run id, if it was stored.
            key: the study's own key, kept in a tag of the parent.
            tags: for the parent.
            parent_study_run: only for finalists: the id of the parent run of the study they come
                from. The finalists' parent run is nested under that run.

        Returns:
            The parent's run id.
        """
        mlflow_run_id: str | None = None
        if self._takes_given_run:
            mlflow_run_id = self._given_run(study)
        outer_run = self._active_run(parent_study_run)
        if outer_run is not None:
            self.experiment_id = outer_run.info.experiment_id
            tags = {
                **tags,
                run_tags.PARENT: outer_run.info.run_id,
                "sweep.role": "finalists",
            }
        parent = self._active_run(stored_id) or self._first_run(f"tags.`sweep.key` = '{key}'")
        if parent is None:
            self._end_former_study(study, key, tags.get(STORAGE))
        if parent is not None:
            if mlflow_run_id and mlflow_run_id != parent.info.run_id:
                self._nest(mlflow_run_id, parent, study)
        elif mlflow_run_id:
            parent = self._client.get_run(mlflow_run_id)
            if not _named_by_user(parent):
                self._client.update_run(mlflow_run_id, name=study)
        else:
            source = "pipeline finalists" if parent_study_run else "pipeline sweep"
            parent = self._client.create_run(
                self.experiment_id, run_name=study, tags={**self._origin(source), "sweep.key": key}
            )
        run_id = str(parent.info.run_id)
        self.experiment_id = parent.info.experiment_id
        self._client.update_run(run_id, status="RUNNING")
        self.tag(run_id, {"sweep.study": study, "sweep.role": "parent", "sweep.key": key, **tags})
        self._end_dead_invocations(run_id, mlflow_run_id)
        return run_id

    def _origin(self, source: str) -> dict[str, str]:
        """Return the tags that MLflow's fluent API would set, and the digest of changed code.

        The artifacts of the parent hold the changes.
        """
        tags = {
            library.mlflow_tags.MLFLOW_USER: _user(),
            library.mlflow_tags.MLFLOW_SOURCE_NAME: source,
            library.mlflow_tags.MLFLOW_SOURCE_TYPE: "LOCAL",
        }
        code = self._code
        if code is not None:
            tags[library.mlflow_tags.MLFLOW_GIT_COMMIT] = code.commit
            if code.branch:
                tags[library.mlflow_tags.MLFLOW_GIT_BRANCH] = code.branch
            if code.changes:
                tags[run_tags.CHANGES] = code.changes_digest
        return tags

    @cached_property
    def _code(self) -> CodeState | None:
        """The code that trains, as it is at the first run of this command."""
        return read_code_state()

    def _given_run(self, study: str | None = None) -> str | None:
        """Return the id of the run that `mlflow run` has made for this command, or None.

        A run that ended, or is another study's, a trial's or another training's, was not: its id is
        left over in the environment, or a command that trains finalists has opened two studies.

        Args:
            study: the study whose later command the run may be already; None outside any study.

        Raises:
            UsageFailure: if the environment names no run.
        """
        run_id = os.environ.get("MLFLOW_RUN_ID")
        if not run_id:
            return None
        run = self._active_run(run_id) if _RUN_ID.fullmatch(run_id) else None
        if run is None:
            raise UsageFailure(
                f"MLFLOW_RUN_ID must be the id of a run in {without_password(self._uri)}: "
                f"got {run_id!r}; `mlflow run` sets it, otherwise unset it"
            )
        tags = run.data.tags
        is_ours = tags.get("sweep.key") == self._key
        if study is not None and tags.get("sweep.role") in ("parent", "finalists", "invocation"):
            is_ours = tags.get("sweep.study") == study
        is_used = any(key.startswith("sweep.") for key in tags)
        if run.info.status == "RUNNING" and (is_ours or not is_used):
            return run_id
        return None

    def _nest(self, run_id: str, parent: Run, study: str) -> None:
        """Nest the run of a later `mlflow run` under the study's parent, to end with the parent."""
        now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        tags = {
            run_tags.PARENT: parent.info.run_id,
            "sweep.role": "invocation",
            "sweep.study": study,
        }
        self.tag(run_id, tags)
        self._client.update_run(run_id, name=f"continued {now}")
        self._invocation = run_id

    def _end_former_study(self, study: str, key: str, storage: str | None) -> None:
        """End the runs of a former study of the name, whose store of studies was removed.

        Nobody goes on with them: the caller holds the name in its store. On a tracking server, a
        study of the name may belong to a store of another machine.

        Args:
            study: the name.
            key: of the present study.
            storage: the store of the present study, as in the tag `STORAGE`.
        """
        if is_server(self._uri):
            return
        for run in self._search(f"tags.`sweep.study` = '{study}'"):
            tags = run.data.tags
            is_former = tags.get("sweep.key") not in (None, key)
            # Version 0.1.0 did not name the store.
            if not is_former or tags.get(STORAGE, "optuna.db") != storage:
                continue
            run_id = run.info.run_id
            for trial_run in self._search(f"{_PARENT} = '{run_id}'"):
                if trial_run.info.status in ("RUNNING", "SCHEDULED"):
                    self.interrupt(trial_run.info.run_id)
            if run.info.status == "RUNNING":
                self._client.set_terminated(run_id, status="KILLED")

    def _end_dead_invocations(self, parent: str, mlflow_run_id: str | None) -> None:
        """End the nested runs of `mlflow run` commands that died without ending their runs.

        Args:
            parent: the parent's run id.
            mlflow_run_id: the run of this command, which is not ended.
        """
        running = self._search(
            f"{_PARENT} = '{parent}' and tags.`sweep.role` = 'invocation' "
            "and attributes.status = 'RUNNING'"
        )
        for run in running:
            if run.info.run_id != mlflow_run_id:
                self._end(run.info.run_id, "KILLED")

    def describe_parent(
        self, run_id: str, params: Mapping[str, object], files: Mapping[str, str]
    ) -> None:
        """Log the plan of a study: text files by their paths, and the params not yet logged.

        A param cannot change once it is logged. The artifacts that a copy shares with its original
        stay as they are.
        """
        self._log_params(run_id, params)
        if self.shares_artifacts(run_id):
            return
        artifacts = self._artifacts(run_id)
        with temporary_folder() as folder:
            for name, text in files.items():
                file = folder / Path(name).name
                file.write_text(text, encoding="utf-8")
                place = PurePosixPath(name).parent
                self._upload(artifacts, file, None if place == PurePosixPath() else str(place))

    def log_curve(self, run_id: str, key: str, points: Sequence[tuple[int, float, int]]) -> None:
        """Log a metric at several steps.

        Args:
            run_id: the run.
            key: the metric.
            points: steps, values, and times in milliseconds.
        """
        self._log_metrics(
            run_id, [library.Metric(key, value, at, step) for step, value, at in points]
        )

    def log_scored_epochs(
        self,
        run_id: str,
        split: str,
        rows: Sequence[run_contents.EpochScores],
        classes: Sequence[str],
    ) -> None:
        """Log the figures of the weights after each epoch, scored on a split afterwards.

        Args:
            run_id: the run.
            split: ``train``, ``val`` or ``test``.
            rows: the figures, by epoch.
            classes: the true class names.
        """
        now = now_milliseconds()
        metrics = []
        for row in rows:
            points = run_contents.scored_points(split, row)
            metrics += [library.Metric(key, value, now, row.epoch) for key, value in points.items()]
        self._log_metrics(run_id, metrics)
        with temporary_folder() as folder:
            file = Path(folder, f"{split}_epochs.csv")
            run_contents.write_scored_epochs(file, rows, classes)
            self._artifacts(run_id).log_artifact(str(file))  # type: ignore[no-untyped-call]

    def steps(self, run_id: str, key: str) -> set[int]:
        """Return the steps at which a metric of a run is logged."""
        return {step for step, _ in self.points(run_id, key)}

    def points(self, run_id: str, key: str) -> set[tuple[int, float]]:
        """Return the steps and values of a metric of a run."""
        history = self._client.get_metric_history(run_id, key)
        return {(metric.step, metric.value) for metric in history}

    def artifact_sizes(self, run_id: str, folder: str | None = None) -> dict[str, int | None]:
        """Return the paths of the artifacts in a folder of a run, and their sizes in bytes."""
        return {
            file.path: file.file_size for file in self._artifacts(run_id).list_artifacts(folder)
        }

    def artifact_names(self, run_id: str, folder: str) -> set[str]:
        """Return the paths of the artifacts in a folder of a run; none if the run is gone."""
        if self._active_run(run_id) is None:
            return set()
        return set(self.artifact_sizes(run_id, folder))

    def trial_runs(self, parent: str, study: str, results: Iterable[TrialResult]) -> dict[int, Run]:
        """Return the runs of a study's trials that are still there, by number.

        A run that lost its tags is known by its id. A run that is another's by its tags is none of
        them.
        """
        below = {run.info.run_id: run for run in self._search(f"{_PARENT} = '{parent}'")}
        runs = {}
        for result in results:
            self.next_step()
            run = below.get(str(result.run_id)) or self._active_run(result.run_id)
            if run is None:
                continue
            tags = run.data.tags
            owner = (tags.get("sweep.study", study), tags.get("sweep.trial", str(result.number)))
            if owner == (study, str(result.number)):
                runs[result.number] = run
        return runs

    def finish_parent(
        self,
        run_id: str,
        *,
        status: str,
        tags: Mapping[str, object],
        description: str,
        winner: Mapping[str, object],
        metrics: Mapping[str, float],
        at: int = 0,
        folder: Path | None = None,
        end: int | None = None,
    ) -> None:
        """End the parent run.

        The winner's configuration becomes ``winner.*`` params. Params cannot change: if the study
        was extended and has another winner, its params are ``winner_2.*`` and so on. The tag
        ``sweep.winner`` names the last one.

        Args:
            run_id: the parent.
            status: MLflow's name of the status.
            tags: how the study ended.
            description: of the study, in Markdown. What a user has written there is kept.
            winner: number and configuration of the winner; empty if there is none.
            metrics: of the winner.
            at: time of the metrics, in milliseconds.
            folder: of artifacts, such as the report; not sent where a copy would overwrite those of
                its original.
            end: time of the end, in milliseconds; None for now.
        """
        if winner:
            prefix = self._winner_prefix(run_id, winner)
            self._log_params(run_id, {f"{prefix}.{key}": value for key, value in winner.items()})
        self.log_figures(run_id, metrics, at)
        former = self._client.get_run(run_id).data.tags
        self.tag(run_id, {**tags, **description_tags(description, former)})
        if folder is not None and folder.exists() and not self.shares_artifacts(run_id):
            self._upload(self._artifacts(run_id), folder, "report")
        if self._invocation is not None:
            self._end(self._invocation, status)
        self._end(run_id, status, end)

    def _winner_prefix(self, run_id: str, winner: Mapping[str, object]) -> str:
        """Choose the prefix of a winner's params: its own from before, else one not yet used."""
        logged = self._client.get_run(run_id).data.params
        prefix = "winner"
        count = 1
        while logged.get(f"{prefix}.trial", str(winner["trial"])) != str(winner["trial"]):
            count += 1
            prefix = f"winner_{count}"
        return prefix

    def tag(self, run_id: str, tags: Mapping[str, object]) -> None:
        """Set tags of a run."""
        run_tags = [library.RunTag(key, str(value)) for key, value in tags.items()]
        self._client.log_batch(run_id, tags=run_tags)

    def read_tag(self, run_id: str, key: str) -> str | None:
        """Return the value of a run's tag; None if there is none."""
        value: str | None = self._client.get_run(run_id).data.tags.get(key)
        return value

    def log_figures(self, run_id: str, values: Mapping[str, float], at: int) -> None:
        """Log metrics of a run that belong to no epoch.

        Args:
            run_id: the run.
            values: of the metrics.
            at: their time, in milliseconds.
        """
        metrics = [library.Metric(key, value, at, 0) for key, value in values.items()]
        self._client.log_batch(run_id, metrics=metrics)

    def set_view(self, tag: str, text: str) -> None:
        """Save a view of the experiment, if possible: the format is MLflow's own."""
        with contextlib.suppress(library.MlflowException):
            self._client.set_experiment_tag(self.experiment_id, tag, text)

    # The run of a trial

    def open_trial(
        self,
        parent: str | None,
        study: str | None,
        number: int,
        config: TrialConfig,
        data: Mapping[str, str],
        own: str | None = None,
        began: int | None = None,
        *,
        anew: bool = False,
        recorded: int = 0,
        fresh: bool = False,
        selection: int = SELECTION,
        name: str | None = None,
        more_params: Mapping[str, object] | None = None,
    ) -> tuple[str, str]:
        """Open the run of a trial: its existing run, else a new run.

        Args:
            parent: the parent's run id; None for a run outside any study.
            study: the study's name; None for a run outside any study.
            number: the trial's number.
            config: logged as params.
            data: name, digest and source of the data set.
            own: the id of a run outside any study, to be continued.
            began: when the trial began, in milliseconds; None for now.
            anew: the training starts from the beginning. If the trial has a run with metrics of
                epochs after those recorded, the run is deleted, and replaced by a new one.
            recorded: the first epochs of the trial, whose metrics stay the same.
            fresh: no process has begun the trial before. It can have a run only if the response to
                an earlier call was lost.
            selection: the version of the rules that choose the best epoch.
            name: of a new run, or of one that `mlflow run` has made and its user has not named.
            more_params: to log beside the configuration.

        Returns:
            The run's id, and the location of its artifacts.
        """
        run = self._existing_run(parent, number, own, fresh=fresh)
        if anew and run is not None and self._last_step(run) > recorded:
            self._client.delete_run(run.info.run_id)
            run = None
        tags = {
            "sweep.family": config.family,
            "sweep.signature": config.signature,
            run_tags.SELECTION: str(selection),
        }
        if config.keywords:  # with their types, which the params have lost
            tags[run_tags.KEYWORDS] = json.dumps(dict(config.keywords))
        if study:
            tags |= {"sweep.study": study, "sweep.trial": str(number)}
        else:
            tags["sweep.key"] = self._key
        if parent:
            tags[run_tags.PARENT] = parent
        if run is None:
            run = self._client.create_run(
                self.experiment_id,
                began,
                {**self._origin("pipeline"), **tags},
                run_name=name,
            )
        else:
            is_given = not any(key.startswith("sweep.") for key in run.data.tags)
            if name is not None and is_given and not _named_by_user(run):
                self._client.update_run(run.info.run_id, name=name)
            if run.data.tags.get("sweep.end") == "paused":
                tags["sweep.end"] = "promoted"
            self._client.update_run(run.info.run_id, status="RUNNING")
            self.tag(run.info.run_id, tags)
        run_id = str(run.info.run_id)
        self._log_params(run_id, {**(more_params or {}), **config.to_dict()}, run)
        self._log_dataset(run_id, data)
        location = str(run.info.artifact_uri)
        self._locations[run_id] = location
        self._starts[run_id] = run.info.start_time
        if urlsplit(location).scheme == "file":
            location = str(library.local_path(location))
        return run_id, location

    def add_params(
        self, parent: str, params: Mapping[int, Mapping[str, object]], mark: str
    ) -> None:
        """Log params of trials whose runs were opened by a version that did not log them.

        Args:
            parent: the parent's run id.
            params: of each trial, by its number.
            mark: a tag of the parent, set when all its runs have the params.
        """
        if mark in self._client.get_run(parent).data.tags:
            return
        for run in self._search(f"{_PARENT} = '{parent}'"):
            number = run.data.tags.get(run_tags.TRIAL, "")
            if number.isdecimal() and int(number) in params:
                self._log_params(run.info.run_id, params[int(number)], run)
        self.tag(parent, {mark: "yes"})

    def set_ranks(self, ranks: Mapping[str, int], step: int) -> None:
        """Log the places of trials in the report, by which MLflow's table sorts them.

        Args:
            ranks: by the ids of the runs, from 1.
            step: the number of ended trials: the place of a later step replaces the earlier one.
        """
        now = now_milliseconds()
        for run_id, rank in ranks.items():
            self.next_step()
            self._log_metrics(run_id, [library.Metric(run_contents.RANK, rank, now, step)])

    def _log_dataset(self, run_id: str, data: Mapping[str, str]) -> None:
        source = json.dumps({"uri": data["source"]})
        dataset = library.Dataset(data["name"], data["digest"], "local", source)
        context = [library.InputTag(library.mlflow_tags.MLFLOW_DATASET_CONTEXT, "training")]
        self._client.log_inputs(run_id, [library.DatasetInput(dataset, context)])

    def _last_step(self, run: Run) -> int:
        """Return the last epoch with metrics in a run; 0 if there is none."""
        if not run.data.metrics:
            return 0
        logged = self._client.get_metric_history(run.info.run_id, "time/epoch_seconds")
        return max((metric.step for metric in logged), default=0)

    def open_refit(self, parent: str, study: str, seeds: int | None = None) -> str:
        """Open the run of the refit: the finalists' winner, trained on both splits.

        Args:
            parent: the run id of the finalists' parent.
            study: name of the finalists' study.
            seeds: the number of seeds that the winner won with, if some were added to the first
                ones: there may be the refit of another winner then.

        Returns:
            The run's id.
        """
        is_it = f"{_PARENT} = '{parent}' and tags.`sweep.role` = 'refit'"
        of_seeds: dict[str, str] = {}
        if seeds is not None:
            is_it += f" and tags.`sweep.refit_seeds` = '{seeds}'"
            of_seeds = {"sweep.refit_seeds": str(seeds)}
        run = self._first_run(is_it)
        if run is None:
            tags = {
                **of_seeds,
                **self._origin("pipeline finalists"),
                run_tags.PARENT: parent,
                "sweep.role": "refit",
                "sweep.refit_of": study,
            }
            run = self._client.create_run(self.experiment_id, run_name="refit", tags=tags)
        return str(run.info.run_id)

    def log_epochs(self, run_id: str, history: Sequence[Epoch]) -> None:
        """Log the epochs of a trial that were not sent before."""
        self._log_metrics(run_id, self._unsent_metrics(run_id, history))
        self._sent[run_id] = len(history)

    def _unsent_metrics(self, run_id: str, history: Sequence[Epoch]) -> list[library.Metric]:
        metrics = []
        for row in history[self._sent.get(run_id, 0) :]:
            points = run_contents.epoch_points(row)
            metrics += [library.Metric(key, value, row.time, step) for key, step, value in points]
        return metrics

    def _log_metrics(
        self, run_id: str, metrics: Sequence[library.Metric], tags: Sequence[library.RunTag] = ()
    ) -> None:
        """Log metrics in batches of `_BATCH`; the tags go with the first batch."""
        for start in range(0, len(metrics), _BATCH):
            self.next_step()
            batch = metrics[start : start + _BATCH]
            self._client.log_batch(run_id, metrics=batch, tags=() if start else tags)

    def finish_trial(
        self,
        run_id: str,
        result: TrialResult,
        classes: Sequence[str],
        weights: Iterable[tuple[Path, str]],
    ) -> None:
        """Complete the run of a trial from its result: metrics, tags, artifacts and status.

        Args:
            run_id: the run.
            result: of the trial.
            classes: the true class names.
            weights: checkpoint files, each with the folder of the artifacts to put it into.
        """
        # A time that is the same whenever the run is sent.
        end = trial.ended_at(result) or self._client.get_run(run_id).info.start_time
        figures = run_contents.final_metrics(result)
        metrics = self._unsent_metrics(run_id, result.history)
        metrics += [library.Metric(key, value, end, 0) for key, value in figures.items()]
        tags = run_contents.result_tags(result, classes)
        self._log_metrics(
            run_id, metrics, [library.RunTag(key, value) for key, value in tags.items()]
        )
        artifacts = self._artifacts(run_id)
        with temporary_folder() as folder:
            run_contents.write_artifacts(folder, result, classes)
            self._upload(artifacts, folder)
        for file, artifact_folder in weights:
            self._upload(artifacts, file, artifact_folder)
        status = "FAILED" if result.state == FAILED else "FINISHED"
        self._end(run_id, status, end)
        self._starts.pop(run_id, None)
        self._sent.pop(run_id, None)
        self._locations.pop(run_id, None)

    def _artifacts(self, run_id: str) -> ArtifactRepository:
        """Return the artifacts of a run.

        MLflow's client would look for a run of a copied store where it has seen the run before,
        which may have been in the original.
        """
        location = self._locations.get(run_id) or self._client.get_run(run_id).info.artifact_uri
        return library.get_artifact_repository(location, tracking_uri=self._uri)

    def _upload(
        self, artifacts: ArtifactRepository, path: Path, artifact_folder: str | None = None
    ) -> None:
        """Put a file, or the files of a folder, into a folder of a run's artifacts."""
        if path.is_dir():
            self.next_step(upload=sum(file.stat().st_size for file in path.rglob("*")))
            artifacts.log_artifacts(str(path), artifact_folder)  # type: ignore[no-untyped-call]
        else:
            self.next_step(upload=path.stat().st_size)
            artifacts.log_artifact(str(path), artifact_folder)  # type: ignore[no-untyped-call]

    def put_artifact(self, run_id: str, file: Path, folder: str) -> None:
        """Put a file into a folder of a run's artifacts, in place of one of its name."""
        self._upload(self._artifacts(run_id), file, folder)

    def drop_artifacts(self, run_id: str, folder: str) -> None:
        """Remove a folder of a run's artifacts."""
        self._artifacts(run_id).delete_artifacts(folder)  # type: ignore[no-untyped-call]

    def drop_checkpoint(self, run_id: str) -> None:
        """Remove a finished trial's weights from its artifacts.

        Weights that a copied store shares with its original stay where they are.
        """
        if not self.shares_artifacts(run_id):
            self.drop_artifacts(run_id, "checkpoint")
        self.tag(run_id, {"sweep.checkpoint": "dropped"})

    def artifacts_path(self, run_id: str) -> Path | None:
        """Return the folder of a run's artifacts; None if they are in no folder of this machine."""
        location = str(self._client.get_run(run_id).info.artifact_uri)
        if urlsplit(location).scheme not in ("", "file"):
            return None
        return library.local_path(location)

    def shares_artifacts(self, run_id: str) -> bool:
        """Whether the artifacts of a run are also those of a store from which this was copied.

        They are outside the folder, and the run was begun before the copy.
        """
        if is_server(self._uri):
            return False
        tags = self._client.get_experiment(str(home_tags.EXPERIMENT)).tags
        path = self.artifacts_path(run_id)
        if home_tags.COPY_OF not in tags or path is None:
            return False
        copied = tags.get(home_tags.COPIED, "")
        if copied.isdecimal() and self._client.get_run(run_id).info.start_time > int(copied):
            return False
        return not path.is_relative_to(tags[home_tags.HOME])

    def tidy(self, run_id: str) -> None:
        """Remove the incomplete artifacts of a process that died while uploading to local files."""
        folder = self.artifacts_path(run_id)
        if folder is not None:
            for incomplete in folder.rglob(f"{library.TEMPORARY_PREFIX}*"):
                incomplete.unlink(missing_ok=True)

    def pause(self, run_id: str, history: Sequence[Epoch]) -> None:
        """Mark a run as paused, with its epochs so far; it may be continued."""
        metrics = self._unsent_metrics(run_id, history)
        if metrics:
            self._log_metrics(run_id, metrics, [library.RunTag("sweep.end", "paused")])
            self._sent[run_id] = len(history)
        else:
            self._client.set_tag(run_id, "sweep.end", "paused")
        self._client.update_run(run_id, status="SCHEDULED")

    def go_on(self, run_id: str) -> None:
        """Mark a paused run as running again."""
        self._client.set_tag(run_id, "sweep.end", "promoted")
        self._client.update_run(run_id, status="RUNNING")

    def interrupt(self, run_id: str) -> None:
        """Mark a run as stopped by a signal; it will be continued."""
        self.tag(run_id, {"sweep.end": "interrupted"})
        self._end(run_id, "KILLED")

    def _end(self, run_id: str, status: str, end: int | None = None) -> None:
        """End a run, not before its start, though the machine's clock may have been set back.

        Args:
            run_id: the run.
            status: MLflow's name of the status.
            end: the time of the end, in milliseconds; None for now.
        """
        if end is None:
            end = now_milliseconds()
        start = self._starts.get(run_id)
        if start is None:
            start = self._client.get_run(run_id).info.start_time
        self._client.set_terminated(run_id, status=status, end_time=max(end, start or 0))

    def unfinished(self, parent: str) -> dict[int, str]:
        """Return the run ids of a parent's running trials, by number."""
        return self._trial_runs(f"{_PARENT} = '{parent}' and attributes.status = 'RUNNING'")

    def paused(self, parent: str) -> dict[int, str]:
        """Return the run ids of a parent's paused trials, by number."""
        return self._trial_runs(f"{_PARENT} = '{parent}' and attributes.status = 'SCHEDULED'")

    def finished(self, parent: str) -> dict[int, str]:
        """Return the run ids of a parent's trials that have ended by themselves, by number."""
        runs: dict[int, str] = {}
        for status in ("FINISHED", "FAILED"):
            condition = f"{_PARENT} = '{parent}' and attributes.status = '{status}'"
            runs |= self._trial_runs(condition)
        return runs

    def _trial_runs(self, condition: str) -> dict[int, str]:
        """Return the run ids of the trials that match a condition, by number."""
        return {
            int(run.data.tags["sweep.trial"]): run.info.run_id
            for run in self._search(condition)
            if re.fullmatch("[0-9]{1,9}", run.data.tags.get("sweep.trial", ""))
        }

    def _existing_run(
        self, parent: str | None, number: int, own: str | None, *, fresh: bool
    ) -> Run | None:
        """Return the existing run of a trial.

        The run was named by the user, made by an earlier process, or made by an earlier call of
        this process, the response to which was lost.
        """
        if parent is None:
            named = self._active_run(own or self._given_run())
            return named or self._first_run(f"tags.`sweep.key` = '{self._key}'")
        if fresh and (parent, number) not in self._tried:
            self._tried.add((parent, number))
            return None
        return self._first_run(f"{_PARENT} = '{parent}' and tags.`sweep.trial` = '{number}'")

    # Whole studies

    def study_runs(
        self, names: Sequence[str], parents: Sequence[str], *, deleted: bool = False
    ) -> list[Run]:
        """Return all runs of studies: their parent runs, and the runs of theirs below these.

        Runs that a user has put below a parent are none of them.

        Args:
            names: of the studies.
            parents: the ids of their parent runs, in one experiment, which becomes the tracker's.
            deleted: whether runs that are marked as deleted count.
        """
        for parent in parents:
            self.find_parent(parent)
        found: dict[str, Run] = {}
        for name in names:
            for tag in (run_tags.STUDY, run_tags.REFIT_OF):
                runs = self._search(f"tags.`{tag}` = '{name}'", deleted=deleted)
                found |= {run.info.run_id: run for run in runs}
        return [
            run
            for run_id, run in found.items()
            if run_id in parents or run.data.tags.get(run_tags.PARENT) in parents
        ]

    def delete_runs(self, run_ids: Iterable[str]) -> None:
        """Mark runs as deleted, as a server's own page does; those that are not there are none."""
        for run_id in run_ids:
            self.next_step()
            if self._active_run(run_id) is not None:
                self._client.delete_run(run_id)

    def rename_runs(self, run_ids: Iterable[str], renamed: Mapping[str, str]) -> None:
        """Write the new names of studies into the tags and names of their runs.

        Args:
            run_ids: the runs; those that are not there are passed over.
            renamed: the new name of each study.
        """
        for run_id in run_ids:
            self.next_step()
            run = self._active_run(run_id)
            if run is None:
                continue
            names = {
                tag: renamed[run.data.tags[tag]]
                for tag in (run_tags.STUDY, run_tags.REFIT_OF)
                if run.data.tags.get(tag) in renamed
            }
            if names:
                self.tag(run_id, names)
            if run.info.run_name in renamed:
                self._client.update_run(run_id, name=renamed[run.info.run_name])

    def models_of(self, run_ids: Sequence[str]) -> list[str]:
        """Return the versions of registered models that were made of runs, as text."""
        found: list[str] = []
        for start in range(0, len(run_ids), _RUNS):
            self.next_step()
            listed = ", ".join(f"'{run_id}'" for run_id in run_ids[start : start + _RUNS])
            versions = self._client.search_model_versions(f"run_id IN ({listed})")
            found += [f"{version.name} version {version.version}" for version in versions]
        return found

    def experiment_called(self, name: str) -> bool:
        """Whether the experiment has a name."""
        return bool(self._client.get_experiment(self.experiment_id).name == name)

    def rename_experiment(self, experiment: str, name: str) -> None:
        """Give an experiment a name, unless another has it."""
        if self._client.get_experiment_by_name(name) is None:
            self._client.rename_experiment(experiment, name)

    def artifacts_folder(self) -> str:
        """Return the place below which the artifacts of the experiment's runs are."""
        return str(self._client.get_experiment(self.experiment_id).artifact_location)

    # Reading

    def find_parent(self, run_id: str | None) -> Run | None:
        """Return a study's parent run, if it is there. Its experiment becomes the tracker's."""
        run = self._active_run(run_id)
        if run is not None:
            self.experiment_id = run.info.experiment_id
        return run

    def run(self, run_id: str) -> Run:
        """Read a run.

        Raises:
            UsageFailure: if there is no such run.
        """
        run = self.call(self._active_run, run_id)
        if run is None:
            raise UsageFailure(
                f"no run {run_id!r} in {without_password(self._uri)}: "
                "a run's id is on its page in the UI"
            )
        return run

    def fetch_artifact(self, run_id: str, path: str, folder: Path) -> Path:
        """Fetch an artifact of a run into a folder, in the tracker's thread."""
        artifacts = self._artifacts(run_id)
        local = artifacts.download_artifacts(path, str(folder))  # type: ignore[no-untyped-call]
        return Path(local)

    def download(self, run_id: str, path: str, folder: Path) -> Path:
        """Download an artifact of a run into a folder.

        Raises:
            StorageFailure: if that fails.
        """
        try:
            return self.fetch_artifact(run_id, path, folder)
        except (library.MlflowException, OSError) as error:
            reason = error_line(error, self._uri)
            raise StorageFailure(f"cannot fetch {path} of run {run_id}: {reason}") from None

    def files(self, run_id: str, folder: str) -> list[str]:
        """Return the paths of the artifacts in a folder of a run."""
        files = self.call(lambda: self._artifacts(run_id).list_artifacts(folder))
        return [file.path for file in files]

    def _first_run(self, condition: str) -> Run | None:
        """Return the first run of the experiment that matches a condition."""
        runs = self._search(condition)
        return runs[0] if runs else None

    def _search(self, condition: str, *, deleted: bool = False) -> list[Run]:
        """Return all runs of the experiment that match a condition.

        Args:
            condition: in MLflow's own words.
            deleted: whether runs that are marked as deleted count.
        """
        view = library.ViewType.ALL if deleted else library.ViewType.ACTIVE_ONLY
        runs: list[Run] = []
        token: str | None = None
        while token != "":
            self.next_step()
            page = self._client.search_runs(
                [self.experiment_id], condition, view, max_results=1000, page_token=token
            )
            runs += page
            token = page.token or ""
        return runs

    def _active_run(self, run_id: str | None) -> Run | None:
        """Return a run; None if it is unknown, or was deleted by its owner."""
        if run_id is None:
            return None
        try:
            run = self._client.get_run(run_id)
        except library.MlflowException as error:
            if error.error_code == library.ErrorCode.Name(library.RESOURCE_DOES_NOT_EXIST):
                return None
            raise
        return run if run.info.lifecycle_stage == "active" else None

    def _log_params(
        self, run_id: str, params: Mapping[str, object], run: Run | None = None
    ) -> None:
        """Log the params that a run does not have yet: a param cannot change."""
        logged = (run or self._client.get_run(run_id)).data.params
        new = [library.Param(key, str(value)) for key, value in params.items() if key not in logged]
        if new:
            self._client.log_batch(run_id, params=new)


def experiment_of(uri: str, run_id: str | None) -> str:
    """Return the id of a run's experiment; without such a run, the default experiment's."""
    if not run_id:
        return "0"
    try:
        return str(library.MlflowClient(uri).get_run(run_id).info.experiment_id)
    except library.MlflowException:
        return "0"


def _named_by_user(run: Run) -> bool:
    """Whether a run has a name that MLflow did not make up, such as able-newt-12."""
    words = str(run.info.run_name).split("-")
    return not (len(words) == 3 and words[2].isdigit())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user of a container may have no name
        return "unknown"


def now_milliseconds() -> int:
    """Return the time as MLflow expects it: milliseconds since 1970, UTC."""
    return int(time.time() * 1000)
