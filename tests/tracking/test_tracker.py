"""The runs of trials that are paused and go on, and whose run a command may take for its parent."""

import pytest
from mlflow import MlflowClient
from support.records import make_result

from pipeline.system.errors import UsageFailure
from pipeline.tracking.tracker import STORAGE, Tracker

DATA = {"name": "digits", "digest": "abc", "source": "data"}


@pytest.fixture
def tracker(folder):
    """A tracker on a local store."""
    made = Tracker(f"sqlite:///{folder / 'mlflow.db'}", experiment="Default")
    yield made
    made.close()


@pytest.mark.parametrize("by_another", [False, True], ids=["at once", "by another process"])
def test_a_trial_that_goes_on_is_promoted(tracker, by_another):
    """A paused run is scheduled and tagged so; once it goes on it is running, and tagged as promoted."""
    parent = tracker.open_parent("study", None, "key", {})
    result = make_result(3, 0.5, state="paused", epochs=2)
    run_id, _ = tracker.open_trial(parent, "study", 3, result.config, DATA, fresh=True)
    assert "sweep.end" not in tracker.run(run_id).data.tags
    tracker.pause(run_id, result.history)
    paused = tracker.run(run_id)
    assert (paused.info.status, paused.data.tags["sweep.end"]) == ("SCHEDULED", "paused")
    assert paused.data.metrics["val/acc"] == 0.5
    if by_another:
        assert tracker.open_trial(parent, "study", 3, result.config, DATA)[0] == run_id
    else:
        tracker.go_on(run_id)
    promoted = tracker.run(run_id)
    assert (promoted.info.status, promoted.data.tags["sweep.end"]) == ("RUNNING", "promoted")


@pytest.mark.parametrize("left", ["trial", "parent", "training", "ended"])
def test_a_left_over_run_is_nobodys_parent(tracker, folder, monkeypatch, left):
    """A run of another study, of a training or of the past stays as it is; the study gets its own."""
    config = make_result(0, 0.5).config
    other = tracker.open_parent("other", None, "their key", {})
    trial, _ = tracker.open_trial(other, "other", 0, config, DATA)
    training, _ = tracker.open_trial(None, None, 0, config, DATA)
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    ended = client.create_run("0").info.run_id
    client.set_terminated(ended)
    given = {"trial": trial, "parent": other, "training": training, "ended": ended}[left]
    before = client.get_run(given).to_dictionary()
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    later = Tracker(f"sqlite:///{folder / 'mlflow.db'}", experiment="Default")
    assert later.open_parent("study", None, "key", {}) != given
    assert later.open_trial(None, None, 0, config, DATA)[0] != given
    later.close()
    assert client.get_run(given).to_dictionary() == before


def test_the_run_of_mlflow_run_is_taken(tracker, folder, monkeypatch):
    """The run that was made for this command becomes the parent, also if the first answer was lost."""
    given = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    for _ in range(2):
        assert tracker.open_parent("study", None, "key", {}) == given


@pytest.mark.parametrize("given", ["../../etc", "0" * 32, "'"])
def test_an_id_of_no_run_is_refused(tracker, monkeypatch, given):
    """What the environment says is checked as if typed."""
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    with pytest.raises(UsageFailure, match="MLFLOW_RUN_ID must be the id of a run"):
        tracker.call(tracker.open_parent, "study", None, "key", {})


def test_the_runs_of_a_study_whose_store_was_removed_are_ended(tracker):
    """A new study of the name ends the former one's runs, but not those of a study in another store."""
    config = make_result(0, 0.5).config
    runs = {}
    for store in ("optuna.db", "/elsewhere/optuna.db"):
        parent = tracker.open_parent("study", None, f"key of {store}", {STORAGE: store})
        running, _ = tracker.open_trial(parent, "study", 0, config, DATA)
        paused, _ = tracker.open_trial(parent, "study", 1, config, DATA)
        tracker.pause(paused, ())
        runs[store] = (parent, running, paused)
    mine = tracker.open_parent("study", None, "a new key", {STORAGE: "optuna.db"})
    statuses = {store: [tracker.run(run).info.status for run in runs[store]] for store in runs}
    assert statuses == {
        "optuna.db": ["KILLED", "KILLED", "KILLED"],
        "/elsewhere/optuna.db": ["RUNNING", "RUNNING", "SCHEDULED"],
    }
    assert tracker.run(mine).info.status == "RUNNING"
