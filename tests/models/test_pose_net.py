import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import weight_rule
from golden.network import load, official_state, stages
from torch import nn

from bottomup import COCO, CROWDPOSE
from bottomup.models.heads import MultiResolutionHead
from bottomup.models.network import Preprocessing
from bottomup.models.pose_net import BUILDERS, PoseNet, compact, higherhrnet
from tests.support.golden_files import assert_equal

DATA = Path(__file__).parents[1] / "golden" / "network"
GOLDEN = json.loads((DATA / "golden.json").read_text())
GOLDEN_BUILDERS = {
    "w32_coco": partial(higherhrnet, 32),
    "w32_crowdpose": partial(higherhrnet, 32, skeleton=CROWDPOSE),
    "w48_coco": partial(higherhrnet, 48),
}


def golden_net(model: str) -> PoseNet:
    """The golden network, its weights rebuilt from their names."""
    with torch.device("meta"):
        net = GOLDEN_BUILDERS[model]()
    weights = {
        name: weight_rule.weight(name, tuple(tensor.shape), GOLDEN["rule"])
        for name, tensor in official_state(net).items()
    }
    assert weight_rule.digest(weights) == GOLDEN["models"][model]["weights_sha256"]
    load(net, weights)
    return net


@pytest.mark.parametrize("model", GOLDEN_BUILDERS)
def test_names_shapes_and_order_are_official(model):
    with torch.device("meta"):
        state = official_state(GOLDEN_BUILDERS[model]())
    lines = [
        f"{name} {list(t.shape)} {str(t.dtype).removeprefix('torch.')}" for name, t in state.items()
    ]
    assert len(lines) == GOLDEN["models"][model]["num_tensors"]
    assert (
        hashlib.sha256("\n".join(lines).encode()).hexdigest()
        == GOLDEN["models"][model]["names_sha256"]
    )


@pytest.mark.parametrize("model", GOLDEN_BUILDERS)
def test_outputs_equal_the_reference(model):
    with np.load(DATA / f"{model}.npz") as golden:
        stage0, stage1 = stages(golden_net(model), golden["input"])
        np.testing.assert_allclose(stage0[:, :, ::5, ::7], golden["stage0"], rtol=1e-4, atol=2e-4)
        np.testing.assert_allclose(stage1[:, :, ::9, ::11], golden["stage1"], rtol=1e-4, atol=2e-4)


def test_all_golden_networks_equal_the_reference(shared):
    assert_equal(shared / "conformance", "network")


@pytest.mark.parametrize(
    ("width", "num_deconvs", "millions"), [(32, 1, 28.645), (48, 1, 63.827), (32, 0, 28.537)]
)
def test_number_of_parameters(width, num_deconvs, millions):
    with torch.device("meta"):
        net = higherhrnet(width, num_deconvs=num_deconvs)
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 3) == millions


def test_integers_and_floats_give_the_same():
    torch.manual_seed(0)
    net = higherhrnet(4).eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        for a, b in zip(net(images), net(images.float()), strict=True):
            torch.testing.assert_close(a.heatmaps, b.heatmaps)


def test_a_batch_equals_one_by_one():
    torch.manual_seed(0)
    net = higherhrnet(4)
    images = torch.randint(0, 256, (3, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        for _ in range(10):
            net.train()(images)  # norms with sensible statistics
        together = net.eval()(images)
        for i in range(3):
            for a, b in zip(together, net(images[i : i + 1]), strict=True):
                torch.testing.assert_close(a.heatmaps[i], b.heatmaps[0], rtol=1e-4, atol=1e-6)


def test_images_are_normalised_by_the_buffers():
    preprocessing = Preprocessing(mean=(10.0, 20.0, 30.0), std=(1.0, 2.0, 5.0))
    net = PoseNet(nn.Identity(), nn.Identity(), skeleton=COCO, preprocessing=preprocessing)
    image = torch.tensor([11, 22, 35], dtype=torch.uint8).reshape(1, 3, 1, 1)
    assert net.features(image).flatten().tolist() == [1, 1, 1]
    assert list(net.state_dict()) == ["mean", "std"]
    assert not any(p.requires_grad for p in net.buffers())


def test_any_trunk_with_stride_4_will_do():
    trunk = nn.Conv2d(3, 6, 4, stride=4)
    net = PoseNet(
        trunk,
        MultiResolutionHead(6, 17, num_deconvs=2),
        skeleton=COCO,
        preprocessing=Preprocessing(side="long", multiple=4),
    )
    sizes = [output.heatmaps.shape for output in net(torch.zeros(1, 3, 16, 24, dtype=torch.uint8))]
    assert sizes == [(1, 17, 4, 6), (1, 17, 8, 12), (1, 17, 16, 24)]


@pytest.mark.parametrize(
    "build",
    [
        partial(higherhrnet, 8, tag_dims=2, num_deconvs=2, deconv_channels=6, num_blocks=1),
        partial(compact, 4, out_channels=6, tag_dims=1, tag_anchor=0.0),
    ],
)
def test_a_recipe_builds_the_same_network(build):
    with torch.device("meta"):
        net = build(skeleton=CROWDPOSE)
        again = BUILDERS[net.recipe.builder](**net.recipe.arguments, skeleton=net.skeleton)
    shapes = [{name: t.shape for name, t in n.state_dict().items()} for n in (net, again)]
    assert shapes[0] == shapes[1]


def test_the_compact_network_answers_at_half_the_resolution():
    (output,) = compact(4)(torch.zeros(1, 3, 64, 96, dtype=torch.uint8))
    assert output.heatmaps.shape == (1, 17, 32, 48)
    assert output.tags.shape == (1, 17, 2, 32, 48)
