"""Loads a class or a function of the user's own: from a file, or from a module.

``FILE.py:name`` is a file; ``package.module:name`` is a module of the working folder, else one that
Python finds. Code of the working folder is loaded under a name of its own, which no other module
has: a folder of the user's that is called ``models`` as one of ours, or ``random.py`` as one of
Python's, is met by the user's imports alone.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

# The packages of this project: a module of the user's that is called so can only be named by file.
_OURS = ("models", "sweeps", "pipeline")
_SUFFIX = ".py"
_FIELDS = ("family", "dataset", "augment")  # which may name code
_PREFIX = "user_code_"  # of the names under which modules of the user's are loaded
_MOST_FILES = 200  # of a source
_MOST_BYTES = 2_000_000  # of all files of a source together
_DIGITS = 12  # of a digest
_LIBRARY_FOLDERS = {"site-packages", "dist-packages"}


class LoadError(ValueError):
    """Code of the user's cannot be loaded: it is not there, or it raises."""


@dataclass(frozen=True)
class Source:
    """Where code of the user's comes from, and what it was when it was loaded."""

    place: str  # the file, or the installed package with its version
    # Of the content of the files; of an installed package its name and version.
    digest: str
    # The file, those of its folder that it imports and the ``__init__.py`` of their packages, by
    # their path relative to the folder; of an installed package none.
    files: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Loaded:
    """An object of the user's, and its source."""

    value: Any
    source: Source


@dataclass(frozen=True)
class _Place:
    """The module that a reference names, in the folders in which its imports are looked up."""

    module: str  # its dotted name in these folders
    file: Path
    folders: tuple[Path, ...]


def is_reference(text: str) -> bool:
    """Whether a text has the form ``FILE.py:name`` or ``module:name``."""
    place, colon, name = text.rpartition(":")
    return bool(colon and place and name)


def look_in(folder: str) -> None:
    """Set the folder to which relative names of files refer, for a worker in another folder."""
    _WORKING_FOLDER[:] = [Path(folder)]


def working_folder() -> Path:
    """Return the folder to which relative names of files refer."""
    return _WORKING_FOLDER[0] if _WORKING_FOLDER else Path.cwd()


_WORKING_FOLDER: list[Path] = []  # at most one


def load(reference: str) -> Loaded:
    """Load an object. A process loads a module once, as a statement ``import`` does.

    Args:
        reference: ``FILE.py:name`` or ``module:name``.

    Raises:
        ValueError: in one line, if the reference has no such form.
        LoadError: in one line, if there is no such object, or its module raises.
    """
    return _load(reference, working_folder())


def forget() -> None:
    """Forget all code of the user's, so that it is read as it is now when it is next asked for.

    For the beginning of a command, in a process that has run others: a notebook, for instance.
    """
    _load.cache_clear()
    loaded = [name for name in sys.modules if name.startswith(_PREFIX)]
    for name in loaded:
        if not _is_namespace(name):  # in which functions that are still in use look
            del sys.modules[name]


def is_loading() -> bool:
    """Whether code of the user's is being imported: what it calls now, every import calls again."""
    return bool(_LOADING)


_LOADING: list[str] = []  # the references that are being loaded, each by the one before


def _file_of(reference: str) -> Path | None:
    """Return the absolute path of the file that a reference names; None if it names a module."""
    path = _named_file(reference.rpartition(":")[0])
    return None if path is None else (working_folder() / path).resolve()


def files_outside(values: Mapping[str, object]) -> dict[str, Path]:
    """Return the files of code outside the working folder that a configuration names.

    Args:
        values: by field of `sweeps.trial.TrialConfig`.

    Returns:
        Their absolute paths, by the references. Of folders, tables and modules there are none.
    """
    folder = working_folder().resolve()
    named = [str(values[field]) for field in _FIELDS if values.get(field) is not None]
    files = {reference: _file_of(reference) for reference in filter(is_reference, named)}
    return {
        reference: file
        for reference, file in files.items()
        if file is not None and file.suffix == _SUFFIX and not file.is_relative_to(folder)
    }


def folder_of_copy(reference: str, names: Sequence[str]) -> Path | None:
    """Return the folder that a copy of a source has to be in, to be loaded by a reference.

    Args:
        reference: ``FILE.py:name`` or ``module:name``.
        names: of the files of the source, as in `Source.files`.

    Returns:
        The folder, which may not be there; None if no file is the one that the reference names.
    """
    path = _named_file(reference.rpartition(":")[0])
    if path is None:
        return working_folder()
    file = working_folder() / path
    depths = [name.count("/") + 1 for name in names if f"/{file.as_posix()}".endswith(f"/{name}")]
    return file.parents[max(depths) - 1] if depths else None


@cache
def _load(reference: str, folder: Path) -> Loaded:
    text, _, name = reference.rpartition(":")
    if not text or not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"must be FILE.py:NAME or MODULE:NAME: got {reference[:200]!r}")
    place = _place(reference, text, folder)
    _LOADING.append(reference)
    try:
        module = _imported(text, place) or (
            _import_place(place) if place else importlib.import_module(text)
        )
        value: Any = module
        for part in name.split("."):
            value = getattr(value, part)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module of the user's can raise anything
        raise LoadError(f"cannot load {reference!r}: {_reason(error, place)}") from error
    finally:
        _LOADING.pop()
    if place is not None:
        return Loaded(value, _read_source(place))
    return Loaded(value, _source_of_module(module))


def _imported(text: str, place: _Place | None) -> ModuleType | None:
    """Return a module that the program itself has imported from the place; None if it has not.

    Its classes are then those that the program knows.
    """
    module = sys.modules.get(text)
    file = getattr(module, "__file__", None)
    if place is None or file is None or not Path(file).is_absolute():
        return None
    return module if Path(file).resolve() == place.file else None


def _named_file(text: str) -> Path | None:
    """Return the path of the form ``FILE.py``; None for the name of a module."""
    if text.endswith(_SUFFIX) or "/" in text or os.sep in text:
        return Path(text).expanduser()
    return None


def _place(reference: str, text: str, folder: Path) -> _Place | None:
    """Return the user's module that a reference names; None if it is an installed one.

    Raises:
        LoadError: if there is no such file.
        ValueError: if a module has a name of ours.
    """
    path = _named_file(text)
    if path is None:
        return _place_of_module(reference, text, folder)
    file = folder / path
    if path.suffix != _SUFFIX or not file.is_file():
        raise LoadError(
            f"cannot load {reference!r}: there is no file {path} in {folder}; "
            "it must be FILE.py:NAME, relative to the working folder"
        )
    file = file.resolve()
    package = file.parent
    parts = [] if file.stem == "__init__" else [file.stem]
    while (package / "__init__.py").is_file() and package != package.parent:
        parts.insert(0, package.name)
        package = package.parent
    folders = [package, file.parent]
    if file.is_relative_to(folder.resolve()):
        folders.append(folder.resolve())
    return _Place(".".join(parts), file, tuple(dict.fromkeys(folders)))


def _place_of_module(reference: str, text: str, folder: Path) -> _Place | None:
    parts = text.split(".")
    if not all(part.isidentifier() for part in parts):
        raise ValueError(f"must be FILE.py:NAME or MODULE:NAME: got {reference[:200]!r}")
    if parts[0] in _OURS:
        name = reference.rpartition(":")[2]
        raise ValueError(
            f"cannot load {reference!r}: {parts[0]} is a package of this project; "
            f"name the file: {'/'.join(parts)}.py:{name}"
        )
    file = _module_file(folder, parts)
    if file is None:
        return None
    return _Place(text, file.resolve(), (folder.resolve(),))


def _module_file(folder: Path, parts: Sequence[str]) -> Path | None:
    """Return the file of a module in a folder; None if it has none."""
    path = folder.joinpath(*parts)
    for file in (path / "__init__.py", path.with_name(path.name + _SUFFIX)):
        if file.is_file():
            return file
    return None


def _reason(error: BaseException, place: _Place | None) -> str:
    """Describe in one line why a module cannot be loaded, and where it says so."""
    text = " ".join(str(error).split())
    where = ""
    if isinstance(error, SyntaxError):
        text = f"{error.msg} in line {error.lineno} of {error.filename}"
    elif place is not None:
        text = text.replace(f"{_namespace(place.folders)}.", "")
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if is_users(Path(frame.filename))]
        if own:
            where = f" in line {own[-1].lineno} of {own[-1].filename}"
        elif isinstance(error, AttributeError):
            text = f"{place.file} has no {str(error.name or '')!r}"
    if isinstance(error, (ImportError, AttributeError, SyntaxError)):
        return f"{text}{where}"[:500]
    return f"{type(error).__name__}: {text}{where}"[:500]


def is_users(file: Path) -> bool:
    """Whether a file is in one of the user's folders, and no library's that is installed there."""
    if is_of_library(file):
        return False
    packages = [module for name, module in list(sys.modules.items()) if _is_namespace(name)]
    return any(file.is_relative_to(folder) for package in packages for folder in package.__path__)


def is_of_library(file: Path) -> bool:
    """Whether a file is of an installed package."""
    return bool(_LIBRARY_FOLDERS & set(file.parts))


def _is_namespace(name: str) -> bool:
    return name.startswith(_PREFIX) and "." not in name


# -- imports of the user's -------------------------------------------------------------------------


def _namespace(folders: Sequence[Path]) -> str:
    """Return the name of the package under which modules of these folders are loaded."""
    text = "\0".join(map(str, folders))
    return _PREFIX + hashlib.sha256(text.encode()).hexdigest()[:8]


def _import_place(place: _Place) -> ModuleType:
    """Import a module of the user's under the name of its folders."""
    namespace = _namespace(place.folders)
    if namespace not in sys.modules:
        package = ModuleType(namespace)
        package.__path__ = [str(folder) for folder in place.folders]
        sys.modules[namespace] = package
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    name = f"{namespace}.{place.module}"
    if all(part.isidentifier() for part in place.module.split(".")):
        return importlib.import_module(name)
    # A file such as net-2.1.py, which no statement can import.
    name = f"{namespace}.{hashlib.sha256(place.module.encode()).hexdigest()}"
    spec = importlib.util.spec_from_file_location(
        name, place.file, loader=_Loader(name, place.file)
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{place.file} is no module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the user's modules, which are below the packages that `_namespace` names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(_PREFIX) or path is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(fullname, Path(str(spec.origin)))
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module of the user's whose imports look into its own folders first."""

    def __init__(self, fullname: str, path: Path) -> None:
        super().__init__(fullname, str(path))

    def get_code(self, fullname: str) -> CodeType:
        """Compile the file as it is now: a bytecode cache may miss an edit of the same second."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module with its own statement ``import``."""
        namespace = module.__name__.partition(".")[0]
        own: dict[str, Any] = dict(vars(builtins))
        own["__import__"] = _make_import(namespace)
        vars(module)["__builtins__"] = own
        super().exec_module(module)


def _make_import(namespace: str) -> Callable[..., ModuleType]:
    """Make the function behind the statement ``import`` of a user's module."""

    def import_(
        name: str,
        variables: Any = None,
        local_variables: Any = None,
        names: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        first = name.partition(".")[0]
        if level or not _is_own(namespace, first, names or ()):
            return builtins.__import__(name, variables, local_variables, names or (), level)
        own_name = f"{namespace}.{name}"
        if names:
            return builtins.__import__(own_name, variables, local_variables, names, 0)
        importlib.import_module(own_name)
        return sys.modules[f"{namespace}.{first}"]

    return import_


def _is_own(namespace: str, first: str, names: Sequence[str]) -> bool:
    """Whether an import means a module of the user's folders.

    The names of Python's own modules mean those, unless names are imported that those lack: next
    to a ``random.py`` of the user's, ``import random`` is Python's.

    Args:
        namespace: the package of the user's folders.
        first: the first part of the name of the module.
        names: what is imported from the module.
    """
    folders = sys.modules[namespace].__path__
    if not any(_holds_module(Path(folder), first) for folder in folders):
        return False
    if first not in sys.stdlib_module_names:
        return True
    library = importlib.import_module(first)
    return not all(name == "*" or hasattr(library, name) for name in names)


def _holds_module(folder: Path, name: str) -> bool:
    """Whether a folder has a module, or a folder of modules, of this name."""
    if _module_file(folder, [name]) is not None:
        return True
    depths = ("*", "*/*", "*/*/*")
    return any(True for depth in depths for _ in (folder / name).glob(f"{depth}{_SUFFIX}"))


# -- the source ------------------------------------------------------------------------------------


def _read_source(place: _Place) -> Source:
    """Read a file of the user's, and the files of its folders that it imports."""
    texts: dict[Path, str] = {}
    pending = [place.file]
    size = 0
    while pending and len(texts) < _MOST_FILES and size < _MOST_BYTES:
        file = pending.pop(0)
        if file in texts:
            continue
        texts[file] = _read_text(file)
        size += len(texts[file])
        pending += _imported_files(file, texts[file], place.folders)
    content = hashlib.sha256()
    for name, text in _named(texts, place):
        content.update(f"{name}\0{len(text)}\0{text}".encode())
    # Without these, a copy of the files could not be imported. They are not part of the digest:
    # then the networks of studies that exist would have changed.
    for file in list(texts):
        texts |= {init: _read_text(init) for init in _package_files(file, place.folders[0])}
    return Source(str(place.file), content.hexdigest()[:_DIGITS], tuple(_named(texts, place)))


def _named(texts: Mapping[Path, str], place: _Place) -> list[tuple[str, str]]:
    """Name files by their paths in the user's folders, sorted."""
    return sorted((_relative(file, place.folders), text) for file, text in texts.items())


def _package_files(file: Path, top: Path) -> Iterator[Path]:
    """Yield the ``__init__.py`` of the packages that a file is in, below a folder."""
    for package in file.parents:
        init = package / "__init__.py"
        if package == top or not init.is_file():
            return
        yield init


def _read_text(file: Path) -> str:
    text = file.read_bytes().decode("utf-8", errors="replace")
    return text.replace("\r\n", "\n")


def _relative(file: Path, folders: Sequence[Path]) -> str:
    for folder in folders:
        if file.is_relative_to(folder):
            return file.relative_to(folder).as_posix()
    return file.name


def _imported_files(file: Path, text: str, folders: Sequence[Path]) -> Iterator[Path]:
    """Yield the files of the folders that a file imports, wherever its statements stand."""
    try:
        statements = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):  # of a file that is never imported, or only in a way to fail
        return
    for statement in statements:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                yield from _files_of(alias.name.split("."), folders)
        elif isinstance(statement, ast.ImportFrom):
            names = statement.module.split(".") if statement.module else []
            roots = folders
            if statement.level:
                roots = (file.parents[statement.level - 1],)
            yield from _files_of(names, roots)
            for alias in statement.names:
                yield from _files_of([*names, alias.name], roots)


def _files_of(names: Sequence[str], roots: Sequence[Path]) -> Iterator[Path]:
    """Yield the files that importing a dotted name runs: of its packages, and its own."""
    for root in roots:
        found = [_module_file(root, names[: end + 1]) for end in range(len(names))]
        files = [file.resolve() for file in found if file is not None]
        if files:
            yield from files
            return


def _source_of_module(module: ModuleType) -> Source:
    """Return the source of a module that Python has found: an installed one, or one of its path."""
    file = Path(getattr(module, "__file__", None) or module.__name__)
    if file.is_file() and not is_of_library(file):
        parts = module.__name__.count(".") + 1
        if file.stem == "__init__":
            parts += 1
        root = file.resolve().parents[parts - 1]
        place = _Place(module.__name__, file.resolve(), (root,))
        return _read_source(place)
    package = module.__name__.partition(".")[0]
    version = getattr(sys.modules[package], "__version__", "")
    name = f"{package} {version}".strip()
    return Source(name, name)
