import io
import itertools
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from bottomup.images import archives
from bottomup.images.archives import read_list, read_tar
from bottomup.images.frames import read
from bottomup.images.sources import scan
from tests.support.picture_files import HALVES, encode

PNG = encode(HALVES, ".png")


def pack(path: Path, names: list[str], **options) -> Path:
    with tarfile.open(path, "w", **options) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(PNG), 1234.5
            tar.addfile(info, io.BytesIO(PNG))
    return path


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_images_in_a_tar_file(tmp_path, kind):
    names = ["b.png", "a/1.png", "a/notes.txt", "x" * 90 + "/" + "y" * 90 + ".png"]
    frames = list(map(read, scan(pack(tmp_path / "photos.tar", names, format=kind))))
    assert [frame.name for frame in frames] == [names[0], names[1], names[3]]
    for frame in frames:
        np.testing.assert_array_equal(frame.image, HALVES)
        size, time = frame.stamp
        assert size == len(PNG)
        assert time in (1234 * 10**9, 12345 * 10**8)  # only one format keeps fractions


def test_a_tar_file_among_others_is_named_like_a_folder(tmp_path):
    pack(tmp_path / "1.tar", ["a.png", "../../b.png", "/c.png"])
    pack(tmp_path / "2.tar", ["a.png", "a.png"])
    expected = ["1.tar/a.png", "b.png", "1.tar/c.png", "2.tar/a.png", "2.tar/a~2.png"]
    assert [frame.name for frame in scan([tmp_path / "1.tar", tmp_path / "2.tar"])] == expected
    assert [frame.name for frame in scan(str(tmp_path / "*.tar"))] == expected
    assert [frame.name for frame in scan(tmp_path / "1.tar")] == ["a.png", "b.png", "c.png"]


def test_links_in_a_tar_file_are_named_and_not_read(tmp_path):
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    (frame,) = map(read, scan(tmp_path / "photos.tar"))
    assert (frame.name, frame.image) == ("link.png", None)
    assert "link" in (frame.error or "")


def test_a_tar_file_that_is_cut_short_says_so(tmp_path):
    path = pack(tmp_path / "photos.tar", ["a.png", "b.png"], format=tarfile.USTAR_FORMAT)
    whole = path.read_bytes()
    member = 512 + -(-len(PNG) // 512) * 512
    for end in (len(PNG) // 2, member - 600, member, member + 100, 2 * member - 600, 2 * member):
        path.write_bytes(whole[:end])
        frames = list(map(read, scan(path)))
        assert frames[-1].error, end
        assert sum(frame.error is None for frame in frames) == end // member


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path):
    path = pack(tmp_path / "photos.tar", ["a.png", "b.png"], format=tarfile.USTAR_FORMAT)
    data = bytearray(path.read_bytes())
    member = 512 + -(-len(PNG) // 512) * 512
    data[member + 5] ^= 1
    path.write_bytes(bytes(data))
    first, damaged = scan(path)
    assert first.error is None
    assert f"damaged at byte {member:,}" in (damaged.error or "")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"text" * 500, "not a whole tar file"),
        (b"\x1f\x8b\x08" + b"x" * 600, "without compression"),
        (bytes(1024), "no images"),
    ],
)
def test_what_is_no_tar_file_is_an_error(tmp_path, content, reason):
    (tmp_path / "photos.tar").write_bytes(content)
    (frame,) = scan(tmp_path / "photos.tar")
    assert reason in (frame.error or "")


def test_a_header_that_claims_a_giant_name_is_not_believed(tmp_path):
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    (tmp_path / "photos.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    (frame,) = scan(tmp_path / "photos.tar")
    assert "1,099,511,627,776 bytes" in (frame.error or "")


def number_field(value: int) -> bytes:
    """A negative number as base 256, which tarfile reads."""
    return b"\xff" + value.to_bytes(11, "big", signed=True)


@pytest.mark.parametrize("size", [-1, -512, -(1 << 40)])
def test_a_member_of_negative_size_ends_the_file(tmp_path, size):
    path = pack(tmp_path / "photos.tar", ["a.png", "b.png"], format=tarfile.USTAR_FORMAT)
    content = bytearray(path.read_bytes())
    header = 512 + -(-len(PNG) // 512) * 512
    content[header + 124 : header + 136] = number_field(size)
    content[header + 148 : header + 156] = b" " * 8
    content[header + 148 : header + 156] = b"%06o\0 " % sum(content[header : header + 512])
    path.write_bytes(content)
    good, bad = itertools.islice(scan(path), 3)
    assert (good.name, good.error) == ("a.png", None)
    assert f"a member of {size} bytes" in (bad.error or "")


def test_headers_that_follow_each_other_without_end_are_one_error(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 8
    one = info.tobuf(tarfile.GNU_FORMAT) + b"a.png".ljust(512, b"\0")
    (tmp_path / "photos.tar").write_bytes(one * 3000 + bytes(4096))
    (frame,) = scan(tmp_path / "photos.tar")
    assert "too many headers" in (frame.error or "")


def test_a_tar_file_in_a_hidden_folder_is_read(tmp_path):
    hidden = tmp_path / ".cache"
    hidden.mkdir()
    pack(hidden / "a.tar", ["1.png", ".hidden/2.png"])
    (tmp_path / "b.png").write_bytes(PNG)
    names = [frame.name for frame in scan([hidden / "a.tar", tmp_path / "b.png"])]
    assert names == [".cache/a.tar/1.png", "b.png"]


def test_members_are_not_remembered(tmp_path, monkeypatch):
    path = pack(tmp_path / "photos.tar", [f"{i}.png" for i in range(6)])
    opened = []
    open_tar = tarfile.open
    monkeypatch.setattr(
        tarfile, "open", lambda **options: opened.append(open_tar(**options)) or opened[0]
    )
    for _ in itertools.islice(read_tar(path), 5):
        assert not opened[0].members


def test_a_list_of_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    for name in ("a/1.png", "a/2.png"):
        Path(name).write_bytes(PNG)
    lines = f"a/1.png\r\n\n./a/../a/2.png\n{tmp_path}/a/1.png\ngone.png\na/1.png"
    Path("list.txt").write_text(lines)
    frames = list(map(read, scan("list.txt")))
    absolute = str(tmp_path / "a" / "1.png").lstrip("/")
    assert [frame.name for frame in frames] == [
        "a/1.png",
        "a/2.png",
        absolute,
        "gone.png",
        "a/1~2.png",
    ]
    assert [frame.error is None for frame in frames] == [True, True, True, False, True]
    assert frames[3].stamp == (None, None)
    assert frames[0].stamp == (len(PNG), Path("a/1.png").stat().st_mtime_ns)


def test_a_list_on_the_standard_input_is_read_as_it_comes():
    reading, writing = os.pipe()
    kept = os.dup(0)
    os.dup2(reading, 0)
    try:
        frames = scan("-")
        for name in ("1.png", "2.png"):
            os.write(writing, name.encode() + b"\n")
            assert next(frames).name == name  # the pipe is still open
        os.close(writing)
        assert next(frames, None) is None
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(reading)


def test_an_empty_list_and_one_that_cannot_be_read_are_errors(tmp_path):
    (tmp_path / "list.txt").write_text("\n\n")
    (frame,) = scan(tmp_path / "list.txt")
    assert "no paths" in (frame.error or "")
    (tmp_path / "link.txt").symlink_to("gone.txt")
    (frame,) = scan(tmp_path / "link.txt")
    assert "No such file" in (frame.error or "")


def test_a_line_without_end_is_not_held():
    paths = list(read_list(io.BytesIO(b"x" * (archives.MAX_PATH + 10) + b"\ny\n")))
    assert [len(path) for path in paths] == [archives.MAX_PATH, 10, 1]
