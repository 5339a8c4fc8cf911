import hashlib
import os

import numpy as np
import pytest

from bottomup.weights import download as downloads
from bottomup.weights.download import DownloadError, fetch
from tests.support.http_servers import serving

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    with serving(CONTENT) as server:
        yield server


@pytest.fixture
def target(tmp_path, monkeypatch):
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(downloads, "CHUNK", 10_000)
    return tmp_path / "cache" / "weights.pth"


def get(server, target, **options) -> None:
    fetch(server.url, target, **({"sha256": SHA256[:8], "num_bytes": 310_000} | options))


def part_of(target):
    return target.with_name("weights.pth.part")


def leave_part(target, content) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(content)


def assert_fetched(target) -> None:
    assert target.read_bytes() == CONTENT
    assert os.listdir(target.parent) == [target.name]


def test_a_file_is_fetched_once(server, target):
    seen = []
    get(server, target, report=lambda done, total: seen.append((done, total)))
    assert_fetched(target)
    assert seen[-1] == (300_000, 300_000)
    assert len(seen) == 30
    get(server, target)
    assert server.ranges == [None]


def test_a_broken_transfer_goes_on_where_it_ended(server, target):
    server.breaks_after = 123_456
    with pytest.raises(
        DownloadError, match="broke off, 176544 bytes before its end; what arrived is kept"
    ):
        get(server, target)
    assert part_of(target).read_bytes() == CONTENT[:123_456]
    server.breaks_after = None
    get(server, target)
    assert_fetched(target)
    assert server.ranges == [None, "bytes=123456-"]


def test_a_transfer_that_breaks_again_and_again_comes_to_its_end(server, target):
    server.breaks_after = 80_000
    for _ in range(3):
        with pytest.raises(DownloadError, match="broke off"):
            get(server, target)
    get(server, target)
    assert_fetched(target)


def test_a_server_that_ignores_the_range_sends_all_again(server, target):
    leave_part(target, CONTENT[:5000])
    server.gives_parts = False
    get(server, target)
    assert_fetched(target)
    assert server.ranges == ["bytes=5000-"]


def test_a_server_that_does_not_say_how_much_it_sends(server, target):
    server.says_length = False
    get(server, target)
    assert_fetched(target)


def test_a_silent_server_that_hangs_up_is_found_out_by_the_hash(server, target):
    server.says_length = False
    server.breaks_after = 200_000
    with pytest.raises(DownloadError, match="SHA-256"):
        get(server, target)
    assert not os.listdir(target.parent)


@pytest.mark.parametrize("start", [0, 5000])
def test_wrong_bytes_are_removed(server, target, start):
    if start:
        leave_part(target, CONTENT[:start])
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(DownloadError, match=f"does not begin with {SHA256[:8]}"):
        get(server, target)
    assert not os.listdir(target.parent)


def test_a_part_of_another_file_is_found_out_and_removed(server, target):
    leave_part(target, b"something else")
    with pytest.raises(DownloadError, match="SHA-256"):
        get(server, target)
    get(server, target)
    assert_fetched(target)


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_files_of_another_size_are_not_even_begun(server, target, size):
    server.content = bytes(size)
    with pytest.raises(DownloadError, match=f"has {size} bytes there, not about 310000"):
        get(server, target)
    assert not os.listdir(target.parent)


def test_a_server_that_sends_and_sends_is_stopped(server, target):
    server.content, server.says_length = bytes(50_000_000), False
    with pytest.raises(DownloadError, match="sends more than"):
        get(server, target)
    assert not os.listdir(target.parent)


def test_a_part_that_is_whole_needs_no_server(server, target):
    leave_part(target, CONTENT)
    get(server, target)
    assert_fetched(target)
    assert server.ranges == []


def test_a_part_longer_than_the_file_is_begun_anew(server, target):
    leave_part(target, CONTENT + b"more")
    get(server, target)
    assert_fetched(target)
    assert server.ranges == ["bytes=300004-", None]


def test_other_bytes_than_were_asked_for_are_not_taken(server, target):
    leave_part(target, CONTENT[:5000])
    server.says_range = "bytes 7000-299999/300000"
    with pytest.raises(DownloadError, match="gave the bytes 'bytes 7000"):
        get(server, target)
    assert part_of(target).read_bytes() == CONTENT[:5000]


def test_what_the_server_refuses_is_told(server, target):
    server.status = 404
    with pytest.raises(DownloadError, match="answers 404 Not Found"):
        get(server, target)
    assert not os.listdir(target.parent)


def test_without_a_connection_what_is_there_stays(target):
    leave_part(target, CONTENT[:5000])
    with serving(CONTENT) as server:
        pass
    with pytest.raises(DownloadError, match="no connection"):
        get(server, target)
    assert part_of(target).read_bytes() == CONTENT[:5000]


def test_a_stopped_fetch_goes_on(server, target):
    def stop(done, total):
        if done >= 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(server, target, report=stop)
    assert part_of(target).read_bytes() == CONTENT[:100_000]
    get(server, target)
    assert_fetched(target)
    assert server.ranges[1] == "bytes=100000-"


def test_two_processes_do_not_write_to_one_file(server, target):
    fcntl = pytest.importorskip("fcntl")
    leave_part(target, CONTENT[:5000])
    with part_of(target).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="another process"):
            get(server, target)
    assert part_of(target).read_bytes() == CONTENT[:5000]
    get(server, target)
    assert_fetched(target)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "weights.pth", "ftp://host/x"])
def test_only_the_web(target, url):
    with pytest.raises(ValueError, match="begins with http"):
        fetch(url, target, sha256="0", num_bytes=1)
    assert not target.parent.exists()
