"""The configurations that a study spans: drawn one by one, or laid out beforehand. Opens no store."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from sweeps.spec.dimension import Dimension
from sweeps.spec.study_spec import (
    MAX_TRIALS,
    PLANNED_METHODS,
    TOP_LEVEL_FIELDS,
    Fixed,
    Search,
    StudySpec,
)
from sweeps.trial import TrialConfig, Value, applies, configure

DEFAULT_TRIALS = 24


def configuration(spec: StudySpec, values: Mapping[str, Value], repeat: int = 0) -> TrialConfig:
    """The configuration of one trial: what all share, the searched values, and the repeat's seed."""
    return configure({**spec.base, "seed": spec.seed + repeat, **values})


def total_trials(spec: StudySpec) -> int:
    """The trials of a study in all: configurations times repeats.

    Raises:
        ValueError: for a layout without an end, or with too many configurations.
    """
    if spec.method not in PLANNED_METHODS:
        return spec.trials or DEFAULT_TRIALS
    most = spec.trials or MAX_TRIALS + 1
    size = min(most, spec.repeats * sum(1 for _ in itertools.islice(planned_values(spec), most)))
    if size > MAX_TRIALS:
        raise ValueError(
            f"the {spec.method} has over {MAX_TRIALS:,} trials: give trials, or fewer values"
        )
    return size


def planned_values(spec: StudySpec) -> Iterator[dict[str, Value]]:
    """The searched values of each configuration that is known beforehand: the starts, then those of the method."""
    starts = [start_values(spec, start) for start in spec.starts]
    laid_out = {"grid": grid, "zip": _zip, "one_factor": _one_factor, "ablate": _one_factor}.get(
        spec.method
    )
    seen = set()
    for values in itertools.chain(starts, laid_out(spec) if laid_out else ()):
        key = tuple(values.items())
        if key not in seen:
            seen.add(key)
            yield values


def _zip(spec: StudySpec) -> Iterator[dict[str, Value]]:
    """The first value of every dimension, then the second, and so on."""
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
    """The centre, then each dimension's other values, alone."""
    centre = {dimension.field: dimension.first for dimension in spec.dimensions}
    yield _applying(spec, centre)
    for dimension in spec.dimensions:
        for value in dimension.choices[1:]:
            yield _applying(spec, {**centre, dimension.field: value})


def _applying(spec: StudySpec, values: Mapping[str, Value]) -> dict[str, Value]:
    return choose_values(spec, lambda dimension: values[dimension.field])


def ablation_spec(spec: StudySpec, best: TrialConfig, searched: Sequence[str]) -> StudySpec:
    """The study of another study's best configuration, with each searched choice set back to its default in turn.

    Args:
        spec: of method ``ablate``; what it fixes holds instead of the best's values.
        best: the best configuration.
        searched: the fields that the other study searched; the family stays, because another one's options are others.

    Raises:
        ValueError: where no searched choice differs from its default.
    """
    fixed = spec.fixed.model_dump(exclude_none=True)
    values = {**best.to_dict(), **fixed}
    said = {*fixed, *(spec.model_fields_set & {*TOP_LEVEL_FIELDS})}
    changed = {}
    for name in searched:
        default = getattr(configure({k: v for k, v in values.items() if k != name}), name)
        # What `auto` means is settled once for a study, so it is nothing to set back to.
        if (
            name in values
            and name not in (*said, "family")
            and default not in (values[name], None, "auto")
        ):
            changed[name] = [default]
    own = {name: values.pop(name) for name in TOP_LEVEL_FIELDS}
    if not changed:
        raise ValueError(
            f"the best of {spec.of} has every searched choice at its default: nothing to set back"
        )
    own = {
        name: value
        for name, value in own.items()
        if name not in spec.model_fields_set and name != "seed"
    }
    update = {
        **own,
        "fixed": Fixed.model_validate(values),
        "search": Search.model_validate(changed),
    }
    return spec.model_copy(update=update)


def choose_values(spec: StudySpec, choose: Callable[[Dimension], Value]) -> dict[str, Value]:
    """Choose a value for each dimension whose conditions hold, in an order in which they can be known."""
    values: dict[str, Value] = {}
    pending = spec.dimensions
    while pending:
        dimension, pending = _next(pending)
        if _holds(spec, dimension, values):
            values[dimension.field] = choose(dimension)
    return values


def grid(
    spec: StudySpec, values_of: Callable[[Dimension], Sequence[Value]] = Dimension.grid
) -> Iterator[dict[str, Value]]:
    """Every combination of the searched values, or of some of each, the last dimension running fastest."""

    def expand(
        values: dict[str, Value], pending: tuple[Dimension, ...]
    ) -> Iterator[dict[str, Value]]:
        if not pending:
            yield values
            return
        dimension, rest = _next(pending)
        if not _holds(spec, dimension, values):
            yield from expand(values, rest)
            return
        for value in values_of(dimension):
            yield from expand({**values, dimension.field: value}, rest)

    yield from expand({}, spec.dimensions)


def start_values(spec: StudySpec, start: Mapping[str, Value]) -> dict[str, Value]:
    """The searched values of one ``start_with`` entry: as given there, else the defaults.

    Raises:
        ValueError: for a value outside what is searched.
    """
    asked = configure({**spec.base, **start})
    searched = {dimension.field for dimension in spec.dimensions}
    _keeps(
        start, asked, configure({**spec.base, **{k: v for k, v in start.items() if k in searched}})
    )

    def choose(dimension: Dimension) -> Value:
        value: Value | None = getattr(asked, dimension.field)
        if value is None or not dimension.contains(value):
            origin = "" if dimension.field in start else " (its default: give another)"
            raise ValueError(
                f"{dimension.field} {value}{origin} is not among what is searched: {dimension}"
            )
        return value

    values = choose_values(spec, choose)
    _keeps(start, asked, configure({**spec.base, **values}))
    return values


def _keeps(start: Mapping[str, Value], asked: TrialConfig, made: TrialConfig) -> None:
    for name, value in start.items():
        if getattr(made, name) != getattr(asked, name):
            raise ValueError(
                f"{name} {value} is not searched: every such trial has {getattr(made, name)}"
            )


def _next(pending: tuple[Dimension, ...]) -> tuple[Dimension, tuple[Dimension, ...]]:
    """The first dimension whose conditions no other one still decides, and the others."""
    undecided = {dimension.field for dimension in pending}
    for index, dimension in enumerate(pending):
        if not dimension.needs & (undecided - {dimension.field}):
            return dimension, pending[:index] + pending[index + 1 :]
    raise ValueError(f"conditions run in a circle: {', '.join(sorted(undecided))}")


def _holds(spec: StudySpec, dimension: Dimension, values: Mapping[str, Value]) -> bool:
    if dimension.field in values:
        return False
    current = configure({**spec.base, **values}).to_dict()
    return applies(dimension.field, current) and all(
        current.get(name) in allowed for name, allowed in dimension.when.items()
    )


SAMPLES = 6  # configurations of a laid-out study


def _spread(spec: StudySpec) -> Sequence[dict[str, Value]]:
    """A few of the configurations of a laid-out study, evenly over them; none of another."""
    if spec.method in PLANNED_METHODS:
        found = list(itertools.islice(planned_values(spec), MAX_TRIALS))
    else:
        found = []
    if found:
        return found[:: math.ceil(len(found) / SAMPLES)]
    return []


def representative_values(spec: StudySpec) -> list[dict[str, Value]]:
    """The configurations that stand for a study: where it starts, a few of its points, or the first of each family."""
    if spec.starts:
        return [start_values(spec, start) for start in spec.starts]
    spread = list(_spread(spec))
    if spread:
        return spread
    families = next((d.choices for d in spec.dimensions if d.field == "family"), (None,))
    return [_first_values(spec, family) for family in families]


def _first_values(spec: StudySpec, family: Value | None) -> dict[str, Value]:
    """The first value of every dimension, for one family of networks."""

    def first(dimension: Dimension) -> Value:
        if dimension.field == "family" and family is not None:
            return family
        return dimension.first

    return choose_values(spec, first)
