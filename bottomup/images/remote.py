"""Files behind URLs, such as s3://bucket/photo.jpg, by the package fsspec.

Keys and addresses of servers come from the environment or from fsspec's own configuration. What the
packages for the protocols raise becomes an OSError of one line.
"""

import contextlib
import datetime
import glob
import posixpath
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from bottomup.images.formats import DecodingError

ATTEMPTS = 3  # to read a file, beside those that the package for the protocol makes itself
FIRST_PAUSE = 0.2  # seconds before the second attempt; each later one waits four times as long
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
TIMES = ("LastModified", "mtime", "updated", "created")  # what protocols call it


class Remote(NamedTuple):
    """A file behind a URL.

    Attributes:
        url: with its protocol.
        size: bytes; None if it is not known.
        time: when it was last changed, in nanoseconds since 1970; None if it is not known.
    """

    url: str
    size: int | None = None
    time: int | None = None


def is_url(path: str) -> bool:
    """Whether a source is behind a URL, and not a path of this machine."""
    return re.match(r"[a-z][a-z0-9+.-]+://", path, re.IGNORECASE) is not None


def local_path(path: str) -> str:
    """The path of a file:// URL; any other path or URL as it is."""
    return path.removeprefix("file://")


def path_of(url: str) -> str:
    """A URL without its protocol, and without a slash at either end."""
    return url.split("://", 1)[-1].strip("/")


def open_url(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there.

    Raises:
        ValueError: the protocol is not known, or its package is not installed.
        OSError: the server cannot be reached.
    """
    import fsspec

    protocol = url.split("://", 1)[0].lower()
    try:
        with errors_of(url):
            return fsspec.url_to_fs(url, use_listings_cache=False, skip_instance_cache=False)
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        remedy = f', or "bottomup[{extra}]"' if extra else ""
        raise ValueError(f"{protocol}:// needs another package: {error}{remedy}") from error
    except ValueError as error:
        raise ValueError(f"{error}: name a path, or a protocol of fsspec such as s3://") from error


@contextlib.contextmanager
def errors_of(url: str) -> Iterator[None]:
    """Turn what a package for a protocol raises into an OSError.

    Raises:
        OSError: something went wrong; FileNotFoundError and PermissionError stay what they are.
    """
    try:
        yield
    except (ImportError, MemoryError, ValueError):
        raise
    except Exception as error:
        if isinstance(error, FileNotFoundError):
            raise FileNotFoundError("no such file or folder") from error
        words = " ".join(str(getattr(error, "strerror", None) or error).split())
        kind = PermissionError if isinstance(error, PermissionError) else OSError
        raise kind(words[:300] or type(error).__name__) from error


def read_url(remote: Remote, max_bytes: int) -> bytes:
    """The content of a file; a failure that may pass is tried again.

    Raises:
        DecodingError: it is too large, or does not state its size.
        OSError: it cannot be read.
        ValueError: the package for the protocol is not installed.
    """
    files, path = open_url(remote.url)
    for attempt in range(ATTEMPTS):
        try:
            with errors_of(remote.url):
                size = files.info(path).get("size") if remote.size is None else remote.size
                if size is None or size > max_bytes:
                    stated = "of unknown size" if size is None else f"{size:,} bytes"
                    raise DecodingError(f"too large: {stated}, more than {max_bytes:,}")
                return files.cat_file(path)
        except (FileNotFoundError, PermissionError):
            raise
        except OSError:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(FIRST_PAUSE * 4**attempt)
    raise AssertionError("the last attempt returns or raises")


def find(url: str, exclude: Callable[[str], bool]) -> Iterator[Remote]:
    """The files of a URL: itself, those of the folder that it is, or those that match its pattern.

    Of a folder, one level is held at a time; names are sorted within it, hidden ones left out.

    Args:
        url: without a slash at its end.
        exclude: whether to leave out a folder that is found, by its URL.

    Raises:
        OSError: the server cannot be reached, or there is no such file or folder.
        ValueError: the package for the protocol is not installed.
    """
    files, path = open_url(url)
    with errors_of(url):
        if glob.has_magic(path):
            matches = files.glob(path, detail=True)
            for name in sorted(matches):
                if matches[name]["type"] == "file":
                    yield _remote(files, name, matches[name])
            return
        info = files.info(path)
    if info["type"] == "file":
        yield _remote(files, path, info)
        return
    folders = [path]
    while folders:
        folder = folders.pop()
        with errors_of(files.unstrip_protocol(folder)):
            entries = {entry["name"].rstrip("/"): entry for entry in files.ls(folder, detail=True)}
        entries.pop(folder, None)  # some servers have a file of that name for an empty folder
        inner = []
        for name in sorted(entries):
            if posixpath.basename(name).startswith("."):
                continue
            if entries[name]["type"] != "directory":
                yield _remote(files, name, entries[name])
            elif not exclude(files.unstrip_protocol(name)):
                inner.append(name)
        folders += reversed(inner)


def _remote(files: Any, name: str, info: dict[str, Any]) -> Remote:
    changed = next((info[key] for key in TIMES if info.get(key) is not None), None)
    if isinstance(changed, datetime.datetime):
        changed = changed.timestamp()
    is_number = isinstance(changed, int | float)
    return Remote(
        files.unstrip_protocol(name), info.get("size"), int(changed * 1e9) if is_number else None
    )
