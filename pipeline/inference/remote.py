"""Classifies images through a model that `mlflow models serve` serves."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests
import torch

from pipeline.inference.predict import Predictor
from pipeline.system.errors import StorageFailure, UsageFailure
from pipeline.system.text import clip, hide_secrets, public_url

# Pixels in one request: a few MB of JSON, far below what servers refuse.
_PIXELS_PER_REQUEST = 1_000_000
_TIMEOUT = 120.0  # seconds; MLflow's own server gives up after 60


def connect(url: str) -> Predictor:
    """Ask a served model for its image shape and classes, and make a predictor of it.

    Args:
        url: the server's URL, with or without ``/invocations``.

    Raises:
        UsageFailure: if the URL is malformed.
        StorageFailure: if no server answers, or the model is not of this project.
    """
    if not _is_url(url):
        raise UsageFailure(f"--url must be http(s)://HOST:PORT: got {public_url(url)!r}")
    address = url.rstrip("/").removesuffix("/invocations") + "/invocations"
    # MLflow requires some input, even for a description.
    description = _post(address, {"inputs": [0], "params": {"describe": True}})
    try:
        height, width, channels = map(int, description["shape"])
        classes = [str(name) for name in description["classes"]]
    except (KeyError, TypeError, ValueError):
        raise StorageFailure(
            f"{public_url(address)} serves no model that `pipeline register` made"
        ) from None

    def classify(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = _post(address, {"inputs": images.tolist()})
        try:
            probabilities = torch.tensor([row["probabilities"] for row in rows])
        except (KeyError, TypeError, ValueError):
            probabilities = torch.empty(0)
        if probabilities.shape != (len(images), len(classes)):
            raise StorageFailure(
                f"{public_url(address)} answered with no probabilities for {len(images)} images"
            )
        return probabilities, probabilities

    batch = max(1, _PIXELS_PER_REQUEST // (height * width * channels))
    return Predictor(
        shape=(channels, height, width), classes=classes, batch=batch, classify=classify
    )


def _is_url(text: str) -> bool:
    # urlsplit itself drops some white space and control characters.
    if any(character.isspace() or not character.isprintable() for character in text):
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # also if the port is no number
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0


def _post(address: str, body: dict[str, Any]) -> Any:
    """Send a request in MLflow's format, and return the predictions of its answer.

    Raises:
        StorageFailure: if there is no answer, or another one than MLflow's.
    """
    try:
        response = requests.post(address, json=body, timeout=_TIMEOUT)
    except requests.RequestException as error:
        why = clip(hide_secrets(str(_root_cause(error)), address), 200)
        raise StorageFailure(
            f"cannot reach {public_url(address)}: {why}; is `mlflow models serve` running?"
        ) from None
    if not 200 <= response.status_code < 300:
        raise StorageFailure(f"{public_url(address)} refused: {_refusal(response)}")
    try:
        return response.json()["predictions"]
    except (KeyError, TypeError, ValueError):
        raise StorageFailure(
            f"{public_url(address)} answers, but not as `mlflow models serve` does"
        ) from None


def _root_cause(error: BaseException) -> BaseException:
    """The system's error, such as "Connection refused", around which others are wrapped."""
    cause = error.__cause__ or error.__context__
    while cause is not None:
        error = cause
        cause = error.__cause__ or error.__context__
    return error


def _refusal(response: requests.Response) -> str:
    """The status and message of an error response."""
    try:
        message = str(response.json()["message"])
    except (KeyError, TypeError, ValueError):
        message = response.reason
    else:
        message = message.rpartition("Error: ")[2]  # MLflow shows the whole input before it
    return clip(f"{response.status_code} {message}", 300)
