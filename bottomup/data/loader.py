"""A loader that can stop in the middle of an epoch and go on as if nothing had happened."""

import functools
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from bottomup.data.samples import Batch, collate
from bottomup.data.training_sets import Draw, TrainingSet


class EpochSampler(Sampler[Draw]):
    """Every image once per epoch in an order that follows from (seed, epoch), dealt out evenly to the ranks.

    Ranks take turns, image by image: together, R ranks with batches of B see what one process with
    batches of R x B sees. The last images that do not fill a batch on every rank are left out of
    the epoch.

    Args:
        length: images in the set.
        batch_size: of each rank.
        seed: of the order.
        rank: this process.
        num_ranks: how many processes there are.

    Raises:
        ValueError: the set does not fill one batch on every rank.
    """

    def __init__(
        self, length: int, batch_size: int, *, seed: int = 0, rank: int = 0, num_ranks: int = 1
    ):
        if length < batch_size * num_ranks:
            raise ValueError(
                f"{length} training images do not fill a batch of {batch_size} on {num_ranks} processes: "
                f"choose a batch_size of at most {length // num_ranks}"
            )
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.rank, self.num_ranks = rank, num_ranks
        self.epoch, self.start = 0, 0

    @property
    def num_batches(self) -> int:
        """Batches of an epoch on this rank."""
        return self.length // (self.batch_size * self.num_ranks)

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch, unless we are in it already."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def batch(self, number: int) -> list[Draw]:
        """What batch `number` of this epoch consists of."""
        first = number * self.batch_size * self.num_ranks + self.rank
        chosen = _order(self.length, self.seed, self.epoch)[
            first : first + self.batch_size * self.num_ranks : self.num_ranks
        ]
        return [Draw(self.epoch, int(index)) for index in chosen[: self.batch_size]]

    def __iter__(self) -> Iterator[Draw]:
        for number in range(self.start, self.num_batches):
            yield from self.batch(number)

    def __len__(self) -> int:
        return self.num_batches * self.batch_size


class ResumableLoader(DataLoader[Batch]):
    """Batches of a training set, with a `state_dict` that counts those that were handed out.

    Lightning saves the state with its checkpoints and loads it before the first batch. Batches that
    workers have prepared but nobody has taken do not count, so they are made again.

    Args:
        data: the training set.
        sampler: the order.
        num_workers: processes that make the samples; 0 makes them in this one.
        pin_memory: copy batches to page-locked memory, for faster transfers to a GPU.
    """

    def __init__(
        self,
        data: TrainingSet,
        sampler: EpochSampler,
        *,
        num_workers: int = 0,
        pin_memory: bool = False,
    ):
        super().__init__(
            _AsDataset(data),
            batch_size=sampler.batch_size,
            sampler=sampler,
            num_workers=num_workers,
            collate_fn=collate,
            pin_memory=pin_memory,
            worker_init_fn=_quieten,
        )
        self.data, self.order = data, sampler
        self.handed_out = 0

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self.handed_out = self.order.start
        for batch in super().__iter__():
            self.handed_out += 1
            yield batch
        self.order.start = 0

    def __len__(self) -> int:
        return self.order.num_batches

    def names(self, number: int) -> list[str]:
        """What the images of batch `number` of this epoch are called."""
        return [self.data.name(draw.position) for draw in self.order.batch(number)]

    def state_dict(self) -> dict[str, Any]:
        """Where we are."""
        return {"epoch": self.order.epoch, "handed_out": self.handed_out}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there at the next iteration."""
        self.order.epoch, self.order.start = state["epoch"], state["handed_out"]
        self.handed_out = state["handed_out"]


class _AsDataset(Dataset):
    """What torch's loader wants a training set to be."""

    def __init__(self, data: TrainingSet):
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, draw: Draw) -> Any:
        return self.data[draw]


@functools.lru_cache(maxsize=4)
def _order(length: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(length)


def _quieten(_: int) -> None:
    """One thread per worker: many small images are drawn or warped side by side."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
