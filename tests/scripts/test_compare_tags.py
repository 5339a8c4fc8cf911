import numpy as np
import pytest
import torch

from scripts import compare_tags


def test_a_person_is_whole_if_one_group_has_its_joints_and_no_others():
    people = np.array([[[10.0, 10, 2], [20, 10, 1], [0, 0, 0]]])
    exact = np.array([[[10.0, 11], [20, 10], [0, 0]]])
    assert compare_tags.are_whole(people, exact) == [True]
    elsewhere, invented = exact.copy(), exact.copy()
    elsewhere[0, 1] += (5, 0)
    invented[0, 2] = 7  # a joint that nobody labelled
    assert compare_tags.are_whole(people, elsewhere) == [False]
    assert compare_tags.are_whole(people, invented) == [False]
    halves = np.stack([exact[0] * [[1], [0], [0]], exact[0] * [[0], [1], [0]]])
    assert compare_tags.are_whole(people, halves) == [False]
    assert compare_tags.are_whole(people, np.zeros((0, 3, 2))) == [False]


def test_tag_distances_by_hand():
    tags = torch.zeros(1, 2, 2, 4, 4)
    tags[0, 0, :, 1, 1] = torch.tensor([1.0, 0])
    tags[0, 1, :, 2, 2] = torch.tensor([3.0, 0])  # of the same person: mean 2, 0
    tags[0, 0, :, 3, 3] = torch.tensor([2.0, 5])  # of another
    points = torch.tensor([[[[1.5, 1.5, 2], [2.5, 2.5, 2]], [[3.5, 3.5, 1], [0, 0, 0]]]])
    within, between = compare_tags.tag_distances(tags, points)
    assert within.tolist() == [1, 1, 0]
    assert between.tolist() == [5, 5]


@pytest.mark.slow
def test_all_kinds_are_compared(monkeypatch, capsys):
    monkeypatch.setattr(
        "sys.argv", ["compare_tags.py", "--steps", "2", "--batch_size", "2", "--images", "2"]
    )
    compare_tags.main()
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(compare_tags.KINDS)
