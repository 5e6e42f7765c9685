"""The plot of the importance, and its words."""

import dataclasses

from matplotlib.colors import to_hex
from support.records import mixed_study

from pipeline.report.plots.importance import (
    draw_importance,
    importance_alt,
    importance_info,
    importance_instead,
)
from pipeline.report.plots.style import BLUE, GREY


def test_importance_note_is_drawn():
    """With too few trials for shares, a line says so instead of a plot."""
    assert (
        importance_instead(importance_info(mixed_study(6)))
        == "too few to say (4 of the 20 configurations needed)"
    )
    assert importance_instead(importance_info(mixed_study(60))) == ""


def test_importance_in_words():
    """The text alternative tells which shares are told from noise, which are not, and which unknown."""
    text = importance_alt(importance_info(mixed_study(60)))
    assert text.startswith("Importance among 58 configurations: lr ")
    assert " %; not told from noise: activation " in text
    assert "residual too few to say (" in text
    text = importance_alt(importance_info(mixed_study(6)))
    assert text == (
        "Importance among 4 configurations: too few to say (4 of the 20 configurations needed)."
    )


def test_bars_of_noise_are_grey():
    """A bar that is told from noise is blue, others are grey, each in front of its band."""
    info = importance_info(mixed_study(60))
    axes = draw_importance(info).axes[0]
    bands, bars = axes.patches[::2], axes.patches[1::2]
    for share, band, bar in zip(info.importance.shares, bands, bars, strict=True):
        assert (band.get_width(), bar.get_width()) == (100 * share.noise, 100 * share.share)
        assert to_hex(bar.get_facecolor(), False) == (BLUE if share.is_told else GREY).lower()
    labels = [text.get_text() for text in axes.texts]
    assert [label.endswith("not told from noise") for label in labels] == [False] + [True] * 5


def test_where_nothing_matters():
    """Of noise, the plot and the text alternative say that no field is told from it."""
    record = mixed_study(60)
    results = [
        dataclasses.replace(result, value=(7 * result.number % 60) / 60, history=())
        for result in record.results
        if result.value is not None
    ]
    info = importance_info(dataclasses.replace(record, results=tuple(results)))
    words = [text.get_text() for text in draw_importance(info).texts]
    assert any("No field is told from noise." in text for text in words)
    assert importance_alt(info).startswith(
        "Importance among 58 configurations: not told from noise: "
    )
