"""Keeps the working folder out of the import path of this program's processes.

A folder of somebody's work may hold a ``random.py`` or a ``models/``. Python itself puts the
working folder first where it is started with ``-m`` or ``-c``, as helper processes are.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from pipeline.system.environment import changed_environment


def safe_environment() -> dict[str, str]:
    """Return environment variables for a Python process with the import path of this one."""
    paths = [path for path in sys.path if Path(path).is_absolute() and os.pathsep not in path]
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(paths)}


def safe_children() -> AbstractContextManager[None]:
    """Have Python processes that are started in this block get the import path of this one."""
    return changed_environment(safe_environment())
