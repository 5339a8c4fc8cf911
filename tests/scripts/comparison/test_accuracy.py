import numpy as np
import pytest
from comparison import accuracy

from bottomup.evaluation.bootstrap import bootstrap
from bottomup.evaluation.keypoints import match_results, summarise
from tests.scripts.comparison.people import result, standing, truth


@pytest.fixture
def crowd():
    """Ten images with one person, five with three who stand apart."""
    return truth(
        *[[standing(60, 80)] for _ in range(10)],
        *[[standing(40 + 60 * k, 80) for k in range(3)]] * 5,
    )


def perfect(content, *, until=99):
    return [
        result(e, image_id=e["image_id"], score=0.5)
        for e in content["annotations"]
        if e["image_id"] <= until
    ]


def test_intervals_are_those_of_the_bootstrap(crowd):
    matches = match_results(perfect(crowd, until=12), crowd)
    found = accuracy.intervals(accuracy.figure_samples(matches, num_samples=30, seed=5))
    expected = bootstrap(matches, num_samples=30, seed=5)
    for name, value in summarise(matches).items():
        np.testing.assert_equal(found[name].value, value)
        np.testing.assert_equal((found[name].low, found[name].high), expected[name])


def test_a_method_does_not_differ_from_itself_and_a_worse_one_does(crowd):
    good = accuracy.figure_samples(match_results(perfect(crowd), crowd), num_samples=50)
    poor = accuracy.figure_samples(match_results(perfect(crowd, until=8), crowd), num_samples=50)
    same = accuracy.differences(good, good)["AP"]
    assert (same.value, same.low, same.high) == (0, 0, 0)
    worse = accuracy.differences(poor, good)["AP"]
    assert worse.high < 0
    assert worse.value == pytest.approx(poor[0]["AP"] - 1)


def test_bins_by_people_have_their_images_and_their_own_precision(crowd):
    entries = perfect(crowd, until=10)  # all who are alone, nobody else
    bins = accuracy.by_people(entries, crowd, match_results(entries, crowd), num_samples=5)
    assert [(one.name, one.images, one.people) for one in bins] == [
        ("1", 10, 10), ("2-4", 5, 15), ("5-9", 0, 0), ("10-19", 0, 0), ("20+", 0, 0),
    ]  # fmt: skip
    assert bins[0].ap.value == pytest.approx(1)
    assert bins[1].ap.value == 0
    assert np.isnan(bins[2].ap.value)
    assert [one.standard for one in bins] == [True, True, True, True, False]


def test_beyond_twenty_people_as_many_results_count():
    people = [
        standing(10 + 10 * (i % 6), 60 + 30 * (i // 6), scale=0.1 + i / 500) for i in range(24)
    ]
    content = truth(people)
    entries = perfect(content)
    matches = match_results(entries, content)
    assert summarise(matches)["AR"] == pytest.approx(20 / 24)
    assert accuracy.by_people(entries, content, matches, num_samples=2)[
        -1
    ].ap.value == pytest.approx(1)


def test_the_crowd_index_counts_joints_of_others():
    apart = truth([standing(40, 80), standing(140, 80)])
    assert accuracy.crowd_indices(apart) == {1: 0}
    assert accuracy.crowd_indices(truth([standing(40, 80), standing(40, 80)])) == {
        1: 1
    }  # 17 of 17, both
    half = standing(40, 80)
    half["keypoints"][3 * 8 :] = [0] * (51 - 3 * 8)  # 8 joints are labelled
    content = truth([standing(40, 80), half])
    assert accuracy.crowd_indices(content)[1] == pytest.approx((8 / 17 + 17 / 8) / 2)
    assert accuracy.crowd_indices(truth([], [standing(40, 80, iscrowd=1)])) == {}


def test_images_are_easy_or_hard_by_their_crowd_index():
    content = truth([standing(40, 80), standing(140, 80)], [standing(60, 80), standing(60, 80)])
    bins = accuracy.by_crowding(match_results(perfect(content), content), content, num_samples=2)
    assert [(one.name, one.people) for one in bins] == [("easy", 2), ("medium", 0), ("hard", 2)]


def test_bins_by_size():
    content = truth([standing(40, 80, scale=0.3), standing(140, 80, scale=1.4)])
    entries = [result(content["annotations"][0])]
    bins = {one.name: one for one in accuracy.by_size(entries, content, num_samples=2)}
    assert {name: one.people for name, one in bins.items() if one.people} == {"< 32": 1, "64-96": 1}
    assert bins["< 32"].ap.value == pytest.approx(1)
    assert bins["64-96"].ap.value == 0
