"""The code of a registered model, copied into it: MLflow runs it where this project is not. Imports nothing of that."""

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

_BATCH = 1000  # images that go through the network at once


class ImageClassifier(PythonModel):
    """Raw images in; class names, their indices and probabilities out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the network and what is known of it."""
        extra = {"card.json": ""}
        program = torch.export.load(context.artifacts["network"], extra_files=extra)
        self._network = program.module()
        self._facts = json.loads(extra["card.json"])

    def predict(
        self,
        context: Any,  # noqa: ARG002
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> Any:
        """Classify whole numbers from 0 to 255 of shape (images, height, width, channels).

        With ``{"describe": true}`` as params it tells instead what it takes and which classes it knows.

        Raises:
            MlflowException: for anything else: floats above all, which have been scaled already.
        """
        if params and params.get("describe"):
            return self._facts
        images = torch.from_numpy(pixels(np.asarray(model_input), self._facts["shape"]))
        with torch.no_grad():
            found = torch.cat([self._network(some) for some in torch.split(images, _BATCH)])
        indices = found.argmax(dim=1).tolist()
        return pd.DataFrame(
            {
                "class": [self._facts["classes"][index] for index in indices],
                "index": indices,
                "probability": found.amax(dim=1).tolist(),
                "probabilities": found.tolist(),
            }
        )


def pixels(values: np.ndarray[Any, Any], shape: list[int]) -> np.ndarray[Any, Any]:
    """Check raw images, and return them as uint8.

    Raises:
        MlflowException: unless they are whole numbers from 0 to 255 of the given shape each.
    """
    if values.ndim != 4 or list(values.shape[1:]) != shape or not len(values):
        wanted = ", ".join(map(str, ["images", *shape]))
        raise _refused(f"images must have the shape ({wanted}): got {values.shape}")
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    # What comes as JSON is an array of Python's own numbers; MLflow would cut 0.7 to 0 if it knew the type.
    if values.dtype == object:
        strange = {type(value) for value in values.flat if type(value) is not int}
    else:
        strange = set()
    if strange or values.dtype.kind not in "iuO":
        name = ", ".join(sorted(kind.__name__ for kind in strange)) or str(values.dtype)
        raise _refused(
            f"pixels must be whole numbers from 0 to 255, as an image has them: got {name}; do not scale or normalise "
            "them, the model does that itself"
        )
    low = values.min()
    high = values.max()
    if low < 0 or high > 255:
        raise _refused(f"pixels must be whole numbers from 0 to 255: got {low} to {high}")
    return values.astype(np.uint8)


def _refused(message: str) -> MlflowException:
    return MlflowException(message, error_code=INVALID_PARAMETER_VALUE)


set_model(ImageClassifier())
