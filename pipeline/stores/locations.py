"""Finds where a sweep keeps its data: tracking store, store of studies, checkpoints and reports."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pipeline.stores import postgresql, sqlite
from pipeline.system.errors import IntegrityFailure, UsageFailure
from pipeline.system.text import clip

_STUDY_NAME = re.compile(r"\w[\w .-]{0,99}")
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Stores:
    """The locations of all data of a sweep."""

    tracking: str  # MLflow's tracking URI, absolute
    studies: str  # Optuna's storage URL, absolute
    home: Path  # the folder of checkpoints/ and reports/

    @property
    def studies_label(self) -> str:
        """The store of studies, without a password; a file below the home stays when both move."""
        file = sqlite_file(self.studies)
        if file is None:
            return display_name(self.studies)
        if file.is_relative_to(self.home):
            return file.relative_to(self.home).as_posix()
        return str(file)

    def reports(self, study: str) -> Path:
        """The folder of a study's report.

        Raises:
            IntegrityFailure: if the name, which a store or a tag may have, is a path.
        """
        if study in ("", ".", "..") or Path(study).name != study:
            raise IntegrityFailure(f"a report's folder must be a plain name: got {study!r}")
        return self.home / "reports" / study


def locate(storage: str | None = None) -> Stores:
    """Find the stores, and create nothing.

    The tracking store is ``MLFLOW_TRACKING_URI``, or ``mlflow.db`` in the current folder. The home
    is the folder of a tracking file, or the current folder if a server does the tracking.

    Args:
        storage: the store of studies, from the command line. The default is ``PIPELINE_STORAGE``,
            or ``optuna.db`` in the home.

    Raises:
        UsageFailure: for an unsupported URL, or a password on the command line.
    """
    tracking = _absolute(os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db")
    file = sqlite_file(tracking)
    scheme = urlsplit(tracking).scheme
    if file is None and scheme not in ("http", "https"):
        got = scheme or "a plain path"  # the rest of the URI may hold a password
        raise UsageFailure(
            f"MLFLOW_TRACKING_URI must be sqlite:///FILE or http(s)://...: got {got}"
        )
    home = file.parent if file else Path.cwd()
    default = sqlite_url(home / "optuna.db")
    studies = _absolute(storage or os.environ.get("PIPELINE_STORAGE") or default)
    if sqlite_file(studies) is None:
        studies = postgresql.parse(studies, secret=not storage)
    return Stores(tracking, studies, home)


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL, in which ``%20`` is a space; None for any other URL."""
    if not url.startswith(_SQLITE):
        return None
    return Path(unquote(url.removeprefix(_SQLITE)))


def sqlite_url(file: Path) -> str:
    """The absolute URL of an SQLite file."""
    # Only the characters that SQLAlchemy or Optuna (which formats the URL) would misread are
    # quoted. A mere space is left alone: MLflow would make an empty folder of the quoted name.
    path = str(file.absolute())
    return _SQLITE + sqlite.SPECIAL_CHARACTERS.sub(lambda match: quote(match[0]), path)


def display_name(url: str) -> str:
    """A store as users know it: a file, or the URL of a database without its password."""
    file = sqlite_file(url)
    if file is None:
        return postgresql.without_password(url)
    return str(file)


def _absolute(url: str) -> str:
    file = sqlite_file(url)
    if file is None:
        return url
    if ".." in file.parts:  # one folder has one name, which is recorded
        file = file.parent.resolve() / file.name
    return sqlite_url(file)


def check_name(name: str) -> str:
    """Return a study's name if a folder and an MLflow filter can have the name too.

    Raises:
        UsageFailure: if not.
    """
    if not _STUDY_NAME.fullmatch(name):
        raise UsageFailure(
            "a study's name must be up to 100 letters, digits, spaces, '_', '.' and '-', and start "
            f"with a letter or digit: got {name!r}"
        )
    return name


def check_stored_name(name: str) -> str:
    """Return the name of a study that a store has, if a command could have given it.

    Folders are written and removed by this name, so a path must not pass for one.

    Raises:
        IntegrityFailure: if no command could have.
    """
    if not is_stored_name(name):
        raise IntegrityFailure(
            f"the store has a study that no command names, {clip(repr(name), 200)}: nothing is "
            "read or written for it; name another study, or delete it with `optuna delete-study`"
        )
    return name


def is_stored_name(name: str) -> bool:
    """Whether a command could have given a study of a store its name."""
    return _STUDY_NAME.fullmatch(name) is not None
