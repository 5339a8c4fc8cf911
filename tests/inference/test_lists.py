import os
from pathlib import Path

import pytest

from bottomup.images.decoding import decode
from bottomup.inference import gallery
from bottomup.inference.journal import JOURNAL, Record
from bottomup.inference.lists import LISTS, are_newer, collect
from bottomup.inference.predictor import Prediction
from tests.support.run_folders import (
    SESSION,
    load,
    people,
    prediction,
    record,
    rows_of,
    write_journal,
    write_run,
)


def test_the_lists(tmp_path):
    bad = Prediction("bad.jpg", Path("bad.jpg"), None, None, "broken </script>")
    summary = write_run(
        tmp_path,
        [
            prediction("c.jpg", people(3)),
            prediction("a.jpg"),
            bad,
            prediction("sub/b.png", people(0)),
        ],
    )
    assert [person["image_id"] for person in load(tmp_path / "results.json")] == [1, 3, 3, 3]
    assert load(tmp_path / "results.json")[0] == people().to_coco(1)[0]
    assert load(tmp_path / "images.json") == {
        "images": [
            {"id": 1, "file_name": "a.jpg", "width": 60, "height": 40},
            {"id": 3, "file_name": "c.jpg", "width": 60, "height": 40},
            {"id": 4, "file_name": "sub/b.png", "width": 60, "height": 40},
        ]
    }
    assert load(tmp_path / "failures.json") == [{"file": "bad.jpg", "reason": "broken </script>"}]
    assert sorted(os.listdir(tmp_path)) == sorted([*LISTS, JOURNAL, "overlays"])
    assert decode((tmp_path / "overlays" / "sub" / "b.png.jpg").read_bytes()).shape == (40, 60, 3)
    assert (summary.num_images, summary.num_people, summary.num_failed) == (4, 4, 1)
    assert summary.failures == [("bad.jpg", "broken </script>")]


def test_names_are_in_the_order_in_which_folders_are_gone_through(tmp_path):
    names = ["a-b.jpg", "a/2.jpg", "a.jpg", "a/1.jpg", "é.jpg", os.fsdecode(b"\xff.jpg"), "日.jpg"]
    write_journal(tmp_path, [record(name) for name in names])
    collect([tmp_path], tmp_path)
    assert [image["file_name"] for image in load(tmp_path / "images.json")["images"]] == [
        "a/1.jpg",
        "a/2.jpg",
        "a-b.jpg",
        "a.jpg",
        "é.jpg",
        "日.jpg",
        os.fsdecode(b"\xff.jpg"),
    ]


def test_ids_do_not_depend_on_the_order_of_the_records_or_on_their_folders(tmp_path):
    records = [record(name) for name in ("b.jpg", "x_2.jpg", "a.jpg", "c/7.jpg", "d/7.jpg")]
    records.append(Record("bad.jpg", error="broken"))
    for number, order in enumerate((records, records[::-1])):
        write_journal(tmp_path / f"{number}", order)
        collect([tmp_path / f"{number}"], tmp_path / f"{number}")
    write_journal(tmp_path / "2", records[:3])
    write_journal(tmp_path / "3", records[3:])
    collect([tmp_path / "3", tmp_path / "2"], tmp_path / "4")
    for name in LISTS:
        contents = {(tmp_path / folder / name).read_bytes() for folder in ("0", "1", "4")}
        assert len(contents) == 1


def test_of_several_records_of_an_image_the_last_one_counts(tmp_path):
    failed = Record("a.jpg", error="broken")
    write_journal(tmp_path, [failed, record("b.jpg"), record("a.jpg", 2), failed, record("a.jpg")])
    summary = collect([tmp_path], tmp_path)
    assert (summary.num_images, summary.num_failed) == (2, 0)
    assert [person["image_id"] for person in load(tmp_path / "results.json")] == [1, 2]
    assert load(tmp_path / "failures.json") == []


def test_a_warning_is_in_images_json(tmp_path):
    write_journal(tmp_path, [record("a.jpg", warning="no end mark")])
    collect([tmp_path], tmp_path)
    (image,) = load(tmp_path / "images.json")["images"]
    assert image["warning"] == "no end mark"


def test_nothing_found_is_a_valid_run(tmp_path):
    write_run(tmp_path, [])
    assert load(tmp_path / "results.json") == load(tmp_path / "failures.json") == []
    assert load(tmp_path / "images.json") == {"images": []}


def test_the_page(tmp_path):
    name = '<b>&"é%/ü#?.jpg'
    bad = Prediction("bad.jpg", Path("bad.jpg"), None, None, "broken </script><script>")
    write_run(tmp_path, [prediction(name), bad])
    first, second = rows_of(tmp_path / "index.html")
    assert first["f"] == name
    assert first["o"] == "overlays/%3Cb%3E%26%22%C3%A9%25/%C3%BC%23%3F.jpg"
    assert (first["n"], first["w"], first["h"]) == (1, 60, 40)
    assert second == {"f": "bad.jpg", "e": "broken </script><script>"}
    text = (tmp_path / "index.html").read_text()
    assert text.count("</script>") == 2
    assert "http" not in text


def test_the_page_of_shards_shows_the_overlays_where_they_are(tmp_path):
    write_run(tmp_path / "1", [prediction("a.jpg")])
    write_run(tmp_path / "2", [prediction("b.jpg")])
    collect([tmp_path / "1", tmp_path / "2"], tmp_path / "all" / "of")
    rows = rows_of(tmp_path / "all" / "of" / "index.html")
    assert [row["o"] for row in rows] == ["../../1/overlays/a.jpg", "../../2/overlays/b.jpg"]


def test_the_page_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "MAX_THUMBNAILS", 2)
    monkeypatch.setattr(gallery, "MAX_ROWS", 3)
    write_run(tmp_path, [prediction(f"{i}.jpg") for i in range(5)])
    rows = rows_of(tmp_path / "index.html")
    assert ["t" in row for row in rows] == [True, True, False]
    assert len(load(tmp_path / "images.json")["images"]) == 5


def test_lists_of_before_are_replaced_and_strangers_stay(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "overlays").mkdir()
    (tmp_path / "overlays" / "mine.png").write_text("mine")
    write_run(tmp_path, [prediction("a.jpg")])
    write_run(tmp_path, [prediction("b.jpg", people(2))])
    assert [image["file_name"] for image in load(tmp_path / "images.json")["images"]] == ["b.jpg"]
    assert (
        (tmp_path / "mine.txt").read_text()
        == (tmp_path / "overlays" / "mine.png").read_text()
        == "mine"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's always-full device")
@pytest.mark.parametrize("name", ["results.json", "index.html"])
def test_a_full_disk_leaves_the_lists_of_before_as_they_were(tmp_path, name):
    write_run(tmp_path, [prediction("a.jpg")])
    before = {path: path.read_bytes() for path in tmp_path.glob("*.*") if path.name != JOURNAL}
    (tmp_path / f".{name}.part").symlink_to("/dev/full")
    write_journal(tmp_path, [record(f"{i}.jpg", 30) for i in range(20)])
    with pytest.raises(OSError, match="No space left"):
        collect([tmp_path], tmp_path)
    assert {path: path.read_bytes() for path in before} == before
    assert not list(tmp_path.glob(".*.part"))


def test_whether_lists_are_newer_than_the_journal(tmp_path):
    journal = write_journal(tmp_path, [SESSION])
    assert not are_newer(tmp_path, journal)
    collect([tmp_path], tmp_path)
    assert are_newer(tmp_path, journal)
    os.utime(tmp_path / "images.json", ns=(0, journal.stat().st_mtime_ns - 1))
    assert not are_newer(tmp_path, journal)
