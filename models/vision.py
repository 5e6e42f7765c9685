"""Imports parts of torchvision where its own first lines take long, or fail.

The first lines of the package import all of it and, with its operators, torch's compiler: two
seconds. Besides, PyPI's torchvision is linked against CUDA: with a CPU-only torch its operators do
not load, and the import fails with ``operator torchvision::nms does not exist``
(https://github.com/pytorch/vision/issues/9085). Data sets and classifiers need no operators.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from types import ModuleType
from typing import Any

_PACKAGE = "torchvision"
# The operators that the package's first lines take for granted.
_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_DECLARED: list[object] = []  # a library lasts as long as its object


@cache
def part(name: str) -> ModuleType:
    """Return a module of torchvision, imported without the package's first lines.

    Args:
        name: such as ``datasets``.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if _PACKAGE in sys.modules or spec is None:
        return importlib.import_module(f"{_PACKAGE}.{name}")
    sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)  # its first lines are not run
    try:
        return importlib.import_module(f"{_PACKAGE}.{name}")
    finally:  # a later import gets all of the package
        for module in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
            del sys.modules[module]


@cache
def networks() -> ModuleType:
    """Return `torchvision.models`, with all of the package, which timm imports too."""
    if _PACKAGE not in sys.modules and not part("extension")._has_ops():  # noqa: SLF001
        import torch

        library: Any = torch.library.Library(_PACKAGE, "DEF")  # type: ignore[no-untyped-call]
        for operator in _OPERATORS:
            library.define(operator)
        _DECLARED.append(library)
    return importlib.import_module(f"{_PACKAGE}.models")
