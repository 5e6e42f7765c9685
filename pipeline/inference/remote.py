"""Asks a model that `mlflow models serve` serves. Knows HTTP and the form of its answers, and no network."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import torch

from pipeline.inference.predict import Predictor
from pipeline.system.errors import StorageFailure, UsageFailure
from pipeline.system.text import clean

_PIXELS = 1_000_000  # of one request: a few MB of JSON, far below what servers refuse
_PATIENCE = 120.0  # seconds for an answer; MLflow's own server gives up after 60


def connect(url: str) -> Predictor:
    """Find out what a served model takes and knows, to classify with it.

    Args:
        url: of the server, with or without ``/invocations``.

    Raises:
        UsageFailure: for what is no such URL.
        StorageFailure: where it does not answer, or not as a model of ours.
    """
    if not _is_url(url):
        raise UsageFailure(f"--url must be http(s)://HOST:PORT: got {clean(url)!r}")
    address = url.rstrip("/").removesuffix("/invocations") + "/invocations"
    about = _ask(address, {"inputs": [0], "params": {"describe": True}})  # MLflow wants some input
    try:
        height, width, channels = map(int, about["shape"])
        classes = [str(name) for name in about["classes"]]
    except (KeyError, TypeError, ValueError):
        raise StorageFailure(
            f"{clean(address)} serves no model that `pipeline register` made"
        ) from None

    def classify(raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        answer = _ask(address, {"inputs": raw.tolist()})
        try:
            probabilities = torch.tensor([row["probabilities"] for row in answer])
        except (KeyError, TypeError, ValueError):
            probabilities = torch.empty(0)
        if probabilities.shape != (len(raw), len(classes)):
            raise StorageFailure(
                f"{clean(address)} answered with no probabilities for {len(raw)} images"
            )
        return probabilities, probabilities

    batch = max(1, _PIXELS // (height * width * channels))
    return Predictor(
        shape=(channels, height, width), classes=classes, batch=batch, classify=classify
    )


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        named = (
            bool(parts.hostname) and parts.port != 0
        )  # to ask for a port that is no number raises
    except ValueError:
        return False
    # urlsplit itself drops some of the white space.
    return (
        named
        and parts.scheme in ("http", "https")
        and not any(c.isspace() or not c.isprintable() for c in text)
    )


def _ask(address: str, body: dict[str, Any]) -> Any:
    data = json.dumps(body).encode()
    kind = {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(address, data, kind)  # noqa: S310 - its scheme is checked
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310
            return json.load(answer)["predictions"]
    except urllib.error.HTTPError as error:
        raise StorageFailure(f"{clean(address)} refused: {_reason(error)}") from None
    except (KeyError, TypeError, ValueError, UnicodeDecodeError):
        raise StorageFailure(
            f"{clean(address)} answers, but not as `mlflow models serve` does"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        why = clean(getattr(error, "reason", None) or error, 200)
        raise StorageFailure(
            f"cannot reach {clean(address)}: {why}; is `mlflow models serve` running?"
        ) from None


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        said = str(json.load(error)["message"]).rpartition("Error: ")[
            2
        ]  # before it MLflow shows the whole input
    except (KeyError, OSError, TypeError, ValueError):
        said = error.reason
    return clean(f"{error.code} {said}", 300)
