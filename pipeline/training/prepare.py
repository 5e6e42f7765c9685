"""Prepares uint8 images for a network: normalised, in the chosen precision and memory format."""

from __future__ import annotations

import torch
from torch import nn

import models


def image_memory_format(
    network: nn.Module, family: str, shape: tuple[int, int, int]
) -> torch.memory_format:
    """Choose how a network's images and weights lie in memory: channels last for convolutions.

    A network of the user's own or of a library may use ``view``, which takes no maps with their
    channels last: then the usual order stays.

    Args:
        network: on the CPU, in any mode.
        family: of the network.
        shape: channels, height and width of an image, in pixels.
    """
    if all(p.dim() != 4 for p in network.parameters()):
        return torch.contiguous_format
    if family in models.FAMILIES or _takes(network, shape, torch.channels_last):
        return torch.channels_last
    network.to(memory_format=torch.contiguous_format)
    return torch.contiguous_format


def _takes(
    network: nn.Module, shape: tuple[int, int, int], memory_format: torch.memory_format
) -> bool:
    """Whether a network can take images in a memory format."""
    was_training = network.training
    images = torch.zeros(2, *shape).to(memory_format=memory_format)
    try:
        with torch.no_grad():
            network.to(memory_format=memory_format).eval()(images)
    except RuntimeError:
        return False
    finally:
        network.train(was_training)
    return True


class Prepare:
    """A transform from resident uint8 images to the normalised floats that a network takes."""

    def __init__(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device,
        precision: str,
        memory_format: torch.memory_format = torch.channels_last,
    ) -> None:
        """Make the transform.

        Args:
            mean: of each channel, 0..1.
            std: of each channel, 0..1.
            device: the images' and the network's.
            precision: of the forward pass, ``fp32``, ``bf16`` or ``fp16``.
            memory_format: of the prepared images.
        """
        self._device = device
        self._precision = precision
        self._memory_format = memory_format
        self._mean = torch.tensor(mean, device=device).view(1, -1, 1, 1) * 255
        self._scale = 1 / (torch.tensor(std, device=device).view(1, -1, 1, 1) * 255)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise uint8 images (batch, channels, height, width)."""
        floats = images.to(torch.float32, memory_format=self._memory_format)
        mean = self._spread(self._mean, images)
        scale = self._spread(self._scale, images)
        return floats.sub_(mean).mul_(scale)

    def _spread(self, moments: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Repeat each channel's value for every pixel of one image.

        Without this, the innermost loop of the arithmetic would run over three channels only.
        """
        pixels = (1, *images.shape[1:])
        return moments.expand(pixels).contiguous(memory_format=self._memory_format)

    def autocast(self) -> torch.autocast:
        """Return the context in which the forward pass runs in the chosen precision."""
        dtype = torch.float16 if self._precision == "fp16" else torch.bfloat16
        return torch.autocast(self._device.type, dtype=dtype, enabled=self._precision != "fp32")
