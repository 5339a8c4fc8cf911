import pytest
import torch

from bottomup.models.hrnet import HRNet


def test_features_have_a_quarter_of_the_resolution():
    trunk = HRNet(8)
    assert trunk.out_channels == 8
    assert trunk(torch.zeros(2, 3, 64, 96)).shape == (2, 8, 16, 24)


@pytest.mark.parametrize(("width", "millions"), [(32, 28.5), (48, 63.6)])
def test_size(width, millions):
    with torch.device("meta"):
        trunk = HRNet(width)
    assert sum(p.numel() for p in trunk.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize("size", [(64, 65), (1, 1), (16, 32), (50, 64)])
def test_sides_that_do_not_halve_five_times_are_refused(size):
    with pytest.raises(ValueError, match="multiples of 32"):
        HRNet(4)(torch.zeros(1, 3, *size))


@pytest.mark.parametrize("width", [0, -32, 100_000])
def test_absurd_widths_are_refused(width):
    with pytest.raises(ValueError, match="width"):
        HRNet(width)


def test_every_parameter_learns_in_training():
    torch.manual_seed(0)
    trunk = HRNet(4).train()
    trunk(torch.randn(2, 3, 64, 64)).square().mean().backward()
    idle = [
        name for name, p in trunk.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert idle == []


def test_signal_neither_dies_nor_explodes_at_the_start():
    torch.manual_seed(0)
    features = HRNet(16).train()(torch.randn(2, 3, 128, 128))
    assert 0.1 < features.std() < 100
