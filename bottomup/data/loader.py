"""A loader that can stop in the middle of an epoch and go on from there."""

import functools
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from bottomup.data.samples import Batch, Draw, Samples, Together, collate


class EpochSampler(Sampler[Draw]):
    """Every sample once per epoch, in an order that follows from (seed, epoch).

    Ranks take turns, sample by sample: R ranks with batches of B see together what one process with
    batches of R x B sees. The last samples that do not fill a batch on every rank are left out of
    the epoch.

    Args:
        length: the number of samples in the set.
        batch_size: of each rank.
        seed: of the order.
        rank: this process.
        num_ranks: the number of processes.

    Raises:
        ValueError: the set does not fill one batch on every rank.
    """

    def __init__(
        self, length: int, batch_size: int, *, seed: int = 0, rank: int = 0, num_ranks: int = 1
    ):
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.rank, self.num_ranks = rank, num_ranks
        self.epoch, self.start = 0, 0
        self.num_batches = length // (batch_size * num_ranks)  # of an epoch on this rank
        if not self.num_batches:
            raise ValueError(
                f"{length} training images do not fill a batch of {batch_size} on {num_ranks} "
                f"processes: choose a batch_size of at most {length // num_ranks}"
            )

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch, unless it is the current one."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def batch(self, number: int) -> list[Draw]:
        """The samples of batch `number` of this epoch."""
        order = _order(self.length, self.seed, self.epoch)
        together = self.batch_size * self.num_ranks
        mine = order[number * together : (number + 1) * together][self.rank :: self.num_ranks]
        return [Draw(self.epoch, position) for position in mine.tolist()]

    def __iter__(self) -> Iterator[Draw]:
        for number in range(self.start, self.num_batches):
            yield from self.batch(number)

    def __len__(self) -> int:
        return self.num_batches * self.batch_size


class ResumableLoader(DataLoader[Batch]):
    """Batches of a training set, with a `state_dict` that counts those handed out.

    Lightning saves the state with its checkpoints and loads it before the first batch. Batches that
    workers have prepared but nobody has taken do not count; they are made again.

    Args:
        data: the training set.
        sampler: the order.
        num_workers: the number of processes that make samples; 0 makes them in this one.
    """

    def __init__(
        self,
        data: Samples | Together,
        sampler: EpochSampler,
        *,
        num_workers: int = 0,
    ):
        super().__init__(
            data,  # type: ignore[arg-type]  # any sequence will do
            batch_size=sampler.batch_size,
            sampler=sampler,
            num_workers=num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_use_one_thread,
        )
        self.data, self.order, self.handed_out = data, sampler, 0

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self.handed_out = self.order.start
        for batch in super().__iter__():
            self.handed_out += 1
            yield batch
        self.order.start = 0

    def names(self, number: int) -> list[str]:
        """The names of the samples of batch `number` of this epoch."""
        return [self.data.name(draw.position) for draw in self.order.batch(number)]

    def state_dict(self) -> dict[str, Any]:
        """The position in the epoch."""
        return {"epoch": self.order.epoch, "handed_out": self.handed_out}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a position at the next iteration."""
        self.order.epoch = state["epoch"]
        self.order.start = self.handed_out = state["handed_out"]


@functools.lru_cache(maxsize=4)
def _order(length: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(length)


def _use_one_thread(_: int) -> None:
    """Workers draw and warp many small images side by side: one thread each is fastest."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
