"""Configurations are checked and complete, and results survive being written."""

import dataclasses
import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import make_result, sample_config

import models
from sweeps.trial import (
    AUGMENTATIONS,
    FAILED,
    PRUNED,
    RUNNING,
    Epoch,
    Redraw,
    TrialConfig,
    TrialResult,
    applies,
    config_fields,
    configure,
    network_options,
    parse_augmentation,
    parse_redraw,
)

BOUNDED = [field for field in config_fields().values() if field.low is not None]
PARTS = st.lists(st.sampled_from(AUGMENTATIONS), min_size=1, unique=True).map("-".join)
# Any valid values of the fields whose rule is a function.
CHECKED = {
    "layer_order": st.permutations(models.LAYERS).map("-".join),
    "family": st.sampled_from(tuple(models.FAMILIES)),
    "blocks": st.lists(st.integers(1, 50).map(str), min_size=1, max_size=5).map("-".join),
    "augment": st.sampled_from(("auto", "none")) | PARTS,
    "redraw": st.sampled_from(("draw-0", "draw-12", "fold-1-of-2", "fold-5-of-5")),
    "pretrained": st.sampled_from(("false", __file__)),
    "freeze": st.sampled_from(("none", "backbone", "1", "12")),
}
# Values of other fields that let a field apply.
BESIDE = {"freeze": {"pretrained": __file__}, "backbone_lr": {"pretrained": __file__}}


def beside(name):
    """What a field needs beside it to apply: a family that has it, and the values of its condition."""
    needs = {
        other: next(v for v in allowed if v is not None)
        for other, allowed in config_fields()[name].when.items()
    }
    needs |= BESIDE.get(name, {})
    return {
        **needs,
        "family": next(f for f in models.FAMILIES if applies(name, {**needs, "family": f})),
    }


def one(name, value):
    """The field of a configuration to which it applies."""
    return getattr(configure({**beside(name), name: value}), name)


def values(field):
    """Any valid value of a field."""
    if field.check is not None:
        return CHECKED[field.name]
    if field.type is str:
        return st.sampled_from(field.choices) if field.choices else st.text()
    if field.type is bool:
        return st.booleans()
    numbers = st.integers if field.type is int else st.floats
    return numbers(field.low, field.high)


@pytest.mark.parametrize("family", models.FAMILIES)
def test_defaults_of_family(family):
    """A configuration of a family alone has the family's defaults, and None for what it has not."""
    config = configure({"family": family})
    for name in network_options():
        expected = models.FAMILIES[family].options.get(name)
        if name == "pretrained":
            expected = "false"
        assert getattr(config, name) == expected
        assert applies(name, config.to_dict()) == (expected is not None)
    assert config.options == models.FAMILIES[family].options


def test_defaults():
    """Nothing given is the declared default of every field that applies."""
    config = configure({})
    for name, field in config_fields().items():
        if name not in network_options():
            assert getattr(config, name) == (field.default if applies(name, vars(config)) else None)
    assert (config.family, config.optimizer, config.lr) == ("cnn", "adam", 0.001)


@pytest.mark.parametrize(
    ("name", "with_it", "without"),
    [
        ("momentum", [{"optimizer": "sgd"}], [{"optimizer": "adam"}, {"optimizer": "adamw"}]),
        (
            "shortcut",
            [{"family": "resnet"}],
            [{"family": "resnet", "residual": False}, {"family": "lenet_resnet"}],
        ),
        (
            "lr_patience",
            [{"schedule": "plateau"}],
            [{"schedule": s} for s in ("none", "cosine", "onecycle", "step")],
        ),
        (
            "lr_step",
            [{"schedule": "step"}],
            [{"schedule": s} for s in ("none", "cosine", "onecycle", "plateau")],
        ),
        ("lr_factor", [{"schedule": s} for s in ("plateau", "step")], [{"schedule": "cosine"}, {}]),
        (
            "min_lr",
            [{"schedule": s} for s in ("plateau", "cosine")],
            [{"schedule": "step"}, {"schedule": "onecycle"}],
        ),
        *(
            (
                name,
                [{}, {"preset": "none"}, {"family": "mlp"}, {"family": "mlp", "preset": "cifar10"}],
                [preset],
            )
            for name in ("width", "depth")
            for preset in [{"preset": "cifar10"}]
        ),
    ],
)
def test_conditions(name, with_it, without):
    """A field with a condition applies, with its default or the value given, where that holds, and nowhere else."""
    value = (
        config_fields()[name].choices[-1]
        if config_fields()[name].choices
        else config_fields()[name].high
    )
    for others in with_it:
        config = configure(others)
        assert getattr(config, name) == models.FAMILIES[config.family].options.get(
            name, config_fields()[name].default
        )
        assert getattr(configure({**others, name: value}), name) == value
    for others in without:
        assert getattr(configure({**others, name: value}), name) is None
        with pytest.raises(ValueError, match=f"^{name} does not apply to "):
            configure({**others, name: value}, strict=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"momentum": 0.5}, "momentum does not apply to cnn: it needs optimizer sgd"),
        ({"family": "mlp", "residual": True}, "residual does not apply to mlp"),
        ({"preset": "cifar10", "width": 8}, "width does not apply to cnn: it needs preset none"),
        (
            {"schedule": "cosine", "lr_factor": 0.5},
            "lr_factor does not apply to cnn: it needs schedule plateau or step",
        ),
        (
            {"family": "lenet_resnet", "batch_norm": True},
            "batch_norm does not apply to lenet_resnet",
        ),
        (
            {"family": "resnet", "layer_order": "conv-norm-act-drop-pool"},
            "layer_order does not apply to resnet",
        ),
    ],
)
def test_strict(given, message):
    """Strictly, a value that does not apply is refused, saying what it needs; otherwise it is left out."""
    with pytest.raises(ValueError, match=f"^{message}$"):
        configure(given, strict=True)
    assert message.split()[0] not in configure(given).to_dict()


def test_none_is_not_given():
    """None stands for a value that is not given, strictly too."""
    assert configure({"family": "mlp", "residual": None, "width": None}, strict=True) == configure(
        {"family": "mlp"}
    )


@pytest.mark.parametrize("field", BOUNDED, ids=lambda f: f.name)
def test_bounds(field):
    """Both bounds of a field are allowed; what lies beyond is refused with the rule and the value."""
    assert (one(field.name, field.low), one(field.name, field.high)) == (field.low, field.high)
    beyond = 1 if field.type is int else 1e-9 * max(1.0, field.high)
    for value in (field.low - beyond, field.high + beyond):
        with pytest.raises(
            ValueError, match=rf"^{field.name} must be from \S+ to \S+: got "
        ) as error:
            one(field.name, value)
        assert str(error.value).endswith(repr(value))


WRONG = {
    int: ([1.5, "1.5", "many", True, False, None, [1], {}, math.inf], "a whole number"),
    float: (["much", True, False, [0.5], {}], "a number"),
    bool: ([1, 0, 0.0, "yes", "no", "", [True]], "true or false"),
    str: ([1, 1.5, True, ["relu"], {}], "text"),
}


@pytest.mark.parametrize("field", config_fields().values(), ids=lambda f: f.name)
def test_wrong_types(field):
    """A value of another type is refused: true is no number, 1 is not true, 1.5 is not whole."""
    wrong, expected = WRONG[field.type]
    if field.has_shares:
        expected += ", or a share of one from 0.01"
    # Text that may be a bare number, or true, is given as one, too.
    taken = [1] if field.numeral else [True] if field.boolean else []
    for value in (value for value in wrong if not any(value is one for one in taken)):
        with pytest.raises(ValueError, match=f"^{field.name} must be {expected}: got "):
            field.parse(value)


@pytest.mark.parametrize(
    "name", [f.name for f in config_fields().values() if f.type is float and f.low is not None]
)
@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, "nan", "inf", "1e999", 10**400, "9" * 400]
)
def test_not_finite(name, value):
    """What is not a number, infinite, or too large for a float is refused by its bounds."""
    with pytest.raises(ValueError, match=f"^{name} must be from "):
        one(name, value)


def test_huge_whole_number():
    """A whole number larger than any float is refused by its bounds as well."""
    with pytest.raises(ValueError, match=r"^epochs must be from 1 to 10000: got 10{400}$"):
        configure({"epochs": 10**400})


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("lr", "1e-3", 0.001),
        ("lr", 1, 1.0),
        ("lr", "1", 1.0),
        ("epochs", "12", 12),
        ("epochs", 12.0, 12),
        ("epochs", "1e2", 100),
        ("batch_norm", "TRUE", True),
        ("residual", "false", False),
        ("softmax_output", "true", True),
        ("normalize", "False", False),
        ("blocks", 2, "2"),
    ],
)
def test_converted(name, given, expected):
    """Text, and numbers of the neighbouring type, become the field's type where nothing is lost."""
    value = one(name, given)
    assert value == expected
    assert type(value) is config_fields()[name].type


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"activation": "rleu"}, "activation is unknown: 'rleu'; did you mean relu?"),
        ({"optimizer": "Adam"}, "optimizer is unknown: 'Adam'; did you mean adam?"),
        ({"family": "resnett"}, "family is unknown: 'resnett'; did you mean resnet?"),
        ({"family": "no.such:Net"}, "cannot load 'no.such:Net'"),
        (
            {"layer_order": "conv-conv-norm-act-drop"},
            "layer_order must hold each of conv, norm, act, drop, pool once",
        ),
        (
            {"family": "resnet", "blocks": "3-0"},
            "blocks must be whole numbers from 1 to 50, joined by '-': got '3-0'",
        ),
        (
            {"family": "resnet", "blocks": 51},
            "blocks must be whole numbers from 1 to 50, joined by '-': got '51'",
        ),
        ({"family": "resnet", "stem": "conf"}, "stem is unknown: 'conf'; did you mean conv?"),
        ({"preset": "cifar"}, "preset is unknown: 'cifar'; did you mean cifar10?"),
        ({"init": "ortogonal"}, "init is unknown: 'ortogonal'; did you mean orthogonal?"),
        ({"schedule": "one_cycle"}, "schedule is unknown: 'one_cycle'; did you mean onecycle?"),
        ({"learning_rate": 1}, "unknown field 'learning_rate':"),
        ({"batchsize": 1}, "unknown field 'batchsize': did you mean batch_size?"),
    ],
)
def test_unknown(given, message):
    """An unknown name or choice is refused with the nearest known one."""
    with pytest.raises(ValueError, match="^" + message.replace("?", r"\?").replace(".", r"\.")):
        configure(given)


@pytest.mark.parametrize(
    ("text", "parts"),
    [("none", ()), ("auto", ("auto",)), ("flip", ("flip",)), ("cutout-crop", ("cutout", "crop"))],
)
def test_augmentation(text, parts):
    """An augmentation is nothing, left to the data set, or its parts in the order given."""
    assert parse_augmentation(text) == parts
    assert configure({"augment": text}).augment == text


@pytest.mark.parametrize(
    "text", ["", "flop", "crop-crop", "crop-", "crop flip", "crop-none", "auto-flip", "Flip"]
)
def test_wrong_augmentation(text):
    """What is no augmentation, or names a part twice, is refused with the rule and the value."""
    rule = (
        "augment must be auto, none, some of crop, flip, cutout joined by '-', or "
        f"FILE.py:function: got {text!r}"
    )
    with pytest.raises(ValueError, match=f"^{rule}$"):
        configure({"augment": text})


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("draw-0", Redraw(0)),
        ("draw-2147483647", Redraw(2147483647)),
        ("fold-1-of-2", Redraw(1, 2)),
        ("fold-100-of-100", Redraw(100, 100)),
    ],
)
def test_redraw(text, drawn):
    """A redraw is a random draw or a fold, and is written as it is read."""
    assert parse_redraw(text) == drawn
    assert str(drawn) == configure({"redraw": text}).redraw == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "3", "draw", "draw-", "draw-01", "draw--1", "draw-2147483648", "Draw-1"),
        *("fold-1", "fold-0-of-5", "fold-6-of-5", "fold-1-of-1", "fold-1-of-101", "fold 1 of 5"),
    ],
)
def test_wrong_redraw(text):
    """What is neither is refused with the rule and the value, and so is a fold that there is not."""
    rule = f"redraw must be draw-N, or fold-N-of-K with at most 100 folds: got {text!r}"
    with pytest.raises(ValueError, match=f"^{rule}$"):
        configure({"redraw": text})


@pytest.mark.parametrize("preset", models.PRESETS)
def test_options_of_a_preset(preset):
    """The options of any preset are those that its network takes; its own sizes stand in no configuration."""
    config = configure({"preset": preset})
    assert ("width" in config.to_dict(), "depth" in config.to_dict()) == (
        preset == "none",
        preset == "none",
    )
    assert config.options.keys() == models.FAMILIES["cnn"].options.keys()
    assert config.options["preset"] == preset


OWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, shape, classes, kernel, width=1.5, dropout=0.5, blocks=(2, 2), act=nn.ReLU):
        super().__init__()

class Open(nn.Module):
    def __init__(self, num_classes, **options):
        super().__init__()

class Named(nn.Module):
    def __init__(self, num_classes, lr=0.1, device=None):
        super().__init__()
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A working folder with networks of the user's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(OWN)


def test_own_family(own):
    """All parameters of an own network are its options, and its own types and bounds hold for them."""
    config = configure({"family": "net.py:Net", "kernel": 5, "width": 0.25, "optimizer": "sgd"})
    assert config.width is None  # of the fields, which have other bounds
    assert config.options == {"kernel": 5, "width": 0.25, "dropout": 0.5, "blocks": "[2, 2]"}
    assert config.value("width") == 0.25
    assert config.value("depth") is None
    assert TrialConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.source_digest == models.find_family("net.py:Net").own.source.digest
    signatures = {
        configure({"family": "net.py:Net", "kernel": 5, **changed}).signature
        for changed in ({}, {"width": 0.25}, {"blocks": [2, 3]}, {"kernel": 6}, {"dropout": 0})
    }
    assert len(signatures) == 5
    assert dataclasses.replace(config, source_digest="other").signature != config.signature


def test_own_family_is_read_without_its_code(tmp_path, monkeypatch):
    """What a store says of an own network is read where its file is missing."""
    monkeypatch.chdir(tmp_path)
    values = {**configure({"family": "mlp"}).to_dict(), "family": "gone.py:Net", "kernel": 3}
    del values["pretrained"]  # which an own network may only have as an option of its own
    config = TrialConfig.from_dict(values)
    assert config.value("kernel") == 3
    assert config.options == {
        "activation": "relu",
        "batch_norm": True,
        "bias": False,
        "depth": 2,
        "dropout": 0.2,
        "init": "auto",
        "kernel": 3,
        "width": 256,
    }
    for name, value in (("a.b", 1), ("kernel", "x" * 501), ("kernel", {}), ("kernel", 2**60)):
        with pytest.raises(ValueError, match="kernel|parameter"):
            TrialConfig.from_dict({**values, name: value})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"family": "net.py:Net"},
            "net.py:Net needs kernel, which has no default: give --set kernel=",
        ),
        ({"family": "net.py:Net", "kernal": 1}, "unknown field 'kernal': did you mean kernel"),
        (
            {"family": "net.py:Net", "kernel": 1, "depth": 2},
            "depth does not apply to net.py:Net: net.py:Net takes kernel, width",
        ),
        (
            {"family": "net.py:Net", "kernel": 1, "dropout": "much"},
            "dropout must be a number: got 'much'",
        ),
        ({"family": "net.py:Net", "kernel": 1, "blocks": 2}, "blocks must be a list: got 2"),
        ({"family": "net.py:Named"}, "has a parameter lr, which is a field of every training"),
        ({"family": "net.py:Open", "x": "[1, x]"}, None),
        ({"family": "net.py:Open", "x.y": 1}, "unknown field 'x.y'"),
        ({"family": "mlp", "kernel": 1}, "unknown field 'kernel'"),
    ],
)
def test_own_family_is_strict(own, values, message):
    """What an own network does not take, or not so, is refused in one line that names the option."""
    if message is None:
        configure(values, strict=True)
        return
    with pytest.raises(ValueError, match=message) as caught:
        configure(values, strict=True)
    assert "\n" not in str(caught.value)


RUNTIME = {
    *("device", "threads", "gpus_per_trial", "cudnn_deterministic", "eval_batch_size", "log_every"),
}


@pytest.mark.parametrize(
    "name",
    [name for name, field in config_fields().items() if name != "family" and not field.computed],
)
def test_what_counts(name):
    """Every field changes the signature but where and how fast it is trained; seed and redraw not the group."""
    field = config_fields()[name]
    own = beside(name)
    before = configure(own)
    candidates = [*field.choices, *(v for v in (field.low, field.high) if v is not None)] or {
        "dataset": ["mnist"],
        "split_file": ["split.csv"],
        "layer_order": ["conv-act-norm-drop-pool"],
        "blocks": ["3-4-4-3"],
        "augment": ["flip"],
        "redraw": ["fold-1-of-5"],
        "pretrained": [__file__],
        "freeze": ["backbone"],
    }.get(name, [True, False])
    after = configure({**own, name: next(v for v in candidates if v != getattr(before, name))})
    assert (before.signature == after.signature) == (name in RUNTIME)
    assert (before.group == after.group) == (name in {*RUNTIME, "seed", "redraw"})


def test_signature_is_kept():
    """A signature is 12 hexadecimal digits that do not change from one version to the next."""
    own = {"activation": "relu", "dropout": 0.5, "batch_norm": True, "width": 64, "depth": 2}
    config = configure(
        {"family": "mlp", "precision": "fp32", "epochs": 3, "batch_size": 32, "lr": 1e-3, **own}
    )
    assert (config.signature, config.group) == ("bb279bd1cc18", "00c5c3d01a9e")


def test_what_does_not_apply_does_not_count():
    """Equal experiments have equal signatures, whatever was given that does not apply, and in whatever order."""
    first = configure({"lr": 0.01, "family": "mlp", "width": 64})
    second = configure(
        {"width": 64.0, "momentum": 0.1, "residual": True, "family": "mlp", "lr": "1e-2"}
    )
    assert first == second
    assert first.signature == second.signature


@given(
    st.fixed_dictionaries(
        {}, optional={name: values(field) for name, field in config_fields().items()}
    )
)
def test_configure_round_trip(given):
    """Any valid values make a configuration that its dictionary, strictly and through JSON, makes again."""
    config = configure(given)
    again = configure(json.loads(json.dumps(config.to_dict())), strict=True)
    assert again == config
    assert (again.signature, again.group) == (config.signature, config.group)
    fields = config_fields()
    kept = {name: value for name, value in given.items() if not fields[name].computed}
    assert all(getattr(config, name) in (value, None) for name, value in kept.items())


def test_frozen():
    """A configuration cannot be changed."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        configure({}).lr = 1.0


@pytest.mark.parametrize(
    "result",
    [
        make_result(3, 0.75, with_confusion=True),
        make_result(4, 0.5, state=PRUNED, epochs=2),
        make_result(5, state=FAILED, epochs=0),
        make_result(6, state=RUNNING, epochs=1),
        dataclasses.replace(
            make_result(7, 0.25), error='a "quoted"\nline \u20ac', parameters=7, mflops=0.5
        ),
        dataclasses.replace(
            make_result(8, 0.25),
            latency_ms=0.125,
            duplicate_of=3,
            test={"acc": 0.5, "loss": 1.5},
            checkpoint="a/b",
        ),
        dataclasses.replace(
            make_result(9, state=PRUNED, end="infeasible", epochs=0),
            error="parameters 2, allowed 1",
        ),
    ],
    ids=lambda r: r.state,
)
def test_result_round_trip(result):
    """A result, whatever it lacks, is read back equal from its JSON."""
    assert TrialResult.from_dict(json.loads(result.to_json())) == result


@given(
    st.integers(0, 10**6),
    st.lists(st.none() | st.floats(0, 1)),
    st.lists(st.lists(st.integers(0, 99))) | st.none(),
)
def test_result_round_trip_of_classes(number, per_class, confusion):
    """Classes without images, and any confusion, are read back equal."""
    config = sample_config(random.Random(number))
    shares, counts = tuple(per_class), tuple(range(len(per_class)))
    metrics = {"val/acc": 0.5}
    epoch = Epoch(
        epoch=1,
        time=number,
        metrics=metrics,
        per_class=shares,
        train_per_class=shares[::-1],
        predicted=counts,
    )
    matrix = confusion if confusion is None else tuple(map(tuple, confusion))
    result = TrialResult(
        number=number,
        config=config,
        state=FAILED,
        end="oom",
        history=(epoch,),
        confusion=matrix,
        seconds=0.1,
    )
    assert TrialResult.from_dict(json.loads(result.to_json())) == result


def test_epoch_of_an_older_version():
    """A line of a history that was written without some figures is read with none of them."""
    row = {"epoch": 1, "time": 0, "metrics": {"val/acc": 0.5}, "per_class": [0.5, None]}
    assert Epoch.from_dict(row) == Epoch(
        epoch=1, time=0, metrics={"val/acc": 0.5}, per_class=(0.5, None)
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_result_has_no_value_that_is_no_number(value):
    """A value that is infinite or not a number is none: it has no rank, and JSON has no word for it."""
    result = make_result(0, value, epochs=0)
    assert result.value is None
    assert json.loads(result.to_json())["value"] is None


def test_best_epoch():
    """The best epoch's line is found by its number, and is None where there is none."""
    result = make_result(0, 0.75, epochs=3)
    assert result.best is result.history[2]
    assert dataclasses.replace(result, best_epoch=1).best is result.history[0]
    assert make_result(1, state=FAILED).best is None
