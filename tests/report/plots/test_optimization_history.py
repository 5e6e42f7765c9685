from support.records import make_record, make_result

from pipeline.report.plots.optimization_history import draw_history, history_alt, history_info
from sweeps.trial import FAILED, PAUSED, PRUNED, RUNNING


def test_history():
    """Values lie at their trial numbers; only complete trials count for the best so far."""
    results = [
        make_result(2, 0.7),
        make_result(0, 0.5),
        make_result(1, 0.9, state=PRUNED),
        make_result(3, 0.6),
        make_result(4, state=FAILED),
        make_result(5, state=RUNNING),
    ]
    info = history_info(make_record(results))
    assert info.points == {"complete": [(0, 0.5), (2, 0.7), (3, 0.6)], "pruned": [(1, 0.9)]}
    assert info.failed == [4]
    assert info.best == [(0, 0.5), (2, 0.7), (3, 0.7)]
    falling = history_info(make_record(results, objective="val_loss", maximize=False))
    assert falling.best == [(0, 0.5), (2, 0.5), (3, 0.5)]
    assert falling.label == "validation loss (nats)"


def test_last_failed_trial_is_inside_the_axes():
    """The x axis reaches a failed trial, although the trial has no value."""
    record = make_record([make_result(0, 0.5), make_result(9, state=FAILED)])
    assert draw_history(history_info(record)).axes[0].get_xlim()[1] > 9


def test_wide_values_are_logarithmic():
    """If the loss of one trial exploded, the axis is logarithmic: the others are no flat line."""
    narrow = [make_result(0, 0.5), make_result(1, 2.0)]
    wide = [make_result(0, 0.5), make_result(1, 2000.0)]
    assert not history_info(make_record(narrow, maximize=False)).log
    assert history_info(make_record(wide, maximize=False)).log


def test_history_in_words():
    """The text alternative tells the counts, the best value and its progress."""
    results = [
        make_result(0, 0.5),
        make_result(1, 0.9, state=PRUNED),
        make_result(2, 0.75),
        make_result(3, state=FAILED),
    ]
    text = history_alt(history_info(make_record(results)))
    assert "4 trials: 2 complete, 1 pruned, 1 failed" in text
    assert "best 75 % at trial 2; the best so far rose from 50 % to 75 %" in text
    falling = history_info(make_record(results[::-1], objective="val_loss", maximize=False))
    assert "the first complete one was not surpassed" in history_alt(falling)
    assert "none is complete" in history_alt(history_info(make_record(results[3:])))


def test_paused_trials_are_shown():
    """A paused trial has its value so far, and a marker of its own."""
    results = [make_result(0, 0.5), make_result(1, 0.9, state=PAUSED)]
    info = history_info(make_record(results))
    assert info.points == {"complete": [(0, 0.5)], "paused": [(1, 0.9)]}
    assert info.best == [(0, 0.5)]
    draw_history(info)
