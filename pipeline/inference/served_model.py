"""The code of a registered model: MLflow copies this file, and runs the copy to serve the model.

MLflow runs the copy without this project, so this module imports nothing of the project.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

_BATCH = 1000  # images that go through the network at a time


class ImageClassifier(PythonModel):
    """Maps raw images to class names, class indices and probabilities."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the network and its description."""
        extra = {"card.json": ""}
        program = torch.export.load(context.artifacts["network"], extra_files=extra)
        self._network = program.module()
        self._facts = json.loads(extra["card.json"])

    def predict(
        self,
        context: Any,  # noqa: ARG002 - MLflow passes it
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> Any:
        """Classify images.

        Args:
            context: unused.
            model_input: whole numbers from 0 to 255 of shape (images, height, width, channels).
            params: ``{"describe": true}`` asks for the network's description instead.

        Returns:
            A table with a row for each image, or the description.

        Raises:
            MlflowException: for any other input, above all for floats, which are scaled already.
        """
        if params and params.get("describe"):
            return self._facts
        images = torch.from_numpy(pixels(np.asarray(model_input), self._facts["shape"]))
        with torch.no_grad():
            batches = [self._network(batch) for batch in torch.split(images, _BATCH)]
        probabilities = torch.cat(batches)
        indices = probabilities.argmax(dim=1).tolist()
        return pd.DataFrame(
            {
                "class": [self._facts["classes"][index] for index in indices],
                "index": indices,
                "probability": probabilities.amax(dim=1).tolist(),
                "probabilities": probabilities.tolist(),
            }
        )


def pixels(values: np.ndarray[Any, Any], shape: list[int]) -> np.ndarray[Any, Any]:
    """Check raw images, and return them as uint8.

    Args:
        values: the images.
        shape: height, width and channels of each image.

    Raises:
        MlflowException: unless all values are whole numbers from 0 to 255, in the right shape.
    """
    if values.ndim != 4 or list(values.shape[1:]) != shape or not len(values):
        expected = ", ".join(map(str, ["images", *shape]))
        raise _invalid(f"images must have the shape ({expected}): got {values.shape}")
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    type_names = _types_other_than_int(values)
    if type_names:
        raise _invalid(
            f"pixels must be whole numbers from 0 to 255, as an image has them: got {type_names}; "
            "do not scale or normalise them, the model does that itself"
        )
    low = values.min()
    high = values.max()
    if low < 0 or high > 255:
        raise _invalid(f"pixels must be whole numbers from 0 to 255: got {low} to {high}")
    return values.astype(np.uint8)


def _types_other_than_int(values: np.ndarray[Any, Any]) -> str:
    """The names of the types that are no integers; empty if there are none."""
    # An array from JSON holds Python's own numbers. Had the model's signature a type, MLflow would
    # cut 0.7 to 0 before it comes here.
    if values.dtype == object:
        types = {type(value) for value in values.flat}
        return ", ".join(sorted(kind.__name__ for kind in types if kind is not int))
    if values.dtype.kind in "iu":
        return ""
    return str(values.dtype)


def _invalid(message: str) -> MlflowException:
    return MlflowException(message, error_code=INVALID_PARAMETER_VALUE)


set_model(ImageClassifier())
