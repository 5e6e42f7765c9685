"""Lays out the configurations of a study, and chooses the searched values of each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import models
from sweeps.spec.dimension import Dimension, parse_dimensions
from sweeps.spec.keywords import stored_keywords
from sweeps.spec.study_spec import (
    COMPUTED_FIELDS,
    MAX_TRIALS,
    PLANNED_METHODS,
    TOP_LEVEL_FIELDS,
    Fixed,
    Search,
    StudySpec,
)
from sweeps.trial import (
    TrialConfig,
    Value,
    applies,
    config_fields,
    configure,
    network_options,
)

DEFAULT_TRIALS = 24
LISTS_FIRST = 2  # the version of the order of trials from which on `lists_come_first`
_MAX_REPRESENTATIVES = 6  # of a planned method's configurations


def configuration(spec: StudySpec, values: Mapping[str, Value], repeat: int = 0) -> TrialConfig:
    """Return the configuration of a trial.

    Args:
        spec: gives the values that all trials share.
        values: the searched values.
        repeat: counted from 0; each repeat has a seed of its own, and its own draw of train and
            validation if the study redraws them.
    """
    redraw = spec.redraw(repeat)
    of_repeat = {
        "seed": spec.seed + repeat,
        "redraw": None if redraw is None else str(redraw),
    }
    return configure({**spec.base, **of_repeat, **values}, others=spec.keywords)


def place_of(number: int, repeats: Sequence[int], configurations: int) -> tuple[int, int]:
    """Return which configuration a trial has, and which of its repeats it is.

    The repeats of a configuration are trained one after the other. Repeats that were added later
    come after those of all configurations: with 2 repeats of 2 configurations, and a third one
    added, the repeats are 0, 1, 0, 1, 2, 2.

    Args:
        number: the trial's number, in the order of drawing.
        repeats: how many repeats each configuration had at first, after the first addition, and so
            on; ascending.
        configurations: the number of configurations. It decides only if repeats were added.

    Returns:
        The number of the configuration and that of the repeat, both from 0.
    """
    *earlier, last = repeats
    before = 0
    for count in earlier:
        added = count - before
        if number < added * configurations:
            configuration_number, repeat = divmod(number, added)
            return configuration_number, before + repeat
        number -= added * configurations
        before = count
    configuration_number, repeat = divmod(number, last - before)
    return configuration_number, before + repeat


def lists_come_first(spec: StudySpec, order: int) -> bool:
    """Whether a study trains its listed configurations once each before it repeats any.

    A study that pauses trials compares the repeats of a configuration, which go on together.

    Args:
        spec: the study.
        order: the version of the order of its trials: 1 is of 0.1.0, which trained all repeats of a
            configuration before the next one.
    """
    return order >= LISTS_FIRST and spec.method in PLANNED_METHODS and spec.pruner != "asha"


def total_trials(spec: StudySpec) -> int:
    """Return the number of trials of a study: configurations times repeats.

    Raises:
        ValueError: if a planned method has too many configurations, or a range without an end.
    """
    if spec.has_only_budget:
        return MAX_TRIALS
    if spec.method not in PLANNED_METHODS:
        return spec.trials or DEFAULT_TRIALS
    limit = spec.trials or MAX_TRIALS + 1
    configurations = sum(1 for _ in itertools.islice(planned_values(spec), limit))
    trials = min(limit, spec.repeats * configurations)
    if trials > MAX_TRIALS:
        raise ValueError(
            f"the {spec.method} has over {MAX_TRIALS:,} trials: give trials, or fewer values"
        )
    return trials


def planned_values(spec: StudySpec) -> Iterator[dict[str, Value]]:
    """Yield the searched values of each configuration that is known before the search.

    These are the given ones, and the configurations of a planned method, without duplicates.
    """
    seen = set()
    for values in itertools.chain(given_values(spec), _method_values(spec)):
        key = tuple(values.items())
        if key not in seen:
            seen.add(key)
            yield values


def given_values(spec: StudySpec) -> list[dict[str, Value]]:
    """Return the searched values of the baselines, then of the starts, without duplicates."""
    given = baseline_values(spec)
    for start in spec.starts:
        values = start_values(spec, start)
        if values not in given:
            given.append(values)
    return given


def baseline_values(spec: StudySpec) -> list[dict[str, Value]]:
    """Return the searched values of each baseline, without duplicates."""
    baselines = []
    for given in spec.given_baselines:
        values = start_values(spec, given)
        if values not in baselines:
            baselines.append(values)
    return baselines


def _method_values(spec: StudySpec) -> Iterator[dict[str, Value]]:
    """The configurations of a planned method; none of any other method."""
    if spec.method == "grid":
        return grid(spec)
    if spec.method == "zip":
        return _zip(spec)
    if spec.method in ("one_factor", "ablate"):
        return _one_factor(spec)
    return iter(())


def _zip(spec: StudySpec) -> Iterator[dict[str, Value]]:
    """Yield the first value of every dimension together, then every second value, and so on."""
    columns = {dimension.field: dimension.grid() for dimension in spec.dimensions}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise ValueError(f"zip needs as many values in every dimension: got {counts}")
    if any(dimension.when for dimension in spec.dimensions):
        raise ValueError("zip takes no conditions (when)")
    for row in zip(*columns.values(), strict=True):
        yield _applying(spec, dict(zip(columns, row, strict=True)))


def _one_factor(spec: StudySpec) -> Iterator[dict[str, Value]]:
    """Yield the centre, then each further value of each dimension, alone."""
    centre = {dimension.field: dimension.first for dimension in spec.dimensions}
    yield _applying(spec, centre)
    for dimension in spec.dimensions:
        for value in dimension.choices[1:]:
            yield _applying(spec, {**centre, dimension.field: value})


def _applying(spec: StudySpec, values: Mapping[str, Value]) -> dict[str, Value]:
    """Keep the values of the dimensions that apply."""
    return choose_values(spec, lambda dimension: values[dimension.field])


def ablation_spec(spec: StudySpec, winner: TrialConfig, searched: Sequence[str]) -> StudySpec:
    """Return the study that sets each searched choice of a winner back to its default.

    Args:
        spec: of method ``ablate``; fixed values replace the values of the winner.
        winner: the winning configuration of another study.
        searched: the fields that the other study searched. The family stays, because another family
            has other options.

    Raises:
        ValueError: if no searched choice differs from its default.
    """
    fixed = spec.fixed.model_dump(exclude_none=True)
    values = {**winner.to_dict(), **fixed}
    given_fields = {"family", *fixed, *spec.model_fields_set.intersection(TOP_LEVEL_FIELDS)}
    defaults = {}
    for name in searched:
        if name not in values or name in given_fields:
            continue
        without_field = {key: value for key, value in values.items() if key != name}
        default = configure(without_field).value(name)
        # `auto` is resolved once for a study, so it is nothing to set back to.
        if default not in (values[name], None, "auto"):
            defaults[name] = [default]
    if not defaults:
        raise ValueError(
            f"the best of {spec.of} has every searched choice at its default: nothing to set back"
        )
    for name in ("redraw", *COMPUTED_FIELDS):  # of one repeat, and of files as they were
        values.pop(name, None)
    update = {}
    for name in TOP_LEVEL_FIELDS:
        value = values.pop(name)
        if name not in spec.model_fields_set and name != "seed":
            update[name] = value
    keywords = stored_keywords([str(values["family"])])
    update["fixed"] = Fixed.model_validate(values, context=keywords)
    dimensions: dict[str, Any] = {
        name: parse_dimensions(name, choices, keywords) for name, choices in defaults.items()
    }
    update["search"] = Search.model_construct(**dimensions)
    return spec.model_copy(update=update)


def choose_values(spec: StudySpec, choose: Callable[[Dimension], Value]) -> dict[str, Value]:
    """Choose a value for each dimension that applies.

    The conditions of a dimension are known before the dimension is visited.
    """
    values: dict[str, Value] = {}
    pending = spec.dimensions
    while pending:
        dimension, pending = _next_dimension(pending)
        if _applies(spec, dimension, values):
            values[dimension.field] = choose(dimension)
    return values


def applying_dimensions(spec: StudySpec) -> tuple[Dimension, ...]:
    """Return the dimensions of a study that apply to one of its families at least."""
    families = {name: models.find_family(name) for name in spec.families}
    searched = {dimension.field for dimension in spec.dimensions}
    defaults = {
        name: field.default
        for name, field in config_fields().items()
        if name not in network_options()
    }
    shared = {**defaults, **spec.base}
    constant = {name: value for name, value in shared.items() if name not in searched}
    return tuple(
        dimension
        for dimension in spec.dimensions
        if any(
            dimension.may_apply(name, takes=family.takes(dimension.field), constant=constant)
            for name, family in families.items()
        )
    )


def grid(
    spec: StudySpec, values_of: Callable[[Dimension], Sequence[Value]] = Dimension.grid
) -> Iterator[dict[str, Value]]:
    """Yield every combination of searched values; the last dimension changes fastest.

    Args:
        spec: the study.
        values_of: returns the values of a dimension to combine: by default all of them.
    """

    def expand(
        values: dict[str, Value], pending: tuple[Dimension, ...]
    ) -> Iterator[dict[str, Value]]:
        if not pending:
            yield values
            return
        dimension, remaining = _next_dimension(pending)
        if not _applies(spec, dimension, values):
            yield from expand(values, remaining)
            return
        for value in values_of(dimension):
            yield from expand({**values, dimension.field: value}, remaining)

    yield from expand({}, spec.dimensions)


def check_unconditional(spec: StudySpec) -> None:
    """Check that all configurations of a study have the same dimensions.

    Raises:
        ValueError: naming one that some have not.
    """
    searched = {dimension.field for dimension in spec.dimensions}
    deciding = {name for dimension in spec.dimensions for name in dimension.needs} & searched
    if not deciding:
        return

    def of_interest(dimension: Dimension) -> Sequence[Value]:
        return dimension.grid() if dimension.field in deciding else (dimension.first,)

    for values in grid(spec, of_interest):
        params = optuna_params(spec, values)
        for dimension in spec.dimensions:
            if dimension.key not in params:
                found = ", ".join(f"{name} {values[name]}" for name in sorted(deciding & {*values}))
                raise ValueError(
                    f"gp takes no conditions, and {dimension.key} does not apply to {found}: "
                    "search fields that all trials have, or take method tpe"
                )


def start_values(spec: StudySpec, start: Mapping[str, Value]) -> dict[str, Value]:
    """Return the searched values of a ``start_with`` entry: its own values, else the defaults.

    Raises:
        ValueError: for a value outside of the search space.
    """
    wanted = configure({**spec.base, **start}, others=spec.keywords)
    searched = {dimension.field for dimension in spec.dimensions}
    searched_start = {name: value for name, value in start.items() if name in searched}
    _check_start(start, wanted, configure({**spec.base, **searched_start}, others=spec.keywords))

    def choose(dimension: Dimension) -> Value:
        value: Value | None = wanted.value(dimension.field)
        if value is None or not dimension.contains(value):
            origin = "" if dimension.field in start else " (its default: give another)"
            raise ValueError(
                f"{dimension.field} {value}{origin} is not among what is searched: {dimension}"
            )
        return value

    values = choose_values(spec, choose)
    _check_start(start, wanted, configure({**spec.base, **values}, others=spec.keywords))
    return values


class Unfit(Exception):  # noqa: N818 - it is an answer rather than an error
    """A configuration of another study cannot be said in this one; the message says why."""


def project(spec: StudySpec, config: TrialConfig) -> tuple[dict[str, Value], bool]:
    """Return the searched values of this study that are nearest to a configuration of another.

    A number that is not searched is moved to the nearest that is. Fields that this study does not
    search are left out, except those that give the others their meaning: family and optimizer.

    Args:
        spec: this study.
        config: of the other study.

    Returns:
        The values, and whether a number was moved.

    Raises:
        Unfit: if it has a word that is not searched, or another fixed family or optimizer.
    """
    for name in ("family", "optimizer"):
        has_dimension = any(dimension.field == name for dimension in spec.dimensions)
        own = configure(spec.base, others=spec.keywords).value(name)
        other = config.value(name)
        if not has_dimension and other != own:
            raise Unfit(f"{name} is {other} there and {own} here")
    moved = False
    values: dict[str, Value] = {}

    def choose(dimension: Dimension) -> Value:
        nonlocal moved
        value: Value | None = config.value(dimension.field)
        if value is None:  # it does not apply there, or is of a later version: the default
            default = configure({**spec.base, **values}, others=spec.keywords)
            value = default.value(dimension.field)
        if value is None:
            raise Unfit(f"{dimension.field} has no value there")
        if not dimension.contains(value):
            if not dimension.numeric or isinstance(value, str):
                raise Unfit(f"{dimension.field} {value} is not searched here")
            value = dimension.nearest(float(value))
            moved = True
        values[dimension.field] = value
        return value

    return choose_values(spec, choose), moved


def optuna_params(spec: StudySpec, values: Mapping[str, Value]) -> dict[str, Value]:
    """Return the values of a configuration by the Optuna names of their dimensions."""
    params: dict[str, Value] = {}

    def choose(dimension: Dimension) -> Value:
        params[dimension.key] = values[dimension.field]
        return values[dimension.field]

    choose_values(spec, choose)
    return params


def _check_start(start: Mapping[str, Value], wanted: TrialConfig, actual: TrialConfig) -> None:
    """Raise ValueError if a trial cannot have a value of its start."""
    for name, value in start.items():
        actual_value = actual.value(name)
        if actual_value != wanted.value(name):
            raise ValueError(f"{name} {value} is not searched: every such trial has {actual_value}")


def _next_dimension(
    pending: tuple[Dimension, ...],
) -> tuple[Dimension, tuple[Dimension, ...]]:
    """Split off the first dimension without a condition on another pending dimension."""
    undecided = {dimension.field for dimension in pending}
    for index, dimension in enumerate(pending):
        if not dimension.needs & (undecided - {dimension.field}):
            return dimension, pending[:index] + pending[index + 1 :]
    raise ValueError(f"conditions run in a circle: {', '.join(sorted(undecided))}")


def _applies(spec: StudySpec, dimension: Dimension, values: Mapping[str, Value]) -> bool:
    """Whether a dimension applies beside the values chosen so far."""
    if dimension.field in values:  # another dimension of the field, under another condition
        return False
    current = configure({**spec.base, **values}, others=spec.keywords).to_dict()
    if not applies(dimension.field, current):
        return False
    return all(current.get(name) in allowed for name, allowed in dimension.when.items())


def values_or_ends(spec: StudySpec, field: str) -> list[Value]:
    """Return the values that a study gives a field, fixed and searched; of ranges, the ends."""
    values: list[Value | None] = [spec.fixed.model_dump().get(field)]
    for dimension in spec.dimensions:
        if dimension.field == field:
            values += dimension.choices or (dimension.low, dimension.high)
    return [value for value in values if value is not None]


def representative_values(spec: StudySpec) -> list[dict[str, Value]]:
    """Return the searched values of a few configurations that stand for a study.

    These are the baselines and starts; else some planned configurations, evenly spaced; else the
    first value of every dimension, for each family.
    """
    if spec.starts or spec.baselines:
        starts = [start_values(spec, start) for start in spec.starts]
        return [*baseline_values(spec), *starts]
    if spec.method in PLANNED_METHODS:
        planned = list(itertools.islice(planned_values(spec), MAX_TRIALS))
        if planned:
            return planned[:: math.ceil(len(planned) / _MAX_REPRESENTATIVES)]
    for dimension in spec.dimensions:
        if dimension.field == "family":
            return [_first_values(spec, family) for family in dimension.choices]
    return [_first_values(spec, None)]


def _first_values(spec: StudySpec, family: Value | None) -> dict[str, Value]:
    """The first value of every dimension that applies, with a certain family if not None."""

    def choose(dimension: Dimension) -> Value:
        if dimension.field == "family" and family is not None:
            return family
        return dimension.first

    return choose_values(spec, choose)
