"""Checks what a network of the user's own does with images, before anything is trained.

The network is looked at in evaluation mode. What it does in training mode may take long, need more
memory than there is, or end its process: that is for the trial, which has limits and is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from models import own

if TYPE_CHECKING:
    from torch import Tensor, nn

_BATCH = 2
_TOLERANCE = 1e-3  # of the logits of the same images in evaluation mode


def check(reference: str, network: nn.Module, shape: tuple[int, int, int], classes: int) -> None:
    """Check that a network maps images to logits, and can be trained, scored and saved.

    Args:
        reference: the network's name, for the message.
        network: on the CPU; its weights stay, its mode and buffers may change.
        shape: channels, height and width of an image, in pixels.
        classes: number of logits.

    Raises:
        ValueError: in one line, with the rule that it breaks.
    """
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError(f"{reference} has no parameters to train")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        images = torch.randn(_BATCH, *shape)
        names = set(network.state_dict())
        _check_gradient(reference, network, images, classes)
        new = sorted(set(network.state_dict()) ^ names)
        if new:
            raise ValueError(
                f"{reference} makes {new[0]} in its forward: make all its layers in the constructor"
            )
        _check_scoring(reference, network, images, classes)


def _check_gradient(reference: str, network: nn.Module, images: Tensor, classes: int) -> None:
    """Check the gradient twice: the second time shows what a network keeps of the first."""
    network.eval()
    for step in (1, 2):
        logits = _forward(reference, network, images, classes)
        if not logits.requires_grad:
            raise ValueError(
                f"{reference} returns logits without a gradient: leave out detach and no_grad"
            )
        try:
            logits.float().square().mean().backward()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            kept = "; it keeps something of the step before" if step == 2 else ""
            raise ValueError(
                f"the gradient of {reference} fails: {own.error_text(error)}{kept}"
            ) from error
    network.zero_grad(set_to_none=True)


def _check_scoring(reference: str, network: nn.Module, images: Tensor, classes: int) -> None:
    network.eval()
    with torch.no_grad():
        first = _forward(reference, network, images, classes).float()
        again = _forward(reference, network, images, classes).float()
    if not torch.allclose(first, again, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True):
        raise ValueError(
            f"{reference} gives other logits for the same images in evaluation mode: nothing in "
            "its forward may be random there (give functional.dropout training=self.training) or "
            "be kept from one batch to the next"
        )


def _forward(reference: str, network: nn.Module, images: Tensor, classes: int) -> Tensor:
    """Return the logits of images.

    Raises:
        ValueError: if the forward pass fails, or returns something else.
    """
    given = images.clone()
    try:
        logits: Any = network(given)
    except Exception as error:
        size = "x".join(map(str, images.shape[1:]))
        raise ValueError(
            f"the forward of {reference} fails on images of {size}: {own.error_text(error)}"
        ) from error
    wanted = f"one tensor of logits, of shape (batch, {classes})"
    if not isinstance(logits, torch.Tensor):
        kind = type(logits).__name__
        raise ValueError(  # noqa: TRY004
            f"the forward of {reference} must return {wanted}: it returns a {kind}"
        )
    if tuple(logits.shape) != (len(images), classes):
        got = tuple(logits.shape)
        raise ValueError(
            f"the forward of {reference} must return {wanted}: for {len(images)} images of "
            f"{classes} classes it returns the shape {got}"
        )
    if not logits.is_floating_point():
        raise ValueError(
            f"the forward of {reference} must return {wanted}: it returns {logits.dtype}"
        )
    if not torch.equal(given, images):
        raise ValueError(
            f"the forward of {reference} changes the images that it is given: leave out in-place "
            "operations on them, such as inplace=True in the first layer"
        )
    return logits
