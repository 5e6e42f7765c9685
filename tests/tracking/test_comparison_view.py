"""The contents of a study's saved view. `test_ui` looks at it in MLflow's UI."""

import json

import pytest
from support.records import MIXED, make_record, make_result

from pipeline.tracking import comparison_view
from sweeps.spec.dimension import Dimension

CONDITIONAL = (Dimension(field="depth", low=1, high=3, when={"family": ("cnn",)}),)


def view_state(**record):
    """The state in the saved view of a record."""
    text = comparison_view.saved_view(make_record([make_result(0, 0.9)], **record))
    view = json.loads(text)
    assert view["name"] == "test"
    assert isinstance(view["createdAt"], int), "with a text the view silently does not apply"
    return json.loads(view["state"])


def charts(state, kind):
    """The charts of a kind."""
    return [chart for chart in state["compareRunCharts"] if chart["type"] == kind]


@pytest.mark.parametrize(
    ("dimensions", "axes"),
    [
        # At most four of the fields that every trial has.
        (MIXED, ["family", "log10_lr", "dropout", "batch_size"]),
        (MIXED[:2], ["family", "log10_lr"]),
        (MIXED[2:4], ["dropout", "batch_size"]),
        (CONDITIONAL, None),
    ],
)
def test_axes_are_fields_of_every_trial(dimensions, axes):
    """Parallel coordinates show searched fields that all trials have; without any, no chart."""
    coordinates = charts(view_state(dimensions=dimensions), "PARALLEL")
    assert [chart["selectedParams"] for chart in coordinates] == ([axes] if axes else [])
    assert all(chart["selectedMetrics"] == ["best/val_acc"] for chart in coordinates)


@pytest.mark.parametrize(
    ("objective", "best", "curves"),
    [
        ("val_acc", "best/val_acc", ["val/acc", "val/loss", "train/loss"]),
        ("val_loss", "best/val_loss", ["val/loss", "train/loss"]),
        ("macro_f1", "best/val_macro_f1", ["val/macro_f1", "val/loss", "train/loss"]),
    ],
)
def test_view_follows_the_objective(objective, best, curves):
    """Trials are sorted by the objective, whose curve comes first; losses have a log axis."""
    state = view_state(dimensions=MIXED, objective=objective, maximize=objective != "val_loss")
    assert state["orderByKey"] == f"metrics.`{best}`"
    assert state["orderByAsc"] == (objective == "val_loss")
    accuracy = ["metrics.`best/val_acc`"] if best != "best/val_acc" else []
    columns = [f"metrics.`{best}`", *accuracy, "tags.`sweep.end`", "params.`family`", "params.`lr`"]
    assert state["selectedColumns"][: len(columns)] == columns
    lines = charts(state, "LINE")
    assert [chart["metricKey"] for chart in lines] == curves
    for chart in lines:
        assert (chart["scaleType"] == "log") == chart["metricKey"].endswith("loss")


def test_a_finished_study_is_sorted_as_in_the_report():
    """Once the runs have their ranks, these sort the table: a pruned trial's value does not."""
    record = make_record([make_result(0, 0.9)])
    state = json.loads(json.loads(comparison_view.saved_view(record, has_ranks=True))["state"])
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`sweep/rank`", True)
    assert state["selectedColumns"][:2] == ["metrics.`sweep/rank`", "metrics.`best/val_acc`"]


def test_every_chart_has_an_open_section():
    """Each of our charts is in one of our sections, which come before those of MLflow."""
    state = view_state(dimensions=MIXED)
    sections = [section["uuid"] for section in state["compareRunSections"]]
    opened = [section["uuid"] for section in state["compareRunSections"] if section["display"]]
    assert opened == sections[: len(opened)]
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == set(opened)
    uuids = [chart["uuid"] for chart in state["compareRunCharts"]]
    assert len(set(uuids)) == len(uuids)


def test_only_trials_of_the_study():
    """The parent and the trials of other studies are filtered out, and each study has a view."""
    search_filter = view_state(dimensions=MIXED)["searchFilter"]
    assert search_filter == "tags.`sweep.study` = 'test' and tags.`sweep.trial` != ''"
    key = comparison_view.view_key("a")
    assert key != comparison_view.view_key("b")
    assert f"viewStateShareKey={key}&" in comparison_view.comparison_link("0", "a")
