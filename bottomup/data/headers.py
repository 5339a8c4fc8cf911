"""Photos that cannot be used, told by the headers of their files before a training starts.

The sizes that headers state are remembered in the user's cache folder, by the name, the size and
the time of each file. The next start asks for these alone, and opens no file.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from bottomup.data.checks import listed
from bottomup.data.coco import Record
from bottomup.files import read_json, user_cache, write_whole
from bottomup.images.decoding import usable_size
from bottomup.images.formats import DecodingError, IncompleteHeaderError, Size

HEADER_BYTES = (1 << 12, 1 << 17, 1 << 20)  # read of a file: enough for most, and for long metadata
NUM_THREADS = 8
FILES_PER_TASK = 256
MAX_CACHE_BYTES = 1 << 28
REMEDY = "mend or remove them, or pass --data.missing skip to go on without them"

Verdict = tuple[int, int, int, int]  # size and time (ns) of a file, width and height of its image
Missing = Literal["error", "skip"]

log = logging.getLogger(__name__)


class PhotoError(ValueError):
    """Why a photo cannot be used; the message names the file."""


def check_size(record: Record, size: Size) -> None:
    """Compare the size of a photo with the annotated one.

    Raises:
        PhotoError: they differ.
    """
    if size != (record.width, record.height):
        raise PhotoError(
            f"{record.path} has {size[0]} x {size[1]} pixels, "
            f"but image {record.image_id} is annotated as {record.width} x {record.height}"
        )


def check_headers(
    records: Sequence[Record],
    folder: str,
    *,
    missing: Missing = "error",
    cache: Path | None = None,
) -> tuple[Record, ...]:
    """The photos whose headers are as annotated; none is decoded.

    Args:
        records: the photos.
        folder: where they lie.
        missing: what to do about others; both list them.
        cache: the folder of remembered headers; None: that of the user.

    Raises:
        PhotoError: with "error", a photo cannot be used.
    """
    cache = cache or user_cache("headers")
    key = hashlib.sha256(f"{Path(folder).absolute()} {folder}".encode(errors="surrogateescape"))
    with _remembered(cache / f"{key.hexdigest()[:32]}.json") as verdicts:
        parts = [
            records[start : start + FILES_PER_TASK]
            for start in range(0, len(records), FILES_PER_TASK)
        ]
        with concurrent.futures.ThreadPoolExecutor(NUM_THREADS) as pool:
            faults = pool.map(lambda part: [_fault(record, verdicts) for record in part], parts)
            found = [fault for part in faults for fault in part]
    complaints = [fault for fault in found if fault]
    if complaints:
        text = listed(f"{len(complaints)} of {len(records)} photos cannot be used:", complaints)
        if missing == "error":
            raise PhotoError(f"{text}\n{REMEDY}")
        log.warning("%s", text)
    return tuple(record for record, fault in zip(records, found, strict=True) if not fault)


def _fault(record: Record, verdicts: dict[str, Verdict]) -> str | None:
    """What the header of a photo tells against it; a new verdict joins the `verdicts`."""
    name = str(record.path)
    try:
        stat = os.stat(name)
        known = verdicts.get(name)
        if known is None or known[:2] != (stat.st_size, stat.st_mtime_ns):
            known = (stat.st_size, stat.st_mtime_ns, *_header_size(name, stat.st_size))
            verdicts[name] = known
        size, annotated = known[2:], (record.width, record.height)
        # a photo on its side may be turned when it is decoded
        if size not in (annotated, annotated[::-1], (0, 0)):
            check_size(record, size)
    except PhotoError as error:
        return str(error)
    except (OSError, DecodingError) as error:
        return f"{name}: {getattr(error, 'strerror', None) or error}"
    return None


def _header_size(name: str, num_bytes: int) -> Size:
    """Width and height as a file's header states them; zeros if only decoding can tell.

    Raises:
        DecodingError: it is no image that can be decoded.
        OSError: the file cannot be read.
    """
    for limit in HEADER_BYTES:
        with open(name, "rb", buffering=0) as file:
            data = file.read(limit)
        try:
            size = usable_size(data, Path(name).suffix)
        except IncompleteHeaderError:
            if num_bytes <= len(data):
                raise
            continue
        return (0, 0) if data[4:8] == b"ftyp" else size  # AVIF may show a part of that
    return 0, 0


@contextlib.contextmanager
def _remembered(path: Path) -> Iterator[dict[str, Verdict]]:
    """Verdicts of earlier starts by file name; those that the block adds are kept."""
    verdicts = _read_verdicts(path)
    before = dict(verdicts)
    yield verdicts
    if verdicts != before:
        with contextlib.suppress(OSError):  # a full or read-only disk only costs time
            path.parent.mkdir(parents=True, exist_ok=True)
            with write_whole(path, sync=False) as file:
                file.write(json.dumps(verdicts).encode())


def _read_verdicts(path: Path) -> dict[str, Verdict]:
    """The content of a file that anybody may have written; empty if it is not as expected."""
    try:
        content = read_json(path, "headers") if path.stat().st_size <= MAX_CACHE_BYTES else {}
        return {
            str(name): (int(size), int(time), int(width), int(height))
            for name, (size, time, width, height) in content.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, OverflowError):
        return {}
