import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bottomup import Poses
from bottomup.geometry import Transform
from tests.support.golden_files import assert_equal

SIZES = [(640, 480), (333, 500), (97, 1013), (1500, 1001), (40, 30)]


def test_official_transforms_coordinates_and_pictures_equal_the_reference(golden):
    assert_equal(golden, "geometry")


@pytest.mark.parametrize("image_wh", SIZES)
@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize("scale", [0.5, 1, 2])
def test_a_blob_is_seen_where_it_is(image_wh, side, scale):
    """The centre of gravity of a warped blob, taken back to the image, is the blob's centre."""
    transform = Transform.fit(image_wh, 256, side=side, multiple=32)
    if scale != 1:
        transform = transform.scaled(scale, 32)
    width, height = image_wh
    sigma = min(image_wh) / 12
    ys, xs = np.mgrid[:height, :width]
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(8):
        center = rng.uniform(0.4, 0.6, 2) * image_wh
        blob = np.exp(-((xs - center[0]) ** 2 + (ys - center[1]) ** 2) / (2 * sigma**2))
        image = np.repeat((255 * blob).round().astype(np.uint8)[..., None], 3, axis=2)
        seen = (
            transform.warp(image)[..., 0].astype(float) ** 2
        )  # squared: eight bits lose the tails
        at_input = np.array(
            [
                (seen.sum(0) * np.arange(seen.shape[1])).sum(),
                (seen.sum(1) * np.arange(seen.shape[0])).sum(),
            ]
        )
        errors.append(
            transform.to_image((at_input / seen.sum())[None], transform.input_wh)[0] - center
        )
    assert np.abs(np.mean(errors, axis=0)).max() < 0.1


@given(
    wide=st.integers(1, 3000),
    high=st.integers(1, 3000),
    size=st.sampled_from([256, 512]),
    side=st.sampled_from(["long", "short"]),
)
@settings(max_examples=50, deadline=None)
def test_to_image_undoes_the_matrix(wide, high, size, side):
    transform = Transform.fit((wide, high), size, side=side)
    points = np.random.default_rng(0).uniform(-50, 3000, (5, 2))
    at_input = points @ transform.matrix[:, :2].T + transform.matrix[:, 2]
    np.testing.assert_allclose(transform.to_image(at_input, transform.input_wh), points, atol=1e-6)
    half = tuple(
        s // 2 for s in transform.input_wh
    )  # cell i of a map at stride 2 covers pixels 2i and 2i + 1
    np.testing.assert_allclose(
        transform.to_image((at_input + 0.5) / 2 - 0.5, half), points, atol=1e-6
    )


def test_sides_are_multiples_and_scales_see_the_same_ground():
    base = Transform.fit((640, 427), 512, multiple=32)
    assert base.input_wh == (512, 352)
    half = base.scaled(0.5, 32)
    assert half.input_wh == (256, 192)
    corner = np.array([[-0.5, -0.5], [0.5, 0.5]])
    for transform in (base, half):
        edges = np.array([[-0.5, -0.5], transform.input_wh - np.array([0.5, 0.5])])
        corner = transform.to_image(edges, transform.input_wh)
        np.testing.assert_allclose(corner, [[-0.5, -0.5], [639.5, 439.5]], atol=0.6)


def test_a_thin_image_stays_within_four_sizes():
    assert Transform.fit((20000, 40), 512, side="short").input_wh == (2048, 32)
    assert Transform.fit((20000, 40), 512, side="long").warp(
        np.zeros((40, 20000, 3), np.uint8)
    ).shape == (
        32,
        512,
        3,
    )
    assert Transform.fit((1, 1), 512).warp(np.full((1, 1, 3), 9, np.uint8)).shape == (512, 512, 3)


def test_an_input_beyond_all_reason_is_refused():
    transform = Transform.official((20000, 40), 512)[0]
    with pytest.raises(ValueError, match="256000 x 512 pixels"):
        transform.warp(np.zeros((40, 20000, 3), np.uint8))


def test_absent_joints_stay_at_the_origin():
    poses = Poses(
        np.ones((1, 17, 2), np.float32), np.eye(1, 17, dtype=np.float32), np.ones(1, np.float32)
    )
    moved = Transform.fit((640, 480), 512).poses_to_image(poses, (256, 192), offset=0.5)
    assert (moved.keypoints[0, 1:] == 0).all()
    np.testing.assert_allclose(moved.keypoints[0, 0], (1.5 * 2.5 - 0.5 + 0.5 * 1.25,) * 2)


@pytest.mark.parametrize(
    "box", [[300, 200, 420, 480], [300, 300, 520, 360], [100, 100, 118, 140], [-60, 30, 400, 700]]
)
def test_a_blob_is_seen_where_it_is_in_a_crop(box):
    transform = Transform.crop(box)
    size = np.subtract(box[2:], box[:2])
    sigma = size.min() / 12
    ys, xs = np.mgrid[:600, :800]
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(8):
        center = np.add(box[:2], rng.uniform(0.4, 0.6, 2) * size)
        blob = np.exp(-((xs - center[0]) ** 2 + (ys - center[1]) ** 2) / (2 * sigma**2))
        image = np.repeat((255 * blob).round().astype(np.uint8)[..., None], 3, axis=2)
        seen = transform.warp(image)[..., 0].astype(float) ** 2
        at_input = (
            np.array([(seen.sum(0) * np.arange(192)).sum(), (seen.sum(1) * np.arange(256)).sum()])
            / seen.sum()
        )
        errors.append(
            (transform.to_image(at_input[None], transform.input_wh)[0] - center)
            * transform.matrix[0, 0]
        )
    assert np.abs(np.mean(errors, axis=0)).max() < 0.1


def test_a_crop_shows_the_box_and_a_quarter_more():
    tall = Transform.crop([100, 100, 150, 300], (192, 256))
    edges = tall.to_image(np.array([[-0.5, -0.5], [191.5, 255.5]]), (192, 256))
    np.testing.assert_allclose(
        edges, [[125 - 93.75, 200 - 125], [125 + 93.75, 200 + 125]], atol=1e-9
    )
    wide = Transform.crop([100, 100, 400, 150], (192, 256), padding=1.0)
    edges = wide.to_image(np.array([[-0.5, -0.5], [191.5, 255.5]]), (192, 256))
    np.testing.assert_allclose(edges, [[100, 125 - 200], [400, 125 + 200]], atol=1e-9)


def test_a_crop_costs_what_it_shows_and_equals_that_of_the_whole_image():
    image = np.random.default_rng(0).integers(0, 256, (700, 1000, 3)).astype(np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 4)
    transform = Transform.crop([420, 100, 800, 640])
    shrunk = cv2.resize(
        image,
        None,
        fx=transform.matrix[0, 0],
        fy=transform.matrix[1, 1],
        interpolation=cv2.INTER_AREA,
    )
    seen = transform.warp(image)
    assert seen.shape == (256, 192, 3)
    middle = shrunk[
        (at := (np.array([370, 610]) * transform.matrix[0, 0]).round().astype(int))[0], at[1]
    ].astype(int)
    assert np.abs(seen[128, 96].astype(int) - middle).max() < 6


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [9, 5, 5, 9], [0, 0, np.inf, 5], [np.nan, 0, 5, 5]])
def test_an_invalid_box_is_refused(box):
    with pytest.raises(ValueError, match="ascending"):
        Transform.crop(box)


def test_a_crop_beside_the_image_is_black():
    assert Transform.crop([900, 900, 950, 990]).warp(np.full((50, 60, 3), 255, np.uint8)).max() == 0


def test_a_reduced_image_gives_the_same_input():
    y, x = np.mgrid[:480, :640]
    image = np.stack([x / 4, y / 4, (x + y) / 8], axis=2).astype(np.uint8)
    small = cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA)
    transform = Transform.fit((640, 480), 96)
    reduced = transform.of_reduced(4)
    difference = transform.warp(image).astype(int) - reduced.warp(small)
    assert np.abs(difference).max() <= 2
    assert np.abs(difference.mean()) < 0.5


def test_an_image_of_the_input_s_size_stays_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (48, 70, 3), np.uint8)
    warped = Transform.fit((70, 48), 70, multiple=64).warp(image)
    assert warped.shape == (64, 128, 3)
    np.testing.assert_array_equal(warped[:48, :70], image)
    assert not warped[48:].any()
    assert not warped[:, 70:].any()
