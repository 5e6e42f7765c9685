"""What identifies a study, and the JSON schema of its fields."""

import json
from importlib import resources

import pytest
from support.studyfiles import CONDITIONAL

from sweeps.spec.configurations import planned_values
from sweeps.spec.study_spec import OBJECTIVES, StudySpec, lasting_identity
from sweeps.spec.studyfile import StudyFileError, parse_study
from sweeps.trial import config_fields

SHIPPED = sorted(
    file.name.removesuffix(".yaml")
    for file in resources.files("sweeps.studies").iterdir()
    if file.name.endswith(".yaml")
)


def spec(text=CONDITIONAL, **changes):
    return parse_study(text, "test", overrides=changes)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_objectives(objective):
    """Every objective can be asked for, and has its metric and direction."""
    asked = spec("search: {lr: [1, 2]}", set={"objective": objective})
    assert asked.maximize == OBJECTIVES[objective][1]
    assert asked.maximize == (objective != "val_loss")


def test_losses_of_trials_that_differ_rank_nothing():
    """The validation loss ranks no trials whose losses are not the same."""
    text = "objective: val_loss\nsearch: {loss: [cross_entropy, squared_error]}"
    with pytest.raises(StudyFileError, match="cannot compare trials of different losses"):
        spec(text)
    assert spec("objective: val_loss\nsearch: {loss: [squared_error]}").dimensions


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("description: other", True),
        ("source: other", True),
        ("trials: 99", True),
        ("finalists: {top: 2, seeds: 5}", True),
        ("dataset: mnist", False),
        ("method: random", False),
        ("objective: val_loss", False),
        ("epochs: 9", False),
        ("repeats: 2", False),
        ("split_seeds: 2", False),
        ("folds: 2", False),
        ("pruner: none", False),
        ("seed: 1", False),
        ("split_seed: 1", False),
        ("fixed: {lr: 0.5}", False),
        ("start_with: [{width: 16}]", False),
    ],
)
def test_identity(change, same):
    """All that decides the trials is the study's identity; its total and description are not."""
    text = "search: {width: [8, 16, 32]}\n"
    assert (spec(text).identity() == spec(text + change).identity()) is same


@pytest.mark.parametrize(
    "search",
    [
        "lr: {low: 0.1, high: 1.1}",
        "lr: {low: 0.2, high: 1}",
        "lr: {low: 0.1, high: 1, log: true}",
        "lr: {low: 0.1, high: 1, step: 0.1}",
        "lr: {low: 0.1, high: 1, when: {optimizer: adam}}",
        "lr: [0.1, 1]",
        "lr: {low: 0.1, high: 1}\n  epochs: [10]",
    ],
)
def test_identity_of_search(search):
    """Any change of a range, its scale, step or condition is another identity."""
    assert (
        spec("search:\n  lr: {low: 0.1, high: 1}").identity()
        != spec(f"search:\n  {search}").identity()
    )


@pytest.mark.parametrize("key", ["split_seeds", "folds"])
def test_redraws_are_repeats(key):
    """A redraw for each repeat, whose number need not be given; without redraws, the identity is that of 0.1.0."""
    text = "search: {width: [8, 16]}\n"
    assert spec(f"{text}{key}: 3").identity()["repeats"] == 3
    assert spec(f"{text}{key}: 3") == spec(f"{text}{key}: 3\nrepeats: 3")
    assert key not in spec(text).identity()


def test_a_field_that_does_what_a_version_without_it_did_is_not_compared():
    """A study of finalists fixes every field: those that came later are not in the store of an earlier version."""
    text = "search:\n  lr: {low: 0.1, high: 1}\nfixed: {family: mlp"
    earlier = spec(text + "}").identity()
    assert spec(text + ", loss: cross_entropy, pretrained: false}").identity() == earlier
    assert spec(text + ", loss: squared_error}").identity() != earlier
    stored = {**earlier, "fixed": {**earlier["fixed"], "loss": "cross_entropy"}}
    assert lasting_identity(stored) == earlier


def test_baselines_come_first():
    """Baselines are planned before starts, each once; without them, the identity is that of 0.1.0."""
    text = "search: {width: [8, 16, 32]}\n"
    given = "baselines: [{width: 32}, {width: 32}]\nstart_with: [{width: 8}, {width: 32}]\n"
    assert list(planned_values(spec(text + given))) == [{"width": 32}, {"width": 8}]
    assert spec(text + given).identity()["baselines"] == [{"width": 32}, {"width": 32}]
    assert "baselines" not in spec(text).identity()


def test_identity_is_json():
    """An identity is read back equal from a store."""
    identity = spec(CONDITIONAL + "start_with: [{family: resnet}]").identity()
    assert json.loads(json.dumps(identity)) == identity


def test_schema():
    """The JSON schema names every field that may be fixed, searched or started with, with bounds and help."""
    definitions = StudySpec.model_json_schema()["$defs"]
    own = {"dataset", "seed", "split_seed", "redraw", "source_digest", "weights_digest"}
    known = set(config_fields())
    assert set(definitions["Fixed"]["properties"]) == known - own - {"epochs"}
    own |= {"split_file", "image_size", "data_version", "copies"}
    assert set(definitions["Start"]["properties"]) == known - own - {"gpus_per_trial"}
    runtime = {"device", "threads", "gpus_per_trial", "cudnn_deterministic", "eval_batch_size"}
    assert set(definitions["Search"]["properties"]) == known - own - runtime
    lr = definitions["Fixed"]["properties"]["lr"]
    assert (
        lr.items()
        >= {
            "type": "number",
            "minimum": 1e-8,
            "maximum": 100,
            "description": "Learning rate.",
        }.items()
    )
    assert definitions["Fixed"]["properties"]["optimizer"]["enum"] == ["sgd", "adam", "adamw"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_specification_is_made_of_its_identity_again(name):
    """Every shipped study is what its identity says, but for what may change."""
    text = resources.files("sweeps.studies").joinpath(f"{name}.yaml").read_text("utf-8")
    study = parse_study(text, name)
    made = StudySpec.from_identity(json.loads(json.dumps(study.identity())))
    assert made.identity() == study.identity()
    assert list(planned_values(made)) == list(planned_values(study))
