import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bottomup.method import losses, targets
from bottomup.models.heads import HeadOutput
from tests.reference.losses import loop_over_people
from tests.reference.losses import pull_push as slow_pull_push
from tests.support.golden_files import assert_equal


def test_losses_and_gradients_equal_the_golden_ones(golden):
    assert_equal(golden, "loss")


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    people=st.integers(0, 8),
    dims=st.integers(1, 3),
    share=st.floats(0, 1),
)
def test_values_and_gradients_equal_the_slow_reference(seed, people, dims, share):
    generator = torch.Generator().manual_seed(seed)
    tags = torch.randn(2, 5, dims, 6, 7, generator=generator, dtype=torch.float64).requires_grad_()
    indices = torch.randint(0, 5 * 6 * 7, (2, people, 5), generator=generator)
    present = torch.rand(2, people, 5, generator=generator) < share
    fast = torch.stack(losses.pull_push(losses.read_tags(tags, indices), present)).mean(1)
    flat = tags.transpose(1, 2).flatten(2)
    people = [
        [row[there].tolist() for row, there in zip(*image, strict=True)]
        for image in zip(indices, present, strict=True)
    ]
    slow = [slow_pull_push(image, those) for image, those in zip(flat, people, strict=True)]
    loop = [loop_over_people(image, those) for image, those in zip(flat, people, strict=True)]
    for one, other in zip(slow, loop, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-9)
    slow = torch.stack([torch.stack(values) for values in slow]).mean(0)
    torch.testing.assert_close(fast, slow, atol=1e-12, rtol=1e-9)
    weights = torch.tensor([1.0, 3.0], dtype=torch.float64)
    (one,) = torch.autograd.grad((fast * weights).sum(), tags)
    (other,) = torch.autograd.grad((slow * weights).sum(), tags)
    torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-9)


def test_two_people_by_hand():
    tags = torch.tensor([[[0.0], [0.2]], [[1.0], [1.2]]])[None]
    pull, push = losses.pull_push(tags, torch.ones(1, 2, 2, dtype=torch.bool))
    assert pull.item() == pytest.approx(0.01)
    assert push.item() == pytest.approx(0.18394, abs=1e-5)


@pytest.mark.parametrize("hinge", [False, True])
def test_people_of_equal_tags_have_finite_gradients(hinge):
    tags = torch.zeros(1, 3, 2, 2, requires_grad=True)
    _, push = losses.pull_push(tags, torch.ones(1, 3, 2, dtype=torch.bool), hinge=hinge)
    push.sum().backward()
    assert push.item() == pytest.approx(0.5)
    assert tags.grad is not None
    assert tags.grad.isfinite().all()


def test_half_precision_is_computed_in_float32():
    tags = torch.randn(1, 4, 3, 1, generator=torch.Generator().manual_seed(0)).bfloat16()
    present = torch.ones(1, 4, 3, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        low = losses.pull_push(tags, present)
    high = losses.pull_push(tags.float(), present)
    assert low[0].dtype == torch.float32
    torch.testing.assert_close(low, high)


def test_criterion_of_a_perfect_network_is_zero_but_for_push():
    keypoints = torch.tensor([[[[9.0, 13, 2], [20, 5, 1]], [[30, 30, 2], [0, 0, 0]]]])
    heatmaps = targets.render_heatmaps(keypoints / torch.tensor([4, 4, 1]), 8, 8)
    output = HeadOutput(heatmaps, torch.zeros(1, 2, 1, 8, 8))
    values = losses.Criterion()([output], keypoints, torch.ones(1, 32, 32, dtype=torch.bool))
    assert {name: pytest.approx(value.item()) for name, value in values.items()} == {
        "heatmap": 0, "pull": 0, "push": 0.5
    }  # fmt: skip


def test_criterion_leaves_masked_pixels_free():
    keypoints = torch.zeros(1, 0, 2, 3)
    mask = torch.ones(1, 16, 16, dtype=torch.bool)
    mask[:, :8] = False
    heatmaps = torch.zeros(1, 2, 4, 4)
    heatmaps[:, :, :2] = 7.0
    heatmaps[:, :, 2:] = 1.0
    values = losses.Criterion()([HeadOutput(heatmaps, None)], keypoints, mask)
    assert values["heatmap"].item() == pytest.approx(0.5)


def test_focal_loss_equals_a_slow_one_and_is_least_at_its_target():
    generator = torch.Generator().manual_seed(0)
    predicted, target = torch.rand(2, 1, 2, 3, 4, generator=generator, dtype=torch.float64)
    mask = torch.rand(1, 1, 3, 4, generator=generator).double()
    expected = 0.0
    for place in np.ndindex(1, 2, 3, 4):
        p, t = predicted[place].item(), target[place].item()
        entropy = -(t * math.log(p) + (1 - t) * math.log(1 - p))
        expected += (t - p) ** 2 * entropy * mask[0, 0, place[2], place[3]].item()
    assert losses.quality_focal_loss(predicted, target, mask).item() == pytest.approx(expected)
    at_target = target.clone().requires_grad_()
    losses.quality_focal_loss(at_target, target, mask).backward()
    assert at_target.grad is not None
    assert at_target.grad.abs().max() == pytest.approx(0)


def test_focal_loss_of_certain_predictions_is_finite():
    predicted = torch.tensor([[[[0.0, 1.0]]]], requires_grad=True)
    loss = losses.quality_focal_loss(
        predicted, torch.tensor([[[[1.0, 0.0]]]]), torch.ones(1, 1, 1, 2)
    )
    loss.backward()
    assert loss.isfinite()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()


def test_place_loss_equals_a_slow_one():
    generator = torch.Generator().manual_seed(0)
    tags = torch.randn(2, 3, 4, 2, generator=generator)
    keypoints = torch.rand(2, 3, 4, 3, generator=generator) * 20
    present = torch.rand(2, 3, 4, generator=generator) < 0.5
    distances = []
    for image, person in np.ndindex(2, 3):
        joints = present[image, person].nonzero().flatten().tolist()
        for joint in joints:
            for axis in (0, 1):
                centre = np.mean(
                    [keypoints[image, person, other, axis].item() - 0.5 for other in joints]
                )
                error = abs(tags[image, person, joint, axis].item() - 0.25 * centre)
                distances.append(error - 0.05 if error > 0.1 else error**2 / 0.2)
    value = losses.place_loss(tags, keypoints, present, 0.25)
    assert value.item() == pytest.approx(sum(distances) / present.sum().item(), rel=1e-5)


def test_criterion_of_a_perfect_network_with_places_is_zero():
    keypoints = torch.tensor([[[[9.0, 13, 2], [20, 5, 1]], [[26, 30, 2], [0, 0, 0]]]])
    points = (keypoints + torch.tensor([0.5, 0.5, 0])) / torch.tensor([4, 4, 1])
    heatmaps = targets.render_heatmaps(points, 8, 8, exact=True)
    tags = torch.zeros(1, 2, 2, 8, 8)
    for person, (x, y) in enumerate([(3.75 - 0.5, 2.375 - 0.5), (6.625 - 0.5, 7.625 - 0.5)]):
        for joint in range(2):
            if keypoints[0, person, joint, 2]:
                column, row = points[0, person, joint, :2].long()
                tags[0, joint, :, row, column] = torch.tensor([x, y]) * 0.5
    criterion = losses.Criterion(heatmaps="focal", place_weight=1.0, pull_weight=0, push_weight=0)
    mask = torch.ones(1, 32, 32, dtype=torch.bool)
    values = criterion([HeadOutput(heatmaps, tags)], keypoints, mask, offset=0, tag_anchor=0.5)
    assert values.keys() == criterion.weights.keys() == {"heatmap", "pull", "push", "place"}
    weighted = {name: criterion.weights[name] * value.item() for name, value in values.items()}
    assert all(value == pytest.approx(0, abs=1e-6) for value in weighted.values()), weighted


def test_places_need_an_anchor():
    criterion = losses.Criterion(place_weight=1.0)
    arguments = [], torch.zeros(1, 0, 2, 3), torch.ones(1, 8, 8, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"a place_weight of 1.0 needs anchored tags"):
        criterion(*arguments)
    assert criterion(*arguments, tag_anchor=0.5)["place"] == 0


def test_weights_are_not_in_the_losses():
    keypoints = torch.tensor([[[[9.0, 13, 2], [20, 5, 1]], [[30, 30, 2], [0, 0, 0]]]])
    output = HeadOutput(torch.rand(1, 2, 8, 8), torch.rand(1, 2, 1, 8, 8))
    mask = torch.ones(1, 32, 32, dtype=torch.bool)
    one = losses.Criterion()([output], keypoints, mask)
    other = losses.Criterion(heatmap_weight=5.0, pull_weight=2.0)([output], keypoints, mask)
    torch.testing.assert_close(one, other)
    assert losses.Criterion().weights == {"heatmap": 1.0, "pull": 1e-3, "push": 1e-3}


def test_nothing_waits_for_the_device():
    """Meta tensors have no values: whatever reads one on the host fails."""
    outputs = [
        HeadOutput(
            torch.empty(2, 17, 16, 16, device="meta"), torch.empty(2, 17, 2, 16, 16, device="meta")
        ),
        HeadOutput(torch.empty(2, 17, 32, 32, device="meta"), None),
    ]
    keypoints = torch.empty(2, 100, 17, 3, device="meta")
    mask = torch.empty(2, 64, 64, dtype=torch.bool, device="meta")
    for criterion in (
        losses.Criterion(),
        losses.Criterion(scale_aware=True),
        losses.Criterion(heatmaps="focal", place_weight=1.0),
    ):
        for offset in (0.0, 0.5):
            found = criterion(outputs, keypoints, mask, offset=offset, tag_anchor=0.1)
            assert found["pull"].shape == ()


def test_a_batch_of_nobody_does_not_outweigh_one_with_people():
    """The background's gradient is at most 5 times that of four images with ten people."""
    mask = torch.ones(4, 64, 64, dtype=torch.bool)
    people = torch.rand(4, 3, 17, 3, generator=torch.Generator().manual_seed(0)) * 30
    people[2:, 2] = 0
    sizes = []
    for keypoints in (people, torch.zeros_like(people)):
        heatmaps = torch.full((4, 17, 32, 32), 0.05, requires_grad=True)
        found = losses.Criterion(heatmaps="focal")(
            [HeadOutput(heatmaps, None)], keypoints, mask, offset=0.0
        )
        found["heatmap"].backward()
        assert heatmaps.grad is not None
        sizes.append(heatmaps.grad[..., 30:, 30:].norm())
    assert 1 < sizes[1] / sizes[0] <= 5.001
