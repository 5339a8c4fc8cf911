import json

import pytest
import torch

from bottomup import COCO, CROWDPOSE, networks
from bottomup.weights.store import save_model, start_from


def small(**keywords):
    return networks.compact(width=4, **keywords)


def test_a_network_starts_from_weights_and_says_what_did_not_fit(tmp_path, caplog):
    source = small()
    save_model(source, tmp_path / "w.safetensors")
    same = small(weights=str(tmp_path / "w.safetensors"))
    for name, tensor in source.state_dict().items():
        torch.testing.assert_close(same.state_dict()[name], tensor, msg=name)
    assert same.training
    caplog.clear()
    other = small(weights=str(tmp_path / "w.safetensors"), skeleton="crowdpose")
    assert other.skeleton is CROWDPOSE
    stem = "trunk.stem.0.weight"
    torch.testing.assert_close(other.state_dict()[stem], source.state_dict()[stem])
    assert "2 not in it: head.final.weight, head.final.bias" in caplog.text
    assert "2 left over" in caplog.text
    with pytest.raises(ValueError, match="none of its"):
        start_from(networks.higherhrnet(width=4, num_deconvs=0), tmp_path / "w.safetensors")


def test_joints_come_by_name_or_from_an_annotation_file(tmp_path):
    assert networks.named_skeleton("coco") is COCO
    path = tmp_path / "a.json"
    category = {"id": 1, "name": "cat", "keypoints": ["nose", "tail"]}
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": [category]}))
    assert networks.named_skeleton(str(path)).keypoints == ("nose", "tail")
    assert small(skeleton=str(path)).state_dict()["head.final.bias"].shape == (2 * (4 + 2),)
    with pytest.raises(ValueError, match="skeleton must be 'coco'"):
        networks.named_skeleton("dog")


def test_every_network_can_be_named():
    assert networks.higherhrnet(width=4).preprocessing.offset == 0.5
    assert networks.mobile().preprocessing.offset == 0.25
    assert networks.compact(width=4).preprocessing.offset == 0.0
    assert networks.mobile(keypoint_offset=0.0).preprocessing.offset == 0.0
    assert set(networks.BUILDERS) == {
        name for name in networks.BUILDERS if callable(getattr(networks, name))
    }
