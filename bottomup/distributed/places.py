"""A folder of results: on disks that all machines share, or behind a URL."""

import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path

from bottomup.files import write_whole
from bottomup.images.frames import map_ahead
from bottomup.images.remote import errors_of, is_url, local_path, open_url

NUM_READERS = 16  # requests to a server at a time


class Place:
    """A folder that holds files by their names, which may have slashes.

    Args:
        root: a path, or a URL of a protocol of fsspec.

    Raises:
        ValueError: the protocol is not known, or its package is not installed.
        OSError: the server cannot be reached.

    Attributes:
        root: as it was given, without a slash at its end.
        path: the folder on this machine; None behind a URL.
    """

    def __init__(self, root: str) -> None:
        root = local_path(root)
        self.root = root.rstrip("/") or root
        self.path: Path | None = None
        if is_url(root):
            self._files, self._top = open_url(self.root)
        else:
            self.path = Path(root)

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder, sorted; none if there is no such folder."""
        if self.path is not None:
            inner = self.path / folder
            entries = [path.name for path in inner.iterdir()] if inner.is_dir() else []
        else:
            with errors_of(self.root):
                try:
                    entries = self._files.ls(f"{self._top}/{folder}", detail=False)
                except FileNotFoundError:
                    entries = []
        return sorted(f"{folder}/{posixpath.basename(entry)}" for entry in entries)

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            OSError: it cannot be read.
        """
        if self.path is not None:
            return (self.path / name).read_bytes()
        with errors_of(self.root):
            return self._files.cat_file(f"{self._top}/{name}")

    def read_all(self, names: Sequence[str]) -> Iterator[bytes]:
        """The contents of several files in their order, read ahead."""
        return map_ahead(self.read, names, num_workers=NUM_READERS, num_bytes=len)

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all; one of that name is replaced.

        Raises:
            OSError: it cannot be written.
        """
        if self.path is not None:
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with write_whole(path) as file:
                file.write(data)
        else:
            with errors_of(self.root):
                self._files.pipe_file(f"{self._top}/{name}", data)

    def put(self, folder: Path) -> None:
        """Write all files that are in a folder of this machine, and in the folders within.

        Raises:
            OSError: they cannot be read or written.
        """
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                with errors_of(self.root):
                    name = f"{self._top}/{path.relative_to(folder).as_posix()}"
                    self._files.put_file(str(path), name)

    def remove(self, names: Sequence[str]) -> None:
        """Remove files.

        Raises:
            OSError: one cannot be removed.
        """
        for name in names:
            if self.path is not None:
                (self.path / name).unlink(missing_ok=True)
            else:
                with errors_of(self.root):
                    self._files.rm_file(f"{self._top}/{name}")
