"""Where images come from: paths, folders, globs, text files, tar files, lists of them, arrays.

A source is listed lazily and in a fixed order as frames without pixels. It is never held whole.
Threads then read the frames a little ahead. What is wrong with a file becomes the `error` of its
frame, so the run goes on.
"""

import collections
import concurrent.futures
import dataclasses
import glob
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from jaxtyping import UInt8

from bottomup.images import MAX_PIXELS
from bottomup.images.archives import Member, read_list, read_tar
from bottomup.images.decoding import DecodingError, decode

# what a folder is searched for; a file that is named is read whatever its suffix
SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".gif",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".avif",
    ]
)
MAX_BYTES = 1 << 30  # of a file
MAX_SORTED = 10_000  # entries of a folder that are sorted at once
NUM_WORKERS = min(4, os.cpu_count() or 1)

Source = Any
"""A path, a folder, a glob, an RGB uint8 array, or an iterable of these or of frames.

The path may be that of a text file (.txt) with the path of an image on each line, "-" for such
lines on the standard input, or a tar file (.tar). The iterable may be infinite.
"""

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
        path: the file; None for an array.
        image: (H, W, 3) uint8 RGB; None if it is not read yet, or cannot be.
        error: why it cannot be read; None if all is well.
        member: where it is in the tar file `path`; None for a file of its own.
    """

    name: str
    path: Path | None = None
    image: UInt8[np.ndarray, "H W 3"] | None = None
    error: str | None = None
    member: Member | None = None

    @property
    def stamp(self) -> Stamp:
        """What tells whether the file has changed; None and None if there is no file."""
        if self.member is not None:
            return self.member.size, self.member.time
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
    if frame.path is None or not is_unread(frame):
        return frame
    try:
        data = _read_bytes(frame.path, frame.member)
        return dataclasses.replace(frame, image=decode(data, exif=exif, max_pixels=max_pixels))
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


def scan(source: Source, *, exclude: Iterable[str | Path] = ()) -> Iterator[Frame]:
    """List a source without reading any file.

    The order is that of the source, with names sorted within a glob or a folder (in parts, where it
    has more than `MAX_SORTED` entries). Folders are searched recursively for files with one of
    `SUFFIXES`. What cannot be found, a folder that cannot be opened, and a folder or a glob without
    images each give one frame with an error.

    Args:
        source: see `Source`.
        exclude: folders to leave out wherever they are found, such as the output folder.

    Raises:
        ValueError: the source is of another type.
    """
    excluded = {key for folder in exclude if (key := _identity(folder)) is not None}
    source = [source] if isinstance(source, str | os.PathLike) else source
    if isinstance(source, np.ndarray):
        yield from [_array_frame(source, 0)] if source.ndim < 4 else _scan_mixed(source, excluded)
    elif isinstance(source, list | tuple) and all(
        isinstance(item, str | os.PathLike) for item in source
    ):
        frames = _scan_paths(source, excluded)
        # the names in one folder are unique, and remembering millions of them would cost memory
        is_folder = len(source) == 1 and os.path.isdir(source[0])
        yield from frames if is_folder else map(_UniqueNames(), frames)
    elif isinstance(source, Iterable):
        yield from _scan_mixed(source, excluded)
    else:
        raise ValueError(
            f"a source is a path, an array or an iterable of them, not {type(source).__name__}"
        )


def _scan_mixed(items: Iterable[Any], excluded: set[tuple[int, int]]) -> Iterator[Frame]:
    unique = _UniqueNames()
    for index, item in enumerate(items):
        if isinstance(item, Frame):
            yield item
        elif isinstance(item, str | os.PathLike):
            yield from map(unique, _scan_paths([item], excluded))
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
    paths: Iterable[str | os.PathLike[str]], excluded: set[tuple[int, int]]
) -> Iterator[Frame]:
    """Files, named relative to the deepest folder that holds all of the given paths."""
    found: list[tuple[str, str, str | None]] = []  # path, kind, error
    for path in (os.fspath(path) for path in paths):
        if path == "-" or os.path.lexists(path):
            found.append((path, _kind(path), None))
        else:
            matches = sorted(glob.glob(path, recursive=True))
            files = [
                (match, "tar" if _kind(match) == "tar" else "file", None)
                for match in matches
                if _is_wanted(match, excluded)
            ]
            error = "no file matches" if glob.has_magic(path) else "no such file or folder"
            found += files or [(path, "file", error)]

    folders = {
        absolute if kind in ("folder", "tar") else os.path.dirname(absolute)
        for absolute, kind in ((os.path.abspath(path), kind) for path, kind, _ in found)
        if kind != "list"
    }
    try:
        base = os.path.commonpath(folders)
    except ValueError:  # nothing in common, as for two drives of Windows
        base = os.sep
    for path, kind, error in found:
        if error is not None:
            yield Frame(_relative(path, base) if len(found) > 1 else path, error=error)
        elif kind == "folder":
            yield from _walk(path, base, set(excluded))
        elif kind == "tar":
            yield from _scan_tar(path, base)
        elif kind == "list":
            yield from _scan_list(path)
        else:
            yield Frame(_relative(path, base), Path(path))


def _kind(path: str) -> str:
    if os.path.isdir(path):
        return "folder"
    suffix = os.path.splitext(path)[1].lower()
    return "list" if path == "-" else {".txt": "list", ".tar": "tar"}.get(suffix, "file")


def _is_wanted(match: str, excluded: set[tuple[int, int]]) -> bool:
    return not os.path.isdir(match) and not any(
        _identity(parent) in excluded for parent in Path(match).parents
    )


def _walk(top: str, base: str, visited: set[tuple[int, int]]) -> Iterator[Frame]:
    """The images of a folder and of the folders in it.

    Links are followed, but no folder is entered twice.
    """
    is_empty = True
    # the folders on the path to the current one, with what is left of each
    ahead = [(top, iter([(top, True)]))]
    while ahead:
        folder, entries = ahead[-1]
        try:
            path, is_folder = next(entries, (None, False))
        except OSError as error:
            path, is_folder, is_empty = None, False, False
            reason = f"the folder cannot be opened: {error.strerror}"
            yield Frame(_own_name(folder, base), error=reason)
        if path is None:
            ahead.pop()
        elif is_folder:
            identity = _identity(path)
            if identity in visited and path is not top:
                continue
            if identity is not None:
                visited.add(identity)
            ahead.append((path, _list_folder(path)))
        elif os.path.splitext(path)[1].lower() in SUFFIXES:
            is_empty = False
            yield Frame(_relative(path, base), Path(path))
    if is_empty:
        yield Frame(_own_name(top, base), error="no images in this folder")


def _list_folder(folder: str) -> Iterator[tuple[str, bool]]:
    """Paths in a folder, sorted in parts, and whether each is (or is a link to) a folder."""
    with os.scandir(folder) as entries:
        paths = (
            (
                entry.path,
                entry.is_dir(follow_symlinks=False)
                or (entry.is_symlink() and os.path.isdir(entry.path)),
            )
            for entry in entries
        )
        # the folder is closed before its last part is gone through: folders may be deep
        while len(part := sorted(itertools.islice(paths, MAX_SORTED))) == MAX_SORTED:
            yield from part
    yield from part


def _scan_list(path: str) -> Iterator[Frame]:
    """The images that a text file names, by their paths; `-` is the standard input."""
    is_empty = True
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            for line in read_list(file):
                is_empty = False
                yield Frame(_without_parents(os.path.normpath(line)), Path(line))
    except OSError as error:
        yield Frame(path, error=f"the list cannot be read: {error.strerror}")
    else:
        if is_empty:
            yield Frame(path, error="no paths in this list")


def _scan_tar(path: str, base: str) -> Iterator[Frame]:
    """The images in a tar file, named as if it were a folder."""
    is_empty, folder, file = True, _relative(path, base), Path(path)
    for member in read_tar(path):
        if not member.name:
            is_empty = False
            yield Frame(_own_name(path, base), error=member.error)
        elif os.path.splitext(member.name)[1].lower() in SUFFIXES:
            is_empty = False
            name = _without_parents(os.path.normpath(f"{folder}/{member.name}"))
            yield Frame(name, file, error=member.error, member=member)
    if is_empty:
        yield Frame(_own_name(path, base), error="no images in this tar file")


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
    return _without_parents(os.path.relpath(os.path.abspath(path), base))


def _own_name(path: str, base: str) -> str:
    """The name of a folder or a tar file itself: as it was given if it is the base of all names."""
    return path if base == os.path.abspath(path) else _relative(path, base)


def _without_parents(path: str) -> str:
    return re.sub(r"^(\.{0,2}/)+", "", path.replace(os.sep, "/"))


def _identity(path: str | Path) -> tuple[int, int] | None:
    """The same for all paths of one file or folder; None if it does not exist."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


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
