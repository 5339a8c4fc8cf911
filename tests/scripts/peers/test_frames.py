import frames
import numpy as np
import pytest


def blob(wh, centre, sigma=6):
    """An image with a bright blob; the centre of the top-left pixel is (0, 0)."""
    y, x = np.mgrid[: wh[1], : wh[0]]
    value = 250 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))
    return np.repeat(value.astype(np.uint8)[:, :, None], 3, 2)


def middle(pixels):
    """Where the blob is in the input of the network; pixels are squares."""
    weight = pixels[:, :, 0].astype(float) ** 2
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


CENTRE = (70.25, 50.75)


@pytest.mark.parametrize(
    "window",
    [
        lambda image: frames.fit(image, (64, 64)),
        lambda image: frames.fit(image, (300, 300), centred=False),
        lambda image: frames.fit(image, (640, 320), enlarge=False),
        lambda image: frames.long_side(image, 96),
        lambda image: frames.long_side(image, 257, multiple=16, extra=1),
        lambda image: frames.square(image, np.array([45, 20, 101, 80]), 100),
        lambda image: frames.square(image, np.array([40, 25, 500, 80]), 256),
    ],
)
def test_points_find_back(window):
    seen = window(blob((150, 100), CENTRE))
    np.testing.assert_allclose(seen.to_image(middle(seen.pixels)), CENTRE, atol=0.1)


@pytest.mark.parametrize(
    ("side", "multiple", "extra", "wh"), [(96, 32, 0, (96, 64)), (257, 16, 1, (257, 177))]
)
def test_sides_are_multiples(side, multiple, extra, wh):
    image = np.zeros((100, 150, 3), np.uint8)
    assert frames.long_side(image, side, multiple=multiple, extra=extra).pixels.shape == (
        wh[1],
        wh[0],
        3,
    )


@pytest.mark.parametrize("wh", [(1, 1000), (1000, 1), (1, 1)])
def test_thin_images(wh):
    image = np.full((wh[1], wh[0], 3), 255, np.uint8)
    assert frames.long_side(image, 64).pixels.max() == 255
    assert frames.square(image, np.array([0, 0, *wh]), 32).pixels.shape == (32, 32, 3)


@pytest.mark.parametrize(
    "box", [(-9, 0, -1, 5), (5, 5, 5, 9), (9, 9, 5, 5), (np.nan, 0, 5, 5), (200, 0, 300, 9)]
)
def test_boxes_with_nothing_in_them(box):
    assert frames.square(np.zeros((100, 150, 3), np.uint8), np.array(box, float), 32) is None


def test_a_huge_box_is_that_of_the_image():
    image = np.zeros((100, 150, 3), np.uint8)
    huge = frames.square(image, np.array([-1e12, -1e12, 1e12, 1e12]), 32)
    whole = frames.square(image, np.array([0, 0, 150, 100]), 32)
    assert huge.scale == whole.scale
    assert huge.origin == whole.origin
