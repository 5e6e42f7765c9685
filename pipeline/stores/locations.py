"""Where things are kept: the tracking store, the studies' store, checkpoints, reports, and the lock of a study."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pipeline.stores import postgresql, sqlite
from pipeline.system.errors import UsageFailure

_NAME = re.compile(r"\w[\w .-]{0,99}")
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Stores:
    """Where everything of a sweep is kept."""

    tracking: str  # MLflow's tracking URI, absolute
    studies: str  # Optuna's storage URL, absolute
    home: Path  # the folder of checkpoints/ and reports/

    def reports(self, study: str) -> Path:
        """Where a study's report is written."""
        return self.home / "reports" / study


def locate(storage: str | None = None) -> Stores:
    """Find the stores, making nothing.

    Args:
        storage: from the command line; else PIPELINE_STORAGE, else ``optuna.db`` beside the tracking file.

    Raises:
        UsageFailure: for a URL that is not served, or a password on a command line.
    """
    tracking = _absolute(os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db")
    file = sqlite_file(tracking)
    if file is None and urlsplit(tracking).scheme not in ("http", "https"):
        scheme = urlsplit(tracking).scheme or "a plain path"  # the rest may hold a password
        raise UsageFailure(
            f"MLFLOW_TRACKING_URI must be sqlite:///FILE or http(s)://...: got {scheme}"
        )
    home = file.parent if file else Path.cwd()
    studies = _absolute(
        storage or os.environ.get("PIPELINE_STORAGE") or sqlite_url(home / "optuna.db")
    )
    if sqlite_file(studies) is None:
        studies = postgresql.parse(studies, secret=not storage)
    return Stores(tracking, studies, home)


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL, where ``%20`` is a space; None for another."""
    if url.startswith(_SQLITE):
        return Path(unquote(url.removeprefix(_SQLITE)))
    return None


def sqlite_url(file: Path) -> str:
    """The URL of an SQLite file, wherever it is."""
    # Quoted where SQLAlchemy or Optuna, which formats the URL, would read something else; MLflow makes an empty folder
    # of the quoted name beside the true one, so a mere space is left alone.
    return _SQLITE + sqlite.SPECIAL_CHARACTERS.sub(
        lambda found: quote(found[0]), str(file.absolute())
    )


def display_name(url: str) -> str:
    """The store of studies, as a user knows it: a file, or the URL of a database without its password."""
    if sqlite_file(url) is None:
        return postgresql.without_password(url)
    return str(sqlite_file(url))


def _absolute(url: str) -> str:
    file = sqlite_file(url)
    if file is None:
        return url
    return sqlite_url(file)


def check_name(name: str) -> str:
    """Return a study's name if it can be a folder's and a filter's too.

    Raises:
        UsageFailure: if not.
    """
    if not _NAME.fullmatch(name):
        raise UsageFailure(
            f"a study's name must be up to 100 letters, digits, spaces, '_', '.' and '-', and start with a letter "
            f"or digit: got {name!r}"
        )
    return name
