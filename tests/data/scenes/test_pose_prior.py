import numpy as np
import pytest

from bottomup.data.scenes.pose_prior import sample_pose
from bottomup.skeleton import COCO


@pytest.fixture(scope="module")
def poses():
    rng = np.random.default_rng(0)
    return [sample_pose(rng) for _ in range(500)]


def test_poses_are_those_of_people(poses):
    """Most stand: head above hips, hips above ankles, legs longer than arms."""
    points = np.stack([pose.points for pose in poses])
    assert np.mean(points[:, 0, 1] < points[:, [11, 12], 1].mean(1)) > 0.9
    assert np.mean(points[:, [11, 12], 1].mean(1) < points[:, [15, 16], 1].mean(1)) > 0.8
    thigh = np.linalg.norm(points[:, 11] - points[:, 13], axis=1)
    forearm = np.linalg.norm(points[:, 7] - points[:, 9], axis=1)
    assert 1 < np.median(thigh) / np.median(forearm) < 2.5


def test_left_and_right_are_equally_likely_on_either_side(poses):
    facing = np.array([pose.points[5, 0] - pose.points[6, 0] for pose in poses])
    assert 0.5 < np.mean(facing > 0) < 0.95, "most, not all, face the camera"


def test_faces_turned_away_show_no_nose(poses):
    hidden = [pose for pose in poses if not pose.shown[COCO.keypoints.index("nose")]]
    assert 0.02 < len(hidden) / len(poses) < 0.3
    assert all(pose.shown[5:].all() for pose in poses)


def test_a_smaller_spread_gives_calmer_poses():
    calm = [sample_pose(np.random.default_rng(i), spread=0.0).points for i in range(200)]
    wild = [sample_pose(np.random.default_rng(i), spread=1.5).points for i in range(200)]
    assert (
        len({pose.tobytes() for pose in calm}) <= 48
    )  # the means of 24 components and their mirror images
    assert np.abs(wild).mean() > np.abs(calm).mean()
