"""Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon) for convolutions, AdamW for the rest.

Muon follows the momentum, but equally far in all of its directions: the matrix of an update is
replaced by the nearest one with orthogonal rows or columns. Short trainings from random weights
then need fewer steps. torch.optim.Muon takes matrices only, and computes in bfloat16, which many
CPUs have to emulate.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of x, x^3 and x^5 in a step that takes singular values near 1, of the publication."""


class ConvMuon(Optimizer):
    """Muon for the kernels of convolutions, AdamW for everything else.

    A kernel O I h w is to Muon a matrix O x (I h w). Kernels of a single pixel, of separate
    channels and those that read images stay with AdamW, like norms and biases. There are two
    parameter groups, the kernels' first, so that a schedule can be given two rates.

    Args:
        params: the weights.
        lr: of Muon: the spectral norm of a step, about.
        momentum: of Muon.
        adam_lr: of AdamW.
        betas: of AdamW.
        weight_decay: of AdamW.

    Raises:
        ValueError: a setting is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
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
        weights = list(params)
        kernels = {
            "params": [weight for weight in weights if _mixes_features(weight)],
            "lr": lr,
            "momentum": momentum,
        }
        others = {
            "params": [weight for weight in weights if not _mixes_features(weight)],
            "lr": adam_lr,
        }
        super().__init__([kernels, others | {"betas": betas, "weight_decay": weight_decay}], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Change the weights that have gradients.

        Args:
            closure: computes the loss and the gradients.

        Returns:
            what the closure returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        kernels, others = self.param_groups
        self._muon(kernels)
        self._adam(others)
        return loss

    def _muon(self, group: dict[str, Any]) -> None:
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:
                state["momentum"] = torch.zeros_like(weight)
            momentum = state["momentum"].mul_(group["momentum"]).add_(weight.grad)
            ahead = weight.grad.add(momentum, alpha=group["momentum"])  # Nesterov's
            update = orthogonal(ahead.flatten(1))
            rows, columns = update.shape
            weight.add_(
                update.view_as(weight), alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5
            )

    def _adam(self, group: dict[str, Any]) -> None:
        weights = [weight for weight in group["params"] if weight.grad is not None]
        for weight in weights:
            if not self.state[weight]:
                mean, square = torch.zeros_like(weight), torch.zeros_like(weight)
                self.state[weight] = {
                    "exp_avg": mean,
                    "exp_avg_sq": square,
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


def orthogonal(matrix: Float[Tensor, "m n"], steps: int = 5) -> Float[Tensor, "m n"]:
    """The matrix with its singular values replaced by numbers between 0.7 and 1.2, by Newton-Schulz iteration.

    Args:
        matrix: any; in float32 it is computed.
        steps: of the iteration.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    wide = (matrix.T if tall else matrix).float()
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(steps):
        square = wide @ wide.T
        wide = a * wide + (b * square + c * square @ square) @ wide
    return (wide.T if tall else wide).to(matrix.dtype)


def _mixes_features(weight: Tensor) -> bool:
    return weight.ndim == 4 and weight.shape[1] > 3 and weight.shape[2] * weight.shape[3] > 1
