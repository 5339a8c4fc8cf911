import functools
import os
import uuid
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import bottomup
from bottomup import Predictor
from bottomup.distributed import work
from bottomup.distributed.blocks import from_parquet, read_progress, to_parquet
from bottomup.distributed.places import Place
from bottomup.distributed.work import Item, Listing, Total, Worker, added, read_chunk
from bottomup.images.frames import Frame, read
from bottomup.inference.journal import Record
from tests.support.dots import dot_net
from tests.support.picture_files import HALVES, encode

NOTHING = np.array([], np.uint64)
SETTINGS = {"version": bottomup.__version__}


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    """Five files, one of them no image."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "abcd":
        (folder / f"{name}.png").write_bytes(encode(HALVES, ".png"))
    (folder / "e.png").write_bytes(b"nonsense")
    monkeypatch.chdir(tmp_path)
    return folder


def listing_of(
    *sources: object, out: str = "nowhere", shard: tuple[int, int] | None = None
) -> Listing:
    return Listing([str(one) for one in sources], os.getcwd(), out, lambda folder: False, shard)


def items_of(listing: Listing, done: np.ndarray = NOTHING) -> list[Item]:
    return [item for item in listing.items(done) if isinstance(item, Item)]


def worker_of(out: str, **values) -> Worker:
    net = dot_net()
    arguments = {
        "make_predictor": lambda: (Predictor(net, device="cpu"), "engine"),
        "out": out,
        "number": 1,
        "settings": SETTINGS,
        "drawing": {"overlays": True},
    }
    return Worker(**(arguments | values))


def test_a_listing_ends_with_its_total(photos):
    *items, total = listing_of(photos).items(NOTHING)
    assert [item.frame.name for item in items] == [f"{name}.png" for name in "abcde"]
    assert [item.index for item in items] == [*range(5)]
    assert items[0].stamp == Frame("a.png", photos / "a.png").stamp
    checksum = functools.reduce(added, (item.key for item in items))
    assert total == Total(5, 0, checksum)


def test_images_that_are_done_are_left_out_unless_they_have_changed(photos):
    listing = listing_of(photos)
    done = np.sort(np.array([item.key for item in items_of(listing)[1:4]], np.uint64))
    assert [item.index for item in items_of(listing, done)] == [0, 4]
    os.utime(photos / "c.png", ns=(1, 1))
    *items, total = listing.items(done)
    assert [item.frame.name for item in items] == ["a.png", "c.png", "e.png"]
    assert total.num_kept == 2


def test_the_shards_together_are_the_source(photos):
    parts = [items_of(listing_of(photos, shard=(i, 3))) for i in (1, 2, 3)]
    assert sorted(item.frame.name[0] for part in parts for item in part) == [*"abcde"]


def test_paths_of_a_list_are_relative_to_the_folder_of_the_command(photos, tmp_path):
    (tmp_path / "list.txt").write_text("photos/a.png\n")
    (item,) = items_of(listing_of("list.txt"))
    assert (item.frame.name, item.frame.path) == ("photos/a.png", photos / "a.png")


def test_overlays_of_the_results_are_no_images(photos):
    (photos / "out" / "overlays").mkdir(parents=True)
    (photos / "out" / "overlays" / "a.png").write_bytes(encode(HALVES, ".png"))
    assert len(items_of(listing_of(photos))) == 6
    assert len(items_of(listing_of(photos, out=f"{photos}/out"))) == 5


@pytest.mark.parametrize("size", [1, 2, 5, 6, 99])
def test_chunks_hold_all_images_and_the_total_once(photos, size):
    *chunks, total = listing_of(photos).chunks(NOTHING, size)
    assert isinstance(total, Total)
    assert all(isinstance(chunk, list) and len(chunk) <= size for chunk in chunks)
    assert [item.index for chunk in chunks for item in chunk] == [*range(5)]


def test_times_that_parquet_cannot_hold_are_cut(photos, monkeypatch):
    class Old(Frame):
        stamp = (1, 1 << 70)  # type: ignore[assignment]

    monkeypatch.setattr(work, "scan", lambda sources, exclude: [Old("a.png")])
    monkeypatch.setattr(work.dataclasses, "replace", lambda frame, **changes: frame)
    (item,) = items_of(listing_of(photos))
    assert item.stamp == (1, work.LAST_TIME)
    assert list(from_parquet(to_parquet([Record("a.png", *item.stamp, error="x")])))


def test_a_chunk_is_cut_where_memory_ends(photos, monkeypatch):
    items = items_of(listing_of(photos))
    (part,) = read_chunk(items, read)
    assert [item.frame.error is None for item in part] == [True] * 4 + [False]
    monkeypatch.setattr(work, "MAX_BYTES", HALVES.nbytes)
    assert [len(part) for part in read_chunk(items, read)] == [2, 2, 1]


@pytest.mark.parametrize("is_local", [True, False])
def test_a_worker_writes_a_block_and_overlays(photos, tmp_path, is_local):
    place = Place(str(tmp_path / "out") if is_local else f"memory://{uuid.uuid4().hex}")
    (chunk,) = read_chunk(items_of(listing_of(photos)), read)
    report = worker_of(place.root)(chunk)
    assert (report.num_images, report.problem) == (5, None)
    assert report.checksum == functools.reduce(added, (item.key for item in chunk))
    (block,) = [name for name in place.names("blocks") if name.endswith(".parquet")]
    records = list(from_parquet(place.read(block)))
    assert [record.name[0] for record in records] == [*"abcde"]
    assert [record.stamp for record in records] == [item.stamp for item in chunk]
    assert records[4].error is not None
    assert records[0].thumbnail is not None
    assert records[0].overlay == "overlays/a.png.jpg"
    assert place.read("overlays/a.png.jpg").startswith(b"\xff\xd8")
    before = read_progress(place)
    assert before.session is not None
    assert (before.session.engine, len(before.done)) == ("engine", 5)


def test_a_chunk_that_is_done_twice_is_one_block(photos, tmp_path):
    (chunk,) = read_chunk(items_of(listing_of(photos)), read)
    for _ in range(2):
        assert worker_of(str(tmp_path / "out"))(chunk).problem is None
    assert len(list((tmp_path / "out" / "blocks").glob("*.parquet"))) == 1


def test_what_the_disk_refuses_is_reported(photos, tmp_path, monkeypatch):
    (chunk,) = read_chunk(items_of(listing_of(photos)), read)
    worker = worker_of(str(tmp_path / "out"))

    def refuse(self, name, data):
        raise OSError("no space left on device")

    monkeypatch.setattr(Place, "write", refuse)
    assert worker(chunk).problem == "no space left on device"


def test_another_version_on_a_machine_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"not 9\.9: install the same"):
        worker_of(str(tmp_path), settings={"version": "9.9"})
    assert not (tmp_path / "blocks").exists()
