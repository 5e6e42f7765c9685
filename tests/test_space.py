import json
from importlib import resources

import pytest

from sweeps.space import OBJECTIVES, StudySpec, configuration, decide, grid, start_values
from sweeps.studyfile import parse
from sweeps.trial import fields

SHIPPED = sorted(f.name for f in resources.files("sweeps.studies").iterdir() if f.name.endswith(".yaml"))

CONDITIONAL = """
trials: 5
fixed: {optimizer: sgd}
search:
  momentum: [0.5, 0.9]
  family: [mlp, cnn, resnet]
  width:
    - {choices: [64, 128], when: {family: mlp}}
    - {low: 8, high: 16, step: 8, when: {family: [cnn, resnet]}}
  residual: [true, false]
  shortcut: [conv, pad]
"""


def spec(text=CONDITIONAL, **changes):
    return parse(text, "test", overrides=changes)


def first(dimension):
    return dimension.first


def last(dimension):
    return dimension.choices[-1] if dimension.choices else dimension.grid()[-1]


def test_decide_asks_what_applies():
    """Each dimension is decided once, only where its condition holds, and after what its condition needs."""
    asked = []

    def choose(dimension):
        asked.append(dimension.key)
        return last(dimension)

    assert decide(spec(), choose) == {"family": "resnet", "width": 16, "residual": False, "momentum": 0.9}
    assert asked == ["family", "width [family=cnn|resnet]", "residual", "momentum"]
    assert decide(spec(), first) == {"family": "mlp", "width": 64, "momentum": 0.5}


def test_decide_in_an_order_that_can_be_known():
    """A condition on a field that stands later in the configuration is decided after it."""
    text = """
search:
  dropout: {low: 0, high: 0.5, when: {epochs: [5]}}
  lr: {low: 0.1, high: 1, when: {dropout: [0]}}
  epochs: [5, 10]
"""
    assert list(decide(spec(text), first).items()) == [("epochs", 5), ("dropout", 0), ("lr", 0.1)]
    assert decide(spec(text), last_choice) == {"epochs": 10}


def last_choice(dimension):
    return dimension.choices[-1]


def test_first_that_holds_decides():
    """Of two conditions of one field that both hold, the first decides."""
    text = """
search:
  lr:
    - {choices: [0.1], when: {optimizer: [adam]}}
    - {choices: [0.2], when: {optimizer: [adam, sgd]}}
  optimizer: [adam, sgd]
"""
    assert decide(spec(text), first) == {"optimizer": "adam", "lr": 0.1}
    assert decide(spec(text), last_choice) == {"optimizer": "sgd", "lr": 0.2}


def test_grid_has_every_configuration_once():
    """A grid has every combination that applies, the last dimension running fastest, and no other."""
    points = list(grid(spec(method="grid")))
    configurations = [configuration(spec(), point) for point in points]
    assert len({c.signature for c in configurations}) == len(points) == 4 + 4 + 2 * (4 + 2)
    assert points[:3] == [
        {"family": "mlp", "width": 64, "momentum": 0.5},
        {"family": "mlp", "width": 64, "momentum": 0.9},
        {"family": "mlp", "width": 128, "momentum": 0.5},
    ]
    assert all(("shortcut" in p) == (p.get("residual", False)) for p in points)


def test_grid_of_some_values():
    """A grid can be laid out over other values of each dimension, such as its first."""
    assert list(grid(spec(), lambda d: [d.first])) == [{"family": "mlp", "width": 64, "momentum": 0.5}]


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("search: {lr: [1, 2]}", 24),
        ("trials: 7\nsearch: {lr: [1, 2]}", 7),
        ("trials: 7\nrepeats: 3\nsearch: {lr: [1, 2]}", 7),
        ("method: grid\nsearch: {lr: [1, 2, 3], epochs: [1, 2]}", 6),
        ("method: grid\nrepeats: 3\nsearch: {lr: [1, 2, 3], epochs: [1, 2]}", 18),
        ("method: grid\ntrials: 4\nrepeats: 3\nsearch: {lr: [1, 2, 3]}", 4),
        ("method: grid\ntrials: 99\nsearch: {lr: [1, 2, 3]}", 3),
        ("method: grid\nsearch: {epochs: {low: 1, high: 10000}, lr: {low: 1, high: 10, step: 1}}", 100_000),
        ("method: grid\ntrials: 5\nsearch: {epochs: {low: 1, high: 10000}, width: {low: 1, high: 5000}}", 5),
    ],
)
def test_total(text, total):
    """The total is what was asked for, 24 by default; a grid's is its size at most, each repeat a trial."""
    assert spec(text).total == total


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_objectives(objective):
    """Every objective can be asked for, and has its metric and direction."""
    asked = spec("search: {lr: [1, 2]}", set={"objective": objective})
    assert asked.maximize == OBJECTIVES[objective][1]
    assert asked.maximize == (objective != "val_loss")


def test_configuration():
    """A configuration has the study's own values, the fixed, the searched, the defaults, and the repeat's seed."""
    text = "dataset: mnist\nepochs: 3\nseed: 7\nsplit_seed: 5\nfixed: {schedule: cosine}\nsearch: {lr: [1, 2]}"
    config = configuration(spec(text), {"lr": 2.0}, repeat=2)
    changed = {"dataset": "mnist", "epochs": 3, "seed": 9, "split_seed": 5, "schedule": "cosine", "lr": 2.0}
    assert {name: getattr(config, name) for name in changed} == changed
    assert (config.family, config.batch_size, config.momentum) == ("cnn", 64, None)


def test_start_values():
    """A start has its own values of what is searched, and the defaults, the family's and the fixed among them."""
    assert start_values(spec(), {"family": "resnet", "shortcut": "pad"}) == {
        "family": "resnet",
        "width": 16,
        "residual": True,
        "shortcut": "pad",
        "momentum": 0.9,
    }
    assert start_values(spec(), {"family": "cnn", "width": 8, "residual": True, "optimizer": "sgd"}) == {
        "family": "cnn",
        "width": 8,
        "momentum": 0.9,
    }


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"family": "mlp"}, "width 256 (its default: give another) is not among what is searched: 64, 128"),
        ({"family": "mlp", "width": 32}, "width 32 is not among what is searched: 64, 128"),
        ({"family": "cnn", "width": 12}, "width 12 is not among what is searched: 8 to 16, step 8"),
        ({"family": "resnet", "optimizer": "adam"}, "optimizer adam is not searched: every such trial has sgd"),
        ({"family": "resnet", "epochs": 20}, "epochs 20 is not searched: every such trial has 10"),
    ],
)
def test_start_outside(start, message):
    """A start with a value that is not searched is refused, not changed."""
    with pytest.raises(ValueError, match=r"\S") as error:
        start_values(spec(), start)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("description: other", True),
        ("source: other", True),
        ("trials: 99", True),
        ("dataset: mnist", False),
        ("method: random", False),
        ("objective: val_loss", False),
        ("epochs: 9", False),
        ("repeats: 2", False),
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
    assert spec("search:\n  lr: {low: 0.1, high: 1}").identity() != spec(f"search:\n  {search}").identity()


def test_start_searched_elsewhere():
    """A value that is searched for another family only is refused in a start."""
    text = "search: {family: [mlp, cnn], width: {choices: [64, 128], when: {family: mlp}}}"
    assert start_values(spec(text), {"family": "cnn", "width": 32}) == {"family": "cnn"}
    with pytest.raises(ValueError, match=r"^width 64 is not searched: every such trial has 32$"):
        start_values(spec(text), {"family": "cnn", "width": 64})


def test_grid_too_large():
    """A grid of more than 100,000 trials has no total, unless one is given."""
    with pytest.raises(ValueError, match=r"the grid has over 100,000 trials: give trials, or fewer values$"):
        spec("method: grid\nrepeats: 2\nsearch: {epochs: {low: 1, high: 10000}, lr: [1, 2, 3, 4, 5, 6]}")


def test_identity_is_json():
    """An identity is read back equal from a store."""
    identity = spec(CONDITIONAL + "start_with: [{family: resnet}]").identity()
    assert json.loads(json.dumps(identity)) == identity


def test_schema():
    """The JSON schema names every field that may be fixed, searched or started with, with bounds and help."""
    definitions = StudySpec.model_json_schema()["$defs"]
    own = {"dataset", "seed", "split_seed"}
    known = set(fields())
    assert set(definitions["Fixed"]["properties"]) == known - own - {"epochs"}
    assert set(definitions["Start"]["properties"]) == known - own
    assert set(definitions["Search"]["properties"]) == known - own - {"device", "threads", "eval_batch_size"}
    lr = definitions["Fixed"]["properties"]["lr"]
    assert lr.items() >= {"type": "number", "minimum": 1e-8, "maximum": 100, "description": "Learning rate."}.items()
    assert definitions["Fixed"]["properties"]["optimizer"]["enum"] == ["sgd", "adam", "adamw"]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_studies(name):
    """Every shipped study can be read, and each of its starts and corners is a configuration."""
    study = parse(resources.files("sweeps.studies").joinpath(name).read_text("utf-8"), name)
    assert study.description
    for values in (decide(study, first), *(start_values(study, start) for start in study.starts)):
        assert configuration(study, values).to_dict().items() >= values.items()
