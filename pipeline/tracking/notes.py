"""Writes the description of a run beside what a user has written there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.tracking.later import LaterModule

if TYPE_CHECKING:
    from pipeline.tracking import library
else:
    library = LaterModule("pipeline.tracking.library")

OURS = "sweep.description"  # tag: length and digest of the part of the description that is ours

_BEGIN_OF_0_1_0 = "[The report]("  # version 0.1.0 set no such tag
_BETWEEN = "\n\n---\n\n"  # a horizontal line


def description_tags(text: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that describe a run, with the text of a user kept.

    Our former text is replaced where it stands. Where a user has changed it, or written another,
    all of the user's stays, and ours follows.

    Args:
        text: our description, in Markdown.
        tags: the present tags of the run.
    """
    note = tags.get(library.mlflow_tags.MLFLOW_RUN_NOTE, "")
    before, after = _split_note(note, tags.get(OURS))
    room = library.MAX_TAG_VAL_LENGTH - len(before) - len(after)
    ours = text[: max(0, room)]
    return {library.mlflow_tags.MLFLOW_RUN_NOTE: f"{before}{ours}{after}", OURS: _mark(ours)}


def _split_note(note: str, mark: str | None) -> tuple[str, str]:
    """Return what stands before and after our text in a description."""
    if not note.strip() or (mark is None and note.startswith(_BEGIN_OF_0_1_0)):
        return "", ""
    length = (mark or "").partition(" ")[0]
    if length.isdecimal() and 0 < int(length) <= len(note):
        for start in range(len(note) - int(length) + 1):
            end = start + int(length)
            if _mark(note[start:end]) == mark:
                return note[:start], note[end:]
    return f"{note.rstrip()}{_BETWEEN}", ""


def _mark(text: str) -> str:
    return f"{len(text)} {hashlib.sha256(text.encode()).hexdigest()[:16]}"
