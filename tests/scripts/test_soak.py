import json
import random

import pytest
import soak

from bottomup.inference.journal import JOURNAL, Journal
from tests.support.run_folders import load, prediction, record, write_run


@pytest.fixture
def folders(tmp_path):
    """Two equal runs over three images and a corrupt file."""
    bad = soak.Path("bad.jpg")
    names = ["a.jpg", "b.jpg", "c.jpg"]
    failed = prediction(bad.name)
    failed = type(failed)(bad.name, bad, None, None, "broken")
    for folder in ("undisturbed", "out"):
        write_run(tmp_path / folder, [*(prediction(name) for name in names), failed])
    return tmp_path / "undisturbed", tmp_path / "out"


def test_equal_runs_are_equal(folders, capsys):
    assert soak.compare(*folders, {"bad.jpg"}) == 0
    assert capsys.readouterr().out == "lost 0, twice 0, different 0, bad named 1 of 1\n"


def lose(out):
    images = load(out / "images.json")["images"]
    (out / "images.json").write_text(json.dumps({"images": images[:1] + images[2:]}))


def repeat(out):
    path = out / JOURNAL
    with Journal(path, path.stat().st_size) as journal:
        journal.append(record("b.jpg"))


def change(out):
    results = load(out / "results.json")
    results[1]["score"] += 1e-6
    (out / "results.json").write_text(json.dumps(results))


def redraw(out):
    (out / "overlays" / "c.jpg").write_bytes(b"another")


def rename(out):
    (out / "failures.json").write_text('[{"file":"bad.jpg","reason":"another"}]')


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lose, "lost 1, twice 1, different 0"),  # its people belong to no image then
        (repeat, "lost 0, twice 1, different 0"),
        (change, "lost 0, twice 0, different 1"),
        (redraw, "lost 0, twice 0, different 1"),
        (rename, "lost 0, twice 0, different 0, bad named 0 of 1"),
    ],
)
def test_every_difference_is_found(folders, capsys, harm, expected):
    harm(folders[1])
    assert soak.compare(*folders, {"bad.jpg"}) == 1
    assert expected in capsys.readouterr().out


def test_every_fiftieth_file_is_spoilt(tmp_path):
    for i in range(120):
        (tmp_path / f"{i:03}.jpg").write_bytes(bytes(range(200)) * 10)
    assert soak.spoil(tmp_path, random.Random(0)) == {"007.jpg", "057.jpg", "107.jpg"}
    assert (tmp_path / "057.jpg").read_bytes() != bytes(range(200)) * 10
    assert (tmp_path / "058.jpg").read_bytes() == bytes(range(200)) * 10
