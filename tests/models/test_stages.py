"""The stages and the head of a network, and what freezing a part of it keeps."""

import pytest
import torch
from support.trainings import settled

import models
from models.stages import Frozen, head_names, in_head, stages

SHAPE = (3, 32, 32)
OPTIONS = {"published": False, "resizes": False}
# Of each network: its head, and its stages.
KNOWN = {
    "torchvision:resnet18": ("fc", ["conv1", "layer1", "layer2", "layer3", "layer4"]),
    "torchvision:mobilenet_v3_small": (
        "classifier.3",
        [*(f"features.{number}" for number in range(13)), "classifier.0"],
    ),
    "torchvision:vit_b_32": (
        "heads.head",
        ["conv_proj", *(f"encoder.layers.encoder_layer_{number}" for number in range(12))],
    ),
    "timm:resnet10t": ("fc", ["conv1", "layer1", "layer2", "layer3", "layer4"]),
}


def built(family, classes=7):
    """A network without memory for its weights."""
    with torch.device("meta"):
        return models.build(family, SHAPE, classes, OPTIONS)


@pytest.mark.parametrize("family", KNOWN)
def test_stages_of_libraries(family):
    """A norm belongs to the layer before it, and members of a list of blocks count each."""
    if family.startswith("timm"):
        pytest.importorskip("timm")
    network = built(family)
    (head,) = heads = head_names(network, 7)
    names = [stage.name for stage in stages(network, heads)]
    expected_head, expected = KNOWN[family]
    assert head == f"network.{expected_head}"
    assert names == [f"network.{name}" for name in expected]


@pytest.mark.parametrize("family", models.FAMILIES)
def test_stages_of_families(family):
    """Every parameter of a built-in network is of its head, or of one stage."""
    config = settled(family)
    network = models.build(family, SHAPE, 10, config.options)
    heads = head_names(network, 10)
    assert heads == ("logits",)
    in_stages = [
        parameter
        for stage in stages(network, heads)
        for module in stage.modules
        for parameter in module.parameters()
    ]
    others = [p for name, p in network.named_parameters() if not in_head(name, heads)]
    assert set(map(id, in_stages)) == set(map(id, others))
    assert len(in_stages) == len(others) > 0


@pytest.mark.parametrize(
    ("freeze", "trained"),
    [
        ("none", ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]),
        ("1", ["layer1", "layer2", "layer3", "layer4", "fc"]),
        ("4", ["layer4", "fc"]),
        ("5", ["fc"]),
        ("backbone", ["fc"]),
    ],
)
def test_frozen(freeze, trained):
    """The first stages want no gradient and stay in evaluation mode; the others are trained."""
    network = built("torchvision:resnet18")
    frozen = Frozen(network, freeze, 7)
    network.train()
    frozen.hold()
    parts = dict(network.network.named_children())
    for name in ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"):
        assert all(p.requires_grad == (name in trained) for p in parts[name].parameters()), name
        assert parts[name].training == (name in trained), name


def test_what_stands_before_the_stages_is_frozen_with_the_first():
    """A class token and embeddings of positions are parameters of no layer."""
    network = built("torchvision:vit_b_32")
    Frozen(network, "1", 7)
    wanted = {name for name, p in network.network.named_parameters() if not p.requires_grad}
    assert wanted == {
        *("class_token", "encoder.pos_embedding", "conv_proj.weight", "conv_proj.bias")
    }


def test_too_many_stages():
    """The stages that there are are named."""
    with pytest.raises(
        ValueError, match=r"freeze 6 is more than the 5 stages: network.conv1, .*4$"
    ):
        Frozen(built("torchvision:resnet18"), "6", 7)
