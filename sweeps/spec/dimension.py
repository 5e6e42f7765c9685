"""A searched range or list of choices, and the syntax of both in a study file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.suggestions import did_you_mean
from sweeps.spec.keywords import NO_KEYWORDS, Keywords
from sweeps.trial import ConfigField, Value, config_fields, is_network_option

MAX_STEPS = 100_000
_KEYS = ("choices", "low", "high", "step", "log", "when")


def round_significant(value: float) -> float:
    """Round to 4 significant digits: tables read well, and a shown value can be typed again."""
    return float(f"{value:.4g}")


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """A searched range or list of choices: of a field of `TrialConfig`, or of a network's keyword.

    The values are whole numbers in a range of a keyword if low and high are of the type int.
    """

    field: str
    choices: tuple[Value, ...] = ()
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    when: Mapping[str, tuple[Value, ...]] = dataclasses.field(default_factory=dict)
    own: bool = False  # whether it is of a keyword that only networks of the user's own have

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data that `from_dict` reads back as an equal dimension."""
        data = dict(vars(self))
        data["choices"] = list(self.choices)
        data["when"] = {name: list(allowed) for name, allowed in self.when.items()}
        if not self.own:  # as in version 0.1.0, which did not have it
            del data["own"]
        return data

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Dimension:
        """Read the data of `to_dict`."""
        values = dict(data)
        values["choices"] = tuple(data["choices"])
        values["when"] = {name: tuple(allowed) for name, allowed in data["when"].items()}
        return Dimension(**values)

    def document(self) -> dict[str, Any]:
        """Return the mapping that a study file has for the dimension."""
        document: dict[str, Any] = {"choices": list(self.choices)}
        if not self.choices:
            document = {"low": self.low, "high": self.high}
            if self.step is not None:
                document["step"] = self.step
            if self.log:
                document["log"] = True
        if self.when:
            document["when"] = {name: list(allowed) for name, allowed in self.when.items()}
        return document

    @property
    def key(self) -> str:
        """The dimension's name in the Optuna study.

        It includes the condition, because a field may have another range under another condition.
        """
        conditions = [
            f"{name}={'|'.join(map(str, allowed))}" for name, allowed in self.when.items()
        ]
        if not conditions:
            return self.field
        return f"{self.field} [{', '.join(conditions)}]"

    @property
    def integer(self) -> bool:
        """Whether the values are whole numbers."""
        if self.own:
            return isinstance(self.low, int) and isinstance(self.high, int)
        return config_fields()[self.field].type is int

    @property
    def declared(self) -> ConfigField | None:
        """The field's declaration; None for a keyword, which the network declares."""
        return None if self.own else config_fields()[self.field]

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value that could be searched."""
        return (-math.inf, math.inf) if self.declared is None else self.declared.bounds

    @property
    def needs(self) -> frozenset[str]:
        """The fields that decide whether the dimension applies."""
        conditions = set(self.when)
        if self.declared is not None:
            conditions.update(self.declared.when)
            conditions.update(self.declared.unless)
        if is_network_option(self.field):
            conditions.add("family")
        return frozenset(conditions)

    def may_apply(self, family: str, *, takes: bool, constant: Mapping[str, Value | None]) -> bool:
        """Whether the dimension can apply to networks of a family.

        Args:
            family: of the networks.
            takes: whether they take the field, if it is an option of networks.
            constant: the values that all trials share, as far as they are known.
        """
        if not takes and is_network_option(self.field):
            return False
        known = {**constant, "family": family}
        required: list[Mapping[str, tuple[Value | None, ...]]] = [self.when]
        excluded: Mapping[str, tuple[Value | None, ...]] = {}
        if self.declared is not None:
            required.append(self.declared.when)
            excluded = self.declared.unless
        if any(known[name] in refused for name, refused in excluded.items() if name in known):
            return False
        return all(
            known[name] in allowed
            for conditions in required
            for name, allowed in conditions.items()
            if name in known
        )

    def contains(self, value: Value | None) -> bool:
        """Whether a value is among the searched values."""
        if self.choices or value is None or isinstance(value, str):
            return value in self.choices
        if self.step is not None:
            return value in self.grid()
        return self.low is not None and self.high is not None and self.low <= value <= self.high

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers, which have an order."""
        return not any(isinstance(choice, bool | str) for choice in self.choices)

    def nearest(self, value: float) -> Value:
        """Return the searched number that is nearest to another number."""
        if self.choices or self.step is not None:
            return min(self.grid(), key=lambda known: abs(float(known) - value))
        return self._typed(min(max(value, self.low or 0), self.high or 0))

    def unit(self, value: Value) -> float:
        """Return the place of a searched number: 0 for the first or lowest, 1 for the last."""
        number = float(value)
        if self.choices:
            ordered = sorted({float(choice) for choice in self.choices})
            return ordered.index(number) / max(1, len(ordered) - 1)
        low = self.low or 0
        high = self.high or 0
        if self.log:
            low, high, number = math.log(low), math.log(high), math.log(number)
        return (number - low) / (high - low)

    @property
    def first(self) -> Value:
        """The first choice, or the lowest value."""
        if self.low is None:
            return self.choices[0]
        return self._typed(self.low)

    def _typed(self, value: float) -> Value:
        """Return a value of the range in the field's type."""
        if self.integer:
            return int(value)
        return round_significant(value)

    def grid(self) -> tuple[Value, ...]:
        """Return all values in order.

        Raises:
            ValueError: for a range of numbers without a step, which has no end of values.
        """
        if self.choices:
            return self.choices
        if self.low is None or self.high is None or (self.step is None and not self.integer):
            raise ValueError(
                f"{self.field} needs a list of values or a step to be laid out as a grid"
            )
        step = self.step or 1
        steps = int((self.high - self.low) / step + 1e-9)
        return tuple(self._typed(self.low + step * index) for index in range(steps + 1))

    def __str__(self) -> str:
        if self.choices:
            return ", ".join(map(str, self.choices))
        step = f", step {self.step:g}" if self.step else ""
        log = ", log" if self.log else ""
        return f"{self.low:g} to {self.high:g}{step}{log}"


def parse_dimensions(
    name: str, raw: object, keywords: Keywords = NO_KEYWORDS
) -> tuple[Dimension, ...]:
    """Read the value of one key of ``search``.

    Args:
        name: the key, a field of `TrialConfig` or one of the keywords.
        raw: a list of choices, a mapping (of choices or of a range), or a list of mappings with
            different conditions.
        keywords: of the study's own networks.

    Raises:
        ValueError: with the rule and the value.
    """
    if isinstance(raw, list) and raw and all(isinstance(item, dict) for item in raw):
        return tuple(_parse_dimension(name, item, keywords) for item in raw)
    if isinstance(raw, list):
        raw = {"choices": raw}
    if not isinstance(raw, dict):
        raise ValueError(  # noqa: TRY004
            f"{name} must be a list of values or a range {{low: ..., high: ...}}: got {raw!r}"
        )
    return (_parse_dimension(name, raw, keywords),)


def _parse_dimension(name: str, raw: Mapping[Any, Any], keywords: Keywords) -> Dimension:
    for key in raw:
        if key not in _KEYS:
            raise ValueError(f"{name} has an unknown key {key!r}; {did_you_mean(str(key), _KEYS)}")
    when = raw.get("when", {})
    if not isinstance(when, dict):
        raise ValueError(  # noqa: TRY004
            f"{name}: when must be a mapping of fields to values: got {when!r}"
        )
    conditions = {field: _parse_allowed(field, values, keywords) for field, values in when.items()}
    if "choices" in raw:
        choices = _parse_choices(name, raw, keywords)
        return Dimension(field=name, choices=choices, when=conditions, own=keywords.declare(name))
    return _parse_range(name, raw, conditions, keywords)


def _parse_allowed(name: str, raw: object, keywords: Keywords) -> tuple[Value, ...]:
    """Read the values of a condition: a value, or a list of values."""
    values = raw if isinstance(raw, list) else [raw]
    return tuple(keywords.parse_condition(name, value) for value in values)


def _parse_choices(name: str, raw: Mapping[str, Any], keywords: Keywords) -> tuple[Value, ...]:
    choices = raw["choices"]
    if not isinstance(choices, list) or not choices or raw.keys() - {"choices", "when"}:
        raise ValueError(
            f"{name}: choices must be a list of at least one value, without low or high: "
            f"got {choices!r}"
        )
    return tuple(keywords.parse(name, value) for value in choices)


def _parse_range(
    name: str, raw: Mapping[str, Any], when: Mapping[str, tuple[Value, ...]], keywords: Keywords
) -> Dimension:
    own = keywords.declare(name)
    if not own and config_fields()[name].type not in (int, float):
        raise ValueError(f"{name} has no ranges: list its values")
    if "low" not in raw or "high" not in raw:
        raise ValueError(f"{name} must have low and high, or choices: got {raw!r}")
    log = raw.get("log", False)
    if not isinstance(log, bool):
        raise ValueError(f"{name}: log must be true or false: got {log!r}")  # noqa: TRY004
    step = raw.get("step")
    if step is not None and (log or not _is_positive_number(step)):
        raise ValueError(f"{name}: step must be a number above 0, and not with log: got {step!r}")
    low, high = _parse_ends(name, raw, keywords)
    if low >= high:
        raise ValueError(f"{name}: low must be below high: got {low:g} and {high:g}")
    if log and low <= 0:
        raise ValueError(f"{name}: a log range must start above 0: got {low:g}")
    dimension = Dimension(field=name, low=low, high=high, step=step, log=log, when=when, own=own)
    if step is not None:
        _check_step(dimension, low, high, step)
    return dimension


def _parse_ends(name: str, raw: Mapping[str, Any], keywords: Keywords) -> tuple[float, float]:
    """Read the ends of a range. Those of whole numbers are of the type int for a keyword alone."""
    ends = [keywords.parse(name, raw[key]) for key in ("low", "high")]
    if any(isinstance(end, bool | str) for end in ends):
        raise ValueError(f"{name} has no ranges: list its values")
    low, high = (float(end) for end in ends)
    if keywords.declare(name):
        step = raw.get("step", 1)
        is_whole = all(isinstance(end, int) for end in (*ends, step))
        if is_whole and not keywords.is_float(name):
            return int(low), int(high)
    elif config_fields()[name].type is not float:
        return low, high
    return round_significant(low), round_significant(high)  # as the values between them will be


def _is_positive_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _check_step(dimension: Dimension, low: float, high: float, step: float) -> None:
    """Raise ValueError if the steps miss `high`, or if rounding would change a value."""
    name = dimension.field
    steps = (high - low) / step
    if not 1 - 1e-9 <= steps <= MAX_STEPS or abs(steps - round(steps)) > 1e-6:
        raise ValueError(
            f"{name}: step must lead from low to high: got {low:g} to {high:g} by {step:g}"
        )
    if dimension.integer:
        if step % 1:
            raise ValueError(f"{name}: step must be a whole number: got {step!r}")
        return
    values = (low + step * index for index in range(round(steps) + 1))
    if any(abs(value - round_significant(value)) > 1e-6 * step for value in values):
        raise ValueError(
            f"{name}: step is finer than the 4 significant digits of a value: got {step!r}"
        )
