import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bottomup.geometry import Transform
from bottomup.inference.sizing import base_and_doublings, checked, enough, steps
from bottomup.models.network import Preprocessing


@pytest.mark.parametrize(
    ("wh", "expected"),
    [
        ((640, 480), (640, 0)),
        ((500, 375), (640, 0)),  # a small image is enlarged
        ((213, 320), (640, 0)),
        ((800, 600), (800, 0)),
        ((1280, 960), (640, 1)),
        ((1920, 2560), (640, 2)),
        ((3840, 2880), (480, 3)),
        ((8000, 6000), (707, 3)),  # 24 megapixels are 5657 x 4243
        ((24_576, 512), (3072, 3)),  # the short side of the base has 64 pixels
        ((20_000, 1), (20_000, 0)),
    ],
)
def test_the_size_follows_from_the_image(wh, expected):
    assert base_and_doublings(wh, "auto", 512, 24) == expected
    assert base_and_doublings(wh, 300, 512, 24) == (300, 0)


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.floats(0.05, 64))
def test_the_finest_level_is_within_its_bounds_and_the_base_suits_the_network(w, h, megapixels):
    side, doublings = base_and_doublings((w, h), "auto", 512, megapixels)
    finest = side * 2**doublings
    exact = finest - 2**doublings / 2  # at least: the base is rounded to pixels
    assert exact <= 1 or exact**2 * min(w, h) / max(w, h) <= megapixels * 1e6 * (1 + 1e-9)
    assert exact <= max(w, h, 640)
    base = max(640, min(64 * max(w, h) / min(w, h), max(w, h)))
    assert side <= math.ceil(base * math.sqrt(2))
    if doublings:
        assert side >= math.floor(base / math.sqrt(2))


@given(st.integers(1, 40_000), st.integers(1, 40_000), st.floats(0.05, 64))
def test_no_level_has_more_pixels_than_are_allowed(w, h, megapixels):
    side, doublings = base_and_doublings((w, h), "auto", 512, megapixels)
    base = Transform.fit((w, h), side, multiple=64)
    most = 2e6 * megapixels
    all_levels, levels = (steps(base, doublings, 2, 64, limit) for limit in (math.inf, most))
    assert all(math.prod(one.transform.input_wh) <= most for one in levels[:-2])
    if max(w, h) <= 2 * min(w, h) and megapixels >= 4:  # ordinary photos keep all of them
        assert len(levels) == len(all_levels)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 3))
def test_each_level_has_half_the_cells_of_the_one_before(w, h, doublings):
    base = Transform.fit((w, h), 640, multiple=64)
    levels = steps(base, doublings, 2, 64, math.inf)
    assert len(levels) == doublings + 2
    assert [level.is_optional for level in levels] == [True] * doublings + [False] * 2
    cells = [
        [side / 4 / 2**level.num_halvings for side in level.transform.input_wh] for level in levels
    ]
    for fine, coarse in itertools.pairwise(cells):
        assert fine == [2 * side for side in coarse]


def test_sizes_that_cannot_be_used_are_refused():
    assert checked(None, 24, 512, True) == "auto"
    assert checked(None, 24, 512, False) == 512
    assert checked(640, 24, 512, True) == 640
    for size, megapixels, can_tile, message in (
        ("auto", 24, False, "needs a network whose people vote"),
        ("large", 24, True, "'large'"),
        (0, 24, True, "size is 0"),
        (None, 0, True, "max_megapixels is 0"),
        (None, math.nan, True, "max_megapixels is nan"),
        (None, 1e6, True, "up to 64"),
    ):
        with pytest.raises(ValueError, match=message):
            checked(size, megapixels, 512, can_tile)


@pytest.mark.parametrize(
    ("wh", "size", "scale", "expected"),
    [
        ((8000, 6000), 512, 1, 4),  # an eighth would have less than 1280 pixels
        ((16000, 12000), 512, 1, 8),
        ((8000, 6000), 512, 2, 2),  # as the network sees 1024 pixels
        ((8000, 6000), 2048, 1, 1),
        ((3071, 2303), 512, 1, 1),
        ((3072, 2304), 512, 1, 2),
        ((2559, 1920), 256, 1, 1),
        ((2560, 1920), 256, 1, 2),
        ((8000, 6000), "auto", 1, 1),  # the finest level has 24 megapixels
        ((1, 1), "auto", 1, 1),
    ],
)
def test_an_image_may_be_read_as_small_as_the_finest_input(wh, size, scale, expected):
    own = Preprocessing(side="long")
    found = enough(
        wh, size=size, own_size=own.size, own_side=own.side, max_megapixels=24, scale=scale
    )
    assert found == expected
