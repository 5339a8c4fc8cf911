import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bottomup import COCO
from bottomup.method.aggregation import Maps, aggregate, combine
from bottomup.models.heads import HeadOutput
from tests.support.golden_files import assert_equal


def test_equals_the_reference(golden):
    assert_equal(golden, "aggregation")


@given(seed=st.integers(0, 1000), tag_dims=st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_a_mirrored_scene_gives_mirrored_maps(seed, tag_dims):
    generator = torch.Generator().manual_seed(seed)
    heatmaps = torch.rand(2, 17, 8, 12, generator=generator)
    tags = torch.rand(2, 17, tag_dims, 8, 12, generator=generator)
    flip = list(COCO.flip_indices)
    mirrored = HeadOutput(heatmaps.flip(3)[:, flip], tags.flip(4)[:, flip])

    maps = combine([HeadOutput(heatmaps, tags)], [mirrored], flip_indices=flip)

    torch.testing.assert_close(maps.heatmaps, heatmaps)
    torch.testing.assert_close(maps.tags, torch.cat([tags, tags], 2).permute(0, 1, 3, 4, 2))


def test_tags_of_every_resolution_are_stacked():
    coarse = HeadOutput(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 1, 4, 4))
    fine = HeadOutput(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 2, 8, 8))
    assert combine([coarse, fine]).tags[0, 0, 0, 0].tolist() == [0, 1, 1]


def test_tags_come_from_the_scale_nearest_to_one():
    def maps(value, size):
        return Maps(
            torch.full((1, 2, size, size), float(value)),
            torch.full((1, 2, size, size, 1), float(value)),
        )

    joined = aggregate([(2.0, maps(2, 8)), (0.9, maps(4, 4))])
    assert joined.heatmaps.shape == (1, 2, 8, 8)
    assert joined.heatmaps.unique().tolist() == [3]
    assert joined.tags.unique().tolist() == [4]


def test_a_network_without_tags_is_refused():
    with pytest.raises(ValueError, match="no tags"):
        combine([HeadOutput(torch.zeros(1, 2, 4, 4), None)])
