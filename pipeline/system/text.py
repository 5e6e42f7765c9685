"""Makes text that came from elsewhere safe to print. Knows nothing of what it says."""

from __future__ import annotations

import re

# Escape sequences of a terminal as a whole (colours, titles), so that no "[31m" is left of them.
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]"
)
# What is left of control characters, and what turns the direction of writing.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: object, limit: int | None = None) -> str:
    """Text as one line without control characters, of at most ``limit`` characters: safe on any terminal.

    Lone surrogates (from file names that are no UTF-8) become question marks, so that it can be written anywhere.
    """
    line = " ".join(_SEQUENCES.sub("", str(text)).split())
    line = _CONTROLS.sub("", line).encode("utf-8", "replace").decode("utf-8").strip()
    if limit is None or len(line) <= limit:
        return line
    return line[: limit - 1] + "…"


def csv_text(text: object) -> str:
    """Text of a CSV cell that no spreadsheet takes for a formula.

    Source: https://owasp.org/www-community/attacks/CSV_Injection
    """
    line = clean(text)
    if line.startswith(("=", "+", "-", "@")):
        return f"'{line}"
    return line
