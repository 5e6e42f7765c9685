"""The look that plots share."""

import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from pipeline.report.plots import style
from pipeline.report.plots.style import drawable_text


def drawn(size, x_end):
    """Draw a figure of two axes and a colour bar, and return it."""
    figure = style.titled_figure("Two", size)
    left, right = style.grid_of_axes(figure, 2, 2)
    left.plot([0, x_end], [0, 1])
    style.label_axes(left, "x", "value (%)")
    style.add_colour_bar(right, right.imshow([[0, 1]], aspect="auto"), "share (%)")
    FigureCanvasAgg(figure).draw()
    return figure


@pytest.mark.parametrize(("size", "x_end"), [((8, 4), 10), ((2.4, 2), 1000)])
def test_axes_are_measured_once_for_a_layout(monkeypatch, size, x_end):
    """The layout is that of axes that are measured whenever it asks, also where other numbers fit after it."""
    once = drawn(size, x_end)
    measured = []
    measure = Axes.get_tightbbox

    def count(axes, *arguments, **options):
        measured.append(axes)
        return measure(axes, *arguments, **options)

    monkeypatch.setattr(Axes, "get_tightbbox", count)
    again = drawn(size, x_end)
    assert set(measured) == set(again.axes)
    assert (len(measured) == len(again.axes)) == (size == (8, 4))
    monkeypatch.setattr(style, "MeasuredAxes", Axes)
    always = drawn(size, x_end)
    for one, other in zip(once.axes, always.axes, strict=True):
        assert one.bbox.extents == pytest.approx(other.bbox.extents, abs=3)


def test_axes_of_categories():
    """Names along an axis, whose places matplotlib gives as a list, are laid out like numbers."""
    figure = style.titled_figure("Named", (4, 3))
    [axes] = style.grid_of_axes(figure, 1, 1)
    axes.bar(["one", "two"], [1, 2])
    FigureCanvasAgg(figure).draw()
    assert axes.xaxis.get_majorticklocs() == [0, 1]


def test_drawable_text():
    """Undrawable characters are escaped, and long text is cut in the middle to keep its ends."""
    assert drawable_text("x\x1b\n\x00\U0001f996") == "x\\x1b\\n\\x00\\U0001f996"
    assert drawable_text("$a_b^c") == "$a_b^c"
    shortened = {drawable_text(f"{start}{'x' * 50}{end}", 20) for start in "ab" for end in "cd"}
    assert {len(text) for text in shortened} == {20}
    assert len(shortened) == 4
