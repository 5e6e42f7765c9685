"""The machine's clock jumps: durations come of a clock that does not, and steps order what is recorded."""

import itertools
import time

import pytest
from support.endtoend import children, client, pipeline, record
from support.searches import begin, memory

from sweeps.search.stored import study_names


@pytest.mark.slow
def test_a_clock_that_runs_backwards_changes_no_duration_and_no_order(folder, monkeypatch):
    """With a clock that is a minute earlier at every look, durations are true, and steps are in order."""
    began, looks = time.time(), itertools.count()
    before = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: began - 60 * next(looks))
        assert pipeline("sweep", "tiny.yaml", "--trials", "2", "--epochs", "4") == 0
    took = time.monotonic() - before
    assert next(looks) > 10, "the clock was looked at"
    for result in record(folder, "tiny-digits").results:
        assert 0 < result.seconds < took
        assert [row.epoch for row in result.history] == [1, 2, 3, 4]
        assert all(0 <= row.metrics["time/epoch_seconds"] < took for row in result.history)
        run = children(folder, "tiny-digits")[result.number]
        history = client(folder).get_metric_history(run.info.run_id, "val/acc")
        steps = [(metric.step, metric.value) for metric in history]
        assert sorted(steps) == [(row.epoch, row.metrics["val/acc"]) for row in result.history]
        assert run.data.metrics["val/acc"] == result.history[-1].metrics["val/acc"], (
            "the last by step, not by time"
        )
        assert run.info.status == "FINISHED"
        assert run.info.end_time >= run.info.start_time
    study = client(folder).search_runs(["0"], "tags.`sweep.role` = 'parent'")[0]
    assert study.info.end_time >= study.info.start_time


def test_the_study_last_opened_stays_the_last_when_the_clock_is_set_back(monkeypatch):
    """It is the study that was opened after all others, though the clock says that it was before them."""
    storage = memory()
    begin(storage, name="first")
    an_hour_ago = time.time() - 3600
    monkeypatch.setattr(time, "time", lambda: an_hour_ago)
    begin(storage, name="second")
    assert study_names(storage) == ["first", "second"]
    begin(storage, name="first")
    assert study_names(storage) == ["second", "first"]
