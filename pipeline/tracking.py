"""The record in MLflow: opens runs, logs, reads back. With projects.py the only file that imports mlflow.

One writer: every call to the tracking server is made by one thread, in order, while the training goes on. What is
sent can be sent again (the same values with the same timestamps), so a run can always be completed from its result.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.entities import Run as Run  # noqa: PLC0414 - what `Tracker.run` returns, for those who may not import mlflow
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils import mlflow_tags

from pipeline import artifacts, figures
from pipeline.errors import StorageFailure, UsageFailure
from sweeps.trial import FAILED, Epoch, TrialConfig, TrialResult

_BATCH = 1000  # metrics in one request, MLflow's limit
_BELOW = f"tags.`{mlflow_tags.MLFLOW_PARENT_RUN_ID}`"

T = TypeVar("T")

logging.getLogger("mlflow").setLevel(logging.ERROR)
logging.getLogger("alembic").setLevel(logging.ERROR)


class Tracker:
    """One experiment of the tracking store, and the only thread that writes to it."""

    def __init__(self, uri: str, *, experiment: str | None = None, server_default: str | None = None) -> None:
        """Open the store.

        Args:
            uri: the tracking URI.
            experiment: its name; else MLflow's own environment decides, else `server_default` on a server.
            server_default: the experiment's name on a tracking server, where many people share experiment 0.

        Raises:
            StorageFailure: if the store cannot be used.
        """
        self._uri = uri
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tracking")
        self._pending: list[Future[Any]] = []
        self._sent: dict[str, int] = {}  # epochs of a run's history that are sent
        self._client = MlflowClient(uri)
        default = server_default if uri.startswith("http") else None
        self.experiment_id = self.call(self._experiment, experiment, default)

    def _experiment(self, name: str | None, default: str | None) -> str:
        if name is None and os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return str(self._client.get_experiment(os.environ["MLFLOW_EXPERIMENT_ID"]).experiment_id)
        name = name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or default
        if name is None:
            return "0"
        found = self._client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage != "active":
            raise MlflowException(f"experiment {name!r} is deleted: restore it, or name another with --experiment")
        if found is not None:
            return str(found.experiment_id)
        return self._client.create_experiment(name, tags={mlflow_tags.MLFLOW_USER: _user()})

    # -- writing, in order, on one thread -------------------------------------------------------------------------

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        """Have the writer make a call after those before it. What one raised is raised by the next `submit`."""
        self._raise_first(wait=False)
        future = self._writer.submit(call, *args)
        self._pending.append(future)
        return future

    def call(self, call: Callable[..., T], *args: Any) -> T:
        """Have the writer make a call after those before it, and return what came of it.

        Raises:
            StorageFailure: if it could not be made.
        """
        return self.result(self._writer.submit(call, *args))

    def result(self, future: Future[T]) -> T:
        """Wait for what came of a submitted call.

        Raises:
            StorageFailure: if it could not be made.
        """
        try:
            return future.result()
        except Exception as error:
            raise StorageFailure(f"cannot use the tracking store {self._uri}: {_line(error)}") from error

    def drain(self) -> None:
        """Wait until all is written.

        Raises:
            StorageFailure: if something could not be.
        """
        self._raise_first(wait=True)

    def close(self) -> None:
        """Write what is left, and end the writer."""
        self._writer.shutdown(wait=True)

    def _raise_first(self, *, wait: bool) -> None:
        done = [future for future in self._pending if wait or future.done()]
        self._pending = [future for future in self._pending if future not in done]
        for future in done:
            self.result(future)

    # -- the parent: one per study, for ever ------------------------------------------------------------------------

    def open_parent(self, study: str, known: str | None, tags: Mapping[str, str]) -> str:
        """Open the study's parent run: the known one again, or the run `mlflow run` made for us, or a new one.

        A later `mlflow run` of a study that has a parent is nested under it as ``continued <date>``.

        Returns:
            The parent's run id.
        """
        given = os.environ.get("MLFLOW_RUN_ID")
        parent = self._alive(known)
        if parent is None and given:
            parent = self._client.get_run(given)
            if not self._named_by_user(parent):
                self._client.update_run(given, name=study)
        elif parent is not None and given and given != known:
            now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
            self._tags(given, {mlflow_tags.MLFLOW_PARENT_RUN_ID: str(known), "sweep.role": "invocation"})
            self._tags(given, {"sweep.study": study})
            self._client.update_run(given, name=f"continued {now}")
        if parent is None:
            parent = self._client.create_run(self.experiment_id, run_name=study, tags=_origin("pipeline sweep"))
        run_id = str(parent.info.run_id)
        self.experiment_id = parent.info.experiment_id
        self._client.update_run(run_id, status="RUNNING")
        self._tags(run_id, {"sweep.study": study, "sweep.role": "parent", **tags})
        return run_id

    def describe_parent(self, run_id: str, params: Mapping[str, object], files: Mapping[str, str]) -> None:
        """Log the plan: params not yet there (they cannot change), and text files."""
        self._params(run_id, params)
        for name, text in files.items():
            self._client.log_text(run_id, text, name)

    def log_progress(self, run_id: str, key: str, value: float, step: int) -> None:
        """Log one figure of the parent."""
        self._client.log_metric(run_id, key, value, step=step)

    def finish_parent(
        self,
        run_id: str,
        *,
        status: str,
        tags: Mapping[str, object],
        winner: Mapping[str, object],
        metrics: Mapping[str, float],
        folder: Path | None = None,
    ) -> None:
        """End the parent: the winner, how it ended, and a folder of artifacts.

        The winner's configuration becomes ``winner.*`` params. Params cannot change: another winner, of the study
        extended, is logged as ``winner_2.*`` and so on, and the tag ``sweep.winner`` names the last.
        """
        known = self._client.get_run(run_id).data.params
        prefix, count = "winner", 1
        while f"{prefix}.trial" in known and winner and known[f"{prefix}.trial"] != str(winner["trial"]):
            count += 1
            prefix = f"winner_{count}"
        self._params(run_id, {f"{prefix}.{key}": value for key, value in winner.items()})
        self.log_figures(run_id, metrics)
        self._tags(run_id, tags)
        if folder is not None and folder.exists():
            self._client.log_artifacts(run_id, str(folder), "report")
        self._client.set_terminated(run_id, status=status)

    def tag(self, run_id: str, tags: Mapping[str, object]) -> None:
        """Set tags of a run."""
        self._tags(run_id, tags)

    def log_figures(self, run_id: str, values: Mapping[str, float]) -> None:
        """Log figures of a run that belong to no epoch."""
        now = int(time.time() * 1000)
        self._client.log_batch(run_id, metrics=[Metric(key, value, now, 0) for key, value in values.items()])

    def log_curve(self, run_id: str, key: str, values: Mapping[int, float]) -> None:
        """Log one figure of a run by step."""
        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, step) for step, value in values.items()]
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(run_id, metrics=metrics[start : start + _BATCH])

    def set_view(self, key: str, text: str) -> None:
        """Keep a saved view of the experiment: best effort, its format is MLflow's own."""
        with contextlib.suppress(MlflowException):
            self._client.set_experiment_tag(self.experiment_id, f"mlflow.sharedViewState.{key}", text)

    # -- a trial's run --------------------------------------------------------------------------------------------

    def open_trial(
        self,
        parent: str | None,
        study: str | None,
        number: int,
        config: TrialConfig,
        data: Mapping[str, str],
        own: str | None = None,
    ) -> tuple[str, str]:
        """Open a trial's run: the one it already has, else a new one.

        Args:
            parent: the parent's run id; None for a run of its own.
            study: the study's name; None for a run of its own.
            number: the trial's number.
            config: logged as params.
            data: name, digest and source of the data set.
            own: the id of a run to go on with that belongs to no study.

        Returns:
            The run's id, and where its artifacts go.
        """
        given = own or os.environ.get("MLFLOW_RUN_ID")
        found = self._find_trial(parent, number) if parent else self._alive(given)
        tags = {"sweep.family": config.family, "sweep.signature": config.signature}
        if study:
            tags |= {"sweep.study": study, "sweep.trial": str(number)}
        if parent:
            tags[mlflow_tags.MLFLOW_PARENT_RUN_ID] = parent
        if found is None:
            name = " ".join(
                str(part) for part in (f"{number:04d}", config.family, config.activation) if part is not None
            )
            found = self._client.create_run(
                self.experiment_id, run_name=name if study else None, tags={**_origin("pipeline"), **tags}
            )
        else:
            self._client.update_run(found.info.run_id, status="RUNNING")
            self._tags(found.info.run_id, tags)
        run_id = str(found.info.run_id)
        self._params(run_id, config.to_dict(), found)
        context = [InputTag(mlflow_tags.MLFLOW_DATASET_CONTEXT, "training")]
        dataset = Dataset(data["name"], data["digest"], "local", json.dumps({"uri": data["source"]}))
        self._client.log_inputs(run_id, [DatasetInput(dataset, context)])
        return run_id, str(found.info.artifact_uri)

    def log_epochs(self, run_id: str, history: Sequence[Epoch]) -> None:
        """Log the rows of a trial's history that were not yet sent, in one batch for each `_BATCH` metrics."""
        rows = history[self._sent.get(run_id, 0) :]
        metrics = [
            Metric(key, value, row.time, row.epoch)
            for row in rows
            for key, value in {**row.metrics, **figures.by_class(row)}.items()
        ]
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(run_id, metrics=metrics[start : start + _BATCH])
        self._sent[run_id] = len(history)

    def finish_trial(
        self, run_id: str, result: TrialResult, classes: Sequence[str], weights: Iterable[tuple[Path, str]]
    ) -> None:
        """Complete a trial's run from its result: the rest of its history, its best figures, artifacts, status.

        Args:
            run_id: the run.
            result: what came of it.
            classes: the true class names.
            weights: checkpoint files, each with the folder of the artifacts that it goes to.
        """
        self.log_epochs(run_id, result.history)
        end = result.history[-1].time if result.history else int(time.time() * 1000)
        metrics = [Metric(key, value, end, 0) for key, value in figures.at_the_end(result).items()]
        tags = [RunTag(key, value) for key, value in figures.tags(result, classes).items()]
        self._client.log_batch(run_id, metrics=metrics, tags=tags)
        with tempfile.TemporaryDirectory() as folder:
            artifacts.write(Path(folder), result, classes)
            self._client.log_artifacts(run_id, folder)
        for file, place in weights:
            self._client.log_artifact(run_id, str(file), place)
        self._client.set_terminated(run_id, status="FAILED" if result.state == FAILED else "FINISHED")
        self._sent.pop(run_id, None)

    def drop_checkpoint(self, run_id: str) -> None:
        """Remove a finished trial's weights from its artifacts."""
        uri = self._client.get_run(run_id).info.artifact_uri
        get_artifact_repository(uri, tracking_uri=self._uri).delete_artifacts("checkpoint")  # type: ignore[no-untyped-call]
        self._tags(run_id, {"sweep.checkpoint": "dropped"})

    def interrupt(self, run_id: str) -> None:
        """Mark a run as stopped by a signal, to be gone on with."""
        self._tags(run_id, {"sweep.end": "interrupted"})
        self._client.set_terminated(run_id, status="KILLED")

    def unfinished(self, parent: str) -> dict[int, str]:
        """The trials below a parent whose run has not ended, by number."""
        found = self._search(f"{_BELOW} = '{parent}' and attributes.status = 'RUNNING'")
        return {int(run.data.tags["sweep.trial"]): run.info.run_id for run in found if "sweep.trial" in run.data.tags}

    # -- reading -----------------------------------------------------------------------------------------------------

    def run(self, run_id: str) -> Run:
        """Read a run.

        Raises:
            UsageFailure: if there is none.
        """
        found = self.call(self._alive, run_id)
        if found is None:
            raise UsageFailure(f"no run {run_id!r} in {self._uri}: a run's id is on its page in the UI")
        return found

    def download(self, run_id: str, path: str, folder: Path) -> Path:
        """Fetch an artifact of a run into a folder."""
        try:
            return Path(self._client.download_artifacts(run_id, path, str(folder)))
        except (MlflowException, OSError) as error:
            raise StorageFailure(f"cannot fetch {path} of run {run_id}: {_line(error)}") from None

    def _find_trial(self, parent: str, number: int) -> Run | None:
        found = self._search(f"{_BELOW} = '{parent}' and tags.`sweep.trial` = '{number}'")
        return found[0] if found else None

    def _search(self, condition: str) -> list[Run]:
        return list(self._client.search_runs([self.experiment_id], condition, max_results=1000))

    def _alive(self, run_id: str | None) -> Run | None:
        """The run, unless it is unknown or was deleted by its owner."""
        if run_id is None:
            return None
        try:
            found = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                return None
            raise
        return found if found.info.lifecycle_stage == "active" else None

    def _named_by_user(self, run: Run) -> bool:
        words = str(run.info.run_name).split("-")
        return not (len(words) == 3 and words[2].isdigit())  # MLflow's own names: able-newt-12

    def _params(self, run_id: str, params: Mapping[str, object], run: Run | None = None) -> None:
        known = (run or self._client.get_run(run_id)).data.params
        new = [Param(key, str(value)) for key, value in params.items() if key not in known]
        if new:
            self._client.log_batch(run_id, params=new)

    def _tags(self, run_id: str, tags: Mapping[str, object]) -> None:
        self._client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])


def experiment_of(uri: str, run_id: str | None) -> str:
    """The id of a run's experiment; MLflow's default one if there is no such run."""
    try:
        return str(MlflowClient(uri).get_run(run_id).info.experiment_id) if run_id else "0"
    except MlflowException:
        return "0"


def _origin(source: str) -> dict[str, str]:
    """The tags that MLflow's fluent API would set."""
    return {
        mlflow_tags.MLFLOW_USER: _user(),
        mlflow_tags.MLFLOW_SOURCE_NAME: source,
        mlflow_tags.MLFLOW_SOURCE_TYPE: "LOCAL",
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
