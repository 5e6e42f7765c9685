"""Changes the images of a batch at random, each image on its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch

PAD_SHARE = 8  # a crop moves an image by up to 1/8 of its side: 4 pixels of 32
CUT_SHARE = 2  # a cut-out square has 1/2 of the image's side: 16 pixels of 32


def augment(images: torch.Tensor, parts: Sequence[str], fill: torch.Tensor) -> torch.Tensor:
    """Change a batch at random, by torch's global generator on the CPU.

    Args:
        images: uint8 (batch, channels, height, width); not changed in place.
        parts: any of ``crop`` (the image is moved by up to an eighth, with black edges), ``flip``
            (left and right are exchanged in half of the images) and ``cutout`` (a square of half
            the side around a random centre is filled, as far as it lies inside; DeVries & Taylor
            2017, https://arxiv.org/abs/1708.04552).
        fill: uint8 (channels,), the colour of cut-out squares.

    Returns:
        uint8 images of the same shape.
    """
    count, _, height, width = images.shape
    # The pixel that each pixel is taken from, by row and column: (batch, height), (batch, width).
    rows = torch.arange(height).expand(count, height)
    columns = torch.arange(width).expand(count, width)
    if "crop" in parts:
        rows = _shift(rows)
        columns = _shift(columns)
    if "flip" in parts:
        flipped = torch.rand(count, 1) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
    if "crop" in parts or "flip" in parts:
        images = _pick(images, rows.to(images.device), columns.to(images.device))
    if "cutout" in parts:
        in_rows = _near_random_centre(count, height).to(images.device)
        in_columns = _near_random_centre(count, width).to(images.device)
        in_square = in_rows.unsqueeze(2) & in_columns.unsqueeze(1)
        images = torch.where(in_square.unsqueeze(1), fill.view(1, -1, 1, 1), images)
    return images


def _shift(positions: torch.Tensor) -> torch.Tensor:
    """Shift the positions along one side (batch, side) by a random number for each image."""
    count, side = positions.shape
    largest = side // PAD_SHARE
    return positions + torch.randint(-largest, largest + 1, (count, 1))


def _pick(images: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Pick the pixels at rows and columns (batch, side) of each image; black outside of it."""
    _, channels, height, width = images.shape
    rows_inside = (rows >= 0) & (rows < height)
    columns_inside = (columns >= 0) & (columns < width)
    inside = rows_inside.unsqueeze(2) & columns_inside.unsqueeze(1)
    row_starts = rows.clamp(0, height - 1) * width
    pixels = row_starts.unsqueeze(2) + columns.clamp(0, width - 1).unsqueeze(1)
    pixels = pixels.flatten(1).unsqueeze(1).expand(-1, channels, -1)
    picked = images.flatten(2).gather(2, pixels).view_as(images)
    return picked * inside.unsqueeze(1)


def _near_random_centre(count: int, side: int) -> torch.Tensor:
    """Whether each position along a side lies in a square around a random centre.

    Returns:
        bool (count, side).
    """
    cut = side // CUT_SHARE
    first = torch.randint(side, (count, 1)) - cut // 2
    positions = torch.arange(side)
    return (positions >= first) & (positions < first + cut)
