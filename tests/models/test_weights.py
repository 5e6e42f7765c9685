"""Weights to begin a training with: read, compared with a network, and put into it."""

import re

import pytest
import torch
from safetensors.torch import save_file
from support.networks import make_found
from torch import nn

import models
from models import libraries, weights
from pipeline.checkpoints import save_model

FAMILY = "torchvision:shufflenet_v2_x0_5"
OPTIONS = {"published": False, "resizes": False}


def built(classes, family=FAMILY, seed=0):
    torch.manual_seed(seed)
    return models.build(family, (3, 32, 32), classes, OPTIONS)


def is_equal(first, second, *, but):
    """Whether two networks have equal tensors, but for those of the head, which differ."""
    pairs = zip(first.state_dict().items(), second.state_dict().values(), strict=True)
    return all((but in name) != torch.equal(one, other) for (name, one), other in pairs)


@pytest.mark.parametrize(
    "write",
    [
        lambda tensors, path: save_file(tensors, path.with_suffix(".safetensors")),
        lambda tensors, path: torch.save(tensors, path.with_suffix(".pth")),
        lambda tensors, path: torch.save({"state_dict": tensors, "epoch": 3}, path),
        lambda tensors, path: torch.save({f"module.{k}": v for k, v in tensors.items()}, path),
        lambda tensors, path: torch.save({f"network.{k}": v for k, v in tensors.items()}, path),
    ],
)
def test_files(write, tmp_path, monkeypatch):
    """Files of torch and safetensors, of bare and wrapped networks, give all but the head."""
    monkeypatch.chdir(tmp_path)
    source = built(5, seed=1)
    write(source.network.state_dict(), tmp_path / "w")
    (path,) = tmp_path.iterdir()
    network = built(5)
    weights.begin_with(path.name, network, FAMILY, 5)
    assert is_equal(network, source, but="network.fc.")
    other = built(9)
    weights.begin_with(path.name, other, FAMILY, 9)
    assert torch.equal(other.network.conv1[0].weight, source.network.conv1[0].weight)


def test_checkpoint_of_this_project(tmp_path):
    """A built-in network goes on from a folder of its own kind, with the moments of its images."""
    found = make_found("resnet", shape=(3, 16, 16))
    save_model(tmp_path / "best.safetensors", found.network.state_dict(), found.card)
    network = models.build("resnet", (3, 32, 32), 4, found.card.config.options)
    weights.begin_with(str(tmp_path), network, "resnet", 4)
    assert torch.equal(network.stem[0].weight, found.network.stem[0].weight)
    assert weights.moments(str(tmp_path), "resnet", 3) == (found.card.mean, found.card.std)
    mean = sum(found.card.mean) / 3
    assert weights.moments(str(tmp_path), "resnet", 1)[0] == pytest.approx((mean,))
    assert weights.side(str(tmp_path), "resnet") == 16


class Dangerous:
    """A pickle that runs code."""

    def __reduce__(self):
        return (print, ("run",))


def test_refused(tmp_path, capsys):
    """What is no file of weights, or of another network, is said in one line; nothing is run."""
    tensors = built(5).network.state_dict()
    wide = models.build("torchvision:shufflenet_v2_x1_0", (3, 32, 32), 5, OPTIONS)
    bodies = {
        "text.pt": (b"hello", "is no file of weights"),
        "cut.safetensors": (b"\x40\0\0\0\0\0\0\0{", "is no file of weights"),
        "code.pt": (Dangerous(), "is no file of weights"),
        "list.pt": ([1, 2], "it holds a list"),
        "empty.pt": ({}, "holds no weights"),
        "wide.pt": (wide.network.state_dict(), r"its network.stage2.0.*is \d+x.* and 2\d\d more"),
        "less.pt": (
            {k: v for k, v in tensors.items() if "conv5.1.b" not in k},
            "it has no .*conv5",
        ),
        "more.pt": (tensors | {"layer9.weight": torch.zeros(1)}, "has no network.layer9.weight"),
    }
    for name, (body, message) in bodies.items():
        path = tmp_path / name
        if isinstance(body, bytes):
            path.write_bytes(body)
        else:
            torch.save(body, path)
        with pytest.raises(ValueError, match=message) as caught:
            weights.begin_with(str(path), built(5), FAMILY, 5)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match=f"there is no file {tmp_path}/gone.pt"):
        weights.digest(str(tmp_path / "gone.pt"), FAMILY)


def test_a_changed_file(tmp_path):
    """The digest tells files apart, also of equal size, and an old digest is not gone on with."""
    path = tmp_path / "w.pt"
    torch.save(built(5).network.state_dict(), path)
    before = weights.digest(str(path), FAMILY)
    torch.save(built(5, seed=1).network.state_dict(), path)
    after = weights.digest(str(path), FAMILY)
    assert re.fullmatch("[0-9a-f]{12}", after)
    assert before != after
    with pytest.raises(ValueError, match=f"has changed, from {before} to {after}"):
        weights.begin_with(str(path), built(5), FAMILY, 5, digest_then=before)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder of downloads instead of torch's."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def test_published_by_torchvision(hub):
    """Weights lie where torch puts downloads, and say what images they want."""
    known = libraries.published(FAMILY)
    assert known.name == "ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1"
    assert known.name == weights.digest("true", FAMILY)
    assert (known.side, known.mean[0], known.std[2]) == (224, 0.485, 0.225)
    assert known.path == hub / known.url.rpartition("/")[2]
    assert known.sha256 in known.url
    with pytest.raises(ValueError, match=f"not on this machine: {known.path}"):
        weights.begin_with("true", built(5), FAMILY, 5)
    hub.mkdir(parents=True)
    source = built(1000, seed=1)
    torch.save(source.network.state_dict(), known.path)
    network = built(5)
    weights.begin_with("true", network, FAMILY, 5)
    assert torch.equal(network.network.conv1[0].weight, source.network.conv1[0].weight)


def test_published_by_timm(hub):
    """A name may have the tag of weights; timm itself reads its files."""
    timm = pytest.importorskip("timm")
    known = libraries.published("timm:resnet10t.c3_in1k")
    assert known == libraries.published("timm:resnet10t")
    assert known.path == hub / "resnet10t.c3_in1k.safetensors"
    hub.mkdir(parents=True)
    torch.manual_seed(1)
    source = timm.create_model("resnet10t")
    save_file(source.state_dict(), known.path)
    network = models.build("timm:resnet10t", (1, 32, 32), 5, OPTIONS)
    weights.begin_with("true", network, "timm:resnet10t", 5)
    assert torch.equal(network.network.layer1[0].conv1.weight, source.layer1[0].conv1.weight)


def test_unknown_names(monkeypatch):
    """An unknown name is answered with near ones; without timm its extra is named."""
    with pytest.raises(ValueError, match="torchvision has .* did you mean resnet18"):
        libraries.check("torchvision:resnet81")
    with pytest.raises(ValueError, match="torchvision has .* networks"):
        libraries.check("torchvision:fasterrcnn_resnet50_fpn")  # finds objects
    libraries._names.cache_clear()
    monkeypatch.setattr(libraries.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"extra \[timm\]"):
        libraries.check("timm:resnet10t")


def test_grey_and_resized():
    """Grey images are three equal channels; for published weights, images get their size."""
    network = built(5).eval()
    grey = torch.rand(2, 1, 32, 32)
    assert torch.equal(network(grey), network(grey.expand(-1, 3, -1, -1)))
    resizing = models.build(FAMILY, (1, 8, 8), 5, {"published": True, "resizes": True})
    seen = []
    resizing.network.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    assert resizing.eval()(torch.rand(2, 1, 8, 8)).shape == (2, 5)
    assert seen == [(2, 3, 224, 224)]
    with pytest.raises(ValueError, match="grey or coloured images: got 4 channels"):
        models.build(FAMILY, (4, 8, 8), 5, OPTIONS)


def test_head_is_found_in_the_user_visible_networks():
    """A network without a layer of as many outputs as classes is refused."""
    with pytest.raises(ValueError, match="no layer of 7 logits"):
        weights.put(weights.Weights("x", {}, {}), nn.Linear(2, 3), "net", 7)
