"""Shows a data set: counts its images, and writes a page and sheets of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data import overview
from pipeline.data.overview import ClassCounts, Overview
from pipeline.jobs.estimate import unequal_text
from pipeline.report.data_page import PAGE, DataContents, Sheet, data_page
from pipeline.report.grid import Row
from pipeline.system.files import atomic_write, write_text_atomically
from pipeline.system.text import clip
from sweeps.analysis.health import copies_texts, imbalance

_SHOWN = 500  # training images on all sheets, about
_MOST = 30  # training images of a class
_LEAST = 5
_NAMED = 5  # sizes or modes
_CLASS_CLIP = 60  # characters of a class name
_PATH_CLIP = 120  # characters of a file's path
_SHEETS = "classes"  # the folder of the classes' sheets


@dataclass(frozen=True)
class ShownData:
    """A data set, and what is said of it."""

    found: Overview
    contents: DataContents


def show(found: Overview) -> ShownData:
    """Describe a data set, and draw the sheets of its classes.

    Args:
        found: what there is.
    """
    data = found.data
    most = max(_LEAST, min(_MOST, _SHOWN // len(data.classes)))
    sheets = [
        Sheet(
            title=clip(one.name, _CLASS_CLIP),
            counts=f"{one.train:,} training and {one.val:,} validation images",
            png=overview.class_sheet(data, label, most),
        )
        for label, one in enumerate(found.classes)
    ]
    contents = DataContents(
        name=data.name,
        facts=facts(found),
        warnings=warnings(found),
        classes=[_class_row(one, found) for one in found.classes],
        sheets=sheets,
    )
    return ShownData(found, contents)


def write(shown: ShownData, folder: Path) -> list[Path]:
    """Write ``data.html``, ``contact_sheet.png`` of all classes, and ``classes/NN.png`` of each.

    Args:
        shown: the data set.
        folder: for the files; created if missing.

    Returns:
        The files.
    """
    (folder / _SHEETS).mkdir(parents=True, exist_ok=True)
    pictures = {folder / "contact_sheet.png": overview.sheet_of_all(shown.found.data)}
    for index, sheet in enumerate(shown.contents.sheets):
        pictures[folder / _SHEETS / f"{index:02d}.png"] = sheet.png
    for path, png in pictures.items():
        with atomic_write(path) as draft:
            draft.write_bytes(png)
    page = write_text_atomically(folder / PAGE, data_page(shown.contents))
    return [page, *pictures]


def facts(found: Overview) -> list[tuple[str, str]]:
    """What there is, as names and texts."""
    counts = {
        split: sum(getattr(one, split) for one in found.classes)
        for split in ("train", "val", "test")
    }
    channels, height, width = found.data.shape
    colours = "grey" if channels == 1 else "colour"
    texts = [
        ("images", ", ".join(f"{split} {count:,}" for split, count in counts.items())),
        ("classes", f"{len(found.classes):,}"),
        ("as a network sees them", f"{width}x{height} pixels, {colours}"),
    ]
    if found.files:
        smallest = found.by_area[0]
        largest = found.by_area[-1]
        texts += [
            ("sizes of the files", _counted(found.sizes)),
            ("modes of the files", _counted(found.modes)),
            ("smallest", f"{smallest.size} {clip(smallest.path, _PATH_CLIP)}"),
            ("largest", f"{largest.size} {clip(largest.path, _PATH_CLIP)}"),
        ]
    copies = found.data.copies
    if copies is not None:
        texts.append(("different pictures", f"{copies.different:,} of {copies.images:,}"))
    return texts


def warnings(found: Overview) -> list[str]:
    """What of a data set may mislead, in sentences."""
    copies = found.data.copies
    texts = [] if copies is None else list(copies_texts(copies, is_own=found.is_own))
    unequal = imbalance([one.train for one in found.classes])
    if unequal is None:
        return texts
    text = (
        f"{unequal_text(unequal, found.data.classes)}; accuracy misleads: objective: balanced_acc "
        "counts all classes alike, and so does class_weights: balanced in training"
    )
    return [*texts, text]


def values(found: Overview) -> dict[str, Any]:
    """A data set as JSON data."""
    return {
        "name": found.data.name,
        "shape": list(found.data.shape),
        "classes": [
            {"class": one.name, "train": one.train, "val": one.val, "test": one.test}
            for one in found.classes
        ],
        "sizes": dict(found.sizes),
        "modes": dict(found.modes),
        "warnings": warnings(found),
    }


def _class_row(one: ClassCounts, found: Overview) -> Row:
    images = sum(other.total for other in found.classes)
    return {
        "class": one.name,
        "train": one.train,
        "val": one.val,
        "test": one.test,
        "share": f"{100 * one.total / max(1, images):.1f} %",
    }


def _counted(counts: list[tuple[str, int]]) -> str:
    """Name all with their numbers; of many, only say how many differ."""
    if len(counts) > _NAMED:
        return f"{len(counts):,} different ones"
    return ", ".join(f"{name} ({count:,})" for name, count in counts)
