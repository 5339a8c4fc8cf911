import errno
import json
import os
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bottomup.inference import journal as journals
from bottomup.inference.journal import (
    End,
    Journal,
    Record,
    Session,
    decode,
    encode,
    read,
    read_at,
    read_state,
)
from tests.support.run_folders import SESSION, record, write_journal

ENTRIES = [SESSION, record("a.jpg"), Record("bad\n.jpg", error="broken"), End(2)]


def entries_of(path) -> list:
    return [entry for _, entry in read(path)]


def line_of(content: bytes) -> bytes:
    """A line whose length and CRC are right, whatever is in it."""
    behind = b"%08x %s\n" % (len(content), content)
    return b"%08x %s" % (zlib.crc32(behind), behind)


def test_what_is_appended_is_read_back(tmp_path):
    path = tmp_path / "journal"
    with Journal(path) as journal:
        for entry in ENTRIES:
            journal.append(entry)
            assert entries_of(path)[-1] == entry  # at once, not only after closing
    assert entries_of(path) == ENTRIES
    with open(path, "rb") as file:
        for offset, entry in read(path):
            if isinstance(entry, Record):
                assert read_at(file, offset) == entry


def people_of(person: bytes) -> bytes:
    ids = b'"image_id":0,"category_id":1'
    return b'{"name":"a","width":1,"height":1,"people":[{%s,%s}]}' % (ids, person)


@given(
    st.text(),
    st.none() | st.integers(0, 1 << 62),
    st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=6), max_size=3),
    st.none() | st.text(),
)
def test_any_record_survives(name, size, keypoints, error):
    common = {"image_id": 0, "category_id": 1, "score": 0.5}
    people = [common | {"keypoints": numbers} for numbers in keypoints]
    entry = Record(name, size, size, 3, 4, people, len(people), error=error, seconds=0.25)
    line = encode(entry)
    assert decode(line) == entry
    assert line.count(b"\n") == 1


def test_a_torn_last_record_is_cut_off_and_the_others_stay(tmp_path):
    path = write_journal(tmp_path, ENTRIES)
    whole = path.read_bytes()
    for end in range(len(whole) - len(encode(ENTRIES[-1])), len(whole)):
        path.write_bytes(whole[:end])
        assert entries_of(path) == ENTRIES[:3]
        with Journal(path, read_state(path).end) as journal:
            journal.append(ENTRIES[3])
        assert path.read_bytes() == whole


def test_zeros_at_the_end_are_no_records(tmp_path):
    path = write_journal(tmp_path, ENTRIES)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(5000))  # what some file systems leave after a power failure
    assert entries_of(path) == ENTRIES
    assert read_state(path).end == len(whole)


@pytest.mark.parametrize("place", [0, 5, 9, 15, 17, 18, 30, -1])
def test_a_damaged_record_costs_nothing_but_itself(tmp_path, place):
    lines = [encode(entry) for entry in ENTRIES]
    damaged = bytearray(lines[1])
    damaged[place] ^= 0x11
    path = tmp_path / "journal"
    path.write_bytes(lines[0] + bytes(damaged) + lines[2] + lines[3])
    found = entries_of(path)
    assert found[0] == ENTRIES[0]
    assert found[-1] == ENTRIES[3]
    assert ENTRIES[1] not in found
    # without its end of line, a record takes the next one with it
    assert (ENTRIES[2] in found) == (place != -1)


@given(st.binary(max_size=200))
def test_no_bytes_raise(data):
    decode(data)
    decode(line_of(data))
    decode(line_of(b"{" + data + b"}"))


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b"{" * 100_000,
        b'{"name":5}',
        b'{"name":"a","width":"wide"}',
        b'{"name":"a","unknown":1}',
        b'{"name":"a","people":[]}',
        b'{"name":"a","width":1,"height":1,"people":[5]}',
        people_of(b'"score":1'),
        people_of(b'"score":1,"keypoints":[1e999]'),
        people_of(b'"score":NaN,"keypoints":[]'),
        people_of(b'"score":"1","keypoints":[]'),
        people_of(b'"score":1,"keypoints":{}'),
        people_of(b'"score":1,"keypoints":[],"more":1e999'),
        b'{"name":"a","seconds":NaN}',
        b'{"session":5}',
        b'{"session":{"format":2,"settings":{},"engine":""}}',
        b'{"session":{"format":1,"settings":[],"engine":""}}',
        b'{"end":{"num_images":"many"}}',
    ],
)
def test_a_record_that_says_nonsense_is_ignored(content):
    assert decode(line_of(content)) is None


def test_a_line_without_end_is_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "MAX_BYTES", 1000)
    path = tmp_path / "journal"
    path.write_bytes(encode(SESSION) + b"x" * 5000 + b"\n" + encode(End(0)))
    assert entries_of(path) == [SESSION, End(0)]


def test_a_full_disk_leaves_whole_records(tmp_path, monkeypatch):
    path = tmp_path / "journal"
    with Journal(path) as journal:
        journal.append(SESSION)
        write = journal._file.write

        class Full:
            """A disk on which there is room for ten more bytes."""

            left = 10

            def __getattr__(self, name):
                return getattr(file, name)

            def write(self, data):
                if not self.left:
                    raise OSError(errno.ENOSPC, "No space left on device")
                data, self.left = data[: self.left], 0
                return write(data)

        file, journal._file = journal._file, Full()
        with pytest.raises(OSError, match="No space left"):
            journal.append(record("a.jpg"))
        assert path.read_bytes() == encode(SESSION)
        journal._file = file
        journal.append(record("b.jpg"))
    assert entries_of(path) == [SESSION, record("b.jpg")]


def test_records_are_synced_without_further_ones_and_at_the_end(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(path.read_bytes()))
    monkeypatch.setattr(journals, "SYNC_SECONDS", 0.01)
    path = tmp_path / "journal"
    with Journal(path) as journal:
        journal.append(SESSION)
        limit = time.monotonic() + 10
        while not synced and time.monotonic() < limit:
            time.sleep(0.01)
        assert synced == [encode(SESSION)]
        monkeypatch.setattr(journals, "SYNC_SECONDS", 100)
        journal.append(End(0))
    assert synced[-1] == encode(SESSION) + encode(End(0))


def test_a_sync_that_fails_ends_the_run(tmp_path, monkeypatch):
    def broken(number):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    journal = Journal(tmp_path / "journal")
    journal.append(SESSION)
    with pytest.raises(OSError, match="Input/output"):
        journal.close()
    with pytest.raises(OSError, match="Input/output"):
        journal.append(SESSION)


def test_the_state(tmp_path):
    assert read_state(tmp_path / "nowhere").session is None
    entries = [
        SESSION,
        Record("a.jpg", 1, 2, error="broken"),
        Record("b.jpg", 3, 4, error="broken"),
        End(2),
        Session(SESSION.settings, "cuda"),
        record("a.jpg"),
    ]
    state = read_state(write_journal(tmp_path, entries))
    assert (state.session, state.engines) == (entries[4], {"cpu", "cuda"})
    assert not state.is_finished  # something was recorded after the end
    assert state.stamps == {hash("a.jpg"): hash((10, 20)), hash("b.jpg"): hash((3, 4))}
    assert state.failed == {hash("b.jpg")}
    assert read_state(write_journal(tmp_path, [*entries, End(2)])).is_finished


def test_an_image_without_its_overlay_is_to_be_done_again(tmp_path):
    names = ["there.jpg", "empty.jpg", "gone.jpg"]
    (tmp_path / "there.jpg").write_bytes(b"x")
    (tmp_path / "empty.jpg").write_bytes(b"")
    path = write_journal(tmp_path, [record(name, overlay=name) for name in names])
    assert [*read_state(path, overlays=tmp_path).stamps] == [hash("there.jpg")]
    assert len(read_state(path).stamps) == 3


def test_the_lines_are_text_that_other_tools_can_read(tmp_path):
    path = write_journal(tmp_path, ENTRIES)
    contents = [json.loads(line.split(" ", 2)[2]) for line in path.read_text().splitlines()]
    assert contents[0]["session"]["format"] == journals.FORMAT
    assert contents[1]["name"] == "a.jpg"
    assert contents[1]["people"] == record("a.jpg").people
