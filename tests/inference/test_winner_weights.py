"""The run of a study has its winner's weights, too: always a whole file, and never that of another network for long."""

import dataclasses

import pytest
from support.records import make_record, make_result

from pipeline import checkpoints
from pipeline.checkpoints import BEST
from pipeline.inference import find, winner_weights
from pipeline.stores import locations
from pipeline.system import failpoints
from pipeline.system.files import folder_size
from pipeline.tracking.run_tags import WEIGHTS_OF
from pipeline.tracking.tracker import Tracker
from sweeps.analysis.facts import ChosenFinalists

DATA = {"name": "digits", "digest": "abc", "source": "data"}
WEIGHTS = {0: b"of the former winner", 1: b"of the winner"}


@pytest.fixture(params=["on this disk", "on a server"])
def tracker(request, folder, monkeypatch):
    """A tracker; on a server, artifacts are in no folder of this machine as far as it knows."""
    if request.param == "on a server":
        monkeypatch.setattr(Tracker, "artifacts_path", lambda *_: None)
    made = Tracker(f"sqlite:///{folder / 'mlflow.db'}", experiment="Default")
    yield made
    made.close()


@pytest.fixture
def study(tracker, folder):
    """A study whose runs have weights: trial 0 won at first, and trial 1 is better."""
    parent = tracker.open_parent("study", None, "key", {})
    results = []
    for number, content in WEIGHTS.items():
        result = make_result(number, 0.5 + number / 10)
        run_id, _ = tracker.open_trial(parent, "study", number, result.config, DATA)
        file = folder / "mlruns" / "0" / run_id / "artifacts" / "checkpoint" / BEST
        checkpoints.write(file, content)
        results.append(dataclasses.replace(result, run_id=run_id, checkpoint=str(file.parent)))
    return make_record(results, parent_run_id=parent)


def at_first(study):
    """The study when trial 0 alone had ended."""
    return dataclasses.replace(study, results=study.results[:1])


def as_finalists(study):
    """The study, were it one of finalists."""
    chosen = ChosenFinalists(
        of="study",
        trials=(0, 1),
        top=2,
        seeds=1,
        seed=0,
        objective="val_acc",
        runtime={},
        configs=(),
    )
    facts = dataclasses.replace(study.facts, finalists=chosen)
    return dataclasses.replace(study, facts=facts)


def shared(folder, study):
    """The weights that a reader finds at the study's run."""
    return checkpoints.read(
        folder / "mlruns" / "0" / study.parent_run_id / "artifacts" / "checkpoint" / BEST
    )


def test_the_winners_weights_are_the_studys(tracker, folder, study):
    """They take the place of the former winner's, lead to its run, and take no room on the same disk."""
    assert not winner_weights.share(tracker, as_finalists(study)), "their study's run has them"
    assert not winner_weights.are_lacking(tracker, study), "an earlier version has put none there"
    size = folder_size(folder / "mlruns")
    for record in (at_first(study), study, study):
        assert winner_weights.share(tracker, record)
        winner = record.results[-1]
        assert shared(folder, study) == WEIGHTS[winner.number]
        with find.read_run(locations.locate(), study.parent_run_id) as (_, run):
            assert run.info.run_id == winner.run_id
        assert not winner_weights.are_lacking(tracker, record)
    assert winner_weights.are_lacking(tracker, at_first(study))
    if tracker.artifacts_path(study.parent_run_id) is not None:
        sums = 2 * 64 + 100
        assert folder_size(folder / "mlruns") < size + sums


def test_lost_weights_are_not_replaced_by_others(tracker, folder, study):
    """The winner's own stay at the study's run when its trial loses them; a former winner's do not."""
    winner_weights.share(tracker, study)
    tracker.drop_artifacts(study.results[1].run_id, "checkpoint")
    assert winner_weights.share(tracker, study)
    assert shared(folder, study) == WEIGHTS[1]
    winner_weights.share(tracker, at_first(study))
    assert not winner_weights.share(tracker, study)
    assert not tracker.artifact_sizes(study.parent_run_id, "checkpoint")
    assert not winner_weights.are_lacking(tracker, study), "the trial's run lacks them"
    checkpoints.write(
        folder / "mlruns" / "0" / study.results[1].run_id / "artifacts" / "checkpoint" / BEST,
        WEIGHTS[1],
    )
    assert winner_weights.are_lacking(tracker, study)


def test_a_winner_whose_run_is_gone(tracker, study):
    """With the tracking store lost, the runs of finalists are made again later than that of their study, or never."""
    winner_weights.share(tracker, at_first(study))
    gone = dataclasses.replace(study.results[1], run_id="0" * 32)
    study = dataclasses.replace(study, results=(study.results[0], gone))
    assert not winner_weights.share(tracker, study)
    assert not winner_weights.are_lacking(tracker, study)
    assert not tracker.artifact_sizes(study.parent_run_id, "checkpoint")


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


def kill_at(patch, count):
    """Be killed at one of the moments at which a part of the weights is in its place."""
    passages = iter(range(count))

    def pass_or_die(*_):
        if next(passages, None) is None:
            raise Killed

    put = Tracker.put_artifact

    def put_or_die(*arguments):
        put(*arguments)
        pass_or_die()

    patch.setattr(failpoints, "reach", pass_or_die)
    patch.setattr(Tracker, "put_artifact", put_or_die)


@pytest.mark.slow
def test_killed_on_the_way(tracker, folder, study):
    """At any moment the former winner's weights or the winner's are there, whole; the next command ends it."""
    for count in range(4):
        winner_weights.share(tracker, at_first(study))
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            kill_at(patch, count)
            winner_weights.share(tracker, study)
        assert shared(folder, study) in WEIGHTS.values()
        assert tracker.read_tag(study.parent_run_id, WEIGHTS_OF) != study.results[1].run_id
        assert winner_weights.share(tracker, study)
        assert shared(folder, study) == WEIGHTS[1]
    assert not list(folder.rglob("*.tmp"))
