import copy
import re

import pytest
import torch
from torch import nn

from bottomup.training.optimizers import ConvMuon, orthogonal


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (12, 12), (1, 5)], ids=str)
def test_singular_vectors_stay_and_singular_values_become_about_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inside = left.T @ orthogonal(matrix) @ right.T
    values = inside.diagonal()
    assert ((values > 0.6) & (values < 1.25)).all()
    torch.testing.assert_close(inside, torch.diag(values), atol=1e-4, rtol=0)


def test_the_zero_matrix_stays_zero():
    assert not orthogonal(torch.zeros(3, 5)).any()


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 1)
    )


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 4) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(2, 3, 8, 8, generator=generator)).square().sum().backward()
        optimizer.step()


def test_kernels_move_as_with_muon_of_torch_on_matrices_and_the_rest_as_with_adamw():
    ours, theirs = net(), net()
    optimizer = ConvMuon(ours.parameters(), 0.02, momentum=0.9, adam_lr=0.01, weight_decay=0.1)
    kernel = nn.Parameter(theirs[1].weight.detach().flatten(1))
    muon = torch.optim.Muon([kernel], 0.02, weight_decay=0.0, momentum=0.9)
    rest = [weight for weight in theirs.parameters() if weight is not theirs[1].weight]
    adam = torch.optim.AdamW(rest, 0.01, weight_decay=0.1)
    start = kernel.detach().clone()
    for _ in range(3):
        for weight, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            weight.grad = torch.randn_like(weight)
            other.grad = weight.grad.clone()
        kernel.grad = theirs[1].weight.grad.flatten(1)
        optimizer.step()
        muon.step()
        adam.step()
    moved = (kernel - start).norm()
    assert (ours[1].weight.flatten(1) - kernel).norm() < 0.02 * moved  # torch computes in bfloat16
    for weight, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        if other is not theirs[1].weight:
            torch.testing.assert_close(weight, other)


def test_training_goes_on_from_a_state_dict_as_if_never_stopped():
    first = net()
    stopped = ConvMuon(first.parameters())
    train(first, stopped)
    second = copy.deepcopy(first)
    resumed = ConvMuon(second.parameters())
    resumed.load_state_dict(copy.deepcopy(stopped.state_dict()))
    train(first, stopped)
    train(second, resumed)
    for weight, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(weight, other)


def test_a_schedule_with_two_rates_moves_both_groups():
    model = net()
    optimizer = ConvMuon(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [0.02, 0.002], total_steps=10, cycle_momentum=False
    )
    train(model, optimizer, steps=1)
    schedule.step()
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates[0] == pytest.approx(10 * rates[1])
    assert rates[0] > 0.02 / 25


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 1), nn.Conv2d(3, 8, 3), nn.Linear(4, 4)]
)
def test_what_is_no_kernel_of_mixed_features_is_left_to_adamw(layer):
    kernels, others = ConvMuon(layer.parameters()).param_groups
    assert (len(kernels["params"]), len(others["params"])) == (0, 2)


def test_weights_without_gradients_stay():
    model = net()
    before = copy.deepcopy(model.state_dict())
    ConvMuon(model.parameters()).step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "setting",
    [{"lr": -1}, {"adam_lr": -1}, {"weight_decay": -1}, {"momentum": 1}, {"betas": (0.9, 1)}],
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=re.escape(str(*setting.values()))):
        ConvMuon(net().parameters(), **setting)


def test_groups_of_weights_are_refused():
    groups = [{"params": list(net().parameters()), "lr": 0.1}]
    with pytest.raises(ValueError, match=r"leave out model\.rates"):
        ConvMuon(groups)
