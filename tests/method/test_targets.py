import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bottomup.method import targets
from tests.reference.targets import draw_heatmaps
from tests.support.golden_files import assert_equal


def test_heatmaps_and_indices_equal_the_golden_ones(golden):
    assert_equal(golden, "targets")


def test_a_batch_equals_its_images_one_by_one():
    keypoints = _random_people(batch=3, people=7, seed=0)
    together = targets.render_heatmaps(keypoints, 20, 30)
    single = torch.cat([targets.render_heatmaps(image[None], 20, 30) for image in keypoints])
    torch.testing.assert_close(together, single, rtol=0, atol=0)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    people=st.integers(0, 6),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    sigma=st.floats(0.5, 3),
)
def test_equals_the_slow_reference(seed, people, height, width, sigma):
    keypoints = _random_people(batch=2, people=people, seed=seed, extent=30)
    heatmaps = targets.render_heatmaps(keypoints, height, width, sigma=sigma)
    for image, expected in zip(heatmaps, keypoints, strict=True):
        slow = draw_heatmaps(expected.numpy(), height, width, [sigma] * people)
        np.testing.assert_allclose(image.numpy(), slow, atol=1e-6)


def test_a_sigma_per_person_equals_the_slow_reference():
    keypoints = _random_people(batch=1, people=5, seed=3, extent=30)
    sigma = torch.tensor([[0.7, 1.0, 1.5, 2.0, 2.5]])
    heatmaps = targets.render_heatmaps(keypoints, 30, 30, sigma=sigma, max_sigma=2.5)
    slow = draw_heatmaps(keypoints[0].numpy(), 30, 30, sigma[0].tolist())
    np.testing.assert_allclose(heatmaps[0].numpy(), slow, atol=1e-6)


def test_exact_centres_are_drawn_between_cells():
    keypoints = torch.tensor([[[[5.75, 4.5, 2.0]]]])  # a quarter right of the centre of cell (5, 4)
    heatmap = targets.render_heatmaps(keypoints, 10, 12, exact=True)[0, 0]
    assert heatmap.argmax().item() == 4 * 12 + 5
    assert heatmap[4, 5].item() == pytest.approx(math.exp(-(0.25**2) / 8))
    assert heatmap[4, 6] > heatmap[4, 4]
    assert heatmap[3, 5].item() == heatmap[5, 5].item()


def test_adaptive_sigma_grows_with_the_person():
    small, large = torch.zeros(17, 3), torch.zeros(17, 3)
    small[:2] = torch.tensor([[0.0, 0, 2], [20, 10, 1]])
    large[:2] = torch.tensor([[0.0, 0, 2], [400, 10, 1]])
    sigmas = targets.adaptive_sigma(torch.stack([small, large, torch.zeros(17, 3)])[None])
    assert sigmas.tolist() == [[1.25, 2.0, 1.0]]


def test_undefined_joints_cover_the_person_that_lacks_them():
    keypoints = torch.zeros(1, 2, 2, 3)
    keypoints[0, 0] = torch.tensor([[4.0, 4, 2], [0, 0, 0]])
    keypoints[0, 0, 0] = torch.tensor([4.0, 4, 2])
    undefined = targets.undefined_joints(keypoints, 10, 10)
    assert undefined[0, 0].sum() == 0
    assert undefined[0, 1].nonzero().tolist() == [[4, 4]]


def test_a_sigma_per_person_needs_the_size_of_the_window():
    with pytest.raises(ValueError, match="needs max_sigma"):
        targets.render_heatmaps(torch.zeros(1, 1, 1, 3), 4, 4, sigma=torch.ones(1, 1))


def _random_people(*, batch: int, people: int, seed: int, extent: float = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    keypoints = torch.rand(batch, people, 5, 3, generator=generator) * extent - 4
    keypoints[..., 2] = torch.randint(0, 3, keypoints.shape[:3], generator=generator)
    return keypoints
