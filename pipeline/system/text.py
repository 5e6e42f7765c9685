"""Makes text from elsewhere (names, paths, error messages) safe to print."""

from __future__ import annotations

import re
import textwrap

# A terminal's escape sequences (colours, titles) as a whole, so that no "[31m" remains.
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]"
)
# All further control characters, and the characters that turn the direction of writing.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# What is copied from a line, so that no line break may part it: code in backticks, and a command at
# the end, behind a colon.
_COPIED = re.compile(
    r"`[^`]*`|(?<=: )(?:[A-Z_]+=\S+ )*(?:pipeline|mlflow|optuna|pip|conda|curl) .*"
)
_QUOTED = re.compile(r"(?<!\S)(?:'[^']*'|\"[^\"]*\")")
_HELD_BLANK = "\0"  # stands for a blank at which no line ends; no cleaned text has it


def clean(text: object) -> str:
    """Return text as one line without control characters, safe on any terminal.

    Lone surrogates (from file names outside UTF-8) become question marks, so that any file can take
    the text.

    Args:
        text: any object; its `str` is used.
    """
    line = str(text)
    if line.isascii() and line.isprintable():  # there is nothing else to remove
        return " ".join(line.split())
    line = " ".join(_SEQUENCES.sub("", line).split())
    line = _CONTROLS.sub("", line)
    return line.encode("utf-8", "replace").decode("utf-8").strip()


def clip(text: object, limit: int) -> str:
    """Return text as `clean` does, of at most ``limit`` characters.

    A longer text is cut and ends with an ellipsis.
    """
    line = clean(text)
    if len(line) <= limit:
        return line
    return line[: limit - 1] + "…"


def wrap_words(text: str, width: int, hang: int = 0) -> list[str]:
    """Break a line between words, but not within what a reader may copy.

    A long word, such as a path, stays whole, and so do code in backticks and a command at the end
    of the line: the terminal folds them, which leaves no line break in the copy. Quoted text stays
    whole where a line has room for it.

    Args:
        text: a line.
        width: of the lines, in characters.
        hang: blanks before all lines but the first.

    Returns:
        The lines; one empty line for an empty text.
    """

    def hold(found: re.Match[str]) -> str:
        return found[0].replace(" ", _HELD_BLANK)

    def hold_short(found: re.Match[str]) -> str:
        return hold(found) if len(found[0]) + hang <= width else found[0]

    lines = textwrap.wrap(
        _QUOTED.sub(hold_short, _COPIED.sub(hold, text)),
        width,
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_HELD_BLANK, " ") for line in lines] or [""]


def csv_text(text: object) -> str:
    """Return the text of a CSV cell such that no spreadsheet takes it for a formula.

    Source: https://owasp.org/www-community/attacks/CSV_Injection
    """
    line = clean(text)
    if line.startswith(("=", "+", "-", "@")):
        return f"'{line}"
    return line


def public_url(url: str) -> str:
    """Return a URL without what may be secret: user, password, query and fragment.

    A password with an unquoted ``#``, ``?`` or ``/`` is left out, too.
    """
    scheme, separator, rest = clean(url).partition("://")
    if not separator:
        return re.split("[?#]", scheme.rpartition("@")[2], maxsplit=1)[0]
    rest = rest.rpartition("@")[2]
    return f"{scheme}://{re.split('[?#]', rest, maxsplit=1)[0]}"


def hide_secrets(text: str, url: str) -> str:
    """Return a text, such as an error's, without the secrets of a URL that it may show."""
    rest = url.partition("://")[2]
    user, _, place = rest.rpartition("@")
    secrets = [f"{user}@", user.partition(":")[2], *re.split("[?#]", place)[1:]]
    for secret in secrets:
        if len(secret) > 1:
            text = text.replace(secret, "")
    return text


def ordinal(number: int) -> str:
    """Return a place in a row: 1st, 2nd, 3rd, 4th, ..., 11th, ..., 21st."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    endings = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{endings.get(number % 10, 'th')}"
