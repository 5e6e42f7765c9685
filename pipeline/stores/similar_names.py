"""Tells names that look alike but are not: with letters of another script, or in full width.

After the skeletons of Unicode Technical Standard 39, for the scripts with letters like Latin ones.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from pipeline.system.errors import UsageFailure

# The letters of other scripts, by the Latin ones that they look like in most typefaces.
_LETTERS = {
    "CYRILLIC CAPITAL LETTER": {
        "A": "A",
        "B": "VE",
        "C": "ES",
        "E": "IE",
        "H": "EN",
        "J": "JE",
        "K": "KA",
        "M": "EM",
        "O": "O",
        "P": "ER",
        "Q": "QA",
        "S": "DZE",
        "T": "TE",
        "W": "WE",
        "X": "HA",
        "I": "BYELORUSSIAN-UKRAINIAN I",
        "Y": "STRAIGHT U",
    },
    "CYRILLIC SMALL LETTER": {
        "a": "A",
        "c": "ES",
        "e": "IE",
        "h": "SHHA",
        "i": "BYELORUSSIAN-UKRAINIAN I",
        "j": "JE",
        "o": "O",
        "p": "ER",
        "q": "QA",
        "s": "DZE",
        "w": "WE",
        "x": "HA",
        "y": "U",
    },
    "GREEK CAPITAL LETTER": {
        "A": "ALPHA",
        "B": "BETA",
        "E": "EPSILON",
        "Z": "ZETA",
        "H": "ETA",
        "I": "IOTA",
        "K": "KAPPA",
        "M": "MU",
        "N": "NU",
        "O": "OMICRON",
        "P": "RHO",
        "T": "TAU",
        "Y": "UPSILON",
        "X": "CHI",
    },
    "GREEK SMALL LETTER": {
        "a": "ALPHA",
        "i": "IOTA",
        "k": "KAPPA",
        "o": "OMICRON",
        "p": "RHO",
        "u": "UPSILON",
        "v": "NU",
    },
}
_LOOKS = {
    ord(unicodedata.lookup(f"{script} {name}")): latin
    for script, letters in _LETTERS.items()
    for latin, name in letters.items()
}


def check_looks(name: str, present: Iterable[str]) -> None:
    """Check that a new study's name does not look like that of another study.

    Args:
        name: the new study's.
        present: the names of the studies in the store. If it is one of these, nothing is checked.

    Raises:
        UsageFailure: naming the first character that is another.
    """
    names = list(present)
    if name in names:
        return
    for other in names:
        if _skeleton(other) == _skeleton(name):
            position, character = _first_difference(name, other)
            raise UsageFailure(
                f"the store has a study whose name looks the same as {name!r}: character "
                f"{position} is {unicodedata.name(character, 'another')} here; take the name from "
                "`pipeline status`, or give another --name"
            )


def _skeleton(name: str) -> str:
    return unicodedata.normalize("NFKC", name).translate(_LOOKS)


def _first_difference(name: str, other: str) -> tuple[int, str]:
    """The place, counted from 1, and the character of a name where another differs from it."""
    for place, character in enumerate(name):
        if other[place : place + 1] != character:
            return place + 1, character
    return len(name), name[-1]
