"""The names that a shell completes: studies, trials and study files."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    import click

_MOST_NAMES = 200  # that are offered: a shell shows no more in a useful way
_TIMEOUT = 0.5  # seconds that a locked database is waited for


def complete_study_file(
    _ctx: click.Context, _param: click.Parameter, begun: str
) -> list[CompletionItem]:
    """Offer the shipped studies that begin with what was typed, and files."""
    from pipeline.jobs.studies import shipped_studies

    shipped = [CompletionItem(name) for name in shipped_studies() if name.startswith(begun)]
    return shipped or [CompletionItem(begun, type="file")]


def complete_study(ctx: click.Context, _param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Offer the names of studies that begin with what was typed."""
    from pipeline.stores.locations import is_stored_name

    rows = _select(
        ctx,
        "SELECT study_name FROM studies WHERE substr(study_name, 1, ?) = ? "
        "ORDER BY study_id DESC LIMIT ?",
        (len(begun), begun, _MOST_NAMES),
    )
    return [CompletionItem(name) for (name,) in rows if is_stored_name(name)]


def complete_run(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Offer studies as ``NAME#``, and behind the sign the numbers of their trials."""
    name, sign, number = begun.partition("#")
    if not sign:
        return [
            CompletionItem(f"{item.value}#", type="nospace")
            for item in complete_study(ctx, param, begun)
        ]
    rows = _select(
        ctx,
        "SELECT trials.number FROM trials JOIN studies USING (study_id) "
        "WHERE study_name = ? ORDER BY trials.number LIMIT ?",
        (name, _MOST_NAMES),
    )
    numbers = [str(row[0]) for row in rows]
    return [CompletionItem(f"{name}#{found}") for found in numbers if found.startswith(number)]


def _select(ctx: click.Context, query: str, values: tuple[object, ...]) -> list[tuple[str, ...]]:
    """Read the store of studies; nothing where it is no SQLite file, or cannot be read."""
    from pipeline.stores import locations
    from pipeline.system.errors import Failure

    try:
        stores = locations.locate(ctx.params.get("storage"))
        file = locations.sqlite_file(stores.studies)
        if file is None or not file.is_file():
            return []
        uri = f"{file.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, timeout=_TIMEOUT, uri=True)) as database:
            return list(database.execute(query, values))
    except (Failure, OSError, ValueError, sqlite3.Error):
        return []  # an error would stand in the middle of what is being typed
