"""Whole studies as rows: renamed wherever they are named, deleted at once, and carried to another store unchanged."""

import json

import optuna
import pytest

from sweeps.search import rows, stored
from sweeps.search.rows import DamagedRowsError, StudyRows, _renamed_command


@pytest.fixture
def storage(tmp_path):
    """A store of studies in a file, with two studies that name a third, and one of another program."""
    storage = stored.open_storage(f"sqlite:///{tmp_path / 'optuna.db'}", timeout=10)
    first = optuna.create_study(storage=storage, study_name="first", direction="maximize")
    first.set_user_attr("spec", {"of": None})
    first.set_user_attr("facts", {"study": "first"})
    first.set_user_attr("command", "pipeline sweep first.yaml")
    trial = first.ask({"lr": optuna.distributions.FloatDistribution(0.1, 1.0)})
    trial.report(float("inf"), 1)
    trial.set_user_attr("config", {"lr": 0.5})
    first.tell(trial, 0.75)
    first.ask()
    later = optuna.create_study(storage=storage, study_name="first.finalists")
    later.set_user_attr("facts", {"study": "first.finalists", "finalists": {"of": "first"}})
    later.set_user_attr("command", "pipeline finalists first --refit")
    other = optuna.create_study(storage=storage, study_name="other")
    other.set_user_attr("spec", {"of": "first", "warm_start": ["first", "older"]})
    other.set_user_attr("facts", {"warm_start": {"sources": [{"name": "first"}], "first": []}})
    other.set_user_attr("command", "pipeline sweep --name first")  # some other store's
    optuna.create_study(storage=storage, study_name="someone's")
    return storage


def attrs(storage, name):
    """The attributes of a study."""
    return optuna.load_study(storage=storage, study_name=name).user_attrs


def test_renamed_wherever_it_is_named(storage):
    """Its finalists, those that began from it, and the command that goes on with it follow; other commands do not."""
    assert rows.others_that_name(storage, "first") == ["other"]
    rows.rename_studies(storage, {"first": "1st", "first.finalists": "1st.finalists"})
    assert rows.names(storage) == {"1st", "1st.finalists", "other", "someone's"}
    assert attrs(storage, "1st")["facts"] == {"study": "first"}, "which is its file's name"
    assert attrs(storage, "1st")["command"] == "pipeline sweep first.yaml --name 1st"
    finalists = attrs(storage, "1st.finalists")
    assert finalists["facts"] == {"study": "1st.finalists", "finalists": {"of": "1st"}}
    assert finalists["command"] == "pipeline finalists 1st --refit"
    other = attrs(storage, "other")
    assert other["spec"] == {"of": "1st", "warm_start": ["1st", "older"]}
    assert other["facts"]["warm_start"]["sources"] == [{"name": "1st"}]
    assert other["command"] == "pipeline sweep --name first"
    assert rows.others_that_name(storage, "1st") == ["other"]


@pytest.mark.parametrize(
    ("command", "renamed"),
    [
        ("pipeline sweep", "pipeline sweep --name 'a b'"),
        ("pipeline sweep x.yaml --name old -v", "pipeline sweep x.yaml --name 'a b' -v"),
        ("pipeline sweep --name=old", "pipeline sweep '--name=a b'"),
        ("pipeline finalists old --top 3", "pipeline finalists 'a b' --top 3"),
        ("pipeline sweep 'unclosed", "pipeline sweep 'unclosed"),
        ("", ""),
    ],
)
def test_a_command_goes_on_with_the_new_name(command, renamed):
    """The name is replaced where it stands, and added where the study had it from its file."""
    assert _renamed_command(command, {"old": "a b"}) == renamed


def test_deleted_at_once(storage):
    """Nothing of the studies stays in any table, and all of the others does."""
    kept = rows.read_rows(storage, "other")
    rows.delete_studies(storage, ["first", "first.finalists", "never there"])
    assert rows.names(storage) == {"other", "someone's"}
    assert rows.read_rows(storage, "other") == kept
    with storage.engine.connect() as database:
        for table in ("trials", "trial_params", "trial_user_attributes", "trial_values"):
            assert not database.exec_driver_sql(f"SELECT * FROM {table}").all()


def test_carried_to_another_store(storage, tmp_path):
    """States, times, values beyond numbers and attributes are the same there; a taken name is refused."""
    text = rows.read_rows(storage, "first").to_json()
    assert json.loads(text)["trials"][0]["state"] == "COMPLETE"
    other = stored.open_storage(f"sqlite:///{tmp_path / 'other.db'}", timeout=10)
    rows.insert_studies(other, [StudyRows.from_json(text)])
    assert rows.read_rows(other, "first") == rows.read_rows(storage, "first")
    before, after = (
        optuna.load_study(storage=each, study_name="first").get_trials(deepcopy=False)
        for each in (storage, other)
    )
    assert [trial.state for trial in after] == [trial.state for trial in before]
    assert after[0].intermediate_values == {1: float("inf")}
    assert (after[0].params, after[0].datetime_complete) == (
        before[0].params,
        before[0].datetime_complete,
    )
    with pytest.raises(DamagedRowsError, match="UNIQUE"):
        rows.insert_studies(other, [StudyRows.from_json(text)])
    assert rows.read_rows(storage, "nobody") is None


def test_what_is_no_study(storage, tmp_path):
    """Rows with other types, states or keys than Optuna's are refused, and nothing is inserted."""
    text = rows.read_rows(storage, "first").to_json()
    other = stored.open_storage(f"sqlite:///{tmp_path / 'other.db'}", timeout=10)
    for change in (
        {"state": "DONE"},
        {"number": "1"},
        {"number": 2**40},
        {"start": "yesterday"},
        {"extra": 1},
        {"params": [["lr", "much", "{}"]]},
        {"values": [[0, 1.0, "BIG"]]},
        {"values": [[0, 1.0, "FINITE"], [0, 1.0, "FINITE"]]},
        {"user_attrs": {"config": 3}},
    ):
        data = json.loads(text)
        data["trials"][0] |= change
        with pytest.raises(DamagedRowsError):
            rows.insert_studies(other, [StudyRows.from_json(json.dumps(data).encode())])
    assert rows.names(other) == set()
