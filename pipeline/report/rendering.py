"""Fills the HTML templates: everything escaped, style and script inside, and nothing else let in. Knows no study."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.report.tables import Grid

_LONG = 40  # characters of a cell; a column with longer ones is broken into lines


def render(template: str, values: Mapping[str, object]) -> str:
    """Fill a template of ``pipeline/report/templates``, which must find every value that it names."""
    style, script = _own("page.css"), _own("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return _environment().get_template(template).render(**values, style=style, script=script, policy=policy)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["columns"] = columns
    return environment


@cache
def _own(name: str) -> str:
    return resources.files("pipeline.report").joinpath("templates", name).read_text("utf-8")


def _digest(text: str) -> str:
    """A source of a content security policy: what has this text and no other.

    Source: https://www.w3.org/TR/CSP3/#framework-directive-source-list
    """
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def columns(laid: Grid) -> list[str]:
    """The class of each column in the style: ``n`` for numbers, ``long`` for text of several lines, or none."""
    longest = [max(map(len, column)) for column in zip(*laid.lines, strict=True)] or [0] * len(laid.names)
    return ["n" if right else "long" * (size > _LONG) for right, size in zip(laid.right, longest, strict=True)]
