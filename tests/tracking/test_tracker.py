"""The run of a trial that is paused and goes on."""

import pytest
from support.records import make_result

from pipeline.tracking.tracker import Tracker

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
