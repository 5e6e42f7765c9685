"""What a run's tags say is checked, because anybody may edit them: one line names the tag and the run."""

import re

import pytest
from mlflow.entities import Param, Run, RunData, RunInfo, RunTag

from pipeline.system.errors import UsageFailure
from pipeline.tracking import run_tags


def make_run(params=(), **tags):
    """A run with tags; their names are of ours."""
    info = RunInfo(
        run_id="r1",
        experiment_id="0",
        user_id="me",
        status="FINISHED",
        start_time=0,
        end_time=1,
        lifecycle_stage="active",
    )
    made = [RunTag(f"sweep.{key}", value) for key, value in tags.items()]
    return Run(info, RunData(params=[Param(*param) for param in params], tags=made))


def test_good_tags_are_read():
    """A study and a number, and what version 0.1.0 did not write."""
    run = make_run(study="mine", trial="7", duplicate_of="3")
    assert run_tags.read_study(run) == "mine"
    assert run_tags.read_number(run, run_tags.TRIAL) == 7
    assert run_tags.read_duplicate(run) == "mine#3"
    assert run_tags.read_duplicate(make_run(study="mine")) is None
    assert run_tags.read_objective(run, missing="val_loss") == "val_loss"
    assert run_tags.read_selection(run) == 1


@pytest.mark.parametrize(
    ("read", "tags", "words"),
    [
        (run_tags.read_study, {}, "sweep.study of run r1 .*: it is missing"),
        (run_tags.read_study, {"study": ""}, "sweep.study of run r1"),
        (run_tags.read_duplicate, {"study": "x", "duplicate_of": "y"}, "duplicate_of .* got 'y'"),
        (run_tags.read_duplicate, {"duplicate_of": "1"}, "sweep.study"),
        (run_tags.read_selection, {"selection": "-1"}, "sweep.selection"),
        (run_tags.read_selection, {"selection": "9" * 5000}, "sweep.selection"),
        (lambda run: run_tags.read_objective(run, "val_acc"), {"objective": "x"}, "one of val_acc"),
        *[
            (lambda run: run_tags.read_number(run, run_tags.TRIAL), {"trial": text}, "sweep.trial")
            for text in ("", "x", "-1", "1.5", "٣", "1" * 10, "\x1b[31m", "None")
        ],
    ],
)
def test_a_tag_that_no_command_wrote_is_named(read, tags, words):
    """With the remedy, and no control character."""
    with pytest.raises(UsageFailure, match=words) as raised:
        read(make_run(**tags))
    assert str(raised.value).endswith("; correct it in MLflow")
    assert not re.search(r"[\x00-\x1f]", str(raised.value))


def test_params_that_no_command_wrote_are_named():
    """A configuration is read from a run's params."""
    with pytest.raises(UsageFailure, match="of run r1 are no configuration: lr must be"):
        run_tags.read_config(make_run([("dataset", "digits"), ("lr", "much")]))
    for keywords in ("x", "3", "[" * 100_000):
        with pytest.raises(UsageFailure, match="of run r1 are no configuration"):
            run_tags.read_config(make_run(keywords=keywords))
