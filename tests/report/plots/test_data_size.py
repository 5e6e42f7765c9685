"""The objective by the number of training images: its intervals, what the last images brought, and the plot."""

import math

import pytest
from support.records import make_record, make_result, study_of_sizes

from pipeline.report.checks.data_size import data_size
from pipeline.report.plots.data_size import data_size_alt, data_size_info, draw_data_size
from pipeline.report.plots.size_curves import enough, last_gain, size_curves
from sweeps.spec.dimension import Dimension
from sweeps.trial import configure

SIZES = Dimension(field="train_images", choices=(50, 100))


def test_a_curve_for_each_network():
    """Configurations that differ in the number of training images alone are a curve; the best comes first."""
    record = study_of_sizes({100: 0.9, 50: 0.8, 200: 0.95}, families=("mlp", "cnn"))
    best, other = size_curves(record)
    assert [point.images for point in best.points] == [50, 100, 200]
    assert [point.mean for point in best.points] == pytest.approx([0.805, 0.905, 0.955])
    assert ("mlp" in best.name, "cnn" in other.name) == (True, True)
    assert size_curves(make_record([make_result(0, 0.9), make_result(1, 0.8)])) == []


def test_intervals_of_draws():
    """Draws share images, so that the interval of their mean is wider than that of independent values."""
    (curve,) = size_curves(study_of_sizes({50: 0.8, 100: 0.9}, seeds=3))
    point = curve.points[0]
    assert point.values == pytest.approx((0.8, 0.81, 0.82))
    student = 4.302652729911275  # 97.5 % of Student's t with 2 degrees of freedom
    half_width = student * 0.01 * math.sqrt(1 / 3 + 200 / 800)
    assert point.interval == pytest.approx((0.81 - half_width, 0.81 + half_width))


def test_an_interval_of_a_share_ends_at_one():
    """No network has more than all images right."""
    (curve,) = size_curves(study_of_sizes({50: 0.8, 100: 0.98}))
    low, high = curve.points[1].interval
    assert (0.8 < low < 0.98, high) == (True, 1.0)


@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals_on_one_split(seeds):
    """On one split, the interval is over its images, and over the seeds where there are several."""
    results = [
        make_result(
            2 * seed + index,
            0.8 + 0.01 * seed,
            config=configure({"train_images": images, "seed": seed}),
            with_confusion=True,
        )
        for seed in range(seeds)
        for index, images in enumerate((50, 100))
    ]
    (curve,) = size_curves(make_record(results, dimensions=(SIZES,), method="grid"))
    low, high = curve.points[0].interval
    width = (high - low) / 2
    of_images = 1.96 * math.sqrt(0.8 * 0.2 / 300)
    assert width > 0.9 * of_images
    if seeds > 1:
        assert width > math.hypot(0.7 * of_images, 4.3 * 0.01 / math.sqrt(3))


def test_whether_more_images_help():
    """A rise beyond chance at the end asks for more images; otherwise the fewest that do as well are named."""
    rising = study_of_sizes({100: 0.7, 200: 0.8, 400: 0.9}, seeds=5, noise=0.001)
    assert data_size(rising).text.startswith(
        "More images help to the end: 400 instead of 200 training images improve the val_acc by +10.00 points"
    )
    flat = study_of_sizes({100: 0.7, 200: 0.9, 400: 0.9}, seeds=5, noise=0.001)
    assert data_size(flat).text.endswith("not known to be worse than 400 are 200.")
    (curve,) = size_curves(flat)
    assert enough(flat, curve).images == 200
    assert last_gain(flat, curve).difference == pytest.approx(0)
    assert data_size(study_of_sizes({100: 0.7, 200: 0.8}, seeds=1)) is None


def test_drawn():
    """Each curve has its points over a logarithmic axis, with a tick for each number of images."""
    info = data_size_info(study_of_sizes({50: 0.8, 100: 0.9, 1199: 0.95}, families=("mlp", "cnn")))
    assert "50: 80.5 %, 100: 90.5 %, 1,199: 95.5 %" in data_size_alt(info)
    (axes,) = draw_data_size(info).axes
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["50", "100", "1,199"]
    assert len(axes.containers) == 2


def test_nothing_to_draw():
    """Without two numbers of training images of one network, or with too many networks, there is no plot."""
    assert data_size_info(study_of_sizes({50: 0.8})) is None
    results = [
        make_result(
            number, 0.5, config=configure({"train_images": 50 + number, "lr": 0.1 / number})
        )
        for number in range(1, 20)
    ]
    lr = Dimension(field="lr", low=1e-3, high=1.0)
    assert data_size_info(make_record(results, dimensions=(SIZES, lr))) is None
