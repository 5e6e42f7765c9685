"""Keeps Python's garbage collector from scanning objects that stay for good."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def freeze_loaded() -> Iterator[None]:
    """Load what stays, modules or a study: garbage is not looked for among it, neither meanwhile nor later.

    Going through all of it once takes a quarter of a second, and all threads wait.
    """
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if looked:
            gc.enable()
