"""The saved view of a study: what it shows of which study. How it looks in the UI is `test_ui`'s."""

import json

import pytest
from support.records import MIXED, make_record, make_result

from pipeline.tracking import comparison_view
from sweeps.spec.dimension import Dimension

CONDITIONAL = (Dimension(field="depth", low=1, high=3, when={"family": ("cnn",)}),)


def state(**record):
    """The state that the view of a record holds."""
    kept = json.loads(comparison_view.saved_view(make_record([make_result(0, 0.9)], **record)))
    assert kept["name"] == "test"
    assert isinstance(kept["createdAt"], int), "with a text the view silently does not apply"
    return json.loads(kept["state"])


def cards(found, kind):
    """The cards of a kind."""
    return [card for card in found["compareRunCharts"] if card["type"] == kind]


@pytest.mark.parametrize(
    ("dimensions", "axes"),
    [
        (
            MIXED,
            ["family", "lr", "dropout", "batch_size"],
        ),  # four at most, of those that every trial has
        (MIXED[:2], ["family", "lr"]),
        (MIXED[2:4], ["dropout", "batch_size"]),
        (CONDITIONAL, None),
    ],
)
def test_axes_are_what_every_trial_has(dimensions, axes):
    """Parallel coordinates go over searched fields that no trial lacks; without any there are none."""
    found = cards(state(dimensions=dimensions), "PARALLEL")
    assert [card["selectedParams"] for card in found] == ([axes] if axes else [])
    assert all(card["selectedMetrics"] == ["best/val_acc"] for card in found)


@pytest.mark.parametrize(
    ("objective", "best", "curves"),
    [
        ("val_acc", "best/val_acc", ["val/acc", "val/loss", "train/loss"]),
        ("val_loss", "best/val_loss", ["val/loss", "train/loss"]),
        ("macro_f1", "best/val_macro_f1", ["val/macro_f1", "val/loss", "train/loss"]),
    ],
)
def test_it_follows_the_objective(objective, best, curves):
    """Sorted by the objective, the best first; its curve comes first, and no curve twice; losses on a log axis."""
    found = state(dimensions=MIXED, objective=objective, maximize=objective != "val_loss")
    assert (found["orderByKey"], found["orderByAsc"]) == (
        f"metrics.`{best}`",
        objective == "val_loss",
    )
    assert found["selectedColumns"][:4] == [
        f"metrics.`{best}`",
        "tags.`sweep.end`",
        "params.`family`",
        "params.`lr`",
    ]
    lines = cards(found, "LINE")
    assert [card["metricKey"] for card in lines] == curves
    assert all((card["scaleType"] == "log") == card["metricKey"].endswith("loss") for card in lines)


def test_every_card_has_a_section_that_is_open():
    """Each of our cards stands in one of our sections, which come before those that MLflow generates."""
    found = state(dimensions=MIXED)
    opened = [section["uuid"] for section in found["compareRunSections"] if section["display"]]
    assert opened == [section["uuid"] for section in found["compareRunSections"]][: len(opened)]
    assert {card["metricSectionId"] for card in found["compareRunCharts"]} == set(opened)
    uuids = [card["uuid"] for card in found["compareRunCharts"]]
    assert len(set(uuids)) == len(uuids)


def test_only_the_studys_trials():
    """The parent, and the trials of other studies, are filtered out; each study has a view of its own."""
    assert (
        state(dimensions=MIXED)["searchFilter"]
        == "tags.`sweep.study` = 'test' and tags.`sweep.trial` != ''"
    )
    assert comparison_view.view_key("a") != comparison_view.view_key("b")
    assert f"viewStateShareKey={comparison_view.view_key('a')}&" in comparison_view.comparison_link(
        "0", "a"
    )
