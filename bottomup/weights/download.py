"""Fetching a file whose hash is known: what broke off is continued, what is wrong never gets its name."""

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
FACTOR = 2.0  # by which a file may be larger or smaller than expected: enough to tell it from a page or another file


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
    """Fetch a file unless it is there; it appears whole and right, or not at all.

    What arrived before a connection broke stays beside it as NAME.part, and the next call asks for
    the rest alone.

    Args:
        url: http or https.
        target: where to; its folder is made.
        sha256: the first hexadecimal digits of the file's SHA-256, or all of them.
        num_bytes: about how many it has; less than half or more than twice as many are another
            file.
        report: called with the bytes that are there and those that there will be, None where the
            server does not say.

    Raises:
        ValueError: the URL is none of those kinds.
        DownloadError: no connection, a refusal of the server, a transfer that broke off, or another
            file than expected.
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
            digest = _digest(file)
            if not digest.hexdigest().startswith(sha256):  # else only its name was missing
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
            f"{url}: has the SHA-256 {digest.hexdigest()}, which does not begin with {sha256}: another file, or a "
            "damaged one; it was removed. Fetch it again, or from another place by --url"
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


def _digest(file: BinaryIO) -> Any:
    """Of what the file holds; afterwards it stands at its end."""
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest


def _transfer(
    url: str,
    file: BinaryIO,
    digest: Any,
    num_bytes: float,
    report: Callable[[int, int | None], None],
) -> Any:
    """Append what the file still lacks, or all of it if the server does not give parts; the digest of the whole."""
    with _explained(url), _open(url, file.tell()) as response:
        start = _first_byte(response, file.tell())
        if start < file.tell():
            file.truncate(0)
            digest = hashlib.sha256()
        total = _total(response, start)
        most = num_bytes * FACTOR
        if total is not None and not num_bytes / FACTOR <= total <= most:
            raise DownloadError(
                f"{url}: the server has {total} bytes there, not about {num_bytes:.0f}: another file, or a page that "
                "explains why not; nothing was fetched. Try another place by --url"
            )
        done = start
        while chunk := response.read(CHUNK):
            done += len(chunk)
            if done > most:
                raise _too_long(url, file, num_bytes)
            file.write(chunk)
            digest.update(chunk)
            report(done, total)
        if total is not None and done < total:
            raise http.client.IncompleteRead(b"", total - done)
    return digest


def _open(url: str, start: int) -> Any:
    """The server's answer from a byte on; from the first one where there is nothing after that byte."""
    headers = {"User-Agent": "bottomup", "Accept-Encoding": "identity"}
    if start:
        request = urllib.request.Request(url, headers={**headers, "Range": f"bytes={start}-"})
        try:
            return urllib.request.urlopen(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            with error:
                if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    raise
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)


def _first_byte(response: Any, wanted: int) -> int:
    """With which byte the answer begins: the wanted one if the server gives parts, else the first."""
    said = response.headers.get("Content-Range", "")
    is_part = response.status == http.HTTPStatus.PARTIAL_CONTENT and said.startswith(
        f"bytes {wanted}-"
    )
    if not is_part and response.status == http.HTTPStatus.PARTIAL_CONTENT:
        raise DownloadError(
            f"{response.url}: the server gave the bytes {said!r} for those from {wanted} on"
        )
    return wanted if is_part else 0


def _total(response: Any, start: int) -> int | None:
    """Bytes of the whole file, if the server says so."""
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isascii() and length.isdigit() else None


def _too_long(url: str, file: BinaryIO, num_bytes: float) -> DownloadError:
    file.truncate(0)
    return DownloadError(
        f"{url}: sends more than the about {num_bytes:.0f} bytes of the file, so it is another one; it was removed. "
        "Try another place by --url"
    )


@contextlib.contextmanager
def _explained(url: str) -> Iterator[None]:
    """What went wrong on the way, in words; what the disk complains about is left as it is."""
    kept = "what arrived is kept: the same command goes on from there"
    try:
        yield
    except DownloadError:
        raise
    except urllib.error.HTTPError as error:
        with error:
            raise DownloadError(
                f"{url}: the server answers {error.code} {error.reason}; try --url"
            ) from error
    except urllib.error.URLError as error:
        raise DownloadError(f"{url}: no connection ({error.reason}); {kept}") from error
    except http.client.IncompleteRead as error:
        raise DownloadError(
            f"{url}: the transfer broke off, {error.expected} bytes before its end; {kept}"
        ) from error
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise DownloadError(
            f"{url}: the transfer broke off ({error or type(error).__name__}); {kept}"
        ) from error
