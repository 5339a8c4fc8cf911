from pathlib import Path

import pytest
import torch

from bottomup import COCO, CROWDPOSE, Skeleton
from bottomup.models.pose_net import BUILDERS, higherhrnet
from bottomup.weights.description import assemble
from bottomup.weights.reading import Checkpoint, WeightsError
from bottomup.weights.recognition import recognise

CAT = Skeleton(("left_ear", "right_ear", "tail"), (), (0.1,) * 3, (0, 1, 2))


def checkpoint(name="net.pth", config="", **arguments):
    """A checkpoint whose tensors have names and shapes only."""
    with torch.device("meta"):
        net = higherhrnet(**{"width": 4, "num_blocks": 1, **arguments})
    tensors = {
        key: tensor for key, tensor in net.state_dict().items() if key not in ("mean", "std")
    }
    return Checkpoint(Path(name), tensors, None, config)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"width": 6, "num_blocks": 0},
        {"num_deconvs": 0},
        {"num_deconvs": 2, "deconv_channels": 6, "num_blocks": 2},
        {"tag_dims": 3, "skeleton": CROWDPOSE},
    ],
)
def test_arguments_follow_from_the_shapes(arguments):
    given = checkpoint(**arguments)
    net = assemble(recognise(given), given.path, BUILDERS)
    assert {k: t.shape for k, t in given.tensors.items()} == {
        k: t.shape for k, t in net.state_dict().items() if k not in ("mean", "std")
    }
    assert net.skeleton is not None
    assert net.skeleton == arguments.get("skeleton", COCO)
    wanted = net.preprocessing
    assert (wanted.side, wanted.multiple, wanted.offset) == ("short", 64, 0.5)


@pytest.mark.parametrize(
    ("name", "width", "size"),
    [
        ("net.pth", 4, 512),
        ("net.pth", 48, 640),
        ("pose_higher_hrnet_w32_640.pth", 4, 640),
        ("higher_hrnet48_coco_512x512-60fedcbc_20200712.pth", 48, 512),
        ("epoch_5120.pth", 4, 512),
    ],
)
def test_the_input_size_is_read_from_the_name(name, width, size):
    assert recognise(checkpoint(name, width=width))["preprocessing"] == {"input_size": size}


@pytest.mark.parametrize("arguments", [{"tag_dims": 2}, {"num_deconvs": 0}])
def test_own_joints_need_a_skeleton(arguments):
    given = checkpoint(skeleton=CAT, **arguments)
    with pytest.raises(WeightsError, match="skeleton"):
        recognise(given)
    assert Skeleton.from_dict(recognise(given, CAT)["skeleton"]) == CAT


@pytest.mark.parametrize("arguments", [{}, {"num_deconvs": 0}])
def test_a_skeleton_with_other_joints_is_refused(arguments):
    with pytest.raises(WeightsError, match="14 joints of the skeleton"):
        recognise(checkpoint(**arguments), CROWDPOSE)


def test_one_tag_for_the_whole_person_is_refused():
    given = checkpoint()
    tensors = {**given.tensors, "head.final_layers.0.weight": torch.zeros(18, 4, 1, 1)}
    with pytest.raises(WeightsError, match="one tag per joint"):
        recognise(Checkpoint(given.path, tensors, None, ""))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("higher_hrnet32_coco_512x512_udp-8cc64794_20210222.pth", ""),
        ("mine-UDP.pth", ""),
        ("renamed.pth", "data_cfg = dict(\n    image_size=512,\n    use_udp=True,\n"),
        ("renamed.pth", "{'use_udp': True}"),
        ("renamed.pth", "exp_name higherhrnet_w32_coco_512x512_udp.py"),
    ],
)
def test_udp_checkpoints_are_refused(name, config):
    with pytest.raises(WeightsError, match=r"UDP.*align_corners"):
        recognise(checkpoint(name, config))


def test_words_that_only_look_like_udp_are_not():
    given = checkpoint("audp_net.pth", "use_udp=False, update=True")
    assert recognise(given) == recognise(checkpoint("net.pth"))


def test_fourteen_joints_of_another_data_set_are_not_taken_for_crowdpose():
    for given in (
        checkpoint("higher_hrnet32_aic_512x512-9a674c33.pth", skeleton=CROWDPOSE),
        checkpoint("net.pth", "train=dict(type='BottomUpAicDataset')", skeleton=CROWDPOSE),
    ):
        with pytest.raises(WeightsError, match="skeleton"):
            recognise(given)


def test_other_networks_are_told_apart():
    with pytest.raises(WeightsError, match=r"no HRNet.*layer9"):
        recognise(Checkpoint(Path("net.pth"), {"trunk.layer9.weight": torch.zeros(1)}, None, ""))
    given = checkpoint()
    trunk = {name: tensor for name, tensor in given.tensors.items() if name.startswith("trunk.")}
    with pytest.raises(WeightsError, match=r"model\.network\.weights"):
        recognise(Checkpoint(Path("net.pth"), trunk, None, ""))


def test_a_head_of_one_channel_is_refused():
    given = checkpoint(num_deconvs=0)
    tensors = {**given.tensors, "head.final_layers.0.weight": torch.zeros(1, 4, 1, 1)}
    with pytest.raises(WeightsError, match="do not add up"):
        recognise(Checkpoint(given.path, tensors, None, ""))


@pytest.mark.parametrize("shape", [(), (0,), (10**12, 1)])
def test_absurd_shapes_are_refused(shape):
    given = checkpoint()
    for name in ("trunk.stage2.0.branches.0.0.conv1.weight", "head.final_layers.0.weight"):
        tensors = {**given.tensors, name: torch.zeros(shape, device="meta")}
        odd = Checkpoint(given.path, tensors, None, "")
        with pytest.raises(WeightsError):
            assemble(recognise(odd), odd.path, BUILDERS)
