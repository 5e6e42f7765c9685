"""Prepares uint8 images for a network: normalised, in the chosen precision and memory format."""

from __future__ import annotations

import torch
from torch import nn


def image_memory_format(network: nn.Module) -> torch.memory_format:
    """How a network's images should lie in memory: channels last for convolutions, as they are where there is none."""
    if any(p.dim() == 4 for p in network.parameters()):
        return torch.channels_last
    return torch.contiguous_format


class Prepare:
    """From resident uint8 images to what a network takes: normalised floats, laid out as it reads them."""

    def __init__(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device,
        precision: str,
        layout: torch.memory_format = torch.channels_last,
    ) -> None:
        self._device = device
        self._precision = precision
        self._layout = layout
        self._mean = torch.tensor(mean, device=device).view(1, -1, 1, 1) * 255
        self._scale = 1 / (torch.tensor(std, device=device).view(1, -1, 1, 1) * 255)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise uint8 images (batch, channels, height, width)."""
        floats = images.to(torch.float32, memory_format=self._layout)
        # Spread over the pixels: otherwise the innermost loop would be one over three channels.
        pixels = (1, *images.shape[1:])
        mean, scale = (
            t.expand(pixels).contiguous(memory_format=self._layout)
            for t in (self._mean, self._scale)
        )
        return floats.sub_(mean).mul_(scale)

    def autocast(self) -> torch.autocast:
        """The arithmetic of the forward pass."""
        return torch.autocast(
            self._device.type, dtype=torch.bfloat16, enabled=self._precision == "bf16"
        )
