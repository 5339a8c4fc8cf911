import numpy as np
import pytest
import torch

from bottomup.method import targets
from bottomup.method.grouping import Grouper
from bottomup.method.voting_losses import VotingCriterion, focal_loss, person_boxes, read_cells
from bottomup.models.center_voting import CenterVotingHead, DenseMaps

NAMES = ["center", "heatmap", "displacement", "size"]


def crowd(*people: tuple[float, float, float]) -> torch.Tensor:
    """1 N 17 3 keypoints: joints in a square of some size about a centre, in input pixels."""
    rng = np.random.default_rng(0)
    shape = rng.uniform(-0.5, 0.5, (17, 2))
    shape = (shape - (shape.min(0) + shape.max(0)) / 2) / np.ptp(shape, axis=0)
    rows = [np.column_stack([shape * size + (x, y), np.full(17, 2.0)]) for x, y, size in people]
    return torch.from_numpy(np.stack(rows)[None]).float()


def perfect_maps(
    keypoints: torch.Tensor, size: int, stride: int, criterion: VotingCriterion
) -> DenseMaps:
    """What a perfect network says at one scale, written down person by person."""
    cells = size // stride
    people = torch.cat([(keypoints[..., :2] + 0.5) / stride, keypoints[..., 2:]], dim=3)
    boxes, sides = person_boxes(people)
    sigma = targets.adaptive_sigma(people, sigma=criterion.sigma)
    heat = targets.render_heatmaps(
        people, cells, cells, sigma=sigma, max_sigma=criterion.sigma, exact=True
    )
    center, displacements = torch.zeros(1, 1, cells, cells), torch.zeros(1, 34, cells, cells)
    box_size = torch.zeros(1, 2, cells, cells)
    at = (
        torch.stack(torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="xy"), -1)
        + 0.5
    )
    for person, middle, side in zip(people[0], boxes[0], sides[0], strict=True):
        length = float(side.max()) * criterion.box_factor
        spread = max(criterion.center_sigma * length, 1.0)
        center = torch.maximum(center, torch.exp(-(at - middle).square().sum(-1) / (2 * spread**2)))
        x, y = (int(value) for value in middle)
        displacements[0, :, y, x] = (person[:, :2] - torch.tensor([x, y]) - 0.5).flip(1).reshape(-1)
        box_size[0, :, y, x] = length
    return DenseMaps(
        center.clamp(1e-6, 1 - 1e-6).logit(),
        heat.clamp(1e-6, 1 - 1e-6).logit(),
        displacements,
        box_size,
    )


def sharpened(maps: DenseMaps, keypoints: torch.Tensor, stride: int) -> DenseMaps:
    """Sure of the cells that hold a point, and that no other does."""
    people = torch.cat([(keypoints[..., :2] + 0.5) / stride, keypoints[..., 2:]], dim=3)
    center, heat = torch.full_like(maps.center, -12.0), torch.full_like(maps.heatmaps, -12.0)
    for person, (x, y) in zip(people[0], person_boxes(people)[0][0].long().tolist(), strict=True):
        center[0, 0, y, x] = 12.0
        for k, (x, y) in enumerate(person[:, :2].long().tolist()):
            heat[0, k, y, x] = 12.0
    return maps._replace(center=center, heatmaps=heat)


def test_perfect_maps_cost_nothing():
    criterion = VotingCriterion()
    keypoints = crowd((60.0, 60.0, 80.0), (180.0, 100.0, 120.0), (120.0, 200.0, 60.0))
    maps = sharpened(perfect_maps(keypoints, 256, 4, criterion), keypoints, 4)
    losses = criterion([maps], keypoints, torch.ones(1, 256, 256, dtype=torch.bool))
    assert list(losses) == NAMES
    for name, loss in losses.items():
        assert loss < 1e-4, name


def test_perfect_maps_are_read_as_the_same_people():
    criterion = VotingCriterion()
    keypoints = crowd((60.0, 60.0, 80.0), (180.0, 100.0, 120.0), (120.0, 200.0, 60.0))
    maps = perfect_maps(keypoints, 256, 4, criterion)
    (output,) = CenterVotingHead(24, 17).read([maps])
    (poses,) = Grouper()(output.heatmaps, output.tags.permute(0, 1, 3, 4, 2))
    assert len(poses) == 3
    found = (poses.keypoints + 0.5) * 4 - 0.5
    for person in keypoints[0, :, :, :2].numpy():
        assert min(np.abs(other - person).max() for other in found) < 1.5


@pytest.mark.parametrize("name", NAMES)
def test_every_error_costs_its_own_loss(name):
    criterion = VotingCriterion()
    keypoints = crowd((100.0, 100.0, 90.0))
    maps = perfect_maps(keypoints, 256, 4, criterion)
    field = {
        "center": "center",
        "heatmap": "heatmaps",
        "displacement": "displacements",
        "size": "box_size",
    }[name]
    wrong = maps._replace(**{field: getattr(maps, field) + 3.0})
    mask = torch.ones(1, 256, 256, dtype=torch.bool)
    before, after = criterion([maps], keypoints, mask), criterion([wrong], keypoints, mask)
    assert [other for other in NAMES if after[other] > before[other] + 0.005] == [name]


def test_displacements_are_measured_in_sizes_of_the_person():
    criterion = VotingCriterion()
    mask = torch.ones(1, 256, 256, dtype=torch.bool)
    for size in (60.0, 120.0):
        keypoints = crowd((128.0, 128.0, size))
        maps = perfect_maps(keypoints, 256, 4, criterion)
        moved = maps._replace(
            displacements=maps.displacements + size / 4 * criterion.box_factor * 0.1
        )
        loss = criterion([moved], keypoints, mask)["displacement"]
        torch.testing.assert_close(
            loss, torch.tensor(0.2), rtol=1e-3, atol=1e-3
        )  # 0.1 along x and along y


def test_each_scale_learns_from_the_people_that_it_suits():
    criterion = VotingCriterion(largest=30.0, smallest=12.0)
    mask = torch.ones(1, 256, 256, dtype=torch.bool)
    small, large = crowd((60.0, 60.0, 40.0)), crowd((128.0, 128.0, 200.0))
    for keypoints, learns in ((small, [True, False]), (large, [False, True])):
        scales = [
            DenseMaps(*(torch.zeros(1, n, size, size, requires_grad=True) for n in (1, 17, 34, 2)))
            for size in (64, 32)
        ]
        sum(criterion(scales, keypoints, mask).values()).backward()
        assert [bool(maps.displacements.grad.abs().sum() > 0) for maps in scales] == learns
        center, _ = person_boxes((keypoints + 0.5) / 4)
        x, y = (int(value) for value in center[0, 0])
        assert (
            bool(scales[0].center.grad[0, 0, y, x] != 0) == learns[0]
        )  # left free where it does not suit
        assert scales[0].center.grad[0, 0, 0, 0] != 0 or not learns[0]


def test_unlabelled_joints_masked_regions_and_padding_are_left_free():
    criterion = VotingCriterion()
    keypoints = torch.cat([crowd((100.0, 100.0, 90.0)), torch.zeros(1, 2, 17, 3)], dim=1)
    keypoints[0, 0, 5] = 0
    maps = DenseMaps(*(torch.zeros(1, n, 64, 64, requires_grad=True) for n in (1, 17, 34, 2)))
    mask = torch.ones(1, 256, 256, dtype=torch.bool)
    mask[:, 200:] = False
    sum(criterion([maps], keypoints, mask).values()).backward()
    heat, ways = maps.heatmaps.grad[0], maps.displacements.grad[0]
    assert heat[5, 25, 25] == 0
    assert heat[6, 25, 25] != 0
    assert heat[:, 50:].abs().sum() == 0
    assert heat[:, :50].abs().sum() > 0
    assert ways[[10, 11]].abs().sum() == 0
    assert ways[[12, 13]].abs().sum() > 0


def test_an_image_without_people_teaches_only_that_nobody_is_there():
    maps = DenseMaps(*(torch.zeros(1, n, 16, 16, requires_grad=True) for n in (1, 17, 34, 2)))
    losses = VotingCriterion()(
        [maps], torch.zeros(1, 0, 17, 3), torch.ones(1, 64, 64, dtype=torch.bool)
    )
    sum(losses.values()).backward()
    assert torch.isfinite(torch.stack(list(losses.values()))).all()
    assert (maps.center.grad > 0).all()
    assert (maps.heatmaps.grad > 0).all()


def test_the_focal_loss_equals_its_sum_over_cells():
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(1, 2, 5, 6)), rng.uniform(size=(1, 2, 5, 6)) * 0.9
    target[0, 0, 2, 3] = target[0, 1, 4, 0] = 1.0
    known = rng.uniform(size=(1, 1, 5, 6)) < 0.8
    known[0, 0, 2, 3] = True
    expected = 0.0
    for _, k, y, x in np.ndindex(target.shape):
        p, t = 1 / (1 + np.exp(-logits[0, k, y, x])), target[0, k, y, x]
        loss = -((1 - p) ** 2) * np.log(p) if t == 1 else -((1 - t) ** 4) * p**2 * np.log(1 - p)
        expected += loss * known[0, 0, y, x]
    actual = focal_loss(
        torch.tensor(logits).float(), torch.tensor(target).float(), torch.tensor(known)
    )
    assert float(actual) == pytest.approx(expected, rel=1e-5)


def test_reading_cells():
    maps = torch.arange(24.0).view(1, 2, 3, 4)
    assert read_cells(maps, torch.tensor([[5, 0]])).tolist() == [[[5.0, 17.0], [0.0, 12.0]]]


def test_heatmaps_at_stride_2_have_a_loss_of_their_own():
    criterion = VotingCriterion()
    keypoints = crowd((100.0, 100.0, 90.0))
    maps = sharpened(perfect_maps(keypoints, 256, 4, criterion), keypoints, 4)
    fine = sharpened(perfect_maps(keypoints, 256, 2, criterion), keypoints, 2).heatmaps
    mask = torch.ones(1, 256, 256, dtype=torch.bool)
    right = criterion([maps._replace(fine_heatmaps=fine)], keypoints, mask)
    wrong = criterion([maps._replace(fine_heatmaps=fine.flip(3))], keypoints, mask)
    assert list(right) == [*NAMES, "fine_heatmap"]
    assert right["fine_heatmap"] < 1e-4
    assert wrong["fine_heatmap"] > 1
    assert all(right[name] == wrong[name] for name in NAMES)
