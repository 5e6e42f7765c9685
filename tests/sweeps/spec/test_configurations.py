"""The configurations that a study spans: drawn, laid out, started with, or made of another study's best."""

from importlib import resources

import pytest
from support.studyfiles import CONDITIONAL

from sweeps.spec.configurations import (
    ablation_spec,
    choose_values,
    configuration,
    grid,
    planned_values,
    start_values,
)
from sweeps.spec.configurations import total_trials as total_of
from sweeps.spec.studyfile import StudyFileError, parse_study
from sweeps.trial import configure

SHIPPED = sorted(
    f.name for f in resources.files("sweeps.studies").iterdir() if f.name.endswith(".yaml")
)


def spec(text=CONDITIONAL, **changes):
    return parse_study(text, "test", overrides=changes)


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

    assert choose_values(spec(), choose) == {
        "family": "resnet",
        "width": 16,
        "residual": False,
        "momentum": 0.9,
    }
    assert asked == ["family", "width [family=cnn|resnet]", "residual", "momentum"]
    assert choose_values(spec(), first) == {"family": "mlp", "width": 64, "momentum": 0.5}


def test_decide_in_an_order_that_can_be_known():
    """A condition on a field that stands later in the configuration is decided after it."""
    text = """
search:
  dropout: {low: 0, high: 0.5, when: {epochs: [5]}}
  lr: {low: 0.1, high: 1, when: {dropout: [0]}}
  epochs: [5, 10]
"""
    assert list(choose_values(spec(text), first).items()) == [
        ("epochs", 5),
        ("dropout", 0),
        ("lr", 0.1),
    ]
    assert choose_values(spec(text), last_choice) == {"epochs": 10}


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
    assert choose_values(spec(text), first) == {"optimizer": "adam", "lr": 0.1}
    assert choose_values(spec(text), last_choice) == {"optimizer": "sgd", "lr": 0.2}


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
    assert list(grid(spec(), lambda d: [d.first])) == [
        {"family": "mlp", "width": 64, "momentum": 0.5}
    ]


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
        (
            "method: grid\nsearch: {epochs: {low: 1, high: 10000}, lr: {low: 1, high: 10, step: 1}}",
            100_000,
        ),
        (
            "method: grid\ntrials: 5\nsearch: {epochs: {low: 1, high: 10000}, width: {low: 1, high: 5000}}",
            5,
        ),
    ],
)
def test_total(text, total):
    """The total is what was asked for, 24 by default; a grid's is its size at most, each repeat a trial."""
    assert total_of(spec(text)) == total


def test_configuration():
    """A configuration has the study's own values, the fixed, the searched, the defaults, and the repeat's seed."""
    text = "dataset: mnist\nepochs: 3\nseed: 7\nsplit_seed: 5\nfixed: {schedule: cosine}\nsearch: {lr: [1, 2]}"
    config = configuration(spec(text), {"lr": 2.0}, repeat=2)
    changed = {
        "dataset": "mnist",
        "epochs": 3,
        "seed": 9,
        "split_seed": 5,
        "schedule": "cosine",
        "lr": 2.0,
    }
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
    assert start_values(
        spec(), {"family": "cnn", "width": 8, "residual": True, "optimizer": "sgd"}
    ) == {
        "family": "cnn",
        "width": 8,
        "momentum": 0.9,
    }


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (
            {"family": "mlp"},
            "width 256 (its default: give another) is not among what is searched: 64, 128",
        ),
        ({"family": "mlp", "width": 32}, "width 32 is not among what is searched: 64, 128"),
        ({"family": "cnn", "width": 12}, "width 12 is not among what is searched: 8 to 16, step 8"),
        (
            {"family": "resnet", "optimizer": "adam"},
            "optimizer adam is not searched: every such trial has sgd",
        ),
        ({"family": "resnet", "epochs": 20}, "epochs 20 is not searched: every such trial has 10"),
    ],
)
def test_start_outside(start, message):
    """A start with a value that is not searched is refused, not changed."""
    with pytest.raises(ValueError, match=r"\S") as error:
        start_values(spec(), start)
    assert str(error.value) == message


def test_start_searched_elsewhere():
    """A value that is searched for another family only is refused in a start."""
    text = "search: {family: [mlp, cnn], width: {choices: [64, 128], when: {family: mlp}}}"
    assert start_values(spec(text), {"family": "cnn", "width": 32}) == {"family": "cnn"}
    with pytest.raises(ValueError, match=r"^width 64 is not searched: every such trial has 32$"):
        start_values(spec(text), {"family": "cnn", "width": 64})


def test_grid_too_large():
    """A grid of more than 100,000 trials has no total, unless one is given."""
    with pytest.raises(
        ValueError, match=r"the grid has over 100,000 trials: give trials, or fewer values$"
    ):
        spec(
            "method: grid\nrepeats: 2\nsearch: {epochs: {low: 1, high: 10000}, lr: [1, 2, 3, 4, 5, 6]}"
        )


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_studies(name):
    """Every shipped study can be read, and each of its starts and corners is a configuration."""
    study = parse_study(resources.files("sweeps.studies").joinpath(name).read_text("utf-8"), name)
    assert study.description
    for values in (
        choose_values(study, first),
        *(start_values(study, start) for start in study.starts),
    ):
        assert configuration(study, values).to_dict().items() >= values.items()


ONE_FACTOR = """
method: one_factor
fixed: {family: mlp, dropout: 0.3}
search:
  dropout: [0.0, 0.3, 0.5]
  lr: [0.01, 0.1]
  batch_norm: [true, false]
"""


def test_one_factor_varies_each_dimension_alone():
    """The centre, with its fixed or default values, comes first; every other configuration differs in one field."""
    found = list(planned_values(spec(ONE_FACTOR)))
    centre = {"dropout": 0.3, "batch_norm": True, "lr": 0.001}
    assert found == [
        centre,
        {**centre, "dropout": 0.0},
        {**centre, "dropout": 0.5},
        {**centre, "batch_norm": False},
        {**centre, "lr": 0.01},
        {**centre, "lr": 0.1},
    ]
    assert total_of(spec(ONE_FACTOR + "repeats: 3")) == 18
    assert [configuration(spec(ONE_FACTOR), values).dropout for values in found[:3]] == [
        0.3,
        0.0,
        0.5,
    ]


def test_one_factor_leaves_out_what_does_not_apply():
    """Where a varied field switches others off, those are left out of that configuration."""
    text = (
        "method: one_factor\nfixed: {family: resnet}\nsearch: {residual: [false], shortcut: [pad]}"
    )
    assert list(planned_values(spec(text))) == [
        {"residual": True, "shortcut": "conv"},
        {"residual": False},
        {"residual": True, "shortcut": "pad"},
    ]


def test_zip_takes_values_together():
    """The first values of all dimensions make the first configuration, the second the second; values may recur."""
    text = "method: zip\nsearch: {lr: [0.1, 0.2, 0.3], width: [8, 16, 8]}"
    assert list(planned_values(spec(text))) == [
        {"width": 8, "lr": 0.1},
        {"width": 16, "lr": 0.2},
        {"width": 8, "lr": 0.3},
    ]
    assert total_of(spec(text)) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "method: zip\nsearch: {lr: [1, 2], width: [8]}",
            "zip needs as many values in every dimension: got width 1, lr 2",
        ),
        (
            "method: zip\nsearch: {lr: {choices: [1, 2], when: {optimizer: adam}}, width: [8, 9]}",
            "zip takes no conditions (when)",
        ),
        (
            "method: one_factor\nsearch: {lr: {low: 0.1, high: 1}}",
            "lr needs a list of values or a step",
        ),
        (
            "method: one_factor\nsearch: {lr: {choices: [1, 2], when: {optimizer: adam}}}",
            "lr: one_factor takes no conditions (when)",
        ),
        (
            "method: one_factor\nsearch: {momentum: [0.1, 0.2]}",
            "momentum does not apply at the fixed values that one_factor starts from",
        ),
        ("method: grid\nsearch: {lr: [0.1, 0.1]}", "lr lists a value twice: only zip takes that"),
        ("method: ablate", "ablate needs of: the name of the study whose best is ablated"),
        ("method: ablate\nof: x\nsearch: {lr: [1]}", "ablate takes no search"),
        ("of: x\nsearch: {lr: [1]}", "of is for method ablate: the method is tpe"),
    ],
)
def test_layouts_that_cannot_be(text, message):
    """What a method cannot lay out is refused when the study is read."""
    with pytest.raises(StudyFileError) as error:
        spec(text)
    assert message in str(error.value)


def test_starts_come_before_the_layout_and_only_once():
    """A start that the layout has too is tried once, first."""
    text = "method: grid\nsearch: {lr: [0.1, 0.2, 0.3]}\nstart_with: [{lr: 0.3}]"
    assert [values["lr"] for values in planned_values(spec(text))] == [0.3, 0.1, 0.2]


def test_ablation_sets_each_choice_back_to_its_default():
    """The best of another study is the centre; every searched choice that is not its default is set back, alone."""
    best = configure(
        {
            "dataset": "mnist",
            "epochs": 7,
            "family": "resnet",
            "lr": 0.02,
            "dropout": 0.3,
            "width": 16,
            "seed": 4,
            "redraw": "draw-4",
        }
    )
    made = ablation_spec(
        spec("method: ablate\nof: other\nrepeats: 2"), best, ["family", "lr", "dropout", "width"]
    )
    assert list(planned_values(made)) == [
        {"dropout": 0.3, "lr": 0.02},
        {"dropout": 0.0, "lr": 0.02},
        {"dropout": 0.3, "lr": 0.001},
    ]
    assert (made.dataset, made.epochs, made.seed, total_of(made)) == ("mnist", 7, 0, 6)
    centre = configuration(made, next(planned_values(made)))
    assert {**centre.to_dict(), "seed": 4, "redraw": "draw-4"} == best.to_dict()
    redrawn = ablation_spec(spec("method: ablate\nof: other\nfolds: 2"), best, ["dropout"])
    assert configuration(redrawn, {}, repeat=1).redraw == "fold-2-of-2"


def test_ablation_keeps_what_the_file_says():
    """Epochs and fixed values of the ablating study hold instead of the best's."""
    best = configure({"lr": 0.02, "dropout": 0.3, "epochs": 7})
    made = ablation_spec(
        spec("method: ablate\nof: other\nepochs: 2\nfixed: {lr: 0.5}"), best, ["lr", "dropout"]
    )
    assert [configuration(made, values).lr for values in planned_values(made)] == [0.5, 0.5]
    assert made.epochs == 2


def test_ablation_sets_back_what_only_applies_beside_another_choice():
    """Fields that depend on a choice have their default beside it; the epochs can be set back, too."""
    best = configure(
        {"optimizer": "sgd", "momentum": 0.5, "schedule": "plateau", "lr_factor": 0.1, "epochs": 3}
    )
    made = ablation_spec(
        spec("method: ablate\nof: other"),
        best,
        ["optimizer", "momentum", "schedule", "lr_factor", "epochs"],
    )
    changes = [
        {k: v for k, v in values.items() if v != getattr(best, k)}
        for values in planned_values(made)
    ]
    assert changes == [
        {},
        {"optimizer": "adam"},
        {"momentum": 0.9},
        {"schedule": "none"},
        {"lr_factor": 0.3},
        {"epochs": 10},
    ]


def test_ablation_leaves_out_what_is_settled():
    """`auto` is settled once for a study, so it is no value to set back to."""
    best = configure({"augment": "none", "precision": "fp32", "lr": 0.1})
    made = ablation_spec(spec("method: ablate\nof: other"), best, ["augment", "precision", "lr"])
    assert [dimension.field for dimension in made.dimensions] == ["lr"]


def test_nothing_to_ablate():
    """A best with every searched choice at its default is refused."""
    with pytest.raises(
        ValueError, match=r"^the best of other has every searched choice at its default"
    ):
        ablation_spec(spec("method: ablate\nof: other"), configure({}), ["lr", "dropout"])


@pytest.mark.parametrize("name", SHIPPED)
def test_every_published_figure_is_of_a_configuration(name):
    """Each reference of a shipped study is of one of its configurations, and no other reference is of that one."""
    study = parse_study(resources.files("sweeps.studies").joinpath(name).read_text("utf-8"), name)
    configurations = [configuration(study, values) for values in planned_values(study)]
    for reference in study.reference:
        assert sum(reference.matches(config) for config in configurations) == 1, reference.label
    for config in configurations:
        assert sum(reference.matches(config) for reference in study.reference) <= 1
