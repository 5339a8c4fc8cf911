import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bottomup.images.frames import Frame, is_unread, map_ahead, read
from bottomup.images.sources import scan
from tests.support.picture_files import HALVES, encode

PNG = encode(HALVES, ".png")


def put(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    return folder


def iterate(source) -> Iterator[Frame]:
    return map_ahead(read, scan(source), wanted=is_unread)


def names_of(source, **kwargs) -> list[str]:
    return [frame.name for frame in scan(source, **kwargs)]


def test_folder_is_searched_in_a_fixed_order(tmp_path):
    put(tmp_path, "b.png", "a/2.png", "a/1.JPG", "a/c/0.webp", "c.jpeg", "notes.txt", "a/.hidden")
    assert names_of(tmp_path) == ["a/1.JPG", "a/2.png", "a/c/0.webp", "b.png", "c.jpeg"]
    assert names_of(str(tmp_path) + "/") == names_of([tmp_path]) == names_of(tmp_path)


def test_file_has_its_own_name_and_any_suffix(tmp_path):
    put(tmp_path, "photo.strange")
    (frame,) = iterate(tmp_path / "photo.strange")
    assert frame.name == "photo.strange"
    assert frame.error is None
    np.testing.assert_array_equal(frame.image, HALVES)


def test_names_are_relative_to_what_all_paths_share(tmp_path):
    put(tmp_path, "x/1.png", "y/1.png", "y/z/2.png")
    assert names_of([tmp_path / "x", tmp_path / "y"]) == ["x/1.png", "y/1.png", "y/z/2.png"]
    assert names_of([tmp_path / "x/1.png", tmp_path / "y/1.png"]) == ["x/1.png", "y/1.png"]
    assert names_of([tmp_path / "y/1.png", tmp_path / "y/z"]) == ["1.png", "z/2.png"]


def test_relative_paths(tmp_path, monkeypatch):
    put(tmp_path, "x/1.png", "y/1.png")
    monkeypatch.chdir(tmp_path / "x")
    assert names_of(["1.png", "../y/1.png"]) == ["x/1.png", "y/1.png"]
    assert names_of(".") == ["1.png"]
    assert names_of("..") == ["x/1.png", "y/1.png"]


def test_what_is_named_twice_comes_twice_under_two_names(tmp_path):
    put(tmp_path, "1.png")
    assert names_of([tmp_path, tmp_path / "1.png", tmp_path / "1.png"]) == [
        "1.png",
        "1~2.png",
        "1~3.png",
    ]
    assert names_of(tmp_path / name for name in ("1.png", "1.png")) == ["1.png", "1~2.png"]


def test_glob(tmp_path):
    put(tmp_path, "a/2.png", "a/1.png", "b/1.png", "b/1.txt", "b/[1].png")
    assert names_of(str(tmp_path / "*" / "1.*")) == ["a/1.png", "b/1.png", "b/1.txt"]
    assert names_of(str(tmp_path / "**" / "*.png")) == [
        "a/1.png",
        "a/2.png",
        "b/1.png",
        "b/[1].png",
    ]
    assert names_of(str(tmp_path / "b" / "[1].png")) == [
        "[1].png"
    ]  # a file of that very name comes first


def test_names_in_a_glob_stay_when_more_files_come(tmp_path):
    put(tmp_path, "a/1.png")
    assert names_of(str(tmp_path / "*" / "*.png")) == ["a/1.png"]
    put(tmp_path, "b/1.png")
    assert names_of(str(tmp_path / "*" / "*.png")) == ["a/1.png", "b/1.png"]


def test_a_list_of_windows_begins_with_a_mark(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa.png\r\nb.png\r\n")
    assert names_of(tmp_path / "list.txt") == ["a.png", "b.png"]


def test_arrays_lists_and_generators(tmp_path):
    put(tmp_path, "1.png", "f/2.png")
    assert names_of(HALVES) == ["#0"]
    assert names_of([HALVES, tmp_path / "1.png", HALVES, tmp_path / "f"]) == [
        "#0",
        "1.png",
        "#2",
        "2.png",
    ]
    assert names_of(HALVES for _ in range(3)) == ["#0", "#1", "#2"]
    assert names_of(np.stack([HALVES, HALVES])) == ["#0", "#1"]
    assert names_of([]) == []


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), 7]
)
def test_an_array_of_another_kind_is_an_error_that_says_what_is_wanted(array):
    (frame,) = scan([array])
    assert frame.image is None
    assert "RGB array of H x W x 3 uint8, not " in (frame.error or "")


def test_a_source_of_another_kind_raises():
    with pytest.raises(ValueError, match="not int"):
        list(scan(5))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("nowhere.jpg", "no such file"),
        ("*.jpg", "no file matches"),
        ("empty", "no images"),
        ("", "no such"),
    ],
)
def test_what_cannot_be_found_is_an_error_in_its_place(tmp_path, monkeypatch, source, reason):
    put(tmp_path, "good/1.png")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    (frame,) = iterate(source)
    assert reason in (frame.error or "")
    frames = list(iterate(["good", source, "good/1.png"]))
    assert [frame.error is None for frame in frames] == [True, False, True]


def test_links_are_followed_once(tmp_path):
    put(tmp_path, "a/1.png", "elsewhere/2.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "circle.png").symlink_to(tmp_path / "a" / "circle.png")
    (tmp_path / "a" / "dangling.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "a" / "out").symlink_to(tmp_path / "elsewhere")
    frames = {frame.name: frame.error for frame in iterate(tmp_path / "a")}
    assert sorted(frames) == ["1.png", "circle.png", "dangling.png", "loop/elsewhere/2.png"]
    assert frames["1.png"] is frames["loop/elsewhere/2.png"] is None
    assert "links" in (frames["circle.png"] or "")
    assert "No such file" in (frames["dangling.png"] or "")


def test_excluded_folders_are_left_out(tmp_path):
    put(tmp_path, "1.png", "out/overlays/1.png", "other/1.png")
    for source in (tmp_path, tmp_path / "**/*.png"):
        names = names_of(str(source), exclude=lambda folder: Path(folder).name == "out")
        assert names == ["1.png", "other/1.png"]


def test_a_photo_that_cannot_be_read_does_not_vanish_from_a_folder(tmp_path):
    put(tmp_path, "1.png", "jpeg in truth.HEIC")
    (tmp_path / "2.jxl").write_bytes(b"\xff\x0a" + b"\0" * 50)
    (tmp_path / "3.NEF").write_bytes(b"II*\0\x08\0\0\0\0\0")
    errors = {frame.name: frame.error or "" for frame in iterate(tmp_path)}
    assert errors["1.png"] == errors["jpeg in truth.HEIC"] == ""
    assert "JPEG XL image" in errors["2.jxl"]
    assert "camera's raw image" in errors["3.NEF"]


DEBRIS = ("._1.png", ".DS_Store", "Thumbs.db", "desktop.ini", "sub/._2.png")


def test_debris_of_systems_and_hidden_files_are_no_photos(tmp_path):
    put(tmp_path, "1.png", "sub/2.png", ".hidden.png", ".thumbnails/3.png", *DEBRIS)
    assert names_of(tmp_path) == ["1.png", "sub/2.png"]
    assert names_of(str(tmp_path / "**")) == ["1.png", "sub/2.png"]
    assert names_of(str(tmp_path / "*")) == ["1.png"]
    assert names_of([tmp_path / name for name in ("1.png", "sub", *DEBRIS)]) == [
        "1.png",
        "sub/2.png",
    ]
    assert names_of(tmp_path / "._1.png") == []
    assert names_of(tmp_path / ".hidden.png") == [".hidden.png"]
    assert names_of(tmp_path / ".thumbnails") == ["3.png"]


def test_a_glob_follows_links_but_not_in_circles(tmp_path):
    put(tmp_path, "a/1.png", "a/b/2.png", "elsewhere/3.png")
    for i in range(20):
        (tmp_path / "a" / "b" / f"up{i}").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "out").symlink_to(tmp_path / "elsewhere")
    assert names_of(str(tmp_path / "a/**/*.png")) == ["1.png", "b/2.png", "out/3.png"]
    assert len(names_of(str(tmp_path / "**/b/**/*.png"))) == 3


def test_no_permission(tmp_path):
    put(tmp_path, "1.png", "locked/2.png").joinpath("1.png").chmod(0)
    if os.access(tmp_path / "1.png", os.R_OK):
        pytest.skip("root may read everything")
    (tmp_path / "locked").chmod(0)
    frames = list(iterate(tmp_path))
    (tmp_path / "locked").chmod(0o700)
    assert all("Permission denied" in (frame.error or "") for frame in frames)
    assert len(frames) == 2


def test_names_in_any_script(tmp_path):
    names = ["日本 語.png", "a'b\"c.png", "new\nline.png", "mañana.png", "#0.png", "%41.png"]
    put(tmp_path, *names)
    (tmp_path / os.fsdecode(b"inv\xffalid.png")).write_bytes(PNG)
    frames = list(iterate(tmp_path))
    assert sorted(frame.name for frame in frames) == sorted(
        [*names, os.fsdecode(b"inv\xffalid.png")]
    )
    assert all(frame.error is None for frame in frames)


def test_a_zero_byte_in_a_path_is_an_error():
    (frame,) = iterate("a\0b.png")
    assert frame.error is not None


def test_deep_folders(tmp_path):
    deep = tmp_path
    for _ in range(60):
        deep = deep / "d"
    put(deep, "1.png")
    assert names_of(tmp_path) == ["d/" * 60 + "1.png"]
