import json
from pathlib import Path

import pytest

from bottomup.cli import main
from bottomup.inference.journal import End, Record, Session
from bottomup.inference.lists import LISTS
from bottomup.inference.locking import locked
from tests.support.commands import usage_error
from tests.support.run_folders import load, record, write_journal


@pytest.fixture
def shards(tmp_path) -> list[str]:
    """Two finished shards of three."""
    for i, engine in ((1, "cpu"), (3, "cuda")):
        session = Session({"size": 64, "shard": [i, 3], "annotations": None}, engine)
        entries = [session, record(f"{i}a.jpg"), record(f"{i}b.jpg", 0), End(2)]
        write_journal(tmp_path / f"{i}", entries)
    return [str(tmp_path / "1"), str(tmp_path / "3")]


def test_a_run_that_was_killed(tmp_path, capsys):
    session = Session({"size": 64, "shard": None}, "cpu")
    write_journal(tmp_path, [session, record("a.jpg", 2), Record("b.jpg", error="broken")])
    assert main(["collect", str(tmp_path)]) == 3
    text = capsys.readouterr().out
    assert "1 file failed:\n  b.jpg: broken\n" in text
    assert f"not finished: {tmp_path}\n" in text
    assert "2 images, 2 people found" in text
    assert [image["file_name"] for image in load(tmp_path / "images.json")["images"]] == ["a.jpg"]


def test_a_finished_run_is_collected_anew(tmp_path):
    write_journal(tmp_path, [Session({}, "cpu"), record("a.jpg"), End(1)])
    assert main(["collect", str(tmp_path)]) == 0
    before = [(tmp_path / name).read_bytes() for name in LISTS]
    assert main(["collect", str(tmp_path)]) == 0
    assert [(tmp_path / name).read_bytes() for name in LISTS] == before


def test_shards_that_are_missing_and_engines_that_differ_are_said(shards, tmp_path, capsys):
    assert main(["collect", *shards, "--out", str(tmp_path / "all")]) == 3
    text = capsys.readouterr().out
    assert "missing shards: 2/3\n" in text
    assert f"engines differed, so last digits may differ:\n  cpu: {shards[0]}\n" in text
    assert f"  cuda: {shards[1]}\n" in text
    assert "4 images, 2 people found" in text
    assert not (tmp_path / "1" / "results.json").exists()


def test_wrong_usage(shards, tmp_path, capsys):
    assert "need --out" in usage_error(capsys, "collect", *shards)
    assert "holds no run" in usage_error(capsys, "collect", str(tmp_path))
    assert "holds no run" in usage_error(capsys, "collect", str(tmp_path / "nowhere"))
    assert "another run" in usage_error(capsys, "collect", shards[0], "--out", shards[1])
    with locked(shards[0]):
        assert "in use by process" in usage_error(capsys, "collect", shards[0])
    other = Session({"size": 32, "shard": [2, 3], "annotations": None}, "cpu")
    write_journal(tmp_path / "2", [other])
    words = ["collect", *shards, str(tmp_path / "2"), "--out", str(tmp_path / "all")]
    assert "size 32, not 64" in usage_error(capsys, *words)
    assert not (tmp_path / "all").exists()


def test_ids_from_the_annotations_of_the_run_or_from_others(tmp_path, capsys):
    for name, number in (("of run.json", 70), ("other.json", 80)):
        images = [{"id": number, "file_name": "a.jpg"}]
        (tmp_path / name).write_text(json.dumps({"images": images}))
    session = Session({"annotations": str(tmp_path / "of run.json")}, "cpu")
    write_journal(tmp_path, [session, record("a.jpg"), End(1)])

    def collected(*options: str) -> list[int]:
        assert main(["collect", str(tmp_path), *options]) == 0
        return [image["id"] for image in load(tmp_path / "images.json")["images"]]

    assert collected() == [70]
    assert collected("--annotations", str(tmp_path / "other.json")) == [80]
    Path(tmp_path / "of run.json").unlink()
    assert "of run.json" in usage_error(capsys, "collect", str(tmp_path))


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    write_journal(tmp_path, [Session({}, "cpu"), record("a.jpg"), End(1)])
    assert main(["collect", str(tmp_path), "--parquet"]) == 0
    assert (tmp_path / "images.parquet").is_file()
    assert main(["collect", str(tmp_path)]) == 0
    assert not (tmp_path / "images.parquet").exists(), "it may be of other images"


def test_an_overlay_that_is_not_there_is_not_linked(tmp_path):
    """As when a run behind a URL is collected to a folder."""
    names = ("here", "elsewhere")
    entries = [record(f"{name}.jpg", overlay=f"overlays/{name}.jpg.jpg") for name in names]
    write_journal(tmp_path / "run", [Session({}, "cpu"), *entries, End(2)])
    (tmp_path / "run" / "overlays").mkdir()
    (tmp_path / "run" / "overlays" / "here.jpg.jpg").write_bytes(b"jpg")
    assert main(["collect", str(tmp_path / "run"), "--out", str(tmp_path / "lists")]) == 0
    page = (tmp_path / "lists" / "index.html").read_text()
    assert "../run/overlays/here.jpg.jpg" in page
    assert "overlays/elsewhere.jpg.jpg" not in page
