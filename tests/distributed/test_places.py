import uuid

import pytest

from bottomup.distributed.places import Place


@pytest.fixture(params=["local", "memory"])
def place(request, tmp_path) -> Place:
    return Place(str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}/out/")


def test_what_is_written_is_read_and_listed(place):
    assert place.names("blocks") == []
    place.write("blocks/b", b"2")
    place.write("blocks/a", b"1")
    place.write("blocks/a", b"3")
    assert place.names("blocks") == ["blocks/a", "blocks/b"]
    assert place.read("blocks/a") == b"3"
    assert list(place.read_all(["blocks/b", "blocks/a"])) == [b"2", b"3"]
    place.remove(["blocks/a"])
    assert place.names("blocks") == ["blocks/b"]


def test_what_is_not_there_cannot_be_read(place):
    with pytest.raises(FileNotFoundError):
        place.read("blocks/nothing")


def test_a_folder_is_put_with_the_folders_within(tmp_path):
    place = Place(f"memory://{uuid.uuid4().hex}")
    (tmp_path / "overlays" / "sub").mkdir(parents=True)
    (tmp_path / "overlays" / "sub" / "a.jpg").write_bytes(b"jpg")
    place.put(tmp_path)
    assert place.read("overlays/sub/a.jpg") == b"jpg"


def test_the_path_is_known_on_this_machine_alone(tmp_path):
    assert Place(f"file://{tmp_path}/").path == tmp_path
    assert Place("memory://a/b/").path is None
    assert Place("memory://a/b/").root == "memory://a/b"
