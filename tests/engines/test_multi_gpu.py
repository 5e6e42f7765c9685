"""A trial in two processes ends as any trial does, whichever of the two fails, dies, hangs or is to stop."""

import multiprocessing
import os
import signal
import tempfile
import threading

import pytest
from support import forks
from support.commands import gone, wait_until, workers
from support.endtoend import check_invariant, client, pipeline, record
from support.forks import Fork, importable
from support.networks import SLOW_NETWORKS
from support.trainings import Breaker, outcome, task

from pipeline.checkpoints import BEST
from pipeline.engines import messages
from pipeline.engines.local import WorkerEngine
from pipeline.system.errors import Interrupted, StorageFailure
from pipeline.training.epochs import Hooks
from sweeps.trial import COMPLETE, FAILED, PRUNED

pytestmark = pytest.mark.slow

# Networks that go wrong in one of the processes alone.
ODD = f"""{SLOW_NETWORKS}

from torch import distributed


class Second(Fine):
    def step(self):
        if distributed.get_rank() == 1:
            self.alone()


class SecondBroken(Second):
    def alone(self):
        raise KeyError("no such layer")


class SecondStuck(Second):
    def alone(self):
        ctypes.PyDLL(None).sleep(600)


class SecondNan(Second):
    def alone(self):
        self.layer.bias.data.fill_(float("nan"))
"""


@pytest.fixture(scope="module", autouse=True)
def _module(tmp_path_factory):
    """The networks above, as a user's own."""
    with importable(tmp_path_factory.mktemp("module"), "team", ODD):
        yield


@pytest.fixture
def engine(tiny, tmp_path, monkeypatch):
    """Two trials at a time; no process and no file of theirs is left."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = WorkerEngine(tiny, 2)
    yield made
    made.close()
    assert not multiprocessing.active_children()
    assert not list(tmp_path.glob("pipeline-*"))


def both(folder, number=0, **values):
    """A trial for two processes."""
    return task(folder, number, **{"gpus_per_trial": 2, **values})


def ended(engine, trial, hooks=None):
    """The result of a trial."""
    engine.begin(trial, hooks or Hooks())
    number, result = engine.wait()
    assert number == trial.number
    return result


def test_two_trials_of_two_processes_at_a_time(engine, tmp_path):
    """Trials in teams side by side do not meet each other, and end like those that are alone."""
    for number in range(2):
        engine.begin(both(tmp_path, number, seed=number), Hooks())
    assert len(multiprocessing.active_children()) == 4
    results = dict(engine.wait() for _ in range(2))
    assert not multiprocessing.active_children()
    for number in range(2):
        alone = both(tmp_path, 10 + number, seed=number)
        found = ended(engine, alone)
        assert outcome(results[number], tmp_path / str(number)) == outcome(found, alone.folder)


def test_pruned(engine, tmp_path):
    """The hook that hears of its epochs may end it after any of them."""
    told = []
    found = ended(
        engine,
        both(tmp_path),
        Hooks(epoch=lambda row, best: bool(told.append(row)) or row.epoch == 2),
    )
    assert (found.state, found.history, len(told)) == (PRUNED, tuple(told), 2)


def test_too_large(engine, tmp_path):
    """A network that has more parameters than it may is not trained."""
    assert ended(engine, both(tmp_path, limits={"parameters": 10})).end == "infeasible"


@pytest.mark.parametrize("family", ["team:Broken", "team:SecondBroken"])
def test_an_error_in_either_is_the_trials_end(engine, tmp_path, family):
    """Whichever process fails, the trial fails with that error, and the other is not waited for."""
    found = ended(engine, both(tmp_path, family=family))
    assert (found.state, found.end, found.error) == (FAILED, "error:KeyError", "'no such layer'")


def test_a_loss_that_is_no_number_in_one_is_none_in_both(engine, tmp_path):
    """A trial diverges at the step at which one share of a batch does."""
    found = ended(engine, both(tmp_path, family="team:SecondNan"))
    assert (found.state, found.end) == (FAILED, "diverged")
    assert found.error == "training loss is nan at step 1 of epoch 1"


def test_fewer_images_than_processes(engine, tmp_path):
    """A batch that cannot be divided is the trial's error."""
    found, most = (
        ended(engine, both(tmp_path, batch_size=1)),
        "batch_size 1, of which each takes a share",
    )
    assert (found.end, found.error) == (
        "error:ValueError",
        f"gpus_per_trial must be at most {most}: got 2",
    )


@pytest.mark.parametrize("which", [0, 1])
def test_killed(engine, tmp_path, which):
    """If either process is killed the trial comes back without a result, the other ends, and it can be begun again."""
    trial = both(tmp_path, family="team:Slow")
    engine.begin(trial, Hooks(step=lambda *_: os.kill(victim, signal.SIGKILL)))
    team = engine._busy[0]
    victim = (team, *team._others)[which]._process.pid
    assert engine.wait() == (0, None)
    assert not multiprocessing.active_children()
    assert ended(engine, trial).state == COMPLETE


@pytest.mark.parametrize("family", ["team:Stuck", "team:SecondStuck"])
def test_a_hang_in_either_is_a_timeout(engine, tmp_path, monkeypatch, family):
    """Where one process never ends a step, the other waits for it in vain: the trial's time limit ends both."""
    monkeypatch.setattr(messages, "HANG_GRACE", 0)
    monkeypatch.setattr(messages, "GRACE", 0)
    found = ended(engine, both(tmp_path, family=family, time_limit=0.5))
    assert (found.state, found.end, found.error) == (FAILED, "timeout", "it took longer than 0.5 s")


def test_a_checkpoint_that_cannot_be_written(engine, tmp_path):
    """What ends more than a trial is raised."""
    (tmp_path / "0").write_text("no folder")
    engine.begin(both(tmp_path), Hooks())
    with pytest.raises(StorageFailure, match="cannot write a checkpoint"):
        engine.wait()


def test_asked_to_stop(engine, tmp_path):
    """What the stop hook raises is raised from waiting, and both processes end with the training undone."""
    engine.begin(both(tmp_path, family="team:Slow", epochs=1000), Breaker(5).hooks)
    with pytest.raises(Interrupted):
        engine.wait()
    engine.close()
    assert not multiprocessing.active_children()
    assert not (tmp_path / "0" / BEST).exists(), "it was not trained to its end"


# End to end


def test_train_and_its_repetition(folder, capsys):
    """One network in two processes is a run like any other; its repetition is too, and comes to the same number."""
    forks.serve()
    options = ("--family", "cnn", "--width", "8", "--epochs", "2", "--device", "cpu")
    assert pipeline("train", *options, "--gpus-per-trial", "2") == 0
    (run,) = client(folder).search_runs(["0"])
    assert (run.info.status, run.data.params["gpus_per_trial"]) == ("FINISHED", "2")
    assert pipeline("evaluate", "--run", run.info.run_id, "--split", "val") == 0
    assert pipeline("train", "--from-run", run.info.run_id) == 0
    assert f"equal to run {run.info.run_id}" in "".join(capsys.readouterr())
    assert pipeline("train", *options, "--gpus-per-trial", "100") == 2
    assert "gpus_per_trial must be from 1 to 64: got '100'" in capsys.readouterr().err


def test_sweep_and_its_finalists(folder, capsys):
    """Each trial of a sweep is trained so; it goes on so without being told, and the finalists are trained so too."""
    forks.serve()
    options = (
        "--epochs",
        "1",
        "--set",
        "width=8,batch_size=256",
        "--device",
        "cpu",
        "--gpus-per-trial",
        "2",
    )
    assert pipeline("sweep", "tiny.yaml", "--trials", "2", *options) == 0
    check_invariant(folder, "tiny-digits", total=2)
    found = record(folder, "tiny-digits")
    assert found.facts.runtime["gpus_per_trial"] == 2
    assert {result.config.gpus_per_trial for result in found.results} == {2}
    assert pipeline("sweep", "tiny.yaml", "--trials", "2", *options[:-2]) == 2
    assert "go back to it (gpus_per_trial: 2 -> not set)" in capsys.readouterr().err
    assert pipeline("finalists", "--top", "1", "--seeds", "2", "--refit") == 0
    again = record(folder, "tiny-digits.finalists")
    assert {result.config.gpus_per_trial for result in again.results} == {2}
    assert again.refit.epochs == 1


SLOW = (
    "--family",
    "team:Slow",
    "--epochs",
    "15",
    "--batch-size",
    "256",
    "--device",
    "cpu",
    "--gpus-per-trial",
    "2",
)


def kept(folder):
    """The checkpoints of trainings under way: one is written every two seconds."""
    return sorted((folder / "checkpoints").rglob("*.safetensors"))


def test_a_training_whose_process_is_killed_can_go_on(folder, capsys):
    """The command ends as if it had been killed itself, and says how to go on; the run is then whole."""
    forks.serve()

    def kill():
        wait_until(lambda: kept(folder), seconds=300)
        max(multiprocessing.active_children(), key=lambda child: child.pid).kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(SystemExit, match="137"):
        pipeline("train", *SLOW)
    killer.join()
    assert not multiprocessing.active_children()
    (run,) = client(folder).search_runs(["0"])
    said = "".join(capsys.readouterr())
    assert "one of its processes was killed, or ran out of memory" in said
    assert f"interrupted; go on with: pipeline train --resume {run.info.run_id}" in said
    assert (run.info.status, bool(kept(folder))) == ("KILLED", True)

    assert pipeline("train", "--resume", run.info.run_id) == 0
    assert client(folder).get_run(run.info.run_id).info.status == "FINISHED"
    history = client(folder).get_metric_history(run.info.run_id, "val/acc")
    assert [metric.step for metric in history] == list(range(1, 16))


def test_nothing_outlives_the_command(folder):
    """When the command is killed, its processes end."""
    (folder / "team.py").write_text(ODD)
    begun = Fork(folder, "train", *SLOW)
    wait_until(lambda: kept(folder), seconds=300)
    training, found = workers(begun.process.pid)
    assert len(training) == 2
    begun.send(signal.SIGKILL)
    begun.wait(-signal.SIGKILL)
    wait_until(lambda: gone(training))
    wait_until(lambda: gone(found))
