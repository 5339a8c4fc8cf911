import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bottomup.models import mobilenet
from bottomup.models.center_voting import CenterVotingHead
from bottomup.models.mobilenet import MobileNetScales
from bottomup.models.pose_net import PoseNet, mobile

GOLDEN = Path(__file__).parents[1] / "golden" / "mobilenet.npz"


def fill(net: PoseNet) -> None:
    """Weights that follow from each parameter's name and shape alone."""
    for name, parameter in net.named_parameters():
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        uniform = np.random.Generator(np.random.PCG64(seed)).random(parameter.numel()) - 0.5
        fan_in = parameter[0].numel() if parameter.ndim == 4 else 100
        values = uniform * np.sqrt(12 * 2 / fan_in)
        parameter.data = torch.from_numpy(values.astype(np.float32)).reshape(parameter.shape)


def image() -> torch.Tensor:
    """1 3 64 128, with structure at all scales, in whole numbers of 0..255."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(128), indexing="ij")
    channels = [(x * 3 + y * y) % 256, (x * y) % 256, ((x // 8 + y // 8) % 2) * 200 + y % 50]
    return torch.stack(channels)[None].float()


@pytest.fixture(scope="module")
def net() -> PoseNet:
    net = mobile()
    fill(net)
    return net.eval()


@torch.no_grad()
def test_equals_the_original_graph(net):
    # expected: the graph of MoveNet MultiPose with the weights of `fill`, every third cell
    expected = np.load(GOLDEN, allow_pickle=False)
    features = net.trunk((image() - net.mean) / net.std)[0]
    actual = {"features": features}
    for name in ("center", "heatmaps", "displacements", "box_size"):
        actual[name] = getattr(net.head, name)(features)
    assert sorted(actual) == sorted(expected.files)
    for name, value in actual.items():
        largest = np.abs(expected[name]).max()  # about 100: float32 leaves 1e-6 of it in doubt
        np.testing.assert_allclose(
            value[0, :, ::3, ::3], expected[name], rtol=0, atol=1e-5 * largest, err_msg=name
        )


@torch.no_grad()
def test_the_second_scale_is_the_image_at_half_its_size(net):
    images = torch.rand(2, 3, 64, 128) * 2 - 1
    whole, half = net.trunk(images)
    assert whole.shape == (2, 24, 16, 32)
    assert half.shape == (2, 24, 8, 16)
    alone = MobileNetScales(1)
    alone.load_state_dict(net.trunk.state_dict())
    torch.testing.assert_close(half, alone(F.avg_pool2d(images, 2))[0])


@torch.no_grad()
def test_one_output_at_stride_4(net):
    (output,) = net.read(net(torch.randint(0, 256, (2, 3, 64, 128), dtype=torch.uint8)))
    assert output.heatmaps.shape == (2, 17, 16, 32)
    assert output.tags.shape == (2, 17, 2, 16, 32)
    assert output.heatmaps.isfinite().all()
    assert output.tags.isfinite().all()
    assert isinstance(net.head, CenterVotingHead)


@pytest.mark.parametrize("num_scales", [0, 5])
def test_a_number_of_scales_out_of_range_is_refused(num_scales):
    with pytest.raises(ValueError, match="num_scales"):
        MobileNetScales(num_scales)


@torch.no_grad()
@pytest.mark.parametrize("rows", [2, 6, 16])
def test_bands_of_rows_change_nothing(monkeypatch, rows):
    torch.manual_seed(0)
    trunk = MobileNetScales(2).eval()
    images = torch.randn(2, 3, 192, 128)
    whole = trunk(images)
    monkeypatch.setattr(mobilenet, "BAND_CELLS", 1)
    monkeypatch.setattr(mobilenet, "MIN_BAND_ROWS", rows)
    for banded, expected in zip(trunk(images), whole, strict=True):
        torch.testing.assert_close(banded, expected, rtol=1e-5, atol=1e-6)
    assert not torch.equal(whole[0][:, :, 1:], whole[0][:, :, :-1])
