"""The three kinds of work that a cluster does: list a source, read its images, find the people.

A chunk of images goes through all three. What is known of it travels along, so that any worker can
do it, and do it again.
"""

import contextlib
import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import bottomup
from bottomup.distributed.blocks import block_name, key, start_name, to_parquet, written
from bottomup.distributed.places import Place
from bottomup.images.frames import Frame, Stamp
from bottomup.images.sources import scan
from bottomup.inference.journal import Record, Session, encode
from bottomup.inference.predictor import Predictor
from bottomup.inference.run_folder import OVERLAYS, Renderer
from bottomup.inference.shards import belongs_to

CHUNK = 64  # images that are done and recorded together
MAX_BYTES = 1 << 26  # of the pixels of a chunk; one image may have more
LAST_TIME = (1 << 63) - 1  # that Parquet holds


@dataclasses.dataclass(frozen=True, eq=False)
class Item:
    """An image on its way.

    Attributes:
        index: its place in the source; the first ones get thumbnails.
        stamp: of its file, from before it was read.
        frame: the image.
    """

    index: int
    stamp: Stamp
    frame: Frame

    @property
    def key(self) -> int:
        """Tells whether it was done."""
        return key(self.frame.name, self.stamp)


@dataclasses.dataclass(frozen=True)
class Total:
    """What a source has; comes after its last image.

    Attributes:
        num_listed: images of the source.
        num_kept: those of them that were done before.
        checksum: of the images that were to be done.
    """

    num_listed: int
    num_kept: int
    checksum: int


@dataclasses.dataclass(frozen=True)
class Listing:
    """Which images are to be done.

    Attributes:
        sources: of the command line.
        folder: the current one; paths are relative to it.
        out: the place of the results, whose overlays are no images.
        exclude: whether a folder holds overlays of another run.
        shard: the part of the source; None is all of it.
    """

    sources: Sequence[str]
    folder: str
    out: str
    exclude: Callable[[str], bool]
    shard: tuple[int, int] | None = None

    def frames(self) -> Iterator[Frame]:
        """All images of the source."""
        with contextlib.suppress(OSError):  # only lists of relative paths need it
            os.chdir(self.folder)
        for frame in scan(list(self.sources), exclude=self._is_left_out):
            path = None if frame.path is None else Path(self.folder, frame.path)
            if belongs_to(frame, self.shard):
                yield dataclasses.replace(frame, path=path)

    def items(self, done: np.ndarray) -> Iterator[Item | Total]:
        """The images that are to be done, then the total.

        Args:
            done: sorted keys of the images that were done before.
        """
        num_listed = num_kept = checksum = 0
        for frame in self.frames():
            size, changed = frame.stamp
            stamp = (size, changed if changed is None else min(changed, LAST_TIME))
            item = Item(num_listed, stamp, frame)
            num_listed += 1
            at = np.searchsorted(done, np.uint64(item.key))
            if at < len(done) and done[at] == item.key:
                num_kept += 1
            else:
                checksum = added(checksum, item.key)
                yield item
        yield Total(num_listed, num_kept, checksum)

    def chunks(self, done: np.ndarray, size: int) -> Iterator[list[Item] | Total]:
        """The same in chunks."""
        items = self.items(done)
        while chunk := list(itertools.islice(items, size)):
            if isinstance(last := chunk[-1], Total):
                yield [item for item in chunk[:-1] if isinstance(item, Item)]
                yield last
            else:
                yield [item for item in chunk if isinstance(item, Item)]

    def _is_left_out(self, folder: str) -> bool:
        return folder == f"{self.out}/{OVERLAYS}" or self.exclude(folder)


def added(checksum: int, other: int) -> int:
    """The checksum of two sets of images together, whatever their order."""
    return (checksum + other) % (1 << 64)


def read_chunk(chunk: Sequence[Item], reader: Callable[[Frame], Frame]) -> Iterator[list[Item]]:
    """The chunk with pixels, in parts that memory holds."""
    cv2.setNumThreads(1)
    part: list[Item] = []
    num_bytes = 0
    for item in chunk:
        part.append(dataclasses.replace(item, frame=reader(item.frame)))
        image = part[-1].frame.image
        num_bytes += 0 if image is None else image.nbytes
        if num_bytes > MAX_BYTES:
            yield part
            part, num_bytes = [], 0
    if part:
        yield part


@dataclasses.dataclass(frozen=True)
class Report:
    """What a worker has done.

    Attributes:
        num_images: recorded.
        num_people: found in them, as drawn.
        checksum: of the images.
        problem: why nothing could be recorded; None if all is well.
    """

    num_images: int = 0
    num_people: int = 0
    checksum: int = 0
    problem: str | None = None


class Worker:
    """Finds the people of chunks and writes blocks.

    Args:
        make_predictor: gives the network, and what it runs on in words.
        out: the place of the results.
        number: of the session.
        settings: of the run.
        drawing: arguments of `Renderer`.

    Raises:
        ValueError: this machine has another version of the package, or no such device.
        OSError: the results cannot be written.
    """

    def __init__(
        self,
        make_predictor: Callable[[], tuple[Predictor, str]],
        out: str,
        number: int,
        settings: dict[str, Any],
        drawing: dict[str, Any],
    ) -> None:
        if bottomup.__version__ != settings["version"]:
            own, wanted = bottomup.__version__, settings["version"]
            raise ValueError(f"a machine has bottomup {own}, not {wanted}: install the same")
        cv2.setNumThreads(1)
        self._predictor, engine = make_predictor()
        self._place, self._number, self._drawing = Place(out), number, drawing
        start = Session(settings, engine)
        self._place.write(start_name(number, start), encode(start))

    def __call__(self, chunk: Sequence[Item]) -> Report:
        """Find the people of a chunk whose images have been read, and write its block."""
        try:
            records = self._records(chunk)
            self._place.write(block_name(self._number, records), to_parquet(records))
        except OSError as error:
            return Report(problem=str(error))
        checksum = 0
        for item in chunk:
            checksum = added(checksum, item.key)
        return Report(len(records), sum(record.shown or 0 for record in records), checksum)

    def _records(self, chunk: Sequence[Item]) -> list[Record]:
        records = []
        with written(self._place) as folder:
            renderer = Renderer(folder, **self._drawing)
            last = time.monotonic()
            predictions = self._predictor.stream(item.frame for item in chunk)
            for item, prediction in zip(chunk, predictions, strict=True):
                record = renderer(prediction, item.index)
                seconds, last = time.monotonic() - last, time.monotonic()
                size, changed = item.stamp
                records.append(
                    dataclasses.replace(record, size=size, time=changed, seconds=round(seconds, 4))
                )
        return records
