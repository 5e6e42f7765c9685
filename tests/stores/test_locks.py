"""A study is held by one process, which its lock names, and is free when that process dies."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from support.sourcecode import ROOT

from pipeline.stores import access, locations, locks
from pipeline.stores.locations import locate, sqlite_url
from pipeline.stores.locks import lock
from pipeline.system.errors import StorageFailure, StudyBusy, StudyTaken


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


HOLD = """
import sys
from pipeline.stores import locations, locks
with locks.lock(locations.locate(), sys.argv[1]) as held:
    print("held", flush=True)
    for line in sys.stdin:  # before each write
        held.check()
        print("checked", flush=True)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the study ``demo``, and checks that at each line that it reads."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, "demo"], env=environment, **pipes
    ) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def check(holder):
    """Have the holder check that it still holds the study."""
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "checked\n"


@pytest.fixture
def database(tmp_path):
    """An SQLite file, which the holder finds: to be asked for before it."""
    file = tmp_path / "optuna.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE something (value)")
    return file


def test_locked(holder):
    """A study that another process holds is refused with exit code 4, naming it; it is free the instant that dies."""
    with pytest.raises(
        StudyBusy, match=rf"'demo' is in use by process {holder.pid} on .* since .* UTC"
    ) as failure:
        hold("demo")
    assert failure.value.code == 4
    hold("another")
    holder.kill()
    holder.wait()
    hold("demo")


TRAIN = """
from pipeline.stores import locations, locks
with locks.lock_training(locations.locate(), "abc"):
    print("trains", flush=True)
    input()
"""


def test_a_training_holds_its_run(tmp_path):
    """A run outside any study is trained by one process, of which the folder's other commands know."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", TRAIN], env=environment, **pipes) as process:
        assert process.stdout.readline() == "trains\n"
        by = f"process {process.pid} on "
        with pytest.raises(StudyBusy, match=f"run abc is in use by {by}"), train("abc"):
            pass
        with train("another"):
            assert access._find_user(locate()).startswith("process ")
        assert locks.find_training(locate()).startswith(by)
        process.kill()
    assert locks.find_training(locate()) is None
    with train("abc"):
        assert locks.find_training(locate()).startswith(f"process {os.getpid()} on ")
    assert not list((tmp_path / "checkpoints" / "train").iterdir())


def train(run_id):
    return locks.lock_training(locate(), run_id)


def hold(study):
    with lock(locate(), study):
        return (locations.locate().home / "checkpoints" / f"{study}.lock").read_text()


def test_lock_is_renewed(tmp_path):
    """The lock's file names its holder alone, however many held it before, and does not matter when it is damaged."""
    assert hold("demo").count("pid") == 1
    file = tmp_path / "checkpoints" / "demo.lock"
    file.write_text("{" * 1000)
    text = hold("demo")
    assert f'"pid": {os.getpid()}' in text
    assert text.count("{") == 1


def test_holder_unknown(tmp_path, holder):
    """A holder that has not said who it is, or cannot be read, is another process."""
    for text in ("", "{", "[1]", "{}", "7"):
        (tmp_path / "checkpoints" / "demo.lock").write_text(text)
        with pytest.raises(StudyBusy, match="in use by another process"):
            hold("demo")


def test_lock_without_a_place(tmp_path):
    """Where no lock can be made, the command ends with exit code 5."""
    (tmp_path / "checkpoints").touch()
    with pytest.raises(StorageFailure, match=r"cannot use .*demo\.lock"):
        hold("demo")


@pytest.fixture
def elsewhere(tmp_path_factory, monkeypatch):
    """Another working folder."""
    folder = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(folder)
    return folder


def test_one_store_from_two_folders(monkeypatch, database, holder, elsewhere):
    """A study is held in its store, from whichever folder and by whichever path; another study is free."""
    (elsewhere / "linked.db").symlink_to(database)
    (elsewhere / "second.db").hardlink_to(database)
    for file in (database, elsewhere / "linked.db", elsewhere / "second.db"):
        monkeypatch.setenv("PIPELINE_STORAGE", sqlite_url(file))
        with pytest.raises(StudyBusy, match=f"in use by process {holder.pid} on "):
            take("demo")
        assert locks.holder(locate(), "demo").startswith(f"process {holder.pid} on ")
        take("another")
    holder.kill()
    holder.wait()
    assert locks.holder(locate(), "demo") is None
    take("demo")


def take(study):
    """Hold a study for an instant."""
    with lock(locate(), study):
        pass


def test_the_lock_file_is_removed(tmp_path, database, holder):
    """Without its lock file a study stays held: the holder has a new one before it writes, others get exit code 4."""
    file = tmp_path / "checkpoints" / "demo.lock"
    for how in ("removed", "replaced", "its folder removed"):
        if how == "its folder removed":
            shutil.rmtree(file.parent)
        else:
            file.unlink()
        if how == "replaced":
            file.write_text("{}")
        for _ in range(2):
            with pytest.raises(StudyBusy, match=f"in use by process {holder.pid} on ") as failure:
                hold("demo")
            assert failure.value.code == 4
            assert locks.holder(locate(), "demo").startswith(f"process {holder.pid} on ")
        check(holder)
        assert json.loads(file.read_text())["pid"] == holder.pid
        with pytest.raises(StudyBusy, match=f"in use by process {holder.pid} on "):
            hold("demo")
    file.unlink()
    holder.kill()
    holder.wait()
    assert f'"pid": {os.getpid()}' in hold("demo"), "a dead holder does not need its lock file"


def test_a_copy_is_free(tmp_path, database, holder, elsewhere):
    """The copy of a folder is another store, though its database says who held the original."""
    shutil.copytree(tmp_path, elsewhere, dirs_exist_ok=True)
    assert locks.holder(locate(), "demo") is None
    hold("demo")


def test_taken_over(database):
    """What has lost its study to another command uses the store no more."""
    with lock(locate(), "demo") as held:
        storage = access.open_studies(locate(), held)
        storage.create_new_study([1], "before")
        (database.parent / "checkpoints" / "demo.lock").unlink()
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("UPDATE pipeline_holders SET holder = '{}'")
        with pytest.raises(StudyTaken, match="'demo' was taken over by another command") as failure:
            storage.create_new_study([1], "after")
        assert failure.value.code == 4
    names = [study.study_name for study in access.open_studies(locate()).get_all_studies()]
    assert names == ["before"]


def test_held_in_this_process(database):
    """A second thread is refused as another process is, and asking who holds the study does not release it."""
    with lock(locate(), "demo"):
        with pytest.raises(StudyBusy, match=f"in use by process {os.getpid()} on "):
            hold("demo")
        assert locks.holder(locate(), "demo").startswith(f"process {os.getpid()} on ")
        script = "from pipeline.stores import locations, locks\n"
        script += "print(locks.holder(locations.locate(), 'demo'))"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        found = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, check=True
        )
        assert f"process {os.getpid()} on " in found.stdout.decode()
    assert locks.holder(locate(), "demo") is None


@pytest.mark.parametrize("kind", ["link", "folder", "fifo"])
def test_what_is_no_lock_file(tmp_path, kind):
    """What has the lock file's name, and is not of this project, is neither followed nor written."""
    (tmp_path / "checkpoints").mkdir()
    place = tmp_path / "checkpoints" / "demo.lock"
    (tmp_path / "thesis.txt").write_text("mine")
    if kind == "link":
        place.symlink_to(tmp_path / "thesis.txt")
    elif kind == "folder":
        place.mkdir()
    else:
        os.mkfifo(place)
    with pytest.raises(StorageFailure, match=r"cannot use .*demo\.lock"):
        hold("demo")
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("text", ["", "[", "7", "{}", '{"pid": "x"}', "[" * 100_000, "[{}]"])
def test_a_row_that_says_nothing(database, text):
    """A row that is no holder keeps nobody from a study."""
    hold("demo")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO pipeline_holders VALUES ('demo', ?)", (text,))
    assert locks.holder(locate(), "demo") is None
    hold("demo")
