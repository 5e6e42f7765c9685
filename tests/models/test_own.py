"""Networks of the user's own: how they are made, and what is refused before they are trained."""

from __future__ import annotations

import pytest
import torch

import models
from models import conformance, own

SHAPE = (3, 8, 8)
STUDENTS = """
from typing import Optional

import torch
from torch import nn
from torch.nn import functional as F

class Base(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.layer = nn.Linear(192, num_classes)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.layer(x.flatten(1))

class ByPosition(nn.Module):
    def __init__(self, classes, input_size, hidden, /, kernel, *rest):
        super().__init__()
        self.given = (classes, input_size, hidden, kernel, rest)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(input_size, hidden), nn.Linear(hidden, classes))

    def forward(self, x):
        return self.layers(x)

class Lazy(nn.Sequential):
    def __init__(self, n_classes, hidden: Optional[int] = None):
        super().__init__(nn.Flatten(), nn.LazyLinear(hidden or 8), nn.LazyLinear(n_classes))

class Channels(Base):
    def __init__(self, in_channels, channels, out_features, num_classes, image_size, height):
        super().__init__(num_classes)
        self.given = (in_channels, channels, out_features, num_classes, image_size, height)

class OnlyChannels(Base):
    def __init__(self, channels, classes, depths: tuple[int, ...] = (1, 2), rates=[0.5], mode: str = "1"):
        super().__init__(classes)
        self.given = (channels, classes, depths, rates, mode)

def function(width=2, **options):
    network = Base(options["num_classes"])
    network.given = (width, options)
    return network

class Keywords(Base):
    def __init__(self, hidden=1, **options):
        super().__init__(**options)

class Tuple(Base):
    def forward(self, x):
        return super().forward(x), x

class Wide(Base):
    def forward(self, x):
        return super().forward(x)[:, :, None]

class Fixed(Base):
    def __init__(self):
        super().__init__(7)

class Raising(Base):
    def __init__(self, num_classes, heads=3):
        if 64 % heads:
            raise ValueError("heads must divide\\n64")

class Exiting(Base):
    def __init__(self, num_classes):
        raise SystemExit(2)

class Configured(Base):
    def __init__(self, cfg):
        super().__init__()

class Detached(Base):
    def forward(self, x):
        return super().forward(x).detach()

class Frozen(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :10]

class InPlace(Base):
    def forward(self, x):
        return super().forward(F.relu_(x))

class BrokenGradient(Base):
    def forward(self, x):
        y = self.layer(x.flatten(1)).exp()
        y += 1
        return y

class Recurrent(Base):
    state = 0
    def forward(self, x):
        self.state = super().forward(x) + self.state
        return self.state

class Drops(Base):
    def forward(self, x):
        return super().forward(F.dropout(x, 0.5))

class Grows(Base):
    def forward(self, x):
        self.more = nn.Linear(192, 10)
        return self.more(x.flatten(1))

class Small(Base):
    def forward(self, x):
        return self.layer(F.max_pool2d(x, 16).flatten(1))

class Indices(Base):
    def forward(self, x):
        return super().forward(x).round().long()

class Plain:
    pass

def nothing(num_classes):
    return None

made = Base()
text = "text"
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "students.py").write_text(STUDENTS)


def build(name, **options):
    options = models.find_family(f"students.py:{name}").options | options
    return models.build(f"students.py:{name}", SHAPE, 10, options)


def test_parameters_are_given_by_name():
    """What the images decide goes to the parameters that are called so, once; others are options."""
    assert build("ByPosition", hidden=4, kernel=3).given == (10, 192, 4, 3, ())
    assert build("Channels", channels=5, out_features=6).given == (3, 5, 6, 10, 8, 8)
    given = build("OnlyChannels", depths="[3, 4]", rates="[0.1, 0.2]", mode="[5]").given
    assert given == (3, 10, (3, 4), [0.1, 0.2], "[5]")
    assert models.find_family("students.py:OnlyChannels").options == {
        "depths": "[1, 2]",
        "rates": "[0.5]",
        "mode": "1",
    }
    assert build("function", other="[1]").given == (
        2,
        {"num_classes": 10, "in_chans": 3, "other": [1]},
    )
    assert build("Keywords").layer.out_features == 10  # which takes no in_chans
    assert build("Base", num_classes=4).layer.out_features == 4


def test_lazy_layers():
    """Layers that learn their sizes from the images have them as soon as the network is made."""
    network = build("Lazy", hidden=5)
    assert [tuple(p.shape) for p in network.parameters()] == [(5, 192), (5,), (10, 5), (10,)]
    assert network.training


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Tuple", r"must return one tensor of logits, of shape \(batch, 10\): it returns a tuple"),
        ("Wide", r"for 2 images of 10 classes it returns the shape \(2, 10, 1\)"),
        ("Fixed", r"for 2 images of 10 classes it returns the shape \(2, 7\)"),
        (
            "Raising",
            r"Raising cannot be made with heads=3: ValueError: heads must divide 64 in line \d+ of st",
        ),
        ("Exiting", r"Exiting cannot be made with its defaults: SystemExit: 2 in line \d+ of stud"),
        ("Configured", "needs cfg, .* for a mapping or an object, name a function that makes"),
        ("Detached", "returns logits without a gradient"),
        ("Frozen", "students.py:Frozen has no parameters to train"),
        ("InPlace", "changes the images that it is given"),
        (
            "BrokenGradient",
            "the gradient of students.py:BrokenGradient fails: .* inplace operation",
        ),
        ("Recurrent", "a second time.*; it keeps something of the step before"),
        ("Drops", "gives other logits for the same images in evaluation mode"),
        ("Grows", r"students.py:Grows makes more\.\w+ in its forward"),
        (
            "Small",
            r"the forward of students.py:Small fails on images of 3x8x8: RuntimeError: .* in",
        ),
        ("Indices", "without a gradient|it returns torch.int64"),
        ("Plain", "must be a class of torch.nn.Module, or a function that makes one: got <class"),
        ("nothing", "students.py:nothing must make a torch.nn.Module: it made None"),
        ("made", "'students.py:made' is a network that is made already: name its class"),
        ("text", "must be a class of torch.nn.Module, or a function that makes one: got 'text'"),
    ],
)
def test_refused(name, message):
    """A network that cannot be trained as it is, is refused in one line that says what to change."""
    with pytest.raises(ValueError, match=message) as caught:
        conformance.check(f"students.py:{name}", build(name), SHAPE, 10)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["Base", "Lazy", "Keywords", "function"])
def test_passes(name):
    """A network that does as it should passes, and the check draws nothing from the generator."""
    network = build(name)
    state = torch.get_rng_state()
    conformance.check(name, network, SHAPE, 10)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_changed_source(tmp_path):
    """A network is not made from another source than a trial's."""
    digest = own.load("students.py:Base").source.digest
    models.build("students.py:Base", SHAPE, 10, {}, digest=digest)
    with pytest.raises(
        ValueError, match=f"has changed since the command began, from old to {digest}"
    ):
        models.build("students.py:Base", SHAPE, 10, {}, digest="old")


HANDED_ON = """
from torch import nn


class Base(nn.Module):
    def __init__(self, shape, classes, hidden=4):
        super().__init__()
        size = shape[0] * shape[1] * shape[2]
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(size, hidden), nn.Linear(hidden, classes))

    def forward(self, images):
        return self.layers(images)


class Derived(Base):
    def __init__(self, *arguments, gain=1.0, **options):
        super().__init__(*arguments, **options)
        self.gain = gain

    def forward(self, images):
        return super().forward(images) * self.gain


class Unknown(nn.Module):
    def __init__(self, *arguments):
        super().__init__()
        self.net = Base(*arguments)

    def forward(self, images):
        return self.net(images)
"""


def test_arguments_that_are_handed_on(tmp_path, monkeypatch):
    """A constructor that hands `*args` on takes what the class takes from which it inherits."""
    (tmp_path / "net.py").write_text(HANDED_ON)
    monkeypatch.chdir(tmp_path)
    derived = own.load("net.py:Derived")
    assert set(derived.options) == {"hidden", "gain"}
    built = derived.build((1, 8, 8), 10, {"hidden": 6, "gain": 2.0})
    assert (built.layers[1].out_features, built.gain) == (6, 2.0)
    assert own.load("net.py:Unknown").build((1, 8, 8), 10, {}).net.layers[2].out_features == 10


def test_what_is_given_the_number_of_classes():
    """A network that is told the number of classes by another name is told the names for it, and only then."""
    text = own.needs_text("net.py:Net", ["n_class"])
    assert text.startswith("net.py:Net needs n_class, which has no default: give --set n_class=")
    assert text.endswith(
        "is given to a parameter that is called num_classes, classes, n_classes, ..."
    )
    assert "number of classes" not in own.needs_text("net.py:Net", ["kernel"])
