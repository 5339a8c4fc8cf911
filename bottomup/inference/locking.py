"""One run at a time in a folder."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where a second run is not noticed
    fcntl = None

LOCK = ".lock"


@contextlib.contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Keep other runs out of a folder.

    The system drops the lock of a process that ended, however it ended.

    Raises:
        ValueError: another run has the folder; the message gives its process id.
        OSError: the folder cannot be written.
    """
    path = Path(folder) / LOCK
    with open(path, "a+", encoding="utf-8", errors="replace") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise ValueError(
                    f"{str(folder)!r} is in use by process {file.read(200).strip()}: "
                    "wait until it ends, or choose another folder"
                ) from None
            except OSError:
                pass  # a file system without locks
        file.truncate(0)
        file.write(f"{os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
