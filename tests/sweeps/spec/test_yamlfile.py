"""YAML is read with line numbers, and its traps are errors."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.spec.yamlfile import MAX_DEPTH, MAX_DIGITS, YamlError, parse_word, read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1.0e-4", 1e-4),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-2.", -2.0),
        ("+3", 3),
        ("007", 7),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("inf", "inf"),
        ("nan", "nan"),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("null", None),
        ("~", None),
        ("", None),
        ("none", "none"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("=", "="),
        ("<<", "<<"),
        ("1e", "1e"),
        ("1.2.3", "1.2.3"),
        ("-", None),
    ],
)
def test_scalars(text, value):
    """A word is what its writer meant: 1e-5 a number, no a word, 12:30:45 text."""
    data = (
        read(f"key:\n  - {text}\n").data["key"] if text != "-" else read("key:\n  -\n").data["key"]
    )
    assert data == [value]
    assert type(data[0]) is type(value)


def test_nan():
    """.nan is not a number."""
    assert math.isnan(read("key: .nan").data["key"])


def test_types_are_not_mixed():
    """A whole number is an int, a number with a point or an exponent a float."""
    data = read("{a: 1, b: 1.0, c: 1e0}").data
    assert {key: type(value) for key, value in data.items()} == {"a": int, "b": float, "c": float}


TEXT = """\
# a comment
top: 1

nested:
  inner: {low: 0,
          high: 1}
list:
  - a
  - b: 2

    c: 3
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 2),
        (("top",), 2),
        (("nested",), 4),
        (("nested", "inner"), 5),
        (("nested", "inner", "low"), 5),
        (("nested", "inner", "high"), 6),
        (("list",), 7),
        (("list", 0), 8),
        (("list", 1), 9),
        (("list", 1, "b"), 9),
        (("list", 1, "c"), 11),
        (("nested", "missing"), 4),
        (("missing",), 2),
        (("list", 7), 7),
        (("nested", "a validator", "inner", "high"), 6),
    ],
)
def test_lines(path, line):
    """Every key and item has its line from 1; what the text lacks has the line of what holds it."""
    assert read(TEXT).line(path) == line


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\n\na: 3\n", 4, "'a' is given twice, first on line 1"),
        ("x:\n  {lr: 1,\n  lr: 2}\n", 3, "'lr' is given twice, first on line 2"),
        ("x:\n  - {b: 1, 'b': 2}\n", 2, "'b' is given twice, first on line 2"),
        ("a: &x 1\nb: *x\n", 2, "aliases (*name) are not allowed: write the value out"),
        ("a: &x\n  - *x\n", 2, "aliases (*name) are not allowed: write the value out"),
        ("*x : 1\n", 1, "aliases (*name) are not allowed: write the value out"),
        (
            "a: 1\nb: !!python/object:os.system x\n",
            2,
            "tags (tag:yaml.org,2002:python/object:os.system)",
        ),
        ("a: !!str 1\n", 1, "tags (tag:yaml.org,2002:str) are not allowed: write the value alone"),
        ("a: !!bool maybe\n", 1, "tags (tag:yaml.org,2002:bool)"),
        ("a: !!timestamp now\n", 1, "tags (tag:yaml.org,2002:timestamp)"),
        ("a:\n  !!set {b, c}\n", 2, "tags (tag:yaml.org,2002:set)"),
        ("!!int 1: 1\n", 1, "tags (tag:yaml.org,2002:int)"),
        ("a: ! b\n", 1, "tags (!) are not allowed"),
        ("a: !mine b\n", 1, "tags (!mine) are not allowed"),
        ("a: 1\n2: b\n", 2, "a key must be a word: got 2"),
        ("a:\n  1.5: b\n", 2, "a key must be a word: got 1.5"),
        ("true: b\n", 1, "a key must be a word: got true"),
        ("~: b\n", 1, "a key must be a word: got ~"),
        ("[a, b]: c\n", 1, "a key must be a word"),
        ("? {a: b}\n: c\n", 1, "a key must be a word"),
        ("", 1, "must be a mapping of keys to values"),
        ("# nothing\n", 1, "must be a mapping of keys to values"),
        ("---\n...\n", 1, "must be a mapping of keys to values"),
        ("just words\n", 1, "must be a mapping of keys to values"),
        ("- a\n- b\n", 1, "must be a mapping of keys to values"),
        ("a: 1\n---\nb: 2\n", 2, "but found another document"),
        ("a: 1\n\nb: \x00\n", 3, "the character '\\x00' is not allowed"),
        ("a: \x1b[31m\n", 1, "the character '\\x1b' is not allowed"),
        ("a: \ud800\n", 1, "the character '\\ud800' is not allowed"),
        ("a: 1\n\tb: 2\n", 2, "found character '\\t' that cannot start any token"),
        ("a:\n\t- b\n", 2, "found character '\\t' that cannot start any token"),
        ("a: [1, 2\nb: 3\n", 2, "expected ',' or ']'"),
        ("a: 'open\n", 2, "found unexpected end of stream"),
        ("a: b: c\n", 1, "mapping values are not allowed here"),
        ("a: 1\n b: 2\n", 2, "mapping values are not allowed here"),
        ("%YAML 9.1\n---\na: 1\n", 1, "found incompatible YAML document"),
        (
            f"a: 1\nb: {'9' * (MAX_DIGITS + 1)}\n",
            2,
            f"a number of {MAX_DIGITS + 1} digits is too long",
        ),
        (f"a: {'9' * 5000}\n", 1, "a number of 5000 digits is too long"),
    ],
)
def test_refused(text, line, message):
    """What is no plain mapping is refused with its line and what is wrong."""
    with pytest.raises(YamlError) as error:
        read(text)
    assert (error.value.line, message in str(error.value)) == (line, True), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, 200, 5_000])
def test_depth(opening, depth):
    """Nesting is refused at a bounded depth, however deep it goes on."""
    closing = {"[": "]", "{a: ": "}", "- ": ""}[opening]
    text = f"top:\n  {opening * depth}1{closing * depth}\n"
    with pytest.raises(YamlError, match=f"^nested deeper than {MAX_DEPTH} levels$") as error:
        read(text)
    assert error.value.line == 2


@pytest.mark.parametrize("items", [1, 100])
def test_bounded_depth_is_no_bounded_length(items):
    """What is nested less deeply is read, however much of it there is."""
    depth = MAX_DEPTH - 2
    text = f"top: [{', '.join(['[' * (depth - 1) + '1' + ']' * (depth - 1)] * items)}]"
    assert len(read(text).data["top"]) == items


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 0.001),
        ("no", "no"),
        ("true", True),
        ("asha", "asha"),
        ("folder:/a: b", "folder:/a: b"),
        ("[1, 2]", [1, 2]),
        ("[a: b]", [{"a": "b"}]),
        ("[1, 2", "[1, 2"),
        ("a b", "a b"),
        ("", ""),
        ("-", "-"),
        ("9" * 5000, "9" * 5000),
        (7, 7),
        (None, None),
    ],
)
def test_scalar(text, value):
    """A word or a list of a command line is read as in a file; anything else stays as it is."""
    assert parse_word(text) == value
    assert type(parse_word(text)) is type(value)


@given(st.text())
def test_scalar_takes_any_text(text):
    """No text of a command line is refused here: its rule is for the field to say."""
    parse_word(text)


def lines_of(text):
    """The lines of a document's keys, or the one line of what is wrong with it."""
    try:
        document = read(text)
    except YamlError as error:
        return [error.line]
    return [document.lines[key,] for key in document.data]


@given(
    st.text(alphabet=st.sampled_from("ab1-:?[]{},&*!|>'\"%@`#~=<. \n\t\r\x00\x85\ufeff\u2028"))
    | st.text()
)
def test_any_text(text):
    """Any text is a mapping with a line for each of its keys, or is refused with one of its lines."""
    assert all(1 <= line <= len(text.splitlines()) + 1 for line in lines_of(text))
