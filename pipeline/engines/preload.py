"""Imports all modules of training, in the server process from which workers are forked.

Importing this module has a side effect: it registers an exit handler for the server process.
"""

import atexit
import importlib
import os

from pipeline.system import forkserver, garbage

# A sweep draws its report in the end, from the same server: it imports what draws when the first
# workers, which need none of that, have begun to train.
_DRAWING_AFTER = 3.0  # seconds

# Frozen, so that a garbage collection in a worker does not copy the pages that workers share.
with garbage.freeze_loaded():
    import torch.utils.flop_counter  # noqa: F401 - which training imports when it is needed

    import pipeline.engines.worker  # noqa: F401 - for the workers, with torch


@garbage.freeze_loaded()
def _import_drawing() -> None:
    importlib.import_module(forkserver.DRAWING_PRELOAD)


# The handler is for the server alone: a regular exit would report the frozen objects as leaked.
atexit.register(os._exit, 0)
forkserver.import_later(_import_drawing, _DRAWING_AFTER)
