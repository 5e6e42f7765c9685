"""What this package takes from MLflow, which takes more than a second to import.

The other modules use it as a `LaterModule`: a sweep begins to train while this is imported.
"""

from __future__ import annotations

import logging
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag, ViewType
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_STATE, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import _TEMP_ARTIFACT_PREFIX as TEMPORARY_PREFIX
from mlflow.utils import mlflow_tags
from mlflow.utils.file_utils import local_file_uri_to_path as _local_path
from mlflow.utils.validation import MAX_TAG_VAL_LENGTH

__all__ = [
    "INVALID_STATE",
    "MAX_TAG_VAL_LENGTH",
    "RESOURCE_DOES_NOT_EXIST",
    "TEMPORARY_PREFIX",
    "ArtifactRepository",
    "Dataset",
    "DatasetInput",
    "ErrorCode",
    "InputTag",
    "Metric",
    "MlflowClient",
    "MlflowException",
    "Param",
    "Run",
    "RunTag",
    "ViewType",
    "get_artifact_repository",
    "local_path",
    "mlflow_tags",
    "request_timeout",
]

logging.getLogger("mlflow").setLevel(logging.ERROR)
logging.getLogger("alembic").setLevel(logging.ERROR)


def request_timeout() -> float:
    """Return how many seconds MLflow waits for the answer to a request."""
    return float(MLFLOW_HTTP_REQUEST_TIMEOUT.get())  # type: ignore[no-untyped-call]


def local_path(location: str) -> Path:
    """Return the path of a location of artifacts on this machine."""
    return Path(_local_path(location))  # type: ignore[no-untyped-call]
