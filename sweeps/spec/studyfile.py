"""Reads a study file, and reports every broken rule at once, each with its line."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from pydantic import BaseModel, ValidationError

import models
from models import weights
from models.own import needs_text
from models.suggestions import did_you_mean
from sweeps.spec import yamlfile
from sweeps.spec.configurations import (
    check_unconditional,
    choose_values,
    start_values,
    total_trials,
    values_or_ends,
)
from sweeps.spec.keywords import NO_KEYWORDS, Keywords, families_of, keywords_of, stored_keywords
from sweeps.spec.own_values import Problem, read_own_values
from sweeps.spec.reference import Reference
from sweeps.spec.study_spec import (
    CENTRED_METHODS,
    COSTS,
    OBJECTIVES,
    PLANNED_METHODS,
    RESOLVED_FIELDS,
    Constraints,
    Finalists,
    Fixed,
    Search,
    Start,
    Stop,
    StudySpec,
    check_redraws,
)
from sweeps.spec.yamlfile import Document, KeyPath
from sweeps.trial import config_fields, is_network_option

_PARTS: dict[str, type[BaseModel]] = {
    "fixed": Fixed,
    "search": Search,
    "baselines": Start,
    "start_with": Start,
    "constraints": Constraints,
    "stop": Stop,
    "finalists": Finalists,
    "reference": Reference,
}
_SCALAR_KEYS = StudySpec.model_fields.keys() - _PARTS.keys()

# Keys with configurations that are tried first.
_STARTS = ("baselines", "start_with")


class StudyFileError(ValueError):
    """A study file breaks rules: one line each."""


def parse_study(
    text: str,
    label: str,
    *,
    overrides: Mapping[str, Any] | None = None,
    given_by: str = "command line",
    check_dataset: Callable[[str], None] = lambda _: None,
) -> StudySpec:
    """Read a study file.

    Args:
        text: the content of the file.
        label: the file's name in error messages.
        overrides: values of the command line, by top-level key; also ``families``, a list, and
            ``set``, a mapping of fixed values.
        given_by: where the overrides come from, in error messages.
        check_dataset: raises ValueError for an unknown data set.

    Raises:
        StudyFileError: with every broken rule and its line.
    """
    overrides = overrides or {}
    try:
        document = yamlfile.read(text)
    except yamlfile.YamlError as error:
        raise StudyFileError(f"{label}:{error.line}: {error}") from None
    raw, problems, keywords = _read_own_values(document.data, overrides)
    try:
        spec = StudySpec.model_validate(raw, context=keywords)
    except ValidationError as error:
        problems += [(tuple(detail["loc"]), _message(detail)) for detail in error.errors()]
        if isinstance(raw.get("dataset"), str):
            problems += _problems_of(("dataset",), lambda: check_dataset(raw["dataset"]))
        raise StudyFileError(
            _problem_lines(problems, document, (label, given_by), overrides)
        ) from None
    if not problems:
        problems += _conflicts(spec, check_dataset)
    if not problems:
        problems += _untaken(spec, overrides)
    if problems:
        raise StudyFileError(_problem_lines(problems, document, (label, given_by), overrides))
    return spec


def _read_own_values(
    data: dict[str, Any], overrides: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Problem], Keywords]:
    """Apply the command line, and read what are keywords of the study's own networks.

    Returns:
        The raw study, its problems so far, and the keywords.
    """
    raw = _override(data, overrides)
    try:
        keywords = keywords_of(families_of(raw))
    except ValueError:  # is the family's own problem, and the keywords may be right
        raw, problems = read_own_values(raw, stored_keywords(families_of(raw)))
        return raw, problems, NO_KEYWORDS
    dropped = NO_KEYWORDS if _chooses_families(overrides) else None
    if dropped is not None:
        with contextlib.suppress(ValueError):
            dropped = keywords_of(families_of(data))
    raw, problems = read_own_values(raw, keywords, dropped, overrides.get("set") or {})
    return raw, problems, keywords


def _chooses_families(overrides: Mapping[str, Any]) -> bool:
    """Whether the command line says which families are searched, instead of the study file."""
    return bool(overrides.get("families")) or "family" in (overrides.get("set") or {})


def _untaken(spec: StudySpec, overrides: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the options that no family of a study takes: every trial would be the same.

    For families of the command line, the others that the file searches are left out in silence, but
    not all.
    """
    families = {family: models.find_family(family) for family in spec.families}

    def is_taken(name: str) -> bool:
        return not is_network_option(name) or any(
            family.takes(name) for family in families.values()
        )

    takers = [family.own.describe_options() for family in families.values() if family.own]
    hint = "; ".join(takers or [f"the families are {', '.join(families)}"])
    varied = [d.field for d in spec.dimensions if len(d.choices) != 1]
    untaken = [name for name in dict.fromkeys(varied) if not is_taken(name)]
    if _chooses_families(overrides):
        if untaken and set(untaken) == set(varied):
            yield ("search",), f"nothing of {', '.join(untaken)} applies: {hint}"
        return
    for name in untaken:
        yield ("search", name), f"{name} is searched, and no family takes it: {hint}"
    if any(family.own for family in families.values()):
        for name in spec.fixed.model_dump(exclude_none=True):
            if not is_taken(name):
                yield ("fixed", name), f"{name} is fixed, and no family takes it: {hint}"
    yield from _needed(spec, families)
    yield from _unpublished(spec)


def _needed(spec: StudySpec, families: Mapping[str, models.Family]) -> Iterator[Problem]:
    """Yield the options without a default that own networks need, and the study does not give."""
    given = {*spec.fixed.model_dump(exclude_none=True), *(d.field for d in spec.dimensions)}
    for family in families.values():
        missing = [] if family.own is None else family.own.missing(given)
        if family.own is not None and missing:
            yield ("search",), needs_text(family.own.reference, missing)


def _unpublished(spec: StudySpec) -> Iterator[Problem]:
    """Yield where a study asks for published weights that there are not."""
    if weights.PUBLISHED not in values_or_ends(spec, "pretrained"):
        return
    backbones = [family for family in spec.families if models.is_backbone(family)]
    if not backbones:
        problem = (
            "pretrained true is for torchvision:NAME and timm:NAME, and the families are "
            f"{', '.join(spec.families)}: give a FILE, or leave it out"
        )
        yield ("pretrained",), problem
    for family in backbones:
        try:
            weights.digest(weights.PUBLISHED, family)
        except ValueError as error:
            yield ("pretrained",), str(error)


def _problem_lines(
    problems: Iterable[Problem],
    document: Document,
    labels: tuple[str, str],
    overrides: Mapping[str, Any],
) -> str:
    """A line of text for each problem, in the order of the file.

    Args:
        problems: where, and what.
        document: the file.
        labels: of the file, and of where the overrides come from.
        overrides: the values that replace those of the file.
    """
    label, given_by = labels
    located = {
        (_is_overridden(path, overrides), document.line(path), message)
        for path, message in problems
    }
    lines = []
    for overridden, line, message in sorted(located):
        place = given_by if overridden else f"{label}:{line}"
        lines.append(f"{place}: {message}")
    return "\n".join(dict.fromkeys(lines))


def _is_overridden(path: KeyPath, overrides: Mapping[str, Any]) -> bool:
    """Whether the value at this place comes from the command line."""
    if path[:2] == ("search", "family"):
        return bool(overrides.get("families"))
    is_fixed_value = path[0] == "fixed" and len(path) > 1
    key = path[1] if is_fixed_value else path[0]
    settings = overrides.get("set") or {}
    return overrides.get(str(key)) is not None or key in settings


def _override(data: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Put the values of the command line into a raw study.

    A field that is set is no longer searched; starts of other families are dropped.
    """
    values = {
        key: value
        for key, value in overrides.items()
        if key not in ("families", "set") and value is not None
    }
    for key, value in (overrides.get("set") or {}).items():
        is_typed = key in _SCALAR_KEYS or is_network_option(key)
        is_text = isinstance(value, str) and is_typed
        values[key] = yamlfile.parse_word(value) if is_text else value
    raw = data | {key: value for key, value in values.items() if key in _SCALAR_KEYS}
    fixed = raw.get("fixed") or {}
    search = raw.get("search") or {}
    starts = {key: raw.get(key) or [] for key in _STARTS}
    are_lists = all(isinstance(given, list) for given in starts.values())
    if not (isinstance(fixed, dict) and isinstance(search, dict) and are_lists):
        return raw
    method = overrides.get("method")
    if method and method not in CENTRED_METHODS:  # fixed values of searched fields were the centre
        fixed = _without(fixed, *search)
    families = overrides.get("families")
    if families:
        fixed, search, starts = _keep_families(families, raw.get("method"), fixed, search, starts)
    for key, value in values.items():
        if key not in _SCALAR_KEYS:
            fixed = {**fixed, key: value}
        search = _without(search, key)
        for name, given in starts.items():
            starts[name] = _starts_with(given, key, value)
    parts = {"fixed": fixed, "search": search, **starts}
    return raw | {key: part for key, part in parts.items() if part or key in raw}


def _starts_with(starts: list[Any], key: str, value: object) -> list[Any]:
    """Return starts for a study in which a field is fixed."""
    kept = []
    for start in starts:
        if not isinstance(start, dict):  # left to the validation
            kept.append(start)
        # The options of another family may not even apply.
        elif key != "family" or start.get("family", value) == value:
            kept.append(_without(start, key))
    return kept


def _keep_families(
    families: Iterable[str],
    method: object,
    fixed: dict[str, Any],
    search: dict[str, Any],
    starts: dict[str, list[Any]],
) -> tuple[dict[str, Any], dict[str, Any], dict[str, list[Any]]]:
    """Search these families alone: return `fixed`, `search` and the starts by key for them."""
    families = list(families)
    default_family = fixed.get("family", config_fields()["family"].default)
    fixed = _without(fixed, "family")
    search = {"family": families, **_without(search, "family")}
    if method in PLANNED_METHODS:
        if len(families) == 1 or method in CENTRED_METHODS:
            centre = default_family if default_family in families else families[0]
            fixed = {**fixed, "family": centre}
        if len(families) == 1:  # is no dimension of a planned method
            search = _without(search, "family")
    kept_starts: dict[str, list[Any]] = {key: [] for key in starts}
    for key, given in starts.items():
        for start in given:
            if not isinstance(start, dict):  # left to the validation
                kept_starts[key].append(start)
                continue
            complete_start = {"family": default_family, **start}
            if complete_start["family"] in families:
                kept_starts[key].append(complete_start)
    return fixed, search, kept_starts


def _without(mapping: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}


def _conflicts(spec: StudySpec, check_dataset: Callable[[str], None]) -> Iterator[Problem]:
    """Yield the problems that no single value shows."""
    yield from _problems_of(("dataset",), lambda: check_dataset(spec.dataset))
    has_both = spec.split_seeds is not None and spec.folds is not None
    redraw_path = ("folds",) if has_both else ("repeats",)
    yield from _problems_of(redraw_path, lambda: check_redraws(spec, "repeats"))
    yield from _objective_problems(spec)
    yield from _warm_start_problems(spec)
    if spec.method == "ablate":
        yield from _ablation_problems(spec)
        yield from _budget_problems(spec)
        return  # what is searched comes from the other study
    if spec.of is not None:
        yield ("of",), f"of is for method ablate: the method is {spec.method}"
    dimension_problems = list(_problems_of(("search",), lambda: spec.dimensions))
    if dimension_problems:
        yield from dimension_problems
        return
    yield from _problems_of(
        ("search",), lambda: choose_values(spec, lambda dimension: dimension.first)
    )
    yield from _problems_of(("search",), lambda: total_trials(spec))
    yield from _search_problems(spec)
    if spec.method == "gp":
        yield from _problems_of(("method",), lambda: check_unconditional(spec))
    if not spec.dimensions:
        yield ("search",), "nothing is searched: give search at least one field"
    yield from _loss_problems(spec)
    yield from _target_problems(spec)
    yield from _budget_problems(spec)
    for key, starts in (("baselines", spec.given_baselines), ("start_with", spec.starts)):
        for index, start in enumerate(starts):
            yield from _problems_of((key, index), partial(start_values, spec, start))


def _objective_problems(spec: StudySpec) -> Iterator[Problem]:
    """Yield what is wrong with two objectives."""
    path = ("objectives",)
    if not spec.objectives:
        return
    first = spec.objectives[0]
    second = spec.objectives[-1]
    if len(spec.objectives) != 2 or first not in OBJECTIVES or second not in COSTS:
        rule = f"a metric ({', '.join(OBJECTIVES)}) and a cost ({', '.join(COSTS)})"
        yield path, f"objectives must be two, {rule}: got [{', '.join(spec.objectives)}]"
    elif spec.objective != first:
        yield path, f"objective {spec.objective} is not the first of objectives: leave it out"
    if spec.pruner == "median":
        rule = "pruner median stops small networks for being behind large ones"
        yield ("pruner",), f"{rule}: with objectives, take asha or none"


def _search_problems(spec: StudySpec) -> Iterator[Problem]:
    """Yield the problems of the dimensions of each field, together and beside the fixed values."""
    fixed = spec.fixed.model_dump(exclude_none=True)
    for name, group in itertools.groupby(spec.dimensions, lambda dimension: dimension.field):
        dimensions = list(group)
        path = ("search", name)
        repeats_value = any(
            len(set(dimension.choices)) < len(dimension.choices) for dimension in dimensions
        )
        if repeats_value and spec.method != "zip":
            yield path, f"{name} lists a value twice: only zip takes that"
        if name in fixed and spec.method not in CENTRED_METHODS:
            yield path, f"{name} is both fixed and searched: take it out of one"
        searches_auto = any("auto" in dimension.choices for dimension in dimensions)
        if searches_auto and name in RESOLVED_FIELDS:
            yield (
                path,
                f"{name} auto is settled once for a study: search the others by their names",
            )
        keys = [dimension.key for dimension in dimensions]
        if len(set(keys)) < len(keys):
            yield path, f"{name} is given several times under one condition"


def _loss_problems(spec: StudySpec) -> Iterator[Problem]:
    """Yield the problem of an objective that is a loss, where trials have different losses."""
    losses = {
        str(choice)
        for dimension in spec.dimensions
        if dimension.field == "loss"
        for choice in dimension.choices
    }
    if spec.objective == "val_loss" and len(losses) > 1:
        message = (
            "objective val_loss cannot compare trials of different losses, and search has loss "
            f"{', '.join(sorted(losses))}: take val_acc, or fix the loss"
        )
        yield ("objective",), message


def _target_problems(spec: StudySpec) -> Iterator[Problem]:
    target = spec.stop.target
    if target is None or OBJECTIVES[spec.objective].metric.endswith("loss"):
        return
    if not 0 <= target <= 1:
        yield (
            ("stop", "target"),
            f"target must be from 0 to 1, as {spec.objective} is: got {target:g}",
        )


def _budget_problems(spec: StudySpec) -> Iterator[Problem]:
    if spec.budget is None or spec.budget.trainings is None:
        return
    least = spec.repeats
    if spec.budget.trainings < least:
        rule = f"budget must be at least {least}, a whole training of each of the repeats"
        yield ("budget",), f"{rule}: got {spec.budget}"


def _warm_start_problems(spec: StudySpec) -> Iterator[Problem]:
    if spec.warm_start and spec.method in PLANNED_METHODS:
        rule = f"{spec.method} lists all its trials, and takes no warm_start: leave it out"
        yield ("warm_start",), rule
    for name, count in Counter(spec.warm_start).items():
        if count > 1:
            yield ("warm_start",), f"warm_start names {name!r} twice: leave one out"


def _ablation_problems(spec: StudySpec) -> Iterator[Problem]:
    if spec.of is None:
        yield ("method",), "ablate needs of: the name of the study whose best is ablated"
    starts = {"baselines": spec.given_baselines, "start_with": spec.starts}
    for key, value in (("search", spec.dimensions), *starts.items()):
        if value:
            yield (key,), f"ablate takes no {key}: it sets back what the other study searched"


def _problems_of(path: KeyPath, check: Callable[[], object]) -> Iterator[Problem]:
    """Yield the ValueError of a check as a problem at this place."""
    try:
        check()
    except ValueError as error:
        yield path, str(error)


def _message(error: Any) -> str:
    """Put an error of pydantic into this product's words: the rule, the value, the nearest name."""
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    name = path[-1] if path else "study"
    value = error["input"]
    if error["type"] == "extra_forbidden":
        is_nested = len(path) > 1
        model = _PARTS.get(path[0], StudySpec) if is_nested else StudySpec
        return f"unknown key {key!r}; {did_you_mean(name, list(model.model_fields))}"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "literal_error":
        expected = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        if name.isdecimal():  # an entry of a list
            name = f"an entry of {path[-2]}"
        return f"{name} is unknown: {value!r}; {did_you_mean(str(value), expected)}"
    return f"{key} must be {_rule(error['msg'])}: got {value!r}"


def _rule(message: str) -> str:
    """The rule in a message of pydantic, in this product's words."""
    rule = message.removeprefix("Input should be ")
    for word, replacement in _REPLACEMENTS:
        rule = rule.replace(word, replacement)
    return rule.partition(", unable")[0].partition(" or instance of")[0]


_REPLACEMENTS = (
    ("a valid integer", "a whole number"),
    ("a valid number", "a number"),
    ("a valid tuple", "a list"),
    ("a valid dictionary", "a mapping"),
    ("a valid ", ""),
)
