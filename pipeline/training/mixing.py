"""Mixes the training images of a batch in pairs, and with them their labels: MixUp and CutMix.

Everything random is drawn from torch's global generator on the CPU, which each epoch seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sweeps.trial import TrialConfig


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """A batch of mixed images, and what each is made of."""

    images: torch.Tensor  # float (images, channels, height, width)
    other_labels: torch.Tensor  # int64 (images,): of the image that was mixed in
    shares: torch.Tensor  # float32 (images,): of the image's own label, 0..1


def mix(images: torch.Tensor, labels: torch.Tensor, config: TrialConfig) -> Mixed | None:
    """Mix a batch as the configuration asks for; each image with another of the batch.

    If the configuration asks for both ways, each batch takes one of them, with equal chances.

    Args:
        images: prepared, float (images, channels, height, width); not changed in place.
        labels: int64 (images,).
        config: the trial's.

    Returns:
        The mixed batch; None if the configuration asks for nothing.
    """
    mixup = config.mixup or 0.0
    cutmix = config.cutmix or 0.0
    if not mixup and not cutmix:
        return None
    use_cutmix = bool(cutmix) and (not mixup or bool(torch.rand(()) < 0.5))
    concentration = cutmix if use_cutmix else mixup
    count = len(images)
    shares = torch.distributions.Beta(concentration, concentration).sample((count,))
    others = torch.randperm(count)
    if use_cutmix:
        inside, shares = _rectangles(shares, images.shape[2], images.shape[3])
        others = others.to(images.device)
        mixed = torch.where(inside.to(images.device), images[others], images)
    else:
        others = others.to(images.device)
        own = shares.to(images).view(-1, 1, 1, 1)
        mixed = images * own + images[others] * (1 - own)
    return Mixed(
        images=mixed.contiguous(memory_format=_memory_format(images)),
        other_labels=labels[others],
        shares=shares.to(labels.device),
    )


def _rectangles(shares: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose a rectangle of each image, around a random centre, cut off at the edges.

    Args:
        shares: of the area outside the rectangle, before it is cut off: (images,).
        height: of the images, in pixels.
        width: of the images, in pixels.

    Returns:
        Which pixels are inside, bool (images, 1, height, width), and the shares outside.
    """
    side = (1 - shares).sqrt()
    rows = _near_centre(side, height)
    columns = _near_centre(side, width)
    inside = rows.unsqueeze(2) & columns.unsqueeze(1)
    return inside.unsqueeze(1), 1 - inside.float().mean(dim=(1, 2))


def _near_centre(share: torch.Tensor, side: int) -> torch.Tensor:
    """Which positions along a side lie in a part of it, around a random centre of each image.

    Args:
        share: the part of the side, (images,).
        side: in pixels.

    Returns:
        bool (images, side).
    """
    length = (share * side).round().long().unsqueeze(1)
    first = torch.randint(side, (len(share), 1)) - length // 2
    positions = torch.arange(side)
    return (positions >= first) & (positions < first + length)


def _memory_format(images: torch.Tensor) -> torch.memory_format:
    if images.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format
