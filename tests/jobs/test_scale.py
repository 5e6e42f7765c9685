"""Ten thousand trials, and two hundred sweeps in one experiment: the work grows with what is asked for, no faster."""

import cProfile
import json
import pstats
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from mlflow.store.tracking.dbmodels.models import SqlRun
from sqlalchemy import Engine, event
from support.endtoend import check_invariant, furnish, pipeline
from support.records import make_result, mixed_study

from pipeline.report import render
from pipeline.stores import access, locations
from sweeps.analysis.ranking import find_best_trial
from sweeps.search import loop, stored
from sweeps.search.study import Study
from sweeps.spec.studyfile import parse_study
from sweeps.trial import TrialResult

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SPEC = "trials: 24\npruner: none\nsearch: {lr: {low: 1.0e-4, high: 0.1, log: true}}\n"
STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "running": "RUNNING"}


def fill(file: Path, study, results) -> None:
    """Add the trials of a study to a store, in which it has none, as Optuna would, but at once."""
    with closing(sqlite3.connect(file)) as database:
        (found,) = database.execute(
            "SELECT study_id FROM studies WHERE study_name = ?", (study,)
        ).fetchone()
        rows = [(r.number + 1, r.number, found, STATES[r.state]) for r in results]
        database.executemany(
            "INSERT INTO trials (trial_id, number, study_id, state) VALUES (?, ?, ?, ?)", rows
        )
        values = [(r.number + 1, r.value) for r in results if r.state == "complete"]
        database.executemany(
            "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, 0, ?, 'FINITE')",
            values,
        )
        attributes = [(r.number + 1, "config", json.dumps(r.config.to_dict())) for r in results]
        attributes += [
            (r.number + 1, "result", r.to_json()) for r in results if r.state != "running"
        ]
        database.executemany(
            "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (?, ?, ?)",
            attributes,
        )
        database.commit()


def big(folder: Path, template: Path, trials: int) -> Path:
    """A folder with a study of mixed families and so many trials."""
    furnish(folder, template)
    found = mixed_study(trials, epochs=5)
    Study.open(
        stored.open_storage(f"sqlite:///{folder / 'optuna.db'}", timeout=5),
        "big",
        parse_study(SPEC, "big"),
        {},
    )
    with closing(sqlite3.connect(folder / "optuna.db")) as database:
        facts = {
            "study": "big",
            "classes": found.classes,
            "dimensions": [d.to_dict() for d in found.dimensions],
        }
        database.execute(
            "UPDATE study_user_attributes SET value_json = ? WHERE key = 'facts'",
            (json.dumps(facts),),
        )
        database.commit()
    fill(folder / "optuna.db", "big", found.results)
    return folder


MEASURE = """
import json, os, sys, time
from pathlib import Path
from pipeline.report import render
from pipeline.stores import access, locations
measured = {}
for size in sys.argv[1:]:
    os.chdir(size)
    before = time.process_time()
    render.write(access.read_record(locations.locate()), Path("report"))
    status = Path("/proc/self/status").read_text()  # getrusage would give the parent's peak if that is larger
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    measured[Path(size).name] = [time.process_time() - before, peak]
print(json.dumps(measured))
"""


def test_a_report_of_ten_thousand_trials_takes_as_long_for_each_as_one_of_2500(tmp_path, template):
    """Read, tables and plots: a trial's share of the time does not grow by half, and all stays under 1.5 GB."""
    sizes = (50, 2_500, 10_000)  # the first imports what the others need
    folders = [str(big(tmp_path / str(size), template, size)) for size in sizes]
    command = [sys.executable, "-c", MEASURE, *folders]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    (small, _), (large, peak) = measured["2500"], measured["10000"]
    assert large / 10_000 < 1.5 * small / 2_500, measured
    assert peak < 1_500, measured
    assert len((tmp_path / "10000" / "report" / "trials.csv").read_text().splitlines()) > 9_000


def calls(call, *arguments) -> int:
    """How many functions a call calls: what it costs, on any machine."""
    profile = cProfile.Profile()
    profile.runcall(call, *arguments)
    return pstats.Stats(profile).total_calls


def test_a_report_does_work_in_proportion_to_its_trials(tmp_path, template, monkeypatch):
    """The functions called for each further trial are as many at eight hundred as at four hundred."""
    counts = []
    for size in (50, 200, 400, 800):
        monkeypatch.chdir(big(tmp_path / str(size), template, size))
        counts.append(
            calls(lambda: render.write(access.read_record(locations.locate()), Path("report")))
        )
    _, small, middle, large = counts
    assert (large - middle) / 400 < 1.1 * (middle - small) / 200


# The sweep's side


@contextmanager
def counted(target, name):
    """Count how often an event of SQLAlchemy comes; the list has as many entries."""
    seen: list[None] = []

    def count(*_, **__):
        seen.append(None)

    event.listen(target, name, count)
    try:
        yield seen
    finally:
        event.remove(target, name, count)


def next_trials(folder: Path, ended: int, more: int, read: list[None]) -> tuple[int, int]:
    """Go on with a study of so many ended trials by a few more; statements sent and results parsed for those."""
    spec = parse_study(SPEC, "far", overrides={"trials": ended + more})
    file = folder / "optuna.db"
    Study.open(stored.open_storage(f"sqlite:///{file}", timeout=5), "far", spec, {})
    fill(
        file, "far", [make_result(number, 0.5, lr=1e-4 + number * 1e-6) for number in range(ended)]
    )
    study = Study.open(stored.open_storage(f"sqlite:///{file}", timeout=5), "far", spec, {})
    assert len(study.results()) == ended == study.count_ended()
    parsed = len(read)

    def train(job):
        study.report(job, 1, 0.4)
        return make_result(job.number, 0.4, config=job.config)

    def told(_):
        find_best_trial(study.results(), study.ranking_rule)

    with counted(Engine, "after_cursor_execute") as statements:
        assert loop.run(study, loop.SequentialRunner(train), on_result=told).reason == "done"
    return len(statements), len(read) - parsed


def test_a_trial_after_two_thousand_costs_no_more_of_the_store_than_one_after_twenty(
    tmp_path, template, monkeypatch
):
    """What has ended is read once: each further trial sends as many statements, and only its own result is parsed."""
    read: list[None] = []
    parse_result = TrialResult.from_dict
    monkeypatch.setattr(
        TrialResult, "from_dict", staticmethod(lambda data: read.append(None) or parse_result(data))
    )
    few = next_trials(furnish(tmp_path / "few", template), 20, 3, read)
    many = next_trials(furnish(tmp_path / "many", template), 2_000, 3, read)
    assert many == few
    assert many[1] == 3


# The record's side


def crowd(folder: Path, sweeps: int, trials: int) -> None:
    """Put the runs of other sweeps into a tracking store, as MLflow keeps them."""
    runs, tags, metrics = [], [], []
    for sweep in range(sweeps):
        parent = f"{sweep:032x}"
        runs.append((parent, f"study {sweep}", "FINISHED"))
        tags += [("sweep.study", f"study {sweep}", parent), ("sweep.role", "parent", parent)]
        for trial in range(trials):
            run = f"{(sweep + 1) * 1_000_000 + trial:032x}"
            runs.append((run, f"{trial:04d} mlp relu", "FINISHED"))
            tags += [("sweep.study", f"study {sweep}", run), ("sweep.trial", str(trial), run)]
            tags += [("mlflow.parentRunId", parent, run), ("sweep.end", "complete", run)]
            metrics += [
                (key, 0.5, 1, 0, 0, run) for key in ("best/val_acc", "val/acc", "cost/seconds")
            ]
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.executemany(
            "INSERT INTO runs (run_uuid, name, status, source_type, user_id, start_time, end_time, lifecycle_stage, "
            "artifact_uri, experiment_id) VALUES (?, ?, ?, 'LOCAL', 'me', 1, 2, 'active', 'nowhere', 0)",
            runs,
        )
        database.executemany("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", tags)
        database.executemany(
            "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?)",
            metrics,
        )
        database.commit()


def test_a_sweep_among_two_hundred_reads_its_own_runs_alone(tmp_path, template, monkeypatch):
    """Begun, gone on with and reported beside 5,200 other runs, it sends as much and loads as many runs as alone."""
    counts = []
    for sweeps in (0, 200):
        folder = furnish(tmp_path / str(sweeps), template)
        crowd(folder, sweeps, 25)
        monkeypatch.chdir(folder)
        with (
            counted(Engine, "after_cursor_execute") as statements,
            counted(SqlRun, "load") as loaded,
        ):
            assert pipeline("sweep", "tiny.yaml", "--trials", "2") == 0
            assert pipeline("sweep", "tiny.yaml", "--trials", "3") == 0
        counts.append((len(statements), len(loaded)))
        check_invariant(folder, "tiny-digits", total=3)
    assert counts[1][1] == counts[0][1] < 200
    assert counts[1][0] <= 1.1 * counts[0][0]
