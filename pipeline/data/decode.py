"""Decodes image files of any size and mode to pixels of one shape, through the cache."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import psutil
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from pipeline.data import cache
from pipeline.data.listing import Listing
from pipeline.system.console import print_notice, progress_bar
from pipeline.system.errors import IntegrityFailure, UsageFailure
from pipeline.system.text import clean, clip

if TYPE_CHECKING:
    import torch

DEFAULT_SIDE = 64  # pixels; for images of unequal sizes
# The formats that are read, whatever a file's name says: others start programs (EPS: Ghostscript).
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N")
_16_BIT_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # greys of 0..65535
_ROTATED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_BLOCK = 16  # images decoded as one job of a thread: an interrupt waits for them
_FORMAT = 1  # of the decoded pixels; part of the cache's keys

Shape = tuple[int, int, int]  # channels, height, width
T = TypeVar("T")


def load_images(
    name: str, listing: Listing, rows: Sequence[int], find_shape: Callable[[], Shape], size: object
) -> torch.Tensor:
    """Load images of a listing from the cache; missing images are decoded into the cache first.

    Args:
        name: of the data set, for messages.
        listing: all images of the data set; they share a shape, whichever rows are loaded.
        rows: of the images to load.
        find_shape: returns the shape of all images; called if they have to be decoded.
        size: what decides the shape, besides the files; JSON data.

    Returns:
        uint8 (rows, channels, height, width).

    Raises:
        IntegrityFailure: naming an image that cannot be read, with its row.
        UsageFailure: if the images do not fit in memory.
    """

    def start_decoding() -> cache.Decoding:
        shape = find_shape()
        _check_memory(name, len(rows), shape)
        return cache.Decoding((len(rows), *shape), lambda: _decode_rows(listing, rows, shape))

    files = [(file.path, file.size, file.changed) for file in listing.files]
    facts = json.dumps([_FORMAT, str(listing.root), size, files, list(rows)])
    key = hashlib.sha256(facts.encode()).hexdigest()[:32]
    return cache.load_or_decode(key, start_decoding)


def common_shape(listing: Listing, rows: Sequence[int], image_size: int | None = None) -> Shape:
    """Read the headers of files, and choose the shape for all images.

    For images of one's own, `pipeline.data.survey` does this since version 0.2.0.

    The channels are 1 if all images are grey, else 3. Without an image size, images of equal size
    keep that size, and images of different sizes get 64 pixels a side.

    Args:
        listing: of the data set.
        rows: of the images that decide.
        image_size: the side in pixels; None for their own.

    Raises:
        IntegrityFailure: naming an image that cannot be read, with its row.
    """

    def read_headers(rows: Sequence[int]) -> set[tuple[tuple[int, int], bool]]:
        return {_read_header(listing, row) for row in rows}

    headers: set[tuple[tuple[int, int], bool]] = set()
    for block in in_threads("looking at sizes", read_headers, rows):
        headers |= block
    sizes = {size for size, _ in headers}
    channels = 1 if all(is_grey for _, is_grey in headers) else 3
    if image_size is None and len(sizes) == 1:
        width, height = sizes.pop()
        return channels, height, width
    side = image_size or DEFAULT_SIDE
    return channels, side, side


def decode_file(path: Path, shape: Shape) -> bytes:
    """Read an image file and fit it to a shape, as `fit_to_shape` does.

    Raises:
        IntegrityFailure: naming a file that cannot be read.
    """
    with _open_image(path, clean(path)) as image:
        return fit_to_shape(image, shape)


def fit_to_shape(image: Image.Image, shape: Shape) -> bytes:
    """Bring an image to a shape.

    The image is turned by the EXIF orientation, laid on white if transparent, and cropped to the
    aspect ratio of the shape. Greys of 16 bits, also in 32-bit integers, are scaled to 8.

    Returns:
        The pixels, a plane for each channel.
    """
    channels, height, width = shape
    _, image = upright(image, (2 * width, 2 * height))
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    return b"".join(band.tobytes() for band in image.split())


def upright(image: Image.Image, at_least: tuple[int, int]) -> tuple[tuple[int, int], Image.Image]:
    """Decode an image, turn it by the EXIF orientation, and lay it on white if transparent.

    Args:
        image: as opened.
        at_least: width and height in pixels. A JPEG that is larger by far is decoded at a half, a
            quarter or an eighth of its size.

    Returns:
        The width and the height of the whole image when upright; and the image in mode L if it is
        grey (greys of 16 bits are scaled to 8), else in colour.
    """
    width, height = image.size
    is_draft = image.draft(None, at_least) is not None
    is_turned = is_draft and image.getexif().get(ExifTags.Base.Orientation) in _ROTATED
    ImageOps.exif_transpose(image, in_place=True)  # else one that is upright already is copied
    size = image.size  # other formats may turn an image while it is opened or decoded
    if is_draft:
        size = (height, width) if is_turned else (width, height)
    if image.mode in _16_BIT_MODES:
        image = image.convert("I").point(lambda value: value * (1 / 257) + 0.5)
    elif image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    if image.mode in GREY_MODES:
        image = image.convert("L")
    return size, image


def has_frames(image: Image.Image) -> bool:
    """Whether an image that was just opened is an animation, or a TIFF of several pages.

    Phones put more pictures than one into a JPEG, too: a preview, or the depth.
    """
    return image.format != "MPO" and getattr(image, "is_animated", False)


def _read_header(listing: Listing, row: int) -> tuple[tuple[int, int], bool]:
    """Read an image's width and height when upright, and whether it is grey.

    A turned TIFF's width and height are exchanged here: Pillow has turned them already. So version
    0.1.0 read them, and its studies go on as they are.
    """
    with open_row(listing, row) as image:
        is_grey = image.mode in GREY_MODES
        # A PNG's EXIF may follow its pixels, and searching for it would decode them all.
        if image.format == "PNG" and "exif" not in image.info:
            return image.size, is_grey
        width, height = image.size
        if image.getexif().get(ExifTags.Base.Orientation) in _ROTATED:
            return (height, width), is_grey
        return (width, height), is_grey


def _decode_rows(listing: Listing, rows: Sequence[int], shape: Shape) -> Generator[bytes]:
    """Decode rows in order; each result is the pixels of several images."""

    def decode(block: Sequence[int]) -> bytes:
        images = []
        for row in block:
            with open_row(listing, row) as image:
                images.append(fit_to_shape(image, shape))
        return b"".join(images)

    return in_threads("decoding images", decode, rows)


def open_row(listing: Listing, row: int) -> AbstractContextManager[Image.Image]:
    """Open an image of a listing. A failure in the block becomes a line that names it.

    Raises:
        IntegrityFailure: if it cannot be read.
    """
    path = listing.files[row].path
    return _open_image(Path(listing.root, path), f"image {row}, {clean(path)},")


@contextmanager
def _open_image(path: Path, name: str) -> Iterator[Image.Image]:
    """Open an image. Any failure in the block becomes a line with the image's name."""
    try:
        # A file that is given by its path may be mapped, and a mapped TIFF is never turned.
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            if image.mode == "F":
                message = "floating point pixels, of which nothing says what is white"
                raise ValueError(message)  # noqa: TRY301
            yield image
    except UnidentifiedImageError:
        reason = "it is no image of a known format"
        if path.stat().st_size == 0:
            reason = "it is empty"
        raise IntegrityFailure(f"{name} cannot be read ({reason}): remove or replace it") from None
    except Exception as error:  # noqa: BLE001 - a damaged file can make a decoder raise anything
        of_system = error.strerror if isinstance(error, OSError) else None
        reason = clip(of_system or error, 200) or type(error).__name__
        raise IntegrityFailure(f"{name} cannot be read ({reason}): remove or replace it") from None


def in_threads(title: str, work: Callable[[Sequence[int]], T], rows: Sequence[int]) -> Generator[T]:
    """Yield the results of work on blocks of rows, in order, with a progress bar.

    Threads are enough: Pillow decodes without holding the interpreter's lock.
    """
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        with warnings.catch_warnings(), progress_bar(title, len(rows)) as advance:
            # Warnings are about odd metadata; a fault of the pixels is an error.
            warnings.simplefilter("ignore")
            for block, result in zip(blocks, pool.map(work, blocks), strict=True):
                yield result
                advance(len(block))
    finally:
        pool.shutdown(cancel_futures=True)


def _check_memory(name: str, count: int, shape: Shape) -> None:
    """Announce the decoding, or refuse it before any memory is taken."""
    needed = count * math.prod(shape)
    available = psutil.virtual_memory().available
    shape_text = "x".join(str(size) for size in shape)
    images = f"{name}: {count:,} images of {shape_text}"
    if needed > available:
        raise UsageFailure(
            f"{images} need {_format_bytes(needed)} of {_format_bytes(available)} of memory "
            "available: make them smaller: --image-size"
        )
    print_notice(f"{images}, {_format_bytes(needed)}; decoding")


def _format_bytes(count: int) -> str:
    if count < 1e10:
        return f"{count / 1e6:,.0f} MB"
    return f"{count / 1e9:,.1f} GB"
