"""MLflow's model registry: a network becomes a version that can be served, and is found again. Trains nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import tempfile
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
from pipeline.system.errors import StorageFailure, UsageFailure
from pipeline.system.text import clean
from pipeline.tracking.server import error_line, without_password
from pipeline.tracking.tracker import experiment_of

_CODE = Path(__file__).with_name("served_model.py")
_USERS_FAULT = {ErrorCode.Name(code) for code in (INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST)}
# Any array passes as it comes: were the type uint8 here, MLflow would cut the 0.7 of a scaled image to 0, and answer.
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
    """A version of a model in the registry."""

    name: str
    version: int
    alias: str
    moved: int | None  # the version that had the alias before

    @property
    def uri(self) -> str:
        """What everything of MLflow knows it by."""
        return f"models:/{self.name}@{self.alias}"


def check_names(name: str, alias: str) -> None:
    """See that a model and an alias may be called so.

    Raises:
        UsageFailure: with MLflow's words if not.
    """
    try:
        _validate_model_name(name)
        _validate_model_alias_name(alias)  # type: ignore[no-untyped-call]
        _validate_model_alias_name_reserved(alias)  # type: ignore[no-untyped-call]
    except MlflowException as error:
        raise UsageFailure(clean(error, 300)) from None
    if clean(name) != name or not name.strip():
        raise UsageFailure(f"a model's name must be printable text: got {name!r}")


def register(
    where: locations.Stores, found: TrainedNetwork, exported: ExportedNetwork, name: str, alias: str
) -> RegisteredVersion:
    """Make a network the next version of a registered model, and move the alias to it.

    It holds the network as a pt2 file, the code that serves it, and the checkpoint that it was made from.

    Args:
        where: the stores, ready to be written.
        found: the network; its run, if it has one, is the version's.
        exported: the same as pt2.
        name: the model's.
        alias: by which the newest is found.

    Raises:
        StorageFailure: if the registry cannot be used.
    """
    check_names(name, alias)
    with tempfile.TemporaryDirectory() as folder, _store(where, found.run_id):
        network = Path(folder) / "network.pt2"
        network.write_bytes(exported.content)
        checkpoint = Path(folder) / "checkpoint"
        save_model(checkpoint / BEST, found.network.state_dict(), found.card)
        model = Model.log(
            artifact_path=None,
            name="classifier",
            flavor=mlflow.pyfunc,
            run_id=found.run_id,
            registered_model_name=name,
            await_registration_for=0,
            python_model=str(_CODE),
            artifacts={"network": str(network), "checkpoint": str(checkpoint)},
            signature=ModelSignature(_INPUT, _OUTPUT, _PARAMS),
            input_example=exported.example.numpy(),
            pip_requirements=_requirements(),
            metadata=facts(found.card),
        )
        client = MlflowClient(where.tracking)
        version = int(model.registered_model_version)
        before = client.get_registered_model(name).aliases.get(alias)
        for key, value in _tags(found.card).items():
            client.set_model_version_tag(name, str(version), key, value)
        client.update_model_version(name, str(version), _description(found.card))
        client.set_registered_model_alias(name, alias, str(version))
    return RegisteredVersion(name, version, alias, None if before is None else int(before))


def fetch_checkpoint(where: locations.Stores, uri: str, folder: Path) -> tuple[Path, str | None]:
    """Bring a registered model's checkpoint into a folder; nothing of the model is run.

    Args:
        where: the stores.
        uri: ``models:/NAME@ALIAS``, ``models:/NAME/3`` or ``runs:/ID/classifier``.
        folder: for the checkpoint.

    Returns:
        Its place, and the id of the run that the model came from.

    Raises:
        UsageFailure: where there is no such model, or it is not one of ours.
        StorageFailure: if the registry cannot be used.
    """
    with (
        access.read_tracking(where) as tracking,
        _store(dataclasses.replace(where, tracking=tracking)),
    ):
        model = Model.load(uri)
        files = model.flavors.get("python_function", {}).get("artifacts", {})
        if "checkpoint" not in files:
            raise UsageFailure(f"{uri} holds no checkpoint: it was not made by `pipeline register`")
        path = mlflow.artifacts.download_artifacts(
            f"{uri}/{files['checkpoint']['path']}", dst_path=str(folder)
        )
    return Path(path), model.run_id


@contextmanager
def _store(where: locations.Stores, run_id: str | None = None) -> Iterator[None]:
    """Have MLflow's own functions use our store, there the experiment of a run, and tell their errors in a line."""
    given = {"MLFLOW_TRACKING_URI": where.tracking}
    if run_id is not None:
        given["MLFLOW_EXPERIMENT_ID"] = experiment_of(where.tracking, run_id)
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # MLflow warns of its own types; and what is registered is said by us
            yield
    except (MlflowException, OSError) as error:
        text = clean(error_line(error, where.tracking), 300)
        if isinstance(error, MlflowException) and error.error_code in _USERS_FAULT:
            raise UsageFailure(f"{text} (in {without_password(where.tracking)})") from None
        raise StorageFailure(
            f"cannot use the model registry of {without_password(where.tracking)}: {text}"
        ) from None
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _tags(card: Card) -> dict[str, str]:
    channels, height, width = card.shape
    return {
        "sweep.family": card.config.family,
        "sweep.dataset": clean(card.config.dataset),
        "sweep.signature": card.config.signature,
        "sweep.image_size": f"{height}x{width}x{channels}",
        "sweep.classes": clean(", ".join(card.classes), 4000),
        **{
            f"sweep.{key}": f"{value:.6g}"
            for key, value in card.metrics.items()
            if key in ("val/acc", "val/loss")
        },
    }


def _description(card: Card) -> str:
    channels, height, width = card.shape
    said = ", ".join(
        f"{key} {value:.4f}"
        for key, value in card.metrics.items()
        if key in ("val/acc", "val/loss")
    )
    return (
        f"{clean(card.config.family)} on {clean(card.config.dataset)}, epoch {card.epoch}: {said}. Takes raw images, "
        f"whole numbers from 0 to 255 of shape (images, {height}, {width}, {channels}), and normalises them itself; "
        f"answers with class, index, probability and the probabilities of all {len(card.classes)} classes."
    )


def _requirements() -> list[str]:
    """What the code imports: a torch that reads what this one has written, and any builds of the others."""
    return [
        f"torch>={torch.__version__.partition('+')[0]}",
        f"mlflow>={mlflow.__version__}",
        "numpy",
        "pandas",
    ]


def example_request(exported: ExportedNetwork) -> dict[str, Any]:
    """What the body of a request to a served model looks like: one image."""
    return {"inputs": exported.example.tolist()}
