"""A tracking server over PostgreSQL that wants a password: a whole sweep against it, and who is refused."""

import getpass
from urllib.parse import quote

import pytest
import requests
from mlflow import MlflowClient
from support.endtoend import pipeline, record
from support.postgres import PASSWORD
from support.servers import Server, check_complete, runs_below

pytestmark = pytest.mark.slow

NAME = "tiny-digits"
COMMAND = ("sweep", "tiny.yaml", "--trials", "2")
ADMIN, OWNER, READER = (
    ("admin", "the-4dmin's-pass"),
    ("ann", "the-0wner:/@ pass"),
    ("bob", "the-r3ader's-pass"),
)
# Without the cache the server would compute a slow hash at every call.
SETTINGS = """
[mlflow]
default_permission = READ
database_uri = {database}
admin_username = {admin[0]}
admin_password = {admin[1]}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""


@pytest.fixture(scope="module")
def server(cluster, tmp_path_factory):
    """A server with its own and its users' database in PostgreSQL; ann and bob are users."""
    folder, users = tmp_path_factory.mktemp("server"), cluster.url(cluster.database())
    settings = folder / "auth.ini"
    settings.write_text(SETTINGS.format(database=users.replace("%", "%%"), admin=ADMIN))
    made = Server(folder, cluster.url(cluster.database()), settings)
    made.start()
    for user, password in (OWNER, READER):
        login = {"username": user, "password": password}
        requests.post(
            f"{made.uri}/api/2.0/mlflow/users/create", json=login, auth=ADMIN, timeout=60
        ).raise_for_status()
    yield made
    made.stop()


@pytest.fixture
def place(folder):
    """A working folder with the study, and no stores."""
    for name in ("mlflow.db", "optuna.db"):
        (folder / name).unlink()
    return folder


def way(server, user, password):
    """The address with a login in it."""
    return server.uri.replace("//", f"//{user}:{quote(password, safe='')}@")


def test_a_whole_sweep(cluster, server, place, tmp_path_factory, monkeypatch, capfd):
    """Swept, evaluated, reported, registered, synced with both stores in PostgreSQL; no password is left anywhere."""
    studies, uri = cluster.database(), way(server, *OWNER)
    monkeypatch.setenv("PIPELINE_STORAGE", cluster.url(studies))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert pipeline(*COMMAND) == 0
    client = MlflowClient(uri)
    check_complete(client, place, NAME, tmp_path_factory.mktemp("fetched"))
    found = record(place, NAME)
    experiment = client.get_experiment(client.get_run(found.parent_run_id).info.experiment_id)
    assert (experiment.name, experiment.tags["mlflow.user"]) == (NAME, getpass.getuser())
    assert pipeline("evaluate", "--best") == 0
    assert pipeline("report", "--best") == 0
    (scored,) = [result for result in record(place, NAME).results if result.test]
    assert client.get_run(scored.run_id).data.metrics["test/acc"] == scored.test["acc"]
    assert pipeline("register", "--best") == 0
    assert client.get_model_version_by_alias(NAME, "champion").run_id == scored.run_id
    client.delete_run(scored.run_id)
    assert pipeline("sync") == 0
    assert list(runs_below(client, found.parent_run_id)) == [0, 1]
    printed = capfd.readouterr()
    assert f"completed the runs of 1 trials of 2 ended: 2 complete: #{scored.number}" in printed.out
    assert "View run" not in printed.out
    files = [
        file.read_bytes().decode(errors="replace") for file in place.rglob("*") if file.is_file()
    ]
    dumps = [
        cluster.dump(name)
        for (name,) in cluster.execute("SELECT datname FROM pg_database WHERE datallowconn")
    ]
    assert sum(found.parent_run_id in dump for dump in dumps) == 2, (
        "of the studies, and of the server"
    )
    texts = [printed.out, printed.err, *files, *dumps]
    for secret in (OWNER[1], PASSWORD, quote(OWNER[1], safe=""), quote(PASSWORD, safe="")):
        assert not [text for text in texts if secret in text]


@pytest.mark.parametrize("how", ["nobody", "wrong in variables", "wrong in the address"])
def test_a_wrong_login(server, place, monkeypatch, capsys, how):
    """Exit code 5 at the start and one line that says what to set, without what was given; nothing is made."""
    monkeypatch.setenv(
        "MLFLOW_TRACKING_URI",
        server.uri if how != "wrong in the address" else way(server, "ann", "wr0ng"),
    )
    if how == "wrong in variables":
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wr0ng")
    for command in (COMMAND, ("train", "--epochs", "1"), ("evaluate", "--run", "a" * 32)):
        assert pipeline(*command) == 5
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(
            f"the tracking server {server.uri} knows no such user with that password: set MLFLOW_"
        )
        assert "wr0ng" not in line
    assert {path.name for path in place.iterdir()} == {"tiny.yaml"}


def test_one_who_may_only_read(server, place, monkeypatch, capsys):
    """In the experiment of another user a sweep ends with exit code 5 and MLflow's own words, and makes no run."""
    client = MlflowClient(way(server, *OWNER))
    experiment = client.create_experiment("ann's own")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", way(server, *READER))
    assert pipeline(*COMMAND, "--experiment", "ann's own") == 5
    assert "Permission denied" in capsys.readouterr().err.splitlines()[-1]
    assert client.search_runs([experiment]) == []
