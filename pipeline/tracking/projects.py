"""Runs an entry point of `MLproject` through MLflow's project runner; knows nothing of what the commands do."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import yaml

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROOT = Path(__file__).resolve().parents[2]

_logger = logging.getLogger(__name__)


def entry_points(uri: Path = ROOT) -> list[str]:
    """The names of a project's entry points, in the order of its MLproject.

    Raises:
        ValueError: where the folder holds no MLproject, as an installed copy of the package does not.
    """
    return list(_project(uri)["entry_points"])


def _project(uri: Path) -> dict[str, Any]:
    try:
        text = (uri / "MLproject").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ValueError(
            f"no MLproject in {uri}: entry points are run from a clone of the project"
        ) from error
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def run(
    entry: str,
    parameters: Mapping[str, str],
    *,
    env_manager: str | None = None,
    backend: str = "local",
    backend_config: dict[str, Any] | str | None = None,
    experiment: str | None = None,
    uri: Path = ROOT,
) -> int:
    """Run an entry point to its end, in the project's folder: relative paths among the parameters count from there.

    Args:
        entry: name of the entry point.
        parameters: each becomes ``--key value`` of the entry point's command.
        env_manager: ``local`` (the current environment), ``conda``, ``uv`` or ``virtualenv``; default conda where
            there is one, else local.
        backend: where MLflow runs it: ``local``, or the name of an MLflow backend plug-in.
        backend_config: for the backend: values, or the path of a ``.json`` file.
        experiment: name of the experiment; default the one of the environment variables of MLflow.
        uri: folder of the project.

    Returns:
        0 where the command succeeded, else 1: MLflow keeps no finer code. No run is left running.

    Raises:
        ValueError: for an unknown entry point, backend or manager, or one whose program is missing. No run is made.
    """
    known = entry_points(uri)
    if entry not in known:
        raise ValueError(f"unknown entry point {entry!r}: known are {', '.join(known)}")
    if isinstance(backend_config, str) and not backend_config.endswith(".json"):
        raise ValueError(f"backend_config must be a .json file: got {backend_config!r}")
    with _environment(Path(sys.executable).parent):
        manager = _manager(env_manager)
        _check_backend(backend, uri)
        return _run(
            backend=backend,
            backend_config=backend_config,
            entry_point=entry,
            env_manager=manager,
            experiment=experiment,
            parameters=dict(parameters),
            uri=str(uri),
        )


def _run(*, experiment: str | None, **arguments: Any) -> int:
    import mlflow
    from mlflow.exceptions import ExecutionException
    from mlflow.projects.utils import get_or_create_run
    from mlflow.utils.process import ShellCommandException

    client = mlflow.MlflowClient()
    experiment_id = _experiment_id(client, experiment)
    uri = arguments["uri"]
    entry = arguments["entry_point"]
    parameters = arguments["parameters"]
    run_id = None
    if arguments["backend"] == "local":
        # MLflow would make the same run, and leave it running for ever where the environment cannot be built.
        made = get_or_create_run(None, uri, experiment_id, uri, None, entry, parameters)  # type: ignore[no-untyped-call]
        run_id = made.info.run_id
    try:
        mlflow.projects.run(**arguments, experiment_id=experiment_id, run_id=run_id)  # type: ignore[no-untyped-call]
    except (ExecutionException, ShellCommandException) as error:
        _logger.error("%s", error)  # noqa: TRY400  # the command has shown its own traceback
        return 1
    finally:
        if run_id is not None and client.get_run(run_id).info.status == "RUNNING":
            client.set_terminated(run_id, "FAILED")
    return 0


def _experiment_id(client: MlflowClient, name: str | None) -> str:
    name = name or os.environ.get("MLFLOW_EXPERIMENT_NAME")
    if name is None:
        return os.environ.get("MLFLOW_EXPERIMENT_ID", "0")
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))


def _manager(asked: str | None) -> str:
    """The manager asked for, or the default, once its program is found on PATH."""
    from mlflow.utils.conda import get_conda_bin_executable

    conda = get_conda_bin_executable("conda")  # type: ignore[no-untyped-call]
    programs = {"local": "python", "conda": conda, "uv": "uv", "virtualenv": "pyenv"}
    manager = asked or ("conda" if shutil.which(conda) else "local")
    if manager not in programs:
        raise ValueError(f"unknown env-manager {manager!r}: known are {', '.join(programs)}")
    program = programs[manager]
    if not shutil.which(program):
        raise ValueError(
            f"env-manager {manager} needs {program}, which is not found: use local, or install it"
        )
    return manager


def _check_backend(name: str, uri: Path) -> None:
    """Refuse what MLflow refuses only once it has made a run, which then stays running."""
    from mlflow.projects.backend.loader import load_backend

    if name == "kubernetes" and "docker_env" not in _project(uri):
        remedy = "docs/scale.md says how to make a copy that has one"
        raise ValueError(
            f"backend kubernetes needs a docker_env in MLproject, which has a conda_env: {remedy}"
        )
    if name == "kubernetes" and not (find_spec("kubernetes") and find_spec("docker")):
        raise ValueError(
            "backend kubernetes needs two packages that are not installed: pip install kubernetes docker"
        )
    if name not in ("databricks", "kubernetes") and load_backend(name) is None:  # type: ignore[no-untyped-call]
        raise ValueError(
            f"unknown backend {name!r}: known are local, databricks and the installed plug-ins of MLflow"
        )


@contextmanager
def _environment(programs: Path) -> Iterator[None]:
    """For a while, find ``python`` in a folder first, and name the store so that it is the same from anywhere."""
    before = dict(os.environ)
    os.environ["PATH"] = os.pathsep.join([str(programs), before.get("PATH", os.defpath)])
    kind, _, path = before.get("MLFLOW_TRACKING_URI", "").partition(":///")
    if kind == "sqlite" and not path.startswith("/"):
        os.environ["MLFLOW_TRACKING_URI"] = (
            f"sqlite:///{quote(str(Path.cwd()))}/{path}"  # MLflow unquotes it
        )
    try:
        yield
    finally:
        for name in ("PATH", "MLFLOW_TRACKING_URI"):
            if name in before:
                os.environ[name] = before[name]
