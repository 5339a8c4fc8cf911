import numpy as np
import pytest

from bottomup.data.scenes.body import SKIN, Brush, sample_look
from bottomup.data.scenes.crowd import Crowd, arrange, draw_scene, render
from bottomup.data.scenes.pose_prior import sample_pose
from bottomup.skeleton import COCO


def scenes(crowd: Crowd, count: int, seed: int = 0):
    return [draw_scene(crowd, np.random.default_rng((seed, i))) for i in range(count)]


def test_a_scene_follows_from_its_seed():
    crowd = Crowd(width=96, height=80)
    one, other = (
        draw_scene(crowd, np.random.default_rng(5)),
        draw_scene(crowd, np.random.default_rng(5)),
    )
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.keypoints, other.keypoints)
    assert one.image.shape == (80, 96, 3)
    assert (draw_scene(crowd, np.random.default_rng(6)).image != one.image).any()


def test_people_are_as_many_and_as_large_as_asked_for():
    crowd = Crowd(people=(3, 5), sizes=(40, 60), truncation=0, overlap=0.5)
    for i in range(20):
        figures = arrange(crowd, np.random.default_rng(i))
        assert 3 <= len(figures) <= 5
        for figure in figures:
            assert 40 <= max(np.ptp(figure.points, axis=0)) <= 60 + 1e-6


@pytest.mark.parametrize("zoom", [2, 4])
def test_shapes_are_painted_where_they_are_said_to_be(zoom):
    rng, look = np.random.default_rng(0), sample_look(np.random.default_rng(0))
    errors = []
    for _ in range(200):
        x, y = rng.uniform(18, 22, 2)
        canvas = np.zeros((40 * zoom, 40 * zoom, 4), np.uint8)
        ends = np.array([[x - 4, y + 3], [x + 4, y - 3]])
        Brush(canvas, np.zeros(2), zoom, look).limb(*ends, 3.0, 3.0, SKIN)
        rows, columns = np.nonzero(canvas[..., 3])
        centre = (np.array([columns.mean(), rows.mean()]) + 0.5) / zoom - 0.5
        errors.append(centre - (x, y))
    assert np.abs(np.mean(errors, axis=0)).max() < 0.02
    assert np.abs(errors).max() < 0.2


def test_a_visible_joint_lies_on_its_person_and_a_hidden_one_does_not():
    seen = 0
    for scene in scenes(Crowd(), 15):
        for number, person in enumerate(scene.keypoints, 1):
            for x, y, visibility in person[person[:, 2] > 0]:
                owner = scene.owner[int(np.floor(y + 0.5)), int(np.floor(x + 0.5))]
                assert (owner == number) == (visibility == 2)
                seen += 1
    assert seen > 300


def test_whoever_is_nearly_invisible_has_no_label():
    scene_sizes = []
    for scene in scenes(Crowd(people=(8, 10), overlap=0.9), 10):
        for number, person in enumerate(scene.keypoints, 1):
            if (person[:, 2] == 0).all():
                scene_sizes.append(np.count_nonzero(scene.owner == number))
    assert scene_sizes


def test_blur_size_and_truncation_are_arguments():
    rng = np.random.default_rng
    whole = [
        f.box
        for i in range(30)
        for f in arrange(Crowd(truncation=0, overlap=0, sizes=(50, 60)), rng(i))
    ]
    cut = [
        f.box
        for i in range(30)
        for f in arrange(Crowd(truncation=1, overlap=0, sizes=(50, 60)), rng(i))
    ]
    outside = [(box[:2] < -1e-6).any() or (box[2:] > 256 + 1e-6).any() for box in (*whole, *cut)]
    assert not any(outside[: len(whole)])
    assert all(outside[len(whole) :])


def test_the_evaluation_crowd_is_as_hard_as_it_claims_to_be():
    """At least 30 % of people overlap another by IoU > 0.3, at least 20 % are cut off."""
    boxes = [[f.box for f in arrange(Crowd(), np.random.default_rng((0, i)))] for i in range(200)]
    overlapped, truncated, total = 0, 0, 0
    for image in boxes:
        for i, box in enumerate(image):
            total += 1
            truncated += (box < 0).any() or (box > 256).any()
            overlapped += any(
                intersection_over_union(box, other) > 0.3 for j, other in enumerate(image) if i != j
            )
    assert overlapped / total >= 0.3
    assert truncated / total >= 0.2


def intersection_over_union(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = max(sides[0], 0) * max(sides[1], 0)
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def test_poses_are_mirrored_with_their_names():
    pose = sample_pose(np.random.default_rng(0))
    mirrored = pose.mirrored()
    left, right = COCO.keypoints.index("left_wrist"), COCO.keypoints.index("right_wrist")
    np.testing.assert_allclose(mirrored.points[left], pose.points[right] * (-1, 1))
    np.testing.assert_array_equal(mirrored.mirrored().points, pose.points)


def test_no_people_is_a_scene_too():
    scene = render([], Crowd(width=64, height=64), np.random.default_rng(0))
    assert scene.keypoints.shape == (0, 17, 3)
    assert not scene.owner.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"people": (5, 2)}, "people must be"), ({"sizes": (0.0, 10.0)}, "sizes must be")],
)
def test_impossible_crowds_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Crowd(**arguments)
    with pytest.raises(ValueError, match="at most 254"):
        draw_scene(Crowd(people=(300, 300)), np.random.default_rng(0))
