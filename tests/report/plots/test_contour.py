import numpy as np
import pytest
from support.records import mixed_study

from pipeline.report.plots.contour import MapPoint, contour_info, draw_contour, smooth


def point(across, up, value):
    return MapPoint(trial=0, across=across, up=up, value=value, complete=True)


def test_a_map_is_a_mean_of_trials_nearby():
    """Near a trial the map has its value, between two their mean, and far from all nothing."""
    surface = smooth([point(0.0, 0.0, 1.0), point(0.2, 0.0, 3.0)])
    last = surface.shape[0] - 1
    assert surface[0, 0] == pytest.approx(1.7, abs=0.3)
    assert surface[0, round(0.1 * last)] == pytest.approx(2.0, abs=0.05)
    assert np.isnan(surface[last, last])


def test_numbers_in_pairs():
    """The numbers that all trials have are mapped in pairs, the important ones first; few trials have no map."""
    info = contour_info(mixed_study(24))
    fields = {scale.name for one in info.maps for scale in (one.across, one.up)}
    assert fields <= {"lr", "dropout", "batch_size", "momentum", "depth"}
    assert len(info.maps) in (1, 3)
    figure = draw_contour(info)
    assert figure.axes[-1].get_ylabel() == "validation accuracy (%)"
    assert contour_info(mixed_study(6)) is None
