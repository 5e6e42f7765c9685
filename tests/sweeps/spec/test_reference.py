"""Published figures as a study file gives them."""

import pytest

from sweeps.spec.reference import Reference
from sweeps.spec.studyfile import StudyFileError, parse_study
from sweeps.trial import configure

STUDY = "search: {lr: [0.1, 0.2], activation: [relu, tanh]}\n"


def errors(text):
    with pytest.raises(StudyFileError) as error:
        parse_study(STUDY + text, "test")
    return str(error.value).splitlines()


def test_a_reference_is_of_the_trials_that_its_condition_holds_for():
    """It matches a configuration whose fields have the named values, and one without a condition matches all."""
    (reference,) = parse_study(
        STUDY + "reference: [{when: {lr: 0.1, activation: tanh}, test_acc: 0.9}]", "test"
    ).reference
    assert reference.matches(configure({"lr": 0.1, "activation": "tanh", "seed": 3}))
    assert not reference.matches(configure({"lr": 0.1}))
    assert not reference.matches(configure({"lr": 0.2, "activation": "tanh"}))
    assert Reference().matches(configure({}))


def test_figures_and_label():
    """Only what was published is a figure; without a name it is called by its condition."""
    reference = Reference(when={"lr": 0.1}, test_acc=0.9, train_loss=0.0)
    assert reference.figures == {"train_loss": 0.0, "test_acc": 0.9}
    assert (reference.label, Reference(name="ours").label, Reference().label) == (
        "lr 0.1",
        "ours",
        "all",
    )


def test_references_are_no_part_of_a_studys_identity():
    """A study goes on when a published figure is corrected."""
    with_one, without = (
        parse_study(STUDY + text, "test") for text in ("reference: [{test_acc: 0.9}]", "")
    )
    assert with_one.identity() == without.identity()


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "{test_acc: 97.2}",
            "test:2: reference.0.test_acc must be less than or equal to 1: got 97.2",
        ),
        ("{test_acc: high}", "test:2: reference.0.test_acc must be a number"),
        ("{when: {lrr: 1}}", "test:2: when names an unknown field 'lrr'; did you mean lr?"),
        ("{when: {lr: fast}}", "test:2: lr must be a number: got 'fast'"),
        ("{when: [lr]}", "test:2: when must be a mapping of fields to values"),
        (
            "{test_accuracy: 0.9}",
            "test:2: unknown key 'reference.0.test_accuracy'; did you mean train_acc",
        ),
    ],
)
def test_a_wrong_reference_is_refused_with_its_line(reference, message):
    """Percentages, unknown fields and keys are named with their line."""
    (line,) = errors(f"reference: [{reference}]")
    assert line.startswith(message[:60])
