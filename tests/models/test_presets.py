"""The networks of the five reports, layer for layer: each count is written out from what its report shows."""

import itertools
import math

import pytest
import torch
from torch import nn

import models
from models.layers import Dropout
from models.presets import PRESETS

# The order in which each report's layers stand, where it is not the family's own.
ORDERS = {
    "cifar10": "conv-norm-act-drop-pool",
    "tinyimagenet_dropout": "conv-drop-norm-act-pool",
}
KINDS = {
    nn.Conv2d: "conv",
    nn.BatchNorm2d: "norm",
    nn.ReLU: "act",
    Dropout: "drop",
    nn.MaxPool2d: "pool",
}


def conv(inputs, outputs, kernel):
    """The parameters of a convolution with biases."""
    return kernel * kernel * inputs * outputs + outputs


def linear(inputs, outputs):
    """The parameters of a linear layer with biases."""
    return inputs * outputs + outputs


def norm(channels):
    """The parameters of a batch norm: a scale and a shift a channel."""
    return 2 * channels


def cnn(preset, **options):
    return {
        "preset": preset,
        "bias": True,
        "layer_order": ORDERS.get(preset, "conv-norm-act-pool-drop"),
        **options,
    }


def basic(inputs, outputs):
    """A block of two 3x3 convolutions with norms and a 1x1 convolution for its shortcut, all with biases."""
    branch = conv(inputs, outputs, 3) + norm(outputs) + conv(outputs, outputs, 3) + norm(outputs)
    return branch + conv(inputs, outputs, 1) + norm(outputs)


def plain(inputs, outputs):
    """The same without biases; a shortcut that keeps the shape has no parameters."""
    branch = 9 * inputs * outputs + norm(outputs) + 9 * outputs * outputs + norm(outputs)
    return branch + (0 if inputs == outputs else inputs * outputs + norm(outputs))


# Each report's network: family, images, classes, options, and its parameters written out.
MNIST, CIFAR, TINY = (1, 28, 28), (3, 32, 32), (3, 64, 64)
REPORTS = {
    # 000: conv1, rblock1, conv2, rblock2, fc1, fc2; all shown, with the total.
    "lenet_resnet": (
        "lenet_resnet",
        MNIST,
        10,
        {},
        [
            conv(1, 10, 5),
            2 * conv(10, 10, 3),
            conv(10, 20, 5),
            2 * conv(20, 20, 3),
            linear(320, 50),
            linear(50, 10),
        ],
    ),
    # 001: the inside of a block is inferred: two 3x3 convolutions, each with a norm, and a 1x1 shortcut with one.
    "mnist_resnet": (
        "resnet",
        MNIST,
        10,
        {"stem": "none", "head": "flatten", "width": 16, "depth": 3, "bias": True},
        [basic(1, 16), basic(16, 32), basic(32, 64), linear(64 * 7 * 7, 10)],
    ),
    # 002: 512 hidden units with a norm; and two convolutions, whose 3x3 is inferred from the 1600 values behind them.
    "cifar10_mlp": (
        "mlp",
        CIFAR,
        10,
        {"width": 512, "depth": 1, "bias": True},
        [linear(3 * 32 * 32, 512), norm(512), linear(512, 10)],
    ),
    "cifar10": (
        "cnn",
        CIFAR,
        10,
        cnn("cifar10"),
        [conv(3, 128, 3), norm(128), conv(128, 64, 3), norm(64), linear(1600, 10)],
    ),
    # 003: the first layer was given by the course and is not shown: a 3x3 convolution without a norm is inferred, from
    # the 32 channels that follow it and, in the ResNet, 64. There a block's inside is inferred as well.
    "tinyimagenet": (
        "cnn",
        TINY,
        200,
        cnn("tinyimagenet"),
        [
            conv(3, 32, 3),
            *(conv(32, 64, 2), norm(64)),
            *(conv(64, 192, 2), norm(192)),
            *(conv(192, 256, 2), norm(256)),
            *(conv(256, 256, 3), norm(256)),
            linear(256 * 3 * 3, 200),
        ],
    ),
    "tinyimagenet_dropout": (
        "cnn",
        TINY,
        200,
        cnn("tinyimagenet_dropout"),
        [
            conv(3, 32, 3),
            *(conv(32, 64, 5), norm(64)),
            *(conv(64, 512, 3), norm(512)),
            *(conv(512, 512, 2), norm(512)),
            linear(3 * 3 * 512, 3 * 3 * 512),
            linear(3 * 3 * 512, 200),
        ],
    ),
    "tinyimagenet_alexnet": (  # only "5x5, stride 2, zero padding, 5 convolutions, 2 linear layers" is told
        "cnn",
        TINY,
        200,
        cnn("tinyimagenet_alexnet"),
        [
            *(
                conv(3, 32, 5),
                conv(32, 64, 5),
                conv(64, 128, 5),
                conv(128, 256, 5),
                conv(256, 256, 5),
            ),
            linear(256 * 2 * 2, 1024),
            linear(1024, 200),
        ],
    ),
    "tinyimagenet_resnet": (
        "resnet",
        TINY,
        200,
        {"stem": "pool", "blocks": "3-4-4-3", "width": 64, "depth": 4},
        [
            9 * 3 * 64 + norm(64),
            3 * plain(64, 64),
            plain(64, 128) + 3 * plain(128, 128),
            plain(128, 256) + 3 * plain(256, 256),
            plain(256, 512) + 2 * plain(512, 512),
            linear(512, 200),
        ],
    ),
    # 004: three convolutions with norms and three linear layers; all shown.
    "mnist_wide": (
        "cnn",
        MNIST,
        10,
        cnn("mnist_wide"),
        [
            *(conv(1, 32, 3), norm(32), conv(32, 128, 3), norm(128), conv(128, 512, 3), norm(512)),
            *(linear(512 * 7 * 7, 1024), linear(1024, 256), linear(256, 10)),
        ],
    ),
}
TOTALS = {
    "lenet_resnet": 30_900,
    "mnist_resnet": 106_522,
    "cifar10_mlp": 1_579_530,
    "cifar10": 93_770,
    "tinyimagenet": 1_307_976,
    "tinyimagenet_dropout": 23_558_920,
    "tinyimagenet_alexnet": 3_971_336,
    "tinyimagenet_resnet": 19_018_248,
    "mnist_wide": 26_585_098,
}
# The side of the smallest images that a preset takes, in pixels, and what its layers leave of them.
LEAST = {
    "cifar10": 13,  # 11, 5, 3, 1
    "mnist_wide": 4,
    "tinyimagenet": 24,  # 24, 25, 12, 13, 6, 7, 3, 3, 1
    "tinyimagenet_dropout": 32,  # 32, 16, 12, 6, 6, 3, 2, 1
    "tinyimagenet_alexnet": 1,
}

every_report = pytest.mark.parametrize("report", REPORTS)
every_preset = pytest.mark.parametrize("preset", PRESETS)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """What is small waits longer for threads than it computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(report, **options):
    """The network of a report."""
    family, shape, classes, own, _ = REPORTS[report]
    return models.build(
        family, shape, classes, {**models.FAMILIES[family].options, **own, **options}
    )


def abstract(report, **options):
    """The network of a report without memory for its weights."""
    with torch.device("meta"):
        return build(report, **options)


def size(network):
    return sum(parameter.numel() for parameter in network.parameters())


def sides(report, **options):
    """Height behind each convolution and max-pool of a report's network, whatever its weights."""
    heights, network = [], abstract(report, **options).to_empty(device="cpu").eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d):
            module.register_forward_hook(
                lambda _module, _inputs, output: heights.append(output.shape[2])
            )
    with torch.no_grad():
        assert network(torch.zeros(1, *REPORTS[report][1])).shape == (1, REPORTS[report][2])
    return heights


def test_every_preset_is_a_reports():
    """Every preset of a CNN is counted here."""
    assert set(PRESETS) <= REPORTS.keys() == TOTALS.keys()
    assert PRESETS.keys() == LEAST.keys()


@every_report
def test_parameters(report):
    """A report's network has the parameters of the layers that the report shows, and of those inferred."""
    assert size(abstract(report)) == sum(REPORTS[report][4]) == TOTALS[report]


@every_report
def test_trains(report):
    """Two images of a report give finite logits, and every parameter a finite gradient."""
    torch.manual_seed(0)
    network, (_, shape, classes, *_) = build(report), REPORTS[report]
    logits = network(torch.randn(2, *shape))
    nn.functional.cross_entropy(logits, torch.tensor([0, classes - 1])).backward()
    assert logits.shape == (2, classes)
    assert logits.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert any(parameter.grad.any() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("lenet_resnet", [24, 12, 12, 12, 8, 4, 4, 4]),
        (
            "mnist_resnet",
            [28, 28, 28, 14, 14, 14, 7, 7, 7],
        ),  # each block's two convolutions, and its shortcut
        ("cifar10", [30, 14, 12, 5]),
        ("tinyimagenet", [64, 65, 32, 33, 16, 17, 8, 8, 3]),
        ("tinyimagenet_dropout", [64, 32, 28, 14, 14, 7, 6, 3]),
        ("tinyimagenet_alexnet", [32, 16, 8, 4, 2]),
        ("mnist_wide", [28, 14, 14, 7, 7]),
    ],
)
def test_sides(report, expected):
    """The maps have the heights that a report writes beside its layers."""
    assert sides(report) == expected


@pytest.mark.parametrize(
    ("preset", "order", "values"),
    [
        ("cifar10", "conv-pool-norm-act-drop", 64 * 5 * 5),
        # 32 is pooled to 15, convolved to 13, pooled to 6, convolved to 4.
        ("cifar10", "pool-conv-norm-act-drop", 64 * 4 * 4),
        # 64 keeps, 31, 32, 15, 16, 7, 8, 3, 3: padding makes up for it.
        ("tinyimagenet", "pool-conv-norm-act-drop", 256 * 3 * 3),
        (
            "tinyimagenet_dropout",
            "pool-conv-norm-act-drop",
            512 * 2 * 2,
        ),  # 32, 32, 16, 12, 6, 6, 3, 2
    ],
)
def test_values_behind_the_blocks(preset, order, values):
    """Where the max-pool stands decides how many values reach the linear layers."""
    network = abstract(preset, layer_order=order)
    first = network.hidden[0] if len(network.hidden) else network.logits
    assert first.in_features == values


def test_pooling_first_makes_a_smaller_network():
    """The report's CNN for CIFAR-10 with its max-pool before the convolution has 88,010 parameters."""
    assert (
        size(abstract("cifar10", layer_order="pool-conv-norm-act-drop"))
        == 93_770 - 10 * (1600 - 1024)
        == 88_010
    )


def test_blocks_of_the_resnet():
    """The ResNet for Tiny-ImageNet has 3, 4, 4 and 3 basic blocks, the first of each later stage halving."""
    stages = abstract("tinyimagenet_resnet").stages
    first = [block.branch[0] for block in stages]
    assert [(layer.in_channels, layer.out_channels) for layer in first] == [
        *[(64, 64)] * 3,
        *[(64, 128), *[(128, 128)] * 3],
        *[(128, 256), *[(256, 256)] * 3],
        *[(256, 512), *[(512, 512)] * 2],
    ]
    assert [layer.stride[0] for layer in first] == [*[1] * 3, *[2, 1, 1, 1] * 2, *[2, 1, 1]]
    assert [type(block.shortcut) is nn.Identity for block in stages] == [
        layer.stride[0] == 1 for layer in first
    ]
    # A stem of 64 is pooled to 32; then 32, 16, 8 and 4, which the mean takes to one value a channel.
    heights = sides("tinyimagenet_resnet", residual=False)
    assert heights == [64, 32, *[32] * 6, *[16] * 8, *[8] * 8, *[4] * 6]
    assert abstract("tinyimagenet_resnet").logits.in_features == 512


@every_preset
def test_too_small(preset):
    """A preset takes images from some size on; smaller ones are refused in one line when it is built."""
    least, options = LEAST[preset], {**models.FAMILIES["cnn"].options, **cnn(preset)}
    network = models.build("cnn", (1, least, least), 10, options).eval()
    assert network(torch.zeros(2, 1, least, least)).shape == (2, 10)
    for shape in [(1, least - 1, 64), (1, 64, least - 1)] if least > 1 else []:
        images = f"{shape[1]}x{shape[2]}"
        rule = rf"^the cnn {preset} cannot take {images} images: nothing is left after block \d; use .+ preset none$"
        with pytest.raises(ValueError, match=rule):
            models.build("cnn", shape, 10, options)


@every_preset
def test_layer_orders(preset):
    """A preset's layers stand in any order, each block having those that the report's has."""
    expected = {
        "cifar10": ["conv norm act drop pool"] * 2,
        "mnist_wide": ["conv norm act drop pool"] * 2 + ["conv norm act drop"],
        "tinyimagenet": ["conv act", *["conv norm act drop pool"] * 4],
        "tinyimagenet_dropout": ["conv act pool", *["conv norm act drop pool"] * 3],
        "tinyimagenet_alexnet": ["conv act"] * 5,
    }[preset]
    for order, batch_norm in itertools.product(
        itertools.permutations(models.LAYERS), (True, False)
    ):
        network = abstract(preset, layer_order="-".join(order), batch_norm=batch_norm)
        found = [[KINDS[type(layer)] for layer in block] for block in network.blocks]
        has = [set(block.split()) - (set() if batch_norm else {"norm"}) for block in expected]
        assert found == [[layer for layer in order if layer in block] for block in has]


@every_preset
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize(
    "order",
    [
        "conv-act-norm-drop-pool",  # the three changes that a report made
        "pool-conv-norm-act-drop",
        "conv-drop-norm-act-pool",
        "drop-norm-pool-act-conv",
    ],
)
def test_layer_orders_run(preset, order, batch_norm):
    """In other orders a preset takes its images, too, though fewer values may reach its linear layers."""
    assert min(sides(preset, layer_order=order, batch_norm=batch_norm)) >= 2


@every_preset
def test_options_within_a_preset(preset):
    """Activation and dropout are those asked for, everywhere; width and depth decide nothing."""
    network = abstract(preset, activation="gelu", dropout=0.25, width=None, depth=None)
    assert size(network) == size(abstract(preset, width=3, depth=7)) == TOTALS[preset]
    modules = list(network.modules())
    assert not any(isinstance(module, nn.ReLU) for module in modules)
    places = len(PRESETS[preset].blocks) + len(PRESETS[preset].hidden)
    assert sum(isinstance(module, nn.GELU) for module in modules) == places
    assert {module.p for module in modules if isinstance(module, nn.Dropout)} == {0.25}


def test_unknown_preset():
    """An unknown preset is refused with the known ones."""
    with pytest.raises(
        ValueError,
        match=r"preset is unknown: 'cifar'; did you mean cifar10\? known: none, cifar10,",
    ):
        build("cifar10", preset="cifar")


def test_logits_at_the_start():
    """In each report's own start, torch's, the loss of a new network is about that of guessing."""
    for report in ("lenet_resnet", "mnist_wide", "cifar10_mlp", "tinyimagenet"):
        torch.manual_seed(0)
        _, shape, classes, *_ = REPORTS[report]
        logits = build(report, init="torch")(torch.randn(32, *shape))
        loss = nn.functional.cross_entropy(logits, torch.arange(32) % classes)
        assert loss.item() == pytest.approx(math.log(classes), rel=0.2)
