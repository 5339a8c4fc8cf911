"""Files that name or hold many images: lists of paths, and tar files. Both are read as a stream."""

import codecs
import os
import tarfile
from collections.abc import Iterator
from io import BufferedIOBase, FileIO
from pathlib import Path
from typing import NamedTuple

MAX_PATH = 1 << 16  # bytes of a line of a list
MAX_HEADER = 1 << 20  # bytes that a tar file may spend on the name of a member


class Member(NamedTuple):
    """A file within a tar file.

    Attributes:
        name: as the tar file has it.
        offset: where its content begins, in bytes.
        size: of its content, in bytes.
        time: when it was last changed, in nanoseconds since 1970.
        error: why it cannot be read; None if all is well.
    """

    name: str
    offset: int = 0
    size: int = 0
    time: int = 0
    error: str | None = None


def read_list(file: BufferedIOBase) -> Iterator[str]:
    """The paths of a text file, one a line; empty lines are left out.

    Raises:
        OSError: the file cannot be read.
    """
    mark = codecs.BOM_UTF8  # Windows writes it at the start
    while line := file.readline(MAX_PATH):
        if path := line.removeprefix(mark).rstrip(b"\r\n"):
            yield os.fsdecode(path)
        mark = b""


def read_tar(path: str | Path) -> Iterator[Member]:
    """The members of an uncompressed tar file that are not folders.

    Where the tar file is damaged, the last member has an error and an empty name.
    """
    try:
        with _Headers(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            while (found := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  it would keep them all
                if found.size < 0:  # the next member would be this one again
                    raise ValueError(f"a member of {found.size} bytes")
                if not found.isdir():
                    yield _member(found)
            # tarfile takes a damaged header for the end, which is a block of zeros
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                yield Member("", error=f"it is damaged at byte {tar.offset:,}, or ends there")
    except tarfile.TarError as error:
        yield Member("", error=f"it is not a whole tar file without compression: {error}")
    except RecursionError:
        yield Member("", error="it cannot be read: too many headers of one member")
    except (OSError, ValueError, OverflowError) as error:
        yield Member("", error=f"it cannot be read: {getattr(error, 'strerror', None) or error}")


def _member(found: tarfile.TarInfo) -> Member:
    error = None if found.isreg() and not found.issparse() else "a link or a device in a tar file"
    time = int(found.mtime * 1e9)
    return Member(found.name, found.offset_data, found.size, time, error)


class _Headers(FileIO):
    """A file that refuses to read as much at once as a hostile header may ask for."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return super().read(size) or b""
