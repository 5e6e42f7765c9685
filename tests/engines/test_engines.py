"""Every engine trains alike: the same results, reports, prunings, faults, stops and resumptions, wherever it trains."""

import dataclasses
import multiprocessing
import os
import signal
import time

import pytest
from support.commands import wait_until
from support.forks import importable
from support.networks import SLOW_NETWORKS
from support.trainings import Breaker, outcome, settled, task

import pipeline.training.epochs
from pipeline.checkpoints import BEST
from pipeline.engines import messages
from pipeline.engines.local import InlineEngine, LocalFactory, WorkerEngine, least_loaded
from pipeline.engines.messages import Answer
from pipeline.engines.registry import ENGINES, open_factory
from pipeline.system.errors import Interrupted, StorageFailure
from pipeline.training.epochs import Hooks
from pipeline.training.train import train
from sweeps.trial import COMPLETE, FAILED, PRUNED

pytestmark = pytest.mark.slow

CASES = [("local", 1), *((name, 2) for name in ENGINES)]  # an engine, and how many trials at a time


@pytest.fixture(scope="module", autouse=True)
def _module(tmp_path_factory):
    """The networks above, as a user's own."""
    with importable(tmp_path_factory.mktemp("module"), "odd", SLOW_NETWORKS):
        yield


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def make(request):
    """What makes each engine in turn; and another that says what runs of it."""
    name, places = request.param
    cluster = request.getfixturevalue("ray_cluster") if name == "ray" else None
    factory = open_factory(name, cluster and cluster.address)

    def left():
        return multiprocessing.active_children() if cluster is None else cluster.trials()

    yield lambda data: factory.make(data, places), left
    factory.close()


@pytest.fixture
def engine(make, tiny):
    """Each engine in turn; what it leaves running fails the test."""
    made = make[0](tiny)
    yield made
    made.close()
    wait_until(lambda: not make[1]())


@pytest.fixture
def workers(tiny):
    """Two workers."""
    made = WorkerEngine(tiny, 2)
    yield made
    made.close()
    assert not multiprocessing.active_children()


def trained(engine, tasks, hooks=None):
    """The results of tasks, as many under way at a time as there are places."""
    left, begun, results = list(tasks), 0, {}
    while left or begun:
        while left and begun < engine.places:
            engine.begin(left.pop(0), hooks or Hooks())
            begun += 1
        number, result = engine.wait()
        results[number] = result
        begun -= 1
    return results


def test_equal_configurations_give_equal_results(engine, tiny, tmp_path):
    """Each result, and its weights to the bit, is that of training the configuration alone, in this process."""
    tasks = [task(tmp_path, n, family=f, seed=n) for n, f in enumerate(("mlp", "cnn", "resnet"))]
    tasks += [task(tmp_path, 3, redraw="draw-5"), task(tmp_path, 4, redraw="fold-2-of-5")]
    results = trained(engine, tasks)
    for t in tasks:
        alone = train(t.number, t.config, tiny, tmp_path / f"alone{t.number}", objective="val_acc")
        assert outcome(results[t.number], t.folder) == outcome(alone, tmp_path / f"alone{t.number}")
        assert results[t.number].number == t.number
        assert results[t.number].parameters == alone.parameters


def test_each_epoch_is_reported_and_any_may_be_the_last(engine, tmp_path):
    """The hooks are told of each trial's epochs, in order; the one that says so prunes that trial, and no other."""
    rows = {0: [], 1: []}

    def hooks(number, last):
        def epoch(row, best):
            rows[number].append(row)
            assert best == max(r.metrics["val/acc"] for r in rows[number])
            return row.epoch == last

        return Hooks(epoch=epoch)

    first, second = task(tmp_path, 0), task(tmp_path, 1, seed=5)
    results = {}
    if engine.places > 1:
        engine.begin(first, hooks(0, 2))
        engine.begin(second, hooks(1, 9))
        results = dict(engine.wait() for _ in range(2))
    else:
        for each, last in ((first, 2), (second, 9)):
            engine.begin(each, hooks(each.number, last))
            results |= dict([engine.wait()])
    assert (results[0].state, results[1].state) == (PRUNED, COMPLETE)
    assert {number: tuple(told) for number, told in rows.items()} == {
        n: r.history for n, r in results.items()
    }
    assert [len(told) for told in rows.values()] == [2, 4]


def test_a_failing_trial_fails_alone(engine, tmp_path):
    """An error in a network, a network that is too large and a fault of a report are ends of their trials."""

    def no_longer(row, best):
        raise LookupError("somebody else has ended it")

    tasks = [
        task(tmp_path, 0, family="odd:Broken"),
        task(tmp_path, 1, limits={"parameters": 10}),
        task(tmp_path, 2),
    ]
    results = trained(engine, tasks)
    assert [(results[n].state, results[n].end) for n in range(3)] == [
        (FAILED, "error:KeyError"),
        (PRUNED, "infeasible"),
        (COMPLETE, COMPLETE),
    ]
    found = trained(engine, [task(tmp_path, 3)], Hooks(epoch=no_longer))[3]
    assert (found.end, found.error) == ("error:LookupError", "somebody else has ended it")


def test_a_disk_that_fails_ends_more_than_a_trial(engine, tmp_path):
    """A checkpoint that cannot be written is raised to whoever waits, in its own words."""
    (tmp_path / "0").write_text("no folder")
    engine.begin(task(tmp_path), Hooks())
    with pytest.raises(StorageFailure, match="cannot write a checkpoint"):
        engine.wait()


def test_a_trial_over_its_time_is_ended(engine, tmp_path):
    """A trial that takes longer than it may ends as timeout, with what it had reached."""
    found = trained(engine, [task(tmp_path, family="odd:Slow", time_limit=0.5, epochs=1000)])[0]
    assert (found.state, found.end, found.error) == (FAILED, "timeout", "it took longer than 0.5 s")
    assert [row.epoch for row in found.history] == list(range(1, len(found.history) + 1)) != []


def test_asked_to_stop_it_stops_and_can_be_gone_on_with(engine, make, tiny, tmp_path, monkeypatch):
    """What the stop hook raises is raised from waiting, and the training is not waited for.

    From the checkpoint that is there the result is the same.
    """
    engine.begin(task(tmp_path, family="odd:Slow", epochs=1000), Breaker(5).hooks)
    with pytest.raises(Interrupted):
        engine.wait()
    engine.close()
    wait_until(lambda: not make[1]())
    assert not (tmp_path / "0" / BEST).exists(), "it was not trained to its end"

    monkeypatch.setattr(pipeline.training.epochs, "SAVE_EVERY", 0)
    with pytest.raises(Interrupted):  # in the second of four epochs
        train(1, settled(), tiny, tmp_path / "1", objective="val_acc", hooks=Breaker(6).hooks)
    saved, told = [], []
    again = make[0](tiny)
    hooks = Hooks(
        saved=lambda rows: saved.append(len(rows)),
        epoch=lambda row, best: bool(told.append(row.epoch)),
    )
    found = trained(again, [task(tmp_path, 1)], hooks)[1]
    again.close()
    alone = train(1, settled(), tiny, tmp_path / "alone", objective="val_acc")
    assert outcome(found, tmp_path / "1") == outcome(alone, tmp_path / "alone")
    assert (saved[0], told) == (1, [2, 3, 4])


# Workers alone


def processes():
    """The processes of the workers there are."""
    return sorted(child.pid for child in multiprocessing.active_children())


def test_a_killed_worker_costs_its_trial_alone(workers, tiny, tmp_path):
    """Its trial comes back without a result and can be begun again; the other goes on; a new worker takes its place."""
    tasks = [task(tmp_path, 0, family="odd:Slow"), task(tmp_path, 1, family="odd:Slow", seed=1)]
    workers.begin(tasks[0], Hooks())
    (first,) = processes()
    workers.begin(
        tasks[1],
        Hooks(step=lambda *_: os.kill(first, signal.SIGKILL) if first in processes() else None),
    )
    assert workers.wait() == (0, None)
    workers.begin(tasks[0], Hooks())
    results = dict(workers.wait() for _ in range(2))
    for t in tasks:
        alone = train(t.number, t.config, tiny, tmp_path / f"alone{t.number}", objective="val_acc")
        assert outcome(results[t.number], t.folder) == outcome(alone, tmp_path / f"alone{t.number}")
    assert first not in processes()


def test_a_worker_that_is_killed_at_leisure_costs_nothing(workers, tmp_path):
    """A worker with nothing to do that is killed is replaced, and the next trial is none the worse."""
    assert trained(workers, [task(tmp_path)])[0].state == COMPLETE
    (idle,) = processes()
    os.kill(idle, signal.SIGKILL)
    multiprocessing.active_children()[0].join()
    assert trained(workers, [task(tmp_path, 1)])[1].state == COMPLETE


def test_a_worker_that_hangs_inside_a_library_is_killed(workers, tmp_path, monkeypatch):
    """A trial whose step neither ends nor can be interrupted ends as timeout; the next one is trained."""
    monkeypatch.setattr(messages, "HANG_GRACE", 0)
    monkeypatch.setattr(messages, "GRACE", 0)
    results = trained(
        workers, [task(tmp_path, 0, family="odd:Stuck", time_limit=0.3), task(tmp_path, 1)]
    )
    assert (results[0].state, results[0].end, results[1].state) == (FAILED, "timeout", COMPLETE)
    assert results[0].error == "it took longer than 0.3 s"


def test_time_limits_count_training_alone(workers, tmp_path):
    """Neither a long wait for the answer to an epoch nor a stopped process ends a trial."""
    waited = []

    def stop_other_and_wait(row, best):
        if not waited:
            (other,) = [worker for worker in workers._busy if worker.trial.task.number == 1]
            os.kill(other._process.pid, signal.SIGSTOP)
            time.sleep(5.5)  # longer than the limit and its grace
            os.kill(other._process.pid, signal.SIGCONT)
            waited.append(other)
        return False

    workers.begin(
        task(tmp_path, 0, family="odd:Slow", time_limit=3), Hooks(epoch=stop_other_and_wait)
    )
    workers.begin(task(tmp_path, 1, family="odd:Slow", time_limit=3, epochs=8), Hooks())
    ends = {number: result.end for number, result in (workers.wait() for _ in range(2))}
    assert (ends, len(waited)) == ({0: COMPLETE, 1: COMPLETE}, 1)


def test_an_answer_to_another_question_is_passed_over(workers, tmp_path):
    """An answer that comes too late is taken neither for a trial to train, nor for an answer to the next."""
    late = Answer(0, 4, content=True)
    assert trained(workers, [task(tmp_path, 0)])[0].state == COMPLETE
    (worker,) = workers._free
    worker.connection.send(late)

    def send_late(row, best):
        worker.connection.send(dataclasses.replace(late, trial=1, epoch=row.epoch - 1))
        return False

    found = trained(workers, [task(tmp_path, 1)], Hooks(epoch=send_late))[1]
    assert (found.state, len(found.history)) == (COMPLETE, 4)
    assert processes() == [worker._process.pid]


def test_workers_are_kept(workers, tmp_path):
    """Six trials need no more processes than two."""
    seen = set()
    trained(
        workers,
        [task(tmp_path, n) for n in range(6)],
        Hooks(epoch=lambda *_: bool(seen.update(processes()))),
    )
    assert len(seen) == 2


def test_steps_are_told_now_and_then(workers, tmp_path):
    """A worker tells of its steps twice a second, and not of each."""
    steps = []
    found = trained(
        workers,
        [task(tmp_path, family="odd:Slow", epochs=6)],
        Hooks(step=lambda *s: steps.append(s)),
    )
    assert found[0].state == COMPLETE
    assert 1 <= len(steps) < 24
    assert all(1 <= done <= total == 4 and loss > 0 for done, total, loss in steps)


def test_the_engine_follows_from_the_places(tiny):
    """One trial at a time is trained in this process, more in workers."""
    assert isinstance(LocalFactory().make(tiny, 1), InlineEngine)
    made = LocalFactory().make(tiny, 3)
    assert (type(made), made.places) == (WorkerEngine, 3)
    made.close()


@pytest.mark.parametrize(
    ("busy", "devices", "device"),
    [
        ([], 1, 0),
        ([0], 1, 0),
        ([], 4, 0),
        ([0], 4, 1),
        ([0, 1, 2], 4, 3),
        ([0, 1, 3, 0], 4, 2),
        ([1, 1, 0], 2, 0),
    ],
)
def test_a_trial_goes_to_the_device_with_the_fewest(busy, devices, device):
    """Of the GPUs the one on which the fewest trials are under way is next, the first of equals."""
    assert least_loaded(busy, devices) == (device,)


@pytest.mark.parametrize(
    ("busy", "devices", "chosen"),
    [
        ([], 4, (0, 1)),
        ([0, 1], 4, (2, 3)),
        ([2, 3], 4, (0, 1)),
        ([0, 1, 2, 3, 0, 2], 4, (1, 3)),
        ([0, 0], 2, (1, 0)),  # never one GPU twice, however busy the other is
        ([], 1, (0, 0)),
        ([0, 0], 1, (0, 0)),
    ],
)
def test_a_trial_on_two_goes_to_the_two_with_the_fewest(busy, devices, chosen):
    """A trial on two GPUs has two that differ; where there is but one device, as on the CPU, both processes have it."""
    assert least_loaded(busy, devices, 2) == chosen
