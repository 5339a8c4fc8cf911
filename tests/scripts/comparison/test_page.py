import html.parser
import math

from comparison.page import Cell, figure, page, section, table

NASTY = "</td><script>alert(1)</script>\"'"


class Tags(html.parser.HTMLParser):
    """Which elements a page has, whether all are closed, and what it would load."""

    EMPTY = frozenset({"meta", "input", "img", "line", "circle", "rect", "polygon", "polyline"})

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.sources = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.sources += [
            value for name, value in attributes if name in ("src", "href", "action", "data")
        ]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag


def test_a_table_escapes_and_knows_its_numbers():
    text = table(
        [NASTY, "AP"], [[Cell(NASTY), Cell("0.5", 0.5, NASTY)], [Cell("b"), Cell("-", math.nan)]]
    )
    tags = Tags(text)
    assert "script" not in tags.seen
    assert tags.seen.count("tr") == 3
    assert text.count("data-v") == 1
    assert 'data-v="0.5"' in text


def test_a_page_is_well_formed_and_loads_nothing():
    text = page(NASTY, [section(NASTY, figure("<svg></svg>", NASTY))], {NASTY: 0, "b": 9})
    tags = Tags(text)
    assert tags.seen.count("script") == 1
    assert tags.sources == []
    assert "http" not in text
    assert "url(" not in text
