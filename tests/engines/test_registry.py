"""The engine that a name stands for, and what is refused before anything is written."""

import sys
from pathlib import Path

import pytest

from pipeline.cli.program import main
from pipeline.engines.local import LocalFactory
from pipeline.engines.registry import ENGINES, open_factory
from pipeline.system.errors import UsageFailure


def test_this_machine():
    """The engine of this machine is the first that is listed."""
    assert next(iter(ENGINES)) == "local"
    assert isinstance(open_factory("local"), LocalFactory)


def test_this_machine_has_no_address():
    """An address is of a cluster."""
    with pytest.raises(
        UsageFailure,
        match="--address is of a cluster: got 'auto' with --engine local; leave it out",
    ):
        open_factory("local", "auto")


def test_without_ray(folder, capsys, monkeypatch):
    """Where Ray is not installed, a sweep on it ends with code 2 and a line that names what to install."""
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("pipeline.engines.on_ray.engine", "pipeline.engines.on_ray.mailbox"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "argv", ["pipeline", "sweep", "tiny.yaml", "--engine", "ray"])
    before = sorted(Path().iterdir())
    with pytest.raises(SystemExit) as end:
        main()
    line = "error: --engine ray needs Ray, which is not installed: pip install 'ray>=2.50'\n"
    assert (end.value.code, capsys.readouterr().err) == (2, line)
    assert sorted(Path().iterdir()) == before
