import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from support.records import LR, make_record, make_result, mixed_study

from pipeline.report.plots.parallel_coordinates import draw_parallel, parallel_info
from pipeline.report.plots.style import paper_style
from sweeps.spec.dimension import Dimension
from sweeps.trial import PAUSED, PRUNED


def test_parallel_places():
    """Each value has its place on its axis: linear, logarithmic, by category, or none."""
    dimensions = (
        Dimension(field="lr", low=1e-4, high=1e-2, log=True),
        Dimension(field="batch_size", choices=(128, 32, 64)),
        Dimension(field="activation", choices=("relu", "gelu", "tanh")),
        Dimension(field="dropout", low=0.0, high=0.8),
        Dimension(field="residual", choices=(True, False)),
    )
    fields = {"lr": 1e-3, "batch_size": 128, "activation": "gelu", "dropout": 0.2}
    results = [
        make_result(0, 0.5, family="mlp", **fields),
        make_result(1, 0.9, family="resnet", **fields),
    ]
    info = parallel_info(make_record(results, dimensions=dimensions))
    worst, best = info.lines
    assert worst.places == pytest.approx([0.5, 1, 0.5, 0.25, None, 0])
    assert best.places == pytest.approx([0.5, 1, 0.5, 0.25, 0, 1])
    assert [axis.gaps for axis in info.axes] == [False, False, False, False, True, False]
    assert [label for _, label in info.axes[1].ticks] == ["32", "64", "128"]
    assert [label for _, label in info.axes[0].ticks] == ["0.0001", "0.001", "0.01"]
    assert [label for _, label in info.axes[4].ticks] == ["true", "false"]
    minimised = parallel_info(make_record(results, dimensions=dimensions, maximize=False))
    assert [line.goodness for line in minimised.lines] == [0, 1]


def test_many_trials_are_thinned():
    """Of a thousand trials 200 are drawn, with the best and the worst complete ones among them."""
    record = mixed_study(1000, epochs=1)
    info = parallel_info(record)
    assert (len(info.lines), info.trials) == (200, 998)
    complete = [result.value for result in record.results if result.state == "complete"]
    heights = [line.places[-1] for line in info.lines if line.state == "complete"]
    values = [result.value for result in record.results if result.value is not None]
    low = min(values)
    high = max(values)
    assert min(heights) == pytest.approx((min(complete) - low) / (high - low))
    assert max(heights) == pytest.approx((max(complete) - low) / (high - low))


def test_thin_lines_are_named():
    """The legend names the states of the thin lines: pruned, paused, or both."""
    for states, label in (
        ([PRUNED], "pruned"),
        ([PAUSED], "paused"),
        ([PRUNED, PAUSED], "pruned or paused"),
    ):
        results = [make_result(0, 0.9, lr=0.1)]
        results += [make_result(1 + n, 0.5, state=s, lr=0.01) for n, s in enumerate(states)]
        figure = draw_parallel(parallel_info(make_record(results, dimensions=[LR])))
        assert label in [text.get_text() for text in figure.legends[0].get_texts()]


def test_on_paper_no_text_touches_another():
    """With all fields of a study side by side, the names of the axes are set apart, and long values are short."""
    with paper_style():
        figure = draw_parallel(parallel_info(mixed_study(24)))
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        texts = figure.axes[0].texts
        names = [text for text in texts if text.get_fontweight() == "bold"]
        assert {text.get_rotation() for text in names} == {45}
        gaps = np.diff([text.get_window_extent(renderer).x0 for text in names])
        assert min(gaps) * 0.7 > max(text.get_fontsize() for text in names) * figure.dpi / 72
        assert "CNADP" in [text.get_text() for text in texts]
