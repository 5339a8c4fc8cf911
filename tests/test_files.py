import contextlib
import re
import threading

import pytest

from bottomup.files import read_json, write_whole


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "a.json"
    with write_whole(path) as file:
        file.write(b"[1]")
        assert not path.exists()
    assert path.read_bytes() == b"[1]"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_block_that_fails_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"before")
    with contextlib.suppress(RuntimeError), write_whole(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("name", ["x" * 251 + ".jpg", "日" * 80, ".jpg", "a b\n.jpg"])
def test_any_name_that_a_file_can_have(tmp_path, name):
    with write_whole(tmp_path / name, sync=False) as file:
        file.write(b"[1]")
    assert (tmp_path / name).read_bytes() == b"[1]"


def test_threads_may_write_files_of_like_names_at_once(tmp_path):
    both_are_open = threading.Barrier(2)

    def write(name: str) -> None:
        with write_whole(tmp_path / name, sync=False) as file:
            both_are_open.wait(10)
            file.write(name.encode())

    names = ["x" * 100 + "1", "x" * 100 + "2"]
    threads = [threading.Thread(target=write, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.name: path.read_bytes().decode() for path in tmp_path.iterdir()} == dict(
        zip(names, names, strict=True)
    )


@pytest.mark.parametrize("content", [b"", b"[1, ", b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_json_is_named(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"results {re.escape(repr(str(path)))} is not JSON"):
        read_json(path, "results")


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"annotations .* cannot be read: No such file"):
        read_json(tmp_path / "none.json", "annotations")


def test_a_path_with_a_null_byte_is_no_broken_json():
    with pytest.raises(ValueError, match="cannot be read: embedded null byte"):
        read_json("a\0b.json", "results")
