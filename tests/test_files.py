import re

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
    with pytest.raises(RuntimeError), write_whole(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("content", [b"", b"[1, ", b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_json_is_named(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"results {re.escape(repr(str(path)))} is not JSON"):
        read_json(path, "results")


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match="annotations .* cannot be read: No such file"):
        read_json(tmp_path / "none.json", "annotations")
