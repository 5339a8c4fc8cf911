import numpy as np
import pytest

from bottomup import COCO
from bottomup.data.augment import Augment
from bottomup.data.drawings import Drawings
from bottomup.data.samples import Draw, LabelledImage, Samples
from bottomup.data.scenes.crowd import Crowd
from bottomup.topdown.samples import BoxAugment, CropAugment
from tests.support.labelled_images import labelled

CROWD = Crowd(width=96, height=96, people=(1, 3), sizes=(30.0, 80.0))


def dot(x: float, y: float, box: np.ndarray) -> LabelledImage:
    """A picture with a dot at its only labelled joint, the left wrist of the second person."""
    ys, xs = np.mgrid[:200, :240]
    blob = 255 * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 50)
    keypoints = np.zeros((2, 17, 3), np.float32)
    keypoints[1, 9] = x, y, 2
    image = np.repeat(blob.round().astype(np.uint8)[..., None], 3, 2)
    return labelled(image, keypoints, boxes=np.stack([np.zeros(4), box]))


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_picture_and_joints_go_the_same_way(flip):
    augment = CropAugment(colour=0, blur=0, grey=0, flip=flip)
    box = np.array([60.0, 40, 140, 160])
    errors = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        x, y = rng.uniform((80, 70), (120, 130))
        crop = augment(dot(x, y, box), COCO.flip_indices, np.random.default_rng((seed, 1)))
        assert crop.image.shape == (256, 192, 3)
        assert crop.keypoints.shape == (1, 17, 3)
        joint = 10 if flip else 9
        assert (crop.keypoints[0, :, 2] > 0).nonzero()[0].tolist() == [joint]
        weight = crop.image[..., 0].astype(float) ** 2
        seen = (
            np.array(
                [(weight.sum(0) * np.arange(192)).sum(), (weight.sum(1) * np.arange(256)).sum()]
            )
            / weight.sum()
        )
        errors.append(seen - crop.keypoints[0, joint, :2])
    assert np.abs(np.mean(errors, 0)).max() < 0.05
    assert np.abs(errors).max() < 0.3


def test_joints_outside_of_the_crop_have_no_label():
    crop = CropAugment(scale=(1, 1), rotation=0, shift=0, flip=0)(
        dot(220, 190, np.array([10.0, 10, 50, 60])), COCO.flip_indices, np.random.default_rng(0)
    )
    assert (crop.keypoints == 0).all()


def test_a_drawn_crop_is_a_function_of_its_place():
    one = Samples(Drawings(CROWD, 4), CropAugment(height=128), seed=1)
    other = Samples(Drawings(CROWD, 9), CropAugment(height=128), seed=1)
    first, again = one[Draw(2, 3)], other[Draw(2, 3)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.image, one[Draw(3, 3)].image)
    assert first.image.shape == (128, 96, 3)


def test_nobody_to_see_is_a_crop_without_labels():
    crowd = Crowd(width=64, height=64, people=(0, 0))
    crop = Samples(Drawings(crowd, 1), CropAugment(height=128))[Draw(0, 0)]
    assert crop.keypoints.shape == (1, 17, 3)
    assert (crop.keypoints[..., 2] == 0).all()


def test_boxes_follow_the_picture():
    """A white rectangle keeps to its box through scale, shift and mirror."""
    image = np.zeros((200, 240, 3), np.uint8)
    image[60:140, 90:130] = 255
    box = np.array(
        [[89.5, 59.5, 129.5, 139.5]]
    )  # its edges, the centre of the top-left pixel being (0, 0)
    augment = Augment(size=160, scale=(0.9, 1.3), rotation=0.0, translation=0.1)
    for seed in range(12):
        plain = labelled(image, np.full((1, 17, 3), 2, np.float32), boxes=box)
        sample = BoxAugment(augment)(plain, COCO.flip_indices, np.random.default_rng(seed))
        rows, columns = np.nonzero(sample.image[..., 0] > 127)
        edges = np.array(
            [[columns.min() - 0.5, rows.min() - 0.5], [columns.max() + 0.5, rows.max() + 0.5]]
        )
        assert sample.keypoints.shape == (1, 2, 3)
        np.testing.assert_allclose(sample.keypoints[0, :, :2], edges, atol=0.6)
        assert (sample.keypoints[..., 2] == 2).all()


def test_a_bit_of_a_person_is_neither_person_nor_background():
    boxes = np.array([[20.0, 20, 60, 60], [90, 20, 200, 60], [150, 20, 170, 30]])
    still = Augment(size=100, scale=(1, 1), rotation=0.0, translation=0.0, flip=0.0)
    image = np.zeros((100, 100, 3), np.uint8)
    image = labelled(image, np.full((3, 17, 3), 2, np.float32), boxes=boxes)
    warped = BoxAugment(still)(image, COCO.flip_indices, np.random.default_rng(0))
    assert warped.keypoints[:, 0, 2].tolist() == [2, 0, 0]
    assert not warped.mask[20:60, 91:].any()
    assert warped.mask[:, :89].all()


def test_drawn_boxes_are_those_of_the_people():
    still = Augment(size=96, scale=(1, 1), rotation=0.0, translation=0.0, flip=0.0)
    sample = Samples(Drawings(CROWD, 3), BoxAugment(still), seed=2)[Draw(0, 1)]
    assert sample.keypoints.shape[1:] == (2, 3)
    counted = sample.keypoints[sample.keypoints[:, 0, 2] > 0]
    assert len(counted)
    assert (counted[:, 1, :2] > counted[:, 0, :2]).all()


def test_people_without_labels_have_no_box():
    keypoints = np.zeros((2, 17, 3), np.float32)
    keypoints[1, 0] = 30, 30, 1
    boxes = np.array([[0.0, 0, 9, 9], [20, 20, 60, 60]])
    image = labelled(np.zeros((100, 100, 3), np.uint8), keypoints, boxes=boxes)
    still = Augment(size=100, scale=(1, 1), rotation=0.0, translation=0.0, flip=0.0)
    sample = BoxAugment(still)(image, COCO.flip_indices, np.random.default_rng(0))
    np.testing.assert_allclose(sample.keypoints, [[[20, 20, 2], [60, 60, 2]]])
    assert sample.mask.all()
