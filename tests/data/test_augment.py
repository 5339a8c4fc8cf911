import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bottomup import COCO
from bottomup.data.augment import Augment, similarity, warp
from bottomup.data.samples import LabelledImage
from tests.support.labelled_images import labelled


def blob_image(
    x: float, y: float, *, width: int = 240, height: int = 200, sigma: float = 7.0
) -> np.ndarray:
    columns, rows = np.arange(width), np.arange(height)[:, None]
    blob = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return np.repeat(np.round(blob)[..., None], 3, 2).astype(np.uint8)


def centroid(image: np.ndarray) -> np.ndarray:
    weight = image[..., 0].astype(float) ** 2  # squared: eight bits lose the tails
    rows, columns = np.indices(weight.shape)
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


def image_with_point(x: float, y: float) -> LabelledImage:
    return labelled(blob_image(x, y), np.array([[[x, y, 2.0]]], np.float32))


@settings(max_examples=25, deadline=None)
@given(
    x=st.floats(90, 150),
    y=st.floats(80, 120),
    seed=st.integers(0, 1000),
    scale=st.floats(0.8, 1.5),
)
def test_keypoints_follow_their_blob(x, y, seed, scale):
    augment = Augment(size=200, scale=(scale, scale), rotation=45, translation=0.05)
    sample = augment(image_with_point(x, y), [0], np.random.default_rng(seed))
    np.testing.assert_allclose(centroid(sample.image), sample.keypoints[0, 0, :2], atol=0.01)


@pytest.mark.parametrize("scale", [2.5, 4.0])
def test_keypoints_follow_their_blob_when_the_image_shrinks_a_lot(scale):
    image = blob_image(400, 330, width=800, height=700, sigma=25)
    augment = Augment(size=200, scale=(scale / 3.5, scale / 3.5), rotation=30, translation=0.0)
    keypoints = np.array([[[400, 330, 2.0]]], np.float32)
    moved = augment(labelled(image, keypoints), [0], np.random.default_rng(1))
    np.testing.assert_allclose(centroid(moved.image), moved.keypoints[0, 0, :2], atol=0.01)


def test_mask_moves_with_the_image():
    image = np.zeros((60, 80, 3), np.uint8)
    image[20:40, 30:50] = 255
    ignored = labelled(image, mask=image[..., 0] == 0)
    moved = Augment(size=64)(ignored, COCO.flip_indices, np.random.default_rng(3))
    np.testing.assert_array_equal(moved.mask, moved.image[..., 0] < 128)


def test_mirroring_exchanges_left_and_right():
    sample = image_with_point(100, 90)._replace(keypoints=np.zeros((1, 17, 3), np.float32))
    sample.keypoints[0, 5] = 100, 90, 2
    still = Augment(size=200, scale=(1, 1), rotation=0, translation=0, flip=0)
    mirrored = Augment(size=200, scale=(1, 1), rotation=0, translation=0, flip=1)
    one = still(sample, COCO.flip_indices, np.random.default_rng(0))
    other = mirrored(sample, COCO.flip_indices, np.random.default_rng(0))
    np.testing.assert_array_equal(other.image, one.image[:, ::-1])
    assert other.keypoints[0, 6, 0] == pytest.approx(199 - one.keypoints[0, 5, 0], abs=1e-4)
    assert other.keypoints[0, 5, 2] == 0


@pytest.mark.parametrize(
    ("flip_indices", "is_mirrored"), [([0, 1], False), ([1, 0], True), ([0], True)]
)
def test_joints_without_any_pair_are_not_mirrored(flip_indices, is_mirrored):
    keypoints = np.full((1, len(flip_indices), 3), 20, np.float32)
    image = labelled(blob_image(100, 90), keypoints)
    settings = {"size": 200, "scale": (1, 1), "rotation": 0, "translation": 0}
    still, mirrored = (
        Augment(**settings, flip=flip)(image, flip_indices, np.random.default_rng(0)).image
        for flip in (0, 1)
    )
    np.testing.assert_array_equal(mirrored, still[:, ::-1] if is_mirrored else still)


def test_joints_that_leave_lose_their_label_and_unlabelled_ones_stay_so():
    image = np.zeros((10, 10, 3), np.uint8)
    keypoints = np.array([[[9, 9, 2], [1, 1, 1], [5, 5, 0]]], np.float32)
    shift = np.array([[1.0, 0, 3], [0, 1, 0]])
    moved = warp(labelled(image, keypoints), shift, (10, 10)).keypoints[0]
    np.testing.assert_allclose(moved, [[0, 0, 0], [4, 1, 1], [0, 0, 0]], atol=1e-5)


def test_the_published_ranges_are_kept():
    augment = Augment()
    rng = np.random.default_rng(0)
    matrices = np.stack([augment.draw_matrix(640, 480, False, rng) for _ in range(2000)])
    factors = 512 / 480 / np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert factors.min() == pytest.approx(0.75, abs=0.01)
    assert factors.max() == pytest.approx(1.5, abs=0.01)
    assert np.abs(angles).max() == pytest.approx(30, abs=0.1)


def test_colours_change_only_when_asked_to():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    sample = labelled(image, np.zeros((0, 1, 3), np.float32))
    still = {"size": 64, "scale": (1, 1), "rotation": 0, "translation": 0, "flip": 0}
    plain = Augment(**still)(sample, [0], np.random.default_rng(0))
    np.testing.assert_array_equal(plain.image, image)
    grey = Augment(**still, grey=1.0)(sample, [0], np.random.default_rng(0))
    assert (grey.image[..., 0] == grey.image[..., 2]).all()
    for change in ({"colour": 1.0}, {"blur": 1.0}):
        changed = Augment(**still, **change)(sample, [0], np.random.default_rng(0))
        assert (changed.image != image).any()


@pytest.mark.parametrize(
    "arguments",
    [{"size": 0}, {"scale": (1.5, 0.7)}, {"scale": (0.0, 1.0)}, {"rotation": -1.0}, {"flip": 5.0}],
)
def test_impossible_augmentation_is_refused(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"{name} must be"):
        Augment(**arguments)


@pytest.mark.parametrize("mirrored", [False, True])
def test_boxes_go_the_way_of_the_image_and_stay_upright(mirrored):
    image = labelled(
        np.zeros((100, 120, 3), np.uint8),
        np.zeros((2, 17, 3), np.float32),
        boxes=np.array([[30.0, 40, 50, 60], [100, 10, 119, 90]]),
    )
    for degrees, sides in ((90.0, 10.0), (45.0, 10 * np.sqrt(2))):
        linear = similarity(0.5, degrees, mirrored)
        matrix = np.column_stack([linear, [32, 32] - linear @ [40, 50]])  # the first box is inside
        moved = warp(image, matrix, (64, 64), COCO.flip_indices if mirrored else None).boxes
        np.testing.assert_allclose(moved[0, :2], 32 - sides / 2)
        np.testing.assert_allclose(moved[0, 2:], 32 + sides / 2)
        assert moved[1].min() >= -0.5  # cut at the border
        assert moved[1].max() <= 63.5
