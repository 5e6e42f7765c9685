"""Imports torchvision's data sets without the rest of torchvision.

The first lines of the package import all of it and, with its operators, torch's compiler: two
seconds for nothing. Besides, PyPI's torchvision is linked against CUDA: with a CPU-only torch its
operators do not load, and the import fails with ``operator torchvision::nms does not exist``
(https://github.com/pytorch/vision/issues/9085). Data sets need no operators.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from types import ModuleType

_PACKAGE = "torchvision"


@cache
def datasets() -> ModuleType:
    """Return `torchvision.datasets`."""
    spec = importlib.util.find_spec(_PACKAGE)
    if _PACKAGE in sys.modules or spec is None:
        return importlib.import_module(f"{_PACKAGE}.datasets")
    sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)  # its first lines are not run
    try:
        return importlib.import_module(f"{_PACKAGE}.datasets")
    finally:  # a later import gets all of the package
        for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
            del sys.modules[name]
