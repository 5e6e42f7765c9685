"""`pipeline sync`: the record in MLflow, completed from what the studies' store has kept."""

import contextlib
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from support.endtoend import check_invariant, children, client, pipeline, record
from support.forks import Fork
from support.servers import check_complete, runs_below

from pipeline.stores import access, locations
from sweeps.search.stored import load
from sweeps.trial import config_fields

ROOT = Path(__file__).parents[2]
STUDY = "tiny-digits"
COMMAND = ("sweep", "tiny.yaml", "--trials", "3")


def whole(folder):
    """Everything MLflow says of the study's runs."""
    parent = record(folder, STUDY).parent_run_id
    runs = [client(folder).get_run(parent), *runs_below(client(folder), parent).values()]
    return [run.to_dictionary() for run in runs]


def lose(folder):
    """Lose the tracking file; a process that had it open would go on with it."""
    for path in folder.glob("mlflow.db*"):
        path.unlink()


@pytest.mark.slow
def test_a_lost_tracking_file_is_made_again(folder, tmp_path_factory):
    """With mlflow.db gone, all runs come back with their points, times and weights; the second time nothing is done."""
    Fork(folder, *COMMAND).wait(0)
    former = record(folder, STUDY)
    lose(folder)
    assert "lacks the tracking store" in Fork(folder, "sync", "--check").wait(6)
    assert not (folder / "mlflow.db").exists()
    assert f"study {STUDY}: completed the runs of 3 trials" in Fork(folder, "sync", STUDY).wait(0)
    check_complete(client(folder), folder, STUDY, tmp_path_factory.mktemp("fetched"))
    assert record(folder, STUDY).parent_run_id != former.parent_run_id
    before = whole(folder)
    assert f"study {STUDY}: no run was incomplete" in Fork(folder, "sync").wait(0)
    assert whole(folder) == before


@pytest.mark.slow
def test_the_next_sweep_does_the_same(folder, tmp_path_factory):
    """A sweep that goes on with a study whose runs are lost completes them first, and trains none again."""
    Fork(folder, *COMMAND).wait(0)
    before = [result.history for result in record(folder, STUDY).results]
    lose(folder)
    Fork(folder, "sweep", "tiny.yaml", "--trials", "4").wait(0)
    assert [result.history for result in record(folder, STUDY).results][:3] == before
    check_complete(client(folder), folder, STUDY, tmp_path_factory.mktemp("fetched"))


@pytest.mark.slow
def test_a_deleted_run_is_made_again(folder, tmp_path_factory):
    """A run that somebody deleted is made again, with the weights that still are where they were."""
    assert pipeline(*COMMAND) == 0
    client(folder).delete_run(children(folder, STUDY)[1].info.run_id)
    assert pipeline("sync") == 0
    check_complete(client(folder), folder, STUDY, tmp_path_factory.mktemp("fetched"))
    check_invariant(folder, STUDY, total=3)


def dump(folder):
    """All that the tracking file holds."""
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return list(database.iterdump())


def damage(folder):
    """Take something of another kind from each run."""
    runs = children(folder, STUDY)
    identity = [runs[number].info.run_id for number in range(3)]
    with sqlite3.connect(folder / "mlflow.db") as database:
        for table in ("metrics", "latest_metrics"):
            of_run = f"DELETE FROM {table} WHERE run_uuid = ? AND key "
            database.execute(f"{of_run} = 'val/acc'", [identity[0]])
            database.execute(f"{of_run} LIKE 'cost/%'", [identity[0]])
            database.execute(f"{of_run} = 'sweep/rank'", [identity[2]])
        database.execute("DELETE FROM params WHERE run_uuid = ? AND key = 'lr'", [identity[1]])
        for name, field in config_fields().items():
            if field.is_later:  # runs of 0.1.0 have none of these, and lack nothing
                of_run = "DELETE FROM params WHERE run_uuid = ? AND key = ?"
                database.execute(of_run, [identity[2], name])
    client(folder).set_terminated(identity[1], status="FAILED")
    client(folder).delete_tag(identity[2], "sweep.trial")
    client(folder).delete_tag(identity[2], "sweep.end")
    artifacts = folder / "mlruns" / "0" / identity[2] / "artifacts"
    (artifacts / "per_class.csv").write_text("")
    (artifacts / "confusion.csv").unlink()
    parent = record(folder, STUDY).parent_run_id
    client(folder).set_terminated(parent, status="KILLED")
    shutil.rmtree(folder / "mlruns" / "0" / parent)


DAMAGED = """\
the parent run lacks status FINISHED, artifact source/requirements.txt, artifact tiny.yaml, artifact report, \
the winner's weights
#0 lacks metric val/acc, metric cost/params_millions, metric cost/mflops, metric cost/latency_ms, metric cost/seconds
#1 lacks status FINISHED, param lr
#2 lacks tag sweep.trial, tag sweep.end, artifact confusion.csv, artifact per_class.csv, metric sweep/rank
"""


@pytest.mark.slow
def test_each_run_is_compared_with_its_trial(folder, tmp_path_factory, capsys):
    """What is lacking of metrics, params, tags, status and artifacts is said by --check, and sent by sync."""
    assert pipeline(*COMMAND) == 0
    assert pipeline("sync", "--check") == 0
    damage(folder)
    before = dump(folder)
    capsys.readouterr()
    assert pipeline("sync", "--check") == 6
    said = capsys.readouterr().out
    changes = r"artifact source/uncommitted-\w+\.diff, "  # if this project's clone has some
    assert re.sub(changes, "", said) == DAMAGED
    assert dump(folder) == before
    assert pipeline("sync") == 0
    assert (
        "completed the runs of 3 trials of 3 ended: 3 complete: #0, #1, #2"
        in capsys.readouterr().out
    )
    check_complete(client(folder), folder, STUDY, tmp_path_factory.mktemp("fetched"))
    check_invariant(folder, STUDY, total=3)
    places = sorted(run.data.metrics["sweep/rank"] for run in children(folder, STUDY).values())
    assert places == [1, 2, 3]
    assert pipeline("sync", "--check") == 0


@pytest.mark.slow
def test_lost_artifacts_are_made_again_and_lost_weights_named(folder, capsys):
    """With mlruns gone, what the store holds is sent again, and the weights that it does not hold are named."""
    assert pipeline(*COMMAND) == 0
    shutil.rmtree(folder / "mlruns")
    assert pipeline("sync", "--check") == 6
    capsys.readouterr()
    assert pipeline("sync") == 0
    output = capsys.readouterr().out
    assert "completed the runs of 3 trials of 3 ended: 3 complete: #0, #1, #2" in output
    again = "pipeline train --from-run 'tiny-digits#0'"
    assert f"the weights of #0, #1, #2 are lost; to train one of them again: {again}" in output
    for result in record(folder, STUDY).results:
        files = {file.path for file in client(folder).list_artifacts(result.run_id)}
        assert files == {"config.yaml", "per_class.csv", "per_class_train.csv", "confusion.csv"}
    assert pipeline("sync") == 0
    output = capsys.readouterr().out
    assert "no run was incomplete of 3 ended: 3 complete" in output
    assert "the weights of #0, #1, #2 are lost" in output
    assert pipeline("train", "--from-run", "tiny-digits#0") == 0


@pytest.mark.slow
def test_an_interrupted_study_is_not_ended_by_it(folder):
    """Of a study that was stopped by its time limit the parent says what the sweep said; it can go on."""
    assert pipeline(*COMMAND) == 0
    found = record(folder, STUDY)
    studies = access.open_studies(locations.locate())
    load(studies, STUDY).remember("reason", None)
    client(folder).set_terminated(found.parent_run_id, status="KILLED")
    assert pipeline("sync") == 0
    assert client(folder).get_run(found.parent_run_id).info.status == "KILLED"
    assert pipeline("sweep", "tiny.yaml", "--trials", "4") == 0
    check_invariant(folder, STUDY, total=4)


@pytest.mark.slow
def test_a_study_that_is_searched_now_is_left_alone(folder):
    """While a sweep holds the study, exit code 4."""
    assert pipeline(*COMMAND) == 0
    script = "import sys; from pipeline.stores import locations, locks\n"
    script += "with locks.lock(locations.locate(), sys.argv[1]): print(); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(
        [sys.executable, "-c", script, STUDY], **pipes, env={"PYTHONPATH": str(ROOT)}
    ) as holder:
        holder.stdout.readline()
        assert pipeline("sync") == 4


@pytest.mark.parametrize("name", [(), ("nosuch",)])
def test_no_such_study(tmp_path, monkeypatch, name):
    """Without the study there is nothing to complete: exit code 2, nothing made."""
    monkeypatch.chdir(tmp_path)
    assert pipeline("sync", *name) == 2
    assert list(tmp_path.iterdir()) == []
