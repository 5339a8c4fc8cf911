"""Pages of HTML, taken apart by the tests."""

import html.parser


class Tags(html.parser.HTMLParser):
    """The elements of a page, whether all are closed, and what it would load."""

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
