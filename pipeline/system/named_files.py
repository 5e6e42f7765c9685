"""Remembers the files outside the working folder that the user has named.

A store, a checkpoint or a study that somebody else made may name any file of this machine. A file
of code is run only if its user has named it, on a command line, in a study file or in a program:
now, or in an earlier command, of which a list is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pipeline.system.files import cache_folder, write_text_atomically

_LIST = "named-code.txt"  # in the cache folder: a path on each line
_NAMED: set[str] = set()  # in this process


def remember(files: Iterable[Path]) -> None:
    """Keep that the user has named files, by their absolute paths."""
    names = set(map(str, files))
    _NAMED.update(names)
    with suppress(OSError):  # a folder that is read-only remembers nothing
        known = _listed()
        if not names <= known:
            list_file = cache_folder() / _LIST
            list_file.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomically(list_file, "\n".join(sorted(known | names)))


def is_known(file: Path) -> bool:
    """Whether the user has named a file, or this program has imported it: it is no new code."""
    modules = list(sys.modules.values())
    is_imported = any(getattr(module, "__file__", None) == str(file) for module in modules)
    return is_imported or str(file) in _NAMED | _listed()


def _listed() -> set[str]:
    try:
        return set((cache_folder() / _LIST).read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return set()
