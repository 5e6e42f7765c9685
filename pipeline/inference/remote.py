"""Classifies images through a model that `mlflow models serve` serves.

Whatever answers may be another server than the user meant: how long it is waited for, and how much
of it is read, is limited, and what it says is checked.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlsplit

import requests
import torch
from requests.exceptions import ChunkedEncodingError, ContentDecodingError

from pipeline.checkpoints import check_image_shape
from pipeline.inference.predict import Predictor
from pipeline.system.errors import StorageFailure, UsageFailure
from pipeline.system.text import clip, hide_secrets, public_url

# Pixels in one request: a few MB of JSON, far below what servers refuse.
_PIXELS_PER_REQUEST = 1_000_000
_CONNECT_TIMEOUT = 10.0  # seconds
# Seconds in which an answer must be complete; MLflow's own server gives up after 60.
_TIMEOUT = 120.0
_DESCRIPTION_TIMEOUT = 30.0
# Bytes of the longest answers, in JSON: a description, and a row of probabilities.
_LONGEST_DESCRIPTION = 10_000_000
_LONGEST_ROW = 10_000  # besides the probabilities
_LONGEST_NUMBER = 30
_CHUNK = 1 << 16  # bytes that are read at a time


@dataclass(frozen=True)
class _Answer:
    """What a server has answered."""

    status: int
    reason: str
    headers: requests.structures.CaseInsensitiveDict[str]
    content: bytes

    def json(self) -> Any:
        """Parse the content.

        Raises:
            ValueError: if it is no JSON, or one that is nested too deeply.
        """
        try:
            return json.loads(self.content)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


class _TooLongError(Exception):
    """An answer has more bytes than any that was asked for."""


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
    question = {"inputs": [0], "params": {"describe": True}}
    description = _post(address, question, _LONGEST_DESCRIPTION, _DESCRIPTION_TIMEOUT)
    try:
        shape, classes = _parse_description(description)
    except (KeyError, TypeError, ValueError):
        raise StorageFailure(
            f"{public_url(address)} serves no model that `pipeline register` made"
        ) from None

    def classify(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        longest = len(images) * (_LONGEST_ROW + len(classes) * _LONGEST_NUMBER)
        rows = _post(address, {"inputs": images.tolist()}, longest, _TIMEOUT)
        probabilities = _parse_probabilities(rows)
        if probabilities.shape != (len(images), len(classes)):
            raise StorageFailure(
                f"{public_url(address)} answered with no probabilities for {len(images)} images"
            )
        return probabilities, probabilities

    batch = max(1, _PIXELS_PER_REQUEST // math.prod(shape))
    return Predictor(shape=shape, classes=classes, batch=batch, classify=classify)


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


def _parse_description(description: Any) -> tuple[tuple[int, int, int], list[str]]:
    """Parse a model's description: the shape (channels, height, width), and the classes.

    Raises:
        KeyError, TypeError, ValueError: if it is no description of such a model.
    """
    height, width, channels = description["shape"]
    check_image_shape((channels, height, width))
    classes = description["classes"]
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise TypeError("no list of names")
    if not classes:
        raise ValueError("no classes")
    return (channels, height, width), classes


def _parse_probabilities(rows: Any) -> torch.Tensor:
    """Parse the probabilities of each image; an empty tensor if they are none."""
    try:
        probabilities = torch.tensor([row["probabilities"] for row in rows], dtype=torch.float32)
    except (KeyError, OverflowError, RuntimeError, TypeError, ValueError):
        return torch.empty(0)
    if not ((probabilities >= 0) & (probabilities <= 1.001)).all():  # neither, if it is no number
        return torch.empty(0)
    return probabilities


def _post(address: str, body: dict[str, Any], longest: int, seconds: float) -> Any:
    """Send a request in MLflow's format, and return the predictions of its answer.

    Args:
        address: the URL.
        body: of the request, as JSON.
        longest: bytes of the longest answer there can be.
        seconds: in which the answer must be complete.

    Raises:
        StorageFailure: if there is no answer, or another one than MLflow's.
    """
    server = public_url(address)
    try:
        answer = _within(seconds, lambda: _ask(address, body, longest))
    except TimeoutError:
        raise StorageFailure(
            f"{server} has not answered completely within {seconds:g} s: is it "
            "`mlflow models serve`, and not overloaded?"
        ) from None
    except _TooLongError:
        _refuse(server, f"with more than {longest:,} bytes")
    except (requests.RequestException, UnicodeError) as error:
        why = clip(hide_secrets(str(_root_cause(error)), address), 200)
        if isinstance(error, ChunkedEncodingError | ContentDecodingError):
            _refuse(server, f"with what cannot be read ({why})")
        raise StorageFailure(
            f"cannot reach {server}: {why}; is `mlflow models serve` running?"
        ) from None
    if 300 <= answer.status < 400:
        target = public_url(answer.headers.get("Location", "nowhere"))
        _refuse(server, f"with a redirection to {clip(target, 200)}, which is not followed")
    if not 200 <= answer.status < 300:
        raise StorageFailure(f"{server} refused: {_refusal(answer)}")
    try:
        return answer.json()["predictions"]
    except (KeyError, TypeError, ValueError):
        kind = clip(answer.headers.get("Content-Type", "no type"), 60)
        _refuse(server, f"with content of the type {kind}")


def _refuse(server: str, what: str) -> NoReturn:
    raise StorageFailure(f"{server} answers {what}, and not as `mlflow models serve` does")


def _within(seconds: float, call: Callable[[], _Answer]) -> _Answer:
    """Make a call that may take longer than its result is waited for.

    The time limits of sockets start anew with each byte.

    Raises:
        TimeoutError: if there is no result in time.
    """
    future: Future[_Answer] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:  # noqa: BLE001 - raised where the result is waited for
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()  # the end of this process does not wait
    return future.result(seconds)


def _ask(address: str, body: dict[str, Any], longest: int) -> _Answer:
    """Send a request, and read its answer.

    Raises:
        requests.RequestException: if there is none.
        _TooLongError: if it is too long.
    """
    with requests.post(
        address,
        json=body,
        headers={"Accept-Encoding": "identity"},  # a few bytes could unpack to very many
        timeout=(_CONNECT_TIMEOUT, _TIMEOUT),
        allow_redirects=False,  # the images go to the named server only
        stream=True,
    ) as response:
        content = bytearray()
        for chunk in response.iter_content(_CHUNK):
            content += chunk
            if len(content) > longest:
                raise _TooLongError
        return _Answer(response.status_code, response.reason, response.headers, bytes(content))


def _root_cause(error: BaseException) -> BaseException:
    """The system's error, such as "Connection refused", around which others are wrapped."""
    cause = error.__cause__ or error.__context__
    while cause is not None:
        error = cause
        cause = error.__cause__ or error.__context__
    return error


def _refusal(answer: _Answer) -> str:
    """The status and message of an error response."""
    try:
        message = str(answer.json()["message"])
    except (KeyError, TypeError, ValueError):
        message = answer.reason
    else:
        message = message.rpartition("Error: ")[2]  # MLflow shows the whole input before it
    return clip(f"{answer.status} {message}", 300)
