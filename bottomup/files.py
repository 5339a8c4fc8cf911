"""One way to write a file whole, and one way to read a JSON file that may be damaged."""

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO


@contextlib.contextmanager
def write_whole(path: str | Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a file for writing that appears whole or not at all.

    The bytes go to a file beside it, which gets the name at the end. A block that fails leaves an
    earlier file of that name as it was.

    Args:
        path: where to; its folder must exist.
        sync: wait until the bytes are on the disk, so that even a power failure leaves no half
            file. Without it, many small files are written faster.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    # different for each process and thread, and short enough for the longest of names
    name = f".{path.name[:40]}.{os.getpid()}.{threading.get_ident()}.part"
    unfinished = UnfinishedFile(path, path.with_name(name))
    try:
        yield unfinished.file
        unfinished.complete(sync=sync)
        unfinished.move()
    finally:
        unfinished.discard()


class UnfinishedFile:
    """A file that is written beside its place; its owner moves it there once it is complete.

    Args:
        path: its place.
        part: where it is written; a file that is there is replaced.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, part: Path) -> None:
        self.path, self._part = path, part
        self.file: BinaryIO = part.open("wb")

    def complete(self, *, sync: bool = True) -> None:
        """Close it; with `sync`, its bytes are on the disk then."""
        if sync:
            self.file.flush()
            os.fsync(self.file.fileno())
        self.file.close()

    def move(self) -> None:
        """Put it in its place."""
        self._part.replace(self.path)

    def discard(self) -> None:
        """Remove it; after it has been moved this does nothing."""
        with contextlib.suppress(OSError):  # what was still to be written is not wanted
            self.file.close()
        self._part.unlink(missing_ok=True)


def user_cache(kind: str) -> Path:
    """The folder of one kind of files in the user's cache; it need not exist."""
    import platformdirs

    return platformdirs.user_cache_path("bottomup", appauthor=False) / kind


def read_json(path: str | Path, what: str) -> Any:
    """The content of a JSON file.

    Args:
        path: the file.
        what: what it should be, for the message: "annotations", "results".

    Raises:
        ValueError: the file cannot be read, or is not JSON; the message says which and why.
    """
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{what} {str(path)!r} cannot be read: {reason}") from error
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{what} {str(path)!r} is not JSON ({error}): was it written to the end?"
        ) from error
