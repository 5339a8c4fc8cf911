import json

import cv2
import numpy as np
import pytest

from bottomup import COCO
from bottomup.data.augment import Augment
from bottomup.data.datamodule import DrawnData, PhotoData
from bottomup.data.scenes.crowd import Crowd


@pytest.fixture
def files(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((30, 40, 3), np.uint8))
    category = {"id": 1, "name": "person", "keypoints": list(COCO.keypoints)}
    person = {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [5, 5, 2, *[0] * 48]}
    images = [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}]
    for name, people, pictures in (
        ("full", [person], images),
        ("unlabelled", [], images),
        ("empty", [], []),
    ):
        content = {"images": pictures, "annotations": people, "categories": [category]}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return {name: str(tmp_path / f"{name}.json") for name in ("full", "unlabelled", "empty")}, str(
        tmp_path
    )


def test_photos_become_batches_of_image_keypoints_mask_and_boxes(files):
    names, folder = files
    data = PhotoData(
        names["full"],
        folder,
        names["full"],
        folder,
        augment=Augment(size=32),
        batch_size=1,
        num_workers=0,
    )
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch._fields == ("image", "keypoints", "mask", "boxes")
    assert batch.image.shape == (1, 3, 32, 32)
    (images,) = data.val_dataloader()
    assert images[0].image_id == 1
    assert images[0].image.shape == (30, 40, 3)
    assert data.skeleton is COCO


def test_drawings_join_the_photos(files):
    names, folder = files
    data = PhotoData(
        names["full"], folder, drawn_images=3, crowd=Crowd(width=48, height=48), num_workers=0
    )
    data.setup("fit")
    assert data.training_set is not None
    assert len(data.training_set) == 4


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        ("unlabelled", "full", "has no images with labelled people"),
        ("full", "empty", "the validation set .* has no images"),
        ("full", "unlabelled", "the validation set .* has no images with labelled people"),
        (None, "full", "pass both --data.train_annotations FILE"),
    ],
)
def test_empty_sets_are_refused(files, train, val, message):
    names, folder = files
    data = PhotoData(names.get(train), folder, names[val], folder)
    with pytest.raises(ValueError, match=message):
        data.setup("fit")


def test_both_files_need_the_same_joints_in_one_order(files, tmp_path):
    names, folder = files
    content = json.loads((tmp_path / "full.json").read_text())
    content["categories"][0]["keypoints"].reverse()
    (tmp_path / "other.json").write_text(json.dumps(content))
    data = PhotoData(names["full"], folder, str(tmp_path / "other.json"), folder)
    with pytest.raises(ValueError, match="both need the same, in one order"):
        data.setup("fit")


def test_a_file_needs_its_folder(files):
    names, folder = files
    with pytest.raises(
        ValueError, match=r"both --data\.val_annotations FILE and --data\.val_images"
    ):
        PhotoData(names["full"], folder, names["full"]).setup("fit")
    with pytest.raises(ValueError, match=r"pass --data\.val_annotations FILE"):
        PhotoData(names["full"], folder).setup("validate")


def test_nothing_to_train_on_is_refused(files):
    for data in (PhotoData(), DrawnData(train_length=0)):
        with pytest.raises(ValueError, match=r"nothing to train on: pass --data\.train_"):
            data.setup("fit")


def test_no_validation_is_fine_while_fitting(files):
    names, folder = files
    data = PhotoData(names["full"], folder)
    data.setup("fit")
    assert data.val_dataloader() == []


def test_data_without_setup_have_no_joints():
    with pytest.raises(ValueError, match="set them up first"):
        _ = DrawnData().skeleton


def test_validation_needs_no_training_set():
    data = DrawnData(Crowd(width=48, height=48), val_length=3, num_workers=0, eval_batch_size=2)
    data.setup("validate")
    assert data.training_set is None
    assert [[image.image_id for image in batch] for batch in data.val_dataloader()] == [[1, 2], [3]]
