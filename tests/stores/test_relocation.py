"""A store that was copied, moved or renamed: its locations are those of the files beside it."""

import hashlib
import os
import re
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils

from pipeline.stores import access, locations, relocation, sqlite
from pipeline.stores.relocation import Relocation, find_checkpoint, local_path
from pipeline.system.errors import IntegrityFailure, StudyBusy
from pipeline.tracking.tracker import Tracker

RUN = "0123456789abcdef" * 2
OTHER = "fedcba9876543210" * 2
# Columns of MLflow whose names sound like locations, and which hold none of a file of a store.
NO_LOCATIONS = {
    ("runs", "source_name"),
    ("runs", "source_type"),
    ("runs", "source_version"),
    ("inputs", "source_id"),
    ("inputs", "source_type"),
    ("entity_associations", "source_id"),
    ("entity_associations", "source_type"),
    ("logged_models", "source_run_id"),
    ("issues", "root_causes"),
    ("issues", "source_run_id"),
    ("assessments", "source_id"),
    ("assessments", "source_type"),
    ("datasets", "dataset_source"),  # where the images were: what was true then
    ("datasets", "dataset_source_type"),
    ("evaluation_dataset_records", "source"),
    ("evaluation_dataset_records", "source_id"),
    ("evaluation_dataset_records", "source_type"),
    ("mcp_server_versions", "source"),  # of a program
}


def client(folder: Path) -> MlflowClient:
    """A client as in a process of its own: MLflow remembers where it has seen the artifacts of a run."""
    utils._artifact_repos_cache.clear()
    return MlflowClient(locations.sqlite_url(folder / "mlflow.db"))


def nobody() -> None:
    """No process uses the folder."""


def stores(folder: Path) -> locations.Stores:
    """The stores of a folder."""
    tracking, studies = (locations.sqlite_url(folder / name) for name in ("mlflow.db", "optuna.db"))
    return locations.Stores(tracking, studies, folder)


def settle(folder: Path) -> None:
    """Make a folder at home where it is."""
    relocation.settle(folder / "mlflow.db", nobody)


def execute(folder: Path, statement: str, *values: str) -> list[tuple]:
    """Execute a statement on a tracking file."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        rows = database.execute(statement, values).fetchall()
        database.commit()
    return rows


def uri_of(folder: Path, run: str) -> str:
    """The recorded location of a run's artifacts."""
    return client(folder).get_run(run).info.artifact_uri


def leave(folder: Path) -> None:
    """End a command: nothing of the tracking file is open, and all of it is in the file."""
    sqlite.close_files()
    assert not list(folder.glob("*-wal"))


def forget_home(folder: Path) -> None:
    """Leave a store as version 0.1.0 did."""
    execute(folder, "DELETE FROM experiment_tags WHERE key = 'sweep.home'")


@pytest.fixture
def home(tmp_path, template) -> tuple[Path, str]:
    """A folder with a tracking file, and the id of its only run, which has an artifact."""
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(template / "mlflow.db", folder)
    execute(folder, "UPDATE experiments SET artifact_location = ?", str(folder / "mlruns" / "0"))
    forget_home(folder)
    settle(folder)
    run = client(folder).create_run("0").info.run_id
    client(folder).log_text(run, "of the original", "note.txt")
    leave(folder)
    return folder, run


# Locations

PLAIN = Relocation(Path("/a/b"), Path("/new home"))


@pytest.mark.parametrize(
    ("location", "moved"),
    [
        ("/a/b", "/new home"),
        ("/a/b/", "/new home"),
        ("/a/b/mlruns/0", "/new home/mlruns/0"),
        ("//a//b/./mlruns/0/", "/new home/mlruns/0"),
        ("/a/b c/mlruns", "/a/b c/mlruns"),  # only its name begins alike
        ("/a/bc/mlruns", "/a/bc/mlruns"),
        ("/a/B/mlruns", "/a/B/mlruns"),
        ("/a", "/a"),
        ("/x/a/b/mlruns", "/x/a/b/mlruns"),
        ("/a/b/../c", "/a/b/../c"),
        ("file:///a/b/mlruns/0%25", "file:///new%20home/mlruns/0%25"),
        ("file://localhost/a/b/x", "file:///new%20home/x"),
        ("file:/a/b/x", "file:///new%20home/x"),
        ("file:///a/bc/x", "file:///a/bc/x"),
        ("file://elsewhere/a/b/x", "file://elsewhere/a/b/x"),
        ("mlruns/0", "mlruns/0"),
        ("./a/b/mlruns", "./a/b/mlruns"),
        ("s3://a/b/mlruns", "s3://a/b/mlruns"),
        ("mlflow-artifacts:/a/b", "mlflow-artifacts:/a/b"),
        ("models:/m-1", "models:/m-1"),
        ("runs:/1/a/b", "runs:/1/a/b"),
        ("", ""),
    ],
)
def test_a_location_below_the_former_home_is_beside_the_store(location, moved):
    """Plain paths and URIs of files change below the former home, and nothing else does."""
    assert PLAIN.locate(location) == moved


NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=8)
PATHS = st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=4)


@settings(max_examples=40)
@given(former=PATHS, present=PATHS, rest=PATHS, quoted=st.booleans())
def test_a_location_leads_to_the_same_file(former, present, rest, quoted):
    """Whatever the names of the folders, the new location is the new home's, in either spelling."""
    old, new, inside = (PurePosixPath("/", *parts) for parts in (former, present, rest))
    path = old / inside.relative_to("/")
    moved = Relocation(Path(old), Path(new)).locate(path.as_uri() if quoted else str(path))
    assert local_path(moved) == new / inside.relative_to("/")
    is_uri = quoted or "%" in str(new)
    assert moved.startswith("file:///" if is_uri else "/")


def test_every_location_of_mlflow_is_known(template):
    """Each column of MLflow's tables that sounds like a location either moves along, or holds none."""
    found = set()
    with closing(sqlite3.connect(template / "mlflow.db")) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for row in database.execute(f"PRAGMA table_info('{table}')"):
                if re.search(r"(^|_)(uri|location|path|root|source|folder)(_|$)", row[1]):
                    found.add((table, row[1]))
    moving = {(table, column) for table, column, key in relocation._COLUMNS if not key}
    assert found - NO_LOCATIONS == moving


def test_of_a_project_in_the_root_folder_its_own_files_move():
    """A project in / is not all that is there: only MLflow's folder of artifacts moves along."""
    moved = Relocation(Path("/"), Path("/new"))
    assert moved.locate("/mlruns/0") == "/new/mlruns/0"
    assert moved.locate("/far/away/0") == "/far/away/0"


# The tracking file


def test_a_moved_store_says_where_its_files_are(home, tmp_path):
    """Experiments, runs, models, versions and traces are beside the store; what is elsewhere stays; twice is once."""
    folder, run = home
    mlflow = client(folder)
    far = mlflow.create_experiment("far", artifact_location="/far/away")
    near = mlflow.create_experiment("near", artifact_location=str(folder / "own" / "art"))
    runs = {
        name: mlflow.create_run(id_).info.run_id for name, id_ in (("far", far), ("near", near))
    }
    model = mlflow.create_logged_model("0", name="model").model_id
    mlflow.create_registered_model("digits")
    mlflow.create_model_version("digits", str(folder / "mlruns" / "m"), run_id=run)
    mlflow.set_tag(run, "where", str(folder / "mlruns"))
    execute(
        folder,
        "INSERT INTO trace_tags (key, value, request_id) VALUES ('mlflow.artifactLocation', ?, '1')",
        str(folder / "mlruns" / "traces"),
    )
    new = tmp_path / "new home"
    folder.rename(new)
    for _ in range(2):
        settle(new)
        mlflow = client(new)
        assert mlflow.get_experiment("0").artifact_location == str(new / "mlruns" / "0")
        assert mlflow.get_experiment("0").tags["sweep.home"] == str(new)
        assert mlflow.get_experiment(near).artifact_location == str(new / "own" / "art")
        assert mlflow.get_experiment(far).artifact_location == "/far/away"
        assert uri_of(new, run) == str(new / "mlruns" / "0" / run / "artifacts")
        assert uri_of(new, runs["near"]).startswith(str(new / "own" / "art"))
        assert uri_of(new, runs["far"]).startswith("/far/away/")
        assert mlflow.get_logged_model(model).artifact_location.startswith(str(new))
        assert mlflow.get_model_version("digits", "1").source == str(new / "mlruns" / "m")
        (trace,) = execute(new, "SELECT value FROM trace_tags")
        assert trace == (str(new / "mlruns" / "traces"),)
        assert mlflow.get_run(run).data.tags["where"] == str(folder / "mlruns"), "a user's own"
        assert [file.path for file in mlflow.list_artifacts(run)] == ["note.txt"]


@pytest.mark.parametrize("name", ["100%", "%20", "a#b", "a?b", "home2", "hom", "é 🙂"])
def test_it_may_have_any_name(home, tmp_path, name):
    """MLflow reads and writes the artifacts of a folder that was renamed, and of one renamed back."""
    folder, run = home
    new = tmp_path / name
    for present, former in ((new, folder), (folder, new)):
        former.rename(present)
        settle(present)
        path = local_path(uri_of(present, run))
        assert path == PurePosixPath(present, "mlruns", "0", run, "artifacts")
        if "%" not in name and "?" not in name and "#" not in name:
            assert [file.path for file in client(present).list_artifacts(run)] == ["note.txt"]
        assert not former.exists()


@pytest.mark.parametrize("recorded", [True, False])
def test_a_copy_is_at_home_while_the_original_exists(home, tmp_path, recorded):
    """Also without a recorded home, as version 0.1.0 left it: what the copy writes and deletes is its own."""
    folder, run = home
    if not recorded:
        forget_home(folder)
    leave(folder)
    shutil.copytree(folder, tmp_path / "copy")
    settle(tmp_path / "copy")
    client(tmp_path / "copy").log_text(run, "of the copy", "note.txt")
    assert (
        folder / "mlruns" / "0" / run / "artifacts" / "note.txt"
    ).read_text() == "of the original"
    copied = tmp_path / "copy" / "mlruns" / "0" / run / "artifacts" / "note.txt"
    assert copied.read_text() == "of the copy"


@pytest.mark.parametrize("recorded", [True, False])
def test_a_copy_of_the_file_alone_is_at_home_too(home, tmp_path, recorded):
    """Without its artifacts a copied tracking file names none of the original's, which it could delete."""
    folder, run = home
    if not recorded:
        forget_home(folder)
    leave(folder)
    (tmp_path / "copy").mkdir()
    shutil.copy(folder / "mlflow.db", tmp_path / "copy")
    settle(tmp_path / "copy")
    assert uri_of(tmp_path / "copy", run).startswith(f"{tmp_path}/copy/")


def test_a_copy_keeps_the_weights_that_it_shares(home, tmp_path):
    """Artifacts outside the folder are the original's too: a copy drops none, and the original still can."""
    folder, inside = home
    far = client(folder).create_experiment("far", artifact_location=str(tmp_path / "far"))
    outside = client(folder).create_run(far).info.run_id
    for run in (inside, outside):
        client(folder).log_text(run, "weights", "checkpoint/best")
    leave(folder)
    shutil.copytree(folder, tmp_path / "copy")
    settle(tmp_path / "copy")
    kept = tmp_path / "far" / outside / "artifacts" / "checkpoint" / "best"
    for place, stays in ((tmp_path / "copy", True), (folder, False)):
        with closing(Tracker(locations.sqlite_url(place / "mlflow.db"))) as tracker:
            for run in (inside, outside):
                tracker.call(tracker.drop_checkpoint, run)
                assert tracker.run(run).data.tags["sweep.checkpoint"] == "dropped"
        assert not list((place / "mlruns").rglob("best"))
        assert kept.exists() == stays
        assert len(list((folder / "mlruns").rglob("best"))) == stays


def test_a_copy_overwrites_no_report_that_it_shares(home, tmp_path):
    """A run begun before the copy keeps the original's artifacts; one begun by the copy gets its own."""
    folder, _ = home
    far = client(folder).create_experiment("far", artifact_location=str(tmp_path / "far"))
    before = client(folder).create_run(far).info.run_id
    client(folder).log_text(before, "the original's", "report/report.md")
    leave(folder)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    settle(copy)
    after = client(copy).create_run(far).info.run_id
    (copy / "reports").mkdir()
    (copy / "reports" / "report.md").write_text("the copy's")
    end = {"status": "FINISHED", "tags": {}, "description": "", "winner": {}, "metrics": {}}
    with closing(Tracker(locations.sqlite_url(copy / "mlflow.db"))) as tracker:
        for run in (before, after):
            tracker.call(tracker.describe_parent, run, {}, {"tiny.yaml": "text"})
            tracker.call(partial(tracker.finish_parent, run, folder=copy / "reports", **end))
            assert tracker.run(run).info.status == "FINISHED"
    reports = [
        tmp_path / "far" / run / "artifacts" / "report" / "report.md" for run in (before, after)
    ]
    assert [report.read_text() for report in reports] == ["the original's", "the copy's"]
    plans = [tmp_path / "far" / run / "artifacts" / "tiny.yaml" for run in (before, after)]
    assert [plan.exists() for plan in plans] == [False, True]


def test_artifacts_that_were_never_beside_the_store_stay(home, tmp_path):
    """A store of version 0.1.0 whose artifacts MLflow put into another working folder goes on with them."""
    folder, run = home
    forget_home(folder)
    leave(folder)
    (tmp_path / "store").mkdir()
    (folder / "mlflow.db").rename(tmp_path / "store" / "mlflow.db")
    settle(tmp_path / "store")
    assert uri_of(tmp_path / "store", run).startswith(f"{folder}/")
    assert [file.path for file in client(tmp_path / "store").list_artifacts(run)] == ["note.txt"]


def test_a_reader_changes_no_file(home, tmp_path):
    """A command that only reads finds the moved artifacts, in a store that it leaves as it was."""
    folder, run = home
    new = tmp_path / "new"
    folder.rename(new)
    before = hashlib.sha256((new / "mlflow.db").read_bytes()).digest()
    with access.read_tracking(stores(new)) as uri:
        location = MlflowClient(uri).get_run(run).info.artifact_uri
    assert location == str(new / "mlruns" / "0" / run / "artifacts")
    assert hashlib.sha256((new / "mlflow.db").read_bytes()).digest() == before
    assert not folder.exists()


def test_new_experiments_are_beside_the_store(template, tmp_path, monkeypatch):
    """The artifacts of a new experiment are kept beside the store, wherever the command is given."""
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(template / "mlflow.db", folder)
    monkeypatch.chdir(tmp_path)
    tracker = Tracker(locations.sqlite_url(folder / "mlflow.db"), experiment="new")
    tracker.close()
    made = client(folder).get_experiment(tracker.experiment_id)
    assert made.artifact_location == str(folder / "mlruns" / tracker.experiment_id)


# What is refused


@pytest.mark.parametrize("name", ["mlruns", "mlruns/0", "mlflow.db", "checkpoints"])
def test_a_copy_that_shares_files_is_refused(home, tmp_path, name):
    """Where a link makes a copy and its original one, exit code 6 names it, with the command that separates them."""
    folder, run = home
    (folder / "checkpoints").mkdir()
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    if name == "mlflow.db":
        (copy / name).unlink()
        os.link(folder / name, copy / name)
    else:
        shutil.rmtree(copy / name)
        (copy / name).symlink_to(folder / name)
    with pytest.raises(IntegrityFailure, match=f"rm {copy / name} && cp -rL {folder / name} "):
        settle(copy)
    assert uri_of(copy, run).startswith(str(folder)), "nothing has changed"
    folder.rename(tmp_path / "away")
    if name == "mlflow.db":
        settle(copy)  # what shares nothing any more is no copy


def test_one_folder_of_two_names_is_at_home_in_both(home, tmp_path):
    """Through a link to the folder everything is found, and it can be moved afterwards."""
    folder, run = home
    link = tmp_path / "link"
    link.symlink_to(folder)
    settle(link)
    assert uri_of(folder, run).startswith(str(link))
    assert not relocation.is_due(folder / "mlflow.db"), "a reader needs no copy"
    assert [file.path for file in client(folder).list_artifacts(run)] == ["note.txt"]
    folder.rename(tmp_path / "new")
    settle(tmp_path / "new")
    assert uri_of(tmp_path / "new", run).startswith(str(tmp_path / "new"))


def test_a_folder_in_use_is_left_to_its_user(home, tmp_path):
    """While a process writes to a folder that was renamed under it, exit code 4 names the process."""
    folder, run = home
    link = tmp_path / "link"
    link.symlink_to(folder)
    relocation.settle(link / "mlflow.db", lambda: "process 7")
    assert uri_of(folder, run).startswith(str(folder)), "right under both names"
    link.unlink()
    folder.rename(tmp_path / "new")
    with pytest.raises(StudyBusy, match=f"this folder was {folder} for process 7"):
        relocation.settle(tmp_path / "new" / "mlflow.db", lambda: "process 7")
    assert uri_of(tmp_path / "new", run).startswith(str(folder))


# Results


def test_the_weights_of_a_run_are_found_by_its_id(tmp_path):
    """A folder beside the store with the id of the run is where its weights are; otherwise the result is believed."""
    weights = tmp_path / "mlruns" / "0" / RUN / "artifacts" / "checkpoint"
    weights.mkdir(parents=True)
    for prefix in ("/gone", "/a/mlruns", "file:///gone%20away"):
        location = f"{prefix}/mlruns/0/{RUN}/artifacts/checkpoint"
        assert find_checkpoint(location, tmp_path) == str(weights)
    for location in (
        f"/gone/mlruns/0/{OTHER}/artifacts/checkpoint",
        f"/gone/../mlruns/0/{RUN}/artifacts/checkpoint",
        f"mlflow-artifacts:/0/{RUN}/artifacts/checkpoint",
        "/gone/mlruns/0/7/artifacts/checkpoint",
        str(weights),
    ):
        assert find_checkpoint(location, tmp_path) == location
