"""Files behind URLs. memory:// needs no server; what a server does wrong is done by `_Flaky`."""

import uuid

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from bottomup.images import remote
from bottomup.images.formats import DecodingError
from bottomup.images.frames import Frame, read
from bottomup.images.remote import Remote, find, is_url, local_path, read_url
from bottomup.images.sources import scan
from tests.support.picture_files import HALVES, encode

PNG = encode(HALVES, ".png")


class _Flaky(MemoryFileSystem):
    """A server whose reads fail as often as its `failures` say."""

    protocol = "flaky"
    cachable = False
    failures: list[Exception]  # what the next reads raise
    num_reads = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("flaky://", "memory://", 1))

    def cat_file(self, path, start=None, end=None, **kwargs):
        type(self).num_reads += 1
        if _Flaky.failures:
            raise _Flaky.failures.pop(0)
        return super().cat_file(path, start, end, **kwargs)


@pytest.fixture
def folder() -> str:
    """The URL of an empty folder in memory."""
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def flaky(monkeypatch, folder) -> str:
    """A picture on a server that fails."""
    fsspec.register_implementation("flaky", _Flaky, clobber=True)
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.0)
    _Flaky.failures, _Flaky.num_reads = [], 0
    (url,) = put(folder, "a.png")
    return url.replace("memory://", "flaky://")


def put(folder: str, *names: str, data: bytes = PNG) -> list[str]:
    urls = [f"{folder}/{name}" for name in names]
    for url in urls:
        fsspec.url_to_fs(url)[0].pipe_file(url, data)
    return urls


def names_of(source, **kwargs) -> list[str]:
    return [frame.name for frame in scan(source, **kwargs)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3://bucket/a.jpg", True),
        ("gs://bucket", True),
        ("memory://a", True),
        ("/data/photos", False),
        ("C:\\photos", False),
        ("a:b/c.jpg", False),
        ("-", False),
    ],
)
def test_what_a_url_is(path, expected):
    assert is_url(path) is expected


def test_a_url_of_a_local_file_is_its_path(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    assert local_path(f"file://{tmp_path}") == str(tmp_path)
    (frame,) = scan(f"file://{tmp_path}")
    assert (frame.name, frame.path) == ("a.png", tmp_path / "a.png")


def test_a_folder_is_searched_in_a_fixed_order(folder):
    put(folder, "b.png", "a/2.png", "a/1.JPG", "c.jpeg", "notes.txt", "a/.hidden.png", ".x/1.png")
    assert names_of(folder) == names_of(f"{folder}/") == ["b.png", "c.jpeg", "a/1.JPG", "a/2.png"]


def test_folders_that_are_excluded(folder):
    put(folder, "a.png", "overlays/a.png")
    assert names_of(folder, exclude=lambda url: url.endswith("/overlays")) == ["a.png"]


def test_files_and_patterns(folder):
    put(folder, "x/1.png", "x/2.png", "y/photo.strange")
    assert names_of(f"{folder}/x/1.png") == ["1.png"]
    assert names_of(f"{folder}/x/*.png") == ["1.png", "2.png"]
    assert names_of(f"{folder}/**/*.png") == ["x/1.png", "x/2.png"]
    both = [f"{folder}/x/1.png", f"{folder}/y/photo.strange"]
    assert names_of(both) == ["x/1.png", "y/photo.strange"]


def test_a_list_behind_a_url_and_urls_in_a_list(folder, tmp_path):
    first, second = put(folder, "1.png", "2.png")
    put(folder, "list.txt", data=f"{first}\n{second}\n".encode())
    expected = [f"{folder.removeprefix('memory://')}/{name}" for name in ("1.png", "2.png")]
    assert names_of(f"{folder}/list.txt") == expected
    (tmp_path / "list.txt").write_text(f"{first}\n")
    assert names_of(tmp_path / "list.txt") == expected[:1]
    frame = read(next(iter(scan(tmp_path / "list.txt"))))
    np.testing.assert_array_equal(frame.image, HALVES)


def test_pixels_and_damage_are_those_of_a_local_file(folder, tmp_path):
    put(folder, "a.png")
    put(folder, "b.png", data=b"damaged")
    good, bad = map(read, scan(folder))
    np.testing.assert_array_equal(good.image, HALVES)
    assert good.path is None
    assert good.stamp[0] == len(PNG)
    assert good.stamp[1] is not None
    (tmp_path / "b.png").write_bytes(b"damaged")
    assert bad.error == read(Frame("b.png", tmp_path / "b.png")).error is not None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("memory://nowhere/at-all", "no such file or folder"),
        ("memory://nowhere/list.txt", "no such file or folder"),
        ("nonsense://bucket/a.jpg", "Protocol not known: nonsense: name a path, or a protocol"),
    ],
)
def test_what_is_not_there_is_an_error_of_its_frame(url, reason):
    (frame,) = scan(url)
    assert reason in str(frame.error)


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", refuse)
    (frame,) = scan("s3://bucket/photos")
    assert 'Install s3fs to access S3, or "bottomup[s3]"' in str(frame.error)


def test_an_empty_folder(folder):
    put(folder, "notes.md")
    (frame,) = scan(folder)
    assert frame.error == "no images there"


def test_a_read_that_fails_is_tried_again(flaky):
    _Flaky.failures = [OSError("slow down"), RuntimeError("connection lost")]
    assert read_url(Remote(flaky, len(PNG)), 1000) == PNG
    assert _Flaky.num_reads == 3


def test_a_read_that_goes_on_failing_is_an_error_of_its_image(flaky):
    _Flaky.failures = [RuntimeError("connection\nlost")] * 9
    frame = read(Frame("a.png", remote=Remote(flaky, len(PNG))))
    assert frame.error == "cannot be read: connection lost"
    assert _Flaky.num_reads == remote.ATTEMPTS


@pytest.mark.parametrize("error", [FileNotFoundError("gone"), PermissionError("forbidden")])
def test_what_cannot_get_better_is_not_tried_again(flaky, error):
    _Flaky.failures = [error] * 9
    with pytest.raises(type(error)):
        read_url(Remote(flaky, len(PNG)), 1000)
    assert _Flaky.num_reads == 1


def test_a_file_is_not_read_before_its_size_is_known(flaky, monkeypatch):
    with pytest.raises(DecodingError, match="2,000 bytes, more than 1,000"):
        read_url(Remote(flaky, 2000), 1000)
    monkeypatch.setattr(_Flaky, "info", lambda self, path: {"type": "file", "size": None})
    with pytest.raises(DecodingError, match="of unknown size"):
        read_url(Remote(flaky), 1000)
    assert _Flaky.num_reads == 0


def test_find_gives_urls_that_can_be_read(folder):
    put(folder, "a b#%41.png")
    (found,) = find(folder, lambda url: False)
    assert found.url == f"{folder.replace('//', '///')}/a b#%41.png" or found.url.endswith(
        "%41.png"
    )
    assert read_url(found, 10_000) == PNG
