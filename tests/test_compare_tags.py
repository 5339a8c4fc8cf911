"""scripts/compare_tags.py: what it counts."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "scripts" / "compare_tags.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("compare_tags", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_person_is_whole_if_one_group_has_its_joints_and_no_others(script):
    people = np.array([[[10.0, 10, 2], [20, 10, 1], [0, 0, 0]]])
    exact = np.array([[[10.0, 11], [20, 10], [0, 0]]])
    assert script.are_whole(people, exact) == [True]
    assert script.are_whole(people, exact + [[[0, 0], [5, 0], [0, 0]]]) == [False]  # a joint elsewhere
    assert script.are_whole(people, exact + [[[0, 0], [0, 0], [7, 7]]]) == [False]  # a joint that nobody labelled
    assert script.are_whole(people, np.stack([exact[0] * [[1], [0], [0]], exact[0] * [[0], [1], [0]]])) == [False]
    assert script.are_whole(people, np.zeros((0, 3, 2))) == [False]


def test_tag_distances_by_hand(script):
    tags = torch.zeros(1, 2, 2, 4, 4)
    tags[0, 0, :, 1, 1] = torch.tensor([1.0, 0])
    tags[0, 1, :, 2, 2] = torch.tensor([3.0, 0])  # of the same person: mean 2, 0
    tags[0, 0, :, 3, 3] = torch.tensor([2.0, 5])  # of another
    points = torch.tensor([[[[1.5, 1.5, 2], [2.5, 2.5, 2]], [[3.5, 3.5, 1], [0, 0, 0]]]])
    within, between = script.tag_distances(tags, points)
    assert within.tolist() == [1, 1, 0]
    assert between.tolist() == [5, 5]


@pytest.mark.slow
def test_all_kinds_are_compared(script, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["compare_tags.py", "--steps", "2", "--batch_size", "2", "--images", "2"])
    script.main()
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(script.KINDS)
