import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from bottomup.data import headers
from bottomup.data.headers import PhotoError, check_headers
from tests.support import picture_files


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def fault(annotations, tmp_path, cache) -> str:
    """What is said about the first of the three photos, which is the only one at fault."""
    with pytest.raises(PhotoError) as caught:
        check_headers(annotations.records, str(tmp_path), cache=cache)
    first, line, remedy = str(caught.value).splitlines()
    assert first == "1 of 3 photos cannot be used:"
    assert "--data.missing skip" in remedy
    return line.strip().removeprefix(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"hello world", "not an image"),
        (picture_files.png(70_000, 70_000), "its header claims 70000 x 70000 pixels, more than"),
        (picture_files.png(0, 5), "its header claims 0 x 5 pixels"),
        (picture_files.png(64, 48)[:20], "truncated or damaged: its header is incomplete"),
        (picture_files.png(60, 50), "has 60 x 50 pixels, but image 0 is annotated as 64 x 48"),
    ],
)
def test_what_a_header_tells_is_said(annotations, tmp_path, cache, content, message):
    (tmp_path / "0.png").write_bytes(content)
    text = fault(annotations, tmp_path, cache)
    assert text.startswith("/0.png")
    assert message in text


def test_what_is_no_readable_file_is_said(annotations, tmp_path, cache):
    (tmp_path / "0.png").unlink()
    assert "No such file" in fault(annotations, tmp_path, cache)
    (tmp_path / "0.png").mkdir()
    assert "Is a directory" in fault(annotations, tmp_path, cache)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_said(annotations, tmp_path, cache):
    (tmp_path / "0.png").chmod(0)
    assert "Permission denied" in fault(annotations, tmp_path, cache)


def test_skipped_photos_are_listed_and_left_out(annotations, tmp_path, cache, caplog):
    (tmp_path / "1.png").write_bytes(b"")
    kept = check_headers(annotations.records, str(tmp_path), missing="skip", cache=cache)
    assert [record.image_id for record in kept] == [0, 2]
    assert "1.png: empty" in caplog.text


def test_the_list_of_faults_is_short(annotations, tmp_path, cache):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"")
    with pytest.raises(PhotoError, match=r"300 of 300 .*(\n.*){20}\n  and 280 more\n"):
        check_headers(annotations.records * 100, str(tmp_path), cache=cache)


def test_a_photo_on_its_side_waits_for_its_orientation(annotations, tmp_path, cache):
    """The stored pixels have the other orientation, which the EXIF data may say."""
    stored = picture_files.encode(np.zeros((64, 48, 3), np.uint8), ".jpg")
    (tmp_path / "0.png").write_bytes(picture_files.with_orientation(stored, 6))
    assert len(check_headers(annotations.records, str(tmp_path), cache=cache)) == 3


def test_long_metadata_come_before_the_size(annotations, tmp_path, cache):
    """An EXIF segment of 60 kB, and one file of many such segments."""
    stored = picture_files.encode(np.zeros((48, 64, 3), np.uint8), ".jpg")
    long = picture_files.with_orientation(stored, 1, thumbnail=bytes(60_000))
    (tmp_path / "0.png").write_bytes(long)
    for _ in range(20):
        long = picture_files.with_orientation(long, 1, thumbnail=bytes(60_000))
    (tmp_path / "1.png").write_bytes(long)
    assert len(check_headers(annotations.records, str(tmp_path), cache=cache)) == 3


def test_only_the_start_of_a_file_is_read(annotations, tmp_path, cache, monkeypatch):
    sizes = []
    usable_size = headers.usable_size
    monkeypatch.setattr(
        headers, "usable_size", lambda data, suffix: sizes.append(len(data)) or usable_size(data)
    )
    with (tmp_path / "0.png").open("ab") as file:
        file.truncate(10_000_000)
    check_headers(annotations.records[:1], str(tmp_path), cache=cache)
    assert sizes == [headers.HEADER_BYTES[0]]


def test_a_verdict_is_kept_by_name_size_and_time(annotations, tmp_path, cache, monkeypatch):
    opened = []
    read = headers._header_size
    monkeypatch.setattr(
        headers,
        "_header_size",
        lambda name, size: opened.append(Path(name).name) or read(name, size),
    )
    for _ in range(2):
        check_headers(annotations.records, str(tmp_path), cache=cache)
    assert sorted(opened) == ["0.png", "1.png", "2.png"]
    os.utime(tmp_path / "1.png", ns=(0, 0))
    check_headers(annotations.records, str(tmp_path), cache=cache)
    assert opened[3:] == ["1.png"]

    wrong = dataclasses.replace(annotations.records[0], width=63)
    with pytest.raises(PhotoError, match="64 x 48 pixels, but image 0 is annotated as 63 x 48"):
        check_headers([wrong], str(tmp_path), cache=cache)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"a": 1}', '{"a": [1, 2, 3]}', '{"a": [1, 2, 3, Infinity]}',
     '{"a": [1, 2, 3, "x"]}', "[" * 100_000],
)  # fmt: skip
def test_remembered_headers_that_are_damaged_are_forgotten(annotations, tmp_path, cache, content):
    check_headers(annotations.records, str(tmp_path), cache=cache)
    (file,) = cache.iterdir()
    whole = json.loads(file.read_text())
    file.write_text(content)
    assert len(check_headers(annotations.records, str(tmp_path), cache=cache)) == 3
    assert json.loads(file.read_text()) == whole


def test_a_cache_that_cannot_be_written_does_not_matter(annotations, tmp_path):
    (tmp_path / "file").write_text("")
    cache = tmp_path / "file" / "cache"
    assert len(check_headers(annotations.records, str(tmp_path), cache=cache)) == 3
