"""The tracking server is away: at the start, for a while, until the end, or it does not answer."""

import itertools
import math
import re
import signal
import socket
import time
from functools import partial

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from support.commands import wait_until
from support.endtoend import epochs, furnish, record, wait_for_epochs
from support.forks import Fork
from support.records import START, make_epoch, make_result
from support.servers import Server, Way, check_complete, expected, points, runs_below

from pipeline.system.errors import ServerAway, StorageFailure
from pipeline.tracking import server as connection
from pipeline.tracking import tracker as tracking
from pipeline.tracking import writer
from sweeps.trial import COMPLETE, configure

STUDY = """
dataset: digits
trials: 4
epochs: 6
pruner: none
search: {lr: {low: 1.0e-3, high: 1.0e-2, log: true}}
fixed: {family: cnn, width: 32, depth: 3}
"""
NAME = "tiny-digits"
COMMAND = ("sweep", "tiny.yaml")


@pytest.fixture(scope="module")
def server(tmp_path_factory, template):
    """A server that runs, over a file of its own."""
    made = Server(furnish(tmp_path_factory.mktemp("server"), template))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def way(server, folder):
    """The way to the server; the folder has the study."""
    (folder / "tiny.yaml").write_text(STUDY)
    made = Way(server.port)
    yield made
    made.cut()


def of(server):
    """The environment of a command that writes to it."""
    return {"MLFLOW_TRACKING_URI": server.uri}


def whole(client, folder):
    """Everything MLflow says of the study's runs."""
    parent = record(folder, NAME).parent_run_id
    runs = [client.get_run(parent), *runs_below(client, parent).values()]
    return [run.to_dictionary() for run in runs]


def waits(folder):
    """The seconds between epochs that no epoch took, and those between a trial's end and its successor's start."""
    results = [result for result in record(folder, NAME).results if result.history]
    rows = [row for result in results for row in result.history]
    return [
        (after.time - before.time) / 1000 - after.metrics["time/epoch_seconds"]
        for before, after in itertools.pairwise(rows)
    ]


@pytest.mark.slow
def test_away_for_a_while_it_misses_nothing(way, template, tmp_path):
    """Cut off between two epochs and back in another trial, it has every point once.

    Training never waits for more than 1 s, which is promised. A machine that stands still for a
    while, or until the first trial is nearly done, is given two more attempts.
    """

    def longest(attempt):
        folder = furnish(tmp_path / f"{attempt}", template, STUDY)
        sweep = Fork(folder, *COMMAND, MLFLOW_TRACKING_URI=way.uri)
        wait_for_epochs(folder, 0, 2)
        way.cut()
        is_in_time = epochs(folder, 0) <= 4
        wait_for_epochs(folder, 2, 1)  # the second trial began and ended without it
        way.mend()
        output = sweep.wait(0)
        assert "the tracking server is away" in output
        check_complete(MlflowClient(way.uri), folder, NAME, folder / "fetched")
        return max(waits(folder)) if is_in_time else math.inf

    assert any(longest(attempt) < 1 for attempt in range(3))


@pytest.mark.slow
def test_away_for_good_the_sweep_goes_on_and_the_record_is_completed_later(
    server, folder, tmp_path
):
    """The search reaches its total, then exit code 5 names `pipeline sync`, which completes all; again, nothing."""
    (folder / "tiny.yaml").write_text(STUDY)
    sweep = Fork(folder, *COMMAND, MLFLOW_TRACKING_URI=server.uri)
    wait_for_epochs(folder, 1, 2)
    server.stop()
    output = sweep.wait(5)
    assert output.splitlines()[-1].endswith(f"complete the record with: pipeline sync {NAME}")
    assert server.uri in output.splitlines()[-1]
    assert [result.state for result in record(folder, NAME).results] == [COMPLETE] * 4
    assert max(waits(folder)) < 1
    assert (folder / "reports" / NAME / "report.md").exists()
    server.start()
    assert re.search(
        r"completed the runs of [2-4] trials", Fork(folder, "sync", NAME, **of(server)).wait(0)
    )
    client = MlflowClient(server.uri)
    check_complete(client, folder, NAME, tmp_path / "fetched")
    before = whole(client, folder)
    assert "no run was incomplete" in Fork(folder, "sync", **of(server)).wait(0)
    check_complete(client, folder, NAME, tmp_path / "again")
    assert whole(client, folder) == before


@pytest.mark.slow
@pytest.mark.parametrize("hung", [False, True])
def test_asked_to_stop_while_it_is_away(server, way, folder, tmp_path, hung):
    """Ctrl-C ends the sweep in 10 s, whether the server is gone or hangs.

    Nobody waits longer for Ctrl-C: the bound is the promise. The same command completes the record.
    """
    sweep = Fork(folder, *COMMAND, **of(way))
    wait_for_epochs(folder, 0, 2)
    if hung:
        server.signal(signal.SIGSTOP)
    else:
        way.cut()
    wait_for_epochs(folder, 1, 1)
    began = time.monotonic()
    sweep.send(signal.SIGINT)
    output = sweep.wait(130)
    assert time.monotonic() - began < 10
    assert output.splitlines()[-1] == "interrupted; go on with: pipeline sweep tiny.yaml"
    if hung:
        server.signal(signal.SIGCONT)
    else:
        way.mend()
    Fork(folder, *COMMAND, **of(way)).wait(0)
    check_complete(MlflowClient(way.uri), folder, NAME, tmp_path / "fetched")


@pytest.mark.slow
@pytest.mark.parametrize("drips", [True, False])
def test_a_server_that_becomes_slow_is_not_waited_for_without_limit(
    server, way, folder, tmp_path, drips
):
    """From the first trial on it sends a byte a second, or nothing: the sweep ends with exit code 5.

    A request may take 1 s here, 30 s by default. `pipeline sync` completes the record.
    """
    limit = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1"}
    sweep = Fork(folder, *COMMAND, "--trials", "2", MLFLOW_TRACKING_URI=way.uri, **limit)
    wait_for_epochs(folder, 0, 2)
    if drips:
        way.drips = True
    else:
        server.signal(signal.SIGSTOP)
    last_line = sweep.wait(5).splitlines()[-1]
    assert f"the tracking server {way.uri} is away: " in last_line
    assert last_line.endswith(f"complete the record with: pipeline sync {NAME}")
    assert [result.state for result in record(folder, NAME).results] == [COMPLETE] * 2
    way.drips = False
    server.signal(signal.SIGCONT)
    Fork(folder, "sync", NAME, **of(way)).wait(0)
    check_complete(MlflowClient(way.uri), folder, NAME, tmp_path / "fetched")


def refused(folder, uri, command):
    """The seconds until a command has said that there is no such server, and left nothing behind."""
    before = {path.name for path in folder.iterdir() if not path.name.startswith("log-")}
    began = time.monotonic()
    output = Fork(folder, *command, MLFLOW_TRACKING_URI=uri).wait(5)
    seconds = time.monotonic() - began
    assert uri.replace("me:secret@", "") in output
    assert "secret" not in output
    assert {path.name for path in folder.iterdir() if not path.name.startswith("log-")} == before
    return seconds


@pytest.mark.slow
@pytest.mark.parametrize("listens", [False, True])
def test_unreachable_at_the_start(folder, listens):
    """Nothing there, or something that does not answer: exit code 5, the address, nothing made.

    The 5 s are promised: MLflow alone would try for minutes. A machine that stands still for a
    while is given two more attempts.
    """
    for name in ("mlflow.db", "optuna.db"):
        (folder / name).unlink()
    Fork(folder, "--help").wait(0)  # starts the server of forks
    with socket.create_server(("127.0.0.1", 0)) as there:
        uri = f"http://me:secret@127.0.0.1:{there.getsockname()[1]}"
        if not listens:
            there.close()
        for command in (COMMAND, ("train", "--epochs", "1")):
            assert any(refused(folder, uri, command) < 5 for _ in range(3))


@pytest.mark.slow
def test_one_training_goes_on_without_it(way, folder):
    """`pipeline train` too ends its training; exit code 5 names the command that completes the run."""
    command = (
        "train",
        "--family",
        "cnn",
        "--width",
        "32",
        "--depth",
        "3",
        "--epochs",
        "8",
        "--experiment",
        "one",
    )
    training = Fork(folder, *command, **of(way))
    client = MlflowClient(way.uri)
    states = folder / "checkpoints" / "train"
    wait_until(lambda: list(states.glob("*/epoch-*.safetensors")))
    way.cut()
    output = training.wait(5)
    (again,) = re.findall("complete the run with: pipeline (train --resume .*)$", output.strip())
    way.mend()
    Fork(folder, *again.split(), **of(way)).wait(0)
    (run,) = client.search_runs([client.get_experiment_by_name("one").experiment_id])
    assert run.info.status == "FINISHED"
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "val/acc")]
    assert steps == list(range(1, 9))
    assert "checkpoint" in {file.path for file in client.list_artifacts(run.info.run_id)}


# Without a server


def result_with_an_empty_class():
    """A trial of three epochs and two classes, the second without images."""
    history = [
        make_epoch(
            epoch,
            {"val/acc": epoch / 10, "val/loss": 1.0},
            time=START + epoch,
            per_class=(0.5, None),
        )
        for epoch in (1, 2, 3)
    ]
    return make_result(0, 0.3, history=tuple(history), run_id=None)


@pytest.fixture
def tracker(folder, monkeypatch):
    """A tracker on a file, which takes it for a server: one that can be away."""
    monkeypatch.setattr(connection, "is_server", lambda _uri: True)
    made = tracking.Tracker(f"sqlite:///{folder / 'mlflow.db'}", experiment="Default")
    yield made
    made.close()


def unreliable(monkeypatch, *, before):
    """Have the first, third and fifth call of each kind fail: before it is made, or after, when its answer is lost.

    They are made again at once: on a slow machine the pauses would outlast the patience.
    """
    monkeypatch.setattr(writer, "FIRST_PAUSE", 0.001)
    for name in (
        "create_run",
        "update_run",
        "log_batch",
        "log_inputs",
        "log_artifacts",
        "set_terminated",
    ):
        call, tried = getattr(MlflowClient, name), set()

        def fail(self, *arguments, _call=call, _tried=tried, **options):
            _tried.add(len(_tried))
            fails = len(_tried) in (1, 3, 5)
            if before and fails:
                raise MlflowException("the connection is refused")
            result = _call(self, *arguments, **options)
            if fails:
                raise MlflowException("the answer is lost")
            return result

        monkeypatch.setattr(MlflowClient, name, fail)


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_whatever_fails_once_is_recorded_once(tracker, folder, monkeypatch, before, fresh):
    """Each call fails, or loses its answer, and is made again: one run, every point once, in order."""
    unreliable(monkeypatch, before=before)
    result = result_with_an_empty_class()
    data = {"name": "digits", "digest": "0", "source": "."}
    parent = tracker.call(tracker.open_parent, NAME, None, "k" * 32, {})
    opened = tracker.submit(
        partial(tracker.open_trial, parent, NAME, 0, result.config, data, fresh=fresh)
    )
    for count in (1, 2):
        tracker.submit(
            lambda count=count: tracker.log_epochs(opened.result()[0], result.history[:count])
        )
    tracker.submit(lambda: tracker.finish_trial(opened.result()[0], result, ["a", "b"], []))
    tracker.drain()
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (run,) = runs_below(client, parent).values()
    assert points(client, run.info.run_id) == expected(result)
    assert run.info.status == "FINISHED"
    assert len(client.search_runs(["0"])) == 2


def test_what_the_store_refuses_is_told_and_not_sent_again(tracker, folder):
    """A param that cannot change is final, with the store's own message; what follows is still written."""
    run_id, _ = tracker.call(
        tracker.open_trial, None, None, 0, configure({}), {"name": "d", "digest": "0", "source": ""}
    )
    refused = tracker.submit(tracker._client.log_param, run_id, "lr", 0.5)
    with pytest.raises(StorageFailure, match="Changing param values is not allowed"):
        tracker.result(refused)
    assert not tracker.away
    with pytest.raises(StorageFailure, match="Changing param values"):
        tracker.submit(tracker.tag, run_id, {"a": 1})
    tracker.submit(tracker.tag, run_id, {"b": 2})
    tracker.drain()
    assert MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").get_run(run_id).data.tags["b"] == "2"


def test_a_server_that_stays_away_is_waited_for_once(tracker, monkeypatch):
    """The first wait lasts as long as the patience; neither a later one nor the end waits again."""
    monkeypatch.setattr(tracker, "_patience", 0.5)
    calls, looks = [], []

    def call(name):
        calls.append(name)
        raise MlflowException("the connection is refused")

    for name in ("first", "second"):
        tracker.submit(call, name)
    tracker.listen(lambda: looks.append(time.monotonic()))
    began = time.monotonic()
    with pytest.raises(ServerAway, match="is away: the connection is refused"):
        tracker.drain()
    assert time.monotonic() - began > 0.5
    assert len(looks) > 1
    looks.clear()
    with pytest.raises(ServerAway, match="is away: the connection is refused"):
        tracker.drain()
    assert len(looks) <= 1
    tracker.close()
    assert set(calls) == {"first"}, "it is made again and again, and never the next"


def test_a_file_is_never_away(folder):
    """An error of SQLite is final at once: nothing is made again."""
    tracker = tracking.Tracker(f"sqlite:///{folder / 'mlflow.db'}")
    calls = []

    def fails():
        calls.append(1)
        raise MlflowException("database is locked")

    with pytest.raises(StorageFailure, match="database is locked"):
        tracker.call(fails)
    tracker.close()
    assert len(calls) == 1
