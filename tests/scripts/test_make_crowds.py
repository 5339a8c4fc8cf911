import json
import sys

import cv2
import numpy as np
import pytest

from scripts import make_crowds

SIZES = [(40, 60), (60, 40), (50, 50), (64, 48), (30, 30)]  # width, height


@pytest.fixture
def photos(tmp_path):
    """Grey photos, each with a white square of 4 x 4 pixels whose centre is a person's nose."""
    folder = tmp_path / "photos"
    folder.mkdir()
    images, people = [], []
    for number, (wide, high) in enumerate(SIZES):
        image = np.full((high, wide, 3), 20 + 40 * number, np.uint8)
        image[10:14, 16:20] = 255
        cv2.imwrite(str(folder / f"{number}.png"), image)
        images.append(
            {"id": 7 + number, "file_name": f"{number}.png", "width": wide, "height": high}
        )
        keypoints = [17.5, 11.5, 2] + [0, 0, 0] * 16
        outline = [[16, 10, 20, 10, 20, 14, 16, 14]]
        person = {"id": number, "image_id": 7 + number, "category_id": 1, "iscrowd": 0}
        person |= {"keypoints": keypoints, "bbox": [16, 10, 4, 4], "segmentation": outline}
        people.append(person | {"area": 12.0, "num_keypoints": 1})
    category = {"id": 1, "name": "person", "keypoints": [f"k{i}" for i in range(17)]}
    labels = {"images": images, "annotations": people, "categories": [category]}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    return tmp_path


def made(photos, monkeypatch, *arguments: str):
    """The images by id, and the labels."""
    command = ["make_crowds.py", "labels.json", "photos", "out", *arguments]
    monkeypatch.chdir(photos)
    monkeypatch.setattr(sys, "argv", command)
    make_crowds.main()
    labels = json.loads((photos / "out/annotations.json").read_text())
    images = {
        info["id"]: cv2.imread(str(photos / "out/images" / info["file_name"]))
        for info in labels["images"]
    }
    for info in labels["images"]:
        assert images[info["id"]].shape == (info["height"], info["width"], 3)
    return images, labels


def test_people_of_a_mosaic_are_where_their_pixels_are(photos, monkeypatch):
    images, labels = made(photos, monkeypatch, "--mosaic", "2")
    assert [image.shape for image in images.values()] == [(108, 104, 3), (40, 60, 3)]
    assert len(labels["annotations"]) == len(SIZES)
    assert len({person["id"] for person in labels["annotations"]}) == len(SIZES)
    for person in labels["annotations"]:
        x, y, wide, high = person["bbox"]
        image = images[person["image_id"]]
        assert (image[int(y) : int(y + high), int(x) : int(x + wide)] == 255).all()
        assert (image[int(y) - 1, int(x) : int(x + wide)] < 255).all()
        assert person["keypoints"][:3] == [x + 1.5, y + 1.5, 2]
        assert person["keypoints"][3:] == [0] * 48
        assert person["segmentation"][0][:2] == [x, y]
        assert person["area"] == 12
    assert sum((image == 255).sum() for image in images.values()) == len(SIZES) * 16 * 3


def test_a_reduced_photo_keeps_its_id_and_its_labels_shrink(photos, monkeypatch):
    images, labels = made(photos, monkeypatch, "--reduce", "2")
    assert [image.shape[1::-1] for image in images.values()] == [
        (20, 30), (30, 20), (25, 25), (32, 24), (15, 15)
    ]  # fmt: skip
    assert [info["id"] for info in labels["images"]] == [7, 8, 9, 10, 11]
    for person in labels["annotations"]:
        assert person["bbox"] == [8, 5, 2, 2]
        assert person["keypoints"][:3] == [8.5, 5.5, 2]
        assert person["area"] == 3
        assert (images[person["image_id"]][5:7, 8:10] == 255).all()


def test_an_outline_that_is_a_mask_becomes_its_box(photos, monkeypatch):
    labels = json.loads((photos / "labels.json").read_text())
    labels["annotations"][0] |= {"segmentation": {"size": [60, 40], "counts": [2400]}}
    (photos / "labels.json").write_text(json.dumps(labels))
    _, labels = made(photos, monkeypatch, "--reduce", "1")
    assert labels["annotations"][0]["segmentation"] == [[16, 10, 20, 10, 20, 14, 16, 14]]


@pytest.mark.parametrize("arguments", [["--mosaic", "0"], ["--reduce", "0.5"], ["--reduce", "nan"]])
def test_impossible_numbers_are_refused(photos, monkeypatch, arguments):
    with pytest.raises(SystemExit):
        made(photos, monkeypatch, *arguments)
    assert not (photos / "out").exists()


def test_a_photo_of_another_size_than_its_entry_is_named(photos, monkeypatch):
    cv2.imwrite(str(photos / "photos/2.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(SystemExit, match=r"2\.png has 9 x 9 pixels"):
        made(photos, monkeypatch, "--mosaic", "2")
