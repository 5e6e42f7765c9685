"""Lists the images of Tiny-ImageNet in its original folder layout."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pipeline.data.folders import ImageFile, Listing, listed_names, make_listing, walk_files
from pipeline.system.errors import IntegrityFailure, UsageFailure
from pipeline.system.text import clean


def list_tiny_imagenet(data_dir: Path) -> Listing:
    """List Tiny-ImageNet in its original layout. Its labelled ``val`` is the test part: its test images have no labels.

    Raises:
        UsageFailure: where it is not below the data folder.
        IntegrityFailure: where files that its lists name are missing.
    """
    root = find_tiny_imagenet(data_dir)
    try:
        wnids = sorted(set(_text(root / "wnids.txt").split()))
        rows = [
            line.split("\t") for line in _text(root / "val" / "val_annotations.txt").splitlines()
        ]
        if (root / "words.txt").exists():
            words = _text(root / "words.txt").splitlines()
        else:
            words = []
    except OSError as error:
        raise IntegrityFailure(
            f"data set tiny_imagenet in {root} is incomplete ({error.filename}: {error.strerror}): extract it anew"
        ) from None
    train = {wnid: list(walk_files(root, f"train/{wnid}")) for wnid in wnids}
    there = {file.path: file for file in walk_files(root, "val")}
    val: dict[str, list[ImageFile]] = {wnid: [] for wnid in wnids}
    for row in rows:
        path = f"val/images/{row[0]}"
        if len(row) > 1 and row[1] in val:
            if path not in there:
                raise IntegrityFailure(
                    f"data set tiny_imagenet in {root} lacks {clean(path)}: extract it anew"
                )
            val[row[1]].append(there[path])
    for part, found in (("train", train), ("val", val)):
        missing = [wnid for wnid, files in found.items() if not files]
        if missing:
            raise IntegrityFailure(
                f"data set tiny_imagenet in {root} has no {part} images of {listed_names(missing)}"
            )
    listing = make_listing(root, tuple(wnids), {"train": train, "test": val})
    return Listing(root, _titles(wnids, words), listing.files, listing.labels, listing.parts)


def find_tiny_imagenet(data_dir: Path) -> Path:
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
    several = f"several of data set tiny_imagenet in {data_dir}: {listed_names([place.name for place in found])}"
    raise UsageFailure(
        f"{several}: keep one"
        if found
        else f"no data set tiny_imagenet in {data_dir / 'tiny-imagenet-200'}: extract it there (the folder that holds "
        "train/ and wnids.txt), or use --dataset digits"
    )


def _titles(wnids: list[str], words: list[str]) -> tuple[str, ...]:
    """Of each class the first of its words, and its WordNet id too where two have the same."""
    said = {
        wnid: text.split(",")[0].strip()
        for wnid, _, text in (line.partition("\t") for line in words)
    }
    names = [said.get(wnid) or wnid for wnid in wnids]
    count = Counter(names)
    return tuple(
        name if count[name] == 1 else f"{name} ({wnid})"
        for name, wnid in zip(names, wnids, strict=True)
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
