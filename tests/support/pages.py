"""Reads an HTML page into its elements, without a browser, and checks every page's rules."""

import itertools
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "img", "input", "br"}


@dataclass
class Element:
    """A tag, its attributes, and all text inside it."""

    tag: str
    attributes: dict[str, str]
    texts: list[str] = field(default_factory=list)
    children: list["Element"] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text inside, in one line."""
        return " ".join("".join(self.texts).split())

    def all(self, *tags: str) -> list["Element"]:
        """The elements inside with one of the tags, in order."""
        found = []
        for child in self.children:
            found += [child] if child.tag in tags else []
            found += child.all(*tags)
        return found

    def cells(self) -> list[list[str]]:
        """The texts of a table's cells, row by row, the head first."""
        return [[cell.text for cell in row.all("th", "td")] for row in self.all("tr")]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("", {})]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element.texts.append(data)


def read(text: str) -> Element:
    """Read a page; fails where a tag is not closed in its turn."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert len(reader.open) == 1, f"<{reader.open[-1].tag}> is not closed"
    return reader.open[0]


def check(text: str) -> Element:
    """Check that a page is self-contained, well-formed and accessible; return its elements."""
    page = read(text)
    ids = [e.attributes["id"] for e in _every(page) if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in _every(page):
        for name, value in element.attributes.items():
            assert not name.startswith("on"), f"<{element.tag} {name}>"
            assert name != "style", f"<{element.tag} style>"
            if name in ("src", "href", "action", "data", "srcset", "poster"):
                allowed = "data:image/png;base64," if element.tag == "img" else ("#", "../")
                assert value.startswith(allowed), value[:80]
    assert {e.tag for e in _every(page)}.isdisjoint(
        {"link", "iframe", "object", "embed", "base", "form", "svg"}
    )
    assert all(image.attributes.get("alt") for image in page.all("img"))
    headings = [int(e.tag[1]) for e in page.all(*(f"h{i}" for i in range(1, 7)))]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))
    anchors = [
        e.attributes["href"][1:] for e in page.all("a") if e.attributes["href"].startswith("#")
    ]
    assert set(anchors) <= set(ids)
    labels = [e.attributes["aria-labelledby"] for e in page.all("section")]
    assert set(labels) <= set(ids)
    assert [len(page.all(tag)) for tag in ("main", "header", "footer", "nav", "title")] == [1] * 5
    assert page.all("html")[0].attributes["lang"] == "en"
    return page


def _every(element: Element) -> list[Element]:
    return [found for child in element.children for found in (child, *_every(child))]
