"""Writes what is known of a data set as a table and as a page with sheets of its images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.grid import Grid, Row, make_grid
from pipeline.report.html import Picture, render_template
from pipeline.report.mistakes import png_size
from pipeline.system.text import clip

PAGE = "data.html"
_NAME_CLIP = 60  # characters of a class name
_FOLDER_CLIP = 80  # characters of a folder's name


@dataclass(frozen=True, kw_only=True)
class Sheet(Picture):
    """The images of a class on one picture."""

    title: str  # the class
    counts: str  # how many there are

    @property
    def width(self) -> int:
        """In pixels."""
        return png_size(self.png)[0]

    @property
    def height(self) -> int:
        """In pixels."""
        return png_size(self.png)[1]


@dataclass(frozen=True, kw_only=True)
class DataContents:
    """What a page about a data set says."""

    name: str
    facts: Sequence[tuple[str, str]]  # names and texts
    warnings: Sequence[str]
    classes: Sequence[Row]  # class, train, val, test, share
    sheets: Sequence[Sheet]


def folder_name(name: str) -> str:
    """The name of the folder, among those of reports, with what is shown of a data set."""
    return "data-" + re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:_FOLDER_CLIP]


def class_grid(contents: DataContents) -> Grid:
    """The classes with their numbers of images."""
    return make_grid(["class", "train", "val", "test", "share"], contents.classes, limit=_NAME_CLIP)


def data_page(contents: DataContents) -> str:
    """Write the page of a data set, which needs no other file and no network."""
    return render_template(
        "data.html",
        {
            "name": clip(contents.name, 160),
            "facts": contents.facts,
            "warnings": contents.warnings,
            "classes": class_grid(contents),
            "sheets": contents.sheets,
        },
    )
