import json
import os
import re
from pathlib import Path

from bottomup.inference import gallery
from bottomup.inference.journal import Record

PAGE = Path(gallery.__file__).with_name("gallery.html").read_text()
LIST = re.compile(r'<script id="rows" type="application/json">(.*?)</script>', re.DOTALL)


def test_the_page_as_it_is_shows_an_empty_list():
    (rows,) = LIST.findall(PAGE)
    assert json.loads(rows) == []


def test_entries_go_into_the_list():
    before, after = gallery.split_page()
    assert before + after == PAGE.rstrip()
    (rows,) = LIST.findall(before + '\n{"f":"a"},\n{"f":"b"}\n' + after)
    assert json.loads(rows) == [{"f": "a"}, {"f": "b"}]


def test_the_page_knows_how_many_images_it_shows_at_most():
    assert re.findall(r"MAX_ROWS = (\d+)", PAGE) == [str(gallery.MAX_ROWS)]


def test_the_page_needs_nothing_from_elsewhere():
    assert not re.search(r"https?:|@import|\b(src|href)\s*=\s*[\"']", PAGE)


def test_an_entry_has_what_is_known():
    record = Record("a.jpg", 1, 2, 60, 40, [], 0, "overlays/a.jpg", "/9g=", seconds=0.1)
    assert gallery.entry(record, "../1/overlays/a.jpg") == {
        "f": "a.jpg",
        "n": 0,
        "w": 60,
        "h": 40,
        "o": "../1/overlays/a.jpg",
        "t": "/9g=",
    }
    assert gallery.entry(Record("b", error="bad"), None) == {"f": "b", "e": "bad"}


def test_an_entry_of_any_name_is_text_and_an_address():
    name = os.fsdecode(b'<b>&"%#?\xff.jpg')
    found = gallery.entry(Record(name), f"overlays/é/{name}")
    json.dumps(found, ensure_ascii=False).encode()
    assert found["f"] == '<b>&"%#??.jpg'
    assert found["o"] == "overlays/%C3%A9/%3Cb%3E%26%22%25%23%3F%FF.jpg"
