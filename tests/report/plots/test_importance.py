from support.records import mixed_study

from pipeline.report.plots.importance import draw_importance, importance_alt, importance_info


def test_importance_note_is_drawn():
    """Where there are too few trials for shares, the plot says so instead."""
    figure = draw_importance(importance_info(mixed_study(6)))
    assert not figure.axes
    assert "too few to say (4 of the 20 trials needed)" in [
        text.get_text() for text in figure.texts
    ]


def test_importance_in_words():
    """The text alternative has the shares, the largest first, and what too few trials have."""
    said = importance_alt(importance_info(mixed_study(24)))
    assert said.startswith("Importance among 22 trials: lr ")
    assert "residual too few to say (" in said
    few = importance_alt(importance_info(mixed_study(6)))
    assert few == "Importance among 4 trials: too few to say (4 of the 20 trials needed)."
