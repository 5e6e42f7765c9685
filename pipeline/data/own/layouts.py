"""Recognises which folders of a data set are its parts, and which are its classes.

The usual layouts are ``train/<class>/*`` with other parts beside it, ``<class>/*`` without parts,
and ``<class>/train/*``. What could be read in two ways is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.data.listing import PART_OF_WORD, PARTS, FilesByClass, Folder, quote_names
from pipeline.system.errors import UsageFailure
from pipeline.system.text import clip

# Words beside that of a part which say nothing: ``train_images``, ``test-set``, ``valDataset``.
_IDLE_WORDS = (
    *("data", "dataset", "folder", "image", "images", "img", "imgs", "photos", "pictures"),
    *("set", "split"),
)
_MOST_WRAPPERS = 3  # folders around the classes that hold nothing else
_REMEDY = (
    "rename it, name the folder that holds the classes, or list the images in a table: csv:FILE"
)
ELSEWHERE = "images whose labels stand elsewhere are listed in a table: csv:FILE"


@dataclass(frozen=True)
class Layout:
    """The images of each part by class, as the names of the folders say."""

    files_of_part: Mapping[str, FilesByClass]  # train first; classes without images, too
    folder_of_part: Mapping[str, str]  # the path of each part's folder; "" for the data set's own
    notes: tuple[str, ...] = ()  # what was passed over, and what was taken for what


class _PartName(NamedTuple):
    """What a folder's name says of a part."""

    part: str
    # The words before and after that of the part, without numbers and words that say nothing.
    affix: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def is_plain(self) -> bool:
        """Whether the name says nothing but the part, unlike ``train_station``."""
        return self.affix == ((), ())


def part_of_name(name: str) -> str | None:
    """Return the part that a name such as ``Validation`` or ``test_images`` says; else None."""
    read = _read_name(name)
    return read.part if read is not None and read.is_plain else None


def recognise(root: Folder, name: str) -> Layout:
    """Recognise the parts and classes of a data set.

    Args:
        root: the data set's folder.
        name: of the data set, for messages.

    Raises:
        UsageFailure: if the folders can be read in two ways.
    """
    inner = _unwrapped(root)
    parts, notes = _find_parts(inner, name)
    if parts:
        return _layout_of_parts(parts, notes)
    if _is_class_first(inner, name):
        return _layout_of_class_first(inner)
    return _layout_of_classes(inner, name)


def _read_name(name: str) -> _PartName | None:
    """Find the one word of a part in a name; None if there is none, or several."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words: list[str] = []
    for word in re.findall(r"[^\W\d_]+", spaced.casefold()):
        words += _unglued(word)
    places = [place for place, word in enumerate(words) if word in PART_OF_WORD]
    if len(places) != 1:
        return None
    place = places[0]
    before, after = (
        tuple(word for word in some if word not in _IDLE_WORDS)
        for some in (words[:place], words[place + 1 :])
    )
    return _PartName(PART_OF_WORD[words[place]], (before, after))


def _unglued(word: str) -> tuple[str, ...]:
    """Take ``trainset`` apart; other words stay whole."""
    for part_word in PART_OF_WORD:
        if word.startswith(part_word) and word.removeprefix(part_word) in _IDLE_WORDS:
            return part_word, word.removeprefix(part_word)
    return (word,)


def _unwrapped(folder: Folder, *, in_part: bool = False) -> Folder:
    """Return the folder that holds the classes or parts, inside folders that hold nothing else.

    Args:
        folder: the outermost.
        in_part: whether it is a part already, whose name may come again inside.
    """
    for _ in range(_MOST_WRAPPERS):
        filled = folder.filled
        if folder.images or len(filled) != 1:
            break
        (name, only) = next(iter(filled.items()))
        is_part = part_of_name(name) is not None and not in_part
        if is_part or not _holds_classes(only):
            break
        folder = only
    return folder


def _holds_classes(folder: Folder) -> bool:
    """Whether a folder looks like one of classes, rather than like a class."""
    filled = folder.filled
    if folder.images:  # a few images may have been left beside the folders of the classes
        return len(filled) > 1
    return bool(filled)


def _find_parts(root: Folder, name: str) -> tuple[dict[str, Folder], list[str]]:
    """Find the folders of parts.

    Returns:
        The folder of each part, train first, or nothing if there are no parts; and notes.

    Raises:
        UsageFailure: if it cannot be told which folder is which part.
    """
    names = {folder_name: _read_name(folder_name) for folder_name in root.folders}
    affix = _common_affix(root, names, name)
    if affix is None:
        return {}, []
    folders_of_part: dict[str, list[str]] = {}
    for folder_name, read in names.items():
        if read is not None and read.affix == affix:
            folders_of_part.setdefault(read.part, []).append(folder_name)
    parts = {}
    notes = []
    taken = set()
    for part in PARTS:
        found = folders_of_part.get(part, [])
        taken.update(found)
        if len(found) > 1:
            filled = [one for one in found if _holds_classes(root.folders[one])]
            found = filled if len(filled) == 1 else found
        if len(found) > 1:
            either = " or ".join(repr(clip(one, 80)) for one in sorted(found))
            raise UsageFailure(f"{name}: which folder is {part}, {either}? {_REMEDY}")
        if not found:
            continue
        folder = root.folders[found[0]]
        if part == "test" and folder.images and not folder.filled:
            notes.append(
                f"{_path(folder)} passed over: its {folder.count:,} images are in no folder of a "
                "class; test images are held out of train instead"
            )
            continue
        parts[part] = folder
    others = {
        folder_name: folder
        for folder_name, folder in root.filled.items()
        if folder_name not in taken
    }
    if others and len(parts) == 1:
        raise UsageFailure(
            f"{name}: is {clip(_path(parts['train']), 80)} a part or a class? It holds folders, "
            f"but beside it there are {quote_names(list(others))}: {_REMEDY}"
        )
    notes += [
        f"{clip(_path(folder), 80)} passed over: it is no part ({folder.count:,} images)"
        for folder in others.values()
    ]
    notes += _strays(root)
    return parts, notes


def _common_affix(
    root: Folder, names: Mapping[str, _PartName | None], name: str
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return the words that all names of parts have around the word of the part.

    None if there are no parts: no folder of train holds folders of classes. Names with further
    words, such as ``seg_train``, count only if there are parts besides train.

    Raises:
        UsageFailure: if several folders could be train.
    """
    parts_of_affix: dict[tuple[tuple[str, ...], tuple[str, ...]], set[str]] = {}
    for folder_name, read in names.items():
        if read is not None and _holds_classes(root.folders[folder_name]):
            parts_of_affix.setdefault(read.affix, set()).add(read.part)
    with_train = [affix for affix, parts in parts_of_affix.items() if "train" in parts]
    if ((), ()) in with_train:
        return (), ()
    several = [affix for affix in with_train if len(parts_of_affix[affix]) > 1]
    if len(several) == 1:
        return several[0]
    if with_train:
        candidates = [
            folder_name
            for folder_name, read in names.items()
            if read is not None and read.affix in with_train and read.part == "train"
        ]
        raise UsageFailure(
            f"{name}: {quote_names(candidates)} may be train, or a class that holds folders: "
            f"{_REMEDY}"
        )
    return None


def _layout_of_parts(parts: Mapping[str, Folder], notes: list[str]) -> Layout:
    files_of_part = {}
    for part, folder in parts.items():
        inner = _unwrapped(folder, in_part=True)
        files_of_part[part] = _files_by_class(inner.folders)
        notes += [*_strays(inner), *_inner_folders(inner.folders)]
    folder_of_part = {part: folder.path for part, folder in parts.items()}
    return Layout(files_of_part, folder_of_part, tuple(notes))


def _is_class_first(root: Folder, name: str) -> bool:
    """Whether each class has folders of parts in it: ``cat/train/*``, ``cat/test/*``.

    Raises:
        UsageFailure: if some classes have, and others have not.
    """
    divided: list[tuple[str, set[str | None]]] = []
    undivided: list[tuple[str, set[str | None]]] = []
    for class_name, folder in root.filled.items():
        parts = {part_of_name(inner) for inner in folder.filled}
        is_divided = None not in parts and not folder.images and bool(parts)
        (divided if is_divided else undivided).append((class_name, parts))
    has_train = [class_name for class_name, parts in divided if "train" in parts]
    has_several = [class_name for class_name, parts in divided if len(parts) > 1]
    if not has_train or not has_several:
        return False
    if undivided:
        raise UsageFailure(
            f"{name}: {quote_names(has_several)} holds folders of parts, and "
            f"{quote_names([class_name for class_name, _ in undivided])} does not: divide all "
            "classes or none, or list the images in a table: csv:FILE"
        )
    return True


def _layout_of_class_first(root: Folder) -> Layout:
    files_of_part: dict[str, FilesByClass] = {}
    folder_of_part = {}
    for part in PARTS:
        files_of_class = {}
        for class_name, folder in root.folders.items():
            of_part = [inner for inner in folder.filled.values() if _part(inner) == part]
            files_of_class[class_name] = [file for inner in of_part for file in inner.all_images()]
            for inner in of_part:
                folder_of_part[part] = f"*/{inner.path.rpartition('/')[2]}"
        if any(files_of_class.values()):
            files_of_part[part] = files_of_class
    return Layout(files_of_part, folder_of_part, tuple(_strays(root)))


def _layout_of_classes(root: Folder, name: str) -> Layout:
    """Read the folders as classes without parts, or as classes beside folders of val and test.

    Raises:
        UsageFailure: if a class has the name of a part.
    """
    named_as_part = {
        folder_name: folder
        for folder_name, folder in root.filled.items()
        if part_of_name(folder_name) is not None
    }
    classes = {
        folder_name: folder
        for folder_name, folder in root.folders.items()
        if folder_name not in named_as_part
    }
    notes = (*_strays(root), *_inner_folders(classes))
    if not named_as_part:
        return Layout({"train": _files_by_class(classes)}, {"train": root.path}, notes)
    filled = {class_name for class_name, folder in classes.items() if folder.count}
    parts = {_part(folder): folder for folder in named_as_part.values()}
    are_parts = len(parts) == len(named_as_part) and all(
        _holds_classes(folder) and set(_unwrapped(folder, in_part=True).filled) <= filled
        for folder in parts.values()
    )
    if len(filled) > 1 and are_parts:
        layout = _layout_of_parts(parts, list(notes))
        files_of_part = {"train": _files_by_class(classes), **layout.files_of_part}
        return Layout(files_of_part, {"train": root.path, **layout.folder_of_part}, layout.notes)
    names = quote_names(list(named_as_part))
    if filled and set(parts) == {"train"} and len(named_as_part) == 1:
        note = f"{names} is taken for a class: it holds images, and no folders of classes"
        files = _files_by_class(root.folders)
        return Layout({"train": files}, {"train": root.path}, (note, *notes))
    if not filled:
        raise UsageFailure(
            f"{name} needs images of at least 2 classes, each in a folder of its own below a "
            f"folder train: found {names}; {ELSEWHERE}"
        )
    raise UsageFailure(
        f"{name}: is {names} a part or a class, beside {quote_names(sorted(filled))}? A part holds "
        f"a folder for each class, and train is one of them: {_REMEDY}"
    )


def _part(folder: Folder) -> str:
    return part_of_name(folder.path.rpartition("/")[2]) or ""


def _files_by_class(folders: Mapping[str, Folder]) -> FilesByClass:
    return {name: list(folder.all_images()) for name, folder in folders.items()}


def _strays(folder: Folder) -> Iterator[str]:
    """Say how many images lie beside the folders of classes, if any do."""
    if folder.images:
        yield (
            f"{len(folder.images):,} images directly in {_path(folder) or 'the folder'} passed "
            "over: they are in no folder of a class"
        )


def _inner_folders(classes: Mapping[str, Folder]) -> Iterator[str]:
    """Say whether folders inside those of classes hold images, as masks and further classes do.

    One folder in a class, which holds all of its images, says nothing.
    """
    divided = {
        class_name: [*folder.filled]
        for class_name, folder in classes.items()
        if len(folder.filled) > 1 or (folder.images and folder.filled)
    }
    if divided:
        class_name, inner = next(iter(divided.items()))
        yield (
            f"images of folders inside a class are of that class: {clip(class_name, 80)!r} holds "
            f"{quote_names(inner, 3)}; if that is not meant, name the folder that holds the "
            "classes, or list the images in a table: csv:FILE"
        )


def _path(folder: Folder) -> str:
    return f"{folder.path}/" if folder.path else ""
