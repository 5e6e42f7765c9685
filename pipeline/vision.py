"""Imports torchvision's data sets, also beside a torch build that its compiled operators do not fit.

PyPI's torchvision is linked against CUDA. Beside a CPU-only torch its library does not load, and the import dies with
``operator torchvision::nms does not exist``, though data sets need no operator. Declaring the schemas of the two that
the import looks up lets it pass (https://github.com/pytorch/vision/issues/9085). Nothing else is changed.
"""

from __future__ import annotations

import sys
from types import ModuleType

import torch

_KEEP: list[torch.library.Library] = []  # a library's declarations live as long as it does


def datasets() -> ModuleType:
    """Return `torchvision.datasets`."""
    try:
        import torchvision.datasets as found
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _KEEP.append(library)
        import torchvision.datasets as found
    module: ModuleType = found
    return module
