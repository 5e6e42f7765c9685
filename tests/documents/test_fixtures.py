"""Stores that released versions left behind: this one opens them, ranks them as recorded, and goes on with them."""

import contextlib
import gzip
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from rich.console import Console
from support.endtoend import check_invariant, children, furnish, make_template, pipeline

from pipeline.jobs import sweep
from pipeline.jobs.progress import ProgressDisplay
from pipeline.stores import access, locations
from pipeline.system.errors import Interrupted
from pipeline.system.signals import SignalStopRequest
from sweeps.analysis.published import compare
from sweeps.analysis.record import StudyRecord
from sweeps.search import stored

FIXTURES = Path(__file__).parents[1] / "fixtures"
VERSIONS = sorted(path.name for path in FIXTURES.glob("*") if path.is_dir())
STORES = ("mlflow.db", "optuna.db")
ANYWHERE = "/the/study/was/here"  # stands in the files for the folder that they were made in
NAME = "tiny-digits"
ENDS = {"complete", "duplicate", "pruned", "infeasible", "diverged", "interrupted"}

STUDY = """
description: One trial of each kind.
dataset: digits
method: random
trials: 14
epochs: 3
seed: 1
search:
  width: [8, 16, 32, 4096]
  lr: [0.01, 0.03, 0.1, 0.2, 100]
fixed: {family: mlp, depth: 1, optimizer: sgd, batch_size: 100, batch_norm: false, activation: leaky_relu}
constraints: {parameters: 100000}
start_with:
  - {width: 32, lr: 0.2}
  - {width: 4096, lr: 0.1}
  - {width: 8, lr: 100}
reference:
  - {name: a published network, when: {width: 32, lr: 0.2}, val_acc: 0.5}
"""


def summary(record: StudyRecord) -> dict:
    """What a later version must read from a store as this one did: values alone, for words may change."""
    entries = record.ranked
    found, ahead = compare(record, entries), record.lead
    compared = [
        (v.reference.name, c.name, c.published, c.difference)
        for v in found.variants
        for c in v.figures
    ]
    value = {
        "trials": record.trials,
        "searched": record.searched,
        "ends": [
            [result.number, result.end, result.duplicate_of, result.best_epoch]
            for result in record.results
        ],
        "ranking": [
            [e.rank, e.trials[0].number, e.state, e.value, e.trials[0].config.signature]
            for e in entries
        ],
        "lead": ahead.difference.difference,
        "published": compared,
    }
    return json.loads(json.dumps(value))


def ends(record: StudyRecord) -> set[str]:
    """How trials ended, a reused result as a duplicate."""
    return {
        "duplicate" if result.duplicate_of is not None else result.end for result in record.results
    }


def moved(file: Path, old: str, new: str) -> None:
    """Have a store say that its files are elsewhere."""
    with closing(sqlite3.connect(file)) as database:
        tables = [
            name
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        for table in tables:
            for _, column, kind, *_ in database.execute(f"PRAGMA table_info('{table}')").fetchall():
                if kind.upper().startswith(("VARCHAR", "TEXT")):
                    change = f'UPDATE "{table}" SET "{column}" = REPLACE("{column}", ?, ?) WHERE INSTR("{column}", ?)'
                    database.execute(change, (old, new, old))
        database.commit()
        database.execute("VACUUM")


class _Interrupting(ProgressDisplay):
    """Asks for a stop, as Ctrl-C does, in the midst of a trial."""

    at = 13

    def trial_began(self, number, config, until=None):
        super().trial_began(number, config, until)
        self.now = number

    def step_ended(self, step, steps, loss):
        super().step_ended(step, steps, loss)
        if self.now == self.at:
            signal.raise_signal(signal.SIGINT)


def make(version: str) -> None:
    """Make the files of a version, by the code as it is: run by hand at a release, see CONTRIBUTING.md."""
    with tempfile.TemporaryDirectory() as template, tempfile.TemporaryDirectory() as place:
        make_template(Path(template))
        folder = furnish(Path(place), Path(template), STUDY)
        with contextlib.chdir(folder), contextlib.suppress(Interrupted):
            request = sweep.Request(study="tiny.yaml", data_dir=Path("data"))
            console = Console(file=sys.stderr)
            sweep.sweep(
                sweep.make_plan(request),
                request,
                lambda s: _Interrupting(console, "val_acc", (), s.total, 0),
                stop=SignalStopRequest(),
            )
        with contextlib.chdir(folder):
            record = access.read_record(locations.locate(), NAME)
        if ends(record) != ENDS:
            raise SystemExit(f"the study must hold {ENDS}: got {ends(record)}")
        out = FIXTURES / version
        out.mkdir(parents=True, exist_ok=True)
        (out / "tiny.yaml").write_text(STUDY)
        (out / "expected.json").write_text(json.dumps(summary(record), indent=1) + "\n")
        for name in STORES:
            copy = Path(template) / f"copy of {name}"  # the store itself is still open
            with closing(sqlite3.connect(folder / name)) as database:
                database.execute("VACUUM INTO ?", (str(copy),))
            moved(copy, str(folder), ANYWHERE)
            (out / f"{name}.gz").write_bytes(gzip.compress(copy.read_bytes(), mtime=0))


@pytest.fixture(params=VERSIONS)
def left(request, tmp_path, monkeypatch) -> tuple[Path, dict]:
    """A folder with the stores of a version, which was elsewhere, and what was recorded of them."""
    source = FIXTURES / request.param
    for name in STORES:
        (tmp_path / name).write_bytes(gzip.decompress((source / f"{name}.gz").read_bytes()))
    shutil.copy(source / "tiny.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path, json.loads((source / "expected.json").read_text())


def test_they_are_small_and_name_no_machine():
    """All files of a version together are under 300 KB, and no folder of the machine that made them is in them."""
    assert VERSIONS
    for version in VERSIONS:
        files = list((FIXTURES / version).iterdir())
        assert sum(file.stat().st_size for file in files) < 300_000
        for file in files:
            data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            assert tempfile.gettempdir().encode() not in data
            assert os.fsencode(Path.home()) + b"/" not in data


def test_a_study_of_an_earlier_version_reads_and_ranks_as_recorded(left):
    """How trials ended, the ranking and the comparison with published figures are what that version saw."""
    _, expected = left
    record = access.read_record(locations.locate())
    assert ends(record) == ENDS
    assert summary(record) == expected


@pytest.mark.slow
def test_a_study_of_an_earlier_version_goes_on(left, capsys):
    """It is reported; the same command adopts the trial that was interrupted, and runs nothing twice."""
    folder, _ = left
    assert pipeline("report") == 0
    assert (folder / "reports" / NAME / "report.md").exists()
    before = {result.number: result for result in access.read_record(locations.locate()).results}
    assert pipeline("sweep", "tiny.yaml") == 0
    assert "going on with 1 interrupted trial: #13" in capsys.readouterr().out
    after = {result.number: result for result in access.read_record(locations.locate()).results}
    assert {number: result for number, result in after.items() if number != 13} == {
        number: result for number, result in before.items() if number != 13
    }
    assert after[13].state != "running"
    check_invariant(folder, NAME, total=14)
    for run in children(folder, NAME).values():
        assert run.info.artifact_uri.startswith(f"{folder}/mlruns/0/"), "it goes on where it is"
    assert not Path(ANYWHERE).exists()
    with_attributes = stored.open_storage(f"sqlite:///{folder / 'optuna.db'}", timeout=5)
    resumed = optuna.load_study(storage=with_attributes, study_name=NAME).trials[13]
    assert resumed.user_attrs.get("deaths", 0) == 0, "an interruption is no death"


def test_a_study_of_an_earlier_version_is_listed(left, capsys):
    """Its data, ended trials and best value are shown in a line; a damaged study is named below the others."""
    folder, expected = left
    assert pipeline("list", "--format", "json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["name"], listed["dataset"], listed["error"]) == (NAME, "digits", None)
    assert (listed["ended"], listed["trials"], listed["state"]) == (13, 14, "interrupted")
    assert listed["best"] == expected["ranking"][0][3]
    assert pipeline("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"{NAME}  digits  13/14 interrupted  {listed['best']:.4f}  ")
    assert max(map(len, lines)) <= 80
    with closing(sqlite3.connect(folder / "optuna.db")) as database:
        database.execute("UPDATE study_user_attributes SET value_json = '3' WHERE key = 'facts'")
        database.commit()
    assert pipeline("list") == 0, "a damaged one is named, and is no reason to show none"
    assert f"study '{NAME}': attribute 'facts' holds no facts" in capsys.readouterr().out


@pytest.mark.slow
def test_a_study_of_an_earlier_version_is_kept(left):
    """It is renamed, archived, deleted, and restored to the same ranking, with a report."""
    folder, expected = left
    assert pipeline("rename", NAME, "old") == 0
    assert pipeline("archive", "old") == 0
    assert pipeline("delete", "old", "--yes") == 0
    assert pipeline("restore", "old.study.zip", "--name", NAME) == 0
    assert summary(access.read_record(locations.locate())) == expected
    assert (folder / "reports" / NAME / "report.html").exists()
