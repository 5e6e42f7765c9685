"""Reads YAML as its users mean it: 1e-5 is a number, no is a word, and every key has a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]
MAX_DEPTH = 20
MAX_DIGITS = 300  # of a whole number: what a float can still hold


class YamlError(ValueError):
    """The text is no plain YAML document."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Document:
    """A mapping as plain Python values, and the line (from 1) of each of its keys and items."""

    data: dict[str, Any]
    lines: dict[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """Return the line of the longest part of a path in the text; missing parts are skipped."""
        present: KeyPath = ()
        for part in path:
            if (*present, part) in self.lines:
                present = (*present, part)
        return self.lines[present]


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars, no aliases (they can recurse and explode), no tags, bounded depth."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise YamlError("aliases (*name) are not allowed: write the value out", self._line())
        tag = self.peek_event().tag  # type: ignore[no-untyped-call]
        if tag is not None:
            raise YamlError(f"tags ({tag}) are not allowed: write the value alone", self._line())
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise YamlError(f"nested deeper than {MAX_DEPTH} levels", self._line())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _line(self) -> int:
        return int(self.peek_event().start_mark.line) + 1  # type: ignore[no-untyped-call]


for tag, pattern, first_characters in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.?[0-9]*)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), list(first_characters)
    )


def _construct_int(_: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    if len(node.value) > MAX_DIGITS:
        raise YamlError(
            f"a number of {len(node.value)} digits is too long", node.start_mark.line + 1
        )
    return int(node.value)


def _construct_float(_: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    text = node.value.lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


def read(text: str) -> Document:
    """Read one YAML mapping.

    Raises:
        YamlError: for text that is no YAML mapping, for an alias or a tag, and for a key that is
            given twice or is no text.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise YamlError("must be a mapping of keys to values", 1)
        lines = dict(_lines(node, ()))
        data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise YamlError(str(error.problem or error.context), line) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"the character {chr(error.character)!r} is not allowed", line) from None
    return Document(data, lines)


def _lines(node: yaml.Node, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    """Yield the paths and lines of a node and of everything below.

    Raises:
        YamlError: for a key that is given twice or is no text.
    """
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _lines(item, (*path, index))
    if isinstance(node, yaml.MappingNode):
        key_lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag != "tag:yaml.org,2002:str":
                actual = f": got {key.value}" if key.id == "scalar" else ""
                raise YamlError(f"a key must be a word{actual}", line)
            if key.value in key_lines:
                first_line = key_lines[key.value]
                raise YamlError(f"{key.value!r} is given twice, first on line {first_line}", line)
            key_lines[key.value] = line
            yield from _lines(value, (*path, key.value))
            yield (*path, key.value), line  # the line of the key replaces that of its value


def parse_word(text: object) -> Any:
    """Read a word or a list of a command line as a YAML value; return anything else unchanged."""
    if not isinstance(text, str) or not re.fullmatch(r"[\w.+-]+|\[.*\]", text):
        return text
    try:
        return read(f"value: {text}").data["value"]
    except YamlError:
        return text
