"""One searched range or list of choices, and how a study file writes it. Knows no study."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import models
from sweeps.trial import Value, config_fields, network_options

MAX_STEPS = 100_000
_KEYS = ("choices", "low", "high", "step", "log", "when")


def round_significant(value: float) -> float:
    """Round to 4 significant digits, so that tables read well and what they show can be typed again."""
    return float(f"{value:.4g}")


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One searched range or list of choices of a field of `TrialConfig`."""

    field: str
    choices: tuple[Value, ...] = ()
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    when: Mapping[str, tuple[Value, ...]] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Write it as JSON data that `from_dict` reads back equal."""
        when = {name: list(allowed) for name, allowed in self.when.items()}
        return {**vars(self), "choices": list(self.choices), "when": when}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Dimension:
        """Read back what `to_dict` gave."""
        when = {name: tuple(allowed) for name, allowed in data["when"].items()}
        return Dimension(**{**data, "choices": tuple(data["choices"]), "when": when})

    @property
    def key(self) -> str:
        """Its name in the Optuna study: one field may have another range under another condition."""
        condition = ", ".join(f"{k}={'|'.join(map(str, v))}" for k, v in self.when.items())
        if condition:
            return f"{self.field} [{condition}]"
        return self.field

    @property
    def integer(self) -> bool:
        """Whether its values are whole numbers."""
        return config_fields()[self.field].type is int

    @property
    def needs(self) -> frozenset[str]:
        """The fields that must be decided before it is known whether it applies."""
        family = {"family"} if self.field in network_options() else set()
        return frozenset({*self.when, *config_fields()[self.field].when, *family})

    def contains(self, value: Value | None) -> bool:
        """Whether the value can be searched here."""
        if self.choices or value is None or isinstance(value, str):
            return value in self.choices
        if self.step is not None:
            return value in self.grid()
        return self.low is not None and self.high is not None and self.low <= value <= self.high

    @property
    def first(self) -> Value:
        """Its first or lowest value."""
        if self.low is None:
            return self.choices[0]
        return self._typed(self.low)

    def _typed(self, value: float) -> Value:
        if self.integer:
            return int(value)
        return round_significant(value)

    def grid(self) -> tuple[Value, ...]:
        """Its values in order.

        Raises:
            ValueError: for a range without a step, which has no end of values.
        """
        if self.choices:
            return self.choices
        if self.low is None or self.high is None or (self.step is None and not self.integer):
            raise ValueError(
                f"{self.field} needs a list of values or a step to be laid out as a grid"
            )
        step = self.step or 1
        values = (self.low + step * i for i in range(int((self.high - self.low) / step + 1e-9) + 1))
        return tuple(self._typed(v) for v in values)

    def __str__(self) -> str:
        if self.choices:
            return ", ".join(map(str, self.choices))
        step = f", step {self.step:g}" if self.step else ""
        return f"{self.low:g} to {self.high:g}{step}{', log' if self.log else ''}"


def parse_dimensions(name: str, raw: object) -> tuple[Dimension, ...]:
    """Read one key of ``search``: choices, a range, or several of them under different conditions.

    Raises:
        ValueError: saying the rule and the value.
    """
    if isinstance(raw, list) and raw and all(isinstance(item, dict) for item in raw):
        return tuple(_dimension(name, item) for item in raw)
    if isinstance(raw, list):
        raw = {"choices": raw}
    if not isinstance(raw, dict):
        raise ValueError(  # noqa: TRY004
            f"{name} must be a list of values or a range {{low: ..., high: ...}}: got {raw!r}"
        )
    return (_dimension(name, raw),)


def _dimension(name: str, raw: Mapping[Any, Any]) -> Dimension:
    for key in raw:
        if key not in _KEYS:
            raise ValueError(
                f"{name} has an unknown key {key!r}; {models.did_you_mean(str(key), _KEYS)}"
            )
    when = raw.get("when", {})
    if not isinstance(when, dict):
        raise ValueError(f"{name}: when must be a mapping of fields to values: got {when!r}")  # noqa: TRY004
    conditions = {key: _allowed(key, values) for key, values in when.items()}
    if "choices" in raw:
        return Dimension(field=name, choices=_choices(name, raw), when=conditions)
    return _range(name, raw, conditions)


def _allowed(name: str, raw: object) -> tuple[Value, ...]:
    if name not in config_fields():
        raise ValueError(
            f"when names an unknown field {name!r}; {models.did_you_mean(name, list(config_fields()))}"
        )
    return tuple(
        config_fields()[name].parse(value) for value in (raw if isinstance(raw, list) else [raw])
    )


def _choices(name: str, raw: Mapping[str, Any]) -> tuple[Value, ...]:
    choices = raw["choices"]
    if not isinstance(choices, list) or not choices or raw.keys() - {"choices", "when"}:
        raise ValueError(
            f"{name}: choices must be a list of at least one value, without low or high: got {choices!r}"
        )
    return tuple(config_fields()[name].parse(value) for value in choices)


def _range(name: str, raw: Mapping[str, Any], when: Mapping[str, tuple[Value, ...]]) -> Dimension:
    field = config_fields()[name]
    step = raw.get("step")
    log = raw.get("log", False)
    if field.type not in (int, float):
        raise ValueError(f"{name} has no ranges: list its values")
    if not {"low", "high"} <= raw.keys():
        raise ValueError(f"{name} must have low and high, or choices: got {raw!r}")
    if not isinstance(log, bool):
        raise ValueError(f"{name}: log must be true or false: got {log!r}")  # noqa: TRY004
    if step is not None and (
        isinstance(step, bool) or not isinstance(step, int | float) or not step > 0 or log
    ):
        raise ValueError(f"{name}: step must be a number above 0, and not with log: got {step!r}")
    low, high = (float(field.parse(raw[key])) for key in ("low", "high"))
    if field.type is float:
        # as the values between them will be
        low = round_significant(low)
        high = round_significant(high)
    if low >= high:
        raise ValueError(f"{name}: low must be below high: got {low:g} and {high:g}")
    if log and low <= 0:
        raise ValueError(f"{name}: a log range must start above 0: got {low:g}")
    if step is not None:
        _check_step(name, low, high, step)
    return Dimension(field=name, low=low, high=high, step=step, log=log, when=when)


def _check_step(name: str, low: float, high: float, step: float) -> None:
    """Refuse steps that do not lead from low to high, or to values that rounding would change."""
    steps = (high - low) / step
    if not 1 - 1e-9 <= steps <= MAX_STEPS or abs(steps - round(steps)) > 1e-6:
        raise ValueError(
            f"{name}: step must lead from low to high: got {low:g} to {high:g} by {step:g}"
        )
    if config_fields()[name].type is int:
        if step % 1:
            raise ValueError(f"{name}: step must be a whole number: got {step!r}")
        return
    values = (low + step * i for i in range(round(steps) + 1))
    if any(abs(value - round_significant(value)) > 1e-6 * step for value in values):
        raise ValueError(
            f"{name}: step is finer than the 4 significant digits of a value: got {step!r}"
        )
