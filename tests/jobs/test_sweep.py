"""The main job end to end, on a study of seconds: the tree it leaves, going on, equal lists, bad input."""

import csv
import json
import math
import re
import signal

import optuna
import pytest
from mlflow import MlflowClient
from support.commands import Sweep, wait_until
from support.endtoend import (
    check_invariant,
    children,
    client,
    furnish,
    pipeline,
    record,
    studies,
    trial_list,
    wait_for_epochs,
)
from support.forks import Fork
from support.sourcecode import ROOT

from pipeline.checkpoints import load_model
from pipeline.data import search_data, test_split
from pipeline.inference import evaluate
from pipeline.report import manifest
from pipeline.stores import locations
from pipeline.system.failpoints import VARIABLE
from sweeps.analysis.bits import correct_images, correct_test_images
from sweeps.analysis.looks import Looks
from sweeps.trial import COMPLETE

STUDY = "tiny-digits"


@pytest.fixture(scope="module")
def swept(tmp_path_factory, template):
    """A folder in which the study was searched to its end."""
    folder = furnish(tmp_path_factory.mktemp("swept"), template)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(test_split, "load_test", None)  # a sweep that reads the test split fails
        then = 'echo "$PIPELINE_EXIT_CODE $PIPELINE_SUMMARY" > told.txt'
        assert pipeline("sweep", "tiny.yaml", "--then", then, all_plots=True) == 0
    return folder


def test_the_command_that_follows(swept):
    """What --then names is run after the end, and learns how the sweep ended."""
    best = record(swept, STUDY).best_trial
    summary = f"5 of 5 trials ended, best val_acc {100 * best.value:.2f} % (#{best.number})"
    assert (swept / "told.txt").read_text() == f"0 {STUDY}: done; {summary}\n"


def test_every_trial_has_one_finished_run_with_its_value(swept):
    """The invariant of both stores holds after a sweep."""
    check_invariant(swept, STUDY, total=5)


def test_a_trials_run_holds_its_configuration_history_and_artifacts(swept):
    """A child run has every field as a param, each epoch's figures, each class's accuracy, and its files."""
    for result in record(swept, STUDY).results:
        run = children(swept, STUDY)[result.number]
        config = result.config
        params = {key: str(value) for key, value in config.to_dict().items()}
        assert run.data.params == params | {"log10_lr": f"{math.log10(config.lr):.4g}"}
        name = f"{result.number:04d} {config.family} {config.activation} lr={config.lr:.4g}"
        assert run.info.run_name.startswith(name)
        assert run.data.tags["sweep.end"] == result.end
        assert run.data.tags["sweep.signature"] == result.config.signature
        for key in (
            "train/loss",
            "train/acc",
            "train/lr",
            "val/loss",
            "val/acc",
            "time/epoch_seconds",
            "val_class/09",
        ):
            history = client(swept).get_metric_history(run.info.run_id, key)
            assert [metric.step for metric in history] == [row.epoch for row in result.history]
        assert run.data.metrics["best/epoch"] == result.best_epoch
        assert run.data.metrics["best/worst_class_acc"] == min(result.best.per_class)
        assert run.data.metrics["cost/params_millions"] == result.parameters / 1e6
        assert run.data.metrics["cost/latency_ms"] == result.latency_ms > 0
        assert run.inputs.dataset_inputs[0].dataset.name == "digits"
        files = {file.path for file in client(swept).list_artifacts(run.info.run_id)}
        assert files == {
            "checkpoint",
            "config.yaml",
            "confusion.csv",
            "per_class.csv",
            "per_class_train.csv",
        }


def test_the_class_files_have_the_true_names_and_the_figures(swept, tmp_path):
    """per_class.csv is classes by epochs; confusion.csv adds up to the validation split."""
    result = record(swept, STUDY).results[0]
    for name in ("per_class.csv", "confusion.csv"):
        client(swept).download_artifacts(result.run_id, name, str(tmp_path))
    with (tmp_path / "per_class.csv").open() as file:
        header, *rows = csv.reader(file)
    assert header == ["class", *(f"epoch {row.epoch}" for row in result.history)]
    assert [row[0] for row in rows] == [str(digit) for digit in range(10)]
    assert [float(row[1]) for row in rows] == list(result.history[0].per_class)
    with (tmp_path / "confusion.csv").open() as file:
        counts = [list(map(int, row[1:])) for row in list(csv.reader(file))[1:]]
    assert sum(map(sum, counts)) == len(search_data.load("digits", swept, 0).val)


def test_scoring_the_kept_checkpoint_again_gives_its_recorded_value(swept, monkeypatch):
    """The best epoch's weights are what is kept: their accuracy and loss are the recorded ones, exactly."""
    monkeypatch.chdir(swept)
    for result in record(swept, STUDY).results:
        found = evaluate.evaluate(locations.locate(), swept, split="val", run_id=result.run_id)
        assert found.scores.accuracy == result.value == result.best.metrics["val/acc"]
        assert found.scores.loss == result.best.metrics["val/loss"]
        _, card = load_model(result.checkpoint)
        assert card.config == result.config
        assert card.epoch == result.best_epoch


def test_the_parent_carries_the_plan_the_best_and_the_winner(swept):
    """The parent run says what was planned, how the best rose, who won, and holds the report."""
    found = record(swept, STUDY)
    best = max(found.results, key=lambda result: (result.value, -result.number))
    parent = client(swept).get_run(found.parent_run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.params["plan.trials"] == "5"
    assert parent.data.params["plan.search.lr"] == "0.001 to 0.01, log"
    assert parent.data.params["winner.trial"] == str(best.number)
    assert parent.data.params["winner.lr"] == str(best.config.lr)
    assert parent.data.metrics["sweep/winner_val_acc"] == best.value
    assert not [key for key in parent.data.metrics if key.startswith("best/")]
    rising = client(swept).get_metric_history(found.parent_run_id, "sweep/best_val_acc")
    assert [metric.step for metric in rising] == [1, 2, 3, 4, 5]
    assert [metric.value for metric in rising] == sorted(metric.value for metric in rising)
    tags = parent.data.tags
    complete = sum(result.state == COMPLETE for result in found.results)
    assert (tags["sweep.study"], tags["sweep.trials_complete"], tags["sweep.exit_code"]) == (
        STUDY,
        str(complete),
        "0",
    )
    assert tags["sweep.trials_paused"] == "0"
    assert tags["sweep.promotions"] == str(found.promoted.promotions)
    assert tags["sweep.pauses"] == str(found.promoted.pauses)
    assert f"5 ended: {complete} complete" in tags["mlflow.note.content"]
    assert f"{found.promoted.pauses} pauses" in tags["mlflow.note.content"]
    names = {file.path for file in client(swept).list_artifacts(found.parent_run_id, "report")}
    assert {"report/trials.csv", "report/best.json", "report/report.md", "report/plots"} <= names
    assert "tiny.yaml" in {file.path for file in client(swept).list_artifacts(found.parent_run_id)}


def test_the_saved_view_names_the_searched_params_and_only_the_children(swept):
    """The comparison's view filters on the study's trials and draws its searched params."""
    tags = client(swept).get_experiment("0").tags
    (text,) = [value for key, value in tags.items() if key.startswith("mlflow.sharedViewState.")]
    state = json.loads(json.loads(text)["state"])
    assert state["compareRunCharts"][0]["selectedParams"] == ["family", "log10_lr"]
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`sweep/rank`", True)
    places = {
        number: run.data.metrics["sweep/rank"] for number, run in children(swept, STUDY).items()
    }
    ranked = [entry.trials[0].number for entry in record(swept, STUDY).ranked]
    assert sorted(places, key=places.__getitem__) == ranked
    found = client(swept).search_runs(["0"], state["searchFilter"])
    assert {run.info.run_id for run in found} == {
        run.info.run_id for run in children(swept, STUDY).values()
    }


def test_nothing_is_left_of_local_checkpoints(swept):
    """Weights are artifacts once a trial has ended; only the study's lock file stays."""
    assert [path.name for path in (swept / "checkpoints").rglob("*") if path.is_file()] == [
        f"{STUDY}.lock"
    ]


def test_the_same_command_again_runs_nothing_twice_and_more_trials_extend(folder, capsys):
    """The same command goes on to the total; a raised total adds the difference."""
    assert pipeline("sweep", "tiny.yaml", "--trials", "2") == 0
    before = {number: run.info.end_time for number, run in children(folder, STUDY).items()}
    assert pipeline("sweep", "tiny.yaml", "--trials", "2") == 0
    assert {number: run.info.end_time for number, run in children(folder, STUDY).items()} == before
    assert pipeline("sweep", "tiny.yaml", "--trials", "4") == 0
    check_invariant(folder, STUDY, total=4)
    after = {number: run.info.end_time for number, run in children(folder, STUDY).items()}
    assert {number: after[number] for number in before} == before
    parents = client(folder).search_runs(["0"], "tags.`sweep.role` = 'parent'")
    assert len(parents) == 1
    assert parents[0].data.tags["sweep.trials"] == "4"
    assert "4 ended: " in capsys.readouterr().out


def test_paused_trials_are_told_after_an_interruption(folder, capfd):
    """Killed as a paused trial goes on, status tells who is paused, and the next command counts them."""
    Fork(folder, "sweep", "tiny.yaml", **{VARIABLE: "after_promotion"}).wait(-signal.SIGKILL)
    assert pipeline("status") == 0
    out = capfd.readouterr().out
    assert "interrupted" in out
    assert "paused      " in out
    assert pipeline("sweep", "tiny.yaml") == 0
    first = capfd.readouterr().out.splitlines()[0]
    assert re.search(r"0 of 5 trials ended, \d paused; stores in ", first)


def test_two_folders_give_the_same_list(swept, folder):
    """The same command gives the same trials and values anywhere."""
    assert pipeline("sweep", "tiny.yaml") == 0
    assert trial_list(folder, STUDY) == trial_list(swept, STUDY)


def test_extended_in_two_steps(swept, folder):
    """3 trials and then 5 are those of 5 from the start; those that 3 finished may be trained further."""
    assert pipeline("sweep", "tiny.yaml", "--trials", "3") == 0
    assert pipeline("sweep", "tiny.yaml") == 0
    extended, direct = record(folder, STUDY).results, record(swept, STUDY).results
    for late, early in zip(extended, direct, strict=True):
        assert late.config == early.config
        shared = late.history[: len(early.history)]
        assert [row.metrics["val/loss"] for row in shared] == [
            row.metrics["val/loss"] for row in early.history
        ]


def test_an_adopted_project_run_gives_the_same_tree(swept, folder, monkeypatch):
    """Under `mlflow run` its run becomes the parent; all else is as in a direct call."""
    given = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").create_run(
        "0", run_name="bold-newt-12"
    )
    monkeypatch.setenv("MLFLOW_RUN_ID", given.info.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    assert pipeline("sweep", "tiny.yaml") == 0
    found = record(folder, STUDY)
    assert found.parent_run_id == given.info.run_id
    assert client(folder).get_run(given.info.run_id).info.run_name == STUDY
    shapes = [
        [
            (run.info.run_name, sorted(run.data.params.items()), sorted(run.data.metrics))
            for run in runs.values()
        ]
        for runs in (children(folder, STUDY), children(swept, STUDY))
    ]
    assert shapes[0] == shapes[1]


def test_a_later_project_run_is_nested_under_the_studys_parent(folder, monkeypatch):
    """A study has one parent for ever: a second `mlflow run` of it is an invocation below."""
    assert pipeline("sweep", "tiny.yaml", "--trials", "1") == 0
    parent = record(folder, STUDY).parent_run_id
    given = client(folder).create_run("0", run_name="bold-newt-12").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    assert pipeline("sweep", "tiny.yaml", "--trials", "2") == 0
    assert record(folder, STUDY).parent_run_id == parent
    invocation = client(folder).get_run(given)
    assert invocation.data.tags["mlflow.parentRunId"] == parent
    assert invocation.data.tags["sweep.role"] == "invocation"
    assert invocation.info.run_name.startswith("continued 20")
    assert {run.data.tags["mlflow.parentRunId"] for run in children(folder, STUDY).values()} == {
        parent
    }


@pytest.mark.slow
def test_mlflow_run_twice_is_one_tree(folder):
    """`mlflow run -e sweep` adopts its run; again with more trials it is nested in the same tree."""
    arguments = ["run", str(ROOT), "-e", "sweep", "--env-manager", "local"]
    arguments += ["-P", f"study={folder / 'tiny.yaml'}"]
    for trials in (2, 3):
        Sweep(folder, *arguments, "-P", f"trials={trials}", program=("mlflow",)).wait(0)
    check_invariant(folder, STUDY, total=3)
    roles = [run.data.tags.get("sweep.role") for run in client(folder).search_runs(["0"])]
    assert (roles.count("parent"), roles.count("invocation")) == (1, 1)
    parent = client(folder).get_run(record(folder, STUDY).parent_run_id)
    assert parent.info.status == "FINISHED"


@pytest.mark.slow
def test_a_second_sweep_of_the_study_is_refused(folder, tmp_path_factory):
    """The second of two sweeps exits 4 and names the first, also from another folder, and without a lock file.

    The first makes its lock file anew, and goes on.
    """
    command = ("sweep", "tiny.yaml", "--trials", "500")  # too many to end before the second starts
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "tiny.yaml").write_text((folder / "tiny.yaml").read_text())
    store = {"PIPELINE_STORAGE": locations.sqlite_url(folder / "optuna.db")}
    lock_file = folder / "checkpoints" / f"{STUDY}.lock"
    first = Fork(folder, *command)
    try:
        wait_for_epochs(folder, 0)
        outputs = [Fork(folder, *command).wait(4), Fork(elsewhere, *command, **store).wait(4)]
        lock_file.unlink()
        outputs.append(Fork(folder, *command).wait(4))
        lock_file.unlink(missing_ok=True)
        outputs.append(Fork(elsewhere, *command, **store).wait(4))
        wait_until(lambda: lock_file.exists() and str(first.process.pid) in lock_file.read_text())
        assert first.process.is_alive()
    finally:
        first.send(signal.SIGKILL)
        first.process.join()
    for output in outputs:
        assert f"is in use by process {first.process.pid} on " in output


def test_a_changed_study_is_refused_with_the_difference(folder, capsys):
    """Going on with other values than the study was made with exits 2, names both, and runs nothing."""
    assert pipeline("sweep", "tiny.yaml", "--trials", "1") == 0
    assert pipeline("sweep", "tiny.yaml", "--trials", "2", "--epochs", "3") == 2
    assert len(record(folder, STUDY).results) == 1
    assert pipeline("sweep", "tiny.yaml", "--trials", "1", "--epochs", "3", "--name", "other") == 0


def test_trials_of_another_program_are_named(folder, capsys):
    """What another program adds to the study is named, and takes no trial of the total away."""
    assert pipeline("sweep", "tiny.yaml", "--trials", "1") == 0
    other = optuna.load_study(storage=studies(folder), study_name=STUDY)
    other.tell(other.ask(), state=optuna.trial.TrialState.FAIL)
    capsys.readouterr()
    assert pipeline("sweep", "tiny.yaml", "--trials", "2") == 0
    said = "another program has made 1 of the study's trials (#1): they have no rank, and they do not count"
    assert said in "".join(capsys.readouterr())
    assert [result.number for result in record(folder, STUDY).results] == [0, 2]


def test_no_complete_trial_exits_3(folder):
    """Where every trial diverges the sweep stops, and says so in its exit code and on the parent."""
    hopeless = "optimizer=sgd,lr=100,momentum=0.99,batch_norm=false"
    assert pipeline("sweep", "tiny.yaml", "--families", "cnn", "--set", hopeless) == 3
    found = record(folder, STUDY)
    assert {result.end for result in found.results} == {"diverged"}
    parent = client(folder).get_run(found.parent_run_id)
    assert (parent.info.status, parent.data.tags["sweep.exit_code"]) == ("FAILED", "3")
    for run in children(folder, STUDY).values():
        assert run.info.status == "FAILED"
        assert not [key for key in run.data.metrics if key.startswith("best/")]
    assert pipeline("report", "--best") == 3


BAD = {
    "unknown study": ["sweep", "defualt"],
    "unknown data set": ["sweep", "--dataset", "mnits"],
    "unknown family": ["sweep", "--families", "mlp,cnm"],
    "malformed YAML": ["sweep", "malformed.yaml"],
    "negative epochs": ["sweep", "--epochs", "-3"],
    "lr out of range": ["sweep", "--set", "lr=1000"],
    "unknown setting": ["sweep", "--set", "learning_rate=0.1"],
    "no trials": ["sweep", "--trials", "0"],
    "a name that is a path": ["sweep", "--name", "../x"],
    "an empty name": ["sweep", "--name", ""],
    "empty families": ["sweep", "--families", ""],
    "empty objectives": ["sweep", "--objectives", ""],
    "a network that cannot take the images": ["sweep", "--families", "cnn", "--set", "depth=4"],
    "a password on the command line": ["sweep", "--storage", "postgresql://me:secret@host/db"],
    "a device that is not there": ["sweep", "--device", "cuda"],
    "train: a field that does not apply": ["train", "--family", "mlp", "--residual", "true"],
    "train: lr out of range": ["train", "--lr", "-1"],
    "report: no study yet": ["report"],
    "evaluate: nothing named": ["evaluate"],
    "evaluate: no store yet": ["evaluate", "--run", "abc"],
    "train: no store yet to resume from": ["train", "--resume", "abc"],
    "unknown option": ["sweep", "--trails", "3"],
    "a budget that is none": ["sweep", "--budget", "soon"],
    "a budget below one training": ["sweep", "--set", "budget=0.5"],
}


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD)
def test_bad_input_exits_2_and_makes_nothing(arguments, tmp_path, monkeypatch):
    """A user's mistake is refused before anything is made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "malformed.yaml").write_text("search: {lr: [1, 2}\n")
    assert pipeline(*arguments) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["malformed.yaml"]


@pytest.mark.parametrize("name", ["nosuch", ""])
@pytest.mark.parametrize("command", [["report"], ["sweep", "--name", "other", "--warm-start"]])
def test_an_unknown_study_names_the_known_ones(command, name, swept, monkeypatch, capsys):
    """A study that is not there is refused with those that are; an empty name is not the last study's."""
    monkeypatch.chdir(swept)
    assert pipeline(*command, name) == 2
    assert capsys.readouterr().err == f"no study {name!r}; there are: {STUDY}\n"


def test_single_training_is_one_run_with_the_same_files(folder):
    """`pipeline train` leaves one run of its own, with params, history and checkpoint."""
    assert (
        pipeline(
            "train", "--family", "mlp", "--epochs", "2", "--width", "16", "--batch_norm", "false"
        )
        == 0
    )
    (run,) = client(folder).search_runs(["0"])
    assert run.info.status == "FINISHED"
    assert (run.data.params["batch_norm"], run.data.params["width"]) == ("False", "16")
    assert len(client(folder).get_metric_history(run.info.run_id, "val/acc")) == 2
    found = evaluate.evaluate(locations.locate(), folder, split="val", run_id=run.info.run_id)
    assert found.scores.accuracy == run.data.metrics["best/val_acc"]


def test_only_an_interrupted_training_can_be_resumed(folder, capsys):
    """A finished run, a sweep's trial and an unknown id are refused, and keep what they have."""
    assert pipeline("train", "--family", "mlp", "--epochs", "1", "--objective", "val_loss") == 0
    (run,) = client(folder).search_runs(["0"])
    assert pipeline("train", "--resume", run.info.run_id) == 2
    assert pipeline("train", "--resume", "f" * 32) == 2
    assert client(folder).get_run(run.info.run_id).info.end_time == run.info.end_time


def test_runs_of_a_lost_study_are_not_taken_for_a_new_ones(folder, template):
    """With a new store of studies a study of the same name has a parent and trials of its own."""
    assert pipeline("sweep", "tiny.yaml", "--trials", "1") == 0
    assert (
        pipeline(
            "sweep",
            "tiny.yaml",
            "--trials",
            "1",
            "--storage",
            "sqlite:///new.db",
            "--families",
            "mlp",
        )
        == 0
    )
    runs = client(folder).search_runs(
        ["0"], f"tags.`sweep.study` = '{STUDY}' and tags.`sweep.trial` = '0'"
    )
    assert sorted(run.data.params["family"] for run in runs) == ["cnn", "mlp"]
    assert len({run.data.tags["mlflow.parentRunId"] for run in runs}) == 2


def test_a_store_that_fails_ends_the_sweep_and_not_the_trial(folder, monkeypatch):
    """A tracking store that cannot be written is exit 5; no trial is failed for it, and the same command goes on."""
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    def full(self, *arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(LocalArtifactRepository, "log_artifact", full)
        patch.setattr(LocalArtifactRepository, "log_artifacts", full)
        assert pipeline("sweep", "tiny.yaml") == 5
    assert not [result for result in record(folder, STUDY).results if result.state == "failed"]
    assert pipeline("sweep", "tiny.yaml") == 0
    check_invariant(folder, STUDY, total=5)


def test_evaluating_scores_the_test_split_and_logs_it(folder, capsys):
    """`pipeline evaluate --best` reads the test split, prints each class, and logs the figures to the run."""
    assert pipeline("sweep", "tiny.yaml", "--trials", "1") == 0
    assert pipeline("evaluate", "--best", "--format", "json") == 0
    out = capsys.readouterr().out
    figures = json.loads(out[out.rindex('{\n  "split"') :])
    run = children(folder, STUDY)[0]
    assert figures["acc"] == client(folder).get_run(run.info.run_id).data.metrics["test/acc"]
    assert len(figures["per_class"]) == 10
    assert record(folder, STUDY).looks == Looks(trials={0: 1})
    found = record(folder, STUDY).results[0]
    assert correct_test_images(found).mean() == pytest.approx(figures["acc"])
    assert correct_images(found).mean() == pytest.approx(found.best.metrics["val/acc"])
    assert pipeline("evaluate", "--run", f"{STUDY}#0", "--split", "val") == 0
    assert pipeline("evaluate", "--run", f"{STUDY}#7", "--split", "val") == 2
    assert pipeline("evaluate", "--all") == 0
    assert record(folder, STUDY).looks == Looks(trials={0: 2}), (
        "what reads no test image is no look"
    )


@pytest.mark.parametrize("fmt", ["table", "json", "csv", "md"])
def test_report_prints_every_format(swept, monkeypatch, capsys, fmt, tmp_path):
    """`pipeline report` ranks the last study in each format and writes its files."""
    monkeypatch.chdir(swept)
    assert pipeline("report", "--format", fmt, "--out", str(tmp_path / "out")) == 0
    assert "cnn" in capsys.readouterr().out
    assert (tmp_path / "out" / "plots" / "learning_curves.png").stat().st_size > 10_000


def test_a_report_that_is_there_is_looked_at_once(swept, monkeypatch, tmp_path):
    """`pipeline report` computes one digest of each file that it does not write again."""
    monkeypatch.chdir(swept)
    command = ("report", "--out", str(tmp_path / "out"))
    assert pipeline(*command) == 0
    digest = manifest._file_digest
    looked_at = []
    monkeypatch.setattr(
        manifest, "_file_digest", lambda file: looked_at.append(file) or digest(file)
    )
    assert pipeline(*command) == 0
    assert len(looked_at) > 5
    assert len(set(looked_at)) == len(looked_at)
