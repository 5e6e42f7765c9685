import dataclasses

from support.records import make_record, make_result

from pipeline.report.plots.pruning import draw_pruning, pruning_alt, pruning_info
from sweeps.analysis.record import Promotions
from sweeps.trial import FAILED, PAUSED, PRUNED, RUNNING


def trial_of(number, epochs, value=0.5, **options):
    """A trial that trained so many of its five planned epochs."""
    return planned(5, make_result(number, value, epochs=epochs, **options))


def planned(epochs, result):
    """The trial as if it had been configured for so many epochs."""
    config = dataclasses.replace(result.config, epochs=epochs)
    return dataclasses.replace(result, config=config)


def test_pruning_counts_epochs():
    """Epochs trained and spared add up to those planned.

    Duplicate, failed and running trials do not count.
    """
    record = make_record(
        [
            trial_of(0, 5),
            trial_of(1, 2, state=PRUNED, value=0.3),
            trial_of(2, 4),
            trial_of(3, 1, state=PRUNED, value=0.2),
            trial_of(4, 5, duplicate_of=0),
            trial_of(5, 3, None, state=FAILED),
            trial_of(6, 0, None, state=RUNNING),
        ]
    )
    info = pruning_info(record)
    assert info.trained == [4, 3, 2, 2, 1]
    assert info.pruned == [0, 1, 2, 2, 2]
    assert info.stopped == [0, 0, 0, 0, 1]
    assert info.saved == "pruning and early stopping saved 8 of 20 epochs (40 %)"
    assert pruning_alt(info) == (
        "Pruning and early stopping saved 8 of 20 epochs (40 %); "
        "of 4 trials 1 trained epoch 5, the last."
    )
    assert [(course.state, course.epochs[-1]) for course in info.courses] == [
        ("failed", 3),
        ("pruned", 1),
        ("pruned", 2),
        ("complete", 5),
        ("complete", 4),
    ]


def test_nothing_pruned():
    """If every trial trained all its epochs, the plot says so and still shows the courses."""
    info = pruning_info(make_record([trial_of(0, 5), trial_of(1, 5)]))
    assert not info.spared
    assert info.saved == "no epoch was saved: all 10 were trained"
    assert len(info.courses) == 2
    assert pruning_info(make_record([trial_of(0, 5)])) is None


def test_planned_epochs_may_differ():
    """Each trial is measured by the number of epochs planned for it."""
    short = make_result(1, 0.5, epochs=2, state=PRUNED)
    info = pruning_info(make_record([trial_of(0, 5), planned(3, short)]))
    assert (info.trained, info.pruned) == ([2, 2, 1, 1, 1], [0, 0, 1, 0, 0])


def test_many_courses_are_thinned():
    """Of a thousand trials some are drawn, with the best and the worst, but all are counted."""
    record = make_record([trial_of(i, 5, i / 1000) for i in range(1000)])
    info = pruning_info(record)
    assert (len(info.courses), info.trials, info.trained[0]) == (100, 1000, 1000)
    assert (info.courses[0].values[-1], info.courses[-1].values[-1]) == (0, 0.999)


def test_of_paused_trials():
    """Of a study with promotion it is pausing that spares epochs; while trials are paused, so far."""
    promoted = Promotions(promotions=3, pauses=5)
    results = [
        trial_of(0, 5),
        trial_of(1, 2, state=PAUSED, value=0.3),
        trial_of(2, 1, state=PRUNED, value=0.2),
    ]
    info = pruning_info(make_record(results, promoted=promoted))
    assert info.saved == "pausing has spared 7 of 15 epochs (47 %) so far"
    assert (info.trained, info.pruned) == ([3, 2, 1, 1, 1], [0, 1, 2, 2, 2])
    figure = draw_pruning(info)
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {
        "promoted to the end (1)",
        "promoted, then paused (1)",
        "paused at the first rung (1)",
        "epochs spared by pausing",
    } <= labels
    assert [text.get_text() for text in figure.axes[1].texts] == ["3", "2", "1", "1", "1"]
    ended = pruning_info(make_record([results[0], results[2]], promoted=promoted))
    assert ended.saved == "pausing saved 4 of 10 epochs (40 %)"
