"""Lists the images of Tiny-ImageNet in its original folder layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from pipeline.data.listing import ImageFile, Listing, make_listing, quote_names, walk_files
from pipeline.system.errors import IntegrityFailure, UsageFailure
from pipeline.system.files import may_never_end
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
        word_lines = _read_text(words_path).splitlines() if words_path.exists() else []
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
    titles = _class_titles(wnids, word_lines)
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


def _class_titles(wnids: list[str], word_lines: list[str]) -> tuple[str, ...]:
    """Return a readable and unique title for each class: ``goldfish``, or ``crane (n02012849)``.

    The title is the first of the class's synonyms. Its WordNet id is added if two classes share
    the synonym, and stands alone if the class has no synonyms.

    Args:
        wnids: the WordNet ids of the classes.
        word_lines: lines of ``words.txt``: a WordNet id, a tab, and synonyms separated by commas.
    """
    first_synonyms = {}
    for line in word_lines:
        wnid, _, synonyms = line.partition("\t")
        first_synonyms[wnid] = synonyms.split(",")[0].strip()
    titles = [first_synonyms.get(wnid) or wnid for wnid in wnids]
    counts = Counter(titles)
    unique_titles = []
    for title, wnid in zip(titles, wnids, strict=True):
        is_unique = counts[title] == 1
        unique_titles.append(title if is_unique else f"{title} ({wnid})")
    return tuple(unique_titles)


def _read_text(path: Path) -> str:
    if may_never_end(path):
        raise IntegrityFailure(f"{path} is no regular file: restore it")
    return path.read_text(encoding="utf-8", errors="replace")
