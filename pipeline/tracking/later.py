"""A module that is imported when something in it is first used."""

from __future__ import annotations

import importlib
from typing import Any


class LaterModule:
    """Stands for a module, which its first use imports: in the thread of that use.

    For a library that takes seconds to import, in a module whose importers may never come to use
    it, or only when they have begun something that need not wait for it::

        if TYPE_CHECKING:
            from pipeline.tracking import library
        else:
            library = LaterModule("pipeline.tracking.library")
    """

    def __init__(self, name: str) -> None:
        """Import nothing yet.

        Args:
            name: of the module.
        """
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        """Import the module, unless it is imported, and return something in it."""
        return getattr(importlib.import_module(self._name), attribute)
