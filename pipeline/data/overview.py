"""Looks at a data set: its classes and sizes, and sheets of its training and validation images.

Of test images only counts are told: a search, and whoever plans it, sees none of them.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw, ImageFont

from pipeline.data import survey
from pipeline.data.datasets import is_own
from pipeline.data.opened import OpenedImages, open_images
from pipeline.data.search_data import SearchData, Split, read_splits
from pipeline.system.text import clip
from sweeps.trial import DATA_VERSION

_COLUMNS = 10  # images beside each other on a sheet
_SIDE = 96  # pixels of a thumbnail, at most
_SMALL = 48  # images of fewer pixels are enlarged, in whole steps
_GAP = 2  # pixels between images
_BETWEEN_SPLITS = 10  # pixels between training and validation images
_BACKGROUND = 255
_NAME_WIDTH = 150  # pixels beside a row of the sheet of all classes
_NAME_CLIP = 20  # characters there
_ROWS = 60  # classes on that sheet


class Colour(NamedTuple):
    """The colour of a pixel, each part from 0 to 255."""

    red: int
    green: int
    blue: int


@dataclass(frozen=True, kw_only=True)
class ClassCounts:
    """The numbers of a class's images, by split."""

    name: str
    train: int
    val: int
    test: int

    @property
    def total(self) -> int:
        """The images of all splits."""
        return self.train + self.val + self.test


@dataclass(frozen=True, kw_only=True)
class ImageFileFacts:
    """An image file of the training or validation split."""

    path: str  # from the data set's folder
    width: int  # pixels, when upright
    height: int
    mode: str  # Pillow's

    @property
    def size(self) -> str:
        """Width and height in words."""
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What there is in a data set. Everything but the counts is of training and validation."""

    data: SearchData
    is_own: bool  # whether it is the user's own
    classes: tuple[ClassCounts, ...]
    files: tuple[ImageFileFacts, ...]  # empty for a data set that is no image files

    @property
    def by_area(self) -> list[ImageFileFacts]:
        """The image files, the smallest first."""
        return sorted(self.files, key=lambda file: (file.width * file.height, file.path))

    @property
    def modes(self) -> list[tuple[str, int]]:
        """Pillow's modes of the image files with their numbers, the most frequent first."""
        return Counter(file.mode for file in self.files).most_common()

    @property
    def sizes(self) -> list[tuple[str, int]]:
        """The sizes of the image files with their numbers, the most frequent first."""
        return Counter(file.size for file in self.files).most_common()


def look_at(
    name: str, data_dir: Path, split_seed: int, split_file: str | None, image_size: int | None
) -> Overview:
    """Look at a data set.

    Args:
        name: as the next four, see `pipeline.data.search_data.load`.
        data_dir: the folder of data sets.
        split_seed: decides the splits.
        split_file: names the splits instead.
        image_size: for image files.

    Raises:
        ValueError, UsageFailure, IntegrityFailure: as `pipeline.data.search_data.load`.
    """
    version = DATA_VERSION if is_own(name) else None
    opened = open_images(
        name, data_dir, split_seed, split_file, image_size, version, None, purpose="overview"
    )
    splits = opened.splits
    counts = {
        split: torch.bincount(opened.labels[rows], minlength=len(opened.classes)).tolist()
        for split, rows in splits.items()
    }
    classes = [
        ClassCounts(name=label, **{split: counts[split][index] for split in splits})
        for index, label in enumerate(opened.classes)
    ]
    return Overview(
        data=read_splits(name, opened, split_file),
        is_own=is_own(name),
        classes=tuple(classes),
        files=_facts_of_files(opened),
    )


def _facts_of_files(opened: OpenedImages) -> tuple[ImageFileFacts, ...]:
    """Return what is known of the image files of training and validation, if there are files."""
    if opened.listing is None or opened.records is None:
        return ()
    facts = []
    for row in torch.cat([opened.splits["train"], opened.splits["val"]]).tolist():
        record = opened.records[row]
        facts.append(
            ImageFileFacts(
                path=opened.listing.files[row].path,
                width=int(record["width"]),
                height=int(record["height"]),
                mode=survey.mode_of(record),
            )
        )
    return tuple(facts)


# Sheets


def images_of_class(split: Split, label: int, most: int) -> torch.Tensor:
    """Take some images of a class, evenly over their order.

    Args:
        split: of the images.
        label: index of the class.
        most: the largest number of images.

    Returns:
        uint8 (images, channels, height, width).
    """
    places = (split.labels == label).nonzero().flatten()
    if len(places) > most:
        places = places[torch.linspace(0, len(places) - 1, most).round().long()]
    return split.take(places)


def class_sheet(data: SearchData, label: int, most: int) -> bytes:
    """Draw a sheet of a class's images: training images and, below a gap, validation images.

    Args:
        data: of the data set.
        label: index of the class.
        most: training images at most; of the validation images, half as many.

    Returns:
        A PNG.
    """
    chosen = [
        images_of_class(data.train, label, most),
        images_of_class(data.val, label, math.ceil(most / 2)),
    ]
    blocks = [_grid(images) for images in chosen if len(images)]
    width = max((block.width for block in blocks), default=1)
    height = sum(block.height for block in blocks) + _BETWEEN_SPLITS * (len(blocks) - 1)
    sheet = Image.new("RGB", (width, max(1, height)), (_BACKGROUND,) * 3)
    top = 0
    for block in blocks:
        sheet.paste(block, (0, top))
        top += block.height + _BETWEEN_SPLITS
    return _png(sheet)


def sheet_of_all(data: SearchData) -> bytes:
    """Draw a sheet with a row of training images for each class, of many classes the first ones.

    Returns:
        A PNG.
    """
    drawn = []
    for label, name in enumerate(data.classes[:_ROWS]):
        images = images_of_class(data.train, label, _COLUMNS)
        if len(images):
            drawn.append((name, _grid(images)))
    width = _NAME_WIDTH + max((row.width for _, row in drawn), default=1)
    height = sum(row.height + _GAP for _, row in drawn)
    sheet = Image.new("RGB", (width, max(1, height)), (_BACKGROUND,) * 3)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    top = 0
    for name, row in drawn:
        # Pillow's own font has the letters of Western Europe only.
        text = clip(name, _NAME_CLIP).encode("latin-1", "backslashreplace").decode("latin-1")
        middle = top + row.height / 2
        pen.text((4, middle), clip(text, _NAME_CLIP), fill=(0, 0, 0), font=font, anchor="lm")
        sheet.paste(row, (_NAME_WIDTH, top))
        top += row.height + _GAP
    return _png(sheet)


def thumbnail(image: torch.Tensor) -> Image.Image:
    """Make a thumbnail: a small image is enlarged in whole steps, a large one is made smaller.

    Args:
        image: uint8 (channels, height, width) with 1 or 3 channels.
    """
    pixels = image.permute(1, 2, 0).squeeze(2).contiguous().numpy()
    small = Image.fromarray(pixels).convert("RGB")
    factor = max(1, _SMALL // max(small.size))
    if factor > 1:
        size = (factor * small.width, factor * small.height)
        return small.resize(size, Image.Resampling.NEAREST)
    small.thumbnail((_SIDE, _SIDE))
    return small


def class_strip(data: SearchData, label: int, count: int, side: int) -> list[list[Colour]]:
    """Lay training images of a class side by side, for a terminal.

    Args:
        data: of the data set.
        label: index of the class.
        count: images at most.
        side: pixels of each, a side.

    Returns:
        The colours of the pixels, row by row; images have a black column between them.
    """
    images = images_of_class(data.train, label, count)
    strip = Image.new("RGB", (max(1, len(images) * (side + 1) - 1), side))
    for place, image in enumerate(images):
        small = thumbnail(image).resize((side, side), Image.Resampling.BOX)
        strip.paste(small, (place * (side + 1), 0))
    pixels = strip.tobytes()
    colours = [Colour(*pixels[start : start + 3]) for start in range(0, len(pixels), 3)]
    return [colours[start : start + strip.width] for start in range(0, len(colours), strip.width)]


def _grid(images: torch.Tensor) -> Image.Image:
    """Lay images out in rows."""
    thumbnails = [thumbnail(image) for image in images]
    width, height = thumbnails[0].size
    rows = math.ceil(len(thumbnails) / _COLUMNS)
    size = (_COLUMNS * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP)
    grid = Image.new("RGB", size, (_BACKGROUND,) * 3)
    for place, one in enumerate(thumbnails):
        row, column = divmod(place, _COLUMNS)
        grid.paste(one, (column * (width + _GAP), row * (height + _GAP)))
    return grid


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
