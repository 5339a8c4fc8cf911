import dataclasses
import multiprocessing

import cv2
import numpy as np
import pytest

from bottomup.data.augment import Augment
from bottomup.data.loader import EpochSampler, EvaluationLoader, ResumableLoader
from bottomup.data.photos import PastedPhotos, PhotoEvaluation, Photos, read_image
from bottomup.data.samples import Draw, Samples
from tests.support import picture_files


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_photos_are_a_function_of_seed_epoch_and_position(annotations):
    augment, photos = Augment(size=32, colour=0.5), PastedPhotos(annotations, probability=0.5)
    data = Samples(photos, augment, seed=1)
    assert len(data) == 2
    assert same(data[Draw(3, 1)], data[Draw(3, 1)])
    assert not same(data[Draw(3, 1)], data[Draw(4, 1)])
    assert not same(data[Draw(3, 1)], Samples(photos, augment, seed=2)[Draw(3, 1)])
    assert data[Draw(0, 0)].image.shape == (32, 32, 3)
    assert data.name(1).endswith("1.png")


def test_photos_without_people_join_on_request(annotations):
    data = Samples(Photos(annotations, empty_images=True), Augment(size=32))
    assert len(data) == 3
    assert data[Draw(0, 2)].keypoints.shape == (0, 17, 3)


def test_pasted_people_come_on_top(annotations):
    plain = Samples(PastedPhotos(annotations), Augment(size=32))
    pasted = Samples(PastedPhotos(annotations, probability=1.0), Augment(size=32))
    assert len(pasted[Draw(0, 0)].keypoints) > len(plain[Draw(0, 0)].keypoints)


def test_one_person_at_a_time(annotations):
    flat = dataclasses.replace(annotations.records[0], boxes=np.array([[10.0, 12, 40, 12]]))
    annotations = dataclasses.replace(annotations, records=(flat, *annotations.records[1:]))
    people = Photos(annotations, one_person=True)
    assert len(people) == 2, "a box without area is no crop"
    photo = people.load(1, np.random.default_rng(0))
    np.testing.assert_array_equal(photo.keypoints, annotations.records[1].keypoints[1:])
    np.testing.assert_array_equal(photo.boxes, annotations.records[1].boxes[1:])
    assert people.name(1, 0).endswith("1.png, person 2")


def test_evaluation_takes_all_photos_as_they_are(annotations):
    data = PhotoEvaluation(annotations)
    assert [data[index].image_id for index in range(len(data))] == [0, 1, 2]
    assert data[2].image.shape == (48, 64, 3)
    truth = data.ground_truth({1})
    assert [info["id"] for info in truth["images"]] == [1]
    assert {person["image_id"] for person in truth["annotations"]} == {1}
    assert truth["categories"][0]["id"] == data.category_id == 1


def test_a_photo_of_another_size_than_annotated_is_named(annotations, tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(
        ValueError, match=r"0\.png has 10 x 10 pixels, but image 0 is annotated as 64 x 48"
    ):
        read_image(annotations.records[0])


def test_a_damaged_photo_is_named(annotations, tmp_path):
    (tmp_path / "0.png").write_bytes((tmp_path / "0.png").read_bytes()[:40])
    with pytest.raises(ValueError, match=r"0\.png: "):
        read_image(annotations.records[0])


def test_a_photo_that_was_annotated_as_it_is_shown_is_turned(annotations, tmp_path):
    stored = picture_files.with_orientation(
        picture_files.encode(np.zeros((64, 48, 3), np.uint8), ".jpg"), 6
    )
    (tmp_path / "0.png").write_bytes(stored)
    assert read_image(annotations.records[0]).shape == (48, 64, 3)
    record = dataclasses.replace(annotations.records[0], width=48, height=64)
    assert read_image(record).shape == (64, 48, 3), "stored pixels come first"


def cut(path) -> None:
    """Leave a file whose header is whole."""
    path.write_bytes(path.read_bytes()[:60])


def test_a_broken_photo_is_replaced_by_the_next_one(annotations, tmp_path, caplog):
    """In every process alike, so that batches and a resumed training stay the same."""
    cut(tmp_path / "0.png")
    data = Samples(Photos(annotations, empty_images=True, missing="skip"), None)
    assert same(data[Draw(0, 0)], data[Draw(0, 1)])
    assert data.name(0).endswith("1.png"), "the image that was in the batch"
    assert data.source.files.num_broken == 1

    cut(tmp_path / "2.png")
    data = Samples(Photos(annotations, empty_images=True, missing="skip"), None)
    assert same(data[Draw(0, 2)], data[Draw(0, 1)]), "after the last comes the first"


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_broken_photo_is_told_once(annotations, tmp_path, caplog, num_workers):
    cut(tmp_path / "0.png")
    photos = Photos(annotations, empty_images=True, missing="skip")
    loader = ResumableLoader(
        Samples(photos, None), EpochSampler(3, 1), num_workers=num_workers, photos=photos.files
    )
    for epoch in range(2):
        loader.order.set_epoch(epoch)
        assert len(list(loader)) == 3
    assert caplog.text.count("left out: ") == 1
    assert "0.png: truncated" in caplog.text


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("missing", ["error", "skip"])
def test_nothing_but_broken_photos_stops_in_one_message(
    annotations, tmp_path, num_workers, missing
):
    for number in range(3):
        cut(tmp_path / f"{number}.png")
    photos = Photos(annotations, empty_images=True, missing=missing)
    loader = ResumableLoader(
        Samples(photos, None), EpochSampler(3, 1), num_workers=num_workers, photos=photos.files
    )
    with pytest.raises(ValueError, match="truncated") as caught:
        list(loader)
    assert "Traceback" not in str(caught.value)
    del caught
    assert not multiprocessing.active_children()


def test_people_of_a_broken_photo_are_not_pasted(annotations, tmp_path):
    for number in (1, 2):
        cut(tmp_path / f"{number}.png")
    plain = Samples(PastedPhotos(annotations, missing="skip"), None)
    pasted = Samples(PastedPhotos(annotations, missing="skip", probability=1.0), None)
    draws = [Draw(epoch, 0) for epoch in range(6)]
    assert {len(pasted[draw].keypoints) for draw in draws} <= {1, 2}
    assert any(same(pasted[draw], plain[draw]) for draw in draws)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_broken_photo_is_left_out_of_the_evaluation(annotations, tmp_path, num_workers, caplog):
    cut(tmp_path / "1.png")
    data = PhotoEvaluation(annotations, "skip")
    loader = EvaluationLoader(
        data, range(3), batch_size=1, num_workers=num_workers, photos=data.files
    )
    assert [[image.image_id for image in images] for images in loader] == [[0], [], [2]]
    assert caplog.text.count("1.png: truncated") == 1

    data = PhotoEvaluation(annotations)
    loader = EvaluationLoader(
        data, range(3), batch_size=1, num_workers=num_workers, photos=data.files
    )
    with pytest.raises(ValueError, match=r"1\.png: truncated.*\n.*--data\.missing skip"):
        list(loader)
