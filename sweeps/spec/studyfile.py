"""Reads a study file: every broken rule at once, each with its line. Opens no store."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from pydantic import BaseModel, ValidationError

import models
from sweeps.spec import yamlfile
from sweeps.spec.configurations import choose_values, start_values, total_trials
from sweeps.spec.reference import Reference
from sweeps.spec.study_spec import (
    CENTRED_METHODS,
    OBJECTIVES,
    PLANNED_METHODS,
    RESOLVED_FIELDS,
    Constraints,
    Fixed,
    Search,
    Start,
    Stop,
    StudySpec,
)
from sweeps.trial import config_fields

_PARTS: dict[str, type[BaseModel]] = {
    "fixed": Fixed,
    "search": Search,
    "start_with": Start,
    "constraints": Constraints,
    "stop": Stop,
    "reference": Reference,
}
_OWN = StudySpec.model_fields.keys() - _PARTS.keys()  # keys whose value is one word


class StudyFileError(ValueError):
    """A study file breaks rules: one line each."""


def parse_study(
    text: str,
    label: str,
    *,
    overrides: Mapping[str, Any] | None = None,
    check_dataset: Callable[[str], None] = lambda _: None,
) -> StudySpec:
    """Read a study file.

    Args:
        text: the file's text.
        label: what error messages call it.
        overrides: from the command line: top-level keys; ``families``, a list; ``set``, a mapping of fixed values.
        check_dataset: raises ValueError for a data set that nobody knows.

    Raises:
        StudyFileError: naming every broken rule with its line.
    """
    try:
        document = yamlfile.read(text)
    except yamlfile.YamlError as error:
        raise StudyFileError(f"{label}:{error.line}: {error}") from None
    try:
        raw = _override(document.data, overrides or {})
        spec = StudySpec.model_validate(raw)
        problems = list(_conflicts(spec, check_dataset))
    except ValidationError as error:
        problems = [(tuple(e["loc"]), _message(e)) for e in error.errors()]
        if isinstance(raw.get("dataset"), str):
            problems += _of_check(("dataset",), lambda: check_dataset(raw["dataset"]))
    if problems:
        lines = sorted(
            {
                (_typed(path, overrides or {}), document.line(path), message)
                for path, message in problems
            }
        )
        places = [
            ("command line" if typed else f"{label}:{line}", message)
            for typed, line, message in lines
        ]
        raise StudyFileError(
            "\n".join(f"{place}: {message}" for place, message in dict.fromkeys(places))
        )
    return spec


def _typed(path: tuple[str | int, ...], overrides: Mapping[str, Any]) -> bool:
    """Whether what stands at this place comes from the command line."""
    if path[:2] == ("search", "family"):
        return bool(overrides.get("families"))
    key = path[1] if path[0] == "fixed" and len(path) > 1 else path[0]
    return overrides.get(str(key)) is not None or key in (overrides.get("set") or {})


def _override(data: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Put command-line values into the raw study: a set value is no longer searched, other families are gone."""
    typed = {k: v for k, v in overrides.items() if k not in ("families", "set") and v is not None}
    typed |= {
        k: yamlfile.parse_scalar(v) if k in _OWN else v
        for k, v in (overrides.get("set") or {}).items()
    }
    raw = data | {k: v for k, v in typed.items() if k in _OWN}
    fixed = raw.get("fixed") or {}
    search = raw.get("search") or {}
    starts = raw.get("start_with") or []
    if not (isinstance(fixed, dict) and isinstance(search, dict) and isinstance(starts, list)):
        return raw
    families = overrides.get("families")
    if overrides.get("method") and overrides["method"] not in CENTRED_METHODS:
        fixed = {
            k: v for k, v in fixed.items() if k not in search
        }  # a centre that is none any more
    if families:
        usual = fixed.get("family", config_fields()["family"].default)
        fixed = {k: v for k, v in fixed.items() if k != "family"}
        search = {"family": list(families), **{k: v for k, v in search.items() if k != "family"}}
        if (
            raw.get("method") in PLANNED_METHODS
        ):  # one family is no dimension to be laid out; of several one is the centre
            first = usual if usual in families else families[0]
            fixed |= (
                {"family": first} if len(families) == 1 or raw["method"] in CENTRED_METHODS else {}
            )
            search = {k: v for k, v in search.items() if k != "family" or len(families) > 1}
        starts = [{"family": usual, **s} if isinstance(s, dict) else s for s in starts]
        starts = [s for s in starts if not isinstance(s, dict) or s["family"] in families]
    for key, value in typed.items():
        fixed = fixed if key in _OWN else {**fixed, key: value}
        search = {k: v for k, v in search.items() if k != key}
        if key == "family":  # what another family starts with may not even apply
            starts = [s for s in starts if not isinstance(s, dict) or s.get(key, value) == value]
        starts = [
            {k: v for k, v in s.items() if k != key} if isinstance(s, dict) else s for s in starts
        ]
    made = {"fixed": fixed, "search": search, "start_with": starts}
    return {**raw, **{key: value for key, value in made.items() if value or key in raw}}


def _conflicts(
    spec: StudySpec, check_dataset: Callable[[str], None]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What no single value shows: each with the place it is about."""
    yield from _of_check(("dataset",), lambda: check_dataset(spec.dataset))
    if spec.method == "ablate":
        yield from _of_ablation(spec)
        return  # what is searched comes from the other study
    if spec.of is not None:
        yield ("of",), f"of is for method ablate: the method is {spec.method}"
    dimensions = list(_of_check(("search",), lambda: spec.dimensions))
    yield from dimensions
    if dimensions:
        return
    yield from _of_check(
        ("search",), lambda: choose_values(spec, lambda dimension: dimension.first)
    )
    yield from _of_check(("search",), lambda: total_trials(spec))
    yield from _of_search(spec)
    if not spec.dimensions:
        yield ("search",), "nothing is searched: give search at least one field"
    target = spec.stop.target
    (metric, _) = OBJECTIVES[spec.objective]
    if target is not None and not metric.endswith("loss") and not 0 <= target <= 1:
        yield (
            ("stop", "target"),
            f"target must be from 0 to 1, as {spec.objective} is: got {target:g}",
        )
    for index, start in enumerate(spec.starts):
        yield from _of_check(("start_with", index), partial(start_values, spec, start))


def _of_search(spec: StudySpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What is wrong with the dimensions of one field, beside each other and beside what is fixed."""
    fixed = spec.fixed.model_dump(exclude_none=True)
    for name, grouped in itertools.groupby(spec.dimensions, lambda dimension: dimension.field):
        group = list(grouped)
        if spec.method != "zip" and any(len(set(d.choices)) < len(d.choices) for d in group):
            yield ("search", name), f"{name} lists a value twice: only zip takes that"
        keys = [dimension.key for dimension in group]
        if name in fixed and spec.method not in CENTRED_METHODS:
            yield ("search", name), f"{name} is both fixed and searched: take it out of one"
        if name in RESOLVED_FIELDS and any("auto" in dimension.choices for dimension in group):
            yield (
                ("search", name),
                f"{name} auto is settled once for a study: search the others by their names",
            )
        if len(set(keys)) < len(keys):
            yield ("search", name), f"{name} is given several times under one condition"


def _of_check(
    path: tuple[str | int, ...], check: Callable[[], object]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    try:
        check()
    except ValueError as error:
        yield path, str(error)


def _of_ablation(spec: StudySpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if spec.of is None:
        yield ("method",), "ablate needs of: the name of the study whose best is ablated"
    for key, given in (("search", spec.dimensions), ("start_with", spec.starts)):
        if given:
            yield (key,), f"ablate takes no {key}: it sets back what the other study searched"


def _message(error: Any) -> str:
    """One of pydantic's errors in this product's words: the rule, the value, the nearest known name."""
    path = [str(part) for part in error["loc"]]
    kind = error["type"]
    given = error["input"]
    name = path[-1] if path else "study"
    if kind == "extra_forbidden":
        known = _PARTS.get(path[0], StudySpec) if len(path) > 1 else StudySpec
        return (
            f"unknown key {'.'.join(path)!r}; {models.did_you_mean(name, list(known.model_fields))}"
        )
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind == "literal_error":
        known_values = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{name} is unknown: {given!r}; {models.did_you_mean(str(given), known_values)}"
    rule = (
        error["msg"]
        .removeprefix("Input should be ")
        .replace("a valid integer", "a whole number")
        .replace("a valid number", "a number")
        .replace("a valid tuple", "a list")
        .replace("a valid dictionary", "a mapping")
        .replace("a valid ", "")
        .partition(", unable")[0]
        .partition(" or instance of")[0]
    )
    return f"{'.'.join(path)} must be {rule}: got {given!r}"
