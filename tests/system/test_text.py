"""Text from elsewhere, made safe to print (what each control character becomes: test_report.py)."""

import unicodedata

import pytest

from pipeline.system.text import clean, clip, hide_secrets, public_url


@pytest.mark.parametrize(
    ("limit", "shown"), [(None, "abcdef"), (6, "abcdef"), (5, "abcd…"), (1, "…")]
)
def test_limit(limit, shown):
    """Text longer than the limit ends with an ellipsis at just that length."""
    text = clean("abcdef") if limit is None else clip("abcdef", limit)
    assert text == shown


def test_cleaned_before_it_is_cut():
    """What is cut is what is seen: a colour takes no room, nor is half of one left."""
    assert clip("\x1b[31mabcdef\x1b[0m", 6) == "abcdef"
    assert clip("abc\x1b[31mdef", 5) == "abcd…"


@pytest.mark.parametrize("value", [None, 7, 1.5, ("a",)])
def test_anything_has_a_text(value):
    """What is no text is shown as Python shows it."""
    assert clean(value) == str(value)


def test_every_character():
    """Of the first plane no character gets through that controls a terminal, or turns, ends or breaks the line."""
    line = clean("".join(map(chr, range(0x11000))))
    line.encode()
    assert {unicodedata.category(character) for character in line} & {
        "Cc",
        "Cs",
        "Zl",
        "Zp",
    } == set()
    assert [
        f"{ord(c):x}"
        for c in line
        if unicodedata.bidirectional(c) in {"LRE", "RLE", "LRO", "RLO", "PDF"}
    ] == []


@pytest.mark.parametrize(
    "url",
    [
        "http://host:5000/a",
        "http://me:s3cret@host:5000/a",
        "http://me:s3c#ret@host:5000/a",
        "http://me:s3c?r/et@host:5000/a",
        "http://me:s3c@ret@host:5000/a",
        "http://host:5000/a?token=s3cret",
        "http://host:5000/a#s3cret",
    ],
)
def test_secrets_of_a_url(url):
    """Neither a shown URL nor an error's text that repeats it has what stands beside the address."""
    assert public_url(url) == "http://host:5000/a"
    shown = hide_secrets(f"no answer from {url} (/a{url.partition('/a')[2]})", url)
    assert "s3c" not in shown
    assert "ret" not in shown
    assert "host:5000/a" in shown


def test_secrets_without_a_scheme():
    """What is no URL is shown without what may be a password, too."""
    assert public_url("me:s3cret@host?token=s3cret") == "host"
