"""Makes the rows of a study portable: the places of its weights, and the ids of its runs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from sweeps.search.rows import StudyRows

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_ANY_ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_KEY = "checkpoint"  # in results of trials, and in what the study says of their runs
_PLACE = "artifacts/"


def made_portable(study: StudyRows) -> StudyRows:
    """Return rows in which the place of weights is that in an archive: ``artifacts/RUN/...``."""
    return _with_places(study, _portable_place)


def _portable_place(location: str) -> str | None:
    """Return the place in an archive of a folder of a run's artifacts; None for any other."""
    parts = location.split("/")
    for index, part in enumerate(parts[:-1]):
        if _RUN_ID.fullmatch(part) and parts[index + 1] == "artifacts":
            return "/".join(["artifacts", part, *parts[index + 2 :]])
    return None


def made_local(study: StudyRows, locations: Mapping[str, str]) -> StudyRows:
    """Return rows in which the place of weights is one of this machine.

    Args:
        study: portable rows.
        locations: of the artifacts of each run that has any, by its id.
    """

    def local_place(place: str) -> str | None:
        run_id, _, rest = place.removeprefix(_PLACE).partition("/")
        if not place.startswith(_PLACE) or run_id not in locations or rest != _KEY:
            return None
        return f"{locations[run_id]}/{rest}"

    return _with_places(study, local_place)


def _with_places(study: StudyRows, change: Callable[[str], str | None]) -> StudyRows:
    trials = tuple(
        dataclasses.replace(trial, user_attrs=_changed(trial.user_attrs, change))
        for trial in study.trials
    )
    return dataclasses.replace(study, user_attrs=_changed(study.user_attrs, change), trials=trials)


def _changed(attrs: Mapping[str, str], change: Callable[[str], str | None]) -> Mapping[str, str]:
    """Return attributes with other places of weights, where they have any."""
    changed = dict(attrs)
    for key, text in attrs.items():
        if f'"{_KEY}"' not in text:
            continue
        value: Any = None
        with contextlib.suppress(ValueError):  # it is damaged, and stays so
            value = json.loads(text)
        if isinstance(value, dict) and isinstance(value.get(_KEY), str):
            changed[key] = json.dumps({**value, _KEY: change(value[_KEY])})
    return changed


def with_other_ids(text: bytes, ids: Mapping[bytes, bytes]) -> bytes:
    """Return JSON with other ids of runs: 32 hexadecimal digits each, unique in the world."""
    return _ANY_ID.sub(lambda found: ids.get(found[0], found[0]), text)
