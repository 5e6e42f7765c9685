"""Looks at every image file of a data set once: its size, its mode, and whether others equal it.

This step alone looks at the pixels of images before they are divided. What leaves it are groups of
copies, which decide how the images are divided, and counts.

Libraries that find copies of images (imagehash, cleanvision, imagededup) open files of any format,
neither turn nor compose images as training does, and know no splits. Of what they do, a hash of
differences is three lines here.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Generator, Sequence
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from pipeline.data import cache, decode
from pipeline.data.decode import DEFAULT_SIDE, GREY_MODES, Shape
from pipeline.data.listing import Listing, quote_names
from pipeline.system.errors import IntegrityFailure

_FORMAT = 3  # of the records; part of the cache's keys
# A photo's copies are compared at a half, a quarter or an eighth of its size, but not below this.
_COMPARED = (256, 256)
_THUMBNAIL = 8  # pixels a side, in colour
_REDUCING_GAP = 8  # a photo is first reduced quickly to what is this many times larger
_MODES = (
    *("?", "1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr"),
    *("LAB", "HSV", "I", "I;16", "I;16L", "I;16B", "I;16N"),
)
_RECORD = np.dtype(
    [
        ("width", "<u4"),  # of the image when upright; 0 if the file cannot be read
        ("height", "<u4"),
        ("mode", "u1"),  # position in `_MODES`
        ("is_grey", "?"),
        ("has_frames", "?"),  # of which the first is taken
        ("pixels", "<u8", 2),  # a hash: equal for images with equal pixels
        ("differences", "<u8"),  # a perceptual hash, "dHash": of near copies, few bits differ
        ("thumbnail", "u1", 3 * _THUMBNAIL**2),
    ]
)

Survey: TypeAlias = np.ndarray[Any, Any]  # a record for each image, in the order of the listing


def survey(listing: Listing) -> Survey:
    """Read all files of a listing, or the records of an earlier look from the cache.

    A file that cannot be read has a width of 0. Whoever needs its pixels names it.
    """
    count = len(listing.files)
    files = [(file.path, file.size, file.changed) for file in listing.files]
    facts = json.dumps(["survey", _FORMAT, str(listing.root), files])
    key = hashlib.sha256(facts.encode("utf-8", "surrogateescape")).hexdigest()[:32]

    def look(rows: Sequence[int]) -> bytes:
        return b"".join(_record(listing, row) for row in rows)

    def blocks() -> Generator[bytes]:
        return decode.in_threads("looking at images", look, range(count))

    records = cache.load_or_decode(
        key, lambda: cache.Decoding((count, 1, 1, _RECORD.itemsize), blocks)
    )
    return records.numpy().reshape(count, -1).view(_RECORD).reshape(count)


def common_shape(records: Survey, image_size: int | None) -> Shape:
    """Choose a shape for all images, from those that a search sees.

    The channels are 1 if all of these are grey, else 3. Without an image size, images of equal
    size keep that size, and images of different sizes get 64 pixels a side.

    Args:
        records: of the training and validation images.
        image_size: the side in pixels; None for their own.
    """
    readable = records[records["width"] > 0]
    channels = 1 if readable["is_grey"].all() else 3
    sizes = {(int(one["width"]), int(one["height"])) for one in readable[["width", "height"]]}
    if image_size is None and len(sizes) == 1:
        width, height = sizes.pop()
        return channels, height, width
    side = image_size or DEFAULT_SIDE
    return channels, side, side


def sizes_and_modes_text(records: Survey) -> str:
    """Say which sizes and modes the files have, with the numbers of the modes."""
    readable = records[records["width"] > 0]
    if not len(readable):
        return ""
    smallest, largest = (_size_text(_by_area(readable)[place]) for place in (0, -1))
    sizes = smallest if smallest == largest else f"{smallest} to {largest}"
    modes = Counter(mode_of(record) for record in readable)
    shown = ", ".join(f"{mode} {count:,}" for mode, count in modes.most_common())
    return f"sizes {sizes} (width x height); modes {shown}"


def frames_text(listing: Listing, records: Survey) -> str:
    """Say which images have several frames; empty if none has.

    Args:
        listing: of the data set.
        records: its survey.
    """
    names = [listing.files[row].path for row in np.flatnonzero(records["has_frames"])]
    if not names:
        return ""
    have = "image has" if len(names) == 1 else "images have"
    return (
        f"{len(names):,} {have} several frames or pages, of which the first is taken: "
        f"{quote_names(names, 3)}"
    )


def mode_of(record: Any) -> str:
    """Return Pillow's name of an image's mode."""
    return _MODES[record["mode"]]


def misfits_text(
    listing: Listing, records: Survey, seen: Sequence[int], rows: Sequence[int]
) -> str:
    """Say which images differ from all images that a search has seen in size or colour.

    Args:
        listing: of the data set.
        records: its survey.
        seen: the rows of the training and validation images.
        rows: of the images to judge.

    Returns:
        One line, or nothing if all fit. Where the images of a search have several sizes, any size
        fits.
    """
    own = records[seen]
    sizes = {tuple(size) for size in own[["width", "height"]].tolist() if size[0]}
    is_grey = bool(own["is_grey"].all())
    odd = []
    for row in rows:
        record = records[row]
        size = (int(record["width"]), int(record["height"]))
        has_odd_size = len(sizes) == 1 and size not in sizes
        if size[0] and (has_odd_size or (is_grey and not record["is_grey"])):
            odd.append(listing.files[row].path)
    if not odd:
        return ""
    common = _size_text(own[own["width"] > 0][0]) if len(sizes) == 1 else "several sizes"
    return (
        f"{len(odd):,} of {len(rows):,} test images are not like those of train and val "
        f"({common}, {'grey' if is_grey else 'colour'}), and are brought to their shape: "
        f"{quote_names(odd, 3)}"
    )


def _record(listing: Listing, row: int) -> bytes:
    """Look at an image."""
    record = np.zeros((), _RECORD)
    try:
        with decode.open_row(listing, row) as image:
            record["mode"] = _MODES.index(image.mode) if image.mode in _MODES else 0
            record["is_grey"] = image.mode in GREY_MODES
            record["has_frames"] = decode.has_frames(image)
            size, upright = decode.upright(image, _COMPARED)
            plain = upright.convert("RGB")
            digest = hashlib.sha256(repr(size).encode() + plain.tobytes()).digest()
            record["width"], record["height"] = size
            record["pixels"] = np.frombuffer(digest[:16], "<u8")
            record["differences"] = _differences(plain)
            thumbnail = plain.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
            record["thumbnail"] = np.frombuffer(thumbnail.tobytes(), "u1")
    except IntegrityFailure:
        return np.zeros((), _RECORD).tobytes()
    return record.tobytes()


def _differences(image: Image.Image) -> int:
    """Hash whether each of 8x8 greys is lighter than its left neighbour.

    Source: https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html
    """
    small = image.resize((9, 8), Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)
    greys = np.frombuffer(small.convert("L").tobytes(), "u1").reshape(8, 9)
    return int.from_bytes(np.packbits(greys[:, 1:] > greys[:, :-1]).tobytes(), "little")


def _by_area(records: Survey) -> Survey:
    areas = records["width"].astype("u8") * records["height"]
    return records[np.argsort(areas, kind="stable")]


def _size_text(record: Any) -> str:
    return f"{record['width']}x{record['height']}"
