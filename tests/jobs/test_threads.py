"""Jobs that a program runs in a thread of its own: they leave the process as it is."""

import gc
import io
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch._dynamo  # noqa: F401 - sets an environment variable of its own when it is imported
from rich.console import Console

from pipeline.jobs import sweep, sync, train
from pipeline.jobs.progress import ProgressDisplay
from pipeline.stores import locations
from pipeline.system.errors import Interrupted
from pipeline.system.signals import StopRequest
from sweeps.trial import COMPLETE

NAME = "tiny-digits"


def process_state():
    """Everything process-wide that the command line sets for itself."""
    return {
        "handlers": [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)],
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "frozen": gc.get_freeze_count(),
        "collects": gc.isenabled(),
        "environment": dict(os.environ),
    }


def in_thread(job):
    """Run a job to its end in a thread; return what it returned, or raise what it raised."""
    outcome = {}

    def run():
        try:
            outcome["result"] = job()
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            outcome["error"] = error

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=300)
    assert not thread.is_alive()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]


def make_display(study):
    """Show the progress of a study to nobody."""
    return ProgressDisplay.for_study(study, Console(file=io.StringIO()))


def tiny_sweep(**options):
    """Sweep the small study of the working folder."""
    stop = options.pop("stop", None)
    request = sweep.Request(study="tiny.yaml", data_dir=Path("data"), **options)
    return sweep.sweep(sweep.make_plan(request), request, make_display, stop=stop)


def test_a_sweep_in_a_thread_leaves_the_process_as_it_is(folder):
    """With a time limit for its trials, it runs to its end; handlers, collector and environment stay."""
    del folder
    before = process_state()
    outcome = in_thread(
        lambda: tiny_sweep(overrides={"trials": 2}, trial_timeout=600.0, max_failures=1)
    )
    assert process_state() == before
    assert outcome.reason == "done"
    assert {result.state for result in outcome.record.results} == {COMPLETE}

    record = in_thread(
        lambda: sync.sync(locations.locate(), NAME, experiment=None, say=lambda _: None)
    )
    assert process_state() == before
    assert len(record.results) == 2


def test_the_time_limit_of_a_trial_is_kept_in_a_thread(folder):
    """Without an alarm, which only the main thread can set, the check between two steps ends the trial."""
    del folder
    outcome = in_thread(
        lambda: tiny_sweep(overrides={"trials": 2}, trial_timeout=1e-6, max_failures=2)
    )
    assert {result.end for result in outcome.record.results} == {"timeout"}


def test_a_training_in_a_thread_leaves_the_process_as_it_is(folder):
    """It is recorded as from the command line."""
    del folder
    before = process_state()
    result = in_thread(
        lambda: train.train_one(
            locations.locate(),
            {"dataset": "digits", "family": "mlp", "width": 8, "depth": 1, "epochs": 1},
            Path("data"),
            objective="val_acc",
            resume=None,
            experiment=None,
            every_epoch=False,
            display=ProgressDisplay(Console(file=io.StringIO()), "val_acc", (), 1, 0),
        )
    )
    assert process_state() == before
    assert result.state == COMPLETE


def test_a_request_from_another_thread_stops_a_sweep(folder):
    """It stops between two steps, with the exit code of SIGTERM, and the same call goes on."""
    del folder
    stop = StopRequest()

    def request_soon():
        time.sleep(0.5)
        stop.request()

    requester = threading.Thread(target=request_soon)
    requester.start()
    with pytest.raises(Interrupted) as interrupted:
        in_thread(lambda: tiny_sweep(overrides={"epochs": 5000}, stop=stop))
    requester.join()
    assert interrupted.value.code == 143
