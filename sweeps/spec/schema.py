"""The format of study files as JSON schema and as Markdown, both derived from the types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import models
from sweeps.spec.reference import Reference
from sweeps.spec.study_spec import UNFIXED_FIELDS, Constraints, Finalists, Stop, StudySpec
from sweeps.trial import SMALLEST_SHARE, ConfigField, config_fields

if TYPE_CHECKING:
    from pydantic import BaseModel

_INTRODUCTION = """\
# Study files

This page is the output of `pipeline studies --reference`, which derives it from the types of the
code; a test compares the two. `pipeline studies --schema` prints the same as JSON schema
([study.schema.json](study.schema.json)). Editors with a YAML language server use it to complete and
check a study file that begins with

```yaml
# yaml-language-server: $schema=study.schema.json
```

A study file is YAML 1.2: `1e-5` is a number, `no` is a word, a repeated key is an error, and there
are no aliases or tags. A command lists all errors at once, with their lines, before it opens or
creates anything.
"""

_EXAMPLE = """\
```yaml
description: One line shown in lists.
dataset: mnist
method: tpe
objective: val_acc
trials: 24
epochs: 10
repeats: 1
pruner: asha
fixed: {optimizer: adam}
search:
  family: [mlp, cnn, resnet]
  lr: {low: 1.0e-4, high: 1.0e-1, log: true}
  dropout: {low: 0.0, high: 0.5}
  depth: {low: 1, high: 3}
  momentum: {low: 0.0, high: 0.99, when: {optimizer: sgd}}
  width:
    - {choices: [128, 256], when: {family: mlp}}
    - {choices: [16, 32], when: {family: [cnn, resnet]}}
start_with:
  - {family: cnn, lr: 1.0e-3}
constraints: {parameters: 1.0e+6}
stop: {target: 0.995, no_gain: 20}
finalists: {top: 3, seeds: 3}
reference:
  - when: {family: cnn}
    test_acc: 0.9912
```
"""

_SEARCH = """\
## What can be fixed and searched

`fixed`, `search` and the entries of `baselines` and `start_with` take these fields, and so does
`when` of a `reference`. In `search`, a field takes a list of values, or a range
`{low: ..., high: ...}` with `log: true` or `step: ...` if wanted, or a list of several of these
with different conditions. With `when: {field: value or list of values}`, an entry applies only to
trials with these values. A field
that does not apply to a trial (a CNN's layer order in an MLP) is left out of the trial. Searched
numbers are rounded to four significant digits. `method: zip`, `one_factor` and `ablate` take no
conditions and need lists or steps.

A configuration is trained only once in a study: if the sampler draws it again, the second trial is
recorded as a duplicate with the result of the first.
"""


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a study file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **StudySpec.model_json_schema(),
    }


def markdown() -> str:
    """Return the reference of study files, as a page of GitHub's Markdown."""
    parts = [_INTRODUCTION, _EXAMPLE, "## Keys\n", _key_table(StudySpec)]
    models_of_keys: dict[str, type[BaseModel]] = {
        "constraints": Constraints,
        "stop": Stop,
        "finalists": Finalists,
        "reference": Reference,
    }
    for title, model in models_of_keys.items():
        parts += [f"## {title}\n", f"{model.__doc__}\n", _key_table(model)]
    rows = [_field_row(field) for field in _searchable_fields()]
    parts += [_SEARCH, _table(("field", "values", "default", "meaning"), rows)]
    return "\n".join(parts)


def _key_table(model: type[BaseModel]) -> str:
    """The table of a model's keys."""
    rows = []
    for name, key_schema in model.model_json_schema()["properties"].items():
        default = key_schema.get("default")
        default_words = ""
        if isinstance(default, str | int | float) and default != "":
            default_words = f"`{default}`"
        description = key_schema.get("description", "")
        rows.append((f"`{name}`", _type_words(key_schema), default_words, description))
    return _table(("key", "type", "default", "meaning"), rows)


_TYPE_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "array": "list",
    "object": "mapping",
}


def _type_words(schema: dict[str, Any]) -> str:
    """The type of a JSON schema in words."""
    alternatives = [
        alternative
        for alternative in schema.get("anyOf", [schema])
        if alternative.get("type") != "null"
    ]
    words = []
    if any("enum" in alternative for alternative in alternatives):
        for alternative in alternatives:
            words += [f"`{value}`" for value in alternative["enum"]]
        return ", ".join(words)
    for alternative in alternatives:
        json_type = alternative.get("type", "object")
        words.append(_TYPE_WORDS.get(json_type, "mapping") + _bound_words(alternative))
    return " or ".join(dict.fromkeys(words))


def _bound_words(schema: dict[str, Any]) -> str:
    """The bounds of a JSON schema in words, with a leading separator."""
    low = schema.get("minimum")
    high = schema.get("maximum")
    if schema.get("exclusiveMinimum") == 0:
        return " above 0"
    if low is None:
        return ""
    if high is None:
        return f", at least {_number(low)}"
    return f", {_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _searchable_fields() -> Iterator[ConfigField]:
    for name, field in config_fields().items():
        if name not in UNFIXED_FIELDS or name == "epochs":
            yield field


def _field_row(field: ConfigField) -> tuple[str, str, str, str]:
    """The table row of a field: its name, values, default and meaning."""
    meaning = field.help
    if field.when:
        meaning += f" Only with {_condition_words(field.when)}."
    if field.unless:
        meaning += f" Not with {_condition_words(field.unless)}."
    return (f"`{field.name}`", _value_words(field), _default_words(field), meaning)


def _value_words(field: ConfigField) -> str:
    kinds = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text"}
    words = ", ".join(f"`{choice}`" for choice in field.choices) or kinds[field.type]
    if field.boolean:
        words = f"{kinds[bool]}, {words}"
    if field.low is not None and field.high is not None:
        words += f", {_number(field.low)} to {_number(field.high)}"
    if field.has_shares:
        words += f", or a share of one from {SMALLEST_SHARE}"
    return words


def _condition_words(values: Mapping[str, tuple[object, ...]]) -> str:
    conditions = []
    for name, allowed in values.items():
        words = " or ".join(str(value) for value in allowed if value is not None)
        conditions.append(f"{name} {words}")
    return "; ".join(conditions)


def _default_words(field: ConfigField) -> str:
    """The default of a field; for a network's option, the defaults of the families."""
    family_defaults = {
        name: _word(family.options[field.name])
        for name, family in models.FAMILIES.items()
        if field.name in family.options
    }
    if not family_defaults:
        return "" if field.default is None else f"`{_word(field.default)}`"
    distinct = set(family_defaults.values())
    if len(distinct) == 1:
        return f"`{distinct.pop()}` of {', '.join(family_defaults)}"
    return ", ".join(f"{name} `{default}`" for name, default in family_defaults.items())


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    rule = tuple("---" for _ in header)
    lines = []
    for row in (header, rule, *rows):
        cells = [cell.replace("|", "\\|") for cell in row]
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)
