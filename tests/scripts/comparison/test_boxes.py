import numpy as np
import pytest
from comparison.boxes import KINDS, spoiled_boxes

from tests.scripts.comparison.people import standing, truth

CONTENT = truth(
    *[
        [standing(30, 80), standing(60, 80), standing(150, 80), standing(100, 80, iscrowd=1)]
        for _ in range(60)
    ]
)
BOXES = np.array([entry["bbox"] for entry in CONTENT["annotations"] if not entry["iscrowd"]])


def boxes(kind, level, content=CONTENT, **options):
    found = spoiled_boxes(content, kind, level, **options)
    return np.array([entry["bbox"] for entry in found]).reshape(-1, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_level_zero_is_the_truth(kind):
    np.testing.assert_allclose(boxes(kind, 0), BOXES)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_spoils_the_same(kind):
    np.testing.assert_array_equal(boxes(kind, 0.5, seed=4), boxes(kind, 0.5, seed=4))
    assert boxes(kind, 0.5, seed=4).tolist() != boxes(kind, 0.5, seed=5).tolist()


def test_a_share_of_people_is_dropped_and_more_drops_the_same_and_others():
    kept = {
        level: {tuple(row) for row in map(tuple, _numbered("dropped", level))}
        for level in (0.25, 0.5)
    }
    assert len(kept[0.25]) == pytest.approx(0.75 * len(BOXES), abs=15)
    assert len(kept[0.5]) == pytest.approx(0.5 * len(BOXES), abs=20)
    assert kept[0.5] < kept[0.25]


def _numbered(kind, level):
    return [(entry["image_id"], *entry["bbox"]) for entry in spoiled_boxes(CONTENT, kind, level)]


def test_boxes_are_shifted_by_a_share_of_their_size():
    shifted = boxes("shifted", 0.25)
    np.testing.assert_allclose(shifted[:, 2:], BOXES[:, 2:])
    shares = (shifted[:, :2] - BOXES[:, :2]) / BOXES[:, 2:]
    np.testing.assert_allclose(np.hypot(*shares.T), 0.25, atol=1e-3)
    assert np.abs(shares.mean(0)).max() < 0.05  # in all directions


def test_two_who_are_merged_share_one_box():
    content = truth([standing(30, 80), standing(60, 80), standing(150, 80)])
    x0 = content["annotations"][0]["bbox"][0]
    x1 = sum(content["annotations"][1]["bbox"][::2])
    merged = boxes("merged", 1.0, content)
    assert len(merged) == 2  # the third has nobody left
    wide = merged[merged[:, 2] > 50]
    assert len(wide) == 1
    expected = (
        [x0, x1] if len({*merged[:, 0]} & {x0}) else [content["annotations"][1]["bbox"][0], None]
    )
    assert wide[0, 0] == pytest.approx(expected[0])
    alone = truth([standing(30, 80)])
    np.testing.assert_allclose(boxes("merged", 1.0, alone), [alone["annotations"][0]["bbox"]])


def test_no_one_is_in_two_boxes():
    for level in (0.3, 1.0):
        merged = boxes("merged", level)
        pairs = len(BOXES) - len(merged)
        assert 0 < pairs <= len(BOXES) // 2
        assert (merged[:, 2] > 50).sum() == pairs


def test_an_image_without_people_has_no_boxes():
    assert spoiled_boxes(truth([], [standing(60, 80, iscrowd=1)]), "shifted", 0.5) == []
