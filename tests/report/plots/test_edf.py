from support.records import mixed_study

from pipeline.report.plots.edf import draw_edf, edf_info


def test_shares_of_trials():
    """All trials and each family have a step that rises to 100 %; each trial is marked where it is drawn."""
    record = mixed_study(24)
    info = edf_info(record)
    everything = info.distributions[0]
    assert list(everything.values) == sorted(everything.values)
    assert everything.shares[-1] == 100
    assert sum(len(one.values) for one in info.distributions[1:]) == len(everything.values)
    figure = draw_edf(info)
    assert len(figure.axes[0].lines) == len(info.distributions)
    figure.draw_without_rendering()
    assert {number for _, _, number in figure.marks} == set(everything.trials)


def test_few_trials():
    """Of few trials a distribution says nothing."""
    assert edf_info(mixed_study(5)) is None
