"""Writes a class or a function of a notebook, or of the running script, as a module of its own.

Other processes can import neither: a notebook is no file, and a script would begin its work anew.
The module has the definition as it was typed, and before it what it needs of the other cells or
lines: imports, further definitions, and values that are written as they are now.
"""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import linecache
import symtable
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARK = '"""Written by pipeline.sweep from a definition in '
_MAIN = "__main__"
_FUTURE = "from __future__ import annotations\n"
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_CONTAINERS = (list, tuple, set, frozenset, dict)
# What may be made again by the statement that made it: it holds no data.
_DESCRIPTIVE = (
    functools.partial,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.GenericAlias,
    types.UnionType,
    typing.TypeVar,
    type(typing.Optional[int]),  # noqa: UP045 - the type of such an alias
    type(typing.Any),
)

_Definition = ast.ClassDef | ast.FunctionDef
_Assignment = ast.Assign | ast.AnnAssign


class NotWritableError(ValueError):
    """A definition needs something that cannot be written down: the message says what."""


def module_text(value: Any) -> str:
    """Return the text of a module that defines a class or a function of ``__main__``.

    Raises:
        NotWritableError: if its source is not known, or it needs what no text can give.
    """
    return _Module(value).text()


class _Module:
    """A module in the making."""

    def __init__(self, value: Any) -> None:
        self._main = sys.modules[_MAIN]
        self._names = vars(self._main)
        self._texts = list(_texts(value))
        self._imports: dict[str, None] = {}
        self._parts: list[str] = []
        self._seen: set[str] = set()
        self._name = value.__name__
        self._define(value)

    def text(self) -> str:
        """The whole text."""
        place = Path(str(self._names.get("__file__") or "a notebook")).name
        future = _FUTURE if any(_FUTURE.strip() in text for text in self._texts) else ""
        head = f'{MARK}{place}."""\n\n{future}{"".join(sorted(self._imports))}'
        return "\n\n".join([head, *self._parts])

    def _define(self, value: Any) -> None:
        """Add a definition of the program, after all that it needs."""
        name = value.__name__
        if name in self._seen:
            return
        self._seen.add(name)
        if value.__qualname__ != name:
            raise NotWritableError(f"{value.__qualname__} is defined inside of another definition")
        text = self._definition(value)
        for needed in _global_names(text):
            self._need(needed)
        self._parts.append(text)

    def _definition(self, value: Any) -> str:
        """Return the source of a definition."""
        file = _file_of(value)
        texts = [_text_of(file)] if file else self._texts
        for text in texts:
            for statement in reversed(_statements(text)):
                if isinstance(statement, _Definition) and statement.name == value.__name__:
                    return _segment(text, statement)
        raise NotWritableError(f"the source of {value.__name__} is not known")

    def _need(self, name: str) -> None:
        """Add what a name of the program means."""
        if name in self._seen or name not in self._names:
            return
        value = self._names[name]
        if name.startswith("__") or value is getattr(builtins, name, _MAIN):
            if name == "__file__":
                raise NotWritableError(f"{self._name} uses __file__")
            return
        if self._add_import(name, value):
            self._seen.add(name)
        elif getattr(value, "__module__", None) == _MAIN and _is_definition(value):
            self._define(value)
            if value.__name__ != name:
                self._seen.add(name)
                self._parts.append(f"{name} = {value.__name__}")
        else:
            self._seen.add(name)
            self._parts.append(self._value(name, value))

    def _add_import(self, name: str, value: Any) -> bool:
        """Add the statements that import a name; tell whether there are any."""
        found = [
            line for text in self._texts for line in _imports_of(name, text) if _means(line, value)
        ]
        if not found:
            found = self._imported_by_value(name, value)
        self._imports.update(dict.fromkeys(found))
        return bool(found)

    def _imported_by_value(self, name: str, value: Any) -> list[str]:
        """Return the import of what a name means, however it got there; none if it has none."""
        if isinstance(value, types.ModuleType) and value is not self._main:
            alias = "" if value.__name__ == name else f" as {name}"
            return [f"import {value.__name__}{alias}\n"]
        module = sys.modules.get(getattr(value, "__module__", None) or _MAIN)
        original = getattr(value, "__name__", "")
        if module is self._main or getattr(module, original, _MAIN) is not value:
            return []
        return [f"from {value.__module__} import {original} as {name}\n"]

    def _value(self, name: str, value: Any) -> str:
        """Return the statement that gives a name its value."""
        if _is_plain(value):
            return f"{name} = {value!r}"
        for text in self._texts:
            for statement in reversed(_statements(text)):
                if not isinstance(statement, _Assignment) or not _assigns(statement, name):
                    continue
                if not _is_descriptive(value):
                    break
                segment = _segment(text, statement)
                for needed in _global_names(segment):
                    self._need(needed)
                return segment
        raise NotWritableError(
            f"{self._name} uses {name}, a value of type {type(value).__name__}, "
            "which is not written down"
        )


def _is_definition(value: Any) -> bool:
    is_function = isinstance(value, types.FunctionType) and value.__name__ != "<lambda>"
    return is_function or isinstance(value, type)


def _is_plain(value: Any) -> bool:
    """Whether a value is numbers and text alone, so that its text is a value of Python."""
    if isinstance(value, dict):
        return all(_is_plain(item) for pair in value.items() for item in pair)
    if isinstance(value, _CONTAINERS):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN) and "nan" not in repr(value) and "inf" not in repr(value)


def _is_descriptive(value: Any) -> bool:
    """Whether a value names classes, functions and plain values alone, and holds no data."""
    if isinstance(value, dict):
        return all(map(_is_descriptive, value.values()))
    if isinstance(value, _CONTAINERS):
        return all(map(_is_descriptive, value))
    is_member = getattr(type(value), "__module__", None) == _MAIN  # such as of an enumeration
    return isinstance(value, (type, *_DESCRIPTIVE)) or is_member or _is_plain(value)


# -- the source ------------------------------------------------------------------------------------


def _texts(value: Any) -> Iterator[str]:
    """Yield the text of the running script, or of the notebook's cells, the last first."""
    file = getattr(sys.modules[_MAIN], "__file__", None)
    if file:
        yield _text_of(file)
        return
    own = _file_of(value)
    for name in [own, *reversed(list(linecache.cache))]:
        if name and (name == own or not Path(name).is_file()):
            yield _text_of(name)


def _text_of(file: str) -> str:
    return "".join(linecache.getlines(file))


def _file_of(value: Any) -> str | None:
    """Return the file, or the name of the cell, that a definition's code is of; None if unknown."""
    members = [value]
    if isinstance(value, type):
        members = [inspect.unwrap(one) for one in vars(value).values() if inspect.isfunction(one)]
    for member in members:
        code = getattr(inspect.unwrap(member), "__code__", None)
        is_own = member.__qualname__.partition(".")[0] == value.__name__
        if code is not None and is_own and linecache.getlines(code.co_filename):
            return str(code.co_filename)
    return None


def _statements(text: str) -> list[ast.stmt]:
    """Return the statements of a text, also those within conditions; none of one that is none."""
    try:
        found = list(ast.parse(text).body)
    except (SyntaxError, ValueError):
        return []
    for statement in found:  # which grows
        if isinstance(statement, ast.If | ast.Try | ast.With):
            found += statement.body
            found += getattr(statement, "orelse", [])
    return found


def _segment(text: str, statement: ast.stmt) -> str:
    """Return the lines of a statement, its decorators included, at the left margin."""
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(one.lineno for one in decorators)])
    lines = text.splitlines()[first - 1 : statement.end_lineno]
    return inspect.cleandoc("\n" + "\n".join(lines))


def _assigns(statement: _Assignment, name: str) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def _global_names(text: str) -> Iterator[str]:
    """Yield the names that a statement needs of the module around it."""
    pending = [symtable.symtable(text, "definition", "exec")]
    for table in pending:  # which grows
        pending += table.get_children()
        is_module = table.get_type() == "module"
        for symbol in table.get_symbols():
            if symbol.is_global() or (is_module and symbol.is_referenced()):
                yield symbol.get_name()


def _imports_of(name: str, text: str) -> Iterator[str]:
    """Yield the statements of a text that import a name, each as a line."""
    for statement in _statements(text):
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        for alias in statement.names:
            bound = alias.asname or alias.name.partition(".")[0]
            if bound == name and not getattr(statement, "level", 0):
                yield f"{ast.unparse(_with_names(statement, alias))}\n"


def _with_names(statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.stmt:
    if isinstance(statement, ast.Import):
        return ast.Import([alias])
    return ast.ImportFrom(statement.module, [alias], 0)


def _means(line: str, value: Any) -> bool:
    """Whether an import statement gives a value, from a module that is imported already."""
    statement: Any = ast.parse(line).body[0]
    alias = statement.names[0]
    if isinstance(statement, ast.Import):
        name = alias.name if alias.asname else alias.name.partition(".")[0]
        return sys.modules.get(name) is value
    module = sys.modules.get(statement.module)
    found = getattr(module, alias.name, _MAIN)
    return found is value or sys.modules.get(f"{statement.module}.{alias.name}") is value
