"""Which fields a study has varied on their own, and by which configurations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.analysis.naming import differing_fields
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import complete_trials
from sweeps.spec.study_spec import CENTRED_METHODS
from sweeps.trial import FAILED, Value


@dataclass(frozen=True, kw_only=True)
class VariedField:
    """A searched field, and the configurations along which it changes."""

    field: str
    entries: tuple[Ranked, ...]  # the field may not apply to some
    others: tuple[str, ...] = ()  # fields that change, too
    centre: Value | None = None  # the value at the centre, for methods that have one

    @property
    def in_order(self) -> list[Ranked]:
        """The configurations that the field applies to, by their first trials."""
        entries = [entry for entry in self.entries if value_of(entry, self.field) is not None]
        return sorted(entries, key=_first_number)

    @property
    def values(self) -> list[Value]:
        """The values: numbers by size, others in the order of the trials."""
        values: list[Any] = list(
            dict.fromkeys(value_of(entry, self.field) for entry in self.in_order)
        )
        if are_numbers(values):
            values.sort()
        return values


def varied_fields(record: StudyRecord) -> list[VariedField]:
    """Return the fields of a study that varied one factor at a time, one factor, or few in a grid.

    None for a study of another method, and if nothing varies.
    """
    entries = [entry for entry in record.ranked if complete_trials(entry) or entry.state == FAILED]
    fields = differing_fields(record.searched, [entry.trials[0] for entry in entries])
    if not fields:
        return []
    if record.method in CENTRED_METHODS:
        return [_around_centre(record, field, entries) for field in fields]
    if len(record.searched) == 1 or record.method == "zip":
        return [VariedField(field=_identifying_field(fields, entries), entries=tuple(entries))]
    if record.method == "grid":
        x_field = max(fields, key=lambda field: _fitness_as_x(field, entries))
        others = tuple(field for field in fields if field != x_field)
        return [VariedField(field=x_field, entries=tuple(entries), others=others)]
    return []


def value_of(entry: Ranked, field: str) -> Any:
    """A configuration's value of a field; None where the field does not apply."""
    return entry.trials[0].config.value(field)


def are_numbers(values: Iterable[Value | None]) -> bool:
    """Whether no value is a word or a truth."""
    return not any(isinstance(value, bool | str) for value in values)


def _around_centre(record: StudyRecord, field: str, entries: Sequence[Ranked]) -> VariedField:
    """A field with the configurations that differ from the centre in no other field."""
    along = [entry for entry in entries if record.at_centre(entry.trials[0].config, ignoring=field)]
    return VariedField(field=field, entries=tuple(along), centre=record.centre[field])


def _identifying_field(fields: Sequence[str], entries: Sequence[Ranked]) -> str:
    """The first field with a different value in each configuration, or else the first field."""
    for field in fields:
        values = {value_of(entry, field) for entry in entries}
        if len(values) == len(entries):
            return field
    return fields[0]


def _fitness_as_x(field: str, entries: Sequence[Ranked]) -> tuple[bool, int]:
    """How well a field serves as the x axis: numbers before words, many values before few."""
    values = {value_of(entry, field) for entry in entries} - {None}
    return are_numbers(values), len(values)


def _first_number(entry: Ranked) -> int:
    return min(trial.number for trial in entry.trials)
