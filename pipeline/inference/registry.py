"""Registers trained networks in MLflow's model registry, and fetches them again.

MLflow's functions for models take the store from the environment alone. `_registry` sets the
variables around each use, and restores them: meanwhile other threads must not use MLflow.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array
from mlflow.utils.validation import (
    _validate_model_alias_name,
    _validate_model_alias_name_reserved,
    _validate_model_name,
)

from pipeline.checkpoints import BEST, Card, save_model
from pipeline.inference.export import ExportedNetwork, facts
from pipeline.inference.networks import TrainedNetwork
from pipeline.stores import access, locations
from pipeline.system.environment import changed_environment
from pipeline.system.errors import StorageFailure, UsageFailure
from pipeline.system.files import temporary_folder
from pipeline.system.text import clean, clip
from pipeline.tracking.server import error_line, without_password
from pipeline.tracking.tracker import experiment_of

_SERVED_MODEL = Path(__file__).with_name("served_model.py")
_USER_ERRORS = {ErrorCode.Name(code) for code in (INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST)}

# The input has no type, so that any array arrives as it is. With the type uint8 MLflow would cut
# the 0.7 of a scaled image to 0, and answer.
_INPUT = Schema([TensorSpec(np.dtype("O"), (-1,))])
_OUTPUT = Schema(
    [
        ColSpec(DataType.string, "class"),
        ColSpec(DataType.long, "index"),
        ColSpec(DataType.double, "probability"),
        ColSpec(Array(DataType.double), "probabilities"),
    ]
)
_PARAMS = ParamSchema([ParamSpec("describe", DataType.boolean, default=False)])


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model."""

    name: str
    version: int
    alias: str
    moved: int | None  # the version that had the alias before

    @property
    def uri(self) -> str:
        """The URI by which all of MLflow finds the version."""
        return f"models:/{self.name}@{self.alias}"


def check_names(name: str, alias: str) -> None:
    """Check the names of a model and of an alias.

    Raises:
        UsageFailure: if MLflow does not allow a name, in MLflow's words; or if the model's name is
            not printable.
    """
    try:
        _validate_model_name(name)
        _validate_model_alias_name(alias)  # type: ignore[no-untyped-call]
        _validate_model_alias_name_reserved(alias)  # type: ignore[no-untyped-call]
    except MlflowException as error:
        raise UsageFailure(clip(error, 300)) from None
    if clean(name) != name or not name.strip():
        raise UsageFailure(f"a model's name must be printable text: got {name!r}")


def register(
    stores: locations.Stores,
    trained: TrainedNetwork,
    exported: ExportedNetwork,
    name: str,
    alias: str,
) -> RegisteredVersion:
    """Make a network the next version of a registered model, and move the alias to the version.

    The version holds the network as a pt2 file, the code that serves the network, and the
    checkpoint.

    Args:
        stores: the stores, ready for writing.
        trained: the network. Its run, if there is one, becomes the version's run.
        exported: the same network as pt2.
        name: the name of the registered model.
        alias: the name of the newest version.

    Raises:
        UsageFailure: if a name is not allowed.
        StorageFailure: if the registry cannot be used.
    """
    check_names(name, alias)
    card = trained.card
    with temporary_folder() as folder, _registry(stores, trained.run_id):
        network = folder / "network.pt2"
        network.write_bytes(exported.content)
        checkpoint = folder / "checkpoint"
        save_model(checkpoint / BEST, trained.network.state_dict(), card)
        model = Model.log(
            artifact_path=None,
            name="classifier",
            flavor=mlflow.pyfunc,
            run_id=trained.run_id,
            registered_model_name=name,
            await_registration_for=0,
            python_model=str(_SERVED_MODEL),
            artifacts={"network": str(network), "checkpoint": str(checkpoint)},
            signature=ModelSignature(_INPUT, _OUTPUT, _PARAMS),
            input_example=exported.example.numpy(),
            pip_requirements=_requirements(),
            metadata=facts(card),
        )
        client = MlflowClient(stores.tracking)
        version = int(model.registered_model_version)
        previous = client.get_registered_model(name).aliases.get(alias)
        for key, value in _tags(card).items():
            client.set_model_version_tag(name, str(version), key, value)
        client.update_model_version(name, str(version), _description(card))
        client.set_registered_model_alias(name, alias, str(version))
    moved = None if previous is None else int(previous)
    return RegisteredVersion(name, version, alias, moved)


def fetch_checkpoint(stores: locations.Stores, uri: str, folder: Path) -> tuple[Path, str | None]:
    """Download the checkpoint of a registered model. No code of the model is run.

    Args:
        stores: the stores.
        uri: ``models:/NAME@ALIAS``, ``models:/NAME/3`` or ``runs:/ID/classifier``.
        folder: the folder to download to.

    Returns:
        The path of the checkpoint, and the id of the run that the model came from.

    Raises:
        UsageFailure: if there is no such model, or `register` did not make it.
        StorageFailure: if the registry cannot be used.
    """
    with (
        access.read_tracking(stores) as tracking,
        _registry(dataclasses.replace(stores, tracking=tracking)),
    ):
        model = Model.load(uri)
        files = model.flavors.get("python_function", {}).get("artifacts", {})
        if "checkpoint" not in files:
            raise UsageFailure(f"{uri} holds no checkpoint: it was not made by `pipeline register`")
        artifact = f"{uri}/{files['checkpoint']['path']}"
        path = mlflow.artifacts.download_artifacts(artifact, dst_path=str(folder))
    return Path(path), model.run_id


@contextmanager
def _registry(stores: locations.Stores, run_id: str | None = None) -> Iterator[None]:
    """Use MLflow's functions for models on our store, in the experiment of a run.

    Raises:
        UsageFailure, StorageFailure: for an error of MLflow, in one line.
    """
    variables = {"MLFLOW_TRACKING_URI": stores.tracking}
    if run_id is not None:
        variables["MLFLOW_EXPERIMENT_ID"] = experiment_of(stores.tracking, run_id)
    try:
        # MLflow warns of its own types, and prints what it registered, which the command says too.
        with (
            changed_environment(variables),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    except (MlflowException, OSError) as error:
        text = clip(error_line(error, stores.tracking), 300)
        store = without_password(stores.tracking)
        if isinstance(error, MlflowException) and error.error_code in _USER_ERRORS:
            raise UsageFailure(f"{text} (in {store})") from None
        raise StorageFailure(f"cannot use the model registry of {store}: {text}") from None


def _validation_metrics(card: Card) -> dict[str, float]:
    return {key: value for key, value in card.metrics.items() if key in ("val/acc", "val/loss")}


def _tags(card: Card) -> dict[str, str]:
    channels, height, width = card.shape
    tags = {
        "sweep.family": card.config.family,
        "sweep.dataset": clean(card.config.dataset),
        "sweep.signature": card.config.signature,
        "sweep.image_size": f"{height}x{width}x{channels}",
        "sweep.classes": clip(", ".join(card.classes), 4000),
    }
    for key, value in _validation_metrics(card).items():
        tags[f"sweep.{key}"] = f"{value:.6g}"
    return tags


def _description(card: Card) -> str:
    channels, height, width = card.shape
    metrics = ", ".join(f"{key} {value:.4f}" for key, value in _validation_metrics(card).items())
    return (
        f"{clean(card.config.family)} on {clean(card.config.dataset)}, epoch {card.epoch}: "
        f"{metrics}. Takes raw images, whole numbers from 0 to 255 of shape "
        f"(images, {height}, {width}, {channels}), and normalises them itself; "
        "answers with class, index, probability and the probabilities of all "
        f"{len(card.classes)} classes."
    )


def _requirements() -> list[str]:
    """The packages that the served model imports.

    PyTorch must be recent enough to read the exported network; any build of the version will do.
    """
    return [
        f"torch>={torch.__version__.partition('+')[0]}",
        f"mlflow>={mlflow.__version__}",
        "numpy",
        "pandas",
    ]


def example_request(exported: ExportedNetwork) -> dict[str, Any]:
    """The body of a request to a served model, with one image."""
    return {"inputs": exported.example.tolist()}
