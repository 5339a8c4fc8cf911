import dataclasses
import json

import cv2
import numpy as np
import pytest

from bottomup import COCO, CROWDPOSE
from bottomup.data.augment import Augment
from bottomup.data.coco import read_annotations
from bottomup.data.evaluation_sets import DrawnEvaluation
from bottomup.data.scenes.crowd import Crowd
from bottomup.data.training_sets import Draw, DrawnTraining, PhotoTraining, Together, read_image
from tests.support import picture_files

CROWD = Crowd(width=64, height=48, sizes=(20, 40))


@pytest.fixture
def photos(tmp_path):
    """Three photos: one person, two people, nobody."""
    images, people = [], []
    for number, count in enumerate((1, 2, 0)):
        image = np.full((48, 64, 3), 40 * number + 40, np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 48})
        for _ in range(count):
            keypoints = [10 + number, 12, 2, 40, 30, 1, *[0] * 45]
            people.append(
                {"id": len(people), "image_id": number, "category_id": 1, "keypoints": keypoints}
            )
    category = {"id": 1, "name": "person", "keypoints": list(COCO.keypoints)}
    content = {"images": images, "annotations": people, "categories": [category]}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    return read_annotations(tmp_path / "annotations.json", tmp_path)


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_photos_are_a_function_of_seed_epoch_and_position(photos):
    data = PhotoTraining(photos, Augment(size=32, colour=0.5), seed=1, copy_paste=0.5)
    assert len(data) == 2
    assert same(data[Draw(3, 1)], data[Draw(3, 1)])
    assert not same(data[Draw(3, 1)], data[Draw(4, 1)])
    assert not same(
        data[Draw(3, 1)], PhotoTraining(photos, Augment(size=32, colour=0.5), seed=2)[Draw(3, 1)]
    )
    assert data[Draw(0, 0)].image.shape == (32, 32, 3)
    assert data.name(1).endswith("1.png")


def test_photos_without_people_join_on_request(photos):
    data = PhotoTraining(photos, Augment(size=32), empty_images=True)
    assert len(data) == 3
    assert data[Draw(0, 2)].keypoints.shape == (0, 17, 3)


def test_pasted_people_come_on_top(photos):
    plain = PhotoTraining(photos, Augment(size=32))
    pasted = PhotoTraining(photos, Augment(size=32), copy_paste=1.0)
    assert len(pasted[Draw(0, 0)].keypoints) > len(plain[Draw(0, 0)].keypoints)


def test_a_photo_of_another_size_than_annotated_is_named(photos, tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(
        ValueError, match=r"0\.png has 10 x 10 pixels, but image 0 is annotated as 64 x 48"
    ):
        read_image(photos.records[0])


def test_a_damaged_photo_is_named(photos, tmp_path):
    (tmp_path / "0.png").write_bytes((tmp_path / "0.png").read_bytes()[:40])
    with pytest.raises(ValueError, match=r"0\.png: "):
        read_image(photos.records[0])


def test_a_photo_that_was_annotated_as_it_is_shown_is_turned(photos, tmp_path):
    stored = picture_files.with_orientation(
        picture_files.encode(np.zeros((64, 48, 3), np.uint8), ".jpg"), 6
    )
    (tmp_path / "0.png").write_bytes(stored)
    assert read_image(photos.records[0]).shape == (48, 64, 3)
    record = dataclasses.replace(photos.records[0], width=48, height=64)
    assert read_image(record).shape == (64, 48, 3), "stored pixels come first"


def test_drawings_change_with_the_epoch_and_repeat_on_request():
    data = DrawnTraining(CROWD, length=3)
    assert not same(data[Draw(0, 0)], data[Draw(1, 0)])
    again = DrawnTraining(CROWD, length=3, repeat=2, augment=Augment(size=48))
    still = DrawnTraining(CROWD, length=3, repeat=2)
    assert same(still[Draw(0, 0)], still[Draw(1, 0)])
    assert not same(still[Draw(1, 0)], still[Draw(2, 0)])
    assert not same(again[Draw(0, 0)], again[Draw(1, 0)]), "the same drawing, augmented differently"


def test_no_drawing_is_both_trained_and_evaluated_on():
    data, evaluation = DrawnTraining(CROWD, length=4), DrawnEvaluation(CROWD, 4)
    drawn = {
        data[Draw(epoch, position)].image.tobytes() for epoch in range(4) for position in range(4)
    }
    assert len(drawn) == 16
    assert not drawn & {evaluation[index].image.tobytes() for index in range(4)}


def test_sets_together_visit_each_part_as_often_as_asked(photos):
    drawn = DrawnTraining(CROWD, length=2, augment=Augment(size=32))
    data = Together((PhotoTraining(photos, Augment(size=32)), drawn), (3, 1))
    assert len(data) == 8
    names = [data.name(index) for index in range(8)]
    assert sum(name.endswith("0.png") for name in names) == 3
    assert names[-1] == "drawn image 1 of seed 0"
    looks = [
        data[Draw(0, index)] for index in (0, 2, 4)
    ]  # the same photo, three times in one epoch
    assert not same(looks[0], looks[1])
    assert not same(looks[1], looks[2])
    assert same(data[Draw(1, 6)], drawn[Draw(1, 0)])
    with pytest.raises(IndexError):
        data.name(8)


def test_sets_of_different_joints_do_not_mix():
    with pytest.raises(ValueError, match="different joints"):
        Together((DrawnTraining(CROWD, 1), DrawnTraining(CROWD, 1, skeleton=CROWDPOSE)), (1, 1))
