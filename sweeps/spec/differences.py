"""Says in a few words how two definitions of a study differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_SHOWN = 3  # differences
_VALUE_LIMIT = 60  # characters of a value
_FIRST = ("dataset", "objective")
# Follow from other keys, or are long: told last.
_LAST = ("baselines", "start_with")


def short_differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Say how two identities of a study differ: the first differences, and how many more.

    Args:
        stored: the identity in the store.
        asked: the identity of the study file.

    Returns:
        For instance ``lr: 0.0001 to 0.1 -> 0.01; epochs: 10 -> 20; and 2 more``.
    """
    old = _flat(stored)
    new = _flat(asked)
    labels = dict.fromkeys([*old, *new])
    differing = [label for label in labels if _is_other(old.get(label), new.get(label))]
    fields = {*stored["fixed"], *stored["search"], *asked["fixed"], *asked["search"]}
    differing.sort(key=lambda label: (label in _LAST, label not in _FIRST, label not in fields))
    told = [_told(label, old.get(label), new.get(label)) for label in differing[:_SHOWN]]
    if len(differing) > _SHOWN:
        told.append(f"and {len(differing) - _SHOWN} more")
    return "; ".join(told)


def _flat(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Name all values of an identity as a user does: a field is fixed or searched."""
    inner = ("search", "fixed", "constraints")
    constraints = identity.get("constraints") or {}
    return {
        **{key: value for key, value in identity.items() if key not in inner},
        **identity["fixed"],
        **identity["search"],
        **{f"constraints.{key}": value for key, value in constraints.items()},
    }


def _is_other(old: object, new: object) -> bool:
    return json.dumps(old) != json.dumps(new)


def _told(label: str, old: Any, new: Any) -> str:
    before = _text(old, new)
    after = _text(new, old)
    if before == after:  # what differs is not shown
        after = "other values"
    return f"{label}: {before} -> {after}"


def _text(value: Any, other: Any) -> str:
    """A value in a few words.

    Args:
        value: of a key; None if it is not set.
        other: the value that it is compared with; the scale of a range is told where theirs differ.
    """
    if isinstance(value, dict) and "choices" in value:
        return _clipped(_dimension_text(value, other))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        kind = "configuration" if len(value) == 1 else "configurations"
        return f"{len(value)} {kind}"
    if value is None or value == []:
        return "not set"
    if isinstance(value, str):
        return _clipped(value)
    return _clipped(json.dumps(value))


def _dimension_text(dimension: Mapping[str, Any], other: Any) -> str:
    """The values of a searched field: choices, or a range."""
    if dimension["choices"]:
        return ", ".join(_plain(choice) for choice in dimension["choices"])
    text = f"{dimension['low']:g} to {dimension['high']:g}"
    if dimension["step"] is not None:
        text += f" in steps of {dimension['step']:g}"
    if isinstance(other, dict) and other.get("log") != dimension["log"]:
        text += " on a log scale" if dimension["log"] else " on a linear scale"
    return text


def _plain(choice: object) -> str:
    return choice if isinstance(choice, str) else json.dumps(choice)


def _clipped(text: str) -> str:
    return text if len(text) <= _VALUE_LIMIT else f"{text[: _VALUE_LIMIT - 1]}…"
