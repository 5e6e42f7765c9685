"""What released versions left behind: this one opens, ranks and goes on with their studies, and scores their models."""

import contextlib
import gzip
import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import warnings
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import mlflow
import optuna
import pytest
from rich.console import Console
from support.endtoend import check_invariant, children, pipeline
from support.sourcecode import ROOT

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
INTERRUPTED = "tiny-digits"
# The studies in the stores of a version, with the file that says what was read of them. The one
# that is interrupted was opened last; 0.1.0 has no other.
STUDIES = {INTERRUPTED: "expected.json", "done-digits": "done.json"}
CASES = [
    (version, name)
    for version in VERSIONS
    for name, file in STUDIES.items()
    if (FIXTURES / version / file).exists()
]
# How the trials of all studies of a version ended, whose paused trials are pruned in the end.
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

DONE = """
description: A search that has ended, and its finalists.
dataset: digits
method: tpe
trials: 6
epochs: 3
finalists: {top: 1, seeds: 1}
search:
  lr: {low: 0.001, high: 0.3, log: true}
fixed: {family: mlp, width: 16, depth: 1, batch_size: 100}
reference:
  - {name: a published network, val_acc: 0.5}
"""

REGISTERED = "registered.tar.gz"  # a project with one registered model, and what it scores
MODEL = "models:/digits@champion"
ONE = """
description: A model to register.
dataset: digits
method: random
trials: 1
epochs: 1
search: {lr: [0.1]}
fixed: {family: mlp, width: 8, depth: 1}
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
    lead = None
    if ahead is not None and ahead.difference is not None:
        lead = ahead.difference.difference
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
        "lead": lead,
        "published": compared,
    }
    return json.loads(json.dumps(value))


def ends(record: StudyRecord) -> set[str]:
    """How trials ended, a reused result as a duplicate."""
    return {
        "duplicate" if result.duplicate_of is not None else result.end for result in record.results
    }


def store_copy(file: Path, copy: Path, *folders: Path | str) -> Path:
    """Copy a store, which may still be open, and have it say that its files were anywhere."""
    with closing(sqlite3.connect(file)) as database:
        database.execute("VACUUM INTO ?", (str(copy),))
    for folder in folders:
        moved(copy, str(folder), ANYWHERE)
    return copy


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

    def step_ended(self, step, steps, loss, number=0):
        super().step_ended(step, steps, loss, number)
        if number == self.at:
            signal.raise_signal(signal.SIGINT)


def make(version: str) -> None:
    """Make the files of a version, by the code as it is: run by hand at a release, see CONTRIBUTING.md."""
    with tempfile.TemporaryDirectory() as copies, tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "tiny.yaml").write_text(STUDY)
        (folder / "done.yaml").write_text(DONE)
        with contextlib.chdir(folder), contextlib.suppress(Interrupted):
            if pipeline("sweep", "done.yaml"):
                raise SystemExit("the first study must come to its end")
            request = sweep.Request(study="tiny.yaml", data_dir=Path("data"))
            console = Console(file=sys.stderr)
            sweep.sweep(
                sweep.make_plan(request),
                request,
                lambda s: _Interrupting(console, "val_acc", (), s.total, 0),
                stop=SignalStopRequest(),
            )
        with contextlib.chdir(folder):
            records = {name: access.read_record(locations.locate(), name) for name in STUDIES}
        found = set().union(*map(ends, records.values()))
        if found != ENDS | {"paused"}:
            raise SystemExit(f"the studies must hold {ENDS | {'paused'}}: got {found}")
        out = FIXTURES / version
        out.mkdir(parents=True, exist_ok=True)
        for name in ("tiny.yaml", "done.yaml"):
            shutil.copy(folder / name, out)
        for name, record in records.items():
            (out / STUDIES[name]).write_text(json.dumps(summary(record), indent=1) + "\n")
        for name in STORES:
            copy = store_copy(folder / name, Path(copies) / name, folder)
            (out / f"{name}.gz").write_bytes(gzip.compress(copy.read_bytes(), mtime=0))
    make_registered(version, ROOT)


def make_registered(version: str, source: Path) -> None:
    """Make a project with a registered model, by the code in a folder: the commands that a user types."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "one.yaml").write_text(ONE)

        def run(*arguments: str) -> str:
            command = [sys.executable, "-m", "pipeline", *arguments]
            environment = {**os.environ, "PYTHONPATH": str(source)}
            return subprocess.run(
                command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
            ).stdout

        run("sweep", "one.yaml")
        run("register", "--best", "--as", "digits")
        (folder / "scored.txt").write_text(run("evaluate", "--model", MODEL).splitlines()[0] + "\n")
        makers = (folder, source, tempfile.gettempdir())
        store = store_copy(folder / "mlflow.db", folder / "copy.db", *makers)
        store.replace(folder / "mlflow.db")
        with tarfile.open(FIXTURES / version / REGISTERED, "w:gz") as archive:
            for path in sorted([folder / "mlflow.db", folder / "scored.txt", *model_files(folder)]):
                data = path.read_bytes()
                if path.name == "MLmodel":
                    for maker in makers:
                        data = data.replace(os.fsencode(maker), ANYWHERE.encode())
                member = tarfile.TarInfo(path.relative_to(folder).as_posix())
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def model_files(folder: Path) -> list[Path]:
    """The files of registered models in a project."""
    return [path for path in (folder / "mlruns" / "0" / "models").rglob("*") if path.is_file()]


def put(version: str, folder: Path) -> None:
    """Put the stores and the study files of a version into a folder."""
    source = FIXTURES / version
    for name in STORES:
        (folder / name).write_bytes(gzip.decompress((source / f"{name}.gz").read_bytes()))
    for file in source.glob("*.yaml"):
        shutil.copy(file, folder)


@pytest.fixture(params=CASES, ids=" ".join)
def left(request, tmp_path, monkeypatch) -> tuple[Path, str, dict]:
    """A folder with the stores of a version, which was elsewhere; a study, and what was recorded of it."""
    version, name = request.param
    put(version, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path, name, json.loads((FIXTURES / version / STUDIES[name]).read_text())


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
    _, name, expected = left
    assert summary(access.read_record(locations.locate(), name)) == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_trials_of_each_kind_are_kept(version, tmp_path, monkeypatch):
    """A version has left trials of every end; those that were last used are the ones that were interrupted."""
    put(version, tmp_path)
    monkeypatch.chdir(tmp_path)
    stores = locations.locate()
    assert access.read_record(stores).name == INTERRUPTED
    found = [ends(access.read_record(stores, name)) for of, name in CASES if of == version]
    assert set().union(*found) - {"paused"} == ENDS


@pytest.mark.slow
def test_a_study_of_an_earlier_version_goes_on(left, capsys):
    """It is reported; the same command adopts the trial that was interrupted, and runs nothing twice."""
    folder, name, expected = left
    assert pipeline("report", name) == 0
    assert (folder / "reports" / name / "report.md").exists()
    before = access.read_record(locations.locate(), name).results
    assert pipeline("sweep", f"{name.partition('-')[0]}.yaml") == 0
    said = capsys.readouterr().out
    after = {r.number: r for r in access.read_record(locations.locate(), name).results}
    assert {r.state for r in after.values()} <= {"complete", "pruned", "failed"}
    for result in before:
        if result.has_ended:
            weights = result.checkpoint and result.checkpoint.replace(ANYWHERE, str(folder))
            assert after[result.number] in (result, replace(result, checkpoint=weights))
    for run in children(folder, name).values():
        assert run.info.artifact_uri.startswith(f"{folder}/mlruns/0/"), "it goes on where it is"
    assert not Path(ANYWHERE).exists()
    if name == INTERRUPTED:
        check_invariant(folder, name, total=expected["trials"])
        assert "going on with 1 interrupted trial: #13" in said
        storage = stored.open_storage(f"sqlite:///{folder / 'optuna.db'}", timeout=5)
        resumed = optuna.load_study(storage=storage, study_name=name).trials[13]
        assert resumed.user_attrs.get("deaths", 0) == 0, "an interruption is no death"


def scores(text):
    """The accuracy and the loss in what `evaluate` printed, earlier as a fraction and then in per cent."""
    accuracy, percent, loss = re.search(r"accuracy ([\d.]+)( %)?.* loss ([\d.]+)", text).groups()
    return round(float(accuracy) / (100 if percent else 1), 4), float(loss)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_model_that_an_earlier_version_registered_works(version, tmp_path, monkeypatch, capsys):
    """Elsewhere, it scores what it scored, and MLflow loads it by the code that it was saved with."""
    with tarfile.open(FIXTURES / version / REGISTERED) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    assert pipeline("evaluate", "--model", MODEL) == 0
    expected = scores((tmp_path / "scored.txt").read_text())
    assert scores(capsys.readouterr().out) == expected
    with warnings.catch_warnings(action="ignore"):  # MLflow's own, of how the code is typed
        model = mlflow.pyfunc.load_model(str(model_folder(tmp_path)))
    assert model.predict(model.input_example)["class"].iloc[0] in "0123456789"


def model_folder(folder: Path) -> Path:
    """The folder of the only registered model of a project."""
    [file] = [path for path in model_files(folder) if path.name == "MLmodel"]
    return file.parent


def test_studies_of_an_earlier_version_are_listed(left, capsys):
    """Their data, ended trials and best value are shown in a line; a damaged study is named below the others."""
    folder, name, expected = left
    ended = sum(end not in ("interrupted", "paused") for _, end, *_ in expected["ends"])
    assert pipeline("list", "--format", "json") == 0
    [listed] = [row for row in json.loads(capsys.readouterr().out) if row["name"] == name]
    assert (listed["dataset"], listed["error"]) == ("digits", None)
    assert (listed["ended"], listed["trials"]) == (ended, expected["trials"])
    assert (listed["state"] == "interrupted") == (name == INTERRUPTED)
    complete = [value for _, _, state, value, _ in expected["ranking"] if state == "complete"]
    assert listed["best"] == (complete[0] if complete else None), "of paused trials, none is best"
    assert pipeline("list") == 0
    lines = capsys.readouterr().out.splitlines()
    best = f"{100 * complete[0]:.2f} %  " if complete else ""
    assert any(line.startswith(f"{name} ") and best in line for line in lines)
    assert max(map(len, lines)) <= 80
    with closing(sqlite3.connect(folder / "optuna.db")) as database:
        database.execute("UPDATE study_user_attributes SET value_json = '3' WHERE key = 'facts'")
        database.commit()
    assert pipeline("list") == 0, "a damaged one is named, and is no reason to show none"
    assert f"study '{name}': attribute 'facts' holds no facts" in capsys.readouterr().out
