import cv2
import numpy as np
import pytest
from comparison import photo_sweeps
from comparison.datasets import Picture, keypoints_of
from comparison.photo_sweeps import FACTORS, eligible, median_height, motion_blur, sweep

from tests.scripts.comparison.people import standing


def blobs(entry, *, size=(400, 300)):
    """A picture that is bright at a person's joints."""
    image = np.zeros((size[1], size[0]), np.float32)
    for x, y, _ in keypoints_of(entry):
        grid = np.mgrid[: size[1], : size[0]]
        image = np.maximum(image, np.exp(-((grid[1] - x) ** 2 + (grid[0] - y) ** 2) / 18))
    return Picture(np.repeat((image[..., None] * 255).astype(np.uint8), 3, axis=2), (entry,))


def centre(image, point, *, radius=5):
    """The centre of brightness around a point, x and y."""
    x, y = np.round(point).astype(int)
    window = image[
        max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1, 0
    ].astype(float)
    window = np.maximum(window - window.max() / 4, 0)
    rows, columns = np.mgrid[: window.shape[0], : window.shape[1]]
    place = np.array([(columns * window).sum(), (rows * window).sum()]) / window.sum()
    return place + np.array([max(x - radius, 0), max(y - radius, 0)])


FAR_APART = (7, 8, 9, 10, 13, 14, 15, 16)  # joints whose blobs do not touch others


@pytest.mark.parametrize(
    ("factor", "level"),
    [("resolution", 120), ("distance", 120), ("rotation", 45), ("rotation", 90), ("rotation", 180)],
)
def test_joints_stay_where_the_image_shows_them(factor, level):
    picture = blobs(standing(200, 150, scale=2.4))
    (changed,) = sweep(factor, [level], [picture])
    (entry,) = changed.people
    keypoints = keypoints_of(entry)
    for joint in FAR_APART:
        if keypoints[joint, 2] > 0:
            found = centre(changed.image, keypoints[joint, :2])
            assert np.abs(found - keypoints[joint, :2]).max() < 0.35, joint
    assert (keypoints[:, 2] > 0).sum() >= 15


def test_people_get_the_height_of_the_level():
    picture = blobs(standing(200, 150, scale=2.0))
    height = median_height(picture.people)
    for level, changed in zip(
        (150, 60, 16), sweep("resolution", (150, 60, 16), [picture]), strict=True
    ):
        assert median_height(changed.people) == pytest.approx(level, abs=1)
        assert changed.image.shape[0] == pytest.approx(300 * level / height, abs=1)
    for level, changed in zip((150, 16), sweep("distance", (150, 16), [picture]), strict=True):
        assert median_height(changed.people) == pytest.approx(level, abs=1)
        assert changed.image.shape == picture.image.shape


def test_people_are_never_enlarged():
    picture = blobs(standing(200, 150))
    (changed,) = sweep("resolution", [5000], [picture])
    assert changed.image.shape == picture.image.shape


@pytest.mark.parametrize("angle", [0.0, 0.7, 1.6, 2.9])
def test_blur_spreads_a_point_along_a_line_and_does_not_move_it(angle):
    image = np.zeros((81, 81, 3), np.uint8)
    image[40, 40] = 255
    blurred = motion_blur(cv2.GaussianBlur(image, (0, 0), 2) * 10, 20, angle)[..., 0].astype(float)
    rows, columns = np.mgrid[:81, :81]
    total = blurred.sum()
    x, y = (columns * blurred).sum() / total - 40, (rows * blurred).sum() / total - 40
    assert abs(x) < 0.1
    assert abs(y) < 0.1
    along = ((columns - 40) * np.cos(angle) + (rows - 40) * np.sin(angle)) ** 2
    across = ((columns - 40) * np.sin(angle) - (rows - 40) * np.cos(angle)) ** 2
    assert (along * blurred).sum() / total == pytest.approx(4 + 400 / 12, rel=0.2)
    assert (across * blurred).sum() / total == pytest.approx(4, rel=0.4)


def test_no_blur_is_no_change():
    picture = blobs(standing(200, 150))
    (changed,) = sweep("blur", [0], [picture])
    np.testing.assert_array_equal(changed.image, picture.image)


@pytest.mark.parametrize("seed", range(6))
def test_truncation_cuts_off_a_share_of_the_person(seed):
    picture = blobs(standing(200, 150, scale=2.0))
    whole, cut = sweep("truncation", [0, 0.4], [picture], seed=seed)
    assert whole.people[0]["num_keypoints"] == 17
    before, after = whole.people[0]["bbox"], cut.people[0]["bbox"]
    assert after[2] * after[3] == pytest.approx(0.6 * before[2] * before[3], rel=0.03)
    assert 0 < cut.people[0]["num_keypoints"] < 17
    assert cut.people[0]["area"] == pytest.approx(whole.people[0]["area"])
    assert cut.image.size < whole.image.size


def test_an_occluder_comes_nearer_and_hides_more():
    rng = np.random.default_rng(0)
    pictures = [
        Picture(rng.integers(0, 256, (300, 400, 3), np.uint8), (standing(150 + 60 * k, 150),))
        for k in range(2)
    ]
    levels = (0, 0.5, 1)
    first = list(sweep("occlusion", levels, pictures))[::2]
    gaps = []
    for picture in first:
        target, pasted = picture.people
        assert pasted["bbox"][3] == pytest.approx(target["bbox"][3], abs=1)
        gaps.append(abs(pasted["bbox"][0] - target["bbox"][0]))
    width = first[0].people[0]["bbox"][2]
    np.testing.assert_allclose(gaps, [width, width / 2, 0], atol=1)
    hidden = [(keypoints_of(picture.people[0])[:, 2] == 1).sum() for picture in first]
    assert hidden[0] <= hidden[1] < hidden[2] == 17


@pytest.mark.parametrize("factor", FACTORS)
def test_every_sweep_is_the_same_each_time_and_says_its_levels(factor):
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    pictures = [Picture(image, (standing(x, 150, scale=2.2),)) for x in (200, 150)]
    levels = FACTORS[factor].levels[:2]
    one, two = (list(sweep(factor, levels, pictures, seed=3)) for _ in range(2))
    assert [picture.level for picture in one] == [0, 0, 1, 1]
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        assert a.people == b.people
        assert a.image.flags.c_contiguous


def test_who_can_show_what():
    small, large = standing(60, 80), standing(200, 300, scale=3)
    assert eligible("resolution", [large], (200, 16))
    assert not eligible("resolution", [small], (200, 16))
    assert not eligible("resolution", [large, standing(0, 0, iscrowd=1)], (200, 16))
    assert eligible("occlusion", [small], (0, 0.5))
    assert not eligible("occlusion", [standing(60, 80, scale=0.5)], (0, 0.5))
    for factor in FACTORS:
        assert not eligible(factor, [], FACTORS[factor].levels)
        assert not eligible(factor, [standing(60, 80, visibility=0)], FACTORS[factor].levels)


def test_nobody_can_be_found_in_the_backdrop():
    backdrop = photo_sweeps._backdrop(blobs(standing(200, 150)).image)
    assert backdrop.std() < 25
