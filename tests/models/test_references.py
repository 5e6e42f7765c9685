"""Classes and functions of a running program: how other processes find them."""

from __future__ import annotations

import functools
import importlib
import linecache
import sys
from types import ModuleType

import pytest
import torchvision
from torch import nn

from models import extracted, usercode
from models.references import reference_to

NET = "class Net:\n    class Inner:\n        pass\n\ndef make():\n    return Net()\n"
FIRST_CELL = """
import enum
import collections.abc
from dataclasses import dataclass
from functools import partial
from math import sqrt as root
from typing import Optional

WIDTH, SIZES = 4, [1, (2, "three")]
made = [object()]
half = partial(pow, exp=-1)
KINDS = {"half": half, "root": root}
Maybe = Optional[int]

@dataclass
class Config:
    width: int = WIDTH

class Mode(enum.Enum):
    SLOW = "slow"

DEFAULT_MODE = Mode.SLOW
"""
SECOND_CELL = """
def doubled(made):
    return 2 * made

class Base:
    mode = Mode.SLOW

class Net(Base):
    default: Maybe = None

    def __init__(self, kind="half"):
        assert isinstance(SIZES, collections.abc.Sequence)
        self.value = doubled(Config().width) + KINDS[kind](2) + len(SIZES)
        self.mode = DEFAULT_MODE

Alias = Base
def uses_alias(): return Alias.mode.value, Later.mode.value
class Later(Base): pass

class UsesData:
    def forward(self): return made

class UsesFile:
    def forward(self): return __file__

def outer():
    def inner(): pass
    return inner
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a module, a package, and a module beside the folder."""
    working = tmp_path / "working"
    (working / "package").mkdir(parents=True)
    monkeypatch.chdir(working)
    for file in ("near.py", "package/__init__.py", "package/inner.py", "../far.py"):
        (working / file).write_text(NET)
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(working), *sys.path])
    yield working
    for name in ("near", "package", "package.inner", "far"):
        sys.modules.pop(name, None)


def main_module(monkeypatch, file=None, **cells):
    """Run cells of a notebook, or a script, as the main module."""
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    if file is not None:
        main.__file__ = str(file)
        cells = {str(file): file.read_text()}
    for name, text in cells.items():
        if file is None:
            entry = (len(text), None, text.splitlines(keepends=True), name)
            monkeypatch.setitem(linecache.cache, name, entry)
        exec(compile(text, name, "exec"), vars(main))
    return main


def test_named_by_file_or_module(folder, monkeypatch):
    """A file of the working folder is named by its path there, an installed module by its name."""
    near = importlib.import_module("near")
    inner = importlib.import_module("package.inner")
    far = importlib.import_module("far")
    assert reference_to(near.Net).text == "near.py:Net"
    assert reference_to(near.make).text == "near.py:make"
    assert reference_to(inner.Net.Inner).text == "package/inner.py:Net.Inner"
    assert reference_to(torchvision.models.resnet18).text == "torchvision.models.resnet:resnet18"
    assert reference_to(usercode.load("near.py:Net").value).text == "near.py:Net"
    assert reference_to(far.Net).text == f"{folder.parent}/far.py:Net"
    monkeypatch.setenv("PYTHONPATH", str(folder.parent))
    assert reference_to(far.Net).text == "far:Net"


def test_a_script_with_a_guard_is_a_module(folder, monkeypatch):
    """What a script defines is found in the script, if that does nothing when it is imported."""
    script = folder / "train.py"
    script.write_text(NET + "\nif __name__ == '__main__':\n    made = Net()\n")
    main = main_module(monkeypatch, script)
    assert reference_to(main.Net).text == "train.py:Net"
    assert reference_to(main.Net).source is None


def written(reference):
    """Write an extracted definition as the Python interface does, and load it."""
    file = usercode.working_folder() / reference.text.partition(":")[0]
    file.parent.mkdir(exist_ok=True)
    file.write_text(reference.source)
    return usercode.load(reference.text).value


def test_a_definition_of_cells_becomes_a_module(folder, monkeypatch):
    """A class of a notebook is written with all that it needs of other cells, and nothing else."""
    main = main_module(monkeypatch, one=FIRST_CELL, two=SECOND_CELL)
    reference = reference_to(main.Net)
    assert reference.text == "own_code/Net.py:Net"
    assert reference.source.startswith(extracted.MARK + "a notebook")
    made = written(reference)("root")
    assert made.value == main.Net("root").value
    assert made.mode.value == "slow"
    for absent in ("made = ", "UsesData", "def outer"):
        assert absent not in reference.source
    assert written(reference_to(main.uses_alias))() == ("slow", "slow")


def test_a_script_without_a_guard_is_not_run_again(folder, monkeypatch):
    """What such a script defines is taken out of it."""
    script = folder / "train.py"
    script.write_text("from __future__ import annotations\n" + FIRST_CELL + SECOND_CELL)
    main = main_module(monkeypatch, script)
    reference = reference_to(main.Net)
    assert "definition in train.py" in reference.source
    assert "from __future__ import annotations" in reference.source
    assert written(reference)().value == main.Net().value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("UsesData", r"UsesData uses made, a value of type list, which is not written down: put"),
        ("UsesFile", r"UsesFile uses __file__: put it into a file .* %%writefile net.py"),
        ("outer()", "outer.<locals>.inner is defined inside of a function"),
        ("half", "a partial cannot be named: give pow, and its keywords as values: 'exp': -1"),
        ("DEFAULT_MODE", "a value of type Mode cannot be named: give a class or a function"),
        ("nn.Linear(1, 1)", "Linear is a network that is made already: give its class"),
        ("type('Net', (), {'__module__': 'gone'})", "is not found in its module"),
        ("Config.__init__", "is not found in its module|in no file of its own"),
        ("exec('class Typed: pass', globals()) or Typed", "source of Typed is not known: put it"),
    ],
)
def test_what_cannot_be_found(folder, monkeypatch, value, message):
    """What no other process can find is refused in one line that says what to do."""
    main = main_module(monkeypatch, one=FIRST_CELL, two=SECOND_CELL)
    main.nn = nn
    main.__file__ = None
    assert functools.partial(main.half)(2) == 0.5
    with pytest.raises(ValueError, match=message) as caught:
        reference_to(eval(value, vars(main)))
    assert "\n" not in str(caught.value)
