"""Tells whether the files of a report are those that would be written again.

To write them takes seconds, most of them for the plots. A manifest beside them has a digest of what
they were made from (the study, this program and its libraries) and one of each file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pipeline.system.files import write_text_atomically
from sweeps.analysis.record import StudyRecord

MANIFEST = "manifest.json"
_PACKAGES = ("models", "pipeline", "sweeps")
_ANY_LIBRARY = "matplotlib"  # the others are installed beside it
_CODE = (".py", ".html", ".css", ".js")


def current_files(record: StudyRecord, folder: Path, links: Sequence[str]) -> list[Path] | None:
    """Return the files of a report if they are whole, and would be written again as they are.

    Args:
        record: the study.
        folder: of the report.
        links: what else the report was made from: the pages that it links to.

    Returns:
        The files in the order in which they were written, and the manifest; None if they have to
        be written.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        if manifest["made_from"] != _origin(record, links):
            return None
        files = [folder / name for name in manifest["files"]]
        is_whole = all(
            ".." not in file.parts and file.is_file() and _file_digest(file) == digest
            for file, digest in zip(files, manifest["files"].values(), strict=True)
        )
    except (AttributeError, LookupError, OSError, TypeError, ValueError):
        return None  # there is no manifest, or something else in its place
    return [*files, folder / MANIFEST] if is_whole else None


def keep_manifest(
    record: StudyRecord, folder: Path, links: Sequence[str], files: Sequence[Path]
) -> Path:
    """Write what the files of a report were made from, once all of them are written.

    Args:
        record: the study.
        folder: of the report.
        links: as for `current_files`.
        files: below the folder.

    Returns:
        The manifest.
    """
    root = folder.absolute()  # a plot's path is absolute, others begin as the folder's does
    digests = {file.absolute().relative_to(root).as_posix(): _file_digest(file) for file in files}
    manifest = {"made_from": _origin(record, links), "files": digests}
    return write_text_atomically(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _origin(record: StudyRecord, links: Sequence[str]) -> str:
    """The digest of what a report is made from."""
    digest = hashlib.sha256()
    for part in (repr(record), repr(list(links)), _program()):
        digest.update(part.encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


@cache
def _program() -> str:
    """This program and its libraries: sizes and times of its files, and the installed versions."""
    state: list[object] = []
    for package in _PACKAGES:
        for path in sorted(_code_files(_location(package))):
            info = path.stat()
            state.append((path.name, info.st_size, info.st_mtime_ns))
    libraries = os.listdir(_location(_ANY_LIBRARY).parent)  # noqa: PTH208 - strings are enough
    state += sorted(name for name in libraries if name.endswith((".dist-info", ".egg-info")))
    return repr(state)


def _location(package: str) -> Path:
    """The folder of an installed package, which is not imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(package)
    return Path(spec.origin).parent


def _code_files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names if name.endswith(_CODE))


def _file_digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
