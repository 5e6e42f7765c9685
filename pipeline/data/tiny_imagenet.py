"""Lists the images of Tiny-ImageNet in its original folder layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from pipeline.data.folders import ImageFile, Listing, make_listing, quote_names, walk_files
from pipeline.system.errors import IntegrityFailure, UsageFailure
from pipeline.system.text import clean


def list_tiny_imagenet(data_dir: Path) -> Listing:
    """List the images of Tiny-ImageNet.

    Its labelled ``val`` is the test part, since the images of its ``test`` have no labels.

    Raises:
        UsageFailure: if it is not in the data folder.
        IntegrityFailure: if files are missing.
    """
    root = find_tiny_imagenet(data_dir)
    try:
        wnids = sorted(set(_read_text(root / "wnids.txt").split()))
        annotations = _read_text(root / "val" / "val_annotations.txt").splitlines()
        words_path = root / "words.txt"
        words = _read_text(words_path).splitlines() if words_path.exists() else []
    except OSError as error:
        raise IntegrityFailure(
            f"data set tiny_imagenet in {root} is incomplete "
            f"({error.filename}: {error.strerror}): extract it anew"
        ) from None
    parts = {
        "train": {wnid: list(walk_files(root, f"train/{wnid}")) for wnid in wnids},
        "val": _annotated_files(root, wnids, annotations),
    }
    for part, files_of_class in parts.items():
        missing = [wnid for wnid, files in files_of_class.items() if not files]
        if missing:
            raise IntegrityFailure(
                f"data set tiny_imagenet in {root} has no {part} images of {quote_names(missing)}"
            )
    titles = _class_titles(wnids, words)
    listing = make_listing(root, tuple(wnids), {"train": parts["train"], "test": parts["val"]})
    return Listing(root, titles, listing.files, listing.labels, listing.parts)


def find_tiny_imagenet(data_dir: Path) -> Path:
    """Find the folder of Tiny-ImageNet.

    Raises:
        UsageFailure: if there is none, or several.
    """
    usual_folder = data_dir / "tiny-imagenet-200"
    for folder in (data_dir, usual_folder, data_dir / "tiny_imagenet"):
        if _is_tiny_imagenet(folder):
            return folder.resolve()
    folders = [path for path in sorted(data_dir.glob("tiny-imagenet-*")) if _is_tiny_imagenet(path)]
    if len(folders) == 1:
        return folders[0].resolve()
    if folders:
        names = quote_names([folder.name for folder in folders])
        raise UsageFailure(f"several of data set tiny_imagenet in {data_dir}: {names}: keep one")
    raise UsageFailure(
        f"no data set tiny_imagenet in {usual_folder}: extract it there (the folder that holds "
        "train/ and wnids.txt), or use --dataset digits"
    )


def _is_tiny_imagenet(folder: Path) -> bool:
    return (folder / "train").is_dir() and (folder / "wnids.txt").is_file()


def _annotated_files(
    root: Path, wnids: list[str], annotations: list[str]
) -> Mapping[str, list[ImageFile]]:
    """Assign the images of ``val`` to their classes.

    Args:
        root: of the data set.
        wnids: the classes.
        annotations: lines of a file name, a class and a bounding box, separated by tabs.
    """
    files = {file.path: file for file in walk_files(root, "val")}
    files_of_class: dict[str, list[ImageFile]] = {wnid: [] for wnid in wnids}
    for line in annotations:
        name, *values = line.split("\t")
        if not values or values[0] not in files_of_class:
            continue
        path = f"val/images/{name}"
        if path not in files:
            raise IntegrityFailure(
                f"data set tiny_imagenet in {root} lacks {clean(path)}: extract it anew"
            )
        files_of_class[values[0]].append(files[path])
    return files_of_class


def _class_titles(wnids: list[str], words: list[str]) -> tuple[str, ...]:
    """Return the first word of each class, with its WordNet id if two classes share the word.

    Args:
        wnids: the classes.
        words: lines of a WordNet id and its words, which are separated by commas.
    """
    first_words = {}
    for line in words:
        wnid, _, text = line.partition("\t")
        first_words[wnid] = text.split(",")[0].strip()
    names = [first_words.get(wnid) or wnid for wnid in wnids]
    counts = Counter(names)
    titles = []
    for name, wnid in zip(names, wnids, strict=True):
        titles.append(name if counts[name] == 1 else f"{name} ({wnid})")
    return tuple(titles)


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
