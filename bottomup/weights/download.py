"""Fetching a file whose hash is known: resumed where it broke off, named only once it is right."""

import contextlib
import hashlib
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

CHUNK = 1 << 20  # bytes
TIMEOUT = 30.0  # seconds without a byte
FACTOR = 2.0  # a file that is this much larger or smaller than expected is another file, or a page
KEPT = "what arrived is kept: the same command goes on from there"


class DownloadError(OSError):
    """A file could not be fetched; the message says why and what to do."""


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str,
    num_bytes: float,
    report: Callable[[int, int | None], None] = lambda done, total: None,
) -> None:
    """Fetch a file unless it exists; it appears whole and right, or not at all.

    What arrives before a connection breaks stays beside it as NAME.part. The next call fetches the
    rest only.

    Args:
        url: http or https.
        target: where to; its folder is made.
        sha256: the first hexadecimal digits of the file's SHA-256, or all of them.
        num_bytes: about how many bytes it has; a file with less than half or more than twice as
            many is refused.
        report: called with the bytes so far and those of the whole file, None if the server does
            not say.

    Raises:
        ValueError: the URL is neither http nor https.
        DownloadError: no connection, a refusal of the server, a broken transfer, or another file
            than expected.
        OSError: the file cannot be written.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"{url!r} is not a URL that begins with http:// or https://")
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    with part.open("a+b") as file:
        _claim(file, part)
        try:
            file.seek(0)
            digest: Any = hashlib.file_digest(file, "sha256")  # leaves the file at its end
            if not digest.hexdigest().startswith(sha256):  # else it only has to be renamed
                digest = _transfer(url, file, digest, num_bytes, report)
            file.flush()
            os.fsync(file.fileno())
        finally:
            if not part.stat().st_size:
                with contextlib.suppress(PermissionError):  # Windows keeps open files
                    part.unlink()
    if not digest.hexdigest().startswith(sha256):
        part.unlink(missing_ok=True)
        raise DownloadError(
            f"{url}: has the SHA-256 {digest.hexdigest()}, which does not begin with {sha256}: "
            "another file, or a damaged one; it was removed. Fetch it again, or from another "
            "place by --url"
        )
    part.replace(target)


def _claim(file: BinaryIO, part: Path) -> None:
    """Keep other processes from appending to the same file, where the system can."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DownloadError(f"{part}: another process is fetching it; wait for that one") from error


def _transfer(
    url: str,
    file: BinaryIO,
    digest: Any,
    num_bytes: float,
    report: Callable[[int, int | None], None],
) -> Any:
    """Append the rest, or write all if the server sends all; returns the digest of the whole."""
    with _explained(url), _open(url, file.tell()) as response:
        done = _first_byte(response, file.tell())
        if done < file.tell():
            file.truncate(0)
            digest = hashlib.sha256()

        # a wrong size is noticed before anything is written, if the server tells the size
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isascii() and length.isdigit() else None
        if total is not None and not num_bytes / FACTOR <= total <= num_bytes * FACTOR:
            raise DownloadError(
                f"{url}: the server has {total} bytes there, not about {num_bytes:.0f}: another "
                "file, or a page that explains why not; nothing was fetched. Try another place "
                "by --url"
            )
        while chunk := response.read(CHUNK):
            done += len(chunk)
            if done > num_bytes * FACTOR:
                file.truncate(0)
                raise DownloadError(
                    f"{url}: sends more than the about {num_bytes:.0f} bytes of the file, so it is "
                    "another one; it was removed. Try another place by --url"
                )
            file.write(chunk)
            digest.update(chunk)
            report(done, total)
        if total is not None and done < total:
            raise DownloadError(
                f"{url}: the transfer broke off, {total - done} bytes before its end; {KEPT}"
            )
    return digest


def _open(url: str, start: int) -> Any:
    """The server's answer from byte `start` on, or from the first if nothing follows `start`."""
    headers = {"User-Agent": "bottomup", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        request = urllib.request.Request(url, headers=headers)
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if not start or error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
    return _open(url, 0)


def _first_byte(response: Any, wanted: int) -> int:
    """The position of the answer's first byte: `wanted`, or 0 if the server sends all."""
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0
    given = response.headers.get("Content-Range", "")
    if not given.startswith(f"bytes {wanted}-"):
        raise DownloadError(
            f"{response.url}: the server gave the bytes {given!r} for those from {wanted} on"
        )
    return wanted


@contextlib.contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn errors of the network into `DownloadError`; those of the disk stay as they are."""
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            raise DownloadError(
                f"{url}: the server answers {error.code} {error.reason}; try --url"
            ) from error
    except urllib.error.URLError as error:
        raise DownloadError(f"{url}: no connection ({error.reason}); {KEPT}") from error
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise DownloadError(
            f"{url}: the transfer broke off ({str(error) or type(error).__name__}); {KEPT}"
        ) from error
