"""The engine that a name stands for, and what is refused before anything is written."""

import dataclasses
import sys
from pathlib import Path

import pytest

from pipeline.cli.program import main
from pipeline.engines.local import LocalFactory
from pipeline.engines.registry import ENGINES, open_factory
from pipeline.jobs import train
from pipeline.system.errors import UsageFailure
from sweeps.trial import configure


def test_this_machine():
    """The engine of this machine is the first that is listed."""
    assert next(iter(ENGINES)) == "local"
    assert isinstance(open_factory("local"), LocalFactory)


def test_this_machine_has_no_address():
    """An address is of a cluster."""
    with pytest.raises(
        UsageFailure,
        match="--address is that of a Ray cluster: got 'auto'; add --engine ray, or leave it out",
    ):
        open_factory("local", "auto")


@pytest.mark.parametrize(
    ("given", "gpus", "places"), [({}, 1, 3), ({"gpus_per_trial": 0.5}, 0.5, 5)]
)
def test_a_share_of_a_gpu_on_ray(given, gpus, places, monkeypatch):
    """A trial's task asks for its share, and a node has room for as many as its GPUs and CPUs allow."""
    pytest.importorskip("ray")
    from pipeline.engines.on_ray import cluster, task

    nodes = [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 1.0, "GPU": 1.0}, {"CPU": 8.0}]
    monkeypatch.setattr(cluster, "node_resources", lambda: nodes)
    config = dataclasses.replace(configure(given), device="cuda")
    assert config.processes == 1
    assert task.resources(config) == {"num_cpus": 1, "num_gpus": gpus}
    assert task.resources(dataclasses.replace(config, device="cpu"))["num_gpus"] == 0
    assert object.__new__(cluster.RayFactory).places(1, config) == places


def test_this_machine_gives_out_whole_gpus():
    """A share of a GPU is refused where there is no Ray, with what to do instead; the sweep has written nothing."""
    given = {"gpus_per_trial": 0.5}
    line = "gpus_per_trial must be a whole number on this machine: got 0.5; a sweep with --engine ray takes"
    with pytest.raises(UsageFailure, match=line):
        LocalFactory().resolve(configure(given))
    with pytest.raises(UsageFailure, match=line):
        train.prepare(given, Path())


def test_without_ray(folder, capsys, monkeypatch):
    """Where Ray is not installed, a sweep on it ends with code 2 and a line that names what to install."""
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in [name for name in sys.modules if name.startswith("pipeline.engines.on_ray.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "argv", ["pipeline", "sweep", "tiny.yaml", "--engine", "ray"])
    before = sorted(Path().iterdir())
    with pytest.raises(SystemExit) as end:
        main()
    line = "error: --engine ray needs Ray, which is not installed: pip install 'ray>=2.50'\n"
    assert (end.value.code, capsys.readouterr().err) == (2, line)
    assert sorted(Path().iterdir()) == before
