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
from models import channels_last, initial, layers

# Small enough that the whole file takes seconds.
SMALL = {"width": 8, "depth": 2}
SHAPES = [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 30, 47), (1, 16, 19)]
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
WEIGHTED = (nn.Conv2d, nn.Linear)
# The side of the smallest images, in pixels, that a family takes at those sizes; a test's images have 8 else.
LEAST = {"lenet_resnet": 16}
# Steps and rate of gradient descent that suffice where 40 of 0.2 do not: eight layers without a norm between them.
PACES = {("lenet_resnet", "relu"): (40, 0.02), ("lenet_resnet", "sigmoid"): (150, 0.2)}


def having(*options):
    """The families with these options."""
    return [name for name, family in models.FAMILIES.items() if {*options} <= family.options.keys()]


every_family = pytest.mark.parametrize("family", models.FAMILIES)
every_activation = pytest.mark.parametrize("activation", models.ACTIVATIONS)
every_init = pytest.mark.parametrize("init", models.INITS)
# Each family with a norm and without, where that can be chosen.
every_norm = pytest.mark.parametrize(
    ("family", "norm"),
    [
        (family, norm)
        for family in models.FAMILIES
        for norm in (
            [{"batch_norm": True}, {"batch_norm": False}]
            if family in having("batch_norm")
            else [{}]
        )
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """For networks this small, threads that wait for each other take most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def least(family):
    """The shape of small images that a family takes."""
    side = LEAST.get(family, 8)
    return (1, side, side)


def build(family, shape=None, classes=10, seed=0, **options):
    """A small network; of the sizes that it is to have, its family takes those that it knows."""
    known = models.FAMILIES[family].options
    sizes = {
        name: value
        for name, value in {**SMALL, **options}.items()
        if name in known or name not in SMALL
    }
    torch.manual_seed(seed)
    return models.build(family, shape or least(family), classes, {**known, **sizes})


def images(shape=(1, 8, 8), count=4):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(1))


def images_for(family, count=4):
    return images(least(family), count)


def weighted(network):
    """The layers with weights that are drawn."""
    return [module for module in network.modules() if isinstance(module, WEIGHTED)]


def size(network):
    return sum(parameter.numel() for parameter in network.parameters())


@every_family
def test_options(family):
    """A constructor takes exactly the options of its family, by keyword, and leaves their defaults to it."""
    module, name = models.FAMILIES[family].network.split(":")
    network = getattr(importlib.import_module(module), name)
    parameters = inspect.signature(network).parameters.values()
    assert [p.name for p in parameters if p.kind is p.KEYWORD_ONLY] == list(
        models.FAMILIES[family].options
    )
    assert all(p.default is p.empty for p in parameters)


@pytest.mark.parametrize("classes", [2, 10, 200])
@pytest.mark.parametrize(
    ("family", "shape"),
    [(f, s) for f in models.FAMILIES for s in SHAPES if min(s[1:]) >= least(f)[1]],
)
def test_shape(family, shape, classes):
    """Images of any shape, from the smallest on, become one logit a class."""
    assert build(family, shape, classes)(images(shape)).shape == (4, classes)


@every_family
@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 1, 9), (2, 2, 3), (2, 5, 4), (2, 8, 8)])
@pytest.mark.parametrize("depth", [1, 4])
def test_tiny_images(family, shape, depth):
    """Images too small for a network are refused in one line when it is built, never later."""
    of_depth = f" of depth {depth}" if family in having("depth") else ""
    try:
        network = build(family, shape, depth=depth)
    except ValueError as error:
        rule = rf"a {family}{of_depth} cannot take {shape[1]}x{shape[2]} images: .+; use .+"
        assert re.fullmatch(rule, str(error))  # noqa: PT017 - a family may take them as well
    else:
        assert network(images(shape)).shape == (4, 10)


@every_norm
@every_activation
def test_gradients(family, norm, activation):
    """Every parameter gets a finite gradient, and some gradient is not zero."""
    network = build(family, activation=activation, **norm)
    logits = network(images_for(family))
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert logits.isfinite().all()
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


@every_norm
@every_activation
def test_initial_logits(family, norm, activation):
    """The logits of a new network of depth 4 differ from class to class and from image to image, but not wildly."""
    shape = (3, 32, 32)
    network = build(family, shape, activation=activation, width=16, depth=4, dropout=0.0, **norm)
    logits = network(images(shape, 32))
    assert 0.01 < logits.std() < 10
    assert logits.std(dim=0).mean() > 1e-3


@every_family
def test_dropout(family):
    """Dropout changes the logits in training and not in evaluation."""
    network = build(family, dropout=0.5)
    with torch.no_grad():
        for (
            parameter
        ) in network.parameters():  # some start at 0, and hide what is dropped before them
            parameter.add_(0.1)
        x = images_for(family)
        assert not network(x).equal(network(x))
        network.eval()
        assert network(x).equal(network(x))


@every_family
def test_no_dropout(family):
    """With dropout 0 a network is deterministic in training, too."""
    network = build(family, dropout=0.0)
    assert network(images_for(family)).equal(network(images_for(family)))


@every_family
def test_seed(family):
    """Torch's global seed decides the initial weights."""
    first, same, other = (build(family, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(first[name].equal(same[name]) for name in first)
    assert any(not first[name].equal(other[name]) for name in first)


@pytest.mark.parametrize("family", having("batch_norm"))
def test_batch_norm(family):
    """Norms stand in a network exactly where they are asked for."""
    for batch_norm in (True, False):
        modules = build(family, batch_norm=batch_norm).modules()
        assert any(isinstance(module, NORMS) for module in modules) == batch_norm


@pytest.mark.parametrize("family", having("depth"))
def test_depth(family):
    """A deeper network has more parameters."""
    sizes = [size(build(family, (1, 16, 16), classes=2, depth=depth)) for depth in (1, 2, 3, 4)]
    assert sizes == sorted(set(sizes))


@every_norm
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_learning(family, norm, activation):
    """Some steps of gradient descent tell 16 bright images from 16 dark ones, far better than by guessing."""
    steps, rate = PACES.get((family, activation), (40, 0.2))
    network = build(family, classes=2, activation=activation, dropout=0.0, **norm)
    labels = torch.arange(32) % 2
    noise = images_for(family, count=32)
    brightness = 4.0 * labels.view(-1, 1, 1, 1) - 2
    # By hand, because importing torch.optim takes longer than all these tests.
    for _ in range(steps):
        loss = nn.functional.cross_entropy(network(noise + brightness), labels)
        network.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.sub_(rate * parameter.grad)
    assert loss < math.log(2) / 2


@every_family
def test_state_dict(family):
    """A network that is given the weights of another gives the same logits."""
    first, other = build(family, seed=0).eval(), build(family, seed=1).eval()
    x = images_for(family)
    assert not first(x).equal(other(x))
    other.load_state_dict(first.state_dict())
    assert first(x).equal(other(x))


@every_family
@every_activation
def test_meta_device(family, activation):
    """A network can be built without memory for its weights."""
    with torch.device("meta"):
        network = build(family, activation=activation)
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}
    assert size(network) == size(build(family))


@pytest.mark.parametrize("family", having("bias"))
def test_bias(family):
    """Every layer has a bias where that is asked for; without norms it has one anyway, but for a norm's own shift."""
    assert all(layer.bias is not None for layer in weighted(build(family, bias=True)))
    assert any(layer.bias is None for layer in weighted(build(family, bias=False)))
    assert size(build(family, bias=True, batch_norm=False)) == size(
        build(family, bias=False, batch_norm=False)
    )


@pytest.mark.parametrize("family", having("bias"))
def test_bias_under_a_norm(family):
    """A bias that a norm follows changes nothing in training: the norm takes it out again."""
    network = build(family, bias=True, dropout=0.0)
    before = network(images())
    kept = weighted(build(family, bias=False))
    with torch.no_grad():
        for layer, other in zip(weighted(network), kept, strict=True):
            if other.bias is None:
                layer.bias.add_(1.0)
    assert torch.allclose(network(images()), before, atol=1e-4)


# Initial weights


@every_family
@every_init
def test_init_seed(family, init):
    """Whatever draws the initial weights, torch's global seed decides them; they are finite, and so are the logits."""
    first, same, other = (build(family, seed=seed, init=init) for seed in (3, 3, 4))
    for a, b, c in zip(weighted(first), weighted(same), weighted(other), strict=True):
        assert a.weight.equal(b.weight)
        assert not a.weight.any() or not a.weight.equal(c.weight)
    assert first(images_for(family)).isfinite().all()


@every_family
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_inits_differ(family, activation):
    """No two ways of drawing the initial weights agree."""
    networks = [build(family, init=init, activation=activation) for init in models.INITS]
    for one, other in itertools.combinations(networks, 2):
        assert any(
            not a.weight.equal(b.weight)
            for a, b in zip(weighted(one), weighted(other), strict=True)
        )


@every_family
def test_torch_init(family):
    """The weights and biases of init torch are those that torch draws for each layer, in order."""
    network = build(family, init="torch", seed=5)
    torch.manual_seed(5)
    for layer in weighted(network):
        before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
        layer.reset_parameters()
        assert all(layer.state_dict()[name].equal(tensor) for name, tensor in before.items())
        bound = layer.weight[0].numel() ** -0.5
        assert 0.5 * bound < layer.weight.abs().max() <= bound


@every_family
@pytest.mark.parametrize("init", [init for init in models.INITS if init != "torch"])
def test_biases_start_at_zero(family, init):
    """All but torch's own ways start with biases of 0 and norms that scale by 1 or, behind a branch, by 0."""
    for module in build(family, init=init).modules():
        if isinstance(module, (*WEIGHTED, *NORMS)) and module.bias is not None:
            assert not module.bias.any()
        if isinstance(module, NORMS):
            assert module.weight.unique().tolist() in ([1.0], [0.0] if init == "auto" else [1.0])


@every_family
@every_activation
def test_orthogonal_init(family, activation):
    """Orthogonal weights have orthonormal rows, or columns where those are fewer, times the activation's gain."""
    for layer in weighted(build(family, init="orthogonal", activation=activation)):
        rows = layer.weight.flatten(1)
        rows = rows if len(rows) <= rows.shape[1] else rows.T
        gain = initial.HE_GAINS.get(activation, 1.0)
        assert torch.allclose(rows @ rows.T, gain**2 * torch.eye(len(rows)), atol=1e-4)


@pytest.mark.parametrize(
    ("init", "activation", "gains"),
    [
        # The squared gain by the fan of a convolution 16 -> 64 of 9 pixels, a layer 64 -> 256, the logits 256 -> 400.
        ("auto", "relu", [2 / (9 * 64), 2 / 64, 2 / (256 + 400)]),
        (
            "auto",
            "tanh",
            [2 * (5 / 3) ** 2 / (9 * (16 + 64)), 2 * (5 / 3) ** 2 / (64 + 256), 2 / (256 + 400)],
        ),
        ("he", "relu", [2 / (9 * 64), 2 / 64, 2 / 256]),
        ("he", "tanh", [2 / (9 * 64), 2 / 64, 2 / 256]),
        ("xavier", "relu", [2 / (9 * (16 + 64)), 2 / (64 + 256), 2 / (256 + 400)]),
        ("xavier", "sigmoid", [32 / (9 * (16 + 64)), 32 / (64 + 256), 32 / (256 + 400)]),
    ],
)
def test_spread_of_weights(init, activation, gains):
    """He's weights vary by the fan out of convolutions and the fan in of linear layers, Xavier's by both fans."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(16, 64, 3), nn.Linear(64, 256), nn.Linear(256, 400))
    initial.initialise(network, activation, init)
    assert [layer.weight.var().item() for layer in network] == pytest.approx(gains, rel=0.05)


def test_unknown_init():
    """An unknown way of drawing the initial weights is refused with the known ones."""
    with pytest.raises(
        ValueError, match=r"init is unknown: 'xaver'; did you mean xavier\? known: auto, torch, he,"
    ):
        build("mlp", init="xaver")


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
    assert models.find_family("own_networks:Linear").options == {"bias": False}
    network = models.build("own_networks:Linear", (1, 8, 8), 10, {"bias": True})
    assert network(images()).shape == (4, 10)
    assert size(network) == 64 * 10 + 10


@pytest.mark.parametrize("path", ["no_such_module:Class", "models.mlp:NoSuchClass"])
def test_own_family_missing(path):
    """A class that cannot be imported is refused by its path."""
    with pytest.raises(ValueError, match=f"cannot load '{path}'"):
        models.find_family(path)


def test_unknown_activation():
    """An unknown activation is refused with the known ones."""
    with pytest.raises(ValueError, match=r"activation is unknown: 'rellu'; did you mean relu\?"):
        build("mlp", activation="rellu")


@pytest.mark.parametrize("name", initial.HE_GAINS)
def test_he_gain(name):
    """He's gain undoes what the activation does to the mean square of a standard normal signal."""
    z = torch.linspace(-8, 8, 10_001)
    density = torch.exp(-(z**2) / 2)
    mean_square = (density * layers.activation(name)(z) ** 2).sum() / density.sum()
    assert initial.HE_GAINS[name] == pytest.approx(mean_square.rsqrt().item(), abs=1e-3)


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
    assert (
        size(build("resnet", (3, 32, 32), width=4))
        == stem + first + second + shortcut + 8 * 10 + 10
        == 1_454
    )


@pytest.mark.parametrize("order", list(itertools.permutations(models.LAYERS)))
def test_layer_orders(order):
    """A CNN's layers stand and run in any order, with a norm or without."""
    kinds = {
        nn.Conv2d: "conv",
        nn.BatchNorm2d: "norm",
        nn.ReLU: "act",
        layers.Dropout: "drop",
        nn.MaxPool2d: "pool",
    }
    for batch_norm in (True, False):
        network = build(
            "cnn", (1, 28, 28), layer_order="-".join(order), batch_norm=batch_norm, width=2
        )
        assert network(images((1, 28, 28), 2)).shape == (2, 10)
        expected = [layer for layer in order if batch_norm or layer != "norm"]
        assert [[kinds[type(layer)] for layer in block] for block in network.blocks] == [
            expected
        ] * 2


@pytest.mark.parametrize("activation", models.ACTIVATIONS)
@pytest.mark.parametrize("order", ["conv-norm-act-pool-drop", "conv-act-drop-pool-norm"])
def test_pooled_first(order, activation):
    """A CNN gives the values and gradients of its layers in their order, whatever it computes first."""
    torch.manual_seed(0)
    network = build(
        "cnn", (1, 28, 28), layer_order=order, activation=activation, dropout=0.0
    ).train()
    exact = activation in {"relu", "leaky_relu"}  # the rounding of others is not monotone
    near = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-4, "atol": 1e-5}
    given = images((1, 28, 28), 8).contiguous(memory_format=torch.channels_last)
    found = network(given)
    found.square().sum().backward()
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    maps = given
    for layer in itertools.chain.from_iterable(network.blocks):
        maps = layer(maps)
    plain = network.logits(maps.flatten(1))
    plain.square().sum().backward()
    torch.testing.assert_close(found, plain, **near)
    for gradient, parameter in zip(gradients, network.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-4)


def test_only_rising_activations_are_pooled_first():
    """An activation that falls somewhere stays before its pooling, and so does one with a layer in between."""
    pool, relu, gelu, drop = nn.MaxPool2d(2), nn.ReLU(), nn.GELU(), nn.Dropout()
    assert channels_last.pooled_first([relu, pool, drop]) == [pool, relu, drop]
    for order in ([gelu, pool], [relu, drop, pool], [pool, relu]):
        assert channels_last.pooled_first(order) == order


def _picked(maps, *, training):
    return channels_last.subsample(maps, 2, 3, training=training)


def _first_picked(maps, *, training):
    return channels_last.subsample(maps, 1, -2, training=training)


@pytest.mark.parametrize(
    "function", [channels_last.flatten, channels_last.mean, _picked, _first_picked]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_stay_channels_last(function, dtype):
    """What brings maps to another shape gives the values and gradients of torch, these channels last."""
    torch.manual_seed(0)
    maps = (
        torch.randn(3, 5, 7, 4, dtype=dtype)
        .contiguous(memory_format=torch.channels_last)
        .requires_grad_()
    )
    plain, ours = (function(maps, training=training) for training in (False, True))
    weights = torch.randn_like(ours)
    expected, found = (torch.autograd.grad(made, maps, weights)[0] for made in (plain, ours))
    assert torch.equal(ours, plain)
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("family", ["cnn", "resnet", "lenet_resnet"])
def test_a_step_stays_channels_last(family):
    """The gradients of all maps of a network come channels last."""
    network = build(family, (1, 16, 16)).to(memory_format=torch.channels_last).train()
    found = []

    def look(_module, _given, made):
        if made.dim() == 4:
            made.register_hook(
                lambda gradient: found.append(
                    gradient.is_contiguous(memory_format=torch.channels_last)
                )
            )

    for module in network.modules():
        module.register_forward_hook(look)
    network(images((1, 16, 16), 8).to(memory_format=torch.channels_last)).square().sum().backward()
    assert len(found) > 5
    assert all(found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("drop", [0.1, 0.5, 0.95])
def test_dropout_is_of_its_share(drop, dtype):
    """Dropout drops its share of the values and of their gradients, and scales the rest so that the mean stays."""
    torch.manual_seed(0)
    ones = (
        torch.ones(8, 25, 40, 50, dtype=dtype)
        .contiguous(memory_format=torch.channels_last)
        .requires_grad_()
    )
    made = layers.Dropout(drop)(ones)
    made.sum().backward()
    assert torch.equal(made, ones.grad)
    assert (made.dtype, made.stride()) == (dtype, ones.stride())
    few = 4 * math.sqrt(drop * (1 - drop) / ones.numel())  # standard errors of the share
    assert (made == 0).double().mean().item() == pytest.approx(drop, abs=few + 2**-15)
    assert made.unique().tolist() == [
        0,
        pytest.approx(1 / (1 - drop), rel=2**-15 / (1 - drop) if dtype == torch.float32 else 2**-8),
    ]
    of_maps = (made == 0).double().mean(dim=(2, 3))
    assert of_maps.std().item() == pytest.approx(
        math.sqrt(drop * (1 - drop) / 2000), rel=0.2
    )  # each value for itself


def test_dropout_is_drawn_from_the_seed():
    """The same seed drops the same values, and goes on to others."""
    drop, ones = layers.Dropout(0.5), torch.ones(3, 33)
    torch.manual_seed(1)
    first, second = drop(ones), drop(ones)
    torch.manual_seed(1)
    assert torch.equal(drop(ones), first)
    assert not torch.equal(first, second)
    assert torch.equal(drop.eval()(ones), ones)


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
    with pytest.raises(
        ValueError, match=r"pooling leaves nothing after block 1; use an mlp or a resnet$"
    ):
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


def test_resnet_pad_of_a_narrower_block():
    """A padded shortcut from more channels than the block has lets the first of them by."""
    block = build("resnet", (3, 8, 8), width=2, stem="none", shortcut="pad").stages[0]
    x = images((3, 5, 4))
    assert block.shortcut(x).equal(x[:, :2])


@pytest.mark.parametrize("head", models.HEADS)
@pytest.mark.parametrize("stem", models.STEMS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 9), (1, 7, 8), (3, 30, 47)])
def test_resnet_stems_and_heads(shape, stem, head):
    """Every stem and head takes images of any shape, odd sides rounded up, and all parameters get a gradient."""
    network = build("resnet", shape, stem=stem, head=head, depth=3)
    logits = network(images(shape))
    assert logits.shape == (4, 10)
    logits.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    halvings = 3 if stem == "pool" else 2
    rows, columns = (-(-side // 2**halvings) for side in shape[1:])
    assert network.logits.in_features == 8 * 4 * (rows * columns if head == "flatten" else 1)


@pytest.mark.parametrize(("stem", "layers"), [("conv", "C N R"), ("pool", "C N R M"), ("none", "")])
def test_resnet_stem(stem, layers):
    """A stem is a convolution with norm and activation, the same with a max-pool, or nothing."""
    kinds = {nn.Conv2d: "C", nn.BatchNorm2d: "N", nn.ReLU: "R", nn.MaxPool2d: "M"}
    assert " ".join(kinds[type(module)] for module in build("resnet", stem=stem).stem) == layers


def test_resnet_head():
    """One head gives the logits each map's mean, the other every value of the maps."""
    x = images((5, 3, 4))
    assert torch.allclose(build("resnet", head="pool").head(x), x.flatten(2).mean(dim=2))
    assert build("resnet", head="flatten").head(x).equal(x.flatten(1))


@pytest.mark.parametrize(
    ("blocks", "widths"),
    [
        ("1", [4, 8, 16]),
        ("2", [4, 4, 8, 8, 16, 16]),
        ("3-1-2", [4, 4, 4, 8, 16, 16]),
        ("2-1", [4, 4, 8, 16]),
        ("1-2-1-9-9", [4, 8, 8, 16]),
    ],
)
def test_resnet_blocks(blocks, widths):
    """Each stage has its number of blocks, the last number for all further stages; its first block alone halves."""
    stages = build("resnet", width=4, depth=3, blocks=blocks).stages
    assert [block.branch[0].out_channels for block in stages] == widths
    assert [block.branch[0].stride[0] for block in stages] == [
        2 if before < after else 1 for before, after in zip([4, *widths], widths, strict=False)
    ]


@pytest.mark.parametrize("text", ["", "0", "51", "1-", "-1", "1,2", "a", "1.5", "3-0-1", "²"])
def test_block_counts(text):
    """What is no list of whole numbers from 1 to 50 is refused with the rule and the value."""
    with pytest.raises(
        ValueError, match=r"^blocks must be whole numbers from 1 to 50, joined by '-': got "
    ) as error:
        build("resnet", blocks=text)
    assert str(error.value).endswith(repr(text))


@pytest.mark.parametrize(
    ("name", "wrong", "near"), [("stem", "poole", "pool"), ("head", "flat", "flatten")]
)
def test_unknown_stem_or_head(name, wrong, near):
    """An unknown stem or head is refused with the known ones."""
    with pytest.raises(ValueError, match=rf"{name} is unknown: '{wrong}'; did you mean {near}\?"):
        build("resnet", **{name: wrong})


def test_unknown_shortcut():
    """An unknown shortcut is refused with the known ones."""
    with pytest.raises(ValueError, match=r"shortcut is unknown: 'padd'; did you mean pad\?"):
        build("resnet", shortcut="padd")


@pytest.mark.parametrize("width", [2, 4, 6])
def test_narrow_resnet_trains_channels_last(width):
    """A narrow ResNet trains in the trainer's memory layout; with strided 1x1 convolutions it took the process down."""
    network = models.build(
        "resnet", (1, 8, 8), 10, {**models.FAMILIES["resnet"].options, "width": width}
    )
    network.to(memory_format=torch.channels_last)
    for _ in range(5):
        loss = (
            network(torch.randn(32, 1, 8, 8).to(memory_format=torch.channels_last)).square().mean()
        )
        loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("width", [2, 4, 6])
@pytest.mark.parametrize(
    "options", [{"stem": "none", "head": "flatten"}, {"stem": "pool", "blocks": "2-1"}], ids=str
)
def test_narrow_resnet_of_any_build_trains_channels_last(width, options):
    """So does one without a stem, whose first shortcut keeps its stride of 1, and one of several blocks a stage."""
    known = models.FAMILIES["resnet"].options
    network = models.build("resnet", (1, 8, 8), 10, {**known, "width": width, **options})
    network.to(memory_format=torch.channels_last)
    for _ in range(5):
        loss = (
            network(torch.randn(32, 1, 8, 8).to(memory_format=torch.channels_last)).square().mean()
        )
        loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize(
    ("shape", "taken"), [((1, 16, 16), True), ((1, 15, 16), False), ((3, 16, 15), False)]
)
def test_lenet_resnet_too_small(shape, taken):
    """A lenet_resnet takes images from 16x16 pixels on; smaller ones are refused when it is built."""
    if taken:
        assert build("lenet_resnet", shape)(images(shape)).shape == (4, 10)
    else:
        rule = rf"^a lenet_resnet cannot take {shape[1]}x{shape[2]} images: .+ less than 16x16; use a resnet$"
        with pytest.raises(ValueError, match=rule):
            build("lenet_resnet", shape)


@every_activation
def test_lenet_resnet_residual(activation):
    """A block of a lenet_resnet is the activation of its branch, plus its input where that is asked for."""
    for residual in (True, False):
        network = build("lenet_resnet", residual=residual, activation=activation)
        block, x = network.features[3], images((8, 5, 6))
        assert block(x).equal(
            layers.activation(activation)(x + block.branch(x) if residual else block.branch(x))
        )
        assert size(network) == size(build("lenet_resnet"))


def test_softmax_output():
    """With softmax_output the outputs are the probabilities that the same network's logits stand for."""
    plain, twice = (
        build("lenet_resnet", softmax_output=softmax).eval() for softmax in (False, True)
    )
    outputs = twice(images_for("lenet_resnet"))
    assert torch.allclose(outputs.sum(dim=1), torch.ones(4))
    assert torch.allclose(outputs, plain(images_for("lenet_resnet")).softmax(dim=1))
    assert size(plain) == size(twice)


@pytest.mark.parametrize("classes", [2, 10])
def test_softmax_output_has_a_floor(classes):
    """Taken for logits, the surest right probabilities have a cross-entropy of log(1 + 9 / e) of ten classes."""
    network = build("lenet_resnet", classes=classes, softmax_output=True).eval()
    with torch.no_grad():
        network.logits.weight.zero_()
        network.logits.bias.copy_(1000 * (torch.arange(classes) == 1))
    loss = nn.functional.cross_entropy(network(images_for("lenet_resnet")), torch.ones(4).long())
    assert loss.item() == pytest.approx(math.log(1 + (classes - 1) / math.e))
    assert classes != 10 or loss.item() == pytest.approx(1.461, abs=5e-4)
