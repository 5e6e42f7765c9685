import dataclasses
import math

import numpy as np
import pytest
from helpers import DROPOUT, LR, MIXED, POINTS, make_record, make_result, mixed_study, repeated
from matplotlib.figure import Figure

from pipeline import (
    draw_best,
    draw_fields,
    draw_scores,
    draw_trials,
    drawing,
    info_best,
    info_fields,
    info_scores,
    info_trials,
    plots,
)
from sweeps.dimension import Dimension
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
ALL = set(plots.PLOTS) - {"published", "factors"}  # of a study over many fields without published figures


def save(record, tmp_path, monkeypatch):
    """Save with few pixels, and return the names of the plots made."""
    monkeypatch.setattr(plots, "DPI", 40)
    paths = plots.save(record, tmp_path / "plots")
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    return {path.stem for path in paths}


def only(state, **options):
    return make_record(
        [make_result(i, 0.5 if state == PRUNED else None, state=state, **options) for i in range(3)], dimensions=MIXED
    )


@pytest.mark.parametrize(
    ("record", "made"),
    [
        pytest.param(make_record(dimensions=MIXED), set(), id="no trials"),
        pytest.param(mixed_study(24), ALL, id="24 trials"),
        pytest.param(
            mixed_study(1, epochs=1, objective="val_loss", maximize=False), ALL, id="one trial of one epoch, minimised"
        ),
        pytest.param(mixed_study(3, classes=LONG), ALL, id="200 classes of 40 characters"),
        pytest.param(only(PRUNED), ALL - {"confusion"}, id="only pruned"),
        pytest.param(only(FAILED), {"optimization_history", "learning_curves"}, id="only diverged"),
        pytest.param(only(FAILED, epochs=0), {"optimization_history"}, id="failed before the first epoch"),
        pytest.param(only(RUNNING), {"learning_curves"}, id="only running"),
    ],
)
def test_draws_what_there_is(record, made, tmp_path, monkeypatch):
    """Whatever state a study is in, each plot that has something to show is a PNG, and no other is made."""
    assert save(record, tmp_path, monkeypatch) == made


def test_hostile_names(tmp_path, monkeypatch):
    """Names that are mathematics, markup, control characters or missing from the font are drawn as plain text."""
    record = mixed_study(4, classes=HOSTILE)
    config = dataclasses.replace(record.results[0].config, family="odd:$x^$\U0001f996\x1b", activation="$_$")
    results = (dataclasses.replace(record.results[0], config=config), *record.results[1:])
    record = dataclasses.replace(record, study="$a^$\U0001f996\x00<b>", objective="$o^$", results=results)
    assert save(record, tmp_path, monkeypatch) == ALL


@pytest.mark.parametrize("name", plots.PLOTS)
def test_figures_are_their_own(name):
    """A plot is one figure whose title names the study, and stands in the registry with a title of its own."""
    plot = plots.PLOTS[name]
    figured = repeated(POINTS, (LR, DROPOUT), method="one_factor", reference=[{"test_acc": 0.9}])
    info = plot.info(mixed_study(24) if name in ALL else figured)
    figure = plot.draw(info)
    assert isinstance(figure, Figure)
    assert "test" in figure.get_suptitle()
    assert plot.title


def test_plain_text():
    """Text is escaped where it cannot be drawn, and cut in the middle, so that both ends can be told apart."""
    assert drawing.plain("x\x1b\n\x00\U0001f996") == "x\\x1b\\n\\x00\\U0001f996"
    assert drawing.plain("$a_b^c") == "$a_b^c"
    cut = {drawing.plain(f"{start}{'x' * 50}{end}", 20) for start in "ab" for end in "cd"}
    assert {len(text) for text in cut} == {20}
    assert len(cut) == 4


def test_history():
    """Each trial's value stands at its number by its state; the best so far follows complete trials only."""
    results = [
        make_result(2, 0.7),
        make_result(0, 0.5),
        make_result(1, 0.9, state=PRUNED),
        make_result(3, 0.6),
        make_result(4, state=FAILED),
        make_result(5, state=RUNNING),
    ]
    info = info_trials.history_info(make_record(results))
    assert info.points == {"complete": [(0, 0.5), (2, 0.7), (3, 0.6)], "pruned": [(1, 0.9)]}
    assert info.failed == [4]
    assert info.best == [(0, 0.5), (2, 0.7), (3, 0.7)]
    falling = info_trials.history_info(make_record(results, objective="val_loss", maximize=False))
    assert falling.best == [(0, 0.5), (2, 0.5), (3, 0.5)]
    assert falling.label == "validation loss (nats)"


def test_history_shows_what_failed_last():
    """A failed trial lies inside the picture though it has no value."""
    record = make_record([make_result(0, 0.5), make_result(9, state=FAILED)])
    assert draw_trials.draw_history(info_trials.history_info(record)).axes[0].get_xlim()[1] > 9


def test_wide_values_are_logarithmic():
    """A loss that exploded in one trial takes a logarithmic axis, so that the others are not one flat line."""
    narrow, wide = [make_result(0, 0.5), make_result(1, 2.0)], [make_result(0, 0.5), make_result(1, 2000.0)]
    assert not info_trials.history_info(make_record(narrow, maximize=False)).log
    assert info_trials.history_info(make_record(wide, maximize=False)).log


def test_curves():
    """The six first-ranked trials are shown, named by number, family and activation, and by how they ended."""
    results = [make_result(i, 0.1 * i, lr=0.01 + i / 100, state=PRUNED if i == 7 else "complete") for i in range(8)]
    info = info_best.curves_info(make_record(results))
    assert [curve.name.split()[0] for curve in info.curves] == ["#6", "#5", "#4", "#3", "#2", "#1"]
    assert info.curves[0].name == "#6 cnn relu"
    assert info.curves[0].validation[-1] == pytest.approx(0.6)
    failed = info_best.curves_info(make_record([make_result(0, state=FAILED, end="oom")]))
    assert failed.curves[0].name == "#0 cnn relu (oom)"


@pytest.mark.parametrize(
    ("objective", "validation", "train"),
    [("val_acc", "val/acc", "train/acc"), ("val_loss", "val/loss", "train/loss"), ("macro_f1", None, "train/acc")],
)
def test_curves_of_the_objective(objective, validation, train):
    """The curves are the objective's, beside training in the same unit; a metric never logged is missing, not 0."""
    result = make_result(0, 0.5)
    (curve,) = info_best.curves_info(make_record([result], objective=objective)).curves
    assert curve.train == [row.metrics[train] for row in result.history]
    if validation:
        assert curve.validation == [row.metrics[validation] for row in result.history]
    else:
        assert all(map(math.isnan, curve.validation))


def test_per_class():
    """Ten trials at most stand beside the true class names; a class without images has no number."""
    results = [make_result(i, 0.05 * i, lr=0.01 + i / 100, classes=3) for i in range(12)]
    last = results[11].history[-1]
    history = (*results[11].history[:-1], dataclasses.replace(last, per_class=(0.5, None, 1.0)))
    results[11] = dataclasses.replace(results[11], history=history)
    info = info_best.per_class_info(make_record(results, classes=("ant", "bee", "cat")))
    assert info.classes == ["ant", "bee", "cat"]
    assert [words[0] for words in info.trials] == [f"#{i}" for i in range(11, 1, -1)]
    np.testing.assert_equal(info.accuracy[:, 0], [0.5, np.nan, 1.0])


def test_confusion():
    """The best trial's counts are shown, of a class without images no share."""
    worse = make_result(0, 0.2, classes=3, confusion=True)
    better = dataclasses.replace(make_result(1, 0.9, lr=0.1), confusion=((3, 1, 0), (0, 0, 0), (0, 2, 2)))
    info = info_best.confusion_info(make_record([worse, better], classes=("ant", "bee", "cat")))
    assert info.trial == "#1 cnn relu"
    assert info.counts.tolist() == [[3, 1, 0], [0, 0, 0], [0, 2, 2]]
    image = draw_best.draw_confusion(info).axes[0].images[0].get_array()
    np.testing.assert_allclose(image[0], [0.75, 0.25, 0])
    assert np.isnan(image.filled(np.nan)[1]).all()


def test_parallel_places():
    """Each value has its place on its axis: logarithmic, by category in the study's order, or none."""
    dimensions = (
        Dimension(field="lr", low=1e-4, high=1e-2, log=True),
        Dimension(field="batch_size", choices=(128, 32, 64)),
        Dimension(field="activation", choices=("relu", "gelu", "tanh")),
        Dimension(field="dropout", low=0.0, high=0.8),
        Dimension(field="residual", choices=(True, False)),
    )
    fields = {"lr": 1e-3, "batch_size": 128, "activation": "gelu", "dropout": 0.2}
    results = [make_result(0, 0.5, family="mlp", **fields), make_result(1, 0.9, family="resnet", **fields)]
    info = info_fields.parallel_info(make_record(results, dimensions=dimensions))
    worst, best = info.lines
    assert worst.places == pytest.approx([0.5, 1, 0.5, 0.25, None, 0])
    assert best.places == pytest.approx([0.5, 1, 0.5, 0.25, 0, 1])
    assert [axis.gaps for axis in info.axes] == [False, False, False, False, True, False]
    assert [label for _, label in info.axes[1].ticks] == ["32", "64", "128"]
    assert [label for _, label in info.axes[0].ticks] == ["0.0001", "0.001", "0.01"]
    assert [label for _, label in info.axes[4].ticks] == ["true", "false"]
    minimised = info_fields.parallel_info(make_record(results, dimensions=dimensions, maximize=False))
    assert [line.goodness for line in minimised.lines] == [0, 1]


def test_many_trials_are_thinned():
    """Of a thousand trials 200 lines are drawn, the best and the worst complete ones among them."""
    record = mixed_study(1000, epochs=1)
    info = info_fields.parallel_info(record)
    assert (len(info.lines), info.trials) == (200, 998)
    complete = [r.value for r in record.results if r.state == "complete"]
    heights = [line.places[-1] for line in info.lines if line.state == "complete"]
    everything = [r.value for r in record.results if r.value is not None]
    low, high = min(everything), max(everything)
    assert min(heights) == pytest.approx((min(complete) - low) / (high - low))
    assert max(heights) == pytest.approx((max(complete) - low) / (high - low))


def test_importance_note_is_drawn():
    """Where there are too few trials for shares, the plot says so instead."""
    figure = draw_fields.draw_importance(info_fields.importance_info(mixed_study(6)))
    assert not figure.axes
    assert "too few to say (4 of the 20 trials needed)" in [text.get_text() for text in figure.texts]


def test_classes_without_names():
    """Where the names do not match the counts, classes are numbered, never named wrongly."""
    record = make_record([make_result(0, 0.9, classes=3, confusion=True)], classes=("ant", "bee"))
    assert info_best.confusion_info(record).classes == ["0", "1", "2"]


def test_published():
    """Each reference with an accuracy has its published figures and ours by split; losses are not drawn."""
    reference = [
        {"name": "a", "when": {"lr": 0.01, "dropout": 0.1}, "test_acc": 0.95, "test_loss": 0.1, "val_acc": 0.94},
        {"name": "b", "when": {"lr": 1.0}, "test_acc": 0.5, "incomparable": ["test_acc"]},
        {"name": "c", "when": {"lr": 0.001}, "test_loss": 0.5},
    ]
    info = info_scores.published_info(repeated(POINTS, (LR, DROPOUT), reference=reference))
    assert [(row.name, row.published, row.comparable) for row in info.rows] == [
        ("a", {"test": 0.95, "val": 0.94}, True),
        ("b", {"test": 0.5}, False),
    ]
    assert info.rows[0].ours["val"].mean == pytest.approx(0.905)
    assert info.rows[1].ours == {}
    assert info_scores.published_info(repeated(POINTS, (LR, DROPOUT))) is None


def test_published_far_apart_is_drawn_twice():
    """Where one variant lies far below the others, these have a second panel of their own."""
    names = {"0.01": 0.99, "0.02": 0.985, "0.03": 0.98, "1": 0.1}
    points = [({"lr": float(lr)}, value) for lr, value in names.items()]
    reference = [{"when": {"lr": lr}, "test_acc": value} for lr, value in names.items()]
    info = info_scores.published_info(repeated(points, (LR,), reference=reference, seeds=1))
    assert info.close == (0.98, 0.99)
    assert len(draw_scores.draw_published(info).axes) == 2
    close = dataclasses.replace(info, rows=info.rows[:3], close=None)
    assert len(draw_scores.draw_published(close).axes) == 1


@pytest.mark.parametrize("count", [1, 15])
def test_published_hostile(count, tmp_path, monkeypatch):
    """One variant is drawn as well as fifteen, and hostile names are plain text."""
    points = [({"lr": 0.001 * (i + 1)}, 0.9) for i in range(count)]
    reference = [
        {"name": (HOSTILE * 2)[i], "when": {"lr": 0.001 * (i + 1)}, "test_acc": 0.01 * i} for i in range(count)
    ]
    record = repeated(points, (LR,), reference=reference, method="grid")
    assert {"published"} <= save(record, tmp_path, monkeypatch)
