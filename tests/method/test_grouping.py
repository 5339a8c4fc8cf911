import numpy as np
import pytest
import torch
from golden.comparison import read_arrays
from golden.people import count_groups
from hypothesis import given, settings
from hypothesis import strategies as st

from bottomup import COCO, CROWDPOSE, Skeleton
from bottomup.method import matching
from bottomup.method.aggregation import combine
from bottomup.method.grouping import Grouper
from bottomup.method.matching import OFFICIAL
from bottomup.models.heads import HeadOutput
from tests.reference import crowd, dense_grouping
from tests.reference import grouping as reference
from tests.support.golden_files import assert_equal


def batch_of(heatmaps, tags):
    return torch.from_numpy(heatmaps)[None], torch.from_numpy(tags)[None]


def test_official_mode_equals_the_reference(golden):
    assert_equal(golden, "grouping")


def test_crowds_come_out_pure_and_whole(golden):
    for path in sorted((golden / "crowds").glob("*.npz")):
        scene = read_arrays(path)
        num_people = int(scene["people"])
        assert count_groups(scene) == {
            "pure": num_people,
            "mixed": 0,
            "of_spurious_only": len(scene["xy"]) - num_people,
            "people_found": num_people,
        }


@given(seed=st.integers(0, 10_000), num_people=st.integers(0, 6))
@settings(max_examples=15, deadline=None)
def test_official_mode_equals_the_slow_version(seed, num_people):
    heatmaps, tags = crowd.render(*crowd.random_crowd(num_people, (96, 128), seed=seed), (96, 128))
    heatmaps[seed % 17 :: 5] *= 0.01  # faint heat is what the reference fills joints in with
    people, scores = reference.decode(heatmaps, tags, COCO.grouping_order)
    poses = Grouper(rules=OFFICIAL)(*batch_of(heatmaps, tags))[0]
    np.testing.assert_allclose(poses.keypoints, people[..., :2], rtol=0, atol=1e-4)
    np.testing.assert_allclose(poses.scores, scores, rtol=0, atol=1e-5)


@given(
    seed=st.integers(0, 10_000),
    num_people=st.integers(0, 30),
    size=st.sampled_from([(96, 128), (75, 131), (160, 33)]),
    absent=st.floats(0, 1),
)
@settings(max_examples=40, deadline=None)
def test_robust_mode_equals_the_slow_version(seed, num_people, size, absent):
    truth = crowd.random_crowd(num_people, size, absent=absent, seed=seed)
    heatmaps, tags = crowd.render(*truth, size)
    heatmaps[seed % 17 :: 5] *= 0.1  # faint heat is where joints are filled in
    heatmaps = np.minimum(heatmaps, 0.5 + seed % 3)  # plateaus, or not
    noise = np.random.default_rng(seed).normal(0, 1e-3, tags.shape)  # no candidates fit equally
    tags += noise.astype(tags.dtype)
    assert_same_people(
        Grouper()(*batch_of(heatmaps, tags))[0], dense_grouping.group(*batch_of(heatmaps, tags))
    )


@given(seed=st.integers(0, 10_000), num_people=st.integers(0, 20), tag_dims=st.integers(1, 2))
@settings(max_examples=20, deadline=None)
def test_coarse_maps_are_grouped_as_upsampled_ones(seed, num_people, tag_dims):
    truth = crowd.random_crowd(num_people, (128, 96), tag_dims=tag_dims, seed=seed)
    heatmaps, tags = batch_of(*crowd.render(*truth, (128, 96)))
    coarse = torch.nn.functional.avg_pool2d(heatmaps, 2)
    coarse_tags = tags[:, :, ::2, ::2].permute(0, 1, 4, 2, 3)
    outputs = [HeadOutput(coarse, coarse_tags), HeadOutput(heatmaps, None)]
    maps = combine(outputs)
    assert maps.tags.shape[2:4] == (64, 48)
    expected = dense_grouping.group(*dense_grouping.combine(outputs))
    assert_same_people(Grouper()(*maps)[0], expected)


def assert_same_people(poses, expected):
    assert len(poses) == len(expected)
    np.testing.assert_allclose(poses.keypoints, expected.keypoints, rtol=0, atol=1e-4)
    np.testing.assert_allclose(poses.keypoint_scores, expected.keypoint_scores, atol=1e-6)
    np.testing.assert_allclose(poses.scores, expected.scores, rtol=0, atol=1e-6)


def test_many_pairs_are_compared_in_parts(monkeypatch):
    """Equal tags everywhere: every candidate is near every person."""
    truth = crowd.random_crowd(30, (96, 128))
    maps = batch_of(*crowd.render(*truth, (96, 128)))
    whole = Grouper()(maps[0], torch.zeros_like(maps[1]))[0]
    monkeypatch.setattr(matching, "MAX_PAIRS", 50)
    assert_same_people(Grouper()(maps[0], torch.zeros_like(maps[1]))[0], whole)


def test_robust_mode_finds_hundreds_and_their_places():
    truth = crowd.random_crowd(300, (1024, 1024), absent=0.0, seed=1)
    poses = Grouper()(*batch_of(*crowd.render(*truth, (1024, 1024))))[0]
    xy = truth[0]
    # people whose joints are nobody else's are found whole; their places have no bias
    errors = []
    for keypoints, present in zip(poses.keypoints, poses.keypoint_scores > 0, strict=True):
        distance = np.linalg.norm(xy - keypoints, axis=2).mean(1)
        if present.all() and distance.min() < 1:
            errors.append(keypoints - xy[distance.argmin()])
    assert len(errors) > 200
    assert np.abs(np.mean(errors, axis=(0, 1))).max() < 0.1


def test_of_noise_the_highest_peaks_are_kept():
    heatmaps, tags = torch.zeros(1, 17, 250, 200), torch.zeros(1, 17, 250, 200, 1)
    heatmaps[0, 0, ::5, ::5] = torch.linspace(0.2, 0.9, 2000).reshape(50, 40)
    (people,) = Grouper()(heatmaps, tags)
    assert len(people) == 1000
    assert people.keypoint_scores[:, 0].min() > 0.55


@given(dx=st.floats(-0.5, 0.5), dy=st.floats(-0.5, 0.5), sigma=st.floats(1.0, 3.0))
@settings(max_examples=25, deadline=None)
def test_a_gaussian_is_located_exactly(dx, dy, sigma):
    xy = np.full((1, 17, 2), 20.0) + np.array([dx, dy])
    heatmaps, tags = crowd.render(xy, np.ones((1, 17)), np.zeros((1, 17, 1)), (40, 40), sigma)
    poses = Grouper()(*batch_of(heatmaps, tags))[0]
    np.testing.assert_allclose(poses.keypoints, xy, atol=1e-3)


def test_a_joint_at_the_border_stays_inside():
    xy = np.array([[0, 0], [39, 39]] + [[0, 20]] * 15, float)[None]
    heatmaps, tags = crowd.render(xy, np.ones((1, 17)), np.zeros((1, 17, 1)), (40, 40))
    np.testing.assert_allclose(Grouper()(*batch_of(heatmaps, tags))[0].keypoints, xy, atol=1e-3)


def test_images_of_a_batch_do_not_touch_each_other():
    scenes = [
        crowd.render(*crowd.random_crowd(n, (128, 128), seed=n), (128, 128)) for n in (3, 0, 7)
    ]
    heatmaps, tags = (torch.from_numpy(np.stack(maps)) for maps in zip(*scenes, strict=True))
    for grouper in (Grouper(), Grouper(rules=OFFICIAL)):
        together = grouper(heatmaps, tags)
        for i, poses in enumerate(together):
            alone = grouper(heatmaps[i : i + 1], tags[i : i + 1])[0]
            np.testing.assert_array_equal(poses.keypoints, alone.keypoints)
            np.testing.assert_array_equal(poses.scores, alone.scores)


def test_no_person_is_an_ordinary_value():
    for grouper in (Grouper(), Grouper(rules=OFFICIAL)):
        for poses in grouper(torch.zeros(2, 17, 32, 32), torch.zeros(2, 17, 32, 32, 1)):
            assert poses.keypoints.shape == (0, 17, 2)
    assert Grouper()(torch.zeros(0, 17, 8, 8), torch.zeros(0, 17, 8, 8, 1)) == []


def test_a_plateau_is_one_joint():
    heatmaps = torch.zeros(1, 17, 32, 32)
    heatmaps[0, 0, 10:12, 10:13] = 1.0
    poses = Grouper()(heatmaps, torch.zeros(1, 17, 32, 32, 1))[0]
    assert len(poses) == 1


def test_equal_tags_do_not_collide():
    """Two noses with exactly the same tag are two people: a tag is never a key."""
    heatmaps = torch.zeros(1, 17, 32, 32)
    heatmaps[0, 0, 5, 5] = heatmaps[0, 0, 20, 20] = 0.9
    assert len(Grouper()(heatmaps, torch.zeros(1, 17, 32, 32, 1))[0]) == 2


def test_a_person_opened_twice_is_not_split():
    """A second nose with the same tag opens a person, who must not get half of the joints."""
    xy, scores, tags = crowd.random_crowd(1, (96, 96), absent=0.0)
    scores[:] = 0.9
    heatmaps, tag_maps = crowd.render(xy, scores, tags, (96, 96))
    x, y = np.clip(np.round(xy[0, 0]).astype(int) + 8, 4, 91)
    heatmaps[0, y, x] = 0.9 * heatmaps[0].max()
    tag_maps[:] = tags[0].mean()
    rng = np.random.default_rng(0)
    for _ in range(20):
        noisy = tag_maps + rng.normal(0, 1e-3, tag_maps.shape).astype(tag_maps.dtype)
        people = Grouper()(*batch_of(heatmaps, noisy))[0]
        assert len(people) == 2
        assert people.scores.max() == pytest.approx(0.9 * 17 / 18, rel=0.05)
        assert people.scores.min() < 0.45  # a nose and nothing else


def test_robust_scores_do_not_fall_with_joints_that_are_out_of_sight():
    xy, scores, tags = crowd.random_crowd(1, (96, 96), absent=0.0)
    scores[:] = 0.8
    whole = crowd.render(xy, scores, tags, (96, 96))
    scores[0, 11:] = 0
    half = crowd.render(xy, scores, tags, (96, 96))
    robust = [Grouper()(*batch_of(*maps))[0].scores[0] for maps in (whole, half)]
    official = [Grouper(rules=OFFICIAL)(*batch_of(*maps))[0].scores[0] for maps in (whole, half)]
    assert robust[1] > 0.95 * robust[0]
    assert official[1] == pytest.approx(official[0] * 11 / 17, rel=1e-2)


def test_joints_are_filled_where_there_is_heat_and_nowhere_else():
    xy, scores, tags = crowd.random_crowd(1, (96, 96), absent=0.0)
    scores[:] = 0.9
    scores[0, 9], scores[0, 10] = 0.08, 0.02  # a faint wrist, a fainter one
    heatmaps, tag_maps = crowd.render(xy, scores, tags, (96, 96))
    poses = Grouper(refine_threshold=0.05)(*batch_of(heatmaps, tag_maps))[0]
    np.testing.assert_allclose(poses.keypoints[0, 9], xy[0, 9], atol=0.01)
    assert poses.keypoint_scores[0, 10] == 0
    peaks = heatmaps.max(axis=(1, 2))
    expected = (
        peaks.sum() - peaks[9] - peaks[10]
    ) / 16  # of 15 joints; those filled in do not count
    assert poses.scores[0] == pytest.approx(expected)
    official = Grouper(rules=OFFICIAL)(*batch_of(heatmaps, tag_maps))[0]
    assert official.keypoint_scores[0, 10] > 0  # the reference invents it


def test_a_far_joint_is_never_forced_on_a_person():
    """Two people and a far shoulder of a third: the reference's cost would swap the near pairs."""
    rng = np.random.default_rng(0)
    tags = np.array([3.0, 6.0, 12.0])
    xy = rng.uniform(10, 86, (3, 17, 2))
    scores = np.zeros((3, 17))
    scores[:2, 0] = 0.9
    scores[1:, 5] = 0.9
    heatmaps, tag_maps = crowd.render(
        xy, scores, np.tile(tags[:, None, None], (1, 17, 1)), (96, 96)
    )
    poses = Grouper()(*batch_of(heatmaps, tag_maps))[0]
    assert sorted((poses.keypoint_scores > 0).sum(1).tolist()) == [1, 1, 2]


def test_wrong_arguments_say_what_to_do():
    with pytest.raises(ValueError, match="positive number"):
        Grouper(tag_threshold=0)
    with pytest.raises(ValueError, match="14 joints"):
        Grouper(skeleton=CROWDPOSE)(torch.zeros(1, 17, 8, 8), torch.zeros(1, 17, 8, 8, 1))


def test_maps_of_garbage_do_not_crash():
    generator = torch.Generator().manual_seed(0)
    heatmaps, tags = (
        torch.randn(1, 17, 48, 48, generator=generator),
        torch.randn(1, 17, 48, 48, 2, generator=generator),
    )
    heatmaps[0, 3] = torch.nan
    heatmaps[0, 4] = torch.inf
    for poses in Grouper()(heatmaps, tags):
        assert np.isfinite(poses.keypoints).all()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("which", ["heatmaps", "tags"])
def test_official_rules_refuse_maps_that_are_not_finite(value, which):
    maps = {"heatmaps": torch.rand(2, 17, 16, 16), "tags": torch.rand(2, 17, 16, 16, 1)}
    maps[which][1, 3, 5, 5] = value
    with pytest.raises(ValueError, match="maps with numbers that are not finite"):
        Grouper(rules=OFFICIAL)(**maps)
    assert len(Grouper(rules=OFFICIAL)(*(part[:1] for part in maps.values()))) == 1


def test_any_skeleton_will_do():
    ball = Skeleton(("ball",), (), (0.1,), (0,))
    heatmaps = torch.zeros(1, 1, 16, 16)
    heatmaps[0, 0, 4, 7] = 1
    poses = Grouper(skeleton=ball)(heatmaps, torch.zeros(1, 1, 16, 16, 1))[0]
    np.testing.assert_array_equal(poses.keypoints, [[[7, 4]]])


@pytest.mark.gpu
def test_cuda_equals_cpu():
    heatmaps, tags = batch_of(*crowd.render(*crowd.random_crowd(40, (256, 256)), (256, 256)))
    for grouper in (Grouper(), Grouper(rules=OFFICIAL)):
        cpu, cuda = grouper(heatmaps, tags)[0], grouper(heatmaps.cuda(), tags.cuda())[0]
        np.testing.assert_allclose(cuda.keypoints, cpu.keypoints, atol=1e-4)
        np.testing.assert_allclose(cuda.scores, cpu.scores, atol=1e-5)
