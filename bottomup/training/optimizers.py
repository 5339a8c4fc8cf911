"""Muon for convolutions, AdamW for all other weights.

Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon) follows the momentum equally
far in all of its directions: it replaces the matrix of an update by the nearest one with orthogonal
rows or columns. Short trainings from random weights then need fewer steps. It is written here
because torch.optim.Muon accepts matrices only, and computes in bfloat16, which many CPUs emulate.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

# published coefficients of x, x^3 and x^5 in a step that brings singular values near 1
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NUM_STEPS = 5


class ConvMuon(Optimizer):
    """Muon for the kernels of convolutions, AdamW for everything else.

    Muon treats a kernel O I h w as a matrix O x (I h w). AdamW updates 1x1 kernels, kernels of
    depthwise convolutions, kernels that read images, norms and biases. There are two parameter
    groups, Muon's first, so that a schedule can set two rates.

    Args:
        params: the weights.
        lr: rate of Muon, about the spectral norm of a step.
        momentum: of Muon.
        adam_lr: rate of AdamW.
        betas: of AdamW.
        weight_decay: of AdamW.

    Raises:
        ValueError: a setting is out of range, or there are groups of weights.
    """

    def __init__(
        self,
        params: Iterable[Tensor | dict[str, Any]],
        lr: float = 0.02,
        momentum: float = 0.95,
        adam_lr: float = 0.002,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 1e-4,
    ):
        if min(lr, adam_lr, weight_decay) < 0:
            raise ValueError(
                f"lr {lr}, adam_lr {adam_lr} and weight_decay {weight_decay} must not be negative"
            )
        if not all(0 <= part < 1 for part in (momentum, *betas)):
            raise ValueError(
                f"momentum {momentum} and betas {betas} must be at least 0 and less than 1"
            )
        kernels, others = [], []
        for weight in params:
            if isinstance(weight, dict):
                raise ValueError(
                    "ConvMuon makes its own groups of weights: leave out model.rates, or take "
                    "another optimizer"
                )
            (kernels if _mixes_features(weight) else others).append(weight)
        muon = {"params": kernels, "lr": lr, "momentum": momentum}
        adam = {"params": others, "lr": adam_lr, "betas": betas, "weight_decay": weight_decay}
        super().__init__([muon, adam], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Update the weights that have gradients.

        Args:
            closure: computes the loss and the gradients.

        Returns:
            the loss, if there is a closure.
        """
        with torch.enable_grad():
            loss = None if closure is None else closure()
        kernels, others = self.param_groups
        self._muon(kernels)
        self._adam(others)
        return loss

    def _muon(self, group: dict[str, Any]) -> None:
        for weight in group["params"]:
            if weight.grad is None:
                continue
            self.state[weight] = self.state[weight] or {"momentum": torch.zeros_like(weight)}

            # Nesterov's momentum
            momentum = self.state[weight]["momentum"].mul_(group["momentum"]).add_(weight.grad)
            ahead = weight.grad.add(momentum, alpha=group["momentum"])

            # a step of about the same size for kernels of every shape
            update = orthogonal(ahead.flatten(1))
            rows, columns = update.shape
            weight.add_(
                update.view_as(weight), alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5
            )

    def _adam(self, group: dict[str, Any]) -> None:
        weights = [weight for weight in group["params"] if weight.grad is not None]
        for weight in weights:
            self.state[weight] = self.state[weight] or {
                "exp_avg": torch.zeros_like(weight),
                "exp_avg_sq": torch.zeros_like(weight),
                "step": torch.zeros(()),
            }
        states = [self.state[weight] for weight in weights]
        means, squares, steps = (
            [state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step")
        )
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        beta1, beta2 = group["betas"]
        adamw(
            weights, gradients, means, squares, [], steps, amsgrad=False, beta1=beta1, beta2=beta2,
            lr=group["lr"], weight_decay=group["weight_decay"], eps=1e-8, maximize=False,
        )  # fmt: skip


def orthogonal(matrix: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """Replace the singular values of a matrix by numbers between 0.7 and 1.2.

    A Newton-Schulz iteration in float32 does it.

    Args:
        matrix: of any precision, which the result has too.
    """
    a, b, c = NEWTON_SCHULZ

    # the smaller side first, so that the products are small
    tall = matrix.shape[0] > matrix.shape[1]
    wide = (matrix.T if tall else matrix).float()
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(NUM_STEPS):
        square = wide @ wide.T
        wide = a * wide + (b * square + c * square @ square) @ wide
    return (wide.T if tall else wide).to(matrix.dtype)


def _mixes_features(weight: Tensor) -> bool:
    """Whether it is a kernel of more than one pixel that reads more than three channels."""
    return weight.ndim == 4 and weight.shape[1] > 3 and weight.shape[2] * weight.shape[3] > 1
