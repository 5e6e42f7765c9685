"""Studies in PostgreSQL: the same sweep as in a file, one coordinator, and what may befall a server."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from support.commands import wait_until
from support.endtoend import (
    check_invariant,
    children,
    decisions,
    furnish,
    pipeline,
    record,
    trial_list,
)
from support.forks import Fork, trials, weights
from support.postgres import OWNER, PASSWORD

from pipeline.stores import access, locations, locks
from pipeline.system.errors import StudyBusy
from pipeline.system.failpoints import VARIABLE
from sweeps.search.stored_trial import is_paused

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STUDY = """
dataset: digits
trials: 2
epochs: 20
search: {lr: {low: 1.0e-3, high: 1.0e-2, log: true}}
fixed: {family: cnn, width: 8, depth: 1, batch_size: 256, dropout: 0.1, schedule: cosine}
"""
# Three of six trials go on; those that had ended with fewer trials are open again.
PROMOTING = """
dataset: digits
trials: 6
epochs: 4
search: {lr: {low: 1.0e-3, high: 1.0e-2, log: true}, dropout: {low: 0.1, high: 0.4}}
fixed: {family: cnn, width: 8, depth: 1, batch_size: 256}
"""
NAME = "tiny-digits"
COMMAND = ("sweep", "tiny.yaml")
STORAGE = "PIPELINE_STORAGE"


@pytest.fixture(scope="session")
def tables(cluster, tmp_path_factory) -> str:
    """A database that has Optuna's tables, to be copied."""
    name, folder = cluster.database(), tmp_path_factory.mktemp("tables")
    access.prepare(locations.Stores(f"sqlite:///{folder / 'mlflow.db'}", cluster.url(name), folder))
    return name


@pytest.fixture
def database(cluster, tables, monkeypatch) -> str:
    """A database without studies; the environment names it."""
    name = cluster.database(tables)
    monkeypatch.setenv(STORAGE, cluster.url(name))
    return name


@pytest.fixture
def place(folder) -> Path:
    """A working folder with the study of this file, and none of its own."""
    (folder / "tiny.yaml").write_text(STUDY)
    (folder / "optuna.db").unlink()
    return folder


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory, template):
    """The list and the weights of the sweep that nothing disturbs, with its studies in a file."""
    folder = furnish(tmp_path_factory.mktemp("unbroken"), template, STUDY)
    Fork(folder, *COMMAND).wait(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(STORAGE, raising=False)
        return trial_list(folder, NAME), weights(folder, NAME)


def check_whole(folder, unbroken):
    """Both stores are as they must be, and the sweep is the one that nothing disturbed."""
    check_invariant(folder, NAME, total=2)
    assert (trial_list(folder, NAME), weights(folder, NAME)) == unbroken
    assert not (folder / "optuna.db").exists()


def fork(folder, *arguments, **environment):
    """A command in a process of its own, with the studies where this test has them."""
    return Fork(folder, *arguments, **{STORAGE: os.environ[STORAGE], **environment})


def stop_in_a_trial(sweep, folder, cluster, database):
    """Have a sweep stand still in the midst of its first trial, and not while it holds the tracking store."""
    with cluster.connect(database) as connection:
        wait_until(lambda: connection.execute("SELECT 1 FROM trial_intermediate_values").fetchone())

    def stands_still():
        sweep.send(signal.SIGSTOP)
        wait_until(lambda: psutil.Process(sweep.process.pid).status() == psutil.STATUS_STOPPED)
        try:
            with closing(
                sqlite3.connect(folder / "mlflow.db", timeout=0.2, isolation_level=None)
            ) as tracking:
                tracking.execute("BEGIN IMMEDIATE").execute("ROLLBACK")
        except sqlite3.OperationalError:
            sweep.send(signal.SIGCONT)
            return False
        return True

    wait_until(stands_still)


def error(capsys) -> str:
    """The one line that a command ended with."""
    (line,) = capsys.readouterr().err.splitlines()
    assert PASSWORD not in line
    return line


# The same sweep


def test_it_is_the_sweep_that_it_is_in_a_file(database, place, unbroken, capsys):
    """Trials, values and weights are equal; it is evaluated, and keeps the test score."""
    assert pipeline(*COMMAND) == 0
    check_whole(place, unbroken)
    capsys.readouterr()
    assert pipeline("evaluate", "--best", "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    (scored,) = [result for result in record(place, NAME).results if result.test]
    assert (scored.run_id, scored.test["acc"]) == (found["run"], found["acc"])


@pytest.mark.parametrize("point", ["after_checkpoint:25", "between_stores:2"])
def test_killed_it_goes_on(database, place, unbroken, point):
    """Killed, it holds the study no longer; the same command makes the unbroken sweep of it."""
    fork(place, *COMMAND, **{VARIABLE: point}).wait(-signal.SIGKILL)
    fork(place, *COMMAND).wait(0)
    check_whole(place, unbroken)


def test_paused_trials_go_on_as_in_a_file(database, place, template, tmp_path_factory):
    """Extended, so that trials that had ended are open again, and killed meanwhile, it decides as in a file."""
    (place / "tiny.yaml").write_text(PROMOTING)
    fork(place, *COMMAND, "--trials", "4").wait(0)
    check_invariant(place, NAME, total=4)
    fork(place, *COMMAND, **{VARIABLE: "after_pause"}).wait(-signal.SIGKILL)
    fork(place, *COMMAND, **{VARIABLE: "in_settling"}).wait(-signal.SIGKILL)
    fork(place, *COMMAND).wait(0)
    check_invariant(place, NAME, total=6, ends_before=1)
    found = trial_list(place, NAME), decisions(place, NAME), weights(place, NAME)
    folder = furnish(tmp_path_factory.mktemp("file"), template, PROMOTING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STORAGE, locations.sqlite_url(folder / "optuna.db"))
        fork(folder, *COMMAND, "--trials", "4").wait(0)
        fork(folder, *COMMAND).wait(0)
        assert found == (trial_list(folder, NAME), decisions(folder, NAME), weights(folder, NAME))
    assert {end for _, end, _ in found[0]} == {"complete", "pruned"}
    assert any(" of 6" in key for key in found[1])


def test_on_another_machine_the_running_trial_begins_again(database, place, unbroken):
    """Where its checkpoints are not, a trial is trained from its beginning, and its run has every point once."""
    # A trial that was paused and goes on: its run has the points of its first part already.
    fork(place, *COMMAND, **{VARIABLE: "mid_epoch:30"}).wait(-signal.SIGKILL)
    (number,) = [
        trial.number
        for trial in trials(place, NAME)
        if not (trial.state.is_finished() or is_paused(trial))
    ]
    assert children(place, NAME)[number].data.metrics["val/acc"] > 0
    shutil.rmtree(place / "checkpoints")
    assert f"going on with 1 interrupted trial: #{number}" in fork(place, *COMMAND).wait(0)
    check_whole(place, unbroken)


def test_two_that_begin_at_once_make_the_tables_once(cluster, tmp_path):
    """A database without tables gets them, however many sweeps find it so."""
    url = cluster.url(cluster.database())
    places = [
        locations.Stores(f"sqlite:///{tmp_path}/{n}/mlflow.db", url, tmp_path) for n in range(4)
    ]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(access.prepare, places)) == [None] * 4
    with access.read_studies(places[0]) as found:
        assert found.get_all_studies() == []


# One coordinator


def test_the_second_coordinator_is_refused_wherever_it_is(
    cluster, database, place, template, tmp_path_factory, unbroken
):
    """From another folder, as from another machine, exit code 4 names the first; killed, that is in nobody's way."""
    first = fork(place, *COMMAND)
    stop_in_a_trial(first, place, cluster, database)
    before = [trial.state for trial in trials(place, NAME)]
    elsewhere = furnish(tmp_path_factory.mktemp("elsewhere"), template, STUDY)
    for folder in (place, elsewhere):
        output = fork(folder, *COMMAND).wait(4)
        assert re.search(
            rf"error: study '{NAME}' is in use by process {first.process.pid} on {socket.gethostname()[:28]}\S* "
            r"since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC$",
            output.strip(),
        )
    assert [trial.state for trial in trials(place, NAME)] == before
    assert children(elsewhere, NAME) == {}
    first.send(signal.SIGKILL)
    first.process.join()
    fork(place, *COMMAND).wait(0)
    check_whole(place, unbroken)


HOLD = """
import sys
from pipeline.stores import locations, locks
with locks.lock(locations.locate(), sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_held_until_its_holder_dies(database, place, tmp_path_factory, monkeypatch):
    """Another study is free, and so is this one the moment its holder is killed."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", HOLD, NAME], **pipes, env=environment) as holder:
        assert holder.stdout.readline() == "held\n"
        monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
        with (
            pytest.raises(StudyBusy, match=f"in use by process {holder.pid} on "),
            locks.lock(locations.locate(), NAME),
        ):
            pass
        with locks.lock(locations.locate(), "another"):
            pass
        assert locks.holder(locations.locate(), NAME).startswith(f"process {holder.pid} on ")
        assert locks.holder(locations.locate(), NAME).startswith(f"process {holder.pid} on ")
        assert locks.holder(locations.locate(), "another") is None
        holder.kill()
        holder.wait()

    def is_free():
        with suppress(StudyBusy), locks.lock(locations.locate(), NAME):
            return True
        return False

    wait_until(is_free)


# What may befall it


@pytest.mark.parametrize("how", ["its connection", "the server"])
def test_what_loses_its_hold_writes_no_more(cluster, database, place, unbroken, how):
    """With its connection or the server gone, exit code 5 says so; another may have begun, and the same command can."""
    sweep = fork(place, *COMMAND)
    stop_in_a_trial(sweep, place, cluster, database)
    if how == "the server":
        cluster.stop()
        cluster.start()
    else:
        mine = f"datname = '{database}' AND application_name LIKE 'sweep %'"
        cluster.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}")
    with locks.lock(locations.Stores("", cluster.url(database), place / "other"), NAME):
        before = [trial.state for trial in trials(place, NAME)]
        sweep.send(signal.SIGCONT)
        output = sweep.wait(5)
        assert "error: cannot use the store of studies: " in output.splitlines()[-1]
        assert "connection" in output.splitlines()[-1]
        assert [trial.state for trial in trials(place, NAME)] == before
    fork(place, *COMMAND).wait(0)
    check_whole(place, unbroken)


def wrong(cluster, database, what):
    """The URL with one thing wrong, and what is then said."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    return {
        "password": (
            cluster.url(database, password="wr0ng"),
            'password authentication failed for user "sweeper"',
        ),
        "no password": (cluster.url(database, password=None), "no password supplied"),
        "user": (
            cluster.url(database, user="nobody"),
            'password authentication failed for user "nobody"',
        ),
        "database": (cluster.url("nosuch"), 'database "nosuch" does not exist'),
        "port": (f"postgresql://{OWNER}:wr0ng@127.0.0.1:{port}/{database}", "Connection refused"),
        "host": (f"postgresql://{OWNER}:wr0ng@nowhere.invalid/{database}", "nowhere.invalid"),
    }[what]


@pytest.mark.parametrize("what", ["password", "no password", "user", "database", "port", "host"])
def test_wrong_in_one_thing(cluster, database, tmp_path, monkeypatch, capsys, what):
    """Exit code 5 and one line that says what, without the password; nothing is made."""
    url, said = wrong(cluster, database, what)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(STORAGE, url)
    for command in (("sweep", "--trials", "1"), ("report",)):
        assert pipeline(*command) == 5
        line = error(capsys)
        assert "cannot use the studies in postgresql+psycopg://" in line
        assert said in line
        assert "wr0ng" not in line
    assert list(tmp_path.iterdir()) == []


def test_one_that_does_not_answer(tmp_path, monkeypatch, capsys):
    """What accepts a connection and then is silent is given up within 5 s, as promised."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(
            STORAGE, f"postgresql://me:{OWNER}@127.0.0.1:{silent.getsockname()[1]}/db"
        )
        began = time.monotonic()
        assert pipeline("report") == 5
        assert time.monotonic() - began < 5
    assert "timeout" in error(capsys)


@pytest.mark.parametrize("older", [True, False])
def test_tables_of_another_version_are_refused_with_the_remedy(
    cluster, database, place, capsys, older
):
    """Exit code 5 with the command and "back it up first", which holds no password; all is left as it is."""
    cluster.execute(
        f"UPDATE alembic_version SET version_num = '{'v3.0.0.d' if older else 'zz99'}'", database
    )
    cluster.execute(
        "DROP TABLE trial_heartbeats", database
    )  # as an older one lacks it: Optuna would make it
    before = listed(cluster, database)
    for command in (COMMAND, ("report",)):
        assert pipeline(*command) == 5
        line = error(capsys)
        url = cluster.url(database, password=None)
        assert line.startswith(f"cannot use the studies in {url}: ")
        assert "back it up first, then run: " in line
        assert (
            f"optuna storage upgrade --storage {url}" if older else "pip install --upgrade optuna"
        ) in line
    assert listed(cluster, database) == before


def test_another_programs_database_is_left_alone(cluster, database, place, capsys):
    """One that has a version and not Optuna's tables, as an MLflow server's, is refused and gets none."""
    other = cluster.database()
    cluster.execute("CREATE TABLE alembic_version (version_num text)", other)
    os.environ[STORAGE] = cluster.url(other)
    assert pipeline(*COMMAND) == 5
    assert "holds another program's tables: give the studies a database of their own" in error(
        capsys
    )
    assert [name for name, _ in listed(cluster, other)] == ["alembic_version"]


def listed(cluster, database):
    """Every table and what it holds."""
    names = cluster.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1", database
    )
    return [(name, cluster.execute(f"SELECT * FROM {name}", database)) for (name,) in names]


def test_one_who_may_only_read(cluster, database, place, capsys, monkeypatch):
    """A role without the right to write can report and not sweep; reading changes nothing."""
    assert pipeline(*COMMAND, "--trials", "1") == 0
    role = f"reader_{database}"
    cluster.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_read_all_data")
    monkeypatch.setenv(STORAGE, cluster.url(database, user=role))
    before = listed(cluster, database)
    capsys.readouterr()
    assert pipeline("report") == 0
    assert "1 ended: 1 complete" in capsys.readouterr().out
    assert pipeline(*COMMAND) == 5
    assert "permission denied for table studies" in error(capsys)
    assert listed(cluster, database) == before


def test_nothing_to_read(cluster, database, tmp_path, monkeypatch, capsys):
    """A database without tables, or without studies, is none to report; it gets no tables by that."""
    monkeypatch.chdir(tmp_path)
    for name in (database, cluster.database()):
        monkeypatch.setenv(STORAGE, cluster.url(name))
        assert pipeline("report") == 2
        assert "run `pipeline sweep` first" in error(capsys)
    assert listed(cluster, name) == []
