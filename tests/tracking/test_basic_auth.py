"""A sweep against a tracking server with passwords over PostgreSQL, and refused users."""

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
ADMIN = ("admin", "the-4dmin's-pass")
OWNER = ("ann", "the-0wner:/@ pass")
READER = ("bob", "the-r3ader's-pass")
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
    """A server with its database and its users' in PostgreSQL; ann and bob are users."""
    folder = tmp_path_factory.mktemp("server")
    users = cluster.url(cluster.database())
    settings = folder / "auth.ini"
    settings.write_text(SETTINGS.format(database=users.replace("%", "%%"), admin=ADMIN))
    server = Server(folder, cluster.url(cluster.database()), settings)
    server.start()
    address = f"{server.uri}/api/2.0/mlflow/users/create"
    for user, password in (OWNER, READER):
        login = {"username": user, "password": password}
        answer = requests.post(address, json=login, auth=ADMIN, timeout=60)
        answer.raise_for_status()
    yield server
    server.stop()


@pytest.fixture
def without_stores(folder):
    """A working folder with the study file alone."""
    for name in ("mlflow.db", "optuna.db"):
        (folder / name).unlink()
    return folder


def uri_with_login(server, user, password):
    """The server's address with a user and a password."""
    return server.uri.replace("//", f"//{user}:{quote(password, safe='')}@")


def test_whole_sweep(cluster, server, without_stores, tmp_path_factory, monkeypatch, capfd):
    """All commands of a sweep work with both stores in PostgreSQL, and leave no password."""
    folder = without_stores
    studies = cluster.database()
    uri = uri_with_login(server, *OWNER)
    monkeypatch.setenv("PIPELINE_STORAGE", cluster.url(studies))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert pipeline(*COMMAND) == 0
    client = MlflowClient(uri)
    check_complete(client, folder, NAME, tmp_path_factory.mktemp("fetched"))
    parent_run_id = record(folder, NAME).parent_run_id
    parent = client.get_run(parent_run_id)
    experiment = client.get_experiment(parent.info.experiment_id)
    assert (experiment.name, experiment.tags["mlflow.user"]) == (NAME, getpass.getuser())
    assert pipeline("evaluate", "--best") == 0
    assert pipeline("report", "--best") == 0
    (scored,) = [result for result in record(folder, NAME).results if result.test]
    assert client.get_run(scored.run_id).data.metrics["test/acc"] == scored.test["acc"]
    assert pipeline("register", "--best") == 0
    assert client.get_model_version_by_alias(NAME, "champion").run_id == scored.run_id
    client.delete_run(scored.run_id)
    assert pipeline("sync") == 0
    assert list(runs_below(client, parent_run_id)) == [0, 1]
    printed = capfd.readouterr()
    assert f"completed the runs of 1 trials of 2 ended: 2 complete: #{scored.number}" in printed.out
    assert "View run" not in printed.out
    files = [
        file.read_bytes().decode(errors="replace") for file in folder.rglob("*") if file.is_file()
    ]
    databases = cluster.execute("SELECT datname FROM pg_database WHERE datallowconn")
    dumps = [cluster.dump(name) for (name,) in databases]
    assert sum(parent_run_id in dump for dump in dumps) == 2, "of the studies, and of the server"
    texts = [printed.out, printed.err, *files, *dumps]
    for secret in (OWNER[1], PASSWORD, quote(OWNER[1], safe=""), quote(PASSWORD, safe="")):
        assert not [text for text in texts if secret in text]


@pytest.mark.parametrize("how", ["nobody", "wrong in variables", "wrong in the address"])
def test_wrong_login(server, without_stores, monkeypatch, capsys, how):
    """Exit code 5 at the start, and a line with the remedy, not the password; no file is made."""
    uri = server.uri
    if how == "wrong in the address":
        uri = uri_with_login(server, "ann", "wr0ng")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
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
    assert {path.name for path in without_stores.iterdir()} == {"tiny.yaml"}


@pytest.mark.usefixtures("without_stores")
def test_user_who_may_only_read(server, monkeypatch, capsys):
    """A sweep in another user's experiment ends with exit code 5, MLflow's words and no run."""
    client = MlflowClient(uri_with_login(server, *OWNER))
    experiment = client.create_experiment("ann's own")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri_with_login(server, *READER))
    assert pipeline(*COMMAND, "--experiment", "ann's own") == 5
    assert "Permission denied" in capsys.readouterr().err.splitlines()[-1]
    assert client.search_runs([experiment]) == []
