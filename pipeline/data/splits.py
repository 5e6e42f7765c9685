"""Divides the rows of a data set into training, validation and test splits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fractions import Fraction

import torch

from pipeline.system.errors import UsageFailure
from sweeps.trial import Redraw

PARTS = ("train", "val", "test")
TEST_SHARE = Fraction(1, 5)  # of the images is held out, without an official test part

Splits = Mapping[str, torch.Tensor]  # the rows of each part, ascending


def divide(
    labels: torch.Tensor, parts: Sequence[str], seed: int, val_share: Fraction, *, has_test: bool
) -> Splits:
    """Divide rows into three splits.

    An official part is a split unchanged; missing splits are held out of the training part.

    Args:
        labels: int64 (images,).
        parts: the official part of each row, from `PARTS`.
        seed: decides the rows that are held out.
        val_share: the part of the training part that validates, after the test split is taken.
        has_test: whether there is an official test part, even if these rows do not include it.
    """
    part_numbers = torch.tensor([PARTS.index(part) for part in parts])
    train, val, test = ((part_numbers == n).nonzero().flatten() for n in range(len(PARTS)))
    if not has_test:
        remaining, held_out = stratified(labels[train], TEST_SHARE, seed)
        test = train[held_out]
        train = train[remaining]
    if len(val) == 0:
        remaining, held_out = stratified(labels[train], val_share, seed)
        val = train[held_out]
        train = train[remaining]
    return {"train": train, "val": val, "test": test}


def stratified(
    labels: torch.Tensor, share: Fraction, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Split rows in two, class by class: the same share of each class is held out.

    Args:
        labels: int64 (images,).
        share: of each class, 0 to 1.
        seed: decides the rows.

    Returns:
        The remaining and the held-out rows, both ascending.
    """
    generator = torch.Generator().manual_seed(seed)
    is_held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels):
        members = (labels == label).nonzero().flatten()
        order = members[torch.randperm(len(members), generator=generator)]
        is_held_out[order[: round(len(members) * share)]] = True
    return (~is_held_out).nonzero().flatten(), is_held_out.nonzero().flatten()


def redraw(
    labels: torch.Tensor, is_val: torch.Tensor, drawn: Redraw, split_seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the training and validation splits anew from the images of both.

    A random draw has as many validation images of each class as the present splits. The folds of a
    cross-validation hold each image once, and differ by at most one image of each class, and by at
    most one in all.

    Args:
        labels: of the training and validation images, int64 (images,).
        is_val: whether each validates now, bool (images,).
        drawn: which draw.
        split_seed: decides the draws, with their number.

    Returns:
        The new training and the new validation rows of `labels`, both ascending.

    Raises:
        UsageFailure: if there are more folds than images of a class.
    """
    if drawn.folds is None:
        validates = _draw_at_random(labels, is_val, _generator(split_seed, str(drawn)))
    else:
        fold_of_row = _deal(labels, drawn.folds, _generator(split_seed, f"{drawn.folds} folds"))
        validates = fold_of_row == drawn.number - 1
    return (~validates).nonzero().flatten(), validates.nonzero().flatten()


def check_folds(labels: torch.Tensor, folds: int) -> None:
    """Check that each fold can have an image of each class.

    Args:
        labels: of the training and validation images, int64 (images,).
        folds: how many.

    Raises:
        UsageFailure: if there are more folds than images of a class.
    """
    counts = labels.bincount()
    smallest = int(counts[counts > 0].min())
    if folds > smallest:
        raise UsageFailure(
            f"folds must be at most {smallest}, the training and validation images of the smallest "
            f"class: got {folds}"
        )


def take_part(labels: torch.Tensor, count: int, split_seed: int, purpose: str) -> torch.Tensor:
    """Choose some of the training images, of each class its share.

    Each class has at least one image, and apart from that its share. A smaller part
    is within each larger part of the same images and seed.

    Args:
        labels: of the training images, int64 (images,).
        count: how many to choose, at least as many as there are classes.
        split_seed: decides the choice.
        purpose: decides it, too; such as the draw that the images are of.

    Returns:
        The chosen rows of `labels`, ascending.

    Raises:
        UsageFailure: if there are fewer images, or more classes.
    """
    check_part(labels, count)
    generator = _generator(split_seed, f"part of {purpose}")
    # The images of each class are put in a random order, and spread evenly over the whole. The
    # first of each class come first, and classes of one size alternate in a random order.
    order = torch.randperm(len(labels), generator=generator)
    by_class = order[torch.argsort(labels[order], stable=True)]
    class_sizes = labels.bincount()
    first_of_class = class_sizes.cumsum(0) - class_sizes
    sorted_labels = labels[by_class]
    rank_in_class = torch.arange(len(labels)) - first_of_class[sorted_labels]
    place = torch.empty(len(labels), dtype=torch.float64)
    place[by_class] = rank_in_class / class_sizes[sorted_labels].double()
    by_place = order[torch.argsort(place[order], stable=True)]
    return by_place[:count].sort().values


def check_part(labels: torch.Tensor, count: int) -> None:
    """Check that some of the training images can be chosen, at least one of each class.

    Args:
        labels: of the training images, int64 (images,).
        count: how many to choose.

    Raises:
        UsageFailure: if there are fewer images, or more classes.
    """
    classes = len(torch.unique(labels))
    if not classes <= count <= len(labels):
        raise UsageFailure(
            f"train_images must be from {classes}, one of each class, to {len(labels)}, the images "
            f"of the training split: got {count}"
        )


def _generator(split_seed: int, purpose: str) -> torch.Generator:
    digest = hashlib.sha256(f"{split_seed}:{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _draw_at_random(
    labels: torch.Tensor, is_val: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Say of each image whether it validates, bool (images,)."""
    validates = torch.zeros_like(is_val)
    for label in torch.unique(labels):
        members = (labels == label).nonzero().flatten()
        order = members[torch.randperm(len(members), generator=generator)]
        validates[order[: int(is_val[members].sum())]] = True
    return validates


def _deal(labels: torch.Tensor, folds: int, generator: torch.Generator) -> torch.Tensor:
    """Deal the images of each class to the folds, in turn. Returns each one's fold, from 0."""
    check_folds(labels, folds)
    fold_of_row = torch.zeros_like(labels)
    dealt = 0  # a class begins where the last one ended, so that the folds are of one size
    for label in torch.unique(labels):
        members = (labels == label).nonzero().flatten()
        order = members[torch.randperm(len(members), generator=generator)]
        fold_of_row[order] = (dealt + torch.arange(len(order))) % folds
        dealt += len(order)
    return fold_of_row
