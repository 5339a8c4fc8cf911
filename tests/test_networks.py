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
    assert "new joints: head, neck" in caplog.text
    with pytest.raises(ValueError, match="none of its"):
        start_from(networks.higherhrnet(width=4, num_deconvs=0), tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    "build",
    [
        lambda **own: networks.mobile(fine_channels=4, num_scales=1, **own),
        lambda **own: networks.compact(width=4, **own),
        lambda **own: networks.higherhrnet(width=4, num_blocks=1, tag_dims=2, **own),
        lambda **own: networks.topdown_regression(height=128, **own),
        lambda **own: networks.topdown_heatmap(height=128, **own),
    ],
    ids=["mobile", "compact", "higherhrnet", "regression", "heatmap"],
)
@pytest.mark.parametrize("count", [4, 17])
def test_joints_of_the_same_name_take_over_their_part_of_the_head(tmp_path, caplog, build, count):
    torch.manual_seed(0)
    source = build().eval()
    for weight in source.head.parameters():
        torch.nn.init.uniform_(weight, -0.2, 0.2)
    save_model(source, tmp_path / "w.safetensors")
    names = ["tail", "L_Shoulder", "rightHip", "Nose", *(f"x{n}" for n in range(13))][:count]
    category = {"id": 1, "name": "cat", "keypoints": names}
    (tmp_path / "a.json").write_text(
        json.dumps({"images": [], "annotations": [], "categories": [category]})
    )
    fresh = build(skeleton=str(tmp_path / "a.json"))
    own = {"skeleton": str(tmp_path / "a.json"), "weights": str(tmp_path / "w.safetensors")}
    net = build(**own).eval()
    assert "joints with the weights of the file: L_Shoulder, rightHip, Nose; new" in caplog.text
    theirs, ours = source.head.joint_channels(17), net.head.joint_channels(count)
    state, given, initial = net.state_dict(), source.state_dict(), fresh.state_dict()
    for layer, joints in ours.items():
        for name in (f"head.{layer}.weight", f"head.{layer}.bias"):
            if name not in state:
                continue
            assert len(joints) == len(state[name])
            assert len(theirs[layer]) == len(given[name])
            for k, j in ((-1, -1), (1, 5), (2, 12), (3, 0)):
                mine, other = (
                    [c for c, joint in enumerate(channels) if joint == wanted]
                    for channels, wanted in ((joints, k), (theirs[layer], j))
                )
                torch.testing.assert_close(state[name][mine], given[name][other], rtol=0, atol=0)
            new = [c for c, joint in enumerate(joints) if joint == 0]
            assert state[name][new].shape == initial[name][new].shape
            assert not torch.isin(state[name][new], given[name]).any() or not state[name][new].any()


def test_heatmaps_and_displacements_of_the_bundled_joints_stay_what_they_were(tmp_path):
    category = {"id": 1, "name": "p", "keypoints": ["tail", "leftShoulder", "R_Hip", "right_ankle"]}
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": [category]}))
    image = torch.randint(0, 256, (1, 3, 128, 128), dtype=torch.uint8)
    with torch.no_grad():
        whole = networks.mobile(weights="mobile")(image)
        own = networks.mobile(skeleton=str(path), weights="mobile")(image)
    for theirs, ours in zip(whole, own, strict=True):
        assert torch.equal(theirs.center, ours.center)
        torch.testing.assert_close(ours.heatmaps[:, 1:], theirs.heatmaps[:, [5, 12, 16]])
        shifts = ours.displacements.unflatten(1, (4, 2))
        theirs_shifts = theirs.displacements.unflatten(1, (17, 2))
        torch.testing.assert_close(shifts[:, 1:], theirs_shifts[:, [5, 12, 16]])
        assert ours.heatmaps[:, 0].sigmoid().max() < 0.011  # a rare joint, at the centre
        assert not shifts[:, 0].any()


def test_weights_without_a_common_joint_leave_the_last_layers_as_they_were(tmp_path, caplog):
    save_model(small(), tmp_path / "w.safetensors")
    names = [f"x{n}" for n in range(17)]  # as many as COCO has
    category = {"id": 1, "name": "cat", "keypoints": names}
    (tmp_path / "a.json").write_text(
        json.dumps({"images": [], "annotations": [], "categories": [category]})
    )
    small(skeleton=str(tmp_path / "a.json"), weights=str(tmp_path / "w.safetensors"))
    assert "2 not in it: head.final.weight, head.final.bias" in caplog.text


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
