"""The record in MLflow: opens runs, logs, reads back. Knows no study and no training.

One writer: every call to the tracking server is made by one thread, in order, while the training goes on. What is
sent can be sent again (the same values with the same timestamps): a server that is away is tried again until it is
back, and a run can always be completed from its result.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import os
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.entities import Run as Run  # noqa: PLC0414 - what `Tracker.run` returns, for those who may not import mlflow
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_STATE, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import _TEMP_ARTIFACT_PREFIX
from mlflow.utils import mlflow_tags
from mlflow.utils.file_utils import local_file_uri_to_path

from pipeline.system.errors import StorageFailure, UsageFailure
from pipeline.tracking import run_contents
from pipeline.tracking.server import (
    Connection,
    error_line,
    is_server,
    percent_in_paths,
    without_password,
)
from sweeps import trial
from sweeps.trial import FAILED, Epoch, TrialConfig, TrialResult

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

_BATCH = 1000  # metrics in one request, MLflow's limit
_BELOW = f"tags.`{mlflow_tags.MLFLOW_PARENT_RUN_ID}`"

logging.getLogger("mlflow").setLevel(logging.ERROR)
logging.getLogger("alembic").setLevel(logging.ERROR)


class Tracker(Connection):
    """One experiment of the tracking store, and the only thread that writes to it."""

    def __init__(
        self, uri: str, *, experiment: str | None = None, server_default: str | None = None
    ) -> None:
        """Open the store.

        Args:
            uri: the tracking URI.
            experiment: its name; else MLflow's own environment decides, else `server_default` on a server.
            server_default: the experiment's name on a tracking server, where many people share experiment 0.

        Raises:
            StorageFailure: if the store cannot be used.
        """
        super().__init__(uri)
        self._invocation: str | None = None  # the run of a later `mlflow run` of the study
        self._key = uuid.uuid4().hex  # of a run that belongs to no study
        self._sent: dict[str, int] = {}  # epochs of a run's history that are sent
        self._places: dict[str, str] = {}  # of the artifacts of a run under way
        self._begun: set[tuple[str | None, int]] = (
            set()
        )  # runs whose opening was tried, by parent and trial
        with percent_in_paths(uri):
            self._client = MlflowClient(uri)
        default = server_default if is_server(uri) else None
        self.experiment_id = self.call(self._experiment, experiment, default)

    def _experiment(self, name: str | None, default: str | None) -> str:
        if name is None and os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return str(
                self._client.get_experiment(os.environ["MLFLOW_EXPERIMENT_ID"]).experiment_id
            )
        name = name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or default
        if name is None:
            return "0"
        found = self._client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage != "active":
            text = f"experiment {name!r} is deleted: restore it, or name another with --experiment"
            raise MlflowException(text, error_code=INVALID_STATE)
        if found is not None:
            return str(found.experiment_id)
        return self._client.create_experiment(name, tags={mlflow_tags.MLFLOW_USER: _user()})

    # -- the parent: one per study, for ever ------------------------------------------------------------------------

    def open_parent(
        self,
        study: str,
        known: str | None,
        key: str,
        tags: Mapping[str, str],
        below: str | None = None,
    ) -> str:
        """Open the study's parent run: the known one again, or the run `mlflow run` made for us, or a new one.

        A later `mlflow run` of a study that has a parent is nested under it as ``continued <date>``.

        Args:
            study: its name.
            known: the parent's run id, if it was kept.
            key: the study's own, by which a parent is found that was made and not kept: its process died.
            tags: for the parent.
            below: the parent run of the study whose finalists these are, under which theirs is nested.

        Returns:
            The parent's run id.
        """
        given = os.environ.get("MLFLOW_RUN_ID")
        above = self._alive(below)
        if above is not None:
            self.experiment_id = above.info.experiment_id
            tags = {
                **tags,
                mlflow_tags.MLFLOW_PARENT_RUN_ID: above.info.run_id,
                "sweep.role": "finalists",
            }
        parent = self._alive(known) or next(iter(self._search(f"tags.`sweep.key` = '{key}'")), None)
        if parent is None and given:
            parent = self._client.get_run(given)
            if not self._named_by_user(parent):
                self._client.update_run(given, name=study)
        elif parent is not None and given and given != parent.info.run_id:
            self._nest(given, parent, study)
        if parent is None:
            origin = {
                **_origin("pipeline finalists" if below else "pipeline sweep"),
                "sweep.key": key,
            }
            parent = self._client.create_run(self.experiment_id, run_name=study, tags=origin)
        run_id = str(parent.info.run_id)
        self.experiment_id = parent.info.experiment_id
        self._client.update_run(run_id, status="RUNNING")
        self._tags(run_id, {"sweep.study": study, "sweep.role": "parent", "sweep.key": key, **tags})
        dead = f"{_BELOW} = '{run_id}' and tags.`sweep.role` = 'invocation' and attributes.status = 'RUNNING'"
        for run in self._search(dead):  # of an `mlflow run` that died with its command
            if run.info.run_id != given:
                self._client.set_terminated(run.info.run_id, status="KILLED")
        return run_id

    def _nest(self, run_id: str, parent: Run, study: str) -> None:
        """Put the run of a later `mlflow run` under the study's parent; it ends as that does."""
        if (
            "sweep.role" in self._client.get_run(run_id).data.tags
        ):  # it was opened for another study, as for finalists
            return
        now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        tags = {
            mlflow_tags.MLFLOW_PARENT_RUN_ID: parent.info.run_id,
            "sweep.role": "invocation",
            "sweep.study": study,
        }
        self._tags(run_id, tags)
        self._client.update_run(run_id, name=f"continued {now}")
        self._invocation = run_id

    def describe_parent(
        self, run_id: str, params: Mapping[str, object], files: Mapping[str, str]
    ) -> None:
        """Log the plan: params not yet there (they cannot change), and text files."""
        self._params(run_id, params)
        for name, text in files.items():
            self._client.log_text(run_id, text, name)

    def log_curve(self, run_id: str, key: str, points: Sequence[tuple[int, float, int]]) -> None:
        """Log one figure of a run: steps, values, and times in milliseconds."""
        self._metrics(run_id, [Metric(key, value, at, step) for step, value, at in points])

    def steps(self, run_id: str, key: str) -> set[int]:
        """The steps at which a figure of a run is logged."""
        return {metric.step for metric in self._client.get_metric_history(run_id, key)}

    def finish_parent(
        self,
        run_id: str,
        *,
        status: str,
        tags: Mapping[str, object],
        winner: Mapping[str, object],
        metrics: Mapping[str, float],
        at: int = 0,
        folder: Path | None = None,
        end: int | None = None,
    ) -> None:
        """End the parent: the winner, how it ended, and a folder of artifacts.

        The winner's configuration becomes ``winner.*`` params. Params cannot change: another winner, of the study
        extended, is logged as ``winner_2.*`` and so on, and the tag ``sweep.winner`` names the last. ``at`` is the time
        of the metrics, ``end`` the parent's own if that is not now.
        """
        known = self._client.get_run(run_id).data.params
        prefix = "winner"
        count = 1
        while (
            f"{prefix}.trial" in known
            and winner
            and known[f"{prefix}.trial"] != str(winner["trial"])
        ):
            count += 1
            prefix = f"winner_{count}"
        self._params(run_id, {f"{prefix}.{key}": value for key, value in winner.items()})
        self.log_figures(run_id, metrics, at)
        self._tags(run_id, tags)
        if folder is not None and folder.exists():
            self._client.log_artifacts(run_id, str(folder), "report")
        if self._invocation is not None:
            self._client.set_terminated(self._invocation, status=status)
        self._client.set_terminated(run_id, status=status, end_time=end)

    def tag(self, run_id: str, tags: Mapping[str, object]) -> None:
        """Set tags of a run."""
        self._tags(run_id, tags)

    def log_figures(self, run_id: str, values: Mapping[str, float], at: int) -> None:
        """Log figures of a run that belong to no epoch, with their time in milliseconds."""
        self._client.log_batch(
            run_id, metrics=[Metric(key, value, at, 0) for key, value in values.items()]
        )

    def set_view(self, key: str, text: str) -> None:
        """Keep a saved view of the experiment: best effort, its format is MLflow's own."""
        with contextlib.suppress(MlflowException):
            self._client.set_experiment_tag(
                self.experiment_id, f"mlflow.sharedViewState.{key}", text
            )

    # -- a trial's run --------------------------------------------------------------------------------------------

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
        fresh: bool = False,
    ) -> tuple[str, str]:
        """Open a trial's run: the one it already has, else a new one.

        Args:
            parent: the parent's run id; None for a run of its own.
            study: the study's name; None for a run of its own.
            number: the trial's number.
            config: logged as params.
            data: name, digest and source of the data set.
            own: the id of a run to go on with that belongs to no study.
            began: when, in milliseconds, if not now.
            anew: it is trained from its beginning: a run that has points of it already is deleted, and made again.
            fresh: no process had begun the trial before: it has a run only if a call was made whose answer was lost.

        Returns:
            The run's id, and where its artifacts go.
        """
        found = self._had(parent, number, own, fresh=fresh)
        if anew and found is not None and found.data.metrics:
            self._client.delete_run(found.info.run_id)
            found = None
        tags = {"sweep.family": config.family, "sweep.signature": config.signature}
        if study:
            tags |= {"sweep.study": study, "sweep.trial": str(number)}
        else:
            tags["sweep.key"] = self._key
        if parent:
            tags[mlflow_tags.MLFLOW_PARENT_RUN_ID] = parent
        if found is None:
            name = " ".join(
                str(part)
                for part in (f"{number:04d}", config.family, config.activation)
                if part is not None
            )
            found = self._client.create_run(
                self.experiment_id,
                began,
                {**_origin("pipeline"), **tags},
                run_name=name if study else None,
            )
        else:
            self._client.update_run(found.info.run_id, status="RUNNING")
            self._tags(found.info.run_id, tags)
        run_id = str(found.info.run_id)
        self._params(run_id, config.to_dict(), found)
        context = [InputTag(mlflow_tags.MLFLOW_DATASET_CONTEXT, "training")]
        dataset = Dataset(
            data["name"], data["digest"], "local", json.dumps({"uri": data["source"]})
        )
        self._client.log_inputs(run_id, [DatasetInput(dataset, context)])
        place = self._places[run_id] = str(found.info.artifact_uri)
        if urlsplit(place).scheme == "file":
            place = str(local_file_uri_to_path(place))  # type: ignore[no-untyped-call]
        return run_id, place

    def open_refit(self, parent: str, study: str) -> str:
        """Open the run of the finalists' winner trained on both splits, below their parent; its id."""
        found = next(
            iter(self._search(f"{_BELOW} = '{parent}' and tags.`sweep.role` = 'refit'")), None
        )
        if found is None:
            tags = {
                mlflow_tags.MLFLOW_PARENT_RUN_ID: parent,
                "sweep.role": "refit",
                "sweep.refit_of": study,
            }
            found = self._client.create_run(
                self.experiment_id, run_name="refit", tags={**_origin("pipeline finalists"), **tags}
            )
        return str(found.info.run_id)

    def log_epochs(self, run_id: str, history: Sequence[Epoch]) -> None:
        """Log the rows of a trial's history that were not yet sent, in one batch for each `_BATCH` metrics."""
        self._metrics(run_id, self._unsent(run_id, history))
        self._sent[run_id] = len(history)

    def _unsent(self, run_id: str, history: Sequence[Epoch]) -> list[Metric]:
        return [
            Metric(key, value, row.time, row.epoch)
            for row in history[self._sent.get(run_id, 0) :]
            for key, value in {**row.metrics, **run_contents.class_metrics(row)}.items()
        ]

    def _metrics(self, run_id: str, metrics: Sequence[Metric], tags: Sequence[RunTag] = ()) -> None:
        """Log metrics, and tags beside the first of them."""
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(
                run_id, metrics=metrics[start : start + _BATCH], tags=() if start else tags
            )

    def finish_trial(
        self,
        run_id: str,
        result: TrialResult,
        classes: Sequence[str],
        weights: Iterable[tuple[Path, str]],
    ) -> None:
        """Complete a trial's run from its result: the rest of its history, its best figures, artifacts, status.

        Args:
            run_id: the run.
            result: what came of it.
            classes: the true class names.
            weights: checkpoint files, each with the folder of the artifacts that it goes to.
        """
        end = (
            trial.ended_at(result) or self._client.get_run(run_id).info.start_time
        )  # the same whenever it is sent
        metrics = [
            Metric(key, value, end, 0) for key, value in run_contents.final_metrics(result).items()
        ]
        tags = [
            RunTag(key, value) for key, value in run_contents.result_tags(result, classes).items()
        ]
        self._metrics(run_id, [*self._unsent(run_id, result.history), *metrics], tags)
        kept = self._artifacts(run_id)
        with tempfile.TemporaryDirectory() as folder:
            run_contents.write_artifacts(Path(folder), result, classes)
            kept.log_artifacts(folder)  # type: ignore[no-untyped-call]
        for file, place in weights:
            kept.log_artifact(str(file), place)  # type: ignore[no-untyped-call]
        self._client.set_terminated(
            run_id, status="FAILED" if result.state == FAILED else "FINISHED", end_time=end
        )
        self._sent.pop(run_id, None)
        self._places.pop(run_id, None)

    def _artifacts(self, run_id: str) -> ArtifactRepository:
        """A run's artifacts. MLflow's client would read the whole run to know where they are."""
        uri = self._places.get(run_id) or self._client.get_run(run_id).info.artifact_uri
        return get_artifact_repository(uri, tracking_uri=self._uri)

    def drop_checkpoint(self, run_id: str) -> None:
        """Remove a finished trial's weights from its artifacts."""
        self._artifacts(run_id).delete_artifacts("checkpoint")  # type: ignore[no-untyped-call]
        self._tags(run_id, {"sweep.checkpoint": "dropped"})

    def tidy(self, run_id: str) -> None:
        """Remove what a process that died while uploading left among a run's artifacts, where those are files here."""
        uri = self._client.get_run(run_id).info.artifact_uri
        if urlsplit(uri).scheme in ("", "file"):
            folder = Path(local_file_uri_to_path(uri))  # type: ignore[no-untyped-call]
            for torn in folder.rglob(f"{_TEMP_ARTIFACT_PREFIX}*"):
                torn.unlink(missing_ok=True)

    def interrupt(self, run_id: str) -> None:
        """Mark a run as stopped by a signal, to be gone on with."""
        self._tags(run_id, {"sweep.end": "interrupted"})
        self._client.set_terminated(run_id, status="KILLED")

    def unfinished(self, parent: str) -> dict[int, str]:
        """The trials below a parent whose run has not ended, by number."""
        return self._trials(f"{_BELOW} = '{parent}' and attributes.status = 'RUNNING'")

    def finished(self, parent: str) -> dict[int, str]:
        """The trials below a parent whose run has ended of itself, by number."""
        ended = (
            f"{_BELOW} = '{parent}' and attributes.status = '{status}'"
            for status in ("FINISHED", "FAILED")
        )
        return {
            number: run for condition in ended for number, run in self._trials(condition).items()
        }

    def _trials(self, condition: str) -> dict[int, str]:
        found = self._search(condition)
        return {
            int(run.data.tags["sweep.trial"]): run.info.run_id
            for run in found
            if "sweep.trial" in run.data.tags
        }

    # -- reading -----------------------------------------------------------------------------------------------------

    def run(self, run_id: str) -> Run:
        """Read a run.

        Raises:
            UsageFailure: if there is none.
        """
        found = self.call(self._alive, run_id)
        if found is None:
            raise UsageFailure(
                f"no run {run_id!r} in {without_password(self._uri)}: a run's id is on its page in the UI"
            )
        return found

    def download(self, run_id: str, path: str, folder: Path) -> Path:
        """Fetch an artifact of a run into a folder."""
        try:
            return Path(self._client.download_artifacts(run_id, path, str(folder)))
        except (MlflowException, OSError) as error:
            raise StorageFailure(
                f"cannot fetch {path} of run {run_id}: {error_line(error, self._uri)}"
            ) from None

    def files(self, run_id: str, folder: str) -> list[str]:
        """The paths of the artifacts in a folder of a run."""
        return [found.path for found in self.call(self._client.list_artifacts, run_id, folder)]

    def _had(self, parent: str | None, number: int, own: str | None, *, fresh: bool) -> Run | None:
        """The run that a trial has: given, made by an earlier process, or by a call whose answer was lost."""
        if parent is None:
            given = self._alive(own or os.environ.get("MLFLOW_RUN_ID"))
            return given or next(iter(self._search(f"tags.`sweep.key` = '{self._key}'")), None)
        if fresh and (parent, number) not in self._begun:
            self._begun.add((parent, number))
            return None
        return next(
            iter(self._search(f"{_BELOW} = '{parent}' and tags.`sweep.trial` = '{number}'")), None
        )

    def _search(self, condition: str) -> list[Run]:
        found: list[Run] = []
        token: str | None = None
        while token != "":
            page = self._client.search_runs(
                [self.experiment_id], condition, max_results=1000, page_token=token
            )
            found += page
            token = page.token or ""
        return found

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
        if found.info.lifecycle_stage == "active":
            return found
        return None

    def _named_by_user(self, run: Run) -> bool:
        words = str(run.info.run_name).split("-")
        return not (len(words) == 3 and words[2].isdigit())  # MLflow's own names: able-newt-12

    def _params(self, run_id: str, params: Mapping[str, object], run: Run | None = None) -> None:
        known = (run or self._client.get_run(run_id)).data.params
        new = [Param(key, str(value)) for key, value in params.items() if key not in known]
        if new:
            self._client.log_batch(run_id, params=new)

    def _tags(self, run_id: str, tags: Mapping[str, object]) -> None:
        self._client.log_batch(
            run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()]
        )


def experiment_of(uri: str, run_id: str | None) -> str:
    """The id of a run's experiment; MLflow's default one if there is no such run."""
    if not run_id:
        return "0"
    try:
        return str(MlflowClient(uri).get_run(run_id).info.experiment_id)
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


def now_milliseconds() -> int:
    """The time, as MLflow wants it: milliseconds since 1970, UTC."""
    return int(time.time() * 1000)
