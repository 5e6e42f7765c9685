"""Images of the user's own: by which rules a study reads them, and where they are now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.data.datasets import is_own
from pipeline.data.search_data import SearchData
from pipeline.stores import access, locations
from pipeline.system.console import print_notice
from sweeps.spec.study_spec import StudySpec, has_definition
from sweeps.trial import DATA_VERSION


def with_data_version(spec: StudySpec, identity: Mapping[str, Any] | None) -> StudySpec:
    """Return a study with the rules by which its images are read.

    A study keeps the rules that it was begun with; a new one has the newest.

    Args:
        spec: as the user asks for it.
        identity: of the study in the store; None for a new study.
    """
    if not is_own(spec.dataset):
        return spec
    version: int | None = DATA_VERSION
    if identity is not None:
        version = identity["fixed"].get("data_version")
    fixed = spec.fixed.model_copy(update={"data_version": version})
    return spec.model_copy(update={"fixed": fixed})


def keep_name(spec: StudySpec, data: SearchData, stores: locations.Stores, name: str) -> StudySpec:
    """Return a study with the name under which it knows its images, if they are the same.

    Equal images are the same data set, however their folder is spelt, and wherever it is now. If
    the study is new, a notice says which other one has this definition and these images, if any.

    Args:
        spec: as the user asks for it.
        data: the images that it names.
        stores: the stores.
        name: of the study there.
    """
    identity = access.read_identity(stores, name)
    facts = access.read_facts(stores, name)
    if identity is None or facts is None:
        same = _find_same(spec, data, stores)
        if same is not None:
            print_notice(
                f"study {name!r} is new; {same!r} has the same images: --name {same} goes on with "
                "that one"
            )
        return spec
    are_equal = facts.digest == data.digest and facts.classes == data.classes
    if not is_own(identity["dataset"]) or not are_equal:
        return spec
    return spec.model_copy(update={"dataset": identity["dataset"]})


def _find_same(spec: StudySpec, data: SearchData, stores: locations.Stores) -> str | None:
    """Find the study last opened with these images and this definition, apart from their name."""
    for name in reversed(access.read_names_by_digest(stores, data.digest)):
        identity = access.read_identity(stores, name)
        if identity is None or not is_own(identity["dataset"]):
            continue
        renamed = spec.model_copy(update={"dataset": identity["dataset"]})
        if has_definition(with_data_version(renamed, identity), identity):
            return name
    return None
