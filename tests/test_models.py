"""Every family of networks keeps one contract; what is particular to a family follows at the end."""

import importlib
import inspect
import itertools
import math
import re

import pytest
import torch
from torch import nn

import models
from models import layers

# Small enough that the whole file takes seconds.
SMALL = {"width": 8, "depth": 2}
SHAPES = [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 30, 47)]
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)

every_family = pytest.mark.parametrize("family", models.FAMILIES)
every_activation = pytest.mark.parametrize("activation", models.ACTIVATIONS)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """For networks this small, threads that wait for each other take most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(family, shape=(1, 8, 8), classes=10, seed=0, **options):
    torch.manual_seed(seed)
    return models.build(family, shape, classes, {**models.FAMILIES[family].options, **SMALL, **options})


def images(shape=(1, 8, 8), count=4):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(1))


def size(network):
    return sum(parameter.numel() for parameter in network.parameters())


@every_family
def test_options(family):
    """A constructor takes exactly the options of its family, by keyword, and leaves their defaults to it."""
    module, name = models.FAMILIES[family].network.split(":")
    network = getattr(importlib.import_module(module), name)
    parameters = inspect.signature(network).parameters.values()
    assert [p.name for p in parameters if p.kind is p.KEYWORD_ONLY] == list(models.FAMILIES[family].options)
    assert all(p.default is p.empty for p in parameters)


@every_family
@pytest.mark.parametrize("classes", [2, 10, 200])
@pytest.mark.parametrize("shape", SHAPES)
def test_shape(family, shape, classes):
    """Images of any shape become one logit a class."""
    assert build(family, shape, classes)(images(shape)).shape == (4, classes)


@every_family
@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 1, 9), (2, 2, 3), (2, 5, 4), (2, 8, 8)])
@pytest.mark.parametrize("depth", [1, 4])
def test_tiny_images(family, shape, depth):
    """Images too small for a network are refused in one line when it is built, never later."""
    try:
        network = build(family, shape, depth=depth)
    except ValueError as error:
        rule = rf"a {family} of depth {depth} cannot take {shape[1]}x{shape[2]} images: .+; use .+"
        assert re.fullmatch(rule, str(error))  # noqa: PT017 - a family may take them as well
    else:
        assert network(images(shape)).shape == (4, 10)


@every_family
@every_activation
@pytest.mark.parametrize("batch_norm", [True, False])
def test_gradients(family, activation, batch_norm):
    """Every parameter gets a finite gradient, and some gradient is not zero."""
    network = build(family, activation=activation, batch_norm=batch_norm)
    logits = network(images())
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert logits.isfinite().all()
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


@every_family
@every_activation
@pytest.mark.parametrize("batch_norm", [True, False])
def test_initial_logits(family, activation, batch_norm):
    """The logits of a new network of depth 4 differ from class to class and from image to image, but not wildly."""
    shape = (3, 32, 32)
    network = build(family, shape, activation=activation, batch_norm=batch_norm, width=16, depth=4, dropout=0.0)
    logits = network(images(shape, 32))
    assert 0.01 < logits.std() < 10
    assert logits.std(dim=0).mean() > 1e-3


@every_family
def test_dropout(family):
    """Dropout changes the logits in training and not in evaluation."""
    network = build(family, dropout=0.5)
    with torch.no_grad():
        for parameter in network.parameters():  # some start at 0, and hide what is dropped before them
            parameter.add_(0.1)
        assert not network(images()).equal(network(images()))
        network.eval()
        assert network(images()).equal(network(images()))


@every_family
def test_no_dropout(family):
    """With dropout 0 a network is deterministic in training, too."""
    network = build(family, dropout=0.0)
    assert network(images()).equal(network(images()))


@every_family
def test_seed(family):
    """Torch's global seed decides the initial weights."""
    first, same, other = (build(family, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(first[name].equal(same[name]) for name in first)
    assert any(not first[name].equal(other[name]) for name in first)


@every_family
def test_batch_norm(family):
    """Norms stand in a network exactly where they are asked for."""
    for batch_norm in (True, False):
        modules = build(family, batch_norm=batch_norm).modules()
        assert any(isinstance(module, NORMS) for module in modules) == batch_norm


@every_family
def test_depth(family):
    """A deeper network has more parameters."""
    sizes = [size(build(family, (1, 16, 16), classes=2, depth=depth)) for depth in (1, 2, 3, 4)]
    assert sizes == sorted(set(sizes))


@every_family
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_learning(family, activation, batch_norm):
    """Forty steps of gradient descent tell 16 bright images from 16 dark ones, far better than by guessing."""
    network = build(family, classes=2, activation=activation, batch_norm=batch_norm, dropout=0.0)
    labels = torch.arange(32) % 2
    noise = images(count=32)
    brightness = 4.0 * labels.view(-1, 1, 1, 1) - 2
    # By hand, because importing torch.optim takes longer than all these tests.
    for _ in range(40):
        loss = nn.functional.cross_entropy(network(noise + brightness), labels)
        network.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.sub_(0.2 * parameter.grad)
    assert loss < math.log(2) / 2


@every_family
def test_state_dict(family):
    """A network that is given the weights of another gives the same logits."""
    first, other = build(family, seed=0).eval(), build(family, seed=1).eval()
    assert not first(images()).equal(other(images()))
    other.load_state_dict(first.state_dict())
    assert first(images()).equal(other(images()))


@every_family
@every_activation
def test_meta_device(family, activation):
    """A network can be built without memory for its weights."""
    with torch.device("meta"):
        network = build(family, activation=activation)
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}
    assert size(network) == size(build(family))


def test_unknown_family():
    """An unknown family is refused with the known ones."""
    with pytest.raises(ValueError, match=r"family is unknown: 'resnte'; did you mean resnet\?"):
        models.build("resnte", (1, 8, 8), 10, {})


def test_own_family(tmp_path, monkeypatch):
    """A class of the user's own is found by module:Class, and its keyword options by their defaults."""
    text = """
from torch import nn

class Linear(nn.Sequential):
    def __init__(self, shape, classes, *, bias=False):
        super().__init__(nn.Flatten(), nn.Linear(shape[1] * shape[2], classes, bias=bias))
"""
    (tmp_path / "own_networks.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert models.find("own_networks:Linear").options == {"bias": False}
    network = models.build("own_networks:Linear", (1, 8, 8), 10, {"bias": True})
    assert network(images()).shape == (4, 10)
    assert size(network) == 64 * 10 + 10


@pytest.mark.parametrize("path", ["no_such_module:Class", "models.mlp:NoSuchClass"])
def test_own_family_missing(path):
    """A class that cannot be imported is refused by its path."""
    with pytest.raises(ValueError, match=f"cannot load '{path}'"):
        models.find(path)


def test_unknown_activation():
    """An unknown activation is refused with the known ones."""
    with pytest.raises(ValueError, match=r"activation is unknown: 'rellu'; did you mean relu\?"):
        build("mlp", activation="rellu")


@pytest.mark.parametrize("name", layers.HE_GAINS)
def test_he_gain(name):
    """He's gain undoes what the activation does to the mean square of a standard normal signal."""
    z = torch.linspace(-8, 8, 10_001)
    density = torch.exp(-(z**2) / 2)
    mean_square = (density * layers.activation(name)(z) ** 2).sum() / density.sum()
    assert layers.HE_GAINS[name] == pytest.approx(mean_square.rsqrt().item(), abs=1e-3)


@every_activation
def test_deep_signal(activation):
    """Ten hidden layers without norms still tell images apart, and pass gradients down to the first."""
    network = build("mlp", activation=activation, batch_norm=False, dropout=0.0, width=64, depth=10)
    logits = network(images())
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    first, last = (layer.weight.grad.std() for layer in (network.hidden[0], network.logits))
    assert logits.std(dim=0).mean() > 1e-3
    assert first > 1e-3 * last


def test_mlp_size():
    """An MLP's parameters are those of its linear layers and norms, with a bias only at the logits."""
    hidden = 784 * 16 + 2 * 16 + 16 * 16 + 2 * 16
    assert size(build("mlp", (1, 28, 28), width=16)) == hidden + 16 * 10 + 10 == 13_034


def test_cnn_size():
    """A CNN's parameters are those of its convolutions and norms, and one weight a class and value of the last map."""
    blocks = (9 * 1 * 4 + 2 * 4) + (9 * 4 * 8 + 2 * 8)
    assert size(build("cnn", (1, 28, 28), width=4)) == blocks + 8 * 7 * 7 * 10 + 10 == 4_278


def test_resnet_size():
    """A ResNet's parameters are those of stem, branches, shortcut and logits."""
    stem = 9 * 3 * 4 + 2 * 4
    first = 2 * (9 * 4 * 4 + 2 * 4)
    second = (9 * 4 * 8 + 2 * 8) + (9 * 8 * 8 + 2 * 8)
    shortcut = 4 * 8 + 2 * 8
    assert size(build("resnet", (3, 32, 32), width=4)) == stem + first + second + shortcut + 8 * 10 + 10 == 1_454


@pytest.mark.parametrize("order", list(itertools.permutations(models.LAYERS)))
def test_layer_orders(order):
    """A CNN's layers stand and run in any order, with a norm or without."""
    kinds = {nn.Conv2d: "conv", nn.BatchNorm2d: "norm", nn.ReLU: "act", nn.Dropout: "drop", nn.MaxPool2d: "pool"}
    for batch_norm in (True, False):
        network = build("cnn", (1, 28, 28), layer_order="-".join(order), batch_norm=batch_norm, width=2)
        assert network(images((1, 28, 28), 2)).shape == (2, 10)
        expected = [layer for layer in order if batch_norm or layer != "norm"]
        assert [[kinds[type(layer)] for layer in block] for block in network.blocks] == [expected] * 2


@pytest.mark.parametrize(
    ("order", "bias"),
    [
        ("conv-norm-act-drop-pool", False),
        ("conv-pool-norm-act-drop", False),
        ("act-conv-norm-drop-pool", False),
        ("conv-act-norm-drop-pool", True),
        ("norm-conv-act-drop-pool", True),
    ],
)
def test_cnn_bias(order, bias):
    """A CNN's convolution has a bias unless a norm would take it out again."""
    assert (build("cnn", layer_order=order).blocks[0].conv.bias is not None) == bias


def test_cnn_too_deep():
    """A CNN too deep for its images names the deepest that would do, if any would."""
    rule = "a cnn of depth 4 cannot take 8x8 images: pooling leaves nothing after block 4; use a depth of at most 3"
    with pytest.raises(ValueError, match=f"^{rule}$"):
        build("cnn", depth=4)
    with pytest.raises(ValueError, match=r"pooling leaves nothing after block 1; use an mlp or a resnet$"):
        build("cnn", (1, 1, 28), depth=2)


@every_activation
@pytest.mark.parametrize("batch_norm", [True, False])
def test_resnet_shortcuts(activation, batch_norm):
    """Padding a shortcut takes no parameters, and so does leaving out the addition; 1x1 convolutions do."""
    options = {"activation": activation, "batch_norm": batch_norm, "width": 4, "depth": 3}
    plain = build("resnet", residual=False, shortcut=None, **options)
    pad = build("resnet", shortcut="pad", **options)
    conv = build("resnet", shortcut="conv", **options)
    extra = 4 * 8 + 8 * 16 + (2 * (8 + 16) if batch_norm else 8 + 16)
    assert size(plain) == size(pad) == size(conv) - extra
    assert size(plain) == size(build("resnet", residual=False, shortcut="conv", **options))
    for network in (plain, pad, conv):
        assert network(images((1, 7, 9))).shape == (4, 10)


def test_resnet_pad():
    """A padded shortcut takes every other pixel, and zeros for the new channels."""
    block = build("resnet", width=2, shortcut="pad").stages[1]
    x = images((2, 5, 4))
    y = block.shortcut(x)
    assert y[:, :2].equal(x[:, :, ::2, ::2])
    assert y.shape == (4, 4, 3, 2)
    assert not y[:, 2:].any()


@pytest.mark.parametrize("batch_norm", [True, False])
def test_resnet_start(batch_norm):
    """With rectifiers, a block starts as the activation of its shortcut."""
    for block in build("resnet", batch_norm=batch_norm).stages:
        x = images((block.branch[0].in_channels, 5, 5))
        assert block(x).equal(block.shortcut(x).relu())


def test_unknown_shortcut():
    """An unknown shortcut is refused with the known ones."""
    with pytest.raises(ValueError, match=r"shortcut is unknown: 'padd'; did you mean pad\?"):
        build("resnet", shortcut="padd")


@pytest.mark.parametrize("width", [2, 4, 6])
def test_narrow_resnet_trains_channels_last(width):
    """A narrow ResNet trains in the trainer's memory layout; with strided 1x1 convolutions it took the process down."""
    network = models.build("resnet", (1, 8, 8), 10, {**models.FAMILIES["resnet"].options, "width": width})
    network.to(memory_format=torch.channels_last)
    for _ in range(5):
        loss = network(torch.randn(32, 1, 8, 8).to(memory_format=torch.channels_last)).square().mean()
        loss.backward()
    assert torch.isfinite(loss)
