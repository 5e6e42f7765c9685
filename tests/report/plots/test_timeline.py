import dataclasses
import itertools

import pytest
from support.records import make_record, make_result

from pipeline.report.plots.timeline import (
    ROWS,
    draw_timeline,
    duration,
    timeline_alt,
    timeline_info,
)
from sweeps.analysis.record import Promotions
from sweeps.trial import FAILED, PAUSED, PRUNED, RUNNING

HOUR = 3600


def timed(number, *spans, state="complete", **config):
    """A trial whose epochs began and ended at the given seconds."""
    result = make_result(number, 0.5, state=state, epochs=len(spans), **config)
    history = []
    for epoch, (begin, end) in zip(result.history, spans, strict=True):
        metrics = {**epoch.metrics, "time/epoch_seconds": end - begin}
        history.append(dataclasses.replace(epoch, time=round(1000 * end), metrics=metrics))
    return dataclasses.replace(result, history=tuple(history))


def timeline_of(*results):
    """The time line of a study with these results."""
    return timeline_info(make_record(results))


def test_timeline_of_few_trials():
    """Each trained trial has a row, in the order of beginning, in a unit that suits all."""
    info = timeline_of(
        timed(0, (1000, 1060), (1062, 1120)),
        timed(1, (1130, 1240), state=PRUNED),
        make_result(2, 0.5, duplicate_of=0),
        make_result(3, state=FAILED, epochs=0),
    )
    assert (info.unit, info.rows) == ("min", ["#0 cnn relu", "#1 cnn relu (pruned)"])
    assert [(bar.row, bar.state) for bar in info.bars] == [(0, "complete"), (1, "pruned")]
    assert info.bars[0].pieces == [(0, pytest.approx(2))]
    assert info.bars[1].pieces == [(pytest.approx(130 / 60), 4)]
    assert (info.breaks, info.most, info.untimed) == ([], 1, 1)
    assert timeline_of(make_result(0, state=RUNNING, epochs=0)) is None


def test_timeline_cuts_breaks_out():
    """A trial interrupted for hours has two pieces, and the break without training is a sliver."""
    info = timeline_of(
        timed(0, (0, 100), (100 + 3 * HOUR, 200 + 3 * HOUR)),
        timed(1, (210 + 3 * HOUR, 300 + 3 * HOUR)),
    )
    begin, end, text = info.breaks[0]
    pieces = info.bars[0].pieces
    assert text == "3 h"
    assert (begin, end) == (pytest.approx(100 / 60), pytest.approx(100 / 60 + 0.02 * 290 / 60))
    assert pieces == [(0, begin), (end, pytest.approx(end + 100 / 60))]
    assert "1 break: 3 h without training" in timeline_alt(info)
    # No break: one trial trains on while the other is interrupted.
    assert timeline_of(timed(0, (0, 100), (1000, 1100)), timed(1, (0, 1050))).breaks == []


def test_timeline_of_many_trials_has_lanes():
    """More trials than rows share lanes: as many as trained at the same time."""
    results = []
    for number in range(ROWS + 10):
        begin = 10 * (number // 2)
        results.append(timed(number, (begin, begin + 8 + number % 2)))
    info = timeline_of(*results)
    assert (info.rows, info.lanes, info.most) == ([], 2, 2)
    assert {bar.row for bar in info.bars} == {0, 1}


@pytest.mark.parametrize("workers", [1, 2, 6])
def test_texts_of_a_low_time_line_lie_beside_each_other(workers):
    """With few lanes, no text covers another or leaves the figure, and one tells the workers."""
    begins = [10 * (number // workers) for number in range(40)]
    results = [timed(number, (begin, begin + 8)) for number, begin in enumerate(begins)]
    figure = draw_timeline(timeline_of(*results))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    texts = [*figure.texts, axes.xaxis.label, axes.yaxis.label, *figure.legends[0].get_texts()]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    assert not any(box.overlaps(second) for box, second in itertools.combinations(boxes, 2))
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
    if workers == 1:
        expected = "one trial at a time"
    else:
        expected = f"up to {workers} trials side by side"
    assert axes.get_xlabel().endswith(f", {expected}")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (25.04, "25 s"), (150, "2.5 min"), (3 * HOUR, "3 h"), (50 * HOUR, "2.08 days")],
)
def test_duration(seconds, text):
    """A duration is told in the largest unit of which it has two."""
    assert duration(seconds) == text


PROMOTED = Promotions(promotions=2, pauses=3)


def test_a_paused_trial_has_a_bar_for_each_part():
    """Where trials are paused and go on, short gaps between epochs are pauses; a thin line joins the parts."""
    paused = timed(0, (0, 10), (10.05, 20), (28, 38), state=PAUSED)
    between = timed(1, (20, 28))
    info = timeline_info(make_record([paused, between], promoted=PROMOTED))
    assert [bar.pieces for bar in info.bars] == [[(0, 20), (28, 38)], [(20, 28)]]
    assert (info.most, info.states) == (1, {"paused": 1, "complete": 1})
    assert "3 pauses and 2 promotions of trials" in timeline_alt(info)
    figure = draw_timeline(info)
    assert figure.legends[0].get_texts()[-1].get_text() == "paused in between"
    joined = [bar.pieces for bar in timeline_of(paused, between).bars]
    assert joined == [[(0, 38)], [(20, 28)]]


def test_paused_trials_leave_their_lane():
    """Of many trials that are paused in turn, one lane shows all, as one is trained at a time."""
    trials = [
        timed(number, (number, number + 1), (50 + number, 51 + number), state=PRUNED)
        for number in range(ROWS + 5)
    ]
    info = timeline_info(make_record(trials, promoted=PROMOTED))
    assert (info.rows, info.lanes, len(info.bars)) == ([], 1, 2 * len(trials))
    assert info.states == {"pruned": len(trials)}
