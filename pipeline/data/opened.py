"""Opens a data set: lists and divides its images, before the pixels of a split are loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import torch

from pipeline.data import copies as copying
from pipeline.data import decode, lockfile, survey
from pipeline.data.datasets import get_source, is_own, listing_files
from pipeline.data.listing import PARTS, Listing, folded, quote_names
from pipeline.data.sources import Arrays, Files
from pipeline.data.split_file import SplitFile, read_split_file
from pipeline.data.splits import Splits, divide
from pipeline.system.errors import IntegrityFailure, UsageFailure
from pipeline.system.text import clip
from sweeps.analysis.facts import Copies
from sweeps.analysis.health import copies_texts

_CLASSES = 10  # are listed with their counts
_NAME = 40  # characters of a class name

# What of arrays with an official test part is read: for a search the other part, or that part for a
# score, or both for an overview. Of files, all are listed anyway.
Purpose = Literal["search", "score", "overview"]


@dataclass(frozen=True)
class OpenedImages:
    """The images of a data set, divided into splits."""

    labels: torch.Tensor  # int64 (images,)
    classes: tuple[str, ...]
    splits: Splits
    # Takes rows, and returns uint8 (rows, channels, height, width).
    pixels: Callable[[torch.Tensor], torch.Tensor]
    has_fixed_val: bool  # whether the data set itself says which images validate
    groups: torch.Tensor | None  # int64 (images,), of images that stay in one split
    copies: Copies | None  # None if that is not known
    found: tuple[str, ...]  # what to say first of images of one's own, a line each
    misfits: Callable[[], str]  # says which test images are unlike the others; empty for none
    listing: Listing | None  # of image files
    records: survey.Survey | None  # of image files, if they were looked at


@dataclass(frozen=True)
class _Rows:
    """All images of a data set, before they are divided."""

    labels: torch.Tensor  # int64 (rows,)
    parts: Sequence[str]  # the official part of each
    classes: tuple[str, ...]
    has_test: bool  # whether there is an official test part, even if these rows do not include it
    paths: tuple[str, ...] | None  # from the data set's folder; None if images are not files
    group_names: Sequence[str] | None  # of the user's groups
    keys: copying.Keys | None  # a number for each image, equal for copies; None if unknown
    # Takes rows and the splits, and returns uint8 (rows, channels, height, width).
    pixels: Callable[[torch.Tensor, Splits], torch.Tensor]
    listing: Listing | None = None  # of image files
    records: survey.Survey | None = None


def open_images(
    name: str,
    data_dir: Path,
    split_seed: int,
    split_file: str | None,
    image_size: int | None,
    data_version: int | None,
    copies: str | None,
    *,
    purpose: Purpose,
) -> OpenedImages:
    """Read all of a data set but its pixels, and divide it into the three splits.

    For an overview, copies are counted in any data set. Those of others keep their published splits
    whatever is found.

    Args:
        name: as all that follow, see `pipeline.data.search_data.load`.
        data_dir: the folder of data sets.
        split_seed: decides the splits.
        split_file: names the splits instead.
        image_size: for image files.
        data_version: of the rules for one's own images.
        copies: whether copies are kept in one split.
        purpose: for which images are read.

    Raises:
        UsageFailure: if the data set has too few images, or takes none of these values.
        IntegrityFailure: if its files are damaged.
    """
    source = get_source(name, data_version)
    _check_options(name, source, image_size, data_version, copies)
    follows_copies = is_own(name) and data_version is not None
    finds_copies = follows_copies or purpose == "overview"
    rows: _Rows
    needed: set[str] = {*PARTS}
    if isinstance(source, Files):
        rows = _rows_of_files(
            name, source, data_dir, image_size, data_version, finds_copies=finds_copies
        )
    else:
        reads: Purpose = "overview" if split_file is not None else purpose
        rows = _rows_of_arrays(source, data_dir, reads, finds_copies=finds_copies)
        if source.has_test and reads != "overview":
            needed = {"test"} if reads == "score" else {"train", "val"}
    given = None
    if split_file is not None:
        given = read_split_file(Path(split_file), len(rows.labels), rows.paths)
        rows = dataclasses.replace(rows, group_names=_joined(rows.group_names, given.groups))
    together = follows_copies and copies != "apart"
    groups = copying.merge(rows.keys if together else None, rows.group_names)
    splits = _split(name, rows, given, groups, split_seed, source.val_share, needed)
    counted = _count_copies(rows, splits, together=together)
    found = _found_lines(rows, splits, counted, split_file) if is_own(name) else ()
    return OpenedImages(
        labels=rows.labels,
        classes=rows.classes,
        splits=splits,
        pixels=lambda wanted: rows.pixels(wanted, splits),
        has_fixed_val="val" in rows.parts and (given is None or given.splits is None),
        groups=groups,
        copies=counted,
        found=tuple(found),
        misfits=lambda: _misfits(rows, splits),
        listing=rows.listing,
        records=rows.records,
    )


def takes_size(name: str) -> bool:
    """Whether a data set is image files of one's own, which are brought to any size."""
    return is_own(name) and isinstance(get_source(name), Files)


def equal_side(name: str, data_dir: Path) -> int | None:
    """Return the longer side of image files of one's own, in pixels; None if they differ in size.

    Args:
        name: of the data set, which takes a size.
        data_dir: the folder of data sets.

    Raises:
        UsageFailure: if the images cannot be listed.
    """
    source = get_source(name)
    if not isinstance(source, Files):
        return None
    records = survey.survey(source.find(data_dir))
    sizes = {(int(one["width"]), int(one["height"])) for one in records if one["width"]}
    return max(sizes.pop()) if len(sizes) == 1 else None


def _check_options(
    name: str,
    source: Arrays | Files,
    image_size: int | None,
    data_version: int | None,
    copies: str | None,
) -> None:
    """Check that a data set takes the options that are given.

    Raises:
        UsageFailure: naming the first that it does not take.
    """
    if image_size is not None and not isinstance(source, Files):
        raise UsageFailure(
            "image size is for image files (folder:, csv:, tiny_imagenet): "
            f"got {image_size} with {name}; leave it out"
        )
    for option, value in (("data_version", data_version), ("copies", copies)):
        if value is not None and not is_own(name):
            raise UsageFailure(
                f"{option} is for images of your own: got {value} with {name}; leave it out"
            )
    if copies is not None and data_version is None:
        raise UsageFailure(
            f"copies is for studies begun by version 0.2.0 or later: got {copies}; leave it out"
        )


def _split(
    name: str,
    rows: _Rows,
    given: SplitFile | None,
    groups: torch.Tensor | None,
    seed: int,
    val_share: Fraction,
    needed: set[str],
) -> Splits:
    """Divide the images as a split file says, or by the official parts and the seed.

    Raises:
        UsageFailure: if a split would have no image.
    """
    if given is not None and given.splits is not None:
        return given.splits
    splits = divide(rows.labels, rows.parts, seed, val_share, groups, has_test=rows.has_test)
    if any(len(splits[part]) == 0 for part in needed):
        counts = ", ".join(f"{part} {len(splits[part])}" for part in PARTS if part in needed)
        raise UsageFailure(
            f"{name} has too few images: each split needs at least one, and gets {counts}"
        )
    return splits


def _joined(own: Sequence[str] | None, given: Sequence[str] | None) -> Sequence[str] | None:
    """Return the groups of a split file, or without these the data set's own."""
    return own if given is None else given


def _rows_of_files(
    name: str,
    source: Files,
    data_dir: Path,
    image_size: int | None,
    data_version: int | None,
    *,
    finds_copies: bool,
) -> _Rows:
    listing = source.find(data_dir)
    lockfile.check_sizes(listing_files(name, listing, data_dir))
    records = survey.survey(listing) if finds_copies else None
    all_rows = range(len(listing.files))

    def pixels(rows: torch.Tensor, splits: Splits) -> torch.Tensor:
        seen = _seen(splits)
        if records is not None and data_version is not None:
            _check_read(listing, records, rows)
            shape = survey.common_shape(records[seen], image_size)
            return decode.load_images(name, listing, rows.tolist(), lambda: shape, shape)

        def find_shape() -> decode.Shape:
            return decode.common_shape(listing, all_rows if is_own(name) else seen, image_size)

        return decode.load_images(name, listing, rows.tolist(), find_shape, image_size)

    return _Rows(
        labels=torch.tensor(listing.labels),
        parts=listing.parts,
        classes=listing.classes,
        has_test="test" in listing.parts,
        paths=tuple(file.path for file in listing.files),
        group_names=listing.groups,
        keys=None if records is None else copying.keys_of_pixels(records["pixels"]),
        pixels=pixels,
        listing=listing,
        records=records,
    )


def _check_read(listing: Listing, records: survey.Survey, rows: torch.Tensor) -> None:
    """Check that all images could be read. Of a single one, its decoding tells the reason.

    Raises:
        IntegrityFailure: naming the first few of several that cannot be read.
    """
    unread_rows = rows[torch.from_numpy(records["width"][rows.numpy()] == 0)]
    unread = [listing.files[row].path for row in unread_rows.tolist()]
    if len(unread) > 1:
        raise IntegrityFailure(
            f"{len(unread):,} images cannot be read: {quote_names(unread)}: remove or replace them"
        )


def _rows_of_arrays(source: Arrays, data_dir: Path, reads: Purpose, *, finds_copies: bool) -> _Rows:
    """Read arrays: everything without an official test part; else one part, or both."""
    parts_of: dict[Purpose, list[str]] = {
        "search": ["train"],
        "score": ["test"],
        "overview": ["train", "test"],
    }
    parts = parts_of[reads] if source.has_test else ["train"]
    arrays = [source.read(data_dir, part == "test") for part in parts]
    if len(arrays) == 1:
        pixels = arrays[0].images  # without a copy
    else:
        pixels = torch.cat([array.images for array in arrays])
    part_of_row: list[str] = []
    for part, array in zip(parts, arrays, strict=True):
        part_of_row += array.parts or [part] * len(array.labels)
    return _Rows(
        labels=torch.cat([array.labels for array in arrays]),
        parts=part_of_row,
        classes=arrays[0].classes,
        has_test=source.has_test or "test" in part_of_row,
        paths=None,
        group_names=None,
        keys=copying.keys_of_arrays(pixels) if finds_copies else None,
        pixels=lambda rows, _: pixels[rows],
    )


def _seen(splits: Splits) -> list[int]:
    """The rows that a search sees."""
    return sorted(splits["train"].tolist() + splits["val"].tolist())


def _count_copies(rows: _Rows, splits: Splits, *, together: bool) -> Copies | None:
    """Count the copies among the images; None if they are not known."""
    if rows.keys is None:
        return None
    counted = copying.count_copies(
        rows.keys, rows.labels, splits, rows.group_names, together=together
    )
    if rows.records is None:
        return counted
    return dataclasses.replace(
        counted,
        near_val=copying.count_near(rows.records, rows.keys, splits, "val"),
        near_test=copying.count_near(rows.records, rows.keys, splits, "test"),
    )


def _found_lines(
    rows: _Rows, splits: Splits, copies: Copies | None, split_file: str | None
) -> Iterator[str]:
    """Say what was found of images of one's own: classes, splits, sizes, copies, and the rest."""
    listing = rows.listing
    if copies is not None:
        yield _classes_line(rows)
        yield _splits_line(rows, splits, split_file)
    if rows.records is not None:
        text = survey.sizes_and_modes_text(rows.records[_seen(splits)])
        yield f"train and val images: {text}"
    if copies is not None:
        yield from _odd_classes(rows, splits)
    if rows.records is not None:
        unread = int((rows.records["width"][splits["test"].numpy()] == 0).sum())
        if unread:
            yield f"{unread:,} of the test images cannot be read: evaluate will name them"
        if listing is not None:
            frames = survey.frames_text(listing, rows.records)
            if frames:
                yield frames
    if listing is not None:
        yield from listing.notes
    if copies is not None:
        yield from copies_texts(copies)


def _classes_line(rows: _Rows) -> str:
    """The classes, with the number of images of each."""
    counts = torch.bincount(rows.labels, minlength=len(rows.classes)).tolist()
    named = [
        f"{clip(name, _NAME)} {count:,}" for name, count in zip(rows.classes, counts, strict=True)
    ]
    text = ", ".join(named[:_CLASSES])
    if len(named) > _CLASSES:
        rest = counts[_CLASSES:]
        text += f" and {len(rest)} more, of {min(rest):,} to {max(rest):,}"
    return f"{len(rows.labels):,} images of {len(rows.classes)} classes: {text}"


def _splits_line(rows: _Rows, splits: Splits, split_file: str | None) -> str:
    """The splits, with the number of images of each and where they come from."""
    origins = {} if rows.listing is None else rows.listing.origins
    texts = []
    for part in PARTS:
        text = f"{part} {len(splits[part]):,}"
        if split_file is None and part not in rows.parts:
            text += " held out of train"
        elif split_file is None and part in origins:
            text += f" in {clip(origins[part], _NAME)}"
        texts.append(text)
    given = "" if split_file is None else f", by {clip(split_file, 80)}"
    return f"{', '.join(texts)}{given}"


def _odd_classes(rows: _Rows, splits: Splits) -> Iterator[str]:
    """Say which classes may be one by mistake written in two ways, and which are not validated."""
    names_of: dict[str, list[str]] = {}
    for name in rows.classes:
        names_of.setdefault(folded(name), []).append(name)
    alike = [name for names in names_of.values() if len(names) > 1 for name in names]
    if alike:
        yield f"classes that differ in capitals or spaces only: {quote_names(alike)}"
    validated = set(rows.labels[splits["val"]].tolist())
    unseen = [name for label, name in enumerate(rows.classes) if label not in validated]
    if unseen:
        yield (
            f"val has no image of {len(unseen):,} of {len(rows.classes):,} classes, which no "
            f"validation score will count: {quote_names(unseen)}"
        )


def _misfits(rows: _Rows, splits: Splits) -> str:
    """Say which test images are unlike those that a search sees."""
    if rows.records is None or rows.listing is None:
        return ""
    return survey.misfits_text(rows.listing, rows.records, _seen(splits), splits["test"].tolist())
