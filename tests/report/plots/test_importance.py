from support.records import mixed_study

from pipeline.report.plots.importance import draw_importance, importance_alt, importance_info


def test_importance_note_is_drawn():
    """With too few trials for shares, the plot says so instead."""
    figure = draw_importance(importance_info(mixed_study(6)))
    assert not figure.axes
    texts = [text.get_text() for text in figure.texts]
    assert "too few to say (4 of the 20 trials needed)" in texts


def test_importance_in_words():
    """The text alternative tells the shares, the largest first, and which are unknown."""
    text = importance_alt(importance_info(mixed_study(24)))
    assert text.startswith("Importance among 22 trials: lr ")
    assert "residual too few to say (" in text
    text = importance_alt(importance_info(mixed_study(6)))
    assert text == "Importance among 4 trials: too few to say (4 of the 20 trials needed)."
