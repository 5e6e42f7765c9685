"""Studies read from Optuna's tables without Optuna."""

import math
import sqlite3
from contextlib import closing

import optuna
import pytest

from sweeps.search import stored
from sweeps.search.tables import Direction, TableStorage, TrialState


def test_the_names_are_optunas():
    """States and directions are those of Optuna, with its numbers of the states."""
    states = [(state.name, state.value) for state in optuna.trial.TrialState]
    assert [(state.name, state.value) for state in TrialState] == states
    directions = [direction.name for direction in optuna.study.StudyDirection]
    assert [direction.name for direction in Direction] == directions


@pytest.fixture
def file(tmp_path):
    """A store with trials in all states, with values that are no numbers, and a study without any."""
    file = tmp_path / "optuna.db"
    storage = stored.open_storage(f"sqlite:///{file}", timeout=10)
    study = optuna.create_study(storage=storage, study_name="é", direction="maximize")
    study.set_user_attr("spec", {"of": None, "name": "ü"})
    lr = {"lr": optuna.distributions.FloatDistribution(0.1, 1.0)}
    ended = study.ask(lr)
    for epoch, value in enumerate((0.5, math.inf, -math.inf, math.nan)):
        ended.report(value, epoch)
    ended.set_user_attr("config", {"lr": 0.5, "text": "ß"})
    study.tell(ended, 0.75)
    study.tell(study.ask(lr), math.inf)
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    study.ask().report(1, 3)
    study.enqueue_trial({"lr": 0.25})
    optuna.create_study(storage=storage, study_name="two", directions=["minimize", "maximize"])
    return file


def told(study):
    """All that is read of a study, as text: a nan is not equal to itself."""
    trials = [
        (
            (trial.number, int(trial.state), trial.user_attrs, trial.values),
            (trial.intermediate_values, trial.datetime_start),
        )
        for trial in study.get_trials(deepcopy=False)
    ]
    directions = [direction.name for direction in study.directions]
    return repr((study.study_name, study.user_attrs, directions, trials))


def test_a_study_is_as_optuna_reads_it(file):
    """Its attributes, directions and trials, whatever their state and values are."""
    storage = stored.open_storage(f"sqlite:///{file}", timeout=10)
    with closing(sqlite3.connect(file)) as database:
        tables = TableStorage(database)
        for name in ("é", "two"):
            expected = optuna.load_study(storage=storage, study_name=name)
            assert told(tables.load_study(name)) == told(expected)
        names = [study.study_name for study in tables.get_all_studies()]
        assert names == [study.study_name for study in storage.get_all_studies()]
        with pytest.raises(KeyError):
            tables.load_study("nobody")


def test_nothing_is_written(file):
    """Neither by an attribute nor by a statement."""
    with closing(sqlite3.connect(file)) as database:
        study = TableStorage(database).load_study("é")
        with pytest.raises(TypeError, match="opened to be read"):
            study.set_user_attr("reason", "done")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            database.execute("DELETE FROM trials")


def test_trials_are_those_of_one_moment(file):
    """A trial that ends while they are read is wholly read as it was before."""
    storage = stored.open_storage(f"sqlite:///{file}", timeout=10)
    with closing(sqlite3.connect(file)) as database, closing(sqlite3.connect(file)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        study = TableStorage(database).load_study("é")
        before = told(study)

        def write(statement):
            if "FROM trial_user_attributes" in statement:
                database.set_trace_callback(None)
                writer.execute("UPDATE trial_values SET value = 0.25 WHERE value_type = 'FINITE'")
                writer.commit()

        database.set_trace_callback(write)
        assert told(study) == before
        changed = optuna.load_study(storage=storage, study_name="é")
        assert told(study) == told(changed) != before
