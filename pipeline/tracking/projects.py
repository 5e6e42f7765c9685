"""Runs the entry points of `MLproject` with MLflow's project runner."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import yaml

from pipeline.system.environment import changed_environment

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROOT = Path(__file__).resolve().parents[2]

_logger = logging.getLogger(__name__)


def entry_points(uri: Path = ROOT) -> list[str]:
    """Return the names of a project's entry points, in the order of its MLproject.

    Raises:
        ValueError: if the folder has no MLproject, such as an installed copy of the package.
    """
    return list(_read_project(uri)["entry_points"])


def _read_project(uri: Path) -> dict[str, Any]:
    try:
        text = (uri / "MLproject").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ValueError(
            f"no MLproject in {uri}: entry points are run from a clone of the project"
        ) from error
    project: dict[str, Any] = yaml.safe_load(text)
    return project


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
    """Run an entry point to its end.

    The command runs in the project's folder: relative paths are relative to the folder.

    Args:
        entry: name of the entry point.
        parameters: each becomes ``--key value`` of the entry point's command.
        env_manager: ``local`` (the current environment), ``conda``, ``uv`` or ``virtualenv``;
            default conda if it is installed, else local.
        backend: where MLflow runs it: ``local``, or the name of an MLflow backend plug-in.
        backend_config: for the backend: values, or the path of a ``.json`` file.
        experiment: name of the experiment; default that of MLflow's environment variables.
        uri: folder of the project.

    Returns:
        0 if the command succeeded, else 1: MLflow keeps no finer code. No run is left running.

    Raises:
        ValueError: for an unknown entry point, backend or manager, or one whose program is
            missing. No run is made.
    """
    known = entry_points(uri)
    if entry not in known:
        raise ValueError(f"unknown entry point {entry!r}: known are {', '.join(known)}")
    if isinstance(backend_config, str) and not backend_config.endswith(".json"):
        raise ValueError(f"backend_config must be a .json file: got {backend_config!r}")
    with _environment(Path(sys.executable).parent):
        manager = _find_manager(env_manager)
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
    from mlflow.utils.process import ShellCommandException

    client = mlflow.MlflowClient()
    experiment_id = _experiment_id(client, experiment)
    run_id = None
    if arguments["backend"] == "local":
        run_id = _create_run(experiment_id, arguments)
    try:
        mlflow.projects.run(  # type: ignore[no-untyped-call]
            **arguments, experiment_id=experiment_id, run_id=run_id
        )
    except (ExecutionException, ShellCommandException) as error:
        _logger.error("%s", error)  # noqa: TRY400  # the command has shown its own traceback
        return 1
    finally:
        if run_id is not None and client.get_run(run_id).info.status == "RUNNING":
            client.set_terminated(run_id, "FAILED")
    return 0


def _create_run(experiment_id: str, arguments: Mapping[str, Any]) -> str:
    """Make the run that MLflow would make.

    MLflow would leave its own running for ever if the environment cannot be built.
    """
    from mlflow.projects.utils import get_or_create_run

    uri = arguments["uri"]
    run = get_or_create_run(  # type: ignore[no-untyped-call]
        None, uri, experiment_id, uri, None, arguments["entry_point"], arguments["parameters"]
    )
    return str(run.info.run_id)


def _experiment_id(client: MlflowClient, name: str | None) -> str:
    name = name or os.environ.get("MLFLOW_EXPERIMENT_NAME")
    if name is None:
        return os.environ.get("MLFLOW_EXPERIMENT_ID", "0")
    experiment = client.get_experiment_by_name(name)
    if experiment:
        return str(experiment.experiment_id)
    return str(client.create_experiment(name))


def _find_manager(name: str | None) -> str:
    """Return the named environment manager, or the default.

    Raises:
        ValueError: if it is unknown, or its program is not on PATH.
    """
    from mlflow.utils.conda import get_conda_bin_executable

    conda = get_conda_bin_executable("conda")  # type: ignore[no-untyped-call]
    programs = {"local": "python", "conda": conda, "uv": "uv", "virtualenv": "pyenv"}
    manager = name or ("conda" if shutil.which(conda) else "local")
    if manager not in programs:
        raise ValueError(f"unknown env-manager {manager!r}: known are {', '.join(programs)}")
    program = programs[manager]
    if not shutil.which(program):
        raise ValueError(
            f"env-manager {manager} needs {program}, which is not found: use local, or install it"
        )
    return manager


def _check_backend(name: str, uri: Path) -> None:
    """Refuse an unusable backend.

    MLflow itself would first make a run, and leave the run running for ever.

    Raises:
        ValueError: with the reason.
    """
    from mlflow.projects.backend.loader import load_backend

    if name == "kubernetes" and "docker_env" not in _read_project(uri):
        remedy = "docs/scale.md says how to make a copy that has one"
        raise ValueError(
            f"backend kubernetes needs a docker_env in MLproject, which has a conda_env: {remedy}"
        )
    if name == "kubernetes" and not (find_spec("kubernetes") and find_spec("docker")):
        raise ValueError(
            "backend kubernetes needs two packages that are not installed: "
            "pip install kubernetes docker"
        )
    if name in ("databricks", "kubernetes"):
        return
    if load_backend(name) is None:  # type: ignore[no-untyped-call]
        raise ValueError(
            f"unknown backend {name!r}: known are local, databricks "
            "and the installed plug-ins of MLflow"
        )


def _environment(programs: Path) -> AbstractContextManager[None]:
    """Prepare the environment variables for the project's commands, and restore them afterwards.

    ``python`` is found in the given folder first, and the store's path becomes absolute, since the
    commands run in the project's folder.
    """
    variables = {"PATH": os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)])}
    kind, _, path = os.environ.get("MLFLOW_TRACKING_URI", "").partition(":///")
    if kind == "sqlite" and not path.startswith("/"):
        folder = quote(str(Path.cwd()))  # MLflow unquotes it
        variables["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/{path}"
    return changed_environment(variables)
