"""Random changes of a resident batch, each image its own. Knows nothing of data sets or training."""

from __future__ import annotations

from collections.abc import Sequence

import torch

PAD_SHARE = 8  # a crop moves an image by up to one in so many of its pixels: 4 of 32
CUT_SHARE = 2  # a cut-out square's side is one in so many: 16 of 32


def augment(images: torch.Tensor, parts: Sequence[str], fill: torch.Tensor) -> torch.Tensor:
    """Change a batch at random, from torch's global generator on the CPU.

    Args:
        images: uint8 (batch, channels, height, width); left as they are.
        parts: some of ``crop`` (moved by up to an eighth, black where nothing was), ``flip`` (left and right, every
            image with even odds) and ``cutout`` (a square of half the side at a random centre is filled, as far as it
            lies inside; DeVries & Taylor 2017, https://arxiv.org/abs/1708.04552).
        fill: uint8 (channels,), the colour of cut-out squares.

    Returns:
        uint8 images of the same shape.
    """
    count, _, height, width = images.shape
    rows, columns = (torch.arange(side).expand(count, side) for side in (height, width))
    if "crop" in parts:
        rows, columns = (_moved(places) for places in (rows, columns))
    if "flip" in parts:
        columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
    if "crop" in parts or "flip" in parts:
        images = _pick(images, rows.to(images.device), columns.to(images.device))
    if "cutout" in parts:
        down, across = (_near(count, side).to(images.device) for side in (height, width))
        hidden = down.unsqueeze(2) & across.unsqueeze(1)
        images = torch.where(hidden.unsqueeze(1), fill.view(1, -1, 1, 1), images)
    return images


def _moved(places: torch.Tensor) -> torch.Tensor:
    """Places along one side (batch, side), each image's shifted by its own number of pixels."""
    most = places.shape[1] // PAD_SHARE
    return places + torch.randint(-most, most + 1, (len(places), 1))


def _pick(images: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """The pixels at rows and columns (batch, side) of each image; black outside of it."""
    _, channels, height, width = images.shape
    inside = ((rows >= 0) & (rows < height)).unsqueeze(2) & (
        (columns >= 0) & (columns < width)
    ).unsqueeze(1)
    places = rows.clamp(0, height - 1).unsqueeze(2) * width + columns.clamp(0, width - 1).unsqueeze(
        1
    )
    places = places.flatten(1).unsqueeze(1).expand(-1, channels, -1)
    return images.flatten(2).gather(2, places).view_as(images) * inside.unsqueeze(1)


def _near(count: int, side: int) -> torch.Tensor:
    """Whether each place along a side is within a square around a random centre: bool (count, side)."""
    cut = side // CUT_SHARE
    first = torch.randint(side, (count, 1)) - cut // 2
    places = torch.arange(side)
    return (places >= first) & (places < first + cut)
