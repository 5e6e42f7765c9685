"""Keeps the working folder out of the import path of this program's processes.

A folder of somebody's work may hold a ``random.py`` or a ``models/``. Python itself puts the
working folder first where it is started with ``-m`` or ``-c``, as helper processes are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def safe_environment() -> dict[str, str]:
    """Return environment variables for a Python process with the import path of this one."""
    paths = [path for path in sys.path if Path(path).is_absolute() and os.pathsep not in path]
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(paths)}


@contextmanager
def safe_children() -> Iterator[None]:
    """Have Python processes that are started in this block get the import path of this one."""
    changes = safe_environment()
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
