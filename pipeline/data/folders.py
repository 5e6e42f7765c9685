"""Which image files folders hold, of which class and part. Opens no image: knows names, sizes and times only."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.jobs.progress import note
from pipeline.system.errors import IntegrityFailure, UsageFailure
from pipeline.system.text import clean

EXTENSIONS = (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class File:
    """An image file, as it is named and as it was when looked at."""

    path: str  # from the data set's folder, with slashes
    size: int  # bytes
    changed: int  # nanoseconds


@dataclass(frozen=True)
class Listing:
    """The images of a data set in the order in which they are read: train, val and test, each by class and path."""

    root: Path
    classes: tuple[str, ...]
    files: tuple[File, ...]
    labels: tuple[int, ...]
    parts: tuple[str, ...]  # of each file the official part: train, val or test


Found = Mapping[str, list[File]]  # of each class its files


def scan(path: str) -> Listing:
    """List a folder of ``train/<class>/*``, and of ``val/`` and ``test/`` where they are, or of ``<class>/*`` alone.

    Hidden files and folders, and files without the extension of an image, are passed over. A class without images is
    left out, and a line says so.

    Args:
        path: counts from the working folder.

    Raises:
        UsageFailure: where that is not what the folder holds.
    """
    root = Path(path).expanduser().resolve()
    if not root.is_dir():
        raise UsageFailure(f"no folder {root}: folder:PATH takes one that holds train/<class>/<images>")
    parts = [part for part in ("train", "val", "test") if (root / part).is_dir()]
    places = {part: root / part for part in parts} if "train" in parts else {"train": root}
    found = {part: _classes(root, place) for part, place in places.items()}
    classes = tuple(name for name, files in found["train"].items() if files)
    empty = [name for name, files in found["train"].items() if not files]
    if len(classes) < 2 or ("train" not in parts and set(classes) <= {"val", "test"}):
        raise UsageFailure(
            f"folder:{path} needs images of at least 2 classes, each in a folder of its own below {places['train']}: "
            f"found {_names(list(classes))}"
        )
    for part, content in found.items():
        strangers = [name for name, files in content.items() if files and name not in classes]
        if strangers:
            raise UsageFailure(f"{places[part]} has images of classes that train has none of: {_names(strangers)}")
        if not any(content.values()):
            raise UsageFailure(f"{places[part]} holds no images in folders of classes: put some there, or remove it")
    if empty:
        note(f"folder:{path}: left out without images: {_names(empty)}")
    return _listing(root, classes, found)


def below(folder: Path) -> list[Path]:
    """The image files below a folder, by path; hidden ones, and what has not the extension of an image, passed over.

    Raises:
        IntegrityFailure: where it cannot be read.
    """
    return sorted(folder / file.path for file in _walk(folder, "."))


def tiny_imagenet(data_dir: Path) -> Listing:
    """List Tiny-ImageNet in its original layout. Its labelled ``val`` is the test part: its test images have no labels.

    Raises:
        UsageFailure: where it is not below the data folder.
        IntegrityFailure: where files that its lists name are missing.
    """
    root = tiny_root(data_dir)
    try:
        wnids = sorted(set(_text(root / "wnids.txt").split()))
        rows = [line.split("\t") for line in _text(root / "val" / "val_annotations.txt").splitlines()]
        words = _text(root / "words.txt").splitlines() if (root / "words.txt").exists() else []
    except OSError as error:
        raise IntegrityFailure(
            f"data set tiny_imagenet in {root} is incomplete ({error.filename}: {error.strerror}): extract it anew"
        ) from None
    train = {wnid: list(_walk(root, f"train/{wnid}")) for wnid in wnids}
    there = {file.path: file for file in _walk(root, "val")}
    val: dict[str, list[File]] = {wnid: [] for wnid in wnids}
    for row in rows:
        path = f"val/images/{row[0]}"
        if len(row) > 1 and row[1] in val:
            if path not in there:
                raise IntegrityFailure(f"data set tiny_imagenet in {root} lacks {clean(path)}: extract it anew")
            val[row[1]].append(there[path])
    for part, found in (("train", train), ("val", val)):
        missing = [wnid for wnid, files in found.items() if not files]
        if missing:
            raise IntegrityFailure(f"data set tiny_imagenet in {root} has no {part} images of {_names(missing)}")
    listing = _listing(root, tuple(wnids), {"train": train, "test": val})
    return Listing(root, _titles(wnids, words), listing.files, listing.labels, listing.parts)


def tiny_root(data_dir: Path) -> Path:
    """Find the folder of Tiny-ImageNet.

    Raises:
        UsageFailure: where there is none, or several.
    """

    def holds(place: Path) -> bool:
        return (place / "train").is_dir() and (place / "wnids.txt").is_file()

    for place in (data_dir, data_dir / "tiny-imagenet-200", data_dir / "tiny_imagenet"):
        if holds(place):
            return place.resolve()
    found = [place for place in sorted(data_dir.glob("tiny-imagenet-*")) if holds(place)]
    if len(found) == 1:
        return found[0].resolve()
    several = f"several of data set tiny_imagenet in {data_dir}: {_names([place.name for place in found])}"
    raise UsageFailure(
        f"{several}: keep one"
        if found
        else f"no data set tiny_imagenet in {data_dir / 'tiny-imagenet-200'}: extract it there (the folder that holds "
        "train/ and wnids.txt), or use --dataset digits"
    )


def _titles(wnids: list[str], words: list[str]) -> tuple[str, ...]:
    """Of each class the first of its words, and its WordNet id too where two have the same."""
    said = {wnid: text.split(",")[0].strip() for wnid, _, text in (line.partition("\t") for line in words)}
    names = [said.get(wnid) or wnid for wnid in wnids]
    count = Counter(names)
    return tuple(name if count[name] == 1 else f"{name} ({wnid})" for name, wnid in zip(names, wnids, strict=True))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _listing(root: Path, classes: tuple[str, ...], found: Mapping[str, Found]) -> Listing:
    rows = [
        (file, label, part)
        for part, content in found.items()
        for label, name in enumerate(classes)
        for file in sorted(content.get(name, []), key=lambda file: file.path)
    ]
    files, labels, parts = zip(*rows, strict=True)
    return Listing(root, classes, files, labels, parts)


def _classes(root: Path, place: Path) -> Found:
    """The image files below each folder that is directly in a place, by its name."""
    with _readable(place), os.scandir(place) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    inside = "" if place == root else f"{place.name}/"
    return {name: list(_walk(root, inside + name)) for name in names}


def _walk(root: Path, inside: str, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[File]:
    """The image files below a folder. Links are followed, but not in circles."""
    with _readable(root / inside):
        facts = (root / inside).stat()
        here = (facts.st_dev, facts.st_ino)
        entries = [] if here in above else [entry for entry in os.scandir(root / inside) if entry.name[0] != "."]
        for entry in entries:
            path = f"{inside}/{entry.name}"
            if entry.is_dir():
                yield from _walk(root, path, above | {here})
            elif entry.name.lower().endswith(EXTENSIONS):
                facts = entry.stat()
                if stat.S_ISREG(facts.st_mode):
                    yield File(path, facts.st_size, facts.st_mtime_ns)


@contextmanager
def _readable(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where, why = clean(error.filename or place), error.strerror or error
        raise IntegrityFailure(f"{where} cannot be read ({why}): restore or remove it") from None


def _names(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(clean(name, 80)) for name in names[:most]) + more or "none"
