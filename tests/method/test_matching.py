import subprocess
import sys

import numpy as np
import pytest

from bottomup.method.matching import (
    ABSENT,
    OFFICIAL,
    ROBUST,
    Candidates,
    fill_in,
    match,
    score_people,
)


def candidates(*cells: tuple[int, int, float, float], map_size: int = 100) -> Candidates:
    """Peaks given by joint, cell, value and tag."""
    rows = sorted(cells, key=lambda row: (row[0], row[1]))
    flat = np.array([joint * map_size + cell for joint, cell, _, _ in rows], np.int64)
    value = np.array([row[2] for row in rows], np.float32)
    tags = np.array([[row[3]] for row in rows], np.float32).reshape(-1, 1)
    return Candidates(flat, value, tags, np.ones(len(rows), bool))


def test_the_modules_that_need_no_torch_do_not_import_it():
    code = "import sys, bottomup.method.matching; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_joints_join_the_person_of_their_tag():
    found = candidates((0, 1, 0.9, 1.0), (0, 2, 0.8, 5.0), (1, 3, 0.7, 5.2), (1, 4, 0.6, 1.1))
    members = match(found, 100, order=(0, 1), tag_threshold=1.0)
    assert members.tolist() == [[1, 4], [2, 3]]


def test_the_official_rules_keep_thirty_candidates_of_a_joint():
    found = candidates(*((0, cell, 0.9 - 0.01 * cell, 3.0 * cell) for cell in range(40)))
    assert len(match(found, 100, order=(0,), tag_threshold=1.0, rules=OFFICIAL)) == 30
    assert len(match(found, 100, order=(0,), tag_threshold=1.0, rules=ROBUST)) == 40


def test_a_joint_is_filled_in_where_heat_and_tag_fit():
    found = candidates((0, 1, 0.9, 1.0), (1, 5, 0.09, 1.2), (1, 6, 0.2, 4.0), (1, 7, 0.03, 1.0))
    found = found._replace(is_peak=np.array([True, False, False, False]))
    members = match(found, 100, order=(0, 1), tag_threshold=1.0)
    assert members.tolist() == [[1, ABSENT]]
    filled = fill_in(found, members, 100, threshold=0.05, tag_threshold=1.0)
    assert filled.tolist() == [[1, 5]]
    assert members.tolist() == [[1, ABSENT]], "the argument stays as it was"


def test_scores_of_half_a_person():
    matched = np.array([[True, True, False, False]])
    values = np.array([[0.8, 0.6, 0.5, 0.0]], np.float32)  # the third was filled in
    xy = np.array([[[10.0, 10], [20, 30], [14, 50], [500, 500]]])  # 10 x 40 cells
    assert score_people(matched, values, xy, OFFICIAL) == pytest.approx([1.4 / 4])
    assert score_people(matched, values, xy, ROBUST) == pytest.approx([1.4 / 3])
    lowered = pytest.approx([1.4 / 3 * 27 / 32])
    assert score_people(matched, values, xy, lower_small=True) == lowered
    assert score_people(matched, values, 4 * xy, lower_small=True, cell=4) == lowered


def test_one_joint_is_a_small_person_but_not_where_there_is_no_other():
    values = np.array([[0.8, 0]], np.float32)
    score = score_people(values > 0, values, np.zeros((1, 2, 2)), lower_small=True)
    assert score == pytest.approx([0.8 / 2 * 2 / 7])
    alone, nobody = (values[:, :1], np.zeros((1, 1, 2))), (np.zeros((0, 2)), np.zeros((0, 2, 2)))
    for scores, xy in (alone, nobody):
        found = score_people(scores > 0, scores, xy, lower_small=True)
        assert found.tolist() == pytest.approx((scores[:, 0] / 2).tolist())
