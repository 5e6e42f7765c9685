"""`pipeline run`: parameters, environments and backends of MLflow, over a stub of the commands."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from urllib.parse import unquote

import mlflow
import pytest
from mlflow.projects.utils import load_project
from support.sourcecode import ROOT

from pipeline.tracking import projects

# Writes down how it was called, and ends with the code it is told.
STUB = """
import json, os, sys
seen = {"argv": sys.argv[1:], "prefix": sys.prefix, "run": os.environ["MLFLOW_RUN_ID"]}
seen["store"] = os.environ["MLFLOW_TRACKING_URI"]
json.dump(seen, open("seen.json", "w"))
sys.exit(3 if "--fail" in sys.argv else 0)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The address of a store that the tests of this file share, since making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('a store')}/mlflow.db"


@pytest.fixture
def project(tmp_path, store, monkeypatch):
    """The project's MLproject over a stub of its commands; no conda on PATH."""
    for name in ("MLproject", "conda.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").touch()  # or a PYTHONPATH would come before it
    (tmp_path / "pipeline" / "__main__.py").write_text(STUB, encoding="utf-8")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("MLFLOW_ENV_ROOT", str(tmp_path / "envs"))
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    for name in (
        "MLFLOW_CONDA_HOME",
        "CONDA_EXE",
        "MLFLOW_EXPERIMENT_NAME",
        "MLFLOW_EXPERIMENT_ID",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def runs(experiment):
    """The states of an experiment's runs."""
    found = mlflow.MlflowClient().get_experiment_by_name(experiment)
    return (
        [r.info.status for r in mlflow.MlflowClient().search_runs([found.experiment_id])]
        if found
        else []
    )


def test_run(project, tmp_path):
    """Parameters arrive as options, literally, in the current environment, inside the run that MLflow made."""
    before = os.environ["PATH"]
    assert (
        projects.run("sweep", {"lr": "0.01", "name": "a b; $HOME"}, experiment="run", uri=project)
        == 0
    )
    seen = json.loads((tmp_path / "seen.json").read_text(encoding="utf-8"))
    assert seen["argv"] == ["sweep", "--lr", "0.01", "--name", "a b; $HOME"]
    assert Path(seen["prefix"]).samefile(os.sys.prefix)
    assert mlflow.MlflowClient().get_run(seen["run"]).data.params["lr"] == "0.01"
    assert runs("run") == ["FINISHED"]
    assert os.environ["PATH"] == before


def test_failed_command(project):
    """A command that fails with any code gives 1 and a failed run."""
    assert projects.run("train", {"fail": "1"}, experiment="fails", uri=project) == 1
    assert runs("fails") == ["FAILED"]


def test_environment_cannot_be_built(project, monkeypatch):
    """Where the environment cannot be built the run ends as failed, not as running for ever."""
    (project / "bin").mkdir()
    (project / "bin" / "pyenv").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (project / "bin" / "pyenv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{project}/bin:/bin:/usr/bin")
    assert (
        projects.run("sweep", {}, env_manager="virtualenv", experiment="broken", uri=project) == 1
    )
    assert runs("broken") == ["FAILED"]


# A plug-in of MLflow: runs where we are, and writes down what it was given.
BACKEND = """
import json, pathlib
from mlflow.projects.backend.local import LocalBackend

class Queue(LocalBackend):
    def run(self, uri, entry, parameters, version, config, *rest):
        pathlib.Path("given.json").write_text(json.dumps([entry, parameters, config["partition"]]))
        return super().run(uri, entry, parameters, version, config, *rest)
"""


def test_a_backend_of_mlflow_gets_its_configuration(project, monkeypatch):
    """An installed plug-in runs the entry point, with the values of the file that is named for it."""
    (project / "queueing.py").write_text(BACKEND, encoding="utf-8")
    (project / "queueing-1.dist-info").mkdir()
    (project / "queueing-1.dist-info" / "METADATA").write_text(
        "Name: queueing\nVersion: 1\n", encoding="utf-8"
    )
    points = "[mlflow.project_backend]\nqueue = queueing:Queue\n"
    (project / "queueing-1.dist-info" / "entry_points.txt").write_text(points, encoding="utf-8")
    (project / "queue.json").write_text('{"partition": "short"}', encoding="utf-8")
    monkeypatch.syspath_prepend(project)
    options = {
        "backend": "queue",
        "backend_config": "queue.json",
        "experiment": "backend",
        "uri": project,
    }
    assert projects.run("sweep", {"trials": "4"}, **options) == 0
    assert json.loads((project / "given.json").read_text()) == ["sweep", {"trials": "4"}, "short"]
    assert json.loads((project / "seen.json").read_text())["argv"] == ["sweep", "--trials", "4"]


def test_a_copy_for_kubernetes(project):
    """The line of docs/scale.md makes an MLproject that has an image, which MLflow takes and the backend needs."""
    (command,) = re.findall(
        r"^sed .*", (ROOT / "docs" / "scale.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    subprocess.run(shlex.split(command), check=True)
    assert load_project(str(project)).docker_env == {"image": "registry.example.org/sweep-base"}
    assert projects.entry_points(project) == projects.entry_points(ROOT)
    with pytest.raises(ValueError, match="pip install kubernetes docker"):
        projects.run("sweep", {}, backend="kubernetes", uri=project)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"entry": "swep"}, "unknown entry point 'swep': known are main, sweep, train"),
        ({"env_manager": "conda"}, "env-manager conda needs conda, which is not found"),
        (
            {"env_manager": "poetry"},
            "unknown env-manager 'poetry': known are local, conda, uv, virtualenv",
        ),
        ({"backend": "kubernetes"}, "backend kubernetes needs a docker_env"),
        ({"backend": "slurm"}, "unknown backend 'slurm'"),
        (
            {"backend_config": "cluster.yaml"},
            "backend_config must be a .json file: got 'cluster.yaml'",
        ),
        ({"uri": ROOT / "tests"}, "no MLproject in"),
    ],
)
def test_refused(project, arguments, message):
    """What cannot run is refused with the rule and the known names, and no run is made."""
    with pytest.raises(ValueError, match=re.escape(message)):
        projects.run(
            **{
                "entry": "sweep",
                "parameters": {},
                "experiment": "refused",
                "uri": project,
                **arguments,
            }
        )
    assert runs("refused") == []


def test_conda_is_preferred(project, monkeypatch):
    """Without a manager named, conda is used where there is one."""
    monkeypatch.setenv("MLFLOW_CONDA_HOME", str(project))
    (project / "bin").mkdir()
    (project / "bin" / "conda").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (project / "bin" / "conda").chmod(0o755)
    assert projects.run("sweep", {}, experiment="conda", uri=project) == 1
    assert runs("conda") == ["FAILED"]
    assert not (project / "seen.json").exists()


def test_relative_store(project, monkeypatch, store):
    """A store named by a relative path is the same one in the command's folder."""
    monkeypatch.chdir(Path(store.removeprefix("sqlite:///")).parent)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    assert projects.run("report", {}, experiment="relative", uri=project) == 0
    seen = json.loads((project / "seen.json").read_text(encoding="utf-8"))
    assert unquote(seen["store"]) == store
    assert runs("relative") == ["FINISHED"]
