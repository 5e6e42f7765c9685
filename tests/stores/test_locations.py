"""Where the stores are, and which addresses and names are refused."""

import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from pipeline.stores import postgresql
from pipeline.stores.access import prepare
from pipeline.stores.locations import check_name, display_name, locate, sqlite_file
from pipeline.system.errors import UsageFailure


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_default(tmp_path):
    """Unless told otherwise, all is in the working folder, and looking makes nothing."""
    where = locate()
    assert (where.tracking, where.studies) == (
        f"sqlite:///{tmp_path}/mlflow.db",
        f"sqlite:///{tmp_path}/optuna.db",
    )
    assert where.home == tmp_path
    assert where.reports("demo") == tmp_path / "reports" / "demo"
    assert list(tmp_path.iterdir()) == []


def test_tracking_elsewhere(tmp_path, monkeypatch):
    """Where the tracking file is elsewhere, the studies, checkpoints and reports are beside it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///over/there/mlflow.db")
    where = locate()
    assert where.home == tmp_path / "over" / "there"
    assert sqlite_file(where.tracking) == where.home / "mlflow.db"
    assert sqlite_file(where.studies) == where.home / "optuna.db"


@pytest.mark.parametrize("uri", ["http://localhost:5000", "https://user:secret@host/path"])
def test_tracking_server(tmp_path, monkeypatch, uri):
    """With a tracking server, files are in the working folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    where = locate()
    assert where.tracking == uri
    assert (where.home, sqlite_file(where.studies)) == (tmp_path, tmp_path / "optuna.db")


def test_storage(tmp_path, monkeypatch):
    """The command line's storage comes before the environment's, and neither moves the rest."""
    monkeypatch.setenv("PIPELINE_STORAGE", "sqlite:///b/x.db")
    assert sqlite_file(locate().studies) == tmp_path / "b" / "x.db"
    where = locate("sqlite:////a/y.db")
    assert sqlite_file(where.studies) == Path("/a/y.db")
    assert where.home == tmp_path


@pytest.mark.parametrize(
    "uri", ["file:///tmp/mlruns", "./mlruns", "postgresql://me:secret@host/db", "databricks"]
)
def test_tracking_that_is_not_served(monkeypatch, uri):
    """Another kind of tracking store is refused with exit code 2, without showing a password."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(
        UsageFailure, match="MLFLOW_TRACKING_URI must be sqlite:///FILE or http"
    ) as failure:
        locate()
    assert failure.value.code == 2
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize(
    ("option", "variable", "message"),
    [
        (
            "postgresql://me:secret@host/db",
            None,
            "--storage must not hold a password.*PIPELINE_STORAGE",
        ),
        (
            "postgresql://host/db?password=secret",
            None,
            "--storage must not hold a password.*PIPELINE_STORAGE",
        ),
        *[
            (f"postgresql://host/db?{key}=secret", None, "--storage must not hold a password")
            for key in ("sslpassword", "oauth_client_secret", "access_token")
        ],
        ("mysql://me:secret@host/db", None, "--storage must not hold a password.*PIPELINE_STORAGE"),
        (None, "mysql://me:secret@host/db", "must be sqlite:///FILE or postgresql.*: got 'mysql'"),
        (None, "postgresql+psycopg2://host/db", r"must be .*: got 'postgresql\+psycopg2'"),
        (
            None,
            "postgresql://me:@secret@host/db",
            "must be .*: got an @ that is part of .*, which is written %40",
        ),
        (None, "postgresql://me:1@secret:2@host/db", "must be .*: got what is no URL"),
        ("optuna.db", None, "must be sqlite:///FILE or postgresql.*: got what is no URL"),
    ],
)
def test_storage_that_is_not_served(monkeypatch, option, variable, message):
    """Another kind of storage is refused, and so is any password on a command line, which is shown nowhere."""
    if variable:
        monkeypatch.setenv("PIPELINE_STORAGE", variable)
    with pytest.raises(UsageFailure, match=message) as failure:
        locate(option)
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_storage_in_a_database(tmp_path, monkeypatch, scheme):
    """A database is named by its URL, with a password in the environment, which is not shown; the files stay here."""
    monkeypatch.setenv(
        "PIPELINE_STORAGE", f"{scheme}://me:s%40cret@host:6543/db?sslmode=require&password=secret"
    )
    where = locate()
    assert (
        where.studies
        == "postgresql+psycopg://me:s%40cret@host:6543/db?password=secret&sslmode=require"
    )
    assert where.home == tmp_path
    assert display_name(where.studies) == "postgresql+psycopg://me@host:6543/db?sslmode=require"
    assert locate(f"{scheme}://me@host/db").studies == "postgresql+psycopg://me@host/db"


def test_a_database_without_its_package(tmp_path, monkeypatch):
    """Where psycopg is not installed, exit code 2 names the command that does it, and nothing is made."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    where = locate("postgresql://host/db")
    with pytest.raises(
        UsageFailure, match=r"need psycopg, which is not installed: pip install 'psycopg\[binary\]"
    ):
        prepare(where)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["default-digits", "a", "7", "a b_c.d-e", "x" * 100, "étude", "_x"]
)
def test_name(name):
    """Words of letters, digits, spaces and a few signs can name a study, and a folder."""
    assert check_name(name) == name
    Path(f"{name}.lock").touch()


@pytest.mark.parametrize(
    "name",
    ["", "../../etc", "..", ".", ".hidden", "-x", " x", "a/b", "a\\b", "a\0b", "a\nb", "a\n", "x" * 600, "x" * 101,
     "C++", "<b>", "a$b^$c", "[/foo]", "=cmd()", "\x1b[31m", "a'b", "a%b", "a{b}", "a#7"],
)  # fmt: skip
def test_refused_name(name):
    """A name that could lead out of its folder, or mean something to a terminal, filter or sheet, is refused."""
    with pytest.raises(UsageFailure, match="a study's name must be") as failure:
        check_name(name)
    assert "\x1b" not in str(failure.value)
    assert "\0" not in str(failure.value)


@pytest.mark.parametrize(
    "option",
    [
        "sslpassword=hidden",
        "passfile=/home/hidden",
        "oauth_client_secret=hidden",
        "options=-c%20app.token%3Dhidden",
        "anything=hidden&anything=hidden2",
    ],
)
def test_options_of_a_database_are_shown_only_where_they_say_where_it_is(option):
    """Neither as its name nor in a message of the driver."""
    url = f"postgresql+psycopg://me:hidden@/db?host=here&{option}"
    assert display_name(url) == "postgresql+psycopg://me@/db?host=here"
    parsed = make_url(url)
    message = f"invalid: {' '.join(map(str, parsed.query.values()))} hidden"
    assert "hidden" not in postgresql._hide_secrets(message, parsed)
