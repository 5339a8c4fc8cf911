import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from bottomup import Poses
from bottomup.images.decoding import decode
from bottomup.inference import gallery
from bottomup.inference.predictor import Prediction
from bottomup.inference.run_folder import RunFolder, holds_overlays, overlay_name
from tests.support.picture_files import HALVES


def people(num: int = 1) -> Poses:
    keypoints = np.random.default_rng(0).uniform(0, 40, (num, 17, 2)).astype(np.float32)
    return Poses(keypoints, np.full((num, 17), 0.5, np.float32), np.full(num, 0.5, np.float32))


def prediction(name: str, poses: Poses | None = None, image: np.ndarray = HALVES) -> Prediction:
    return Prediction(name, Path(name), image, people() if poses is None else poses)


def write(folder: Path, predictions: list[Prediction], **arguments) -> None:
    run = RunFolder(folder, **arguments)
    try:
        for i, one in enumerate(predictions):
            run.add(run.render(one, i), i + 1)
        run.close()
    finally:
        run.discard()


def load(path: Path):
    return json.loads(path.read_text())


def test_the_lists(tmp_path):
    bad = Prediction("bad.jpg", Path("bad.jpg"), None, None, "broken </script>")
    write(
        tmp_path,
        [
            prediction("a.jpg"),
            bad,
            prediction("sub/b.png", people(0)),
            prediction("c.jpg", people(3)),
        ],
    )
    assert [person["image_id"] for person in load(tmp_path / "results.json")] == [1, 4, 4, 4]
    assert load(tmp_path / "results.json")[0] == people().to_coco(1)[0]
    assert load(tmp_path / "images.json") == {
        "images": [
            {"id": 1, "file_name": "a.jpg", "width": 60, "height": 40},
            {"id": 3, "file_name": "sub/b.png", "width": 60, "height": 40},
            {"id": 4, "file_name": "c.jpg", "width": 60, "height": 40},
        ]
    }
    assert load(tmp_path / "failures.json") == [{"file": "bad.jpg", "reason": "broken </script>"}]
    assert sorted(os.listdir(tmp_path)) == [
        "failures.json",
        "images.json",
        "index.html",
        "overlays",
        "results.json",
    ]
    assert decode((tmp_path / "overlays" / "sub" / "b.png.jpg").read_bytes()).shape == (40, 60, 3)


def test_overlays_are_known_by_what_else_the_run_wrote(tmp_path):
    write(tmp_path / "run", [prediction("a.jpg")])
    (tmp_path / "link").symlink_to(tmp_path / "run" / "overlays")
    assert holds_overlays(tmp_path / "run" / "overlays")
    assert holds_overlays(tmp_path / "link")
    assert not holds_overlays(tmp_path / "run")
    (tmp_path / "mine" / "overlays").mkdir(parents=True)
    (tmp_path / "mine" / "results.json").write_text("[]")
    assert not holds_overlays(tmp_path / "mine" / "overlays")
    killed = RunFolder(tmp_path / "killed")
    assert holds_overlays(tmp_path / "killed" / "overlays")
    killed.discard()


def test_a_warning_is_part_of_the_image(tmp_path):
    warned = dataclasses.replace(prediction("a.jpg"), warning="no end")
    write(tmp_path, [warned, prediction("b.jpg")])
    first, second = load(tmp_path / "images.json")["images"]
    assert first == {"id": 1, "file_name": "a.jpg", "width": 60, "height": 40, "warning": "no end"}
    assert "warning" not in second


def test_nothing_found_is_a_valid_run(tmp_path):
    write(tmp_path, [])
    assert load(tmp_path / "results.json") == load(tmp_path / "failures.json") == []
    assert load(tmp_path / "images.json") == {"images": []}


def rows_of(page: Path) -> list[dict]:
    text = page.read_text()
    start = text.index('type="application/json">') + len('type="application/json">')
    return json.loads(text[start : text.index("</script>", start)])


def test_the_page(tmp_path):
    name = '<b>&"é%/ü#?.jpg'
    bad = Prediction("bad.jpg", Path("bad.jpg"), None, None, "broken </script><script>")
    write(tmp_path, [prediction(name), bad])
    first, second = rows_of(tmp_path / "index.html")
    assert first["f"] == name
    assert first["o"] == "overlays/%3Cb%3E%26%22%C3%A9%25/%C3%BC%23%3F.jpg"
    assert (first["n"], first["w"], first["h"]) == (1, 60, 40)
    assert second == {"f": "bad.jpg", "e": "broken </script><script>"}
    text = (tmp_path / "index.html").read_text()
    assert text.count("</script>") == 2
    assert "http" not in text


def test_the_page_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "MAX_THUMBNAILS", 2)
    monkeypatch.setattr(gallery, "MAX_ROWS", 3)
    write(tmp_path, [prediction(f"{i}.jpg") for i in range(5)])
    rows = rows_of(tmp_path / "index.html")
    assert ["t" in row for row in rows] == [True, True, False]
    assert len(load(tmp_path / "images.json")["images"]) == 5


def test_without_overlays_the_page_still_has_small_images(tmp_path):
    write(tmp_path, [prediction("a.jpg")], overlays=False)
    assert not (tmp_path / "overlays").exists()
    assert "t" in rows_of(tmp_path / "index.html")[0]


def test_thresholds_count_and_draw_but_results_keep_everybody(tmp_path):
    write(tmp_path, [prediction("a.jpg", people(2))], score_threshold=0.6)
    assert len(load(tmp_path / "results.json")) == 2
    assert rows_of(tmp_path / "index.html")[0]["n"] == 0
    np.testing.assert_allclose(
        decode((tmp_path / "overlays" / "a.jpg").read_bytes()), HALVES, atol=60
    )


def test_an_earlier_run_is_replaced_and_strangers_stay(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "overlays").mkdir()
    (tmp_path / "overlays" / "mine.png").write_text("mine")
    write(tmp_path, [prediction("a.jpg")])
    write(tmp_path, [prediction("b.jpg", people(2))])
    assert [image["file_name"] for image in load(tmp_path / "images.json")["images"]] == ["b.jpg"]
    assert (
        (tmp_path / "mine.txt").read_text()
        == (tmp_path / "overlays" / "mine.png").read_text()
        == "mine"
    )


def test_until_the_end_an_earlier_run_stays_as_it_was(tmp_path):
    write(tmp_path, [prediction("a.jpg")])
    before = (tmp_path / "results.json").read_bytes()
    run = RunFolder(tmp_path)
    for i in range(50):
        run.add(run.render(prediction(f"{i}.jpg", people(9)), i), i)
    assert (tmp_path / "results.json").read_bytes() == before
    run.discard()
    assert (tmp_path / "results.json").read_bytes() == before
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's always-full device")
@pytest.mark.parametrize("name", ["results.json", "index.html"])
def test_a_full_disk_leaves_an_earlier_run_as_it_was(tmp_path, name):
    write(tmp_path, [prediction("a.jpg")])
    before = {path: path.read_bytes() for path in tmp_path.glob("*.*")}
    (tmp_path / f".{name}.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, [prediction("b.jpg", people(30))] * 20)
    assert {path: path.read_bytes() for path in tmp_path.glob("*.*")} == before


@pytest.mark.parametrize(
    "names",
    [
        [
            "a.jpg",
            "a.png",
            "a.png.jpg",
            "a.png.jpg.jpg",
            "a.jpg.jpg",
            "a",
            "a.image.jpg",
            "a.image",
            "a.JPG",
            "a.gif",
        ],
        ["x/a.jpg", "y/a.jpg", "x_a.jpg", "x/y/a.jpg"],
    ],
)
def test_overlays_of_different_names_have_different_names(names):
    assert len({overlay_name(name) for name in names}) == len(names)


def test_overlay_names_stay_in_their_folder():
    assert overlay_name("a/b.jpg") == "a/b.jpg"
    assert overlay_name("a/b.png") == "a/b.png.jpg"
    assert overlay_name("../../etc/x.jpg") == "etc/x.jpg"
    assert overlay_name("/etc/x.jpg") == "etc/x.jpg"
    assert overlay_name("a/../../x.jpg").count("..") == 0


@pytest.mark.parametrize(
    "name", ["new\nline.jpg", "日本.jpg", os.fsdecode(b"inv\xff.jpg"), "a'b\"c .png", "#0"]
)
def test_overlays_under_any_name(tmp_path, name):
    write(tmp_path, [prediction(name)])
    (path,) = (tmp_path / "overlays").iterdir()
    assert path.name == overlay_name(name)
    assert load(tmp_path / "images.json")["images"][0]["file_name"] == name
    (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_name_too_long_for_an_overlay_fails_alone(tmp_path):
    write(tmp_path, [prediction("x" * 251 + ".png"), prediction("a.jpg")])
    assert len(load(tmp_path / "results.json")) == 2
    (failure,) = load(tmp_path / "failures.json")
    assert "overlay" in failure["reason"]


def test_an_image_too_wide_for_a_jpeg_becomes_a_png(tmp_path):
    write(tmp_path, [prediction("wide.jpg", image=np.zeros((2, 70000, 3), np.uint8))])
    assert decode((tmp_path / "overlays" / "wide.jpg.png").read_bytes()).shape == (2, 70000, 3)
    assert load(tmp_path / "failures.json") == []
