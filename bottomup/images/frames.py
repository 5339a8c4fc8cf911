"""One image of a source: what it is called, where it is read from, and how.

What is wrong with a file becomes the `error` of its frame, so the run goes on. Threads read frames
a little ahead of those who need them.
"""

import collections
import concurrent.futures
import dataclasses
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from bottomup.images import MAX_PIXELS
from bottomup.images.archives import Member
from bottomup.images.decoding import can_be_reduced, decode, usable_size, warning
from bottomup.images.formats import DecodingError, Size
from bottomup.images.remote import Remote, read_url
from bottomup.shapes import UInt8
from bottomup.threads import num_cpus

MAX_BYTES = 1 << 30  # of a file
NUM_WORKERS = min(4, num_cpus())
MAX_AHEAD_BYTES = 1 << 28  # of results that wait for the caller

Stamp = tuple[int | None, int | None]
"""Size in bytes of a file, and when it was last changed in nanoseconds since 1970."""

T = TypeVar("T")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """One image of a source.

    Attributes:
        name: unique within the source: the path relative to the source's folder, with forward
            slashes, or #INDEX.
        path: the file; None for an array, and behind a URL.
        image: (H, W, 3) uint8 RGB; None if it is not read yet, or cannot be.
        error: why it cannot be read; None if all is well.
        warning: what is wrong with a file that was read all the same.
        member: where it is in the tar file `path`; None for a file of its own.
        remote: the file behind a URL; None for any other.
        enough: how many times smaller the image may be read, 1, 2, 4 or 8, from its width and
            height. It is pickled with the frame. None: all pixels are wanted.
        reduction: how many times smaller it was read.
        full_wh: width and height of the image in the file; None if it is not read from a file.
    """

    name: str
    path: Path | None = None
    image: UInt8[np.ndarray, "H W 3"] | None = None
    error: str | None = None
    warning: str | None = None
    member: Member | None = None
    remote: Remote | None = None
    enough: Callable[[Size], int] | None = None
    reduction: int = 1
    full_wh: Size | None = None

    @property
    def stamp(self) -> Stamp:
        """What tells whether the file has changed; None and None if there is no file."""
        if self.member is not None:
            return self.member.size, self.member.time
        if self.remote is not None:
            return self.remote.size, self.remote.time
        try:
            status = None if self.path is None or self.error is not None else os.stat(self.path)
        except (OSError, ValueError):
            status = None
        return (None, None) if status is None else (status.st_size, status.st_mtime_ns)


def read(frame: Frame, *, exif: bool = True, max_pixels: int = MAX_PIXELS) -> Frame:
    """The frame with its pixels, or with the reason why it has none.

    Args:
        frame: of a file. One with an image or an error is returned as it is.
        exif: turn the image as its EXIF orientation says.
        max_pixels: an image whose header claims more is refused before it is decoded.
    """
    if not is_unread(frame):
        return frame
    try:
        if frame.remote is not None:
            data, origin = read_url(frame.remote, MAX_BYTES), frame.remote.url
        elif frame.path is not None:
            data = _read_bytes(frame.path, frame.member)
            origin = frame.path if frame.member is None else frame.member.name
        else:
            return frame
        suffix = os.path.splitext(origin)[1]
        size = wide, high = usable_size(data, suffix, max_pixels)
        reduction = _reduction(frame, data, size)
        image = decode(data, exif=exif, suffix=suffix, max_pixels=max_pixels, reduction=reduction)
        if reduction == 1:
            size = image.shape[1], image.shape[0]
        elif image.shape[1] != -(-wide // reduction):  # turned, as EXIF says
            size = high, wide
        return dataclasses.replace(
            frame, image=image, warning=warning(data), reduction=reduction, full_wh=size
        )
    except DecodingError as error:
        return dataclasses.replace(frame, error=str(error))
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = getattr(error, "strerror", None) or error
        return dataclasses.replace(frame, error=f"cannot be read: {reason}")
    except (MemoryError, cv2.error):
        return dataclasses.replace(frame, error="too large for the memory of this computer")


def _reduction(frame: Frame, data: bytes, size: Size) -> int:
    """How many times smaller the image is read."""
    if frame.enough is None or not can_be_reduced(data):
        return 1
    reduction = frame.enough(size)
    width, height = (-(-side // reduction) for side in size)
    # only different sides tell whether the image was turned
    return reduction if width != height or size[0] == size[1] else 1


def is_unread(frame: Frame) -> bool:
    """Whether the frame still has to be read from a file."""
    return frame.image is None and frame.error is None


def map_ahead(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    wanted: Callable[[T], bool] = lambda item: True,
    num_bytes: Callable[[R], int] = lambda result: 0,
    num_workers: int = NUM_WORKERS,
) -> Iterator[R]:
    """`map` in threads: the results in order, a few items ahead of the caller.

    Args:
        function: called in one of the threads.
        items: pulled in the caller's thread.
        wanted: which items are worth a thread. The others are computed when it is their turn, and
            no item after them is pulled before, so a camera's frame does not wait for the next.
        num_bytes: the memory that a result holds. No item is pulled while more than
            `MAX_AHEAD_BYTES` wait for the caller.
        num_workers: the number of threads.
    """
    pool = concurrent.futures.ThreadPoolExecutor(num_workers, thread_name_prefix="bottomup")
    running: collections.deque[concurrent.futures.Future[R]] = collections.deque()

    def is_full() -> bool:
        done = [future.result() for future in running if future.done() and not future.exception()]
        return len(running) > num_workers + 2 or sum(map(num_bytes, done)) > MAX_AHEAD_BYTES

    try:
        for item in items:
            if wanted(item):
                running.append(pool.submit(function, item))
                while running and is_full():
                    yield running.popleft().result()
            else:
                while running:
                    yield running.popleft().result()
                yield function(item)
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read_bytes(path: Path, member: Member | None) -> bytes:
    """The content of a regular file; a pipe or a device is refused without waiting for it."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DecodingError("not a file")
        offset, size = (0, status.st_size) if member is None else (member.offset, member.size)
        if size > MAX_BYTES:
            raise DecodingError(f"too large: {size:,} bytes, more than {MAX_BYTES:,}")
        file.seek(offset)
        return file.read(size)
