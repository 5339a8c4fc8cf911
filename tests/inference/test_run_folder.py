import base64
import dataclasses
import os

import numpy as np
import pytest

from bottomup.images.decoding import decode
from bottomup.inference import gallery
from bottomup.inference.predictor import Prediction
from bottomup.inference.run_folder import Renderer, holds_overlays, overlay_name
from tests.support.picture_files import HALVES
from tests.support.run_folders import load, people, prediction, write_journal, write_run


def test_a_record_holds_all_people_and_counts_those_that_are_drawn(tmp_path):
    record = Renderer(tmp_path, score_threshold=0.6)(prediction("sub/b.png", people(2)), 0)
    assert (record.name, record.width, record.height) == ("sub/b.png", 60, 40)
    assert record.people == people(2).to_coco(0)
    assert (record.shown, record.error) == (0, None)
    assert record.overlay == "overlays/sub/b.png.jpg"
    overlay = decode((tmp_path / record.overlay).read_bytes())
    np.testing.assert_allclose(overlay, HALVES, atol=60)  # nobody is drawn
    assert Renderer(tmp_path)(prediction("sub/b.png", people(2)), 0).shown == 2


def test_overlays_are_known_by_what_else_the_run_wrote(tmp_path):
    write_run(tmp_path / "run", [prediction("a.jpg")])
    (tmp_path / "link").symlink_to(tmp_path / "run" / "overlays")
    assert holds_overlays(tmp_path / "run" / "overlays")
    assert holds_overlays(tmp_path / "link")
    assert not holds_overlays(tmp_path / "run")
    (tmp_path / "mine" / "overlays").mkdir(parents=True)
    (tmp_path / "mine" / "results.json").write_text("[]")
    assert not holds_overlays(tmp_path / "mine" / "overlays")
    write_journal(tmp_path / "killed", [])
    assert holds_overlays(tmp_path / "killed" / "overlays")


def test_a_warning_is_part_of_the_record(tmp_path):
    warned = dataclasses.replace(prediction("a.jpg"), warning="no end")
    assert Renderer(tmp_path)(warned, 0).warning == "no end"


def test_a_failure_is_a_record_too(tmp_path):
    bad = Prediction("bad.jpg", None, None, None, "broken")
    record = Renderer(tmp_path)(bad, 0)
    assert (record.people, record.shown, record.error) == (None, None, "broken")
    assert not os.listdir(tmp_path)


def test_only_the_first_images_get_small_ones(tmp_path):
    renderer = Renderer(tmp_path, overlays=False)
    small = renderer(prediction("a.jpg"), gallery.MAX_THUMBNAILS - 1).thumbnail
    assert decode(base64.b64decode(small or "")).shape == (40, 60, 3)
    assert renderer(prediction("a.jpg"), gallery.MAX_THUMBNAILS).thumbnail is None
    assert not os.listdir(tmp_path)


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
    write_run(tmp_path, [prediction(name)])
    (path,) = (tmp_path / "overlays").iterdir()
    assert path.name == overlay_name(name)
    assert load(tmp_path / "images.json")["images"][0]["file_name"] == name
    (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_name_too_long_for_an_overlay_fails_alone(tmp_path):
    write_run(tmp_path, [prediction("x" * 251 + ".png"), prediction("a.jpg")])
    assert len(load(tmp_path / "results.json")) == 2
    (failure,) = load(tmp_path / "failures.json")
    assert "overlay" in failure["reason"]


def test_an_image_too_wide_for_a_jpeg_becomes_a_png(tmp_path):
    write_run(tmp_path, [prediction("wide.jpg", image=np.zeros((2, 70000, 3), np.uint8))])
    assert decode((tmp_path / "overlays" / "wide.jpg.png").read_bytes()).shape == (2, 70000, 3)
    assert load(tmp_path / "failures.json") == []


def test_overlays_of_images_that_were_read_smaller(tmp_path):
    """Sizes and people are those of the file; they are drawn where they are in the small image."""
    shown = prediction("a.jpg", people(2))
    factor = 4
    enlarged = dataclasses.replace(
        people(2), keypoints=((people(2).keypoints + 0.5) * factor - 0.5).astype(np.float32)
    )
    small = dataclasses.replace(shown, poses=enlarged, reduction=factor, full_wh=(240, 160))
    expected, record = (
        Renderer(tmp_path / name)(item, 0) for name, item in (("1", shown), ("2", small))
    )
    assert (record.width, record.height, record.people) == (240, 160, enlarged.to_coco(0))
    one, two = (decode((tmp_path / name / "overlays/a.jpg").read_bytes()) for name in ("1", "2"))
    np.testing.assert_array_equal(one, two)
    assert expected.thumbnail == record.thumbnail


@pytest.mark.parametrize("wh", [(2000, 3), (1, 1000), (481, 333), (240, 240)])
def test_small_images_show_the_whole_image(tmp_path, wh):
    image = np.zeros((wh[1], wh[0], 3), np.uint8)
    image[:, wh[0] // 2 :] = 200
    shown = Prediction("a.jpg", None, image, people(0))
    small = decode(base64.b64decode(Renderer(tmp_path, overlays=False)(shown, 0).thumbnail or ""))
    assert max(small.shape[:2]) == 240
    assert abs(small.mean() - image.mean()) < 6
