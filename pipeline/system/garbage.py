"""Keeps Python's garbage collector from scanning objects that stay until the process ends."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

# A context to load modules and studies in. The command line passes `freeze_loaded`.
LoadingContext = Callable[[], AbstractContextManager[None]]


@contextmanager
def freeze_loaded() -> Iterator[None]:
    """Load modules or a study in the block, which the collector then ignores for good.

    The collector also pauses while the block runs. A full collection of all that a command has
    loaded takes a quarter of a second, in which all threads wait.

    Only for a process of our own: for the command line and the workers, not for library functions.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
