import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bottomup import COCO
from bottomup.method.aggregation import Maps, aggregate, combine
from bottomup.models.heads import HeadOutput


def outputs_of(case, kind, scale):
    stages = [torch.from_numpy(case[f"{kind}_s{scale}_stage{i}"]) for i in (0, 1)]
    num_joints = stages[1].shape[1]
    tags = stages[0][:, num_joints:].unflatten(1, (num_joints, 1))
    return [HeadOutput(stages[0][:, :num_joints], tags), HeadOutput(stages[1], None)]


@pytest.mark.parametrize(("flip", "project"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_equals_the_reference(golden, flip, project):
    for info in json.loads((golden / "aggregation/index.json").read_text()):
        case = np.load(golden / "aggregation" / info["file"], allow_pickle=False)
        per_scale = []
        for scale in info["scales"]:
            plain = outputs_of(case, "plain", scale)
            flipped = outputs_of(case, "flipped", scale) if flip else None
            per_scale.append((scale, combine(plain, flipped, flip_indices=info["flip_index"])))
        maps = aggregate(per_scale, tuple(info["base_size_wh"][::-1]) if project else None)
        for name, ours in maps._asdict().items():
            torch.testing.assert_close(
                ours,
                torch.from_numpy(case[f"{name}_flip{flip}_project{project}"]),
                rtol=0,
                atol=1e-5,
            )


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
