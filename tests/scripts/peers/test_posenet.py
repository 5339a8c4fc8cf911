import contract
import numpy as np
import posenet
import pytest

SHAPE = (20, 30)  # cells


def people_at(*corners):
    """Maps of people whose joints form a grid right of and below a corner, and their places."""
    grid = [(k % 4 * 37.0, k // 4 * 41.0) for k in range(17)]
    places = [np.array(corner) + grid for corner in corners]
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    cells = np.stack([columns, rows], 2) * posenet.STRIDE
    scores = np.zeros((*SHAPE, 17))
    found = posenet.Maps(
        scores,
        np.repeat(cells[:, :, None], 17, 2).astype(float),
        np.zeros((*SHAPE, 16, 2)),
        np.zeros((*SHAPE, 16, 2)),
    )
    owner = np.argmin([np.linalg.norm(cells - joints.mean(0), axis=2) for joints in places], 0)
    for number, joints in enumerate(places):
        near = owner == number
        for k in range(17):
            close = near & (np.linalg.norm(cells - joints[k], axis=2) < 30)
            found.places[close, k] = joints[k]
            distance = np.linalg.norm(cells[close] - joints[k], axis=1)
            scores[close, k] = (0.9 - 0.1 * number) * np.exp(-((distance / 20) ** 2) / 2)
        for edge, (parent, child) in enumerate(posenet.EDGES):
            found.forward[near, edge] = joints[child] - joints[parent]
            found.backward[near, edge] = joints[parent] - joints[child]
    return found, places


def test_people_are_put_together():
    found, places = people_at((30.0, 20.0), (290.0, 60.0))
    people = posenet.decode(found, threshold=0.5)
    assert len(people) == 2
    for (keypoints, score), joints in zip(people, places, strict=True):
        np.testing.assert_allclose(keypoints[:, :2], joints)
        assert score == pytest.approx(keypoints[:, 2].mean())
    assert people[0][1] > people[1][1]


def test_no_more_people_than_allowed():
    found, _ = people_at((30.0, 20.0), (290.0, 60.0))
    assert len(posenet.decode(found, max_people=1)) == 1
    assert posenet.decode(found, threshold=0.99) == []


def test_joints_that_a_better_person_has_do_not_count():
    found, _ = people_at((30.0, 20.0))
    first = posenet.decode(found)[0]
    found.scores[15, 25, 0] = 0.6  # opens a second person, whom all displacements lead to the first
    found.forward[15, 25] = np.array([67.0, 20.0]) - np.array([25, 15]) * 16
    people = posenet.decode(found)
    assert len(people) == 2
    assert people[0][1] == first[1]
    assert people[1][1] < 0.2


def test_every_joint_is_reached_from_the_nose():
    assert sorted(child for _, child in posenet.EDGES) == list(range(1, 17))


def test_channels_are_all_y_then_all_x():
    outputs = {f"MobilenetV1/{kind}_2/BiasAdd:0": np.zeros((1, 2, 3, n)) for kind, n in zip(
        posenet.KINDS, (17, 34, 32, 32), strict=True
    )}  # fmt: skip
    outputs["MobilenetV1/offset_2/BiasAdd:0"][0, 1, 2, [4, 21]] = 3, 5
    outputs["MobilenetV1/displacement_bwd_2/BiasAdd:0"][0, 0, 0, [15, 31]] = 7, 9
    found = posenet.maps(outputs)
    assert found.places[1, 2, 4].tolist() == [2 * 16 + 5, 16 + 3]
    assert found.backward[0, 0, 15].tolist() == [9, 7]
    assert found.forward.max() == 0
    assert found.scores[0, 0, 0] == 0.5


def test_without_the_package_the_peer_is_unavailable(words, monkeypatch, capsys):
    monkeypatch.delenv("HUMAN_MODELS", raising=False)
    assert (
        contract.main(
            "posenet", "", posenet.prepare, add_arguments=posenet.add_arguments, argv=words
        )
        == 4
    )
