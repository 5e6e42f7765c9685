"""Runs a real tracking server, cuts it off and brings it back, and checks its record."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from mlflow import MlflowClient

from pipeline.checkpoints import load
from pipeline.tracking import run_contents
from support.endtoend import record

QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


class Server:
    """`mlflow server` on a port of its own; its artifacts are in the folder's served/.

    Its store is the folder's mlflow.db, or the database of a URL; ``auth`` is basic-auth's file.
    """

    def __init__(self, folder: Path, store: str | None = None, auth: Path | None = None):
        self.folder, self.process = folder, None
        self._store = store or f"sqlite:///{folder / 'mlflow.db'}"
        self._auth = auth
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self, *, wait=True):
        """Start it, and wait until it answers."""
        store = [
            "--backend-store-uri",
            self._store,
            "--artifacts-destination",
            str(self.folder / "served"),
        ]
        place = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        login, secret = [], {}
        if self._auth:
            login = ["--app-name", "basic-auth"]
            secret = {
                "MLFLOW_AUTH_CONFIG_PATH": str(self._auth),
                "MLFLOW_FLASK_SERVER_SECRET_KEY": "of these tests",
            }
        with (self.folder / "server.txt").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *store, *place, *login],
                env={**os.environ, **QUIET, **secret},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + 120
        while wait:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.uri}/health", timeout=5),
            ):
                return
            assert time.monotonic() < end, (self.folder / "server.txt").read_text()
            time.sleep(0.1)

    def signal(self, signum):
        """Send a signal to all of it."""
        os.killpg(self.process.pid, signum)

    def stop(self):
        """Kill it."""
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait(timeout=30)


class Way:
    """A port that leads to a server. It can be cut, with all open connections, and mended.

    While it `drips`, each answer of the server comes at a byte a second.
    """

    def __init__(self, port: int):
        self.to, self.port, self._open = port, 0, []
        self.drips = False
        self.mend()
        self.uri = f"http://127.0.0.1:{self.port}"

    def mend(self):
        """Connect again."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=50)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self):
        """Break every connection, and refuse new ones."""
        for end in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open.clear()

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self.to))
                self._open += [near, far]
                for ends in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source, target, is_answer):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                while self.drips and is_answer and data:
                    target.sendall(data[:1])
                    data = data[1:]
                    time.sleep(1)
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def runs_below(client: MlflowClient, parent: str) -> dict[int, object]:
    """The runs of a study's trials, by number; fails on two runs of one trial."""
    where = [client.get_run(parent).info.experiment_id]
    found = client.search_runs(where, f"tags.`mlflow.parentRunId` = '{parent}'", max_results=1000)
    numbers = [int(run.data.tags["sweep.trial"]) for run in found]
    assert len(set(numbers)) == len(numbers)
    return dict(sorted(zip(numbers, found, strict=True)))


def points(client: MlflowClient, run_id: str) -> dict[str, list[tuple[int, float, int]]]:
    """Everything that is logged of a run: steps, values and times by key."""
    keys = client.get_run(run_id).data.metrics
    return {
        key: [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run_id, key)]
        for key in keys
    }


def expected(result) -> dict[str, list[tuple[int, float, int]]]:
    """What a trial's result says must be logged of its run."""
    rows: dict[str, list[tuple[int, float, int]]] = {}
    for row in result.history:
        for key, value in {**row.metrics, **run_contents.class_metrics(row.per_class)}.items():
            rows.setdefault(key, []).append((row.epoch, value, row.time))
    end = result.history[-1].time
    return rows | {
        key: [(0, value, end)] for key, value in run_contents.final_metrics(result).items()
    }


def check_complete(client: MlflowClient, folder: Path, study: str, scratch: Path) -> None:
    """Check that MLflow's record equals Optuna's results, once each, at the same times."""
    found = record(folder, study)
    runs = runs_below(client, found.parent_run_id)
    assert list(runs) == [result.number for result in found.results]
    for result in found.results:
        run = runs[result.number]
        assert run.info.run_id == result.run_id
        assert run.info.status == ("FAILED" if result.state == "failed" else "FINISHED")
        settings = {key: str(value) for key, value in result.config.to_dict().items()}
        logarithms = {key for key in run.data.params if key.startswith("log10_")}
        assert run.data.params.items() >= settings.items()
        assert set(run.data.params) - logarithms == set(settings)
        assert run_contents.result_tags(result, found.classes).items() <= run.data.tags.items()
        assert run.inputs.dataset_inputs[0].dataset.name == found.dataset
        logged = points(client, result.run_id)
        logged.pop(run_contents.RANK, None)  # of the whole study, at its end
        assert logged == expected(result)
        assert run.info.end_time == result.history[-1].time
        files = {file.path for file in client.list_artifacts(result.run_id)}
        own = result.duplicate_of is None
        assert files >= {"config.yaml", "per_class.csv", "confusion.csv"} | (
            {"checkpoint"} if own else set()
        )
        if own:
            place = scratch / str(result.number)
            place.mkdir(parents=True)
            _, card = load(
                Path(client.download_artifacts(run.info.run_id, "checkpoint", str(place)))
                / "best.safetensors"
            )
            assert card["epoch"] == result.best_epoch
            assert result.checkpoint == f"{run.info.artifact_uri}/checkpoint"
    parent, winner = (
        client.get_run(found.parent_run_id),
        found.best_trial,
    )
    assert (parent.info.status, parent.data.params["winner.trial"]) == (
        "FINISHED",
        str(winner.number),
    )
    steps = [step for step, _, _ in points(client, found.parent_run_id)["sweep/best_val_acc"]]
    assert steps == list(range(1, len(found.results) + 1))
    assert "tiny.yaml" in {file.path for file in client.list_artifacts(found.parent_run_id)}
    assert client.list_artifacts(found.parent_run_id, "report")
    left = [path for path in (folder / "checkpoints" / study).rglob("*") if path.is_file()]
    assert not left, "what is recorded is not kept here as well"
