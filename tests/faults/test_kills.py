"""A sweep is killed at every failpoint and at random moments, and the same command repairs it.

The invariant of both stores, the list of trials and the weights equal an unbroken sweep's.
"""

import random
import signal
import time
from pathlib import Path

import pytest
from support.endtoend import check_invariant, client, furnish, trial_list
from support.forks import Fork, trials, weights

from pipeline.system.failpoints import POINTS, VARIABLE

pytestmark = pytest.mark.slow

STUDY = """
dataset: digits
trials: 3
epochs: 4
search:
  family: [cnn, mlp]
  dropout: {low: 0.1, high: 0.4}
  lr: {low: 1.0e-3, high: 1.0e-2, log: true}
fixed: {width: 8, depth: 1, batch_size: 256, schedule: cosine}
start_with: [{family: cnn}]
"""
NAME = "tiny-digits"
COMMAND = ("sweep", "tiny.yaml")

# Where each kill strikes: in the second of three trials, at its second epoch. An epoch has five steps.
# A state is two files, its sum first; the last epoch has none, then the best weights are written: 3 x 2 + 2 a trial.
KILLS = {
    "after_ask": ["after_ask:2"],
    "mid_epoch": ["mid_epoch:28"],
    "in_checkpoint_write": ["in_checkpoint_write:12"],
    "after_checkpoint": ["after_checkpoint:5"],
    "before_tell": ["before_tell:2"],
    "between_stores": ["between_stores:2"],
    "before_cleanup": ["before_cleanup:2"],
    "in_recovery": ["between_stores:2", "in_recovery", "in_recovery"],
    "in_adoption": [
        "in_adoption",
        "in_adoption",
    ],  # of a trial that was asked to stop: the third death is the last
}
SEEDS = 20


def begin(tmp_path_factory, template):
    """A folder with ready stores and the study."""
    return furnish(tmp_path_factory.mktemp("killed"), template, STUDY)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, template):
    """The list and the weights of the sweep that nothing disturbs, and the seconds it takes."""
    Fork(begin(tmp_path_factory, template), "--help").wait(0)  # starts the server
    folder = begin(tmp_path_factory, template)
    began = time.monotonic()
    Fork(folder, *COMMAND).wait(0)
    seconds = time.monotonic() - began
    check_invariant(folder, NAME, total=3)
    return trial_list(folder, NAME), weights(folder, NAME), seconds


def ended(folder):
    """The trials that have ended: when, and with what."""
    return {
        t.number: (t.datetime_complete, t.user_attrs["result"])
        for t in trials(folder, NAME)
        if t.datetime_complete
    }


def check_gone_on(folder, unbroken):
    """Give the same command once more: it ends as if nothing had happened, and runs nothing that had ended."""
    before = ended(folder)
    output = Fork(folder, *COMMAND).wait(0)
    check_invariant(folder, NAME, total=3)
    assert {number: end for number, end in ended(folder).items() if number in before} == before
    assert (trial_list(folder, NAME), weights(folder, NAME)) == unbroken[:2]
    return output


def interrupt(sweep, folder):
    """Ask a sweep to stop in the middle of a trial, which stands still while that is looked for; the trial's number."""
    begun = []
    while not begun:
        assert sweep.process.is_alive(), "it has ended before that"
        time.sleep(0.01)
        sweep.send(signal.SIGSTOP)
        running = [trial for trial in trials(folder, NAME) if not trial.state.is_finished()]
        begun = [trial.number for trial in running if 1 <= len(trial.intermediate_values) <= 2]
        if begun:
            sweep.send(signal.SIGTERM)
        sweep.send(signal.SIGCONT)
    sweep.wait(143)
    return begun[0]


def test_every_point_is_killed_at():
    """No failpoint is without its kill."""
    assert KILLS.keys() == set(POINTS)


@pytest.mark.parametrize("point", [point for point in POINTS if point != "in_adoption"])
def test_killed_at_a_failpoint(folder, unbroken, point):
    """Killed there, and again while that is put right, the sweep ends as an unbroken one."""
    (folder / "tiny.yaml").write_text(STUDY)
    for kill in KILLS[point]:
        Fork(folder, *COMMAND, **{VARIABLE: kill}).wait(-signal.SIGKILL)
    check_gone_on(folder, unbroken)


def test_killed_in_adoption(folder, unbroken):
    """A trial that was asked to stop, and whose adoption is then killed twice, is trained in the end."""
    (folder / "tiny.yaml").write_text(STUDY)
    number = interrupt(Fork(folder, *COMMAND), folder)
    for kill in KILLS["in_adoption"]:
        Fork(folder, *COMMAND, **{VARIABLE: kill}).wait(-signal.SIGKILL)
    assert f"going on with 1 interrupted trial: #{number}" in check_gone_on(folder, unbroken)
    assert trials(folder, NAME)[number].user_attrs["deaths"] == 2


def test_a_torn_upload_is_swept_away(folder, unbroken):
    """What a process that died in the middle of an upload left among a run's artifacts goes when it is completed."""
    (folder / "tiny.yaml").write_text(STUDY)
    Fork(folder, *COMMAND, **{VARIABLE: "between_stores:2"}).wait(-signal.SIGKILL)
    for run in client(folder).search_runs(["0"], "attributes.status = 'RUNNING'"):
        place = Path(run.info.artifact_uri) / "checkpoint"
        place.mkdir(parents=True)
        (place / ".artifact.uploading.abc").write_bytes(b"half of the weights")
    check_gone_on(folder, unbroken)


def test_killed_at_random_moments(tmp_path_factory, template, unbroken):
    """Killed twice at any moment, each of 20 sweeps ends as the one that nothing disturbed."""
    kills = 0
    for seed in range(SEEDS):
        rng, folder = random.Random(seed), begin(tmp_path_factory, template)
        for _ in range(2):
            sweep = Fork(folder, *COMMAND)
            sweep.process.join(timeout=rng.uniform(0.05, 0.7) * unbroken[2])
            sweep.send(signal.SIGKILL)
            sweep.process.join()
            kills += sweep.process.exitcode == -signal.SIGKILL
        check_gone_on(folder, unbroken)
    print(f"{kills} kills, {SEEDS} sweeps survived")
    assert kills >= SEEDS, "the kills came too late"
