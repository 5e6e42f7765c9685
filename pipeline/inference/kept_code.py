"""Says where a study keeps a copy of its own network's source, and how it is put back.

Nothing is run from there: the user looks at the copy, and decides.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import models
from models import usercode
from pipeline.stores import access
from pipeline.stores.locations import Stores
from pipeline.stores.relocation import local_path
from pipeline.system.console import print_notice
from pipeline.system.errors import CodeFailure, Failure, UsageFailure
from pipeline.tracking import run_tags
from pipeline.tracking.tracker import Tracker
from sweeps.search.checked import SOURCES
from sweeps.trial import TrialConfig

if TYPE_CHECKING:
    from pipeline.tracking.library import Run

_DIGEST = re.compile(r"[0-9a-f]{12}")


def check_code(stores: Stores, family: str, run_id: str | None) -> None:
    """Check that the code of a recorded network can be loaded.

    Args:
        stores: the stores.
        family: of the network.
        run_id: of a run that has trained it; None for none.

    Raises:
        CodeFailure: if it cannot; it says where a copy of a missing file is.
    """
    try:
        models.find_family(family)
    except usercode.LoadError as error:
        hint = ""
        with contextlib.suppress(Failure):
            hint = _find_copy(stores, run_id)
        raise CodeFailure(f"{error}{hint}") from None


def notice_change(config: TrialConfig) -> None:
    """Say on standard error if an own network's source has changed since it was trained.

    The weights may still fit, and mean something else.
    """
    network = models.find_family(config.family).own
    if network is None or config.source_digest in (None, network.source.digest):
        return
    print_notice(
        f"{config.family} has changed since this network was trained (digest "
        f"{config.source_digest}, now {network.source.digest}): what follows may not be what was "
        f"recorded; the source it was trained with is the artifact {SOURCES}{config.source_digest}"
    )


def _find_copy(stores: Stores, run_id: str | None) -> str:
    if run_id is None:
        return ""
    with access.read_tracking(stores) as uri, contextlib.closing(Tracker(uri)) as tracker:
        return describe_copy(tracker, tracker.run(run_id))


def describe_copy(tracker: Tracker, run: Run) -> str:
    """Say how the files are put back that the own network of a run lacks.

    Args:
        tracker: of the run's store.
        run: of a trial, a refit or a single training.

    Returns:
        The end of a message, with the command; empty if no copy has a file that is missing.
    """
    params = run.data.params
    digest = params.get("source_digest", "")
    if not _DIGEST.fullmatch(digest):
        return ""
    for keeper in _keepers(tracker, run):
        artifacts = local_path(str(keeper.info.artifact_uri))
        if artifacts is None:
            place = f"{SOURCES}{digest} of run {keeper.info.run_id}"
            return f"; a copy was kept as the artifact {place}: put it back from there"
        copy = Path(artifacts) / SOURCES / digest
        names = [file.relative_to(copy).as_posix() for file in copy.rglob("*") if file.is_file()]
        folder = usercode.folder_of_copy(params.get("family", ""), names)
        if names and folder is not None:
            return _describe_copying(copy, names, folder)
    return ""


def _keepers(tracker: Tracker, run: Run) -> Iterator[Run]:
    """The runs that may have the source: that of the study, and for a single training its own."""
    parent = run.data.tags.get(run_tags.PARENT)
    if parent is not None:
        with contextlib.suppress(UsageFailure):  # there is no such run any more
            yield tracker.run(parent)
    yield run


def _describe_copying(copy: Path, names: Sequence[str], folder: Path) -> str:
    present = [name for name in names if (folder / name).exists()]
    if len(present) == len(names):
        return ""
    option = "-Rn" if present else "-R"  # none of the user's own files is overwritten
    command = shlex.join(["cp", option, f"{_shown(copy)}/.", _shown(folder)])
    if not folder.is_dir():
        command = f"{shlex.join(['mkdir', '-p', _shown(folder)])} && {command}"
    return f"; a copy was kept with the run, put it back with: {command}"


def _shown(path: Path) -> str:
    """The path as one would type it in the working folder."""
    folder = usercode.working_folder()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
