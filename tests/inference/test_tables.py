import importlib.util
import os

import pytest

from bottomup.inference import tables
from bottomup.inference.journal import Record
from bottomup.inference.lists import collect
from bottomup.inference.tables import require_pyarrow
from tests.support.run_folders import load, record, write_journal


def test_tables_hold_what_the_lists_hold(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(tables, "ROWS", 2)
    strange = os.fsdecode(b"\xff.jpg")
    failed = Record("bad.jpg", error="broken", seconds=0.5)
    records = [record("b.jpg", 3, warning="odd"), record(strange), failed, record("a.jpg", 0)]
    write_journal(tmp_path, records)
    collect([tmp_path], tmp_path, parquet=True)
    people = parquet.read_table(tmp_path / "results.parquet").to_pylist()
    names = {image["id"]: image["file_name"] for image in load(tmp_path / "images.json")["images"]}
    assert [{**person, "file_name": names[person["image_id"]]} for person in people] == [
        {**person, "file_name": names[person["image_id"]]}
        for person in load(tmp_path / "results.json")
    ]
    assert [person["file_name"] for person in people] == ["b.jpg"] * 3 + ["\\udcff.jpg"]
    a, b, bad, _ = parquet.read_table(tmp_path / "images.parquet").to_pylist()
    assert (a["id"], a["file_name"], a["width"], a["num_people"]) == (1, "a.jpg", 60, 0)
    assert (bad["file_name"], bad["error"], bad["seconds"]) == ("bad.jpg", "broken", 0.5)
    assert (bad["width"], bad["num_people"]) == (None, None)
    assert b["warning"] == "odd"


def test_a_run_without_people_has_tables(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_journal(tmp_path, [])
    collect([tmp_path], tmp_path, parquet=True)
    assert parquet.read_table(tmp_path / "results.parquet").num_rows == 0


def test_without_pyarrow_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install pyarrow"):
        require_pyarrow()
