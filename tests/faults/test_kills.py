"""A sweep is killed at every failpoint and at random moments, and the same command repairs it.

The invariant of both stores, the list of trials and the weights equal an unbroken sweep's.
"""

import contextlib
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from support.endtoend import (
    check_invariant,
    check_paused,
    children,
    client,
    decisions,
    furnish,
    trial_list,
)
from support.forks import Fork, trials, weights
from support.networks import FINE

from pipeline.checkpoints import Folder, trial_folder
from pipeline.system.errors import StorageFailure
from pipeline.system.failpoints import POINTS, VARIABLE
from sweeps.search.stored_trial import is_paused

pytestmark = pytest.mark.slow

# Each trial pauses after its first epoch. With one worker as with two, three of six go on.
STUDY = """
dataset: digits
trials: 6
epochs: 4
search:
  family: [cnn, mlp]
  dropout: {low: 0.1, high: 0.4}
  lr: {low: 1.0e-3, high: 1.0e-2, log: true}
fixed: {width: 8, depth: 1, batch_size: 256, schedule: cosine}
start_with: [{family: cnn}]
"""
NAME = "tiny-digits"
TOTAL = 6
COMMAND = ("sweep", "tiny.yaml")

# Where each kill strikes; the later ones strike while the first is put right. An epoch has five
# steps. A state is two files, its sum first; at the end of a trial, the best weights are two more.
KILLS = {
    "after_ask": ["after_ask", "after_ask:2"],  # the first before MLflow has the study's run
    "after_promotion": ["after_promotion:2", "in_adoption"],
    "mid_epoch": ["mid_epoch:2", "mid_epoch:28"],
    "in_checkpoint_write": ["in_checkpoint_write:12"],
    "after_checkpoint": ["after_checkpoint:5"],
    "after_progress": ["after_progress:3", "after_progress"],
    "before_pause": ["before_pause:3", "in_adoption"],
    "after_pause": ["after_pause:4", "after_promotion"],
    "in_settling": ["in_settling:2", "in_settling"],
    "before_tell": ["before_tell:2"],
    "between_stores": ["between_stores:2"],
    "before_cleanup": ["before_cleanup:2"],
    "after_sharing": ["after_sharing"],
    "in_recovery": ["between_stores:2", "in_recovery", "in_recovery"],
    # of a trial that was asked to stop, more often than a process of its own may die
    "in_adoption": ["in_adoption"] * 4,
}
# The points of the process that decides; the others are in that which trains, with two workers.
TWO_WORKERS = ("after_ask", "after_promotion", "before_pause", "after_pause", "in_settling")
# The points of a command that goes on with finalists, which tests/jobs/test_finalists.py kills.
OF_FINALISTS = {"before_finalists"}
# Those of commands that change a whole study, which tests/jobs/test_keeping.py kills.
OF_KEEPING = {"after_note", "after_studies", "after_runs", "before_forgetting", "in_restoring"}
SEEDS = 5


def begin(tmp_path_factory, template):
    """A folder with ready stores and the study."""
    return furnish(tmp_path_factory.mktemp("killed"), template, STUDY)


def sweep(folder, workers=1, **environment):
    """Begin the sweep, or go on with it."""
    return Fork(folder, *COMMAND, "--workers", str(workers), **environment)


def outcome(folder):
    """What must be equal after kills: the list of trials, the decisions and the weights."""
    return trial_list(folder, NAME), decisions(folder, NAME), weights(folder, NAME)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, template):
    """The outcome of the sweep that nothing disturbs, by workers, and the seconds that one worker takes."""
    Fork(begin(tmp_path_factory, template), "--help").wait(0)  # starts the server
    found = {}
    for workers in (2, 1):
        folder = begin(tmp_path_factory, template)
        began = time.monotonic()
        sweep(folder, workers).wait(0)
        seconds = time.monotonic() - began
        check_invariant(folder, NAME, TOTAL)
        found[workers] = outcome(folder)
        ends = [end for _, end, _ in found[workers][0]]
        assert {"complete", "pruned"} == set(ends)
        assert any(key.startswith("go ") for key in found[workers][1])
    return found, seconds


def ended(folder):
    """The trials that have ended: when, and with what."""
    return {
        t.number: (t.datetime_complete, t.user_attrs["result"])
        for t in trials(folder, NAME)
        if t.datetime_complete
    }


def check_gone_on(folder, unbroken, workers=1):
    """Give the same command once more: it ends as if nothing had happened, and runs nothing that had ended."""
    before = ended(folder)
    output = sweep(folder, workers).wait(0)
    check_invariant(folder, NAME, TOTAL)
    assert {number: end for number, end in ended(folder).items() if number in before} == before
    assert outcome(folder) == unbroken[0][workers]
    return output


def interrupt(folder):
    """Ask a sweep to stop in the middle of a trial, while others are paused; the number of the trial."""
    while True:
        began = sweep(folder)
        while True:
            assert began.process.is_alive(), "it has ended before that"
            time.sleep(0.01)
            began.send(signal.SIGSTOP)
            found = []
            with contextlib.suppress(StorageFailure):  # it was stopped in the middle of a write
                found = trials(folder, NAME)
            paused = [trial for trial in found if is_paused(trial)]
            in_training = [
                trial for trial in found if not (trial.state.is_finished() or trial in paused)
            ]
            if len(paused) > 1 and in_training:
                began.send(signal.SIGTERM)
            began.send(signal.SIGCONT)
            if len(paused) > 1 and in_training:
                break
        began.wait(143)
        for trial in trials(folder, NAME):
            if trial.user_attrs.get("interrupted") and not is_paused(trial):
                return trial.number


def test_every_point_is_killed_at():
    """No failpoint is without its kill."""
    assert KILLS.keys() | OF_FINALISTS | OF_KEEPING == set(POINTS)


@pytest.mark.parametrize(
    ("point", "workers"),
    [(point, 1) for point in KILLS if point != "in_adoption"]
    + [(point, 2) for point in TWO_WORKERS],
)
def test_killed_at_a_failpoint(folder, unbroken, point, workers):
    """Killed there, and again while that is put right, the sweep ends as an unbroken one."""
    (folder / "tiny.yaml").write_text(STUDY)
    for kill in KILLS[point]:
        sweep(folder, workers, **{VARIABLE: kill}).wait(-signal.SIGKILL)
    check_gone_on(folder, unbroken, workers)


def test_killed_in_adoption(folder, unbroken):
    """A trial that was asked to stop, and whose adoption is then killed often, is trained in the end."""
    (folder / "tiny.yaml").write_text(STUDY)
    number = interrupt(folder)
    assert len(check_paused(folder, NAME)) > 1
    for kill in KILLS["in_adoption"]:
        sweep(folder, **{VARIABLE: kill}).wait(-signal.SIGKILL)
    assert not trials(folder, NAME)[number].user_attrs.get("deaths"), "nobody's fault"
    assert f"going on with 1 interrupted trial: #{number}" in check_gone_on(folder, unbroken)


# A network of a user's own, with a checkpoint after every epoch also in a process of its own.
MINE = f"""
import pipeline.training.epochs
{FINE}
pipeline.training.epochs.SAVE_EVERY = 0
"""
LONG = """
dataset: digits
trials: 1
epochs: 8
pruner: none
search: {lr: {low: 1.0e-3, high: 1.0e-2, log: true}}
fixed: {family: 'mine:Fine', batch_size: 256}
"""


def test_one_long_trial_is_killed_five_times(tmp_path_factory, template):
    """Each command is killed after an epoch more: the trial is complete in the end, and its weights are the same."""
    outcomes = []
    for kills in (0, 5):
        folder = furnish(tmp_path_factory.mktemp("long"), template, LONG)
        (folder / "mine.py").write_text(MINE)
        reached = [0]
        for _ in range(kills):
            # A trial that goes on reports its checkpoint first.
            point = "after_progress" if reached == [0] else "after_progress:2"
            sweep(folder, **{VARIABLE: point}).wait(-signal.SIGKILL)
            reached.append(Folder(trial_folder(folder, NAME, 0)).newest_epoch())
        assert reached == sorted(set(reached)), "each came further"
        sweep(folder).wait(0)
        check_invariant(folder, NAME, 1)
        assert not any(trial.user_attrs.get("deaths") for trial in trials(folder, NAME))
        outcomes.append(outcome(folder))
    assert outcomes[0] == outcomes[1]
    assert [end for _, end, _ in outcomes[0][0]] == ["complete"]


@pytest.mark.parametrize("damage", ["deleted", "damaged"])
def test_the_state_of_a_paused_trial_is_lost(folder, unbroken, damage):
    """It is trained again from its start to the same weights, and MLflow has each of its epochs once."""
    (folder / "tiny.yaml").write_text(STUDY)
    sweep(folder, **{VARIABLE: "after_promotion:2"}).wait(-signal.SIGKILL)
    (number,) = [
        trial.number
        for trial in trials(folder, NAME)
        if not (trial.state.is_finished() or is_paused(trial))
    ]
    place = trial_folder(folder, NAME, number)
    if damage == "deleted":
        shutil.rmtree(place)
    for state in place.glob("epoch-*.safetensors"):
        state.write_bytes(state.read_bytes()[:-1] + b"?")
    check_gone_on(folder, unbroken)


def test_extended(folder, unbroken):
    """With a larger total, trials that had ended as pruned are open again, in their own runs, also after a kill."""
    (folder / "tiny.yaml").write_text(STUDY)
    options = ("--trials", "4", "--workers", "1")
    Fork(folder, "sweep", "tiny.yaml", *options).wait(0)
    check_invariant(folder, NAME, 4)
    runs = {number: run.info.run_id for number, run in children(folder, NAME).items()}
    sweep(folder, **{VARIABLE: "after_pause"}).wait(-signal.SIGKILL)
    sweep(folder, **{VARIABLE: "in_settling"}).wait(-signal.SIGKILL)
    sweep(folder).wait(0)
    check_invariant(folder, NAME, TOTAL, ends_before=1)
    assert runs.items() <= {n: run.info.run_id for n, run in children(folder, NAME).items()}.items()
    expected, _, expected_weights = unbroken[0][1]
    found = trial_list(folder, NAME)
    assert [config for config, _, _ in found] == [config for config, _, _ in expected]
    same = [n for n in range(TOTAL) if found[n] == expected[n]]
    assert len(same) >= 3
    assert all(weights(folder, NAME)[n] == expected_weights[n] for n in same)


def test_a_torn_upload_is_swept_away(folder, unbroken):
    """What a process that died in the middle of an upload left among a run's artifacts goes when it is completed."""
    (folder / "tiny.yaml").write_text(STUDY)
    sweep(folder, **{VARIABLE: "between_stores:2"}).wait(-signal.SIGKILL)
    for run in client(folder).search_runs(["0"], "attributes.status = 'RUNNING'"):
        place = Path(run.info.artifact_uri) / "checkpoint"
        place.mkdir(parents=True)
        (place / ".artifact.uploading.abc").write_bytes(b"half of the weights")
    check_gone_on(folder, unbroken)


def test_killed_at_random_moments(tmp_path_factory, template, unbroken):
    """Killed twice at any moment, each of 8 sweeps ends as the one that nothing disturbed."""
    kills = 0
    for seed in range(SEEDS):
        rng, folder = random.Random(seed), begin(tmp_path_factory, template)
        for _ in range(2):
            began = sweep(folder)
            began.process.join(timeout=rng.uniform(0.05, 0.7) * unbroken[1])
            began.send(signal.SIGKILL)
            began.process.join()
            kills += began.process.exitcode == -signal.SIGKILL
        check_gone_on(folder, unbroken)
    print(f"{kills} kills, {SEEDS} sweeps survived")
    assert kills >= SEEDS, "the kills came too late"
