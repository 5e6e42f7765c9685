"""What befalls the files of the stores: locked, full, damaged, read-only, or of another version."""

import contextlib
import hashlib
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.tracking import _tracking_service
from support.commands import wait_until
from support.datasets import save
from support.endtoend import check_invariant, pipeline, record
from support.forks import Fork
from support.networks import HELD

from pipeline.checkpoints import load
from pipeline.data.search_data import load_for
from pipeline.jobs import preflight, studies
from pipeline.stores import access, locations, sqlite
from pipeline.system.errors import StorageFailure
from sweeps.spec.configurations import configuration
from sweeps.spec.study_spec import parse_budget

STUDY = """
dataset: digits
trials: 3
epochs: 3
search: {lr: {low: 1.0e-3, high: 1.0e-2, log: true}}
fixed: {family: mlp, width: 1024, depth: 2, batch_size: 500}
start_with: [{lr: 1.0e-3}]
"""
NAME = "tiny-digits"
COMMAND = ("sweep", "tiny.yaml")
BOTH = ["mlflow.db", "optuna.db"]
STATE = 14 << 20  # bytes of a state to go on from: weights and Adam's two moments


def digest(path: Path) -> str:
    """What must not change."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def place(folder):
    """A working folder with the study of this file."""
    (folder / "tiny.yaml").write_text(STUDY)
    return folder


# Locked


@contextlib.contextmanager
def held(folder: Path, begin: str):
    """Both databases open in a transaction of this process, to the end of the block."""
    with contextlib.ExitStack() as stack:
        for name in BOTH:
            connection = sqlite3.connect(folder / name, timeout=30, isolation_level=None)
            database = stack.enter_context(closing(connection))
            database.execute(begin)
            database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        yield


@pytest.mark.slow
def test_a_reader_does_not_hold_a_sweep_up(place):
    """A reader that holds both databases open for as long as the sweep takes delays nothing: no trial fails."""
    access.prepare(locations.locate())
    with held(place, "BEGIN"):
        Fork(place, *COMMAND).wait(0)
    check_invariant(place, NAME, total=3)
    assert {result.state for result in record(place, NAME).results} == {"complete"}


@pytest.mark.slow
def test_a_sweep_waits_for_another_writer(place):
    """A writer that locks both stores delays the sweep, and no more."""
    fixed = 'fixed: {family: "mine:Held", batch_size: 500}'
    study = re.sub("fixed: .*", fixed, STUDY)
    (place / "tiny.yaml").write_text(study)
    (place / "mine.py").write_text(HELD)
    (place / "hold").touch()
    sweep = Fork(place, *COMMAND)
    wait_until((place / "held").exists)
    with held(place, "BEGIN IMMEDIATE"):
        (place / "hold").unlink()  # from here on it has all of its epochs to write
        sweep.process.join(timeout=1)
        assert sweep.process.exitcode is None
    sweep.wait(0)
    check_invariant(place, NAME, total=3)
    assert {result.state for result in record(place, NAME).results} == {"complete"}


def test_both_stores_wait_for_over_half_a_minute(folder):
    """The libraries' own connections wait longer than 30 s for another's write.

    MLflow would wait for 20 s by itself.
    """
    where = locations.locate()
    access.prepare(where)
    with access.open_studies(where).engine.connect() as connection:
        optuna = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    MlflowClient(where.tracking).search_experiments()
    store = _tracking_service.utils._get_store(where.tracking)
    with store.ManagedSessionMaker() as session:
        mlflow = session.connection().exec_driver_sql("PRAGMA busy_timeout").scalar()
    assert min(optuna, mlflow) > 30_000


# Full


@pytest.fixture
def small_disk():
    """Makes a folder a small disk of so many bytes, or gives one another size; skips where that is not permitted."""
    mounted: list[Path] = []

    def mount(path: Path, size: int) -> Path:
        path.mkdir(parents=True, exist_ok=True)
        again = (
            ["-o", f"remount,size={size}"]
            if path in mounted
            else ["-t", "tmpfs", "-o", f"size={size}", "tmpfs"]
        )
        if os.geteuid() or subprocess.run(["mount", *again, path], check=False).returncode:
            pytest.skip("a small disk can be mounted by root alone")
        mounted.append(path)
        return path

    yield mount
    for path in set(mounted):
        subprocess.run(["umount", "-l", path], check=True)


def on(disk: Path, path: Path) -> None:
    """Move a file to a disk; its old name leads there."""
    shutil.move(path, disk / path.name)
    path.symlink_to(disk / path.name)


def whole(folder: Path) -> None:
    """Neither database is damaged."""
    for name in BOTH:
        with closing(sqlite3.connect(folder / name)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# What is on a small disk: its files, the bytes at which it is full in the midst of the sweep, and what is then said.
FULL = {
    "optuna.db": (["optuna.db"], 280 << 10, "cannot use the store of studies: .*full"),
    "mlflow.db": (["mlflow.db"], 1500 << 10, "cannot use the tracking store .*full"),
    "reports": (["reports"], 64 << 10, "cannot write the report in .*No space left on device"),
    "artifacts": (["mlruns"], 6 << 20, "cannot use the tracking store .*No space left on device"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", FULL)
def test_a_full_disk_ends_the_sweep_and_room_lets_it_go_on(place, small_disk, what):
    """Exit code 5 with the true cause, both databases whole; with room the same command reaches the total."""
    names, size, cause = FULL[what]
    disk = small_disk(place / "small", size)
    for name in names:
        if not name.endswith(".db"):
            (place / name).mkdir()
        on(disk, place / name)
    output = Fork(place, *COMMAND).wait(5)
    assert re.search(f"error: {cause}", output), output
    whole(place)
    small_disk(place / "small", 256 << 20)
    Fork(place, *COMMAND).wait(0)
    check_invariant(place, NAME, total=3)
    whole(place)


def test_a_plan_without_room_is_refused_before_it_starts(place, small_disk):
    """Checkpoints that take more than the disk has free end a sweep with exit code 5, saying both; fewer trials fit."""
    _, _, spec = studies.read_study("tiny.yaml", {})
    data = load_for(configuration(spec, {}), place)
    # A network of this study takes 4.5 MB. That of a trial in training has two states of 18 MB.
    disk = small_disk(place / "small", 46 << 20)
    preflight.check_space(spec, data, disk, begun=1)
    message = r"of 3 trials take about 50 MB, and .*small has 48 MB free: make room, or .*--trials"
    with pytest.raises(StorageFailure, match=message) as failure:
        preflight.check_space(spec, data, disk)
    assert failure.value.code == 5
    # A paused trial keeps a state.
    with pytest.raises(StorageFailure, match="of 2 trials take about 72 MB"):
        preflight.check_space(spec, data, disk, begun=1, pauses=True)
    preflight.check_space(spec, data, disk, begun=3, pauses=True)
    limited = spec.model_copy(update={"trials": None, "budget": parse_budget(2)})
    with pytest.raises(StorageFailure, match=r"or ask for a smaller --budget"):
        preflight.check_space(limited, data, disk, pauses=True)


@pytest.mark.slow
def test_a_disk_too_full_for_a_second_checkpoint_keeps_the_first(place, small_disk):
    """Exit code 5 with the true cause; what was there to go on from still is, whole, and nothing half-written is."""
    disk = small_disk(place / "checkpoints", STATE * 3 // 2)
    command = (*COMMAND, "--pruner", "none")
    output = Fork(place, *command).wait(5)
    assert re.search(
        "error: cannot write a checkpoint in .*/0000: No space left on device", output
    ), output
    (state,) = (disk / NAME / "0000").glob("*.safetensors")
    assert load(state)[1]["history"][-1]["epoch"] == 1
    assert not list(disk.rglob("*.tmp"))
    small_disk(disk, 256 << 20)
    assert "going on with 1 interrupted trial: #0" in Fork(place, *command).wait(0)
    check_invariant(place, NAME, total=3)


@pytest.mark.slow
def test_files_that_may_not_grow_end_the_sweep_alike(place):
    """Where a quota or limit stops a checkpoint, it is as on a full disk: exit code 5, and the next command goes on."""
    sweep = Fork(place, *COMMAND)
    resource.prlimit(sweep.process.pid, resource.RLIMIT_FSIZE, (STATE // 2, resource.RLIM_INFINITY))
    output = sweep.wait(5)
    assert re.search("error: cannot write a checkpoint in .*: File too large", output), output
    whole(place)
    Fork(place, *COMMAND).wait(0)
    check_invariant(place, NAME, total=3)


# Damaged


def overwritten(file: Path) -> None:
    """4 KiB in the middle, as a bad disk leaves them."""
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2 // 4096 * 4096)
        opened.write(b"\xee" * 4096)


def truncated(file: Path) -> None:
    """The first half of it."""
    os.truncate(file, file.stat().st_size // 2)


def replaced(file: Path) -> None:
    """Something else under its name."""
    file.write_text("These are my notes.\n" * 500)


def emptied(file: Path) -> None:
    """Nothing under its name."""
    os.truncate(file, 0)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("spoil", [overwritten, truncated, replaced, emptied])
def test_a_damaged_database_is_refused_and_left_as_it_is(place, capsys, name, spoil):
    """A sweep, and a report where it reads the file, end with exit code 5 and one line that names it."""
    spoil(place / name)
    before = digest(place / name)
    commands = [COMMAND, ("report",)] if name == "optuna.db" else [COMMAND]
    for command in commands:
        assert pipeline(*command) == 5
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"cannot use {place / name}: ")
        assert "put back a copy" in line
        assert digest(place / name) == before
    names = {re.sub("-(wal|shm)$", "", path.name) for path in place.iterdir()}
    assert names == {*BOTH, "tiny.yaml"}, "nothing else was begun"


def test_an_interrupted_creation_leaves_no_empty_file(tmp_path):
    """A store that is made is a whole database at once, so that an empty file is never one of ours."""
    where = locations.Stores(
        f"sqlite:///{tmp_path}/mlflow.db", f"sqlite:///{tmp_path}/optuna.db", tmp_path
    )
    access.prepare(where)
    assert (tmp_path / "optuna.db").stat().st_size
    access.open_studies(where)
    before = digest(tmp_path / "optuna.db")
    sqlite._create(tmp_path / "optuna.db", tmp_path / ".draft", lambda _: None)
    assert digest(tmp_path / "optuna.db") == before
    folders = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert not folders, "no draft is left"


# Read-only


@pytest.fixture
def read_only():
    """Makes a folder one that nothing can be written in, for root too."""
    changed: list[Path] = []

    def change(path: Path) -> None:
        if os.geteuid():
            path.chmod(0o555)
            for file in path.iterdir():
                file.chmod(0o444)
        elif subprocess.run(["mount", "--bind", path, path], check=False).returncode:
            pytest.skip("root writes anywhere, and no read-only folder can be mounted here")
        else:
            subprocess.run(["mount", "-o", "remount,ro,bind", path], check=True)
        changed.append(path)

    yield change
    for path in changed:
        if os.geteuid():
            path.chmod(0o755)
        else:
            subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.slow
def test_a_read_only_folder_can_be_reported_and_not_swept(
    place, read_only, capsys, tmp_path_factory
):
    """A sweep there ends with 5 at once; a report also has what is in the write-ahead log.

    At once is the promise, and 5 s are its bound: MLflow alone would try for 103 s.
    """
    study = (
        (place / "tiny.yaml")
        .read_text()
        .replace("trials: 3", "trials: 1")
        .replace("epochs: 3", "epochs: 1")
    )
    (place / "tiny.yaml").write_text(study.replace("width: 1024", "width: 8"))
    keeps_the_log = sqlite3.connect(place / "optuna.db")
    keeps_the_log.execute("SELECT COUNT(*) FROM studies").fetchone()
    assert pipeline(*COMMAND) == 0
    for name in ("optuna.db", "optuna.db-wal"):
        shutil.copy(place / name, place / f"kept-{name}")
    keeps_the_log.close()
    for name in ("optuna.db", "optuna.db-wal"):
        (place / f"kept-{name}").rename(place / name)
    shutil.rmtree(place / "reports")
    read_only(place)
    began = time.monotonic()
    capsys.readouterr()
    assert pipeline(*COMMAND) == 5
    assert time.monotonic() - began < 5
    assert re.search(
        "cannot use .*: (Read-only file system|Permission denied)", capsys.readouterr().err
    )
    assert pipeline("report") == 0
    printed = capsys.readouterr()
    assert "1 ended: 1 complete" in printed.out
    assert "no files written" in printed.err
    out = tmp_path_factory.mktemp("elsewhere") / "report"
    assert pipeline("report", "--out", str(out)) == 0
    assert (out / "trials.csv").exists()


@pytest.mark.slow
def test_a_network_in_a_read_only_folder_can_be_used(place, read_only, capsys, tmp_path_factory):
    """It predicts, is exported and scored on what is kept nowhere; a score that is to be kept says what else to do."""
    (place / "tiny.yaml").write_text(
        STUDY.replace("trials: 3", "trials: 1").replace("width: 1024", "width: 8")
    )
    picture = str(save(place / "it.png"))
    assert pipeline(*COMMAND) == 0
    assert pipeline("register", "--best") == 0
    read_only(place)
    out = tmp_path_factory.mktemp("elsewhere")
    for which in (["--best"], ["--model", f"models:/{NAME}@champion"]):
        assert pipeline("predict", *which, picture) == 0
        assert pipeline("export", *which, "--out", str(out / "it.pt2")) == 0
    assert pipeline("evaluate", "--best", "--split", "val") == 0
    capsys.readouterr()
    assert pipeline("evaluate", "--best") == 5
    _, error = capsys.readouterr().err.splitlines()  # after which trial it is
    assert error.startswith(
        f"cannot write {place / 'mlflow.db'}, where scores are kept with their run: "
    )
    (checkpoint,) = place.glob(f"mlruns/**/{error.split()[-1]}")
    assert pipeline("evaluate", "--checkpoint", str(checkpoint)) == 0


# Of another version

OLDER = {"mlflow.db": "cc1f77228345", "optuna.db": "v3.0.0.d"}
UPGRADE = {
    "mlflow.db": "mlflow db upgrade sqlite:///",
    "optuna.db": "optuna storage upgrade --storage sqlite:///",
}


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("older", [True, False])
def test_a_database_of_another_version_is_refused_with_the_remedy(place, capsys, name, older):
    """Exit code 5 with the command and "back it up first"; what either library would change is left as it is."""
    table = {"mlflow.db": "trace_info", "optuna.db": "trial_heartbeats"}[name]
    with closing(sqlite3.connect(place / name)) as database:
        database.execute(
            "UPDATE alembic_version SET version_num = ?", (OLDER[name] if older else "zz99",)
        )
        database.execute(
            f"DROP TABLE {table}"
        )  # as an older one lacks it: both libraries would make it
        database.execute("PRAGMA journal_mode=DELETE")
        database.commit()
    before = digest(place / name)
    commands = (
        [COMMAND, ("report",)]
        if name == "optuna.db"
        else [COMMAND, ("evaluate", "--run", "a" * 32)]
    )
    for command in commands:
        assert pipeline(*command) == 5
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"cannot use {place / name}: ")
        assert "back it up first, then run: " in line
        library = name.removesuffix(".db")
        assert (
            f"{UPGRADE[name]}{place / name}" if older else f"pip install --upgrade {library}"
        ) in line
        assert digest(place / name) == before
