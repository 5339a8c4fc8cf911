from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bottomup.data.scenes.crowd import Crowd, draw_scene
from bottomup.engines.choice import TorchEngine
from bottomup.geometry import Transform
from bottomup.images.decoding import decode
from bottomup.inference import pyramid, sizing
from bottomup.inference.predictor import Predictor
from bottomup.method.aggregation import combine
from bottomup.method.peaks import find_candidates
from bottomup.models.center_voting import CenterVotingHead
from bottomup.models.network import Preprocessing
from bottomup.models.pose_net import PoseNet
from bottomup.poses import Poses
from bottomup.skeleton import COCO
from bottomup.weights.store import load_model

SAMPLES = Path(pyramid.__file__).parents[1] / "samples"


class Trunk(torch.nn.Module):
    """Features of 4 x 4 pixels: nothing beyond a tile's margin plays a part in its maps."""

    num_scales = 2

    def at_scale(self, images, scale):
        return torch.nn.functional.avg_pool2d(images, 4 * 2**scale)

    def forward(self, images):
        return [self.at_scale(images, scale) for scale in range(self.num_scales)]


@pytest.fixture(scope="module")
def local_net() -> PoseNet:
    """Random weights: people everywhere, of any size."""
    torch.manual_seed(0)
    head = CenterVotingHead(3, 17, hidden_channels=8)
    torch.nn.init.normal_(head.center.out.weight)
    torch.nn.init.normal_(head.heatmaps.out.weight)
    torch.nn.init.zeros_(head.heatmaps.out.bias)
    head.displacements.out.reset_parameters()
    torch.nn.init.constant_(head.center.out.bias, -2)
    torch.nn.init.uniform_(head.box_size.out.bias, 3, 9)
    own = Preprocessing(256, "long", 64, (128.0,) * 3, (40.0,) * 3)
    return PoseNet(Trunk(), head, skeleton=COCO, preprocessing=own).eval()


@pytest.mark.parametrize("flip", [False, True])
def test_tiles_give_the_candidates_and_the_heatmaps_of_the_whole(local_net, monkeypatch, flip):
    monkeypatch.setattr(pyramid, "TILE", 24)
    monkeypatch.setattr(pyramid, "MARGIN", 8)
    monkeypatch.setattr(pyramid, "BLOCK", 32)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    base = Transform.fit((320, 240), 320, multiple=64)
    levels = pyramid.look(
        TorchEngine(local_net), image, sizing.steps(base, 0, 2, 64, 1e6), flip=flip
    )
    candidates, heatmaps = pyramid.find_joints(levels, 0.1, 0.05)

    images = torch.from_numpy(base.warp(image))[None].permute(0, 3, 1, 2)
    with torch.inference_mode():
        outputs = local_net.read(local_net(images))
        mirrored = local_net.read(local_net(images.flip(3))) if flip else None
    maps = combine(outputs, mirrored, flip_indices=COCO.flip_indices)
    (expected,) = find_candidates(
        maps.heatmaps, maps.tags, detection_threshold=0.1, refine_threshold=0.05
    )
    assert expected.is_peak.sum() > 1000
    # rounding decides between neighbours that are equal but for the last digit
    cells, here, there = np.intersect1d(candidates.flat, expected.flat, return_indices=True)
    assert len(cells) > 0.998 * max(len(candidates.flat), len(expected.flat))
    assert (np.diff(candidates.flat) > 0).all()
    assert (candidates.is_peak[here] == expected.is_peak[there]).mean() > 0.999
    np.testing.assert_allclose(candidates.value[here], expected.value[there], atol=1e-4)
    tags, whole_tags = candidates.tags[here], expected.tags[there]
    if flip:  # those of the mirrored image are mirrored back here
        unit = local_net.head.voting.tag_unit
        whole_tags[:, 2] = (maps.heatmaps.shape[3] - 1) / unit - whole_tags[:, 2]
    np.testing.assert_allclose(tags, whole_tags, atol=0.01)
    found = heatmaps.flatten()[torch.from_numpy(candidates.flat)]
    np.testing.assert_allclose(found, candidates.value, rtol=1e-5)


@pytest.fixture(scope="module")
def default_net() -> PoseNet:
    return load_model("default")


def similarity(one: Poses, other: Poses) -> np.ndarray:
    """(N,) the OKS of each person to the most similar one of the others."""
    areas = np.maximum(0.53 * (one.boxes[:, 2:] - one.boxes[:, :2]).prod(1), 1)
    return one.similarity(other, areas).max(axis=1, initial=0)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 63), st.integers(0, 63))
def test_people_of_a_drawn_crowd_are_the_same_in_tiles(default_net, seed, left, top):
    """Seams run through people, and some people are larger than a tile."""
    crowd = Crowd(512, 384, people=(6, 10), sizes=(50, 350))
    drawn = draw_scene(crowd, np.random.default_rng(seed)).image
    image = np.pad(drawn, [(top, 0), (left, 0), (0, 0)])
    with pytest.MonkeyPatch.context() as patch:
        predictor = Predictor(default_net, size=max(image.shape), device="cpu")
        whole = predictor(image)
        patch.setattr(pyramid, "MAX_WHOLE_PIXELS", 0)
        patch.setattr(pyramid, "TILE", 64)
        patch.setattr(pyramid, "BLOCK", 40)
        tiled = predictor(image)
    sure, sure_tiled = whole.filter(0.21), tiled.filter(0.21)
    assert (similarity(sure, tiled) >= 0.99).all()
    assert (similarity(sure_tiled, whole) >= 0.99).all()


def test_a_large_image_is_looked_at_closely_where_it_shows_small_people(default_net, monkeypatch):
    monkeypatch.setattr(pyramid, "TILE", 96)
    seen = []
    look = pyramid.look
    monkeypatch.setattr(pyramid, "look", lambda *a, **k: seen.append(look(*a, **k)) or seen[-1])
    photo = decode((SAMPLES / "plaza.jpg").read_bytes())
    canvas = np.zeros((1280, 1280, 3), np.uint8)
    predictor = Predictor(default_net, device="cpu")
    assert len(predictor(canvas)) == 0
    assert [level.is_seen.all() for level in seen.pop()] == [True, True]  # the base and its half
    small = photo[:320, :320]
    canvas[:320, :320] = small
    poses = predictor(canvas)
    (levels,) = seen
    assert len(levels) == 3
    far = [box for box in levels[0].tiles if min(box[:2]) >= 160]
    assert levels[0].is_seen[0]
    assert len(far) >= 1
    assert not any(levels[0].is_seen[levels[0].tiles.index(box)] for box in far)
    assert len(poses) > 0
    assert poses.boxes.max() < 400
