"""Notices a loss that is not finite."""

import torch
from torch import Tensor


class LossWatch:
    """Detects a loss that is not finite, without waiting for the GPU."""

    def __init__(self) -> None:
        self._previous: tuple[Tensor, int] | None = None

    def __call__(self, total: Tensor, number: int, *, is_delayed: bool) -> tuple[float, int] | None:
        """Return the value and the batch number of a loss that is not finite, otherwise None.

        Args:
            total: the loss of a batch.
            number: the number of this batch.
            is_delayed: check the loss of the previous batch, which the device has computed by now.
        """
        failed = self.last() if is_delayed else None
        self._previous = (total, number)
        return failed if is_delayed else self.last()

    def last(self) -> tuple[float, int] | None:
        """The same for the last loss, once: it waits for the device."""
        checked, self._previous = self._previous, None
        if checked is None or torch.isfinite(checked[0]):
            return None
        return checked[0].item(), checked[1]
