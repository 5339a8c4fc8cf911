import numpy as np
import pytest
import torch

from bottomup.method.grouping import Grouper
from bottomup.models import voting as voting_module
from bottomup.models.center_voting import CenterVotingHead, DenseMaps
from bottomup.models.heads import HeadOutput
from bottomup.models.voting import Votes, Voting, resembles_stronger, spread_votes


def votes_of(scores: list[float], centers: list[tuple[float, float]], size: float = 20.0) -> Votes:
    """People whose 17 joints stand on a circle about the centre."""
    angle = torch.linspace(0, 6, 17)
    around = size / 2 * torch.stack([angle.cos(), angle.sin()], dim=1)
    center = torch.tensor(centers)[None]
    return Votes(
        torch.tensor(scores)[None],
        center,
        center[:, :, None] + around,
        torch.full((1, len(scores)), size),
    )


def slow_spread(votes: Votes, size: tuple[int, int], sigma: float, sharpness: float, floor: float):
    score, center, joints = (np.asarray(part[0], np.float64) for part in votes[:3])
    num_joints = joints.shape[1]
    support, tags = np.zeros((num_joints, *size)), np.zeros((num_joints, 2, *size))
    for k, y, x in np.ndindex(num_joints, *size):
        squared = ((joints[:, k] - [x, y]) ** 2).sum(1)
        weights = np.append(score * np.exp(-squared / (2 * sigma**2)), floor) ** sharpness
        support[k, y, x] = min(weights.sum(), 1) ** (1 / sharpness)
        tags[k, :, y, x] = weights @ np.vstack([center, [x, y]]) / weights.sum()
    return support, tags


@pytest.mark.parametrize("sharpness", [1.0, 4.0])
def test_spreading_equals_the_sum_over_votes_at_every_cell(sharpness):
    votes = votes_of([0.9, 0.4, 0.6], [(10.0, 12.0), (14.5, 9.0), (2.0, 3.0)])
    actual = spread_votes(votes, (20, 24), sigma=torch.full((1, 3), 2.5), sharpness=sharpness)
    expected = slow_spread(votes, (20, 24), 2.5, sharpness, 1e-3)
    np.testing.assert_allclose(actual[0][0], expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(actual[1][0], expected[1], rtol=1e-4, atol=1e-3)


def test_a_cell_that_nobody_claims_is_tagged_by_its_own_place():
    votes = votes_of([0.9], [(8.0, 8.0)], size=6.0)
    _, tags = spread_votes(votes, (40, 60), sigma=torch.ones(1, 1), sharpness=8.0)
    torch.testing.assert_close(tags[0, :, :, 35, 50], torch.tensor([50.0, 35.0]).expand(17, 2))


def test_of_two_votes_for_one_person_the_stronger_counts():
    votes = votes_of([0.5, 0.9, 0.8], [(10.0, 10.0), (10.5, 10.0), (40.0, 10.0)])
    assert resembles_stronger(votes, 0.5).tolist() == [[True, False, False]]


def test_many_votes_are_compared_in_parts(monkeypatch):
    generator = np.random.default_rng(0)
    places = [tuple(place) for place in generator.uniform(0, 30, (50, 2)).tolist()]
    votes = votes_of(generator.uniform(size=50).tolist(), places)
    expected = resembles_stronger(votes, 0.5)
    assert 5 < expected.sum() < 45
    monkeypatch.setattr(voting_module, "MAX_COMPARED", 7)
    assert torch.equal(resembles_stronger(votes, 0.5), expected)


def test_tags_part_people_who_touch():
    people = votes_of([0.9, 0.8], [(20.0, 20.0), (30.0, 20.0)])
    voting = Voting()
    support, tags = spread_votes(
        people, (40, 56), sigma=torch.full((1, 2), 2.0), sharpness=voting.sharpness
    )
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(56.0), indexing="ij")
    at = torch.stack([x, y], dim=2)
    squared = (at - people.joints[0, :, :, None, None]).square().sum(4)  # M K h w
    heatmaps = torch.exp(-squared / 4).amax(0)[None]
    output = HeadOutput(heatmaps * support**voting.support_power, tags / voting.tag_unit)
    (poses,) = Grouper()(output.heatmaps, output.tags.permute(0, 1, 3, 4, 2))
    assert len(poses) == 2
    found = poses.keypoints[np.argsort(poses.keypoints[:, 0, 0])]
    assert np.abs(found - people.joints[0].numpy()).max() < 1.5


@torch.no_grad()
def test_a_batch_equals_its_pictures_one_by_one():
    head = CenterVotingHead(24, 17).eval()
    features = [torch.randn(3, 24, 16, 24), torch.randn(3, 24, 8, 12)]
    (together,) = head.read(head(features))
    for number in range(3):
        (alone,) = head.read(head([level[number : number + 1] for level in features]))
        torch.testing.assert_close(
            together.heatmaps[number : number + 1], alone.heatmaps, rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            together.tags[number : number + 1], alone.tags, rtol=1e-4, atol=1e-3
        )


def made_up_maps(height: int, width: int, *, score: float = 4.0, size: float = 6.0) -> DenseMaps:
    """One person, in the middle, all of whose joints are in one cell; nothing else."""
    center = torch.full((1, 1, height, width), -10.0)
    center[..., height // 2, width // 2] = score
    sides = torch.full((1, 2, height, width), size)
    return DenseMaps(center, center.expand(1, 17, -1, -1), torch.zeros(1, 34, height, width), sides)


@torch.no_grad()
def test_a_person_has_some_of_its_heat_from_the_scale_at_which_it_does_not_vote():
    voting = Voting(faint_size=0.0, support_power=0.0, faint_power=1.0, other_scales=0.25)
    head = CenterVotingHead(24, 17, voting=voting)
    fine, coarse = made_up_maps(16, 16), made_up_maps(8, 8, score=-10.0)
    alone = head.read([fine])[0].heatmaps
    nothing = torch.sigmoid(torch.tensor(-10.0))
    both = head.read([fine, coarse])[0].heatmaps
    torch.testing.assert_close(both[0, :, 8, 8], 0.75 * alone[0, :, 8, 8] + 0.25 * nothing)

    elsewhere = coarse.heatmaps.clone()
    elsewhere[..., 1, 1] = 4.0  # where the finest scale sees nothing
    both = head.read([fine, coarse._replace(heatmaps=elsewhere)])[0].heatmaps
    assert both[0, 0, 2:4, 2:4].max() > 0.25 * 0.5


@pytest.mark.parametrize("size", [4.0, 40.0])
@torch.no_grad()
def test_the_smaller_a_person_the_less_its_centre_counts(size):
    maps = [made_up_maps(16, 16, size=size)]
    before, after = (
        CenterVotingHead(24, 17, voting=Voting(faint_size=faint_size, support_power=1.0))
        .read(maps)[0]
        .heatmaps[0, :, 8, 8]
        for faint_size in (0.0, 4.0)
    )
    torch.testing.assert_close(after, before * size / (size + 4.0), rtol=1e-4, atol=0)


@torch.no_grad()
def test_without_a_centre_every_joint_stays_alone():
    head = CenterVotingHead(24, 17).eval()
    torch.nn.init.zeros_(head.center.out.weight)
    torch.nn.init.constant_(head.center.out.bias, -10)
    (output,) = head.read(head([torch.randn(1, 24, 8, 8)]))
    assert output.heatmaps.max() < 0.1
    torch.testing.assert_close(
        output.tags[0, 0, :, 3, 5] * head.voting.tag_unit, torch.tensor([5.0, 3.0])
    )


@torch.no_grad()
def test_heatmaps_at_stride_2_start_as_the_others_interpolated():
    head = CenterVotingHead(24, 17, fine_channels=8).eval()
    features = [torch.randn(2, 24, 8, 12), torch.randn(2, 24, 4, 6)]
    maps, coarser = head(features)
    doubled = torch.nn.functional.interpolate(
        maps.heatmaps, scale_factor=2, mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(maps.fine_heatmaps, doubled)
    assert coarser.fine_heatmaps is None
    coarse, fine = head.read([maps, coarser])
    assert coarse.heatmaps.shape == (2, 17, 8, 12)
    assert coarse.tags.shape == (2, 17, 2, 8, 12)
    assert fine.heatmaps.shape == (2, 17, 16, 24)
    assert fine.tags is None
    averaged = torch.nn.functional.avg_pool2d(fine.heatmaps, 2)
    assert (averaged - coarse.heatmaps).abs().mean() < 0.05  # the same joints in the same places


@torch.no_grad()
def test_without_heatmaps_at_stride_2_nothing_else_changes():
    head = CenterVotingHead(24, 17, fine_channels=8).eval()
    features = [torch.randn(1, 24, 8, 12), torch.randn(1, 24, 4, 6)]
    both = head.read(head(features))[0]
    head.fine_heatmaps = None
    (alone,) = head.read(head(features))
    torch.testing.assert_close(alone, both)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_voting_is_computed_in_float32_whatever_maps_and_autocast_are(kind):
    """The floor of a vote to the power of the sharpness is 1e-24, which float16 has not."""
    head, generator = CenterVotingHead(24, 3, fine_channels=8), torch.Generator().manual_seed(0)
    shapes = ((1, 32), (3, 32), (6, 32), (2, 32), (3, 64)), ((1, 16), (3, 16), (6, 16), (2, 16))
    half = [
        DenseMaps(*(torch.randn(2, n, s, s, generator=generator).to(kind) for n, s in scale))
        for scale in shapes
    ]
    exact = head.read([DenseMaps(*(m if m is None else m.float() for m in s)) for s in half])
    with torch.autocast("cpu", dtype=kind):
        found = head.read(half)
    for output, expected in zip(found, exact, strict=True):
        assert expected.heatmaps.isfinite().all()
        assert torch.equal(output.heatmaps, expected.heatmaps)
    assert exact[0].tags.isfinite().all()
    assert torch.equal(found[0].tags, exact[0].tags)
