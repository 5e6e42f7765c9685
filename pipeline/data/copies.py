"""Finds copies among images: which belong together, and how many lie in several splits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from pipeline.data.listing import PARTS
from pipeline.data.splits import Splits
from sweeps.analysis.facts import Copies

_MOST_BITS = 4  # of a hash of differences that differ between near copies
_MOST_DIFFERENCE = 8  # mean difference of the thumbnails of near copies, of 255
_MOST_PAIRS = 200_000_000  # are compared in about a second; among more, near copies are not sought
_BLOCK = 256  # images compared with all others at a time

Keys: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


def keys_of_pixels(hashes: np.ndarray[Any, Any]) -> Keys:
    """Return a number for each image, equal for images with equal pixels.

    Args:
        hashes: of the pixels, (images, 2); zeros for an image that could not be read, which equals
            no other.
    """
    _, keys = np.unique(hashes, axis=0, return_inverse=True)
    keys = keys.reshape(-1).astype(np.int64)
    unread = ~hashes.any(axis=1)
    keys[unread] = keys.max(initial=0) + 1 + np.arange(unread.sum())
    return keys


def keys_of_arrays(images: torch.Tensor) -> Keys:
    """Return a number for each image of uint8 (images, channels, height, width), as above."""
    rows = np.ascontiguousarray(images.numpy()).reshape(len(images), -1)
    hashes = b"".join(hashlib.sha256(row.data).digest()[:16] for row in rows)
    return keys_of_pixels(np.frombuffer(hashes, "<u8").reshape(-1, 2))


def merge(keys: Keys | None, names: Sequence[str] | None) -> torch.Tensor | None:
    """Number the groups of images that stay together: copies, and the user's own groups.

    Args:
        keys: of the pixels; None if copies may be divided.
        names: of the user's groups, an empty one for an image of none; None for no groups.

    Returns:
        int64 (images,), the number of each image's group; None if each image is a group.
    """
    if keys is None and names is None:
        return None
    count = len(keys if keys is not None else names or ())
    group = list(range(count))

    def find(row: int) -> int:
        while group[row] != row:
            group[row] = group[group[row]]
            row = group[row]
        return row

    firsts: dict[object, int] = {}
    for row in range(count):
        marks: list[object] = [] if keys is None else [int(keys[row])]
        if names is not None and names[row]:
            marks.append(names[row])
        for mark in marks:
            one, other = find(row), find(firsts.setdefault(mark, row))
            group[max(one, other)] = min(one, other)
    groups = torch.tensor([find(row) for row in range(count)])
    return None if len(torch.unique(groups)) == count else groups


def count_copies(
    keys: Keys,
    labels: torch.Tensor,
    splits: Splits,
    names: Sequence[str] | None,
    *,
    together: bool,
) -> Copies:
    """Count the copies within the splits and across them.

    Args:
        keys: a number for each image, equal for copies.
        labels: int64 (images,).
        splits: rows of the images.
        names: of the user's groups, as for `merge`.
        together: whether splits that are drawn keep copies together.
    """
    rows = {part: splits[part].numpy() for part in PARTS}
    all_rows = np.concatenate([rows[part] for part in PARTS])
    pairs = np.unique(np.stack([keys, labels.numpy()], 1)[all_rows], axis=0)
    several_labels, counts = np.unique(pairs[:, 0], return_counts=True)
    mixed = np.isin(keys[all_rows], several_labels[counts > 1])

    def shared(part: str, other: str) -> int:
        return int(np.isin(keys[rows[part]], keys[rows[other]]).sum())

    return Copies(
        images=len(all_rows),
        different=len(np.unique(keys[all_rows])),
        val_of_train=shared("val", "train"),
        test_of_train=shared("test", "train"),
        test_of_val=shared("test", "val"),
        other_label=int(mixed.sum()),
        groups_apart=_count_apart(names, splits),
        together=together,
    )


def count_near(records: np.ndarray[Any, Any], keys: Keys, splits: Splits, part: str) -> int | None:
    """Count the images of a split that nearly equal a training image, without copies.

    Args:
        records: of `pipeline.data.survey.survey`.
        keys: a number for each image, equal for copies.
        splits: rows of the images.
        part: the split.

    Returns:
        Their number; None if there are too many images to compare them all.
    """
    own = splits[part].numpy()
    train = splits["train"].numpy()
    own = own[~np.isin(keys[own], keys[train]) & (records["width"][own] > 0)]
    train = train[records["width"][train] > 0]
    if len(own) * len(train) > _MOST_PAIRS:
        return None
    return sum(
        _has_near_copy(records, own[start : start + _BLOCK], train)
        for start in range(0, len(own), _BLOCK)
    )


def _has_near_copy(
    records: np.ndarray[Any, Any], own: np.ndarray[Any, Any], train: np.ndarray[Any, Any]
) -> int:
    """Count the images of a block with a near copy among the training images."""
    hashes = records["differences"]
    bits = np.bitwise_count(hashes[own][:, None] ^ hashes[train][None, :])
    places, others = np.nonzero(bits <= _MOST_BITS)
    thumbnails = records["thumbnail"]
    difference = np.abs(
        thumbnails[own[places]].astype(np.int16) - thumbnails[train[others]].astype(np.int16)
    ).mean(axis=1)
    return len(np.unique(places[difference < _MOST_DIFFERENCE]))


def _count_apart(names: Sequence[str] | None, splits: Splits) -> int:
    """Count the user's groups that lie in several splits."""
    if names is None:
        return 0
    parts_of_group: dict[str, set[str]] = {}
    for part in PARTS:
        for row in splits[part].tolist():
            if names[row]:
                parts_of_group.setdefault(names[row], set()).add(part)
    return sum(len(parts) > 1 for parts in parts_of_group.values())
