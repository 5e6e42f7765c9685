import dataclasses

from support.records import make_record, make_result

from pipeline.report.plots.pruning import pruning_alt, pruning_info
from sweeps.trial import FAILED, PRUNED, RUNNING


def ran(number, epochs, value=0.5, **options):
    result = make_result(number, value, epochs=epochs, **options)
    return dataclasses.replace(result, config=dataclasses.replace(result.config, epochs=5))


def test_pruning_counts_epochs():
    """Epochs trained and spared add up to those planned; a duplicate, a failed and a running trial are not counted."""
    record = make_record(
        [
            ran(0, 5),
            ran(1, 2, state=PRUNED, value=0.3),
            ran(2, 4),
            ran(3, 1, state=PRUNED, value=0.2),
            ran(4, 5, duplicate_of=0),
            ran(5, 3, None, state=FAILED),
            ran(6, 0, None, state=RUNNING),
        ]
    )
    info = pruning_info(record)
    assert info.trained == [4, 3, 2, 2, 1]
    assert info.pruned == [0, 1, 2, 2, 2]
    assert info.stopped == [0, 0, 0, 0, 1]
    assert info.saved == "pruning and early stopping saved 8 of 20 epochs (40 %)"
    assert pruning_alt(info) == (
        "Pruning and early stopping saved 8 of 20 epochs (40 %); of 4 trials 1 trained epoch 5, the last."
    )
    assert [(course.state, course.epochs[-1]) for course in info.courses] == [
        ("failed", 3),
        ("pruned", 1),
        ("pruned", 2),
        ("complete", 5),
        ("complete", 4),
    ]


def test_nothing_pruned():
    """Where every trial trained all its epochs, that is said, and their courses are shown all the same."""
    info = pruning_info(make_record([ran(0, 5), ran(1, 5)]))
    assert (info.spared, info.saved, len(info.courses)) == (
        False,
        "no epoch was saved: all 10 were trained",
        2,
    )
    assert pruning_info(make_record([ran(0, 5)])) is None


def test_planned_epochs_may_differ():
    """Of trials with plans of different length each is measured by its own."""
    short = make_result(1, 0.5, epochs=2, state=PRUNED)
    record = make_record(
        [ran(0, 5), dataclasses.replace(short, config=dataclasses.replace(short.config, epochs=3))]
    )
    info = pruning_info(record)
    assert (info.trained, info.pruned) == ([2, 2, 1, 1, 1], [0, 0, 1, 0, 0])


def test_many_courses_are_thinned():
    """Of a thousand trials some courses are drawn, the best and the worst among them; all are counted."""
    record = make_record([ran(i, 5, i / 1000) for i in range(1000)])
    info = pruning_info(record)
    assert (len(info.courses), info.trials, info.trained[0]) == (100, 1000, 1000)
    assert (info.courses[0].values[-1], info.courses[-1].values[-1]) == (0, 0.999)
