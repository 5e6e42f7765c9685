"""The specification of a study as typed values: what is fixed, searched, published and kept."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    create_model,
    model_validator,
)

from sweeps.spec.dimension import Dimension, parse_dimensions
from sweeps.spec.durations import parse_duration
from sweeps.spec.keywords import context_keywords, families_of, stored_keywords
from sweeps.spec.reference import Reference
from sweeps.trial import (
    SMALLEST_SHARE,
    ConfigField,
    Redraw,
    Value,
    config_fields,
    configure,
    without_later_fields,
)


class Objective(NamedTuple):
    """A metric that ranks the trials of a study."""

    metric: str  # the key in a trial's history
    maximize: bool  # whether more is better


OBJECTIVES: dict[str, Objective] = {
    "val_acc": Objective("val/acc", maximize=True),
    "val_loss": Objective("val/loss", maximize=False),
    "balanced_acc": Objective("val/balanced_acc", maximize=True),
    "macro_f1": Objective("val/macro_f1", maximize=True),
}
# What a network costs: the second of two objectives, of which less is better.
COSTS: dict[str, str] = {
    "parameters": "parameters",
    "mflops": "million operations of one image's forward pass",
    "latency_ms": "measured milliseconds of the forward pass of one image",
}
# Methods whose configurations are known before the search.
PLANNED_METHODS = ("grid", "zip", "one_factor", "ablate")
# Methods whose configurations differ from the fixed one, the centre, in one field.
CENTRED_METHODS = ("one_factor", "ablate")
MAX_TRIALS = 100_000
MAX_REPEATS = 100
_Draws = Annotated[int, Field(strict=True, ge=2, le=MAX_REPEATS)]  # of train and validation
# Keys that say how the repeats of a configuration redraw train and validation. Each gives their
# number; at most one is given.
REDRAW_KEYS = ("split_seeds", "folds")
# Fields that are keys of the study itself, and so not among `fixed`.
TOP_LEVEL_FIELDS = ("dataset", "epochs", "seed", "split_seed")
# What nobody gives: digests of the source of a network, and of the weights to begin with.
COMPUTED_FIELDS = tuple(name for name, field in config_fields().items() if field.computed)
# All that `fixed` does not take: a redraw belongs to a single repeat, for instance.
UNFIXED_FIELDS = (*TOP_LEVEL_FIELDS, "redraw", *COMPUTED_FIELDS)
# Fields that decide which images a trial sees.
DATA_FIELDS = (
    *("dataset", "split_file", "image_size", "data_version", "copies", "split_seed", "redraw"),
)
# Searched fields whose `auto` is resolved once for a study.
RESOLVED_FIELDS = ("augment", "precision")
_NOT_SEARCHED = (
    *DATA_FIELDS,
    *COMPUTED_FIELDS,
    "seed",
    "device",
    "threads",
    "gpus_per_trial",
    "cudnn_deterministic",
    "eval_batch_size",
)
_NOT_STARTED = (*DATA_FIELDS, *COMPUTED_FIELDS, "seed", "gpus_per_trial")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Values(_Model):
    """Values by field of `TrialConfig`, and by keyword of the study's own networks.

    The keywords are not declared here: who makes the model has parsed them.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    @property
    def keywords(self) -> dict[str, Any]:
        """The values that are no fields."""
        return dict(self.model_extra or {})


_JSON_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string"}


def _json_type(field: ConfigField) -> str | list[str]:
    """Return the JSON type of a field's values, or the types."""
    if field.numeral:
        return ["string", "integer"]
    if field.has_shares:
        return "number"
    return ["string", "boolean"] if field.boolean else _JSON_TYPES[field.type]


def _value_schema(name: str) -> dict[str, Any]:
    """Return the JSON schema of a field's value."""
    field = config_fields()[name]
    schema: dict[str, Any] = {
        "type": _json_type(field),
        "description": field.help,
    }
    lowest = SMALLEST_SHARE if field.has_shares else field.low
    bounds = {"minimum": lowest, "maximum": field.high, "enum": list(field.choices) or None}
    return schema | {key: bound for key, bound in bounds.items() if bound is not None}


def _value_type(name: str) -> Any:
    """Return the type of a fixed value, for pydantic."""

    def parse(value: object, info: ValidationInfo) -> Value:
        return context_keywords(info).parse(name, value)

    return Annotated[Any, BeforeValidator(parse), WithJsonSchema(_value_schema(name))]


def _dimension_type(name: str) -> Any:
    """Return the type of a searched field's dimensions, for pydantic."""
    value = _value_schema(name)
    choices = {"type": "array", "items": value}
    value_range = {"type": "object", "properties": {"low": value, "high": value}}
    several_dimensions = {"type": "array"}
    schema = {
        "description": config_fields()[name].help,
        "anyOf": [choices, value_range, several_dimensions],
    }

    def parse(raw: object, info: ValidationInfo) -> tuple[Dimension, ...]:
        return parse_dimensions(name, raw, context_keywords(info))

    return Annotated[tuple[Dimension, ...], PlainValidator(parse), WithJsonSchema(schema)]


def _derive_model(
    title: str, type_of: Callable[[str], Any], default: Any, excluded: tuple[str, ...]
) -> Any:
    """Make a model with a key for each field of `TrialConfig` that is not excluded."""
    keys: dict[str, Any] = {
        name: (type_of(name), default) for name in config_fields() if name not in excluded
    }
    return create_model(title, __base__=_Values, **keys)


if TYPE_CHECKING:

    class Fixed(_Values):
        """Values that every trial shares."""

    class Start(_Values):
        """A configuration tried first."""

    class Search(_Values):
        """The dimensions of each searched field."""
else:
    Fixed = _derive_model("Fixed", _value_type, None, UNFIXED_FIELDS)
    Start = _derive_model("Start", _value_type, None, _NOT_STARTED)
    Search = _derive_model("Search", _dimension_type, (), _NOT_SEARCHED)


class Constraints(_Model):
    """Limits on the network; a configuration that exceeds one is not trained."""

    parameters: Annotated[float | None, Field(strict=True, gt=0, description="Parameters.")] = None
    mflops: Annotated[
        float | None,
        Field(strict=True, gt=0, description="Million operations of one image's forward pass."),
    ] = None
    latency_ms: Annotated[
        float | None,
        Field(
            strict=True, gt=0, description="Measured milliseconds of the forward pass of one image."
        ),
    ] = None

    @property
    def limits(self) -> dict[str, float]:
        """The given constraints, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


class Stop(_Model):
    """Conditions that end a study before its total number of trials."""

    target: Annotated[
        float | None,
        Field(
            strict=True,
            allow_inf_nan=False,
            description="End when a complete trial's objective is this good.",
        ),
    ] = None
    no_gain: Annotated[
        int | None,
        Field(
            strict=True, ge=1, description="End after so many trials in a row without a new best."
        ),
    ] = None
    time: Annotated[
        float | None,
        Field(
            strict=True, gt=0, description="End when the trials have taken so many seconds in all."
        ),
    ] = None


class Repeats(NamedTuple):
    """How often each finalist is trained, and in what its repeats differ besides their seeds."""

    number: int
    redraw: str | None = None  # the key of `REDRAW_KEYS`; None if all have the study's own splits

    @property
    def keys(self) -> dict[str, int]:
        """The keys of a study file that ask for them, with their values."""
        keys = {"repeats": self.number}
        if self.redraw is not None:
            keys[self.redraw] = self.number
        return keys

    @property
    def option(self) -> str:
        """As the command has it, such as ``--split-seeds 3``."""
        key = self.redraw or "seeds"
        return f"--{key.replace('_', '-')} {self.number}"

    @property
    def text(self) -> str:
        """In words, such as ``3 fresh seeds``."""
        seeds = "1 fresh seed" if self.number == 1 else f"{self.number} fresh seeds"
        if self.redraw == "folds":
            return f"{seeds}, each on another fold of train and validation"
        if self.redraw == "split_seeds":
            return f"{seeds}, each on another draw of train and validation"
        return seeds


class Finalists(_Model):
    """The best configurations, trained again after the search with seeds that it has not used."""

    top: Annotated[
        int,
        Field(
            strict=True, ge=1, le=100, description="Configurations: the first that are complete."
        ),
    ] = 3
    seeds: Annotated[
        int,
        Field(
            strict=True,
            ge=1,
            le=100,
            description="Fresh seeds of each; more of them later are added to those there are.",
        ),
    ] = 3
    split_seeds: Annotated[
        _Draws | None,
        Field(
            description="Instead of seeds: as many, each also with its own random draw of train "
            "and validation; the test split stays.",
        ),
    ] = None
    folds: Annotated[
        _Draws | None,
        Field(
            description="Instead of seeds: as many, each validated on another fold of train and "
            "validation; the test split stays.",
        ),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _one_seed_a_redraw(cls, raw: Any) -> Any:
        """Set the seeds where a key of `REDRAW_KEYS` gives their number, and they are not given."""
        return _with_count(raw, "seeds")

    @model_validator(mode="after")
    def _check_redraws(self) -> Self:
        check_redraws(self, "seeds")
        return self

    @property
    def repeats(self) -> Repeats:
        """How often each finalist is trained, and on which splits."""
        given = [key for key in REDRAW_KEYS if getattr(self, key) is not None]
        return Repeats(self.seeds, given[0] if given else None)


def _with_count(raw: Any, count_key: str) -> Any:
    """Set a number of repeats where a key of `REDRAW_KEYS` gives it, and it is not given itself.

    A key with a value against its own rule sets nothing, so that only that is reported.
    """
    if not isinstance(raw, Mapping) or raw.get(count_key) is not None:
        return raw
    for key in REDRAW_KEYS:
        count = raw.get(key)
        if isinstance(count, int) and not isinstance(count, bool) and 2 <= count <= MAX_REPEATS:
            return {**raw, count_key: count}
    return raw


def check_redraws(model: BaseModel, count_key: str) -> None:
    """Check that at most one key of `REDRAW_KEYS` is given, and is the number of repeats.

    Raises:
        ValueError: with the rule and the value.
    """
    given = [key for key in REDRAW_KEYS if getattr(model, key) is not None]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} both redraw train and validation: give one")
    count = getattr(model, count_key)
    for key in given:
        number = getattr(model, key)
        if number != count:
            raise ValueError(
                f"{key} {number} makes as many {count_key}: leave out {count_key}: got {count}"
            )


def _check_keep_checkpoints(text: str) -> str:
    if not re.fullmatch(r"each|all|best|top:[1-9][0-9]{0,4}", text):
        raise ValueError(f"keep_checkpoints must be each, all, best or top:K: got {text!r}")
    return text


_Count = Annotated[int, Field(strict=True, ge=1, le=MAX_TRIALS)]
_Seed = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]


class Budget(NamedTuple):
    """How much a study may train. One of the two is given."""

    trainings: float | None = None  # so many trials' whole trainings, in epochs
    seconds: float | None = None

    def __str__(self) -> str:
        if self.seconds is None:
            return f"{self.trainings:g}"
        for unit, length in (("h", 3600), ("min", 60), ("s", 1)):
            number = f"{self.seconds / length:g}"
            if float(number) * length == self.seconds:
                return f"{number}{unit}"
        return f"{self.seconds}s"

    @property
    def text(self) -> str:
        """In words, such as ``12 whole trainings``."""
        if self.seconds is not None:
            return f"{self} of training"
        return "1 whole training" if self.trainings == 1 else f"{self} whole trainings"


def parse_budget(value: object) -> Budget:
    """Parse a budget: a number of whole trainings, or a time such as ``1.5h`` or ``90min``.

    Raises:
        ValueError: for anything else.
    """
    text = str(value).strip()
    message = (
        f"budget must be a number of whole trainings, 1 to {MAX_TRIALS:,}, or a time such as "
        f"1.5h or 90min: got {value!r}"
    )
    is_time = text.lower().endswith(("d", "h", "m", "min", "s"))
    try:
        number = parse_duration(text)
    except ValueError:
        raise ValueError(message) from None
    most = MAX_TRIALS * 3600 if is_time else MAX_TRIALS
    least = 0 if is_time else 1
    if not 0 < number <= most or number < least:
        raise ValueError(message)
    return Budget(seconds=number) if is_time else Budget(trainings=number)


_BUDGET_SCHEMA = {"anyOf": [{"type": "number", "minimum": 1}, {"type": "string"}]}


class StudySpec(_Model):
    """A study file, checked. Values it leaves out are the defaults here and in `TrialConfig`."""

    description: Annotated[str, Field(description="One line shown in lists.")] = ""
    source: Annotated[str, Field(description="Where the study comes from.")] = ""
    dataset: Annotated[
        str, Field(description="Data set: a known name, folder:PATH, csv:FILE, FILE.py:function.")
    ] = "digits"
    method: Annotated[
        Literal["tpe", "gp", "random", "grid", "zip", "one_factor", "ablate"],
        Field(
            description="How configurations are chosen: by tpe (learns from earlier trials), by gp "
            "(a Gaussian process, for few fields that all trials have) or at random; every "
            "combination (grid); the first value of each field, then the second of each, ... "
            "(zip); each dimension alone around the fixed values (one_factor); the winner of "
            "another study with each choice set back to its default (ablate)."
        ),
    ] = "tpe"
    of: Annotated[
        str | None,
        Field(description="For ablate: the study whose winner is ablated, by its name."),
    ] = None
    objective: Annotated[
        Literal["val_acc", "val_loss", "balanced_acc", "macro_f1"],
        Field(description="Validation metric that ranks trials and chooses a trial's best epoch."),
    ] = "val_acc"
    objectives: Annotated[
        tuple[
            Literal[
                "val_acc",
                "val_loss",
                "balanced_acc",
                "macro_f1",
                "parameters",
                "mflops",
                "latency_ms",
            ],
            ...,
        ],
        Field(
            description="Two objectives instead of one: a validation metric, and what the network "
            "costs: parameters, mflops (million operations of one image's forward pass) or "
            "latency_ms (its time, measured once for each trial, with which the list of trials may "
            "be another each time). Networks compete with those of their cost or less."
        ),
    ] = ()
    trials: Annotated[
        _Count | None,
        Field(
            description="Total of trials; by default all that grid, zip, one_factor or "
            "ablate lists, else as many as a budget allows, else 24."
        ),
    ] = None
    budget: Annotated[
        Budget | None,
        PlainValidator(lambda value: None if value is None else parse_budget(value)),
        PlainSerializer(lambda value: None if value is None else str(value)),
        WithJsonSchema(_BUDGET_SCHEMA),
        Field(
            description="What all trials may take together: the epochs of so many trials trained "
            "to their end (12), or a time of training (1.5h, 90min), with which the list of trials "
            "may be another each time. Without trials, new ones are drawn until it is used up."
        ),
    ] = None
    epochs: Annotated[
        int, Field(strict=True, ge=1, le=10_000, description="Epochs of a trial at most.")
    ] = 10
    repeats: Annotated[
        int, Field(strict=True, ge=1, le=MAX_REPEATS, description="Seeds per configuration.")
    ] = 1
    split_seeds: Annotated[
        _Draws | None,
        Field(
            description="As many repeats, each with its own random draw of train and validation "
            "besides its own seed; the test split stays that of split_seed.",
        ),
    ] = None
    folds: Annotated[
        _Draws | None,
        Field(
            description="As many repeats, each validated on another fold of train and validation "
            "(stratified k-fold cross-validation); the test split stays that of split_seed.",
        ),
    ] = None
    pruner: Annotated[
        Literal["asha", "median", "none"],
        Field(
            description="What becomes of trials that lag behind: they are paused, and go on if "
            "their place allows (asha); they are stopped if they are below the median (median); "
            "nothing (none)."
        ),
    ] = "asha"
    seed: Annotated[_Seed, Field(description="Decides weights, order, dropout and sampler.")] = 0
    split_seed: Annotated[_Seed, Field(description="Decides the three splits.")] = 0
    fixed: Annotated[
        Fixed, Field(description="Values that every trial shares; the centre of one_factor.")
    ] = Fixed()
    search: Annotated[Search, Field(description="Ranges and choices that are searched.")] = Field(
        default_factory=Search
    )
    baselines: Annotated[
        tuple[Start, ...],
        Field(
            description="Well-known configurations to compare with: tried before all others and "
            "trained to their end; other fields get their defaults. The report names them, and the "
            "best of them is trained again with the finalists."
        ),
    ] = ()
    start_with: Annotated[
        tuple[Start, ...],
        Field(description="Configurations tried first; other fields get their defaults."),
    ] = ()

    warm_start: Annotated[
        tuple[str, ...],
        Field(
            description="Names of earlier studies in the same store, of any data set. Their best "
            "configurations are tried after those of start_with, and the sampler learns from their "
            "results. What is taken is settled when the study begins."
        ),
    ] = ()
    constraints: Annotated[Constraints, Field(description="Limits on the network.")] = Constraints()
    stop: Annotated[Stop, Field(description="Conditions that end the study early.")] = Stop()
    finalists: Annotated[
        Finalists | None,
        Field(
            description="Train the best configurations again after the search, and score each run "
            "once on the test split, in the same command; {} for the defaults below. Promising "
            "trials that asha has paused are trained to their end first."
        ),
    ] = None
    keep_checkpoints: Annotated[
        str,
        AfterValidator(_check_keep_checkpoints),
        Field(
            description="Which weights are kept: those of each trial's best epoch (each), of all "
            "epochs (all), of the best trial (best) or of the K best trials (top:K)."
        ),
    ] = "each"
    rope: Annotated[
        float | None,
        Field(
            ge=0,
            allow_inf_nan=False,
            description="Region of practical equivalence: configurations whose objectives surely "
            "differ by less than this count as equal in practice. By default 0.01; for val_loss "
            "there is none.",
        ),
    ] = None
    reference: Annotated[
        tuple[Reference, ...], Field(description="Published figures to compare with ours.")
    ] = ()

    @model_validator(mode="before")
    @classmethod
    def _rank_by_first_objective(cls, raw: Any) -> Any:
        """Set the objective that ranks trials where it is given as the first of two alone."""
        if not isinstance(raw, Mapping) or raw.get("objective") is not None:
            return raw
        match raw.get("objectives"):
            case [str(first), *_] if first in OBJECTIVES:
                return {**raw, "objective": first}
        return raw

    @model_validator(mode="before")
    @classmethod
    def _repeat_once_a_redraw(cls, raw: Any) -> Any:
        """Set the repeats where a key of `REDRAW_KEYS` gives their number, as for finalists."""
        return _with_count(raw, "repeats")

    def redraw(self, repeat: int) -> Redraw | None:
        """Return the draw of train and validation of a repeat; None for the study's own.

        A random draw is numbered by the repeat's seed, so that fresh seeds have fresh draws.

        Args:
            repeat: counted from 0.
        """
        if self.folds is not None:
            return Redraw(repeat + 1, self.folds)
        if self.split_seeds is not None:
            return Redraw(self.seed + repeat)
        return None

    @staticmethod
    def from_identity(identity: Mapping[str, Any], **values: Any) -> StudySpec:
        """Make the specification of a stored study.

        Args:
            identity: what `identity` returned.
            **values: of keys that may change, such as ``trials``.
        """
        search: dict[str, Any] = {}
        for data in identity["search"].values():
            dimension = Dimension.from_dict(data)
            search[dimension.field] = (*search.get(dimension.field, ()), dimension)
        keys = {key: value for key, value in identity.items() if key != "search"}
        context = stored_keywords(families_of(identity))
        spec = StudySpec.model_validate({**keys, **values}, context=context)
        return spec.model_copy(update={"search": Search.model_construct(**search)})

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """All searched dimensions, in the order of `TrialConfig`'s fields, keywords behind them.

        The choices of a centred method's dimension begin with the centre.

        Raises:
            ValueError: if a centred method cannot take a dimension.
        """
        dimensions: list[Dimension] = []
        for name in [*config_fields(), *sorted(self.search.keywords)]:
            dimensions += getattr(self.search, name, ())
        if self.method in CENTRED_METHODS:
            dimensions = [self._centred(dimension) for dimension in dimensions]
        return tuple(dimensions)

    def _centred(self, dimension: Dimension) -> Dimension:
        """Return the dimension with its values as choices, the centre first.

        Raises:
            ValueError: for a condition, a range without an end of values, or a field that does not
                apply at the centre.
        """
        name = dimension.field
        if dimension.when:
            raise ValueError(f"{name}: {self.method} takes no conditions (when)")
        centre = configure(self.base, others=self.keywords).value(name)
        if centre is None:
            raise ValueError(
                f"{name} does not apply at the fixed values that {self.method} starts from"
            )
        choices = dict.fromkeys((centre, *dimension.grid()))  # without duplicates
        return Dimension(field=name, choices=tuple(choices), own=dimension.own)

    @property
    def families(self) -> tuple[str, ...]:
        """The families that trials can have."""
        searched: list[str] = []
        for dimension in getattr(self.search, "family", ()):
            searched += map(str, dimension.choices)
        fixed = self.base.get("family", config_fields()["family"].default)
        return tuple(dict.fromkeys(searched)) or (str(fixed),)

    @property
    def keywords(self) -> frozenset[str]:
        """The keywords of own networks that are fixed, searched or started with."""
        return frozenset(
            name
            for values in (self.fixed, self.search, *self.baselines, *self.start_with)
            for name in values.keywords
        )

    @property
    def maximize(self) -> bool:
        """Whether more of the objective is better."""
        return OBJECTIVES[self.objective].maximize

    @property
    def cost(self) -> str | None:
        """The second of two objectives, a name of `COSTS`; None for a study with one."""
        return self.objectives[1] if len(self.objectives) > 1 else None

    @property
    def limits(self) -> dict[str, float]:
        """The limits on a network's costs; of a latency that is measured for itself, infinity."""
        limits = self.constraints.limits
        if self.cost == "latency_ms":
            limits.setdefault("latency_ms", math.inf)
        return limits

    @property
    def most_epochs(self) -> int:
        """The most epochs of a trial."""
        searched = [self.epochs]
        for dimension in getattr(self.search, "epochs", ()):
            searched += [int(choice) for choice in dimension.choices or (dimension.high,)]
        return max(searched)

    @property
    def trains_all_whole(self) -> bool:
        """Whether every trial is trained to its end: nothing prunes it or ends the study before."""
        return self.pruner == "none" and self.stop == Stop() and self.budget is None

    @property
    def has_only_budget(self) -> bool:
        """Whether a budget alone says how many trials are drawn."""
        is_listed = self.method in PLANNED_METHODS
        return self.budget is not None and self.trials is None and not is_listed

    @property
    def base(self) -> dict[str, Value]:
        """The values shared by all trials."""
        top_level: dict[str, Value] = {name: getattr(self, name) for name in TOP_LEVEL_FIELDS}
        return top_level | self.fixed.model_dump(exclude_none=True)

    @property
    def given_baselines(self) -> tuple[dict[str, Value], ...]:
        """The configurations to compare with, as given."""
        return tuple(start.model_dump(exclude_none=True) for start in self.baselines)

    @property
    def starts(self) -> tuple[dict[str, Value], ...]:
        """The configurations tried first, after the baselines, as given."""
        return tuple(start.model_dump(exclude_none=True) for start in self.start_with)

    def document(self) -> dict[str, Any]:
        """Return what a file of this study contains, without values that are defaults."""
        document = self.model_dump(mode="json", exclude={"search"}, exclude_defaults=True)
        search: dict[str, list[dict[str, Any]]] = {}
        for name in type(self.search).model_fields:
            for dimension in getattr(self.search, name) or ():
                search.setdefault(name, []).append(dimension.document())
        return {**document, "search": search} if search else document

    def identity(self) -> dict[str, Any]:
        """Return everything that may not change when the study is resumed, as JSON data.

        The device may change.
        """
        may_change = {
            "description",
            "source",
            "trials",
            "budget",
            "stop",
            "finalists",
            "keep_checkpoints",
            "rope",
            "reference",
        }
        written_below = {"search", "fixed"}
        identity = self.model_dump(mode="json", exclude=may_change | written_below)
        for key in (*REDRAW_KEYS, "objectives", "warm_start"):
            if not identity[key]:  # as in version 0.1.0, which did not have the keys
                del identity[key]
        identity["baselines"] = [dict(start) for start in self.given_baselines]
        if not identity["baselines"]:  # version 0.1.0 did not have this key, either
            del identity["baselines"]
        identity["start_with"] = [dict(start) for start in self.starts]
        identity["fixed"] = self.fixed.model_dump(exclude_none=True, exclude={"device"})
        identity["search"] = {dimension.key: dimension.to_dict() for dimension in self.dimensions}
        return lasting_identity(identity)


def lasting_identity(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out fixed fields that do what an earlier version did, which lacked them.

    A study of finalists fixes all fields of its configurations.
    """
    return {**identity, "fixed": without_later_fields(identity["fixed"])}


def has_definition(spec: StudySpec, stored: Mapping[str, Any]) -> bool:
    """Whether a study in the store was made from this specification, and so goes on with it.

    Args:
        spec: the specification.
        stored: the identity in the store.
    """
    asked: object = json.loads(json.dumps(spec.identity()))
    return lasting_identity(stored) == asked


def describe_difference(stored: Mapping[str, Any], asked: Mapping[str, Any], path: str = "") -> str:
    """Describe how two identities of a study differ, key by key.

    Args:
        stored: the identity in the store.
        asked: the identity of the study file.
        path: the keys above, each followed by a dot.

    Returns:
        For instance ``epochs 10 (now 20), fixed.lr 0.1 (now 0.01)``.
    """
    differences = []
    for key in sorted({*stored, *asked}):
        old = stored.get(key)
        new = asked.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            inner_difference = describe_difference(old, new, f"{path}{key}.")
            if inner_difference:
                differences.append(inner_difference)
        elif json.dumps(old) != json.dumps(new):
            differences.append(f"{path}{key} {json.dumps(old)} (now {json.dumps(new)})")
    return ", ".join(differences)
