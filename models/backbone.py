"""Builds networks of torchvision and timm, to be trained on other images and classes."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from models import libraries, vision

_CHANNELS = 3  # that all of these networks take


class Backbone(nn.Module):
    """A network of a library, which is shown grey images in three equal channels.

    Args:
        network: of the library, with a head for the classes.
        side: to which images are brought first, in pixels; None to take them as they are.
    """

    def __init__(self, network: nn.Module, side: int | None) -> None:
        super().__init__()
        self.network = network
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, 1 or 3, height, width) to logits (batch, classes)."""
        if images.shape[1] == 1:
            images = images.repeat(1, _CHANNELS, 1, 1)
        height, width = images.shape[2:]
        if self.side is not None and (height, width) != (self.side, self.side):
            images = functional.interpolate(
                images,
                size=(self.side, self.side),
                mode="bilinear",
                antialias=max(height, width) > self.side,
            )
        logits: Tensor = self.network(images)
        return logits


def build(
    family: str, shape: tuple[int, int, int], classes: int, options: Mapping[str, object]
) -> nn.Module:
    """Build a network of a library with random weights, and a head for the classes.

    Args:
        family: ``torchvision:NAME`` or ``timm:NAME``.
        shape: channels, height and width of an image, in pixels.
        classes: number of logits.
        options: ``published``, whether it is for the weights that the library publishes; and
            ``resizes``, whether it brings images to the size that these want.

    Raises:
        ValueError: if there is no such network, or it cannot take such images.
    """
    libraries.check(family)
    channels, height, width = shape
    if channels not in (1, _CHANNELS):
        raise ValueError(f"{family} takes grey or coloured images: got {channels} channels")
    side = libraries.published(family).side if options["resizes"] else None
    library, _, name = family.partition(":")
    seen = side or max(height, width)
    try:
        if library == "torchvision":
            network = _make_of_torchvision(name, classes, seen, bool(options["published"]))
        else:
            network = _make_of_timm(name, classes, seen)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())[:300]
        raise ValueError(f"{family} cannot be made for {seen}x{seen} images: {text}") from error
    return Backbone(network, side)


def _make_of_torchvision(name: str, classes: int, side: int, is_published: bool) -> nn.Module:
    options: dict[str, object] = {"num_classes": classes}
    if name in ("googlenet", "inception_v3"):
        # Their published weights were trained on images in another scale than all the others'.
        options |= {"aux_logits": False, "init_weights": True, "transform_input": is_published}
    elif name.startswith("maxvit"):
        options["input_size"] = (side, side)
    elif name.startswith("vit"):
        options["image_size"] = side
    network: nn.Module = vision.networks().get_model(name, weights=None, **options)
    return network


def _make_of_timm(name: str, classes: int, side: int) -> nn.Module:
    options: dict[str, object] = {"num_classes": classes}
    known = libraries.timm().get_pretrained_cfg(name)
    if known is not None and known.fixed_input_size:
        options["img_size"] = side
    network: nn.Module = libraries.timm().create_model(name, **options)
    return network
