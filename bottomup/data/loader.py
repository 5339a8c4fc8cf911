"""A loader that can stop in the middle of an epoch and go on from there."""

import functools
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from bottomup.data.photos import PhotoFiles
from bottomup.data.samples import Batch, Draw, EvaluationImage, Samples, Together, collate

T = TypeVar("T")


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
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; give at least 1")
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
        photos: the files whose broken ones are told.
    """

    def __init__(
        self,
        data: Samples | Together,
        sampler: EpochSampler,
        *,
        num_workers: int = 0,
        photos: PhotoFiles | None = None,
    ):
        super().__init__(
            data,  # type: ignore[arg-type]  # any sequence will do
            batch_size=sampler.batch_size,
            sampler=sampler,
            num_workers=num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=start_worker,
        )
        self.data, self.order, self.handed_out, self.photos = data, sampler, 0, photos

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self.handed_out = self.order.start
        for batch in watch(super().__iter__(), self.photos):
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


class EvaluationLoader(DataLoader[list[EvaluationImage]]):
    """Lists of images to evaluate on, without those that are left out.

    Args:
        data: the images.
        sampler: their order.
        batch_size: the length of a list.
        num_workers: the number of processes that read images.
        photos: the files whose broken ones are told.
    """

    def __init__(
        self,
        data: Any,
        sampler: Sequence[int],
        *,
        batch_size: int,
        num_workers: int = 0,
        photos: PhotoFiles | None = None,
    ):
        super().__init__(
            data,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=num_workers,
            collate_fn=_without_none,
            worker_init_fn=start_worker,
        )
        self.photos = photos

    def __iter__(self) -> Iterator[list[EvaluationImage]]:  # type: ignore[override]
        return watch(super().__iter__(), self.photos)


def watch(batches: Iterator[T], photos: PhotoFiles | None) -> Iterator[T]:
    """The batches; see `PhotoFiles.watch`."""
    return batches if photos is None else photos.watch(batches)


def start_worker(_: int) -> None:
    """Make a process that loads samples use one thread, and leave signals to its parent.

    Workers draw and warp many small images side by side: one thread each is fastest. Ctrl-C and
    SIGTERM often go to all processes, but the parent needs its workers until its state is saved.
    """
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_obey_parent, daemon=True).start()


def _obey_parent() -> None:
    """End this process at the first SIGTERM that its parent sends."""
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)


def _without_none(images: list[EvaluationImage | None]) -> list[EvaluationImage]:
    return [image for image in images if image is not None]
