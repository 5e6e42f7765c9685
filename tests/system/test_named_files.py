"""Files outside the working folder are code to run only once their user has named them."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from pipeline.system import named_files


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file of code, in a process that has been given none."""
    monkeypatch.setenv("PIPELINE_CACHE_DIR", str(tmp_path / "cache"))
    forget(monkeypatch)
    return tmp_path / "net.py"


def forget(monkeypatch):
    """Begin as a new process does."""
    monkeypatch.setattr(named_files, "_NAMED", set())


def test_a_later_process_knows(file, monkeypatch):
    """A file is known once it has been named, also beside others, and no other is."""
    assert not named_files.is_known(file)
    named_files.remember([file])
    named_files.remember([file.with_name("other.py")])
    forget(monkeypatch)
    assert named_files.is_known(file)
    assert not named_files.is_known(file.with_name("third.py"))


def test_what_the_program_has_imported(file, monkeypatch):
    """A file that the program itself has imported is no new code."""
    module = ModuleType("net")
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "net", module)
    assert named_files.is_known(file)


def test_a_list_that_cannot_be_written(file, tmp_path, monkeypatch):
    """Without a place for the list, a process knows what it was given itself."""
    (tmp_path / "cache").write_text("a file")
    named_files.remember([file])
    assert named_files.is_known(file)
    forget(monkeypatch)
    assert not named_files.is_known(file)
