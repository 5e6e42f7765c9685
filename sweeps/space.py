"""A study file (YAML) <-> a typed study: fixed values, searched ranges, conditions. Opens no store."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from sweeps.trial import Value, fields


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

    @property
    def key(self) -> str:
        """Its name in the Optuna study: one field may have another range under another condition."""
        condition = ", ".join(f"{k}={'|'.join(map(str, v))}" for k, v in self.when.items())
        return f"{self.field} [{condition}]" if condition else self.field

    @property
    def integer(self) -> bool:
        """Whether its values are whole numbers."""
        return fields()[self.field].type is int
