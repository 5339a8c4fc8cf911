import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from bottomup import COCO, CROWDPOSE
from bottomup.models.network import Preprocessing
from bottomup.models.pose_net import BUILDERS, PoseNet, higherhrnet
from bottomup.weights.description import assemble, describe, network_name
from bottomup.weights.reading import WeightsError

PATH = Path("net.safetensors")


@pytest.fixture(scope="module")
def net():
    with torch.device("meta"):
        net = higherhrnet(4, skeleton=CROWDPOSE, tag_dims=2, num_deconvs=2, num_blocks=1)
    net.preprocessing = dataclasses.replace(
        net.preprocessing, size=320, side="long", multiple=32, offset=0.25
    )
    return net


def test_a_description_survives_json_and_rebuilds_the_network(net):
    again = assemble(json.loads(json.dumps(describe(net))), PATH, BUILDERS)
    shapes = [{name: tensor.shape for name, tensor in n.state_dict().items()} for n in (net, again)]
    assert shapes[0] == shapes[1]
    assert describe(again) == describe(net)
    assert again.mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert network_name(describe(net)).startswith("higherhrnet(width=4, tag_dims=2")


def test_a_given_skeleton_takes_the_place_of_the_described_one(net):
    assert assemble(describe(net), PATH, BUILDERS, skeleton=COCO).skeleton == COCO


def test_networks_put_together_by_hand_have_no_description():
    with pytest.raises(ValueError, match="recipe"):
        describe(
            PoseNet(nn.Identity(), nn.Identity(), skeleton=COCO, preprocessing=Preprocessing())
        )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": 7}, "update bottomup"),
        ({"format": None}, "update bottomup"),
        ({"builder": "os.system"}, "holds the network 'os.system', and higherhrnet"),
        ({"builder": ["x"]}, "is damaged"),
        ({"arguments": {"width": 10**12}}, "is damaged"),
        ({"arguments": {"width": "8"}}, "is damaged"),
        ({"arguments": {"wid": 8}}, "is damaged"),
        ({"arguments": {"num_blocks": 10**9}}, "is damaged"),
        ({"arguments": None}, "is damaged"),
        ({"skeleton": {"keypoints": []}}, "is damaged"),
        ({"skeleton": None}, "is damaged"),
        ({"preprocessing": {"input_side": "outer"}}, "is damaged"),
        ({"skeleton": {**COCO.to_dict(), "edges": [[float("inf"), 0]]}}, "is damaged"),
        ({"preprocessing": {"input_size": 10**9}}, "is damaged"),
        ({"preprocessing": {"input_size": float("inf")}}, "is damaged"),
        ({"preprocessing": {"input_size": "512"}}, "is damaged"),
        ({"preprocessing": {"size_multiple": 4096.5}}, "is damaged"),
        ({"preprocessing": {"keypoint_offset": 10**400}}, "is damaged"),
        ({"preprocessing": {"size_multiple": 0}}, "is damaged"),
        ({"preprocessing": {"keypoint_offset": float("nan")}}, "is damaged"),
        ({"preprocessing": {"colour": 1}}, "is damaged"),
        ({"preprocessing": None}, "is damaged"),
    ],
)
def test_hostile_descriptions(net, changes, told):
    with pytest.raises(WeightsError, match=told):
        assemble({**describe(net), **changes}, PATH, BUILDERS)


@pytest.mark.parametrize("field", ["format", "builder", "arguments", "skeleton", "preprocessing"])
def test_descriptions_that_lack_something(net, field):
    description = describe(net)
    del description[field]
    with pytest.raises(WeightsError, match="is damaged"):
        assemble(description, PATH, BUILDERS)
