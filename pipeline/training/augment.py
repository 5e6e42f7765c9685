"""Changes the images of a batch at random, each image on its own.

Everything random is drawn from torch's global generator on the CPU, which each epoch seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

from models import usercode
from sweeps.trial import TrialConfig, parse_augmentation

PAD_SHARE = 8  # a crop moves an image by up to 1/8 of its side: 4 pixels of 32
CUT_SHARE = 2  # a cut-out square has 1/2 of the image's side: 16 pixels of 32

# The weights of red, green and blue in a grey (ITU-R BT.601), as torchvision has them.
_GREY = (0.2989, 0.587, 0.114)

# A function of the user's: maps uint8 images (batch, channels, height, width) and a generator on
# the CPU to uint8 images of the same shape.
AugmentFunction = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


class Augmentation:
    """The random changes that a configuration asks for.

    Images are moved, mirrored, turned, enlarged and coloured; then a function of the user's may
    change them, and at last squares are cut out.
    """

    def __init__(self, config: TrialConfig, fill: torch.Tensor) -> None:
        """Make the changes.

        Args:
            config: its augmentation.
            fill: uint8 (channels,), the colour of cut-out squares, on the device of the images.

        Raises:
            ValueError: if a function of the user's cannot be loaded.
        """
        self._function: AugmentFunction | None = None
        self._parts: tuple[str, ...] = ()
        if usercode.is_reference(config.augment):
            self._function = load_function(config.augment)
        else:
            self._parts = parse_augmentation(config.augment)
        self._fill = fill
        self._degrees = config.rotate or 0.0
        self._zoom = config.zoom or 0.0
        self._jitter = config.color_jitter or 0.0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Change a batch: uint8 (batch, channels, height, width), not in place."""
        moved = [part for part in self._parts if part != "cutout"]
        if moved:
            images = augment(images, moved, self._fill)
        if self._degrees or self._zoom:
            images = turn(images, self._degrees, self._zoom)
        if self._jitter:
            images = jitter_colors(images, self._jitter)
        if self._function is not None:
            images = call_function(self._function, images)
        if "cutout" in self._parts:
            images = augment(images, ["cutout"], self._fill)
        return images


def load_function(reference: str) -> AugmentFunction:
    """Load a function of the user's, such as ``changes.py:blur``.

    Raises:
        ValueError: in one line, if there is no such function.
    """
    function: AugmentFunction = usercode.load(reference).value
    if not callable(function):
        raise ValueError(  # noqa: TRY004 - a wrong value
            f"augment {reference} must be a function: it is {function!r}"
        )
    return function


def call_function(function: AugmentFunction, images: torch.Tensor) -> torch.Tensor:
    """Have a function of the user's change a batch, with a generator that the epoch seeds.

    Raises:
        ValueError: if it does not return uint8 images of the same shape.
    """
    generator = torch.Generator().manual_seed(int(torch.randint(2**62, ()).item()))
    changed = function(images.clone(), generator)
    if (
        not isinstance(changed, torch.Tensor)
        or changed.dtype != torch.uint8
        or changed.shape != images.shape
    ):
        got = type(changed).__name__
        if isinstance(changed, torch.Tensor):
            got = f"{changed.dtype} {tuple(changed.shape)}"
        raise ValueError(
            "a function for augment must return uint8 images of the shape that it is given, "
            f"{tuple(images.shape)}: got {got}"
        )
    return changed.to(images.device)


def turn(images: torch.Tensor, degrees: float, zoom: float) -> torch.Tensor:
    """Turn and enlarge each image around its centre, with black edges.

    Args:
        images: uint8 (batch, channels, height, width); not changed in place.
        degrees: each image is turned by an angle between minus and plus so much.
        zoom: each image is enlarged by a factor between 1 - zoom and 1 + zoom.
    """
    count, _, height, width = images.shape
    angles = (2 * torch.rand(count) - 1) * math.radians(degrees)
    factors = 1 + (2 * torch.rand(count) - 1) * zoom
    cosines = torch.cos(angles) / factors
    sines = torch.sin(angles) / factors
    # Where each pixel comes from. `affine_grid` counts both sides from -1 to 1, so that an oblong
    # image would be sheared without the ratio of its sides.
    rows = [
        torch.stack([cosines, sines * height / width, torch.zeros(count)], dim=1),
        torch.stack([-sines * width / height, cosines, torch.zeros(count)], dim=1),
    ]
    transforms = torch.stack(rows, dim=1).to(images.device)
    grid = functional.affine_grid(transforms, list(images.shape), align_corners=False)
    turned = functional.grid_sample(images.float(), grid, mode="bilinear", align_corners=False)
    return turned.round_().clamp_(0, 255).to(torch.uint8)


def jitter_colors(images: torch.Tensor, strength: float) -> torch.Tensor:
    """Change brightness, contrast and (of colour images) saturation, as torchvision's ColorJitter.

    Args:
        images: uint8 (batch, channels, height, width); not changed in place.
        strength: each of the three changes by a factor between 1 - strength and 1 + strength.
    """
    count, channels = images.shape[:2]
    factors = 1 + (2 * torch.rand(3, count, 1, 1, 1) - 1) * strength
    brightness, contrast, saturation = factors.to(images.device)
    changed = (images.float() * brightness).clamp_(0, 255)
    mean = _grey(changed).mean(dim=(2, 3), keepdim=True)
    changed = ((changed - mean) * contrast + mean).clamp_(0, 255)
    if channels == len(_GREY):
        grey = _grey(changed)
        changed = ((changed - grey) * saturation + grey).clamp_(0, 255)
    pixels: torch.Tensor = changed.round_().to(torch.uint8)
    return pixels


def _grey(images: torch.Tensor) -> torch.Tensor:
    """The grey of each pixel, float32 (batch, 1, height, width)."""
    if images.shape[1] != len(_GREY):
        return images.mean(dim=1, keepdim=True)
    weights = torch.tensor(_GREY, device=images.device).view(1, -1, 1, 1)
    grey: torch.Tensor = (images * weights).sum(dim=1, keepdim=True)
    return grey


def augment(images: torch.Tensor, parts: Sequence[str], fill: torch.Tensor) -> torch.Tensor:
    """Move, mirror or cover the images of a batch at random.

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
