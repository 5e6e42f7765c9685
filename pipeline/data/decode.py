"""Brings image files of any size and mode to pixels of one shape. Knows nothing of classes, splits or training."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import psutil
from PIL import ExifTags, Image, ImageOps

from pipeline.data import cache
from pipeline.data.folders import Listing
from pipeline.system.console import print_notice, progress_bar
from pipeline.system.errors import IntegrityFailure, UsageFailure
from pipeline.system.text import clean

if TYPE_CHECKING:
    import torch

SIDE = 64  # pixels to which images of unequal sizes are brought
GREY = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N")
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # greys of 0..65535
_BLOCK = 16  # images decoded in one go: an interrupt waits for so many
_TURNED = (5, 6, 7, 8)  # orientations that lie on their side
_FORMAT = 1  # of what is decoded from a file: another one is another cache

Shape = tuple[int, int, int]  # channels, height, width
T = TypeVar("T")


def load_images(
    name: str, listing: Listing, rows: Sequence[int], image_size: int | None = None
) -> torch.Tensor:
    """Return some images of a listing, from the cache; what it lacks is decoded once for all processes.

    Args:
        name: what the data set is called to the user.
        listing: all its images: they share one shape, whichever rows are wanted.
        rows: which of them.
        image_size: the side in pixels; None keeps the one size of all, or takes 64 where they differ.

    Returns:
        uint8 (rows, channels, height, width).

    Raises:
        IntegrityFailure: naming an image that cannot be read, with its row.
        UsageFailure: where they do not fit the memory.
    """

    def make() -> cache.Decoding:
        shape = common_shape(listing, image_size)
        _check_memory(name, len(rows), shape)
        return cache.Decoding((len(rows), *shape), lambda: _blocks(listing, rows, shape))

    files = [(file.path, file.size, file.changed) for file in listing.files]
    facts = json.dumps([_FORMAT, str(listing.root), image_size, files, list(rows)])
    return cache.load_or_decode(hashlib.sha256(facts.encode()).hexdigest()[:32], make)


def common_shape(listing: Listing, image_size: int | None = None) -> Shape:
    """Look into the headers of all files for the shape that they are brought to.

    One channel where all are grey, else three. The given side; else the size of all where it is one; else 64.

    Raises:
        IntegrityFailure: naming an image that cannot be read, with its row.
    """

    def look(rows: Sequence[int]) -> list[tuple[tuple[int, int], bool]]:
        return [_facts(listing, row) for row in rows]

    found = {
        facts
        for some in _parallel("looking at sizes", look, range(len(listing.files)))
        for facts in some
    }
    sizes = {size for size, _ in found}
    side = image_size or SIDE
    width, height = sizes.pop() if image_size is None and len(sizes) == 1 else (side, side)
    return 1 if all(grey for _, grey in found) else 3, height, width


def fit_to_shape(image: Image.Image, shape: Shape) -> bytes:
    """Bring an opened image to a shape: its pixels, a plane per channel.

    It is turned as its EXIF orientation says, laid on white where it is transparent, and cut at the sides that are too
    long. Greys of 16 bits, which 32-bit integers are taken for, are scaled to 8.
    """
    channels, height, width = shape
    image.draft(
        None, (2 * width, 2 * height)
    )  # a JPEG far larger is decoded at a half, quarter or eighth
    image = ImageOps.exif_transpose(image)
    mode = "L" if channels == 1 else "RGB"
    if image.has_transparency_data and image.mode not in _DEEP:
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    elif image.mode in _DEEP:
        image = image.convert("I").point(lambda value: value * (1 / 257) + 0.5)
    if image.mode in GREY:
        image = image.convert("L").convert(mode)
    else:
        image = image.convert(mode)
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    return b"".join(band.tobytes() for band in image.split())


def decode_file(path: Path, shape: Shape) -> bytes:
    """Read an image file and bring it to a shape: its pixels, a plane per channel, as `fit_to_shape` gives them.

    Raises:
        IntegrityFailure: naming a file that cannot be read.
    """
    with _opened(path, clean(path)) as image:
        return fit_to_shape(image, shape)


def _facts(listing: Listing, row: int) -> tuple[tuple[int, int], bool]:
    """An image's width and height when upright, and whether it is grey."""
    with _row(listing, row) as image:
        # A PNG's may stand behind its pixels, and looking for it would decode them all.
        exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
        turned = exif.get(ExifTags.Base.Orientation) in _TURNED
        return image.size[::-1] if turned else image.size, image.mode in GREY


def _blocks(listing: Listing, rows: Sequence[int], shape: Shape) -> Generator[bytes]:
    return _parallel(
        "decoding images", lambda some: b"".join(_decode(listing, row, shape) for row in some), rows
    )


def _decode(listing: Listing, row: int, shape: Shape) -> bytes:
    with _row(listing, row) as image:
        return fit_to_shape(image, shape)


def _row(listing: Listing, row: int) -> AbstractContextManager[Image.Image]:
    path = listing.files[row].path
    return _opened(Path(listing.root, path), f"image {row}, {clean(path)},")


@contextmanager
def _opened(path: Path, name: str) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            if image.mode == "F":
                raise ValueError("floating point pixels, of which nothing says what is white")  # noqa: TRY301
            yield image
    except Exception as error:  # noqa: BLE001 - a damaged file can make a decoder raise anything
        why = clean(error, 200) or type(error).__name__
        raise IntegrityFailure(f"{name} cannot be read ({why}): remove or replace it") from None


def _parallel(what: str, work: Callable[[Sequence[int]], T], rows: Sequence[int]) -> Generator[T]:
    """Work on blocks of rows in threads (Pillow decodes without holding the others up); results come in order."""
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        with warnings.catch_warnings(), progress_bar(what, len(rows)) as advance:
            warnings.simplefilter(
                "ignore"
            )  # of odd metadata; what is wrong with pixels is an error
            for block, result in zip(blocks, pool.map(work, blocks), strict=True):
                yield result
                advance(len(block))
    finally:
        pool.shutdown(cancel_futures=True)


def _check_memory(name: str, count: int, shape: Shape) -> None:
    """Say what is to come, or refuse it, before memory is taken."""
    needed = count * shape[0] * shape[1] * shape[2]
    available = psutil.virtual_memory().available
    what = f"{name}: {count:,} images of {'x'.join(map(str, shape))}"
    if needed > available:
        raise UsageFailure(
            f"{what} need {_size(needed)} of {_size(available)} of memory available: make them smaller: --image-size"
        )
    print_notice(f"{what}, {_size(needed)}; decoding")


def _size(count: int) -> str:
    if count < 1e10:
        return f"{count / 1e6:,.0f} MB"
    return f"{count / 1e9:,.1f} GB"
