import dataclasses

import pytest

from bottomup.images.frames import Frame
from bottomup.inference.journal import End, Session
from bottomup.inference.shards import (
    belongs_to,
    difference,
    engines_of,
    problems_of,
    read_parts,
)
from tests.support.run_folders import record, write_journal


def test_every_image_belongs_to_one_shard():
    names = [f"{i:012}.jpg" for i in range(3000)]
    shards = [[name for name in names if belongs_to(Frame(name), (i, 7))] for i in range(1, 8)]
    assert sorted(name for shard in shards for name in shard) == names
    assert all(300 < len(shard) < 600 for shard in shards)
    assert all(belongs_to(Frame(name), None) for name in names)


def test_the_shard_of_a_name_never_changes():
    names = ["a.jpg", "日/b.png", "x\udcff.jpg"]  # the last one is not UTF-8 on the disk
    assert [[i for i in range(1, 5) if belongs_to(Frame(name), (i, 4))] for name in names] == [
        [2],
        [4],
        [3],
    ]


def test_the_difference_names_the_setting():
    settings = {"size": 512, "flip": False}
    assert difference(settings, dict(settings)) is None
    assert difference(settings, settings | {"size": 640}) == "size 512, not 640"
    assert difference(settings, settings | {"more": "x"}) == 'more null, not "x"'
    assert difference(settings, {"size": 512}) == "flip false, not null"
    assert difference(settings, settings | {"size": 640}, but=["size"]) is None


def parts_of(folder, *sessions, end=True):
    for number, session in enumerate(sessions):
        write_journal(folder / f"{number}", [session, record("a.jpg"), *[End(1)] * end])
    return read_parts(folder / f"{number}" for number in range(len(sessions)))


def shard(i: int, n: int, size: int = 64, engine: str = "cpu") -> Session:
    return Session({"size": size, "shard": [i, n]}, engine)


def test_parts_that_belong_together(tmp_path):
    parts = parts_of(tmp_path, shard(2, 2), shard(1, 2, engine="cuda"))
    assert problems_of(parts) == []
    assert engines_of(parts) == {"cpu": [f"{tmp_path}/0"], "cuda": [f"{tmp_path}/1"]}
    whole = dataclasses.replace(shard(1, 1), settings={"shard": None})
    assert problems_of(parts_of(tmp_path, whole)) == []


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (shard(2, 2, size=32), "1' holds a run with size 32, not 64 as in '.*0'"),
        (shard(2, 3), "3 shards, not 2"),
        (Session({"size": 64, "shard": None}, "cpu"), "0 shards, not 2"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(tmp_path, other, reason):
    with pytest.raises(ValueError, match=reason):
        parts_of(tmp_path, shard(1, 2), other)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        read_parts([tmp_path])


def test_what_is_missing_is_said(tmp_path):
    assert problems_of(parts_of(tmp_path, shard(3, 4), shard(3, 4), end=False)) == [
        f"not finished: {tmp_path}/0, {tmp_path}/1",
        "missing shards: 1/4, 2/4, 4/4",
        "shards that are there twice: 3/4",
    ]
    (long,) = problems_of(parts_of(tmp_path, shard(1, 1000)))
    assert long.endswith("20/1000, 21/1000 and 979 more")


@pytest.mark.parametrize("hostile", ["3/4", [1], ["1", 2], [1, 2, 3], {}, 5])
def test_a_shard_of_another_form_is_no_shard(tmp_path, hostile):
    assert problems_of(parts_of(tmp_path, Session({"shard": hostile}, "cpu"))) == []
