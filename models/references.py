"""Names a class or a function of a running program, so that other processes find it."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from models import extracted, usercode

# Below the working folder: definitions of notebooks and of running scripts, each in a file.
FOLDER = "own_code"
_MAIN = "__main__"
_FILE_REMEDY = (
    "put it into a file of its own (in a notebook, begin its cell with %%writefile net.py) "
    "and give 'net.py:{name}'"
)


@dataclass(frozen=True)
class Reference:
    """The reference by which `usercode.load` finds a class or a function."""

    text: str  # ``FILE.py:name`` or ``module:name``
    # What the file must contain, for a definition that is in no file that can be imported.
    source: str | None = None


def reference_to(value: Any) -> Reference:
    """Return the reference to a class or a function.

    A file of the working folder is named by its path from there, so that the reference holds in a
    copy of the folder; a module that every Python process finds by its name, such as one of an
    installed package; any other file by its whole path.

    Raises:
        ValueError: in one line, if other processes cannot find it.
    """
    name = getattr(value, "__qualname__", None)
    if name is None:
        raise ValueError(_other_text(value))
    if "<" in name:
        raise ValueError(
            f"{name} is defined inside of a function: define it at the top of a file, so that "
            "other processes find it"
        )
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    if module is None or not _has(module, name):
        raise ValueError(f"{value!r} is not found in its module: {_FILE_REMEDY.format(name=name)}")
    file = getattr(module, "__file__", None)
    if module.__name__ == _MAIN and not (file and _is_guarded(Path(file))):
        return _reference_to_extracted(value)
    if file is None or not Path(file).is_file():
        return Reference(f"{module.__name__}:{name}")
    folder = usercode.working_folder().resolve()
    path = Path(file).resolve()
    if usercode.is_of_library(path):
        return Reference(f"{module.__name__}:{name}")
    if path.is_relative_to(folder):
        return Reference(f"{path.relative_to(folder).as_posix()}:{name}")
    if _is_found_by_name(module.__name__):
        return Reference(f"{module.__name__}:{name}")
    return Reference(f"{path}:{name}")


def _other_text(value: object) -> str:
    """Say what to give instead of something that is no class and no function."""
    if isinstance(value, functools.partial):
        given = ", ".join(f"{key!r}: {item!r}" for key, item in value.keywords.items())
        name = getattr(value.func, "__name__", "Net")
        return f"a partial cannot be named: give {name}, and its keywords as values: {given}"
    if hasattr(value, "parameters"):
        return f"{type(value).__name__} is a network that is made already: give its class"
    return f"a value of type {type(value).__name__} cannot be named: give a class or a function"


def _has(module: ModuleType, name: str) -> bool:
    """Whether a module has a definition of this name, perhaps in a later version of its file."""
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return getattr(found, "__qualname__", None) == name


def _reference_to_extracted(value: Any) -> Reference:
    name = value.__qualname__
    try:
        text = extracted.module_text(value)
    except extracted.NotWritableError as error:
        remedy = _FILE_REMEDY.format(name=name)
        raise ValueError(
            f"other processes cannot find {name}, which is in no file of its own, and {error}: "
            f"{remedy}"
        ) from None
    return Reference(f"{FOLDER}/{name}.py:{name}", text)


def _is_guarded(script: Path) -> bool:
    """Whether a script does its work below ``if __name__ == "__main__":``."""
    try:
        statements = ast.parse(script.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return False
    return any(
        isinstance(statement, ast.If)
        and "__name__" in ast.unparse(statement.test)
        and _MAIN in ast.unparse(statement.test)
        for statement in statements
    )


def _is_found_by_name(module: str) -> bool:
    """Whether a new process imports the same module by its name, as of an editable install.

    Python's own ``sys.path`` cannot tell: the program may have changed it.
    """
    top = module.partition(".")[0]
    known = getattr(sys.modules[top], "__file__", None)
    code = "import importlib.util as u, sys; s = u.find_spec(sys.argv[1]); print(s and s.origin)"
    command = [sys.executable, "-P", "-c", code, top]
    try:
        done = subprocess.run(  # noqa: S603 - a constant command, with the name of a module
            command, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    origin = done.stdout.strip()
    return bool(known and origin) and Path(origin).resolve() == Path(str(known)).resolve()
