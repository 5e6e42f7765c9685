"""A study with a budget alone, through the commands."""

import optuna
import pytest
from mlflow import MlflowClient
from support.endtoend import furnish, pipeline, record

from sweeps.trial import COMPLETE, PRUNED

NAME = "budget-digits"
STUDY = """
dataset: digits
budget: 2
epochs: 3
search:
  lr: {low: 1.0e-3, high: 1.0e-2, log: true}
  layer_order: [conv-norm-act-pool-drop, conv-act-norm-pool-drop]
fixed: {width: 8, depth: 1, family: cnn}
"""


@pytest.fixture
def place(tmp_path, template, monkeypatch):
    """A folder with ready stores and a study with a budget, as the working folder."""
    furnish(tmp_path, template)
    (tmp_path / "budget.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def epochs(place):
    return sum(len(result.history) for result in record(place, NAME).results)


def parent(place):
    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    return client.get_run(record(place, NAME).parent_run_id)


def test_a_budget_is_searched_told_and_raised(place, capsys):
    """It is used up, at least one trial is complete, and nothing speaks of a number of trials."""
    assert pipeline("sweep", "budget.yaml") == 0
    output = capsys.readouterr().out
    assert f"study {NAME}: 0 trials ended, a budget of 2 whole trainings; stores in" in output
    run = parent(place)
    assert run.data.params["plan.budget"] == "2"
    assert "plan.trials" not in run.data.params
    first = record(place, NAME).results
    assert run.data.tags["sweep.trials"] == str(len(first))
    assert 3 < epochs(place) <= 6
    assert {result.state for result in first} == {COMPLETE, PRUNED}

    assert pipeline("sweep", "budget.yaml") == 0
    assert record(place, NAME).results == first

    assert pipeline("sweep", "budget.yaml", "--budget", "4") == 0
    output = capsys.readouterr().out
    assert f"{len(first)} trials ended, a budget of 4 whole trainings" in output
    later = record(place, NAME).results
    assert epochs(place) > 6
    assert [r.config for r in later[: len(first)]] == [r.config for r in first]
    assert pipeline("finalists", NAME, "--top", "1", "--seeds", "2") == 0


def test_a_budget_of_time_ends(place, capsys):
    """A time of training ends a sweep as a number of trainings does."""
    assert pipeline("sweep", "budget.yaml", "--set", "budget=0.02min") in (0, 3)
    output = capsys.readouterr().out
    assert "a budget of 0.02min of training" in output
    study = optuna.load_study(study_name=NAME, storage=f"sqlite:///{place / 'optuna.db'}")
    assert {trial.state.is_finished() for trial in study.trials} == {True}
