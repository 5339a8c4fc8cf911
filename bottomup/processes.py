"""What the processes of one training share."""

import torch
from jaxtyping import Float
from torch import Tensor


def mean_count(count: Tensor, floor: float = 1e-6) -> Float[Tensor, ""]:
    """A count, such as that of the people in a batch, averaged over all processes.

    Sums that each process divides by it have together the gradients of one process with all images.

    Args:
        count: of this process, a scalar.
        floor: the smallest result; the default only prevents a division by 0.
    """
    mean = count.detach().to(torch.float32, copy=True)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(mean)
        mean /= torch.distributed.get_world_size()
    return mean.clamp(min=floor)
