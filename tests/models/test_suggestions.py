"""Suggestions for unknown words: other capitals, other tools' words, and slips of the pen."""

import pytest

from models.suggestions import did_you_mean, suggest

FIELDS = ("lr", "batch_size", "weight_decay", "dropout", "activation", "width", "family", "bias")


@pytest.mark.parametrize(
    ("typed", "known", "meant"),
    [
        ("learning_rate", FIELDS, "lr"),
        ("Learning-Rate", FIELDS, "lr"),
        ("bs", FIELDS, "batch_size"),
        ("wd", FIELDS, "weight_decay"),
        ("arch", FIELDS, "family"),
        ("batchsize", FIELDS, "batch_size"),
        ("dropuot", FIELDS, "dropout"),
        ("AdamW", ("sgd", "adam", "adamw"), "adamw"),
        ("Adm", ("sgd", "adam", "adamw"), "adam"),
        ("metric", ("objective", "method"), "objective"),
        ("xyzzy", FIELDS, None),
    ],
)
def test_the_word_that_was_meant(typed, known, meant):
    """A word of another tool, in other capitals or with a slip leads to the one that there is."""
    assert suggest(typed, known) == meant


def test_long_lists_are_left_out_beside_a_suggestion():
    """Of fifty words, all are listed only where nothing can be suggested."""
    known = ["lr", *(f"word{number}" for number in range(50))]
    assert did_you_mean("learning_rate", known) == "did you mean lr?"
    assert did_you_mean("xyzzy", known).startswith("known: lr, word0, ")
    assert did_you_mean("LR", ["lr", "bias"]) == "did you mean lr? known: lr, bias"
