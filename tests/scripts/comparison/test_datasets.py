import json

import numpy as np
import pytest
from comparison import datasets
from comparison.datasets import (
    LabelledImage,
    choose,
    keypoints_of,
    levels_of,
    make,
    read_image,
)

from tests.scripts.comparison.people import standing, truth, write


@pytest.fixture
def files(tmp_path):
    return write(
        tmp_path, truth([standing(60, 80)], [], [standing(60, 80), standing(140, 80, iscrowd=1)])
    )


def test_what_all_methods_get(files, tmp_path):
    dataset = choose("images", *files, tmp_path / "out" / "images.json")
    content = dataset.load()
    assert [info["id"] for info in content["images"]] == [1, 2, 3]
    assert len(content["annotations"]) == 3
    image = read_image(dataset.images, content["images"][0], content["annotations"][:1])
    assert image.pixels.shape == (160, 200, 3)


def test_fewer_images_are_spread_evenly(files, tmp_path):
    content = choose("images", *files, tmp_path / "images.json", limit=2).load()
    assert [info["id"] for info in content["images"]] == [1, 3]
    assert {entry["image_id"] for entry in content["annotations"]} == {1, 3}


def test_the_category_becomes_the_one_that_methods_write(tmp_path):
    content = truth([standing(60, 80)])
    content["categories"] = [datasets.CATEGORY | {"id": 7}]
    content["annotations"][0]["category_id"] = 7
    images, annotations = write(tmp_path, content)
    chosen = choose("images", images, annotations, tmp_path / "images.json").load()
    assert chosen["annotations"][0]["category_id"] == chosen["categories"][0]["id"] == 1


def test_nobody_to_find_is_refused(tmp_path):
    images, annotations = write(tmp_path, truth([], []))
    with pytest.raises(ValueError, match="nobody to find in its 2 images"):
        choose("images", images, annotations, tmp_path / "images.json")


def test_other_joints_are_refused(tmp_path):
    content = truth([])
    content["categories"][0] = {"id": 1, "name": "person", "keypoints": ["a", "b"]}
    images, annotations = write(tmp_path, content)
    with pytest.raises(ValueError, match="about 2 joints"):
        choose("images", images, annotations, tmp_path / "images.json")


def test_the_fingerprint_follows_every_byte(files, tmp_path):
    dataset = choose("images", *files, tmp_path / "images.json")
    before = dataset.fingerprint()
    assert dataset.fingerprint() == before
    path = files[0] / "2.jpg"
    path.write_bytes(path.read_bytes() + b"\0")
    assert dataset.fingerprint() != before


def test_a_made_folder_is_made_once(tmp_path):
    made = []

    def images(colour):
        for level in range(2):
            made.append(level)
            pixels = np.full((40, 60, 3), colour, np.uint8)
            yield LabelledImage(pixels, (standing(30, 20, scale=0.3),), level)

    for _ in range(2):
        dataset = make("grey", tmp_path / "grey", {"colour": 90}, images(90))
    assert made == [0, 1]
    assert levels_of(dataset) == {1: 0, 2: 1}
    info, entry = dataset.load()["images"][1], dataset.load()["annotations"][1]
    assert (info["width"], info["height"], entry["image_id"], entry["id"]) == (60, 40, 2, 2)
    assert abs(int(read_image(dataset.images, info, ()).pixels.mean()) - 90) <= 1
    dataset = make("grey", tmp_path / "grey", {"colour": 91}, images(91))
    assert made == [0, 1] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grey"]


def test_a_folder_that_was_not_finished_is_made_again(tmp_path):
    def broken():
        yield LabelledImage(np.zeros((8, 8, 3), np.uint8), ())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make("grey", tmp_path / "grey", {}, broken())
    assert list(tmp_path.iterdir()) == []


def test_keypoints_of_an_entry_without_any_are_zeros():
    assert keypoints_of({}).tolist() == [[0, 0, 0]] * 17


def test_json_is_written_whole_or_not_at_all(tmp_path):
    datasets.write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        datasets.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
    assert len(list(tmp_path.iterdir())) == 1
