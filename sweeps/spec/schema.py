"""The format of study files as JSON schema and as Markdown, both derived from the types. Reads no study."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import models
from sweeps.spec.reference import Reference
from sweeps.spec.study_spec import TOP_LEVEL_FIELDS, Constraints, Stop, StudySpec
from sweeps.trial import ConfigField, config_fields

_INTRODUCTION = """\
# Study files

Generated from the types by `pipeline studies --reference`; a test compares. `pipeline studies --schema` prints the same
as JSON schema ([study.schema.json](study.schema.json)): editors with a YAML language server complete and check a study
file that begins with

```yaml
# yaml-language-server: $schema=study.schema.json
```

A study file is YAML 1.2: `1e-5` is a number, `no` is a word, a key given twice is an error, and there are no aliases or
tags. Every error is named at once with its line, before anything is opened or made.
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
reference:
  - when: {family: cnn}
    test_acc: 0.9912
```
"""

_SEARCH = """\
## What can be fixed and searched

`fixed`, `search` and the entries of `start_with` take these fields; `reference` names them in `when`. In `search` each
is a list of values, a range `{low: ..., high: ...}` with `log: true` or `step: ...` where wanted, or a list of several
of these under different conditions. `when: {field: value or list of values}` makes one apply only to such trials. A
field that does not apply to a trial (a CNN's layer order in an MLP) is left out of it. Searched numbers are rounded to
four significant digits. `method: zip`, `one_factor` and `ablate` take no conditions and need lists or steps.

The same configuration is never trained twice in a study: a second draw of it is recorded as a duplicate with the first
one's result.
"""


def json_schema() -> dict[str, Any]:
    """The JSON schema of a study file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **StudySpec.model_json_schema(),
    }


def markdown() -> str:
    """The reference of study files, as a page of GitHub's Markdown."""
    parts = [_INTRODUCTION, _EXAMPLE, "## Keys\n", _keys(StudySpec)]
    for title, model in (("constraints", Constraints), ("stop", Stop), ("reference", Reference)):
        parts += [f"## {title}\n", f"{model.__doc__}\n", _keys(model)]
    parts += [
        _SEARCH,
        _table(("field", "values", "default", "meaning"), map(_field, _searchable())),
    ]
    return "\n".join(parts)


def _keys(model: Any) -> str:
    schema = model.model_json_schema()
    lines = []
    for name, facts in schema["properties"].items():
        default = facts.get("default")
        if isinstance(default, str | int | float) and default != "":
            shown = f"`{default}`"
        else:
            shown = ""
        lines.append((f"`{name}`", _type(facts), shown, facts.get("description", "")))
    return _table(("key", "type", "default", "meaning"), lines)


def _type(facts: dict[str, Any]) -> str:
    """A schema's type in words."""
    kinds = [kind for kind in facts.get("anyOf", [facts]) if kind.get("type") != "null"]
    if any("enum" in kind for kind in kinds):
        return ", ".join(f"`{value}`" for kind in kinds for value in kind["enum"])
    names = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "array": "list",
        "object": "mapping",
    }
    return " or ".join(
        dict.fromkeys(
            names.get(kind.get("type", "object"), "mapping") + _bounds(kind) for kind in kinds
        )
    )


def _bounds(kind: dict[str, Any]) -> str:
    low = kind.get("minimum")
    high = kind.get("maximum")
    if low is None:
        if kind.get("exclusiveMinimum") == 0:
            return " above 0"
        return ""
    if high is None:
        return f", at least {_number(low)}"
    return f", {_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}"


def _searchable() -> Iterator[ConfigField]:
    return (
        field
        for name, field in config_fields().items()
        if name not in TOP_LEVEL_FIELDS or name == "epochs"
    )


def _field(field: ConfigField) -> tuple[str, str, str, str]:
    low = field.low
    high = field.high
    kinds = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text"}
    values = ", ".join(f"`{choice}`" for choice in field.choices) or kinds[field.type]
    if low is not None and high is not None:
        values += f", {_number(low)} to {_number(high)}"
    needs = "; ".join(
        f"{name} {' or '.join(str(v) for v in of if v is not None)}"
        for name, of in field.when.items()
    )
    families = [name for name, family in models.FAMILIES.items() if field.name in family.options]
    default = "" if field.default is None else f"`{_word(field.default)}`"
    if families:
        of_each = {name: _word(models.FAMILIES[name].options[field.name]) for name in families}
        alike = len(set(of_each.values())) == 1
        if alike:
            default = f"`{of_each[families[0]]}` of {', '.join(families)}"
        else:
            default = ", ".join(f"{name} `{value}`" for name, value in of_each.items())
    return (
        f"`{field.name}`",
        values,
        default,
        field.help + (f" Only with {needs}." if needs else ""),
    )


def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _table(names: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    rows = [names, tuple("---" for _ in names), *lines]
    return (
        "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows
        )
        + "\n"
    )
