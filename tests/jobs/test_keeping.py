"""Studies are kept like files: each command leaves all of a study, in both stores and on the disk, or nothing of it."""

import contextlib
import json
import shutil
import signal
import sqlite3
import zipfile
from pathlib import Path

import pytest
from support.commands import Sweep
from support.endtoend import children, client, digests, furnish, pipeline, record, trial_list

from pipeline.checkpoints import BEST
from pipeline.stores import access, locations, pending
from pipeline.system import failpoints

STUDY = """
dataset: digits
trials: 2
epochs: 2
pruner: none
method: grid
search: {lr: [0.01, 0.03]}
fixed: {family: mlp, width: 8, depth: 1}
"""
POINTS = ("after_note", "after_studies", "after_runs", "before_forgetting")


@pytest.fixture(scope="module")
def made(tmp_path_factory, template) -> Path:
    """A folder with a study, its finalist and the refit, and another study."""
    folder = furnish(tmp_path_factory.mktemp("made"), template, STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert pipeline("sweep", "tiny.yaml", "--name", "first") == 0
        assert pipeline("finalists", "first", "--top", "1", "--seeds", "1", "--refit") == 0
        assert pipeline("sweep", "tiny.yaml", "--name", "second", "--trials", "1") == 0
    return folder


@pytest.fixture
def studies(made, tmp_path, monkeypatch) -> Path:
    """A working folder of one's own with those studies."""
    folder = tmp_path / "studies"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    return folder


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


def killed_at(point, *arguments):
    """Run a command that is killed at a point."""

    def reach(reached):
        if reached == point:
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(failpoints, "reach", reach)
        pipeline(*arguments)


def where_it_is(folder, name):
    """Where something of a study is: its name in Optuna's store, in MLflow's, and in the folders."""
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as database:
        query = "SELECT COUNT(*) FROM tags WHERE value IN (?, ?)"
        (tags,) = database.execute(query, (name, f"{name}.finalists")).fetchone()
    return (
        name in access.read_all_names(locations.locate()),
        tags > 0,
        (folder / "reports" / name).exists(),
        (folder / "checkpoints" / f"{name}.lock").exists(),
    )


NOWHERE = (False, False, False, False)


@pytest.mark.slow
def test_renamed(studies, capsys):
    """It goes on, is scored and synchronised under its new name, and the old one is in no store and folder."""
    before = trial_list(studies, "first")
    (studies / "reports" / "first" / "ranked.tex").write_text("of study first")
    assert pipeline("rename", "first", "the best yet") == 0
    assert capsys.readouterr().out.endswith("study 'first' is called 'the best yet' now\n")
    assert where_it_is(studies, "first") == NOWHERE
    assert trial_list(studies, "the best yet") == before
    for name in ("the best yet", "the best yet.finalists"):
        assert pipeline("sync", "--check", name) == 0
    assert pipeline("sweep", "tiny.yaml", "--name", "the best yet") == 0
    assert pipeline("evaluate", "--best", "--name", "the best yet", "--split", "test") == 0
    assert "The refit of the best yet.finalists, run " in capsys.readouterr().err
    report = studies / "reports" / "the best yet"
    assert "first.finalists" not in (report / "best.json").read_text()
    assert "of study first" not in (report / "ranked.tex").read_text()
    assert "the best yet" in (report / "ranked.tex").read_text()
    assert not list((studies / "reports" / "second").glob("*.tex"))
    for former, new, words in (
        ("first", "third", "no study 'first'; there are: "),
        ("second", "the best yet", "there is a study 'the best yet' already"),
        ("second", "sec\N{CYRILLIC SMALL LETTER O}nd", ""),
        ("second", "the best\u00a0yet", "a study's name must be"),
        ("second", "../up", "a study's name must be"),
        ("second", "x.finalists", "a name that ends with .finalists is of a study's finalists"),
        ("the best yet.finalists", "x", "holds the finalists of 'the best yet'"),
    ):
        if words:
            assert pipeline("rename", former, new) == 2
            assert words in capsys.readouterr().err
    (studies / "reports" / "taken").mkdir()
    (studies / "reports" / "taken" / "notes.txt").touch()
    assert pipeline("rename", "second", "taken") == 2
    assert "which no study of the store has" in capsys.readouterr().err


@pytest.mark.slow
def test_deleted(studies, capsys):
    """Nothing of it stays in any store or folder, nothing of another study goes, and somebody has to agree."""
    runs = [run for run in (studies / "mlruns" / "0").iterdir() if run.is_dir()]
    other = {run.info.run_id for run in children(studies, "second").values()}
    assert pipeline("delete", "first") == 2
    assert capsys.readouterr().err == "no terminal to ask whether to delete this: add --yes\n"
    assert pipeline("delete", "first", "nobody", "--yes") == 2
    assert where_it_is(studies, "first")[0], "all of them are found first"
    assert pipeline("delete", "first", "--yes") == 0
    assert where_it_is(studies, "first") == NOWHERE
    left = {run.name for run in (studies / "mlruns" / "0").iterdir()}
    assert other < left
    assert len(left) == len(other) + 1 < len(runs), "the other study's, and its parent's"
    with contextlib.closing(sqlite3.connect(studies / "mlflow.db")) as database:
        for table in ("runs", "metrics", "latest_metrics", "params", "tags"):
            rows = database.execute(f"SELECT DISTINCT run_uuid FROM {table}")
            assert {run for (run,) in rows} == left
    assert pipeline("sync", "--check", "second") == 0
    assert pipeline("sweep", "tiny.yaml", "--name", "first", "--trials", "1") == 0, "as a new one"


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_killed_on_the_way(studies, point, capsys):
    """The next command that writes finds the study whole: as before, or as if nothing had been cut off."""
    is_before = point == "after_note"
    killed_at(point, "rename", "first", "1st")
    assert where_it_is(studies, "first")[0] == is_before
    capsys.readouterr()
    assert pipeline("list") == 0
    note = "rename of study 'first' was cut off: finish it with: pipeline rename first 1st\n"
    assert capsys.readouterr().err == note
    access.prepare(locations.locate())
    assert where_it_is(studies, "1st" if is_before else "first") == NOWHERE
    assert all(where_it_is(studies, "first" if is_before else "1st")[:3])
    assert not pending.find(locations.locate())
    killed_at(point, "delete", "second", "--yes")
    runs = set((studies / "mlruns" / "0").iterdir())
    access.prepare(locations.locate("sqlite:///other.db"))
    assert set((studies / "mlruns" / "0").iterdir()) == runs, "another store knows nothing of it"
    assert pipeline("delete", "second", "--yes") == 0, "the same command again"
    assert where_it_is(studies, "second") == NOWHERE


@pytest.mark.slow
def test_carried_in_a_file(studies, tmp_path, capsys, monkeypatch):
    """It is the same in another folder, goes on there, is scored alike, and any of its trials can be repeated."""
    assert pipeline("archive", "first", "--out", "../first.zip") == 0
    assert pipeline("archive", "first", "--out", "../first.zip") == 2, "nothing is overwritten"
    assert pipeline("restore", "../first.zip") == 2
    assert (
        "there is a study 'first' already: give another one with --name NEW"
        in capsys.readouterr().err
    )
    theirs = children(studies, "first")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert pipeline("restore", "../first.zip") == 0
    for number, run in children(elsewhere, "first").items():
        original = theirs[number]
        assert run.info.run_id == original.info.run_id
        assert run.data.metrics == original.data.metrics
        assert run.data.params == original.data.params
        here, there = (
            client(folder).get_metric_history(run.info.run_id, "val/loss")
            for folder in (elsewhere, studies)
        )
        assert [dict(metric) for metric in here] == [dict(metric) for metric in there]
        assert run.data.tags == original.data.tags
        weights = [
            digests(folder / "mlruns" / "0" / run.info.run_id / "artifacts")
            for folder in (elsewhere, studies)
        ]
        assert weights[0] == weights[1]
        assert f"checkpoint/{BEST}" in weights[0]
    shutil.rmtree(studies)
    assert pipeline("sync", "--check", "first.finalists") == 0
    (elsewhere / "tiny.yaml").write_text(STUDY)
    assert pipeline("sweep", "tiny.yaml", "--name", "first") == 0
    capsys.readouterr()
    assert pipeline("evaluate", "--run", "first#0", "--split", "val", "--format", "json") == 0
    scored = json.loads(capsys.readouterr().out)
    assert scored["acc"] == record(elsewhere, "first").results[0].value
    assert pipeline("train", "--from-run", "first#1") == 0
    value = record(elsewhere, "first").results[1].value
    assert f"{100 * value:.2f} %" in capsys.readouterr().out


@pytest.mark.slow
def test_a_restore_that_is_killed(studies, tmp_path, monkeypatch):
    """By `kill -9` before it has happened, it leaves nothing that the next command would not remove."""
    assert pipeline("archive", "second", "--out", "../second.zip") == 0
    assert pipeline("restore", "../second.zip", "--name", "again") == 0, "beside itself"
    assert trial_list(studies, "again") == trial_list(studies, "second")
    ours, theirs = children(studies, "again")[0], children(studies, "second")[0]
    assert ours.info.run_id != theirs.info.run_id
    assert ours.data.metrics == theirs.data.metrics
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv(failpoints.VARIABLE, "in_restoring")
    Sweep(elsewhere, "restore", "../second.zip").wait(-signal.SIGKILL)
    assert list((elsewhere / "mlruns" / "0").iterdir())
    monkeypatch.delenv(failpoints.VARIABLE)
    left = elsewhere / "checkpoints" / "second" / "0000" / "epoch-00001.safetensors"
    left.parent.mkdir(parents=True)
    left.touch()
    access.complete_changes(locations.locate())
    assert where_it_is(elsewhere, "second") == NOWHERE
    assert not left.exists()
    assert not list((elsewhere / "mlruns" / "0").iterdir())
    assert pipeline("restore", "../second.zip") == 0
    assert not list(elsewhere.glob("*.tmp")), "nor what it had unpacked"
    assert all(where_it_is(elsewhere, "second"))


@pytest.mark.slow
def test_in_a_database_on_a_server(studies, cluster, monkeypatch):
    """A study is carried there from a file, and is renamed and deleted there."""
    assert pipeline("archive", "second", "--out", "../second.zip") == 0
    before = trial_list(studies, "second")
    monkeypatch.setenv("PIPELINE_STORAGE", cluster.url(cluster.database()))
    assert pipeline("restore", "../second.zip", "--name", "there") == 0
    assert trial_list(studies, "there") == before
    assert pipeline("rename", "there", "here") == 0
    assert pipeline("sync", "--check", "here") == 0
    assert pipeline("delete", "here", "--yes") == 0
    assert access.read_all_names(locations.locate()) == set()
    monkeypatch.delenv("PIPELINE_STORAGE")
    assert pipeline("sync", "--check", "second") == 0, "its own runs are still there"


@pytest.mark.slow
def test_weights_dropped_afterwards(studies, capsys):
    """The best keep their weights, the same command again finds nothing, and --dry-run changes nothing."""
    assert pipeline("clean", "--keep-checkpoints", "best") == 2
    assert pipeline("clean", "first", "--keep-checkpoints", "most") == 2
    capsys.readouterr()
    assert pipeline("clean", "first", "--keep-checkpoints", "best", "--dry-run") == 0
    assert "weights of 1 trial of first, all but those of the best 1: " in capsys.readouterr().out
    assert all(result.checkpoint for result in record(studies, "first").results)
    assert pipeline("clean", "first", "--keep-checkpoints", "best", "--yes") == 0
    found = record(studies, "first")
    kept = [result.number for result in found.results if result.checkpoint]
    assert kept == [found.best_trial.number]
    weights = sorted(path.parts[-4] for path in (studies / "mlruns").rglob(BEST))
    dropped = next(result for result in found.results if not result.checkpoint)
    assert dropped.run_id not in weights
    assert found.best_trial.run_id in weights
    capsys.readouterr()
    assert pipeline("clean", "first", "--keep-checkpoints", "best", "--yes") == 0
    assert capsys.readouterr().out == "nothing to remove\n"


def test_files_that_are_no_archives(tmp_path, monkeypatch, capsys):
    """Damage, paths that lead out, links, bombs and other versions end with one line, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    good = {"studies/0.json": b"{}", "runs.jsonl": b""}
    cases = [
        (2, "is no archive of a study", {"x": b""}, {"kind": "another"}),
        (2, "is an archive of format 99", good, {"format": 99}),
        (6, "holds 'mine', which this version does not know", good, {"mine": 1}),
        (6, "no command could have named '../up'", good, {"studies": ["../up"]}),
        (6, "names other studies than one has", good, {"studies": ["a", "b"]}),
        (6, "'studies/0.json' has not its SHA-256", good, {"sums": "0" * 64}),
        (6, "'../../up' leads out of it", {**good, "../../up": b""}, {}),
        (6, "'/up' leads out of it", {**good, "/up": b""}, {}),
        (6, "'setup.py' is none of a study", {**good, "setup.py": b""}, {}),
        (6, "'checkpoints/0/0000/x.pkl' is none", {**good, "checkpoints/0/0000/x.pkl": b""}, {}),
        (6, "is in its manifest or among its files", good, {"leaves_out": "runs.jsonl"}),
        (6, "unpacks to 9,000,000 bytes from", {**good, "reports/0/zeros": bytes(9_000_000)}, {}),
        (6, "holds no whole study: ", good, {}),
    ]
    for code, words, files, changes in cases:
        _write_archive(tmp_path / "a.zip", files, **changes)
        before = digests(tmp_path)
        assert pipeline("restore", "a.zip") == code, words
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
        assert digests(tmp_path) == before
    (tmp_path / "a.zip").write_bytes(b"PK no zip")
    assert pipeline("restore", "a.zip") == 6
    assert pipeline("restore", "nothing.zip") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def _write_archive(file, files, *, sums=None, leaves_out=None, **changes):
    """Write what passes for an archive at first sight."""
    import hashlib

    listed = {
        name: {"size": len(content), "sha256": sums or hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
        if name != leaves_out
    }
    manifest = {
        "kind": "study of sweep-pipeline",
        "format": 1,
        "version": "0.2.0",
        "created": "",
        "studies": ["a"],
        "files": listed,
        **changes,
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
        packed.writestr("manifest.json", json.dumps(manifest))
