"""Tells where the code of a study's own networks comes from, and keeps it with the study."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import models
from models import usercode
from models.usercode import Source
from pipeline.checkpoints import check_code
from pipeline.inference import kept_code
from pipeline.stores.locations import Stores
from pipeline.system import named_files
from pipeline.system.errors import IntegrityFailure, UsageFailure
from pipeline.tracking import run_tags, source_code
from sweeps.search.checked import SOURCES
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import TrialConfig

if TYPE_CHECKING:
    from pipeline.tracking.library import Run

_NUMBERS_SHOWN = 10  # numbers of trials in one line


def own_sources(families: Iterable[str]) -> dict[str, Source]:
    """Return the sources of those families that are the user's own networks."""
    found = {family: models.find_family(family).own for family in families}
    return {family: network.source for family, network in found.items() if network is not None}


def source_files(sources: Mapping[str, Source]) -> dict[str, str]:
    """Return the content of the sources' files, by the paths of the artifacts."""
    return {
        f"{SOURCES}{source.digest}/{name}": text
        for source in sources.values()
        for name, text in source.files
    }


def code_files() -> dict[str, str]:
    """Return the packages and the uncommitted changes, by the paths of the artifacts.

    The commit is a tag of each run, and so is the digest of the changes at that time.
    """
    files = {f"{SOURCES}requirements.txt": source_code.installed_packages()}
    state = source_code.read_code_state()
    if state is not None and state.changes:
        files[f"{SOURCES}uncommitted-{state.changes_digest}.diff"] = state.changes
    return files


def describe_sources(sources: Mapping[str, Source]) -> Iterator[str]:
    """Yield a line for each source: which file was taken, and what it imports beside it."""
    families: dict[Source, list[str]] = {}
    for family, source in sources.items():
        families.setdefault(source, []).append(family)
    for source, names in families.items():
        place = source.place
        if len(source.files) > 1:
            place += f" with {len(source.files) - 1} files that it imports"
        if source.files:
            place += f", digest {source.digest}"
        if len(names) > 1:
            yield f"{', '.join(names)} are of {place}"
        elif source.files:
            yield f"{names[0]} is {place}"
        else:
            yield f"{names[0]} is of {place}"


def describe_changes(
    sources: Mapping[str, Source], trained: Mapping[int, TrialConfig]
) -> Iterator[str]:
    """Yield a line for each source that has changed since it was trained.

    Args:
        sources: as they are now.
        trained: the configurations of the trials so far, by their numbers.
    """
    for family, source in sources.items():
        old = [
            number
            for number, config in trained.items()
            if config.family == family and config.source_digest not in (None, source.digest)
        ]
        if old:
            yield (
                f"{family} has changed since {trials_text(old)}: those stay in the ranking as "
                "other configurations than the trials to come; the old source is the artifact "
                f"{SOURCES}{trained[old[-1]].source_digest}"
            )


def trials_text(numbers: Sequence[int]) -> str:
    """Name trials by their numbers, of many the first."""
    shown = ", ".join(f"#{number}" for number in numbers[:_NUMBERS_SHOWN])
    rest = len(numbers) - _NUMBERS_SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown


def remember_named(spec: StudySpec) -> None:
    """Remember the code that a study names which its user has given: it may be run later, too."""
    named = [spec.base]
    named += [{each.field: choice} for each in spec.dimensions for choice in each.choices]
    for values in named:
        remember_code(values)


def remember_code(values: Mapping[str, object]) -> None:
    """Remember the code that a configuration names which its user has given."""
    named_files.remember(usercode.files_outside(values).values())


def check_places(values: Mapping[str, Any], what: str) -> None:
    """Check that the code may be run which a recorded configuration names.

    Args:
        values: of its fields, as a store has them; nothing of it is loaded yet.
        what: what names it, for the message.

    Raises:
        IntegrityFailure: if it is of a file outside the working folder that was never named.
    """
    try:
        check_code(values)
    except ValueError as error:
        raise IntegrityFailure(f"{what} is not trained: {error}") from None


def read_config(stores: Stores, run: Run) -> TrialConfig:
    """Return the configuration of a run's trial, whose code is there and may be run.

    Args:
        stores: the stores.
        run: of a trial, or of a single training.

    Raises:
        IntegrityFailure: if it is of a file outside the working folder that was never named.
        CodeFailure: if it cannot be loaded; it says where a copy of a missing file is.
        UsageFailure: if the run holds no configuration.
    """
    check_places(run.data.params, f"run {run.info.run_id}")  # before anything of it is loaded
    family = run.data.params.get("family", "")
    if models.is_own(family):
        with contextlib.suppress(ValueError):  # it is the name of no code, as is said below
            kept_code.check_code(stores, family, run.info.run_id)
    return run_tags.read_config(run)


def check_unchanged(
    configs: Iterable[TrialConfig], since: str, keeper: str, otherwise: str
) -> None:
    """Check that own networks have the source that they were trained with.

    Args:
        configs: the configurations to train again, or to go on with.
        since: what has begun with that source, for the message.
        keeper: the run that has a copy.
        otherwise: what else can be done.

    Raises:
        UsageFailure: if a source has changed.
    """
    for config in configs:
        for family, source in own_sources([config.family]).items():
            if config.source_digest not in (None, source.digest):
                raise UsageFailure(
                    f"{family} has changed since {since} (digest {config.source_digest}, "
                    f"now {source.digest}): put it back, as the artifact "
                    f"{SOURCES}{config.source_digest} of {keeper} has it, or {otherwise}"
                )
