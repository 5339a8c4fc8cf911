"""Where images come from: paths, folders, globs, lists of them, arrays, generators of arrays.

A source is listed lazily and in a fixed order as frames without pixels. Threads then read the
frames a little ahead. What is wrong with a file becomes the `error` of its frame, so the run goes
on.
"""

import collections
import concurrent.futures
import dataclasses
import glob
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from jaxtyping import UInt8

from bottomup.images.decoding import decode, warning
from bottomup.images.formats import SUFFIXES, DecodingError
from bottomup.threads import num_cpus

MAX_BYTES = 1 << 30  # of a file
NUM_WORKERS = min(4, num_cpus())
# what systems leave in folders of photos
DEBRIS = re.compile(r"\._.*|\.DS_Store|(eh)?thumbs\.db|desktop\.ini", re.IGNORECASE | re.DOTALL)

Source = Any
"""A path, a folder, a glob, an RGB uint8 array, or an iterable of these or of frames.

The iterable may be infinite.
"""

T = TypeVar("T")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """One image of a source.

    Attributes:
        name: unique within the source: the path relative to the source's folder, with forward
            slashes, or #INDEX.
        path: the file; None for an array.
        image: (H, W, 3) uint8 RGB; None if it is not read yet, or cannot be.
        error: why it cannot be read; None if all is well.
        warning: what is wrong with a file that was read all the same.
    """

    name: str
    path: Path | None = None
    image: UInt8[np.ndarray, "H W 3"] | None = None
    error: str | None = None
    warning: str | None = None


def read(frame: Frame, *, exif: bool = True) -> Frame:
    """The frame with its pixels, or with the reason why it has none.

    Args:
        frame: of a file. One with an image or an error is returned as it is.
        exif: turn the image as its EXIF orientation says.
    """
    if frame.path is None or not is_unread(frame):
        return frame
    try:
        data = _read_bytes(frame.path)
        image = decode(data, exif=exif, suffix=frame.path.suffix)
        return dataclasses.replace(frame, image=image, warning=warning(data))
    except DecodingError as error:
        return dataclasses.replace(frame, error=str(error))
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = getattr(error, "strerror", None) or error
        return dataclasses.replace(frame, error=f"cannot be read: {reason}")
    except (MemoryError, cv2.error):
        return dataclasses.replace(frame, error="too large for the memory of this computer")


def is_unread(frame: Frame) -> bool:
    """Whether the frame still has to be read from a file."""
    return frame.image is None and frame.error is None


def map_ahead(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    wanted: Callable[[T], bool] = lambda item: True,
    num_workers: int = NUM_WORKERS,
) -> Iterator[R]:
    """`map` in threads: the results in order, a few items ahead of the caller.

    Args:
        function: called in one of the threads.
        items: pulled in the caller's thread.
        wanted: which items are worth a thread. The others are computed when it is their turn, and
            no item after them is pulled before, so a camera's frame does not wait for the next.
        num_workers: the number of threads.
    """
    pool = concurrent.futures.ThreadPoolExecutor(num_workers, thread_name_prefix="bottomup")
    running: collections.deque[concurrent.futures.Future[R]] = collections.deque()
    try:
        for item in items:
            if wanted(item):
                running.append(pool.submit(function, item))
                if len(running) > num_workers + 2:
                    yield running.popleft().result()
            else:
                while running:
                    yield running.popleft().result()
                yield function(item)
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def scan(
    source: Source, *, exclude: Callable[[str], bool] = lambda folder: False
) -> Iterator[Frame]:
    """List a source without reading any file.

    The order is that of the source, with names sorted within a folder or a glob. Folders are
    searched recursively for files with one of `SUFFIXES`; hidden files and folders are passed over.
    What cannot be found, a folder that cannot be opened, and a folder or a glob without images each
    give one frame with an error.

    Args:
        source: see `Source`.
        exclude: whether to leave out a folder that is found in a folder or by a glob.

    Raises:
        ValueError: the source is of another type.
    """
    if isinstance(source, str | os.PathLike):
        # the names are unique already, and remembering millions of them would cost memory
        yield from _scan_paths([source], exclude)
    elif isinstance(source, np.ndarray):
        yield from [_array_frame(source, 0)] if source.ndim < 4 else _scan_mixed(source, exclude)
    elif isinstance(source, list | tuple) and all(
        isinstance(item, str | os.PathLike) for item in source
    ):
        frames = _scan_paths(source, exclude)
        yield from frames if len(source) == 1 else map(_UniqueNames(), frames)
    elif isinstance(source, Iterable):
        yield from _scan_mixed(source, exclude)
    else:
        raise ValueError(
            f"a source is a path, an array or an iterable of them, not {type(source).__name__}"
        )


def _scan_mixed(items: Iterable[Any], exclude: Callable[[str], bool]) -> Iterator[Frame]:
    unique = _UniqueNames()
    for index, item in enumerate(items):
        if isinstance(item, Frame):
            yield item
        elif isinstance(item, str | os.PathLike):
            yield from map(unique, _scan_paths([item], exclude))
        else:
            yield _array_frame(item, index)


def _array_frame(array: Any, index: int) -> Frame:
    given = type(array).__name__
    if isinstance(array, np.ndarray):
        if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size:
            return Frame(f"#{index}", image=array)
        given = f"{' x '.join(map(str, array.shape))} {array.dtype}"
    return Frame(
        f"#{index}",
        error=f"an image is a path or an RGB array of H x W x 3 uint8, not {given}",
    )


def _scan_paths(
    paths: Iterable[str | os.PathLike[str]], exclude: Callable[[str], bool]
) -> Iterator[Frame]:
    """Files, named relative to the deepest folder that holds all of the given paths."""
    found: list[tuple[str, bool, str | None]] = []  # path, whether it is a folder, error
    for path in (os.fspath(path) for path in paths):
        if os.path.lexists(path):
            found.append((path, os.path.isdir(path), None))
        else:
            files = [(match, False, None) for match in _glob(path, exclude)]
            error = "no file matches" if glob.has_magic(path) else "no such file or folder"
            found += files or [(path, False, error)]

    found = [item for item in found if item[1] or not DEBRIS.fullmatch(os.path.basename(item[0]))]
    folders = {
        os.path.abspath(path) if is_folder else os.path.dirname(os.path.abspath(path))
        for path, is_folder, _ in found
    }
    try:
        base = os.path.commonpath(folders)
    except ValueError:  # nothing in common, as for two drives of Windows
        base = os.sep
    for path, is_folder, error in found:
        if error is not None:
            yield Frame(_relative(path, base) if len(found) > 1 else path, error=error)
        elif is_folder:
            yield from _walk(path, base, exclude)
        else:
            yield Frame(_relative(path, base), Path(path))


def _glob(pattern: str, exclude: Callable[[str], bool]) -> list[str]:
    """The files that match, sorted, without those in excluded folders."""
    matches = [match for match in sorted(set(_expand(pattern))) if not os.path.isdir(match)]
    is_excluded = {
        folder: any(exclude(str(parent)) for parent in (Path(folder), *Path(folder).parents))
        for folder in set(map(os.path.dirname, matches))
    }
    return [match for match in matches if not is_excluded[os.path.dirname(match)]]


def _expand(pattern: str) -> Iterator[str]:
    """What matches. No folder is entered twice by **, while `glob` follows links in circles."""
    deep = re.match(r"(?:(.*?)/)??\*\*(?:/+(.*))?$", pattern, re.DOTALL)
    if deep is None:
        yield from glob.iglob(pattern)
        return
    visited: set[tuple[int, int] | None] = set()
    for top in glob.iglob(f"{deep[1]}/") if deep[1] is not None else [""]:
        for folder, inner, _ in os.walk(top or ".", followlinks=True):
            if (identity := _identity(folder)) in visited:
                inner.clear()
                continue
            visited.add(identity)
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            yield from _expand(os.path.join(glob.escape(folder), deep[2] or "*"))


def _walk(top: str, base: str, exclude: Callable[[str], bool]) -> Iterator[Frame]:
    """The images of a folder and of the folders in it.

    Links are followed, but no folder is entered twice.
    """
    is_empty = True
    visited: set[tuple[int, int]] = set()
    ahead = [iter([(top, True)])]  # what is left of each folder on the path to the current one
    while ahead:
        path, is_folder = next(ahead[-1], (None, False))
        if path is None:
            ahead.pop()
        elif is_folder:
            identity = _identity(path)
            if path is not top and (identity in visited or exclude(path)):
                continue
            if identity is not None:
                visited.add(identity)
            try:
                ahead.append(iter(_list_folder(path)))
            except OSError as error:
                is_empty = False
                yield Frame(
                    _relative(path, base), error=f"the folder cannot be opened: {error.strerror}"
                )
        elif os.path.splitext(path)[1].lower() in SUFFIXES:
            is_empty = False
            yield Frame(_relative(path, base), Path(path))
    if is_empty:
        yield Frame(
            _relative(top, base) if base != os.path.abspath(top) else top,
            error="no images in this folder",
        )


def _list_folder(folder: str) -> list[tuple[str, bool]]:
    """Paths in a folder that are not hidden, sorted, and whether each is (a link to) a folder."""
    with os.scandir(folder) as entries:
        return sorted(
            (
                entry.path,
                entry.is_dir(follow_symlinks=False)
                or (entry.is_symlink() and os.path.isdir(entry.path)),
            )
            for entry in entries
            if not entry.name.startswith(".")
        )


class _UniqueNames:
    """The first frame of a name keeps it; the next ones get ~2, ~3 before the suffix."""

    def __init__(self) -> None:
        self._seen: set[int] = set()  # hashes, in a third of the memory of the names

    def __call__(self, frame: Frame) -> Frame:
        name, count = frame.name, 1
        stem, suffix = os.path.splitext(name)
        while hash(name) in self._seen:
            count += 1
            name = f"{stem}~{count}{suffix}"
        self._seen.add(hash(name))
        return frame if name == frame.name else dataclasses.replace(frame, name=name)


def _relative(path: str, base: str) -> str:
    relative = os.path.relpath(os.path.abspath(path), base)
    return re.sub(r"^(\.\./)+", "", relative.replace(os.sep, "/"))


def _identity(path: str | Path) -> tuple[int, int] | None:
    """The same for all paths of one file or folder; None if it does not exist."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _read_bytes(path: Path) -> bytes:
    """The content of a regular file; a pipe or a device is refused without waiting for it."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DecodingError("not a file")
        if status.st_size > MAX_BYTES:
            raise DecodingError(f"too large: {status.st_size:,} bytes, more than {MAX_BYTES:,}")
        return file.read(MAX_BYTES + 1)
