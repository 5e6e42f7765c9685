"""A new study's name that only looks like another's is refused."""

import pytest

from pipeline.stores.similar_names import check_looks
from pipeline.system.errors import UsageFailure


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("c\N{CYRILLIC SMALL LETTER O}py", "character 2 is CYRILLIC SMALL LETTER O"),
        ("\N{CYRILLIC SMALL LETTER ES}opy", "character 1 is CYRILLIC SMALL LETTER ES"),
        ("cop\N{FULLWIDTH LATIN SMALL LETTER Y}", "character 4 is FULLWIDTH LATIN SMALL LETTER Y"),
        ("c\N{GREEK SMALL LETTER OMICRON}py", "GREEK SMALL LETTER OMICRON"),
    ],
)
def test_a_name_of_the_same_look_is_refused(name, words):
    """In either direction, and the character is named."""
    with pytest.raises(UsageFailure, match=words):
        check_looks(name, ["other", "copy"])
    with pytest.raises(UsageFailure, match="LATIN SMALL LETTER"):
        check_looks("copy", [name])


@pytest.mark.parametrize(
    "name", ["copy", "Copy", "copy-2", "c0py", "\u043a\u043e\u043f\u0438\u044f"]
)
def test_other_names_are_taken(name):
    """The same study again, and names that differ to the eye."""
    check_looks(name, ["copy"])
    check_looks("copy", ["copy", name])
