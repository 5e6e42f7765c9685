"""Reads the arguments of the public functions as the options of the command line are read."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def data_folder(data_dir: str | Path | None) -> Path:
    """The folder of data sets: the given one, ``PIPELINE_DATA_DIR``, or ``data``."""
    return Path(data_dir or os.environ.get("PIPELINE_DATA_DIR") or "data")


def plain_value(value: Any) -> Any:
    """A value without the types of NumPy: a number of an array is a number of Python."""
    return value.item() if hasattr(value, "item") and not isinstance(value, str) else value


def command_of(study: object, given: Mapping[str, Any]) -> str:
    """Write the command that goes on with a study, for reports; of a mapping, the Python call.

    Args:
        study: the argument of `pipeline.sweep`.
        given: the other arguments; None for those that are left out.
    """
    values = {key: value for key, value in given.items() if value not in (None, {})}
    if not isinstance(study, str | Path):
        arguments = "".join(f", {key}={value!r}" for key, value in values.items())
        return f"pipeline.sweep(study{arguments})"
    words = ["pipeline", "sweep", str(study)]
    for key, value in values.items():
        words += _option_words(key, value)
    return shlex.join(words)


def _option_words(key: str, value: Any) -> list[str]:
    """Write an argument as an option of the command line."""
    if key == "set":
        return ["--set", ",".join(f"{name}={item}" for name, item in value.items())]
    if key == "method":
        key = "sampler"
    name = key.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = ",".join(map(str, value))
    return [f"--{name}", str(value)]
