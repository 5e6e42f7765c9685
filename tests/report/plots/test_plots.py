import dataclasses
import re

import pytest
from matplotlib.figure import Figure
from support.records import (
    DROPOUT,
    LR,
    MIXED,
    POINTS,
    make_record,
    make_result,
    mixed_study,
    repeated_study,
    study_of_sizes,
    study_with_finalists,
)

from pipeline.report.plots import files, registry
from pipeline.report.plots.base import Output
from pipeline.system.text import clean
from sweeps.spec.reference import Reference
from sweeps.trial import FAILED, PRUNED, RUNNING

HOSTILE = (
    "a$b^$c",
    "<b>",
    "naïve Ωμέγα",
    "\U0001f996",
    "x\x1b[31m\n\x00y",
    "$\\frac{$",
    "中文",
    "_hidden",
    "",
    "../../etc",
)
LONG = tuple(f"{i:03d} {'a class of forty characters ' * 2}"[:40] for i in range(200))
# Of a study over many fields, without published figures or finalists.
ALL = set(registry.PLOTS) - {"published", "data_size", "factors", "factor_curves", "finalists"}
# With few trials these would show nothing.
OF_MANY = {"importance", "edf", "contour"}


def drawn_plots(record, tmp_path, monkeypatch):
    """Draw with few pixels, and return the names of the plots drawn."""
    drawn = files.draw_files(record, tmp_path / "plots", output=Output(dpi=40))
    paths = [path for plot in drawn for path in plot.paths]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    return {path.stem for path in paths}


def study_of(state, **options):
    """A study with three trials of a state."""
    value = 0.5 if state == PRUNED else None
    results = [make_result(number, value, state=state, **options) for number in range(3)]
    return make_record(results, dimensions=MIXED)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param(make_record(dimensions=MIXED), set(), id="no trials"),
        pytest.param(mixed_study(24), ALL, id="24 trials"),
        pytest.param(
            mixed_study(1, epochs=1, objective="val_loss", maximize=False),
            ALL - {"pareto", "pruning", "loss_deviation"} - OF_MANY,
            id="one trial of one epoch, minimised",
        ),
        pytest.param(
            mixed_study(3, classes=LONG), ALL - OF_MANY, id="200 classes of 40 characters"
        ),
        pytest.param(
            study_of(PRUNED),
            ALL - {"confusion", "reliability", "pareto"} - OF_MANY,
            id="only pruned",
        ),
        pytest.param(
            study_of(FAILED),
            {"optimization_history", "learning_curves", "loss_deviation", "timeline"},
            id="only diverged",
        ),
        pytest.param(
            study_of(FAILED, epochs=0),
            {"optimization_history"},
            id="failed before the first epoch",
        ),
        pytest.param(
            study_of(RUNNING), {"learning_curves", "loss_deviation", "timeline"}, id="only running"
        ),
    ],
)
def test_draws_plots_with_something_to_show(record, expected, tmp_path, monkeypatch):
    """In any state of a study, each plot with something to show is a PNG, and no other is drawn."""
    assert drawn_plots(record, tmp_path, monkeypatch) == expected


def hostile_study():
    """A study whose names are mathematics, markup, control characters or missing in the font."""
    record = mixed_study(4, classes=HOSTILE)
    config = dataclasses.replace(
        record.results[0].config, family="odd:$x^$\U0001f996\x1b", activation="$_$"
    )
    results = (dataclasses.replace(record.results[0], config=config), *record.results[1:])
    return dataclasses.replace(
        record, name="$a^$\U0001f996\x00<b>", objective="$o^$", results=results
    )


def test_hostile_names(tmp_path, monkeypatch):
    """Names of mathematics, markup or undrawable characters are drawn as plain text."""
    record = dataclasses.replace(hostile_study(), finalists=hostile_study())
    assert drawn_plots(record, tmp_path, monkeypatch) == (ALL | {"finalists"}) - OF_MANY


@pytest.mark.parametrize("name", registry.PLOTS)
def test_figures_are_their_own(name):
    """A plot is one figure with a title (the page and the caption name the study), an explanation and a description."""
    plot = registry.PLOTS[name]
    if name in ALL:
        record = mixed_study(24)
    elif name == "finalists":
        record = study_with_finalists()
    elif name == "data_size":
        record = study_of_sizes({50: 0.8, 100: 0.9})
    else:
        record = repeated_study(
            POINTS, (LR, DROPOUT), method="one_factor", reference=[{"test_acc": 0.9}]
        )
    info = plot.info(record)
    figure = plot.draw(info)
    assert isinstance(figure, Figure)
    assert figure.get_suptitle()
    assert "test" not in figure.get_suptitle()
    assert plot.title
    assert re.fullmatch(r"[A-Z][^.]+\.", plot.about)
    assert re.fullmatch(r"[A-Z0-9#].*\d.*\.", plot.alt(info))


@pytest.mark.parametrize("name", registry.PLOTS)
def test_words_are_safe(name):
    """A text alternative is one line that any terminal and page can show, despite hostile names."""
    record = hostile_study()
    reference = (Reference.model_validate({"name": HOSTILE[4], "when": {}, "test_acc": 0.5}),)
    record = dataclasses.replace(record, reference=reference, finalists=record, method="one_factor")
    plot = registry.PLOTS[name]
    info = plot.info(record)
    text = "" if info is None else plot.alt(info)
    assert text == clean(text)


@pytest.mark.parametrize("count", [1, 15])
def test_published_hostile(count, tmp_path, monkeypatch):
    """One reference is drawn as well as fifteen, and hostile names are plain text."""
    points = [({"lr": 0.001 * (i + 1)}, 0.9) for i in range(count)]
    reference = [
        {"name": (HOSTILE * 2)[i], "when": {"lr": 0.001 * (i + 1)}, "test_acc": 0.01 * i}
        for i in range(count)
    ]
    record = repeated_study(points, (LR,), reference=reference, method="grid")
    assert {"published"} <= drawn_plots(record, tmp_path, monkeypatch)
