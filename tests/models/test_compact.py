import pytest
import torch

from bottomup.models.compact import CompactTrunk
from bottomup.models.heads import MultiResolutionHead
from bottomup.models.pose_net import higherhrnet, mobile
from bottomup.weights.store import load_model, save_model


def test_features_have_a_quarter_of_the_sides():
    trunk = CompactTrunk(width=4, out_channels=8)
    assert trunk(torch.zeros(2, 3, 64, 96)).shape == (2, 8, 16, 24)
    with pytest.raises(ValueError, match="width must be"):
        CompactTrunk(width=0)


@pytest.mark.parametrize(
    "build", [lambda: higherhrnet(4, tag_dims=2, tag_anchor=0.5), lambda: mobile(fine_channels=8)]
)
def test_networks_of_two_resolutions_travel_in_a_file(build, tmp_path):
    net = build().eval()
    save_model(net, tmp_path / "light.safetensors")
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    loaded = load_model(tmp_path / "light.safetensors")
    before, after = net.read(net(image)), loaded.read(loaded(image))
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one.heatmaps, other.heatmaps)
    assert [output.heatmaps.shape[2:] for output in after] == [(16, 16), (32, 32)]


def test_anchored_tags_start_as_places():
    head = MultiResolutionHead(8, 3, tag_dims=2, tag_anchor=0.25, num_deconvs=0)
    torch.nn.init.zeros_(head.final_layers[0].weight)  # type: ignore[arg-type]
    (output,) = head(torch.randn(1, 8, 5, 7))
    assert output.tags is not None
    assert output.tags[0, 2, :, 3, 6].tolist() == [6 * 0.25, 3 * 0.25]
    with pytest.raises(ValueError, match="only tags of two dimensions"):
        MultiResolutionHead(8, 3, tag_dims=1, tag_anchor=0.25)
