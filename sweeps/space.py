"""A study, typed: fixed values, searched dimensions, conditions, and the configurations they span. Opens no store."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema, create_model

from sweeps.dimension import Dimension, dimensions
from sweeps.trial import TrialConfig, Value, applies, configure, fields

# What a study ranks by: the key in a trial's history, and whether more is better.
OBJECTIVES: dict[str, tuple[str, bool]] = {
    "val_acc": ("val/acc", True),
    "val_loss": ("val/loss", False),
    "balanced_acc": ("val/balanced_acc", True),
    "macro_f1": ("val/macro_f1", True),
}
DEFAULT_TRIALS = 24
MAX_TRIALS = 100_000
TOP_LEVEL = ("dataset", "epochs", "seed", "split_seed")  # a study's own keys, so not among `fixed`
_NOT_SEARCHED = ("dataset", "seed", "split_seed", "device", "threads", "eval_batch_size")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _value_schema(name: str) -> dict[str, Any]:
    """The JSON schema of a field's value."""
    field = fields()[name]
    schema: dict[str, Any] = {
        "type": {int: "integer", float: "number", bool: "boolean", str: "string"}[field.type],
        "description": field.help,
    }
    bounds = {"minimum": field.low, "maximum": field.high, "enum": list(field.choices) or None}
    return schema | {key: bound for key, bound in bounds.items() if bound is not None}


def _value_type(name: str) -> Any:
    return Annotated[Any, BeforeValidator(fields()[name].parse), WithJsonSchema(_value_schema(name))]


def _dimension_type(name: str) -> Any:
    value = _value_schema(name)
    span = {"type": "object", "properties": {"low": value, "high": value}}
    schema = {"description": fields()[name].help, "anyOf": [{"type": "array", "items": value}, span, {"type": "array"}]}
    return Annotated[tuple[Dimension, ...], PlainValidator(partial(dimensions, name)), WithJsonSchema(schema)]


def _derive(title: str, types: Callable[[str], Any], default: Any, leave_out: tuple[str, ...]) -> Any:
    """Make a model with a key for each field of `TrialConfig` but some."""
    keys: dict[str, Any] = {name: (types(name), default) for name in fields() if name not in leave_out}
    return create_model(title, __base__=_Model, **keys)


if TYPE_CHECKING:

    class Fixed(_Model):
        """Values that every trial shares."""

    class Start(_Model):
        """A configuration tried first."""

    class Search(_Model):
        """The dimensions of each searched field."""
else:
    Fixed = _derive("Fixed", _value_type, None, TOP_LEVEL)
    Start = _derive("Start", _value_type, None, ("dataset", "seed", "split_seed"))
    Search = _derive("Search", _dimension_type, (), _NOT_SEARCHED)

_Count = Annotated[int, Field(strict=True, ge=1, le=MAX_TRIALS)]
_Seed = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]


class StudySpec(_Model):
    """A study file, checked. Values that it leaves out are the defaults here and in `TrialConfig`."""

    description: Annotated[str, Field(description="One line shown in lists.")] = ""
    source: Annotated[str, Field(description="Where the study comes from.")] = ""
    dataset: Annotated[str, Field(description="Data set: a known name or folder:PATH.")] = "digits"
    method: Annotated[Literal["tpe", "random", "grid"], Field(description="How configurations are chosen.")] = "tpe"
    objective: Annotated[
        Literal["val_acc", "val_loss", "balanced_acc", "macro_f1"],
        Field(description="What ranks trials and chooses the best epoch, on the validation split."),
    ] = "val_acc"
    trials: Annotated[_Count | None, Field(description="Trials in all; a grid's own size, else 24.")] = None
    epochs: Annotated[int, Field(strict=True, ge=1, le=10_000, description="Epochs of a trial at most.")] = 10
    repeats: Annotated[int, Field(strict=True, ge=1, le=100, description="Seeds per configuration.")] = 1
    pruner: Annotated[Literal["asha", "median", "none"], Field(description="What stops hopeless trials.")] = "asha"
    seed: Annotated[_Seed, Field(description="Decides weights, order, dropout and sampler.")] = 0
    split_seed: Annotated[_Seed, Field(description="Decides the three splits.")] = 0
    fixed: Annotated[Fixed, Field(description="Values that every trial shares.")] = Fixed()
    search: Annotated[Search, Field(description="Ranges and choices that are searched.")] = Field(
        default_factory=Search
    )
    start_with: Annotated[
        tuple[Start, ...],
        Field(description="Configurations tried first, defaults filled in, and never pruned."),
    ] = ()

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """All that is searched, in the order of `TrialConfig`'s fields."""
        return tuple(dimension for name in fields() for dimension in getattr(self.search, name, ()))

    @property
    def total(self) -> int:
        """The trials in all: configurations times repeats.

        Raises:
            ValueError: for a grid without an end, or with too many points.
        """
        if self.method == "grid":
            most = self.trials or MAX_TRIALS + 1
            size = min(most, self.repeats * sum(1 for _ in itertools.islice(grid(self), most)))
            if size > MAX_TRIALS:
                raise ValueError(f"the grid has over {MAX_TRIALS:,} trials: give trials, or fewer values")
            return size
        return self.trials or DEFAULT_TRIALS

    @property
    def maximize(self) -> bool:
        """Whether more of the objective is better."""
        return OBJECTIVES[self.objective][1]

    @property
    def base(self) -> dict[str, Value]:
        """The values that every trial shares."""
        own: dict[str, Value] = {name: getattr(self, name) for name in TOP_LEVEL}
        return own | self.fixed.model_dump(exclude_none=True)

    @property
    def starts(self) -> tuple[dict[str, Value], ...]:
        """The configurations tried first, as given."""
        return tuple(start.model_dump(exclude_none=True) for start in self.start_with)

    def identity(self) -> dict[str, Any]:
        """All that makes it this study and no other: what may not change when it goes on. The device may."""
        spec = self.model_dump(mode="json", exclude={"description", "source", "trials", "search", "fixed"})
        spec["start_with"] = [dict(start) for start in self.starts]
        fixed = self.fixed.model_dump(exclude_none=True, exclude={"device"})
        return {**spec, "fixed": fixed, "search": {d.key: d.to_dict() for d in self.dimensions}}


def configuration(spec: StudySpec, values: Mapping[str, Value], repeat: int = 0) -> TrialConfig:
    """The configuration of one trial: what all share, the searched values, and the repeat's seed."""
    return configure({**spec.base, "seed": spec.seed + repeat, **values})


def decide(spec: StudySpec, choose: Callable[[Dimension], Value]) -> dict[str, Value]:
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

    def expand(values: dict[str, Value], pending: tuple[Dimension, ...]) -> Iterator[dict[str, Value]]:
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
    _keeps(start, asked, configure({**spec.base, **{k: v for k, v in start.items() if k in searched}}))

    def choose(dimension: Dimension) -> Value:
        value: Value | None = getattr(asked, dimension.field)
        if value is None or not dimension.contains(value):
            origin = "" if dimension.field in start else " (its default: give another)"
            raise ValueError(f"{dimension.field} {value}{origin} is not among what is searched: {dimension}")
        return value

    values = decide(spec, choose)
    _keeps(start, asked, configure({**spec.base, **values}))
    return values


def _keeps(start: Mapping[str, Value], asked: TrialConfig, made: TrialConfig) -> None:
    for name, value in start.items():
        if getattr(made, name) != getattr(asked, name):
            raise ValueError(f"{name} {value} is not searched: every such trial has {getattr(made, name)}")


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
