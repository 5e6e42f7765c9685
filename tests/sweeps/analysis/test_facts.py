"""What a store keeps of a study besides its trials."""

import dataclasses
import json

import pytest

from sweeps.analysis.facts import AblationStart, ChosenFinalists, StoredSpec, StudyFacts
from sweeps.spec.studyfile import parse_study

FINALISTS = ChosenFinalists(
    of="digits",
    top=2,
    seeds=3,
    seed=7,
    objective="val_acc",
    runtime={"device": "cpu", "threads": 2},
    trials=(4, 1),
    configs=({"lr": 0.1}, {"lr": 0.01}),
)


def test_what_was_stored_is_read_back():
    """Facts survive a store's JSON."""
    facts = StudyFacts(
        study="digits",
        classes=("a", "b"),
        shape=(1, 8, 8),
        images={"train": 3, "val": 2},
        runtime={"threads": 4},
        workers=2,
        deterministic=False,
        ablated=AblationStart(best={"lr": 0.1}, searched=("lr",)),
        finalists=FINALISTS,
    )
    stored = json.loads(json.dumps(dataclasses.asdict(facts)))
    assert StudyFacts.from_dict(stored) == facts


def test_an_older_version_stored_less():
    """What is missing has a default."""
    assert StudyFacts.from_dict({"dimensions": []}) == StudyFacts()
    assert StoredSpec.from_dict({"dataset": "digits"}) == StoredSpec()


def test_a_newer_version_stored_more():
    """What is unknown is named: a fact may decide how the study goes on."""
    with pytest.raises(ValueError, match="holds 'unknown', which this version does not know"):
        StudyFacts.from_dict({"dimensions": [], "unknown": 1})


def test_a_specification_is_read_from_its_identity():
    """Limits and fixed values are those of the study."""
    text = "fixed: {lr: 0.1}\nsearch: {dropout: [0.1, 0.2]}\nseed: 5\nfolds: 2\n"
    spec = parse_study(f"{text}constraints: {{mflops: 9}}\n", "test.yaml")
    stored = StoredSpec.from_dict(json.loads(json.dumps(spec.identity())))
    assert (stored.seed, stored.repeats, stored.pruner) == (5, 2, "asha")
    assert stored.fixed == {"lr": 0.1}
    assert (stored.split_seeds, stored.folds) == (None, 2)
    assert stored.constraints["mflops"] == 9
