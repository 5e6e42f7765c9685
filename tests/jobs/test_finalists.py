"""`pipeline finalists`: trained, nested, scored once, gone on with, and shown, from end to end."""

import json
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.datasets import write_folder
from support.endtoend import STUDY as TINY
from support.endtoend import (
    check_invariant,
    children,
    client,
    furnish,
    pipeline,
    record,
    trial_list,
)
from support.forks import Fork, weights

from pipeline.jobs import finalists
from pipeline.report.status import state_of
from pipeline.stores.locations import locate
from pipeline.system.failpoints import VARIABLE
from sweeps.spec.studyfile import parse_study

STUDY, FINALISTS = "tiny-digits", "tiny-digits.finalists"
SEARCH = ("sweep", "tiny.yaml", "--trials", "2")
COMMAND = ("finalists", "--top", "2", "--seeds", "2")


def scores_logged(folder):
    """How often each finalist's test accuracy was logged, by number."""
    runs = children(folder, FINALISTS).items()
    return {
        number: len(client(folder).get_metric_history(run.info.run_id, "test/acc"))
        for number, run in runs
    }


def count_recorded(folder):
    """How many finalists' runs are complete in MLflow, whose thread may lag behind the training."""
    return sum(run.info.status == "FINISHED" for run in children(folder, FINALISTS).values())


@pytest.fixture(scope="module")
def done(tmp_path_factory, template):
    """A study and its finalists, which nothing has disturbed."""
    folder = furnish(tmp_path_factory.mktemp("done"), template)
    Fork(folder, *SEARCH).wait(0)
    before = trial_list(folder, STUDY)
    output = Fork(folder, *COMMAND).wait(0)
    return folder, before, output


@pytest.mark.slow
def test_finalists(done, monkeypatch, capsys):
    """They hang below the study, are scored once, decide what is best, and are trained once."""
    folder, before, output = done
    monkeypatch.chdir(folder)
    assert trial_list(folder, STUDY) == before
    check_invariant(folder, STUDY, total=2)
    check_invariant(folder, FINALISTS, total=4)
    found = record(folder, STUDY)
    run = client(folder).get_run(found.finalists.parent_run_id)
    assert run.data.tags["mlflow.parentRunId"] == found.parent_run_id
    assert run.data.tags["sweep.role"] == "finalists"
    parent = client(folder).get_run(found.parent_run_id)
    assert "trained again with fresh seeds" in parent.data.tags["mlflow.note.content"]
    assert scores_logged(folder) == dict.fromkeys(range(4), 1)
    assert {t.test["images"] for t in found.finalists.results} == {359}
    assert {t.config.seed for t in found.finalists.results} == {1, 2}
    chosen = {
        found.results[number].config.group for number in found.finalists.facts.finalists.trials
    }
    assert {t.config.group for t in found.finalists.results} == chosen
    plan = finalists.make_plan(locate(), None, Path("data"), top=None, repeats=None, device=None)
    assert set(plan.epoch_seconds) == chosen  # by which the longest begins first
    assert {t.config.threads for t in found.finalists.results} == {found.facts.runtime["threads"]}
    assert "Winner: " in output
    check_again(folder)
    check_shown(folder, capsys)
    check_synced(folder)


def check_again(folder):
    """The command again, its numbers left out, does nothing twice; fewer seeds, others and other names are refused."""
    before = trial_list(folder, FINALISTS), [t.run_id for t in record(folder, FINALISTS).results]
    assert pipeline("finalists") == 0
    assert (
        trial_list(folder, FINALISTS),
        [t.run_id for t in record(folder, FINALISTS).results],
    ) == before
    assert scores_logged(folder) == dict.fromkeys(range(4), 1)
    assert pipeline("finalists", "--seeds", "1") == 2
    assert pipeline("finalists", "--top", "3") == 2
    assert pipeline("finalists", FINALISTS) == 2
    assert pipeline("sweep", "tiny.yaml", "--name", FINALISTS) == 2


def check_shown(folder, capsys):
    """The study's reports have the verdict, and its best is the finalists' winner."""
    capsys.readouterr()
    assert pipeline("report") == 0
    output = capsys.readouterr().out
    assert f"Study {STUDY} (study file tiny)" in output
    assert "95 % interval over seeds and images, of all pairs of the 2 finalists" in output
    place = folder / "reports" / STUDY
    assert len(json.loads((place / "trials.json").read_text())["finalists"]["finalists"]) == 2
    assert "## Finalists" in (place / "report.md").read_text()
    best = json.loads((place / "best.json").read_text())
    assert best["study"] == FINALISTS
    assert best["finalists"][0].startswith("Winner: ")
    assert pipeline("evaluate", "--best", "--split", "val", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["run"] == best["run_id"]


def check_synced(folder):
    """Completing its record keeps it where it is; and a new sweep of the study is not disturbed by it."""
    assert pipeline("sync", FINALISTS) == 0
    found = record(folder, STUDY)
    run = client(folder).get_run(found.finalists.parent_run_id)
    assert (run.data.tags["mlflow.parentRunId"], run.info.status) == (
        found.parent_run_id,
        "FINISHED",
    )
    text = client(folder).list_artifacts(run.info.run_id, "")
    assert f"{FINALISTS}.yaml" in [file.path for file in text]
    assert pipeline("sweep", "tiny.yaml", "--trials", "3") == 0
    check_invariant(folder, STUDY, total=3)


@pytest.mark.slow
def test_a_further_seed(done, folder):
    """One is added to the two of each finalist: those stay, and their scores, and the three decide together."""
    Fork(folder, *SEARCH).wait(0)
    Fork(folder, *COMMAND).wait(0)
    first = record(folder, FINALISTS).results
    Fork(folder, "finalists", "--seeds", "3", **{VARIABLE: "mid_epoch:2"}).wait(-signal.SIGKILL)
    assert not record(folder, FINALISTS).judged_as_finalists.final
    output = Fork(folder, "finalists").wait(0)
    assert "4 of 6 trials ended" in output
    assert "scored 2 runs on the test split" in output
    assert record(folder, FINALISTS).results[:4] == first
    assert trial_list(folder, FINALISTS)[:4] == trial_list(done[0], FINALISTS)
    assert [t.config.seed for t in record(folder, FINALISTS).results[4:]] == [3, 3]
    assert scores_logged(folder) == dict.fromkeys(range(6), 1)
    check_invariant(folder, FINALISTS, total=6)
    assert "have 3 seeds" in Fork(folder, "finalists", "--seeds", "2").wait(2)


@pytest.mark.slow
def test_killed_and_gone_on_with(done, folder):
    """Killed in training, and between the last training and the scores, they end as those that nothing disturbed."""
    whole, killed = done[0], folder
    Fork(killed, *SEARCH).wait(0)
    Fork(killed, *COMMAND, **{VARIABLE: "mid_epoch:40"}).wait(-signal.SIGKILL)
    last = f"before_cleanup:{4 - count_recorded(killed)}"
    Fork(killed, *COMMAND, **{VARIABLE: last}).wait(-signal.SIGKILL)
    output = Fork(killed, *COMMAND).wait(0)
    assert "4 of 4 trials ended" in output
    assert "scored 4 runs on the test split" in output
    check_invariant(killed, FINALISTS, total=4)
    assert trial_list(killed, FINALISTS) == trial_list(whole, FINALISTS)
    assert weights(killed, FINALISTS) == weights(whole, FINALISTS)
    assert [t.test for t in record(killed, FINALISTS).results] == [
        t.test for t in record(whole, FINALISTS).results
    ]


@pytest.mark.slow
def test_finalists_on_folds_of_a_search_on_folds(folder, monkeypatch, capsys):
    """Each run has its fold, and can be repeated and scored; the test split is one for all; other folds are refused."""
    monkeypatch.chdir(folder)
    assert pipeline("sweep", "tiny.yaml", "--trials", "2", "--set", "folds=2") == 0
    assert [t.config.redraw for t in record(folder, STUDY).results] == [
        "fold-1-of-2",
        "fold-2-of-2",
    ]
    assert pipeline("finalists", "--top", "1", "--folds", "3", "--seeds", "3") == 2
    assert pipeline("finalists", "--top", "1", "--folds", "3", "--workers", "2") == 0
    runs = record(folder, FINALISTS).results
    assert [(t.config.seed, t.config.redraw) for t in runs] == [
        (2, "fold-1-of-3"),
        (3, "fold-2-of-3"),
        (4, "fold-3-of-3"),
    ]
    assert {t.config.group for t in runs} == {record(folder, STUDY).results[0].config.group}
    assert {t.test["images"] for t in runs} == {359}
    assert [sum(map(sum, t.confusion)) for t in runs] == [480, 479, 479]
    check_invariant(folder, FINALISTS, total=3)
    capsys.readouterr()
    assert pipeline("train", "--from-run", f"{FINALISTS}#1") == 0
    assert f"equal to {FINALISTS}#1" in capsys.readouterr().out
    assert (
        pipeline("evaluate", "--run", f"{FINALISTS}#2", "--split", "val", "--format", "json") == 0
    )
    assert json.loads(capsys.readouterr().out)["acc"] == runs[2].value
    assert pipeline("finalists", "--folds", "4") == 2
    assert (
        "were trained with --folds 3, which stays: leave out --folds 4" in capsys.readouterr().err
    )
    assert pipeline("finalists", "--seeds", "4") == 2
    assert pipeline("finalists", "--refit") == 0
    assert record(folder, FINALISTS).refit.epochs >= 1


@pytest.mark.slow
def test_more_draws_can_be_added(folder, monkeypatch, capsys):
    """Seeds with draws of their own can be asked for in the study file, and more of them later."""
    monkeypatch.chdir(folder)
    (folder / "tiny.yaml").write_text(f"{TINY}finalists: {{top: 1, folds: 99}}\n")
    photos = write_folder(folder / "photos")
    assert pipeline(*SEARCH, "--dataset", f"folder:{photos}") == 2
    assert "folds must be at most 10" in capsys.readouterr().err
    (folder / "tiny.yaml").write_text(f"{TINY}finalists: {{top: 1, split_seeds: 2}}\n")
    assert pipeline(*SEARCH) == 0
    assert "with 2 fresh seeds, each on another draw of train and val" in capsys.readouterr().out
    assert pipeline("finalists", "--split-seeds", "3") == 0
    redraws = [t.config.redraw for t in record(folder, FINALISTS).results]
    assert redraws == ["draw-1", "draw-2", "draw-3"]
    check_invariant(folder, FINALISTS, total=3)


IN_FILE = f"{TINY}finalists: {{top: 2, seeds: 2}}\n"


@pytest.mark.slow
def test_in_the_study_file(done, folder):
    """One command searches and trains them, and ends as the two do, wherever it is killed; more can be asked for."""
    (folder / "tiny.yaml").write_text(IN_FILE)
    for point in ("mid_epoch:20", "before_finalists", "mid_epoch:40"):
        Fork(folder, *SEARCH, **{VARIABLE: point}).wait(-signal.SIGKILL)
        assert state_of(record(folder, STUDY), None) == "interrupted"
    last = f"before_cleanup:{4 - count_recorded(folder)}"
    Fork(folder, *SEARCH, **{VARIABLE: last}).wait(-signal.SIGKILL)
    output = Fork(folder, *SEARCH).wait(0)
    whole, before, _ = done
    assert trial_list(folder, STUDY) == before
    # Another test goes on with the search of the whole one.
    assert weights(folder, STUDY).items() <= weights(whole, STUDY).items()
    assert trial_list(folder, FINALISTS) == trial_list(whole, FINALISTS)
    assert weights(folder, FINALISTS) == weights(whole, FINALISTS)
    assert record(folder, STUDY).final_verdict is not None
    assert scores_logged(folder) == dict.fromkeys(range(4), 1)
    check_invariant(folder, STUDY, total=2)
    check_invariant(folder, FINALISTS, total=4)
    first, second = output.split("part 2 of 2: the finalists, the best 2 configurations again")
    assert first.startswith("part 1 of 2: the search\n")
    assert "Winner: " not in first
    assert "report: " not in first
    assert second.count("Winner: ") == second.count("\nreport: ") == 1
    assert "## Finalists" in (folder / "reports" / STUDY / "report.md").read_text()
    check_more_in_the_file(folder)


def check_more_in_the_file(folder):
    """More seeds in the file are trained; another number of them, or fewer seeds, is said to stay as it was."""
    before = trial_list(folder, FINALISTS)
    text = IN_FILE.replace("top: 2, seeds: 2", "top: 1, seeds: 3")
    (folder / "tiny.yaml").write_text(text)
    assert "chosen as the top 2, which stays: not 1" in Fork(folder, *SEARCH).wait(0)
    assert len(trial_list(folder, FINALISTS)) == 6
    assert trial_list(folder, FINALISTS)[:4] == before
    (folder / "tiny.yaml").write_text(IN_FILE)
    assert "have 3 seeds, which stay: not 2" in Fork(folder, *SEARCH).wait(0)
    check_invariant(folder, FINALISTS, total=6)


@pytest.mark.slow
def test_in_the_study_file_of_a_search_that_is_stopped(folder, monkeypatch, capsys):
    """After the time limit none are trained; an option of the command leaves them out, or asks for them."""
    monkeypatch.chdir(folder)
    (folder / "tiny.yaml").write_text(IN_FILE)
    assert pipeline(*SEARCH, "--timeout", "0.000001") == 3
    assert pipeline(*SEARCH, "--no-finalists") == 0
    assert record(folder, STUDY).finalists is None
    (folder / "tiny.yaml").write_text(TINY)
    assert pipeline(*SEARCH, "--finalists", "--timeout", "0.000001") == 0
    assert "stopped by --timeout; go on with" in capsys.readouterr().err
    assert record(folder, STUDY).final_verdict is None


@pytest.mark.slow
def test_promising_paused_trials_are_finished_first(folder, tmp_path_factory, template):
    """By either command, and after a kill, as many are complete as finalists are asked for, and the same."""
    Fork(folder, "sweep", "tiny.yaml").wait(0)
    ended = trial_list(folder, STUDY)
    assert [end for _, end, _ in ended].count("complete") == 3
    command = ("finalists", "--top", "4", "--seeds", "1")
    Fork(folder, *command, **{VARIABLE: "mid_epoch:3"}).wait(-signal.SIGKILL)
    assert record(folder, STUDY).finalists is None
    output = Fork(folder, *command).wait(0)
    assert (
        "before the choice, promising trials that were paused are trained to their end: #" in output
    )
    assert "of the 4 asked for" not in output
    check_invariant(folder, STUDY, total=5, ends_before=1)
    check_invariant(folder, FINALISTS, total=4)
    now = trial_list(folder, STUDY)
    changed = [(old, new) for old, new in zip(ended, now, strict=True) if old != new]
    assert [(old[1], new[1]) for old, new in changed] == [("pruned", "complete")]
    other = furnish(tmp_path_factory.mktemp("other"), template)
    (other / "tiny.yaml").write_text(f"{TINY}finalists: {{top: 4, seeds: 1}}\n")
    Fork(other, "sweep", "tiny.yaml").wait(0)
    check_invariant(other, STUDY, total=5)
    for study in (STUDY, FINALISTS):
        assert trial_list(other, study) == trial_list(folder, study)
        assert weights(other, study) == weights(folder, study)


@pytest.mark.slow
def test_in_a_run_of_mlflow(folder, monkeypatch):
    """What `mlflow run . -e sweep` opened is the parent of the search; the finalists have their own below it."""
    (folder / "tiny.yaml").write_text(IN_FILE)
    given = client(folder).create_run("0", run_name="able-newt-1").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    assert pipeline(*SEARCH) == 0
    found = record(folder, STUDY)
    assert found.parent_run_id == given
    finalists = client(folder).get_run(found.finalists.parent_run_id)
    assert finalists.data.tags["mlflow.parentRunId"] == given
    assert finalists.info.status == client(folder).get_run(given).info.status == "FINISHED"


@pytest.mark.slow
def test_a_run_of_mlflow_becomes_their_parent(folder, monkeypatch):
    """What `mlflow run . -e finalists` opened is taken as their parent, below the study's; it has their study file."""
    assert pipeline(*SEARCH) == 0
    given = client(folder).create_run("0", run_name="able-newt-1").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    assert pipeline(*COMMAND) == 0
    run = client(folder).get_run(given)
    assert record(folder, FINALISTS).parent_run_id == given
    assert (run.info.run_name, run.info.status) == (FINALISTS, "FINISHED")
    assert run.data.tags["mlflow.parentRunId"] == record(folder, STUDY).parent_run_id
    file = Path(client(folder).download_artifacts(given, f"{FINALISTS}.yaml"))
    assert len(parse_study(file.read_text(encoding="utf-8"), file.name).starts) == 2


def test_nothing_to_choose_from(tmp_path, monkeypatch, capsys):
    """Without a store it is a user's error of one line, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    assert pipeline("finalists") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_no_complete_trial(folder, capsys):
    """A study in which all failed has no finalists: exit code 3, and no study is made for them."""
    assert pipeline("sweep", "tiny.yaml", "--trials", "1", "--trial-timeout", "0.000001") == 3
    assert pipeline("finalists") == 3
    assert "has no complete trial: 1 ended: 1 failed (timeout)" in capsys.readouterr().err
    assert record(folder, STUDY).finalists is None


@pytest.mark.slow
def test_fewer_than_asked(folder, capsys):
    """Where fewer are complete than are asked for, all of them are the finalists, and it is said."""
    assert pipeline("sweep", "tiny.yaml", "--trials", "1") == 0
    assert pipeline("finalists", "--seeds", "1") == 0
    assert "1 of the 3 asked for" in capsys.readouterr().out
    assert len(record(folder, FINALISTS).results) == 1


def test_what_the_runs_can_tell(monkeypatch):
    """Before they begin, it is said how large a lead they would notice, in points."""
    monkeypatch.setattr(finalists, "visible_lead", lambda trials, seeds: 0.541)
    trials = [SimpleNamespace(number=number, confusion=((3, 1), (0, 4))) for number in (0, 1)]
    chosen = SimpleNamespace(trials=(0, 1), seeds=3, objective="val_acc", redraw=None)
    assert finalists._power_sentence(chosen, SimpleNamespace(results=trials)) == (
        "with 3 seeds and 8 validation images, only a lead of 54.1 points or more would be noticed "
        "(4 times in 5)"
    )
