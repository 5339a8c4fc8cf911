from pathlib import Path

import numpy as np
import pytest

from bottomup.evaluation.bootstrap import bootstrap, draw_images, percentile_interval
from bottomup.evaluation.keypoints import Matches, RangeMatches, match_results, summarise

DATA = Path(__file__).parents[1] / "golden" / "evaluation"


@pytest.fixture(scope="module")
def crowdpose():
    return match_results(DATA / "crowdpose_results.json", DATA / "crowdpose_gt.json")


def test_intervals_surround_the_figures(crowdpose):
    figures, intervals = summarise(crowdpose), bootstrap(crowdpose, num_samples=100)
    assert intervals == bootstrap(crowdpose, num_samples=100)
    for name, value in figures.items():
        low, high = intervals[name]
        assert low < value < high, name
    narrow = bootstrap(crowdpose, num_samples=100, confidence=0.5)["AP"]
    assert intervals["AP"][0] < narrow[0] < narrow[1] < intervals["AP"][1]


def found(num_people: int) -> RangeMatches:
    """Two images: all people in the first are found, and nobody is in the second."""
    right = np.ones((10, num_people), bool)
    return RangeMatches(np.zeros(num_people, int), right, ~right, np.array([num_people, 0]))


def test_images_that_are_all_alike_have_an_interval_without_width():
    ranges = {"all": found(1), "medium": found(1), "large": found(0)}
    intervals = bootstrap(Matches(np.array([1, 2]), ranges, None), num_samples=20)
    assert intervals["AP"] == pytest.approx((1, 1))  # samples without the one person are left out
    assert np.isnan(intervals["APL"]).all()


def test_samples_have_as_many_images_as_there_are_and_are_reproducible():
    draws = draw_images(7, 5, seed=3)
    assert draws.sum(axis=1).tolist() == [7] * 5
    np.testing.assert_array_equal(draws, draw_images(7, 5, seed=3))


def test_an_interval_is_that_of_the_quantiles_without_nan():
    assert percentile_interval(np.array([np.nan, *range(101)])) == pytest.approx((2.5, 97.5))
    assert np.isnan(percentile_interval(np.array([np.nan]))).all()
