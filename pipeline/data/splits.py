"""Divides the rows of a data set into training, validation and test splits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fractions import Fraction

import torch

from pipeline.data.listing import PARTS
from pipeline.system.errors import UsageFailure
from sweeps.trial import Redraw

TEST_SHARE = Fraction(1, 5)  # of the images is held out, without an official test part

Splits = Mapping[str, torch.Tensor]  # the rows of each part, ascending


def divide(
    labels: torch.Tensor,
    parts: Sequence[str],
    seed: int,
    val_share: Fraction,
    groups: torch.Tensor | None = None,
    *,
    has_test: bool,
) -> Splits:
    """Divide rows into three splits.

    An official part is a split unchanged; missing splits are held out of the training part.

    Args:
        labels: int64 (images,).
        parts: the official part of each row, from `PARTS`.
        seed: decides the rows that are held out.
        val_share: the part of the training part that validates, after the test split is taken.
        groups: int64 (images,): rows of a group are held out together; None for no groups.
        has_test: whether there is an official test part, even if these rows do not include it.
    """
    part_numbers = torch.tensor([PARTS.index(part) for part in parts])
    train, val, test = ((part_numbers == n).nonzero().flatten() for n in range(len(PARTS)))
    if not has_test:
        groups_of_train = None if groups is None else groups[train]
        remaining, held_out = stratified(labels[train], TEST_SHARE, seed, groups_of_train)
        test = train[held_out]
        train = train[remaining]
    if len(val) == 0:
        groups_of_train = None if groups is None else groups[train]
        remaining, held_out = stratified(labels[train], val_share, seed, groups_of_train)
        val = train[held_out]
        train = train[remaining]
    return {"train": train, "val": val, "test": test}


def stratified(
    labels: torch.Tensor, share: Fraction, seed: int, groups: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Split rows in two, class by class: the same share of each class is held out.

    With groups it may be a little less, as they are not divided.

    Args:
        labels: int64 (images,).
        share: of each class, 0 to 1.
        seed: decides the rows.
        groups: int64 (images,), of rows that stay together; None for no groups.

    Returns:
        The remaining and the held-out rows, both ascending.
    """
    generator = torch.Generator().manual_seed(seed)
    counts = {
        label: round(count * share)
        for label, count in enumerate(torch.bincount(labels).tolist())
        if count
    }
    is_held_out = _hold_out(labels, counts, generator, groups)
    return (~is_held_out).nonzero().flatten(), is_held_out.nonzero().flatten()


def _hold_out(
    labels: torch.Tensor,
    counts: Mapping[int, int],
    generator: torch.Generator,
    groups: torch.Tensor | None,
) -> torch.Tensor:
    """Hold out rows of each class at random, and whole groups.

    Args:
        labels: int64 (images,).
        counts: how many rows of each label to hold out, at most; but one group at least, if that is
            not all of the class.
        generator: decides the rows.
        groups: as for `stratified`. A group of several labels counts as one of its first row's.

    Returns:
        Whether each row is held out, bool (images,).
    """
    is_held_out = torch.zeros(len(labels), dtype=torch.bool)
    leaders, sizes = _leaders(labels, groups)
    for label, count in sorted(counts.items()):
        members = leaders[labels[leaders] == label]
        order = members[torch.randperm(len(members), generator=generator)]
        is_held_out[_fitting(order, sizes, count)] = True
    if groups is not None:
        held_out = groups[is_held_out]
        is_held_out = torch.isin(groups, held_out)
    return is_held_out


def _leaders(
    labels: torch.Tensor, groups: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first row of each group, ascending, and the size of each row's group."""
    rows = torch.arange(len(labels))
    if groups is None:
        return rows, torch.ones_like(rows)
    _, number, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    first = torch.full((len(sizes),), len(rows)).scatter_reduce(0, number, rows, "amin")
    return first.sort().values, sizes[number]


def _fitting(order: torch.Tensor, sizes: torch.Tensor, count: int) -> torch.Tensor:
    """Take groups in an order, as long as they fit into a number of rows.

    Args:
        order: the first row of each group, int64 (groups,).
        sizes: of each row's group, int64 (images,).
        count: of rows.

    Returns:
        The first rows of the groups that are taken. If none fits, the smallest group is taken,
        unless it is the only one or no row is wanted.
    """
    taken = []
    left = count
    for row, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        if size <= left:
            taken.append(row)
            left -= size
    if not taken and count > 0 and len(order) > 1:
        taken.append(int(order[sizes[order].argmin()]))
    return torch.tensor(taken, dtype=torch.int64)


def redraw(
    labels: torch.Tensor,
    is_val: torch.Tensor,
    drawn: Redraw,
    split_seed: int,
    groups: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the training and validation splits anew from the images of both.

    A random draw has as many validation images of each class as the present splits. The folds of a
    cross-validation hold each image once, and differ by at most one image of each class, and by at
    most one in all; with groups, by about the size of one.

    Args:
        labels: of the training and validation images, int64 (images,).
        is_val: whether each validates now, bool (images,).
        drawn: which draw.
        split_seed: decides the draws, with their number.
        groups: as for `stratified`.

    Returns:
        The new training and the new validation rows of `labels`, both ascending.

    Raises:
        UsageFailure: if there are more folds than images of a class.
    """
    if drawn.folds is None:
        counts = {
            label: int(is_val[labels == label].sum()) for label in torch.unique(labels).tolist()
        }
        validates = _hold_out(labels, counts, _generator(split_seed, str(drawn)), groups)
    else:
        generator = _generator(split_seed, f"{drawn.folds} folds")
        fold_of_row = _deal(labels, drawn.folds, generator, groups)
        validates = fold_of_row == drawn.number - 1
    return (~validates).nonzero().flatten(), validates.nonzero().flatten()


def check_folds(labels: torch.Tensor, folds: int, groups: torch.Tensor | None = None) -> None:
    """Check that each fold can have an image of each class.

    Args:
        labels: of the training and validation images, int64 (images,).
        folds: how many.
        groups: as for `stratified`.

    Raises:
        UsageFailure: if there are more folds than images of a class, or groups of them.
    """
    leaders, _ = _leaders(labels, groups)
    counts = labels[leaders].bincount()
    smallest = int(counts[counts > 0].min())
    if folds > smallest:
        what = "training and validation images"
        if groups is not None:
            what += " that are no copies or of one group,"
        raise UsageFailure(
            f"folds must be at most {smallest}, the {what} of the smallest class: got {folds}"
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


def _deal(
    labels: torch.Tensor, folds: int, generator: torch.Generator, groups: torch.Tensor | None
) -> torch.Tensor:
    """Deal the images of each class to the folds, in turn. Returns each one's fold, from 0.

    A group is dealt to the fold that has the fewest images of its class.
    """
    check_folds(labels, folds, groups)
    fold_of_row = torch.zeros_like(labels)
    leaders, sizes = _leaders(labels, groups)
    dealt = 0  # a class begins where the last one ended, so that the folds are of one size
    for label in torch.unique(labels):
        members = leaders[labels[leaders] == label]
        order = members[torch.randperm(len(members), generator=generator)]
        if groups is None:
            fold_of_row[order] = (dealt + torch.arange(len(order))) % folds
        else:
            counts = [0] * folds
            for row, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
                fold = min(range(folds), key=lambda n: (counts[n], (n - dealt) % folds))
                counts[fold] += size
                fold_of_row[row] = fold
        dealt += len(order)
    if groups is not None:
        _, number = torch.unique(groups, return_inverse=True)
        fold_of_group = torch.zeros(int(number.max()) + 1, dtype=torch.int64)
        fold_of_group[number[leaders]] = fold_of_row[leaders]
        fold_of_row = fold_of_group[number]
    return fold_of_row
