import dataclasses

import cv2
import numpy as np
import pytest
from comparison.datasets import LabelledImage, keypoints_of
from comparison.sweeps import (
    BASE,
    DRAWN_FACTORS,
    PHOTO_FACTORS,
    crowd_at,
    eligible,
    median_height,
    motion_blur,
    sweep_drawings,
    sweep_photos,
)

from tests.scripts.comparison.people import standing


def blobs(entry, *, size=(400, 300)):
    """A photo that is bright at a person's joints."""
    image = np.zeros((size[1], size[0]), np.float32)
    for x, y, _ in keypoints_of(entry):
        grid = np.mgrid[: size[1], : size[0]]
        image = np.maximum(image, np.exp(-((grid[1] - x) ** 2 + (grid[0] - y) ** 2) / 18))
    return LabelledImage(np.repeat((image[..., None] * 255).astype(np.uint8), 3, axis=2), (entry,))


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
    photo = blobs(standing(200, 150, scale=2.4))
    (changed,) = sweep_photos(factor, [level], [photo])
    (entry,) = changed.people
    keypoints = keypoints_of(entry)
    for joint in FAR_APART:
        if keypoints[joint, 2] > 0:
            found = centre(changed.pixels, keypoints[joint, :2])
            assert np.abs(found - keypoints[joint, :2]).max() < 0.35, joint
    assert (keypoints[:, 2] > 0).sum() >= 15


def test_people_get_the_height_of_the_level():
    photo = blobs(standing(200, 150, scale=2.0))
    height = median_height(photo.people)
    levels = (150, 60, 16)
    for level, changed in zip(levels, sweep_photos("resolution", levels, [photo]), strict=True):
        assert median_height(changed.people) == pytest.approx(level, abs=1)
        assert changed.pixels.shape[0] == pytest.approx(300 * level / height, abs=1)
    for level, changed in zip(levels, sweep_photos("distance", levels, [photo]), strict=True):
        assert median_height(changed.people) == pytest.approx(level, abs=1)
        assert changed.pixels.shape == photo.pixels.shape


def test_people_are_never_enlarged():
    photo = blobs(standing(200, 150))
    (changed,) = sweep_photos("resolution", [5000], [photo])
    assert changed.pixels.shape == photo.pixels.shape


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
    photo = blobs(standing(200, 150))
    (changed,) = sweep_photos("blur", [0], [photo])
    np.testing.assert_array_equal(changed.pixels, photo.pixels)


@pytest.mark.parametrize("seed", range(6))
def test_truncation_cuts_off_a_share_of_the_person(seed):
    photo = blobs(standing(200, 150, scale=2.0))
    whole, cut = sweep_photos("truncation", [0, 0.4], [photo], seed=seed)
    assert whole.people[0]["num_keypoints"] == 17
    before, after = whole.people[0]["bbox"], cut.people[0]["bbox"]
    assert after[2] * after[3] == pytest.approx(0.6 * before[2] * before[3], rel=0.03)
    assert 0 < cut.people[0]["num_keypoints"] < 17
    assert cut.people[0]["area"] == pytest.approx(whole.people[0]["area"])
    assert cut.pixels.size < whole.pixels.size


def test_an_occluder_comes_nearer_and_hides_more():
    rng = np.random.default_rng(0)
    photos = [
        LabelledImage(rng.integers(0, 256, (300, 400, 3), np.uint8), (standing(150 + 60 * k, 150),))
        for k in range(2)
    ]
    levels = (0, 0.5, 1)
    first = list(sweep_photos("occlusion", levels, photos))[::2]
    gaps = []
    for photo in first:
        target, pasted = photo.people
        assert pasted["bbox"][3] == pytest.approx(target["bbox"][3], abs=1)
        gaps.append(abs(pasted["bbox"][0] - target["bbox"][0]))
    width = first[0].people[0]["bbox"][2]
    np.testing.assert_allclose(gaps, [width, width / 2, 0], atol=1)
    hidden = [(keypoints_of(photo.people[0])[:, 2] == 1).sum() for photo in first]
    assert hidden[0] <= hidden[1] < hidden[2] == 17


@pytest.mark.parametrize("factor", PHOTO_FACTORS)
def test_every_sweep_is_the_same_each_time_and_says_its_levels(factor):
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    photos = [LabelledImage(image, (standing(x, 150, scale=2.2),)) for x in (200, 150)]
    levels = PHOTO_FACTORS[factor].levels[:2]
    one, two = (list(sweep_photos(factor, levels, photos, seed=3)) for _ in range(2))
    assert [photo.level for photo in one] == [0, 0, 1, 1]
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)
        assert a.people == b.people
        assert a.pixels.flags.c_contiguous


def test_who_can_show_what():
    small, large = standing(60, 80), standing(200, 300, scale=3)
    assert eligible("resolution", [large], (200, 16))
    assert not eligible("resolution", [small], (200, 16))
    assert not eligible("resolution", [large, standing(0, 0, iscrowd=1)], (200, 16))
    assert eligible("occlusion", [small], (0, 0.5))
    assert not eligible("occlusion", [standing(60, 80, scale=0.5)], (0, 0.5))
    for factor in PHOTO_FACTORS:
        assert not eligible(factor, [], PHOTO_FACTORS[factor].levels)
        assert not eligible(factor, [standing(60, 80, visibility=0)], PHOTO_FACTORS[factor].levels)


def test_nobody_can_be_found_in_the_rest_of_the_frame():
    cells = np.random.default_rng(0).integers(0, 256, (20, 25), np.uint8)
    pixels = np.repeat(np.kron(cells, np.ones((16, 16), np.uint8))[..., None], 3, axis=2)
    photo = LabelledImage(pixels, (standing(200, 150, scale=2.4),))
    (changed,) = sweep_photos("distance", [16], [photo])
    rest = np.ones(pixels.shape[:2], bool)
    rest[140:180, 180:220] = False  # where the photo itself is, much smaller
    assert pixels[rest].std() > 60
    assert changed.pixels[rest].std() < 25


@pytest.mark.parametrize("factor", DRAWN_FACTORS)
def test_a_level_differs_from_the_base_in_one_thing_at_most(factor):
    fields = [field.name for field in dataclasses.fields(BASE)]
    for level in DRAWN_FACTORS[factor].levels:
        crowd = crowd_at(factor, level)
        assert sum(getattr(crowd, name) != getattr(BASE, name) for name in fields) <= 1


def test_drawings_of_all_levels():
    drawings = list(sweep_drawings("resolution", (100, 30), 2, seed=1))
    assert [drawing.level for drawing in drawings] == [0, 0, 1, 1]
    sizes = [max(entry["bbox"][2:]) for entry in drawings[2].people if entry["num_keypoints"]]
    assert len(sizes) == 4
    assert max(sizes) < 60
    again = list(sweep_drawings("resolution", (100, 30), 2, seed=1))
    np.testing.assert_array_equal(drawings[3].pixels, again[3].pixels)


def test_blur_comes_after_drawing():
    sharp, blurred = sweep_drawings("blur", (0, 16), 1)
    assert sharp.people == blurred.people
    steps = [np.abs(np.diff(one.pixels.astype(int), axis=1)).mean() for one in (sharp, blurred)]
    assert steps[0] > steps[1]
