"""The journal of a run: an append-only file that survives a kill, a power failure and a full disk.

A record is a line of text: a CRC-32, the length of the JSON that follows (both as 8 hexadecimal
digits), and the JSON. The CRC is of all that stands behind it. A record is either whole or ignored:
a line that was torn or damaged costs what it says and nothing else.
"""

import dataclasses
import json
import math
import os
import re
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

JOURNAL = "journal.log"
FORMAT = 1  # of the records and of the lists that are assembled from them, see docs/runs.md
SYNC_SECONDS = 0.5  # no record waits longer for the disk than this and the time of a sync
MAX_BYTES = 1 << 26  # of a record

# the types of a record's values, to check one that was read
_TYPES: dict[str, Any] = {
    **dict.fromkeys(("size", "time", "width", "height", "shown"), int | None),
    **dict.fromkeys(("overlay", "thumbnail", "error", "warning"), str | None),
    "name": str,
    "people": list | None,
    "seconds": int | float | None,
}


@dataclasses.dataclass(frozen=True)
class Record:
    """One image of a run.

    Attributes:
        name: of the image within the source.
        size: bytes of its file; None if there is no file.
        time: when its file was last changed, in nanoseconds since 1970; None if there is no file.
        width: pixels; None if it could not be read.
        height: likewise.
        people: as results.json has them, with 0 as the id of the image; None if the image failed.
        shown: the number of people above the score threshold; None if the image failed.
        overlay: path of the overlay within the folder, with forward slashes; None without one.
        thumbnail: a small overlay as a JPEG in base64; None without one.
        error: what went wrong; None if all is well.
        warning: what is doubtful about the image; None if nothing is.
        seconds: from the record before it to this one.
    """

    name: str
    size: int | None = None
    time: int | None = None
    width: int | None = None
    height: int | None = None
    people: list[dict[str, Any]] | None = None
    shown: int | None = None
    overlay: str | None = None
    thumbnail: str | None = None
    error: str | None = None
    warning: str | None = None
    seconds: float | None = None

    @property
    def stamp(self) -> tuple[int | None, int | None]:
        """What tells whether the file has changed: its size and its time."""
        return self.size, self.time


@dataclasses.dataclass(frozen=True)
class Session:
    """The start of a run, or of its going on.

    Attributes:
        settings: all that changes the results, by name.
        engine: what the network runs on.
        retries: whether the failures of before are forgotten: they are done again, or gone.
    """

    settings: Mapping[str, Any]
    engine: str
    retries: bool = False


@dataclasses.dataclass(frozen=True)
class End:
    """The source has come to its end: nothing was left to do then.

    Attributes:
        num_images: in the source.
    """

    num_images: int


Entry = Record | Session | End


@dataclasses.dataclass
class State:
    """What a journal says of the run so far.

    Attributes:
        session: the last start; None in a new journal.
        engines: those of all starts.
        is_finished: whether the source had come to its end, and nothing was recorded since.
        stamps: the hash of the stamp by the hash of the name, for each image. Memory for millions.
        failed: the hashes of the names of images that failed.
        end: bytes up to the end of the last line that is whole.
    """

    session: Session | None = None
    engines: set[str] = dataclasses.field(default_factory=set)
    is_finished: bool = False
    stamps: dict[int, int] = dataclasses.field(default_factory=dict)
    failed: set[int] = dataclasses.field(default_factory=set)
    end: int = 0

    def forget_failed(self) -> None:
        """Let what failed be done again."""
        self.is_finished &= not self.failed
        for name in self.failed:
            self.stamps.pop(name, None)
        self.failed.clear()


class Journal:
    """Appends records to a journal; a context manager.

    A record is with the operating system when `append` returns, so a kill loses nothing. A thread
    syncs it to the disk soon after, so a power failure loses less than a second.

    Args:
        path: made if it does not exist.
        end: where to append; what is behind it is cut off.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: str | Path, end: int = 0) -> None:
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115
        if self._file.tell() != end:
            self._file.truncate(end)
        self._end = end
        self._is_synced = True
        self._failure: OSError | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._sync_often, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, entry: Entry) -> None:
        """Write a record, whole or not at all.

        Raises:
            OSError: the disk is full, or the like; the journal is then as before.
        """
        self._raise_failure()
        line = encode(entry)
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:]) or 0
        except OSError:
            self._file.truncate(self._end)
            raise
        self._end += len(line)
        self._is_synced = False

    def close(self) -> None:
        """Sync and close.

        Raises:
            OSError: the last records did not get to the disk.
        """
        self._closing.set()
        self._thread.join()
        self._sync()
        self._file.close()
        self._raise_failure()

    def _sync_often(self) -> None:
        while not self._closing.wait(SYNC_SECONDS):
            self._sync()

    def _sync(self) -> None:
        if not self._is_synced and self._failure is None:
            self._is_synced = True
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                self._failure = error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


def encode(entry: Entry) -> bytes:
    """The line of a record."""
    if isinstance(entry, Record):
        values = {name: value for name, value in vars(entry).items() if value is not None}
    elif isinstance(entry, Session):
        values = {"session": {"format": FORMAT} | vars(entry)}
    else:
        values = {"end": vars(entry)}
    content = json.dumps(values, separators=(",", ":"), allow_nan=False).encode()
    behind = b"%08x %s\n" % (len(content), content)
    return b"%08x %s" % (zlib.crc32(behind), behind)


def decode(line: bytes) -> Entry | None:
    """The record of a line; None if the line is damaged, or not one of this format."""
    if not re.match(rb"[0-9a-f]{8} [0-9a-f]{8} \{", line) or not line.endswith(b"\n"):
        return None
    if int(line[:8], 16) != zlib.crc32(line[9:]) or int(line[9:17], 16) != len(line) - 19:
        return None
    try:
        values = json.loads(line[18:])
        if "session" in values:
            session = values["session"]
            is_known = session["format"] == FORMAT and isinstance(session["settings"], dict)
            retries = session.get("retries") is True
            engine = str(session["engine"])
            return Session(session["settings"], engine, retries) if is_known else None
        if "end" in values:
            return End(int(values["end"]["num_images"]))
        return _record(values)
    except (ValueError, LookupError, TypeError, RecursionError, OverflowError):
        return None


def _record(values: Mapping[str, Any]) -> Record | None:
    record = Record(**values)
    if not all(isinstance(getattr(record, name), kind) for name, kind in _TYPES.items()):
        return None
    if record.people is not None and (record.width is None or record.height is None):
        return None
    is_finite = math.isfinite(record.seconds or 0)
    return record if is_finite and all(map(_is_person, record.people or [])) else None


def _is_person(person: dict[str, Any]) -> bool:
    numbers = [person["image_id"], person["category_id"], person["score"], *person["keypoints"]]
    is_known = len(person) == 4 and isinstance(person["keypoints"], list)
    return is_known and all(map(math.isfinite, numbers))


def read(path: str | Path) -> Iterator[tuple[int, Entry]]:
    """The records of a journal that are whole, each with the byte where its line begins.

    Raises:
        OSError: the journal cannot be read.
    """
    with open(path, "rb") as file:
        for offset, line in _lines(file):
            if (entry := decode(line)) is not None:
                yield offset, entry


def read_at(file: BinaryIO, offset: int) -> Record:
    """The record whose line begins at a byte.

    Raises:
        ValueError: it is no longer there.
    """
    file.seek(offset)
    record = decode(file.readline(MAX_BYTES))
    if not isinstance(record, Record):
        raise ValueError(f"{file.name!r} has changed while it was read: try again")
    return record


def read_state(path: str | Path, *, overlays: str | Path | None = None) -> State:
    """What the journal says of the run so far; that of a new run if there is none.

    Args:
        path: of the journal.
        overlays: the folder where the paths of overlays begin. An image whose overlay is gone is
            then left out, to be done again.

    Raises:
        OSError: the journal cannot be read.
    """
    state = State()
    if not os.path.exists(path):
        return state
    with open(path, "rb") as file:
        for offset, line in _lines(file):
            state.end = offset + len(line) if line.endswith(b"\n") else state.end
            _count(state, decode(line), overlays)
    return state


def _count(state: State, entry: Entry | None, overlays: str | Path | None) -> None:
    """Add a record to what is known; a later record of an image replaces an earlier one."""
    if isinstance(entry, Session):
        state.session = entry
        state.engines.add(entry.engine)
        if entry.retries:
            state.forget_failed()
    elif isinstance(entry, End):
        state.is_finished = True
    elif entry is not None:
        state.is_finished = False
        name = hash(entry.name)
        state.stamps[name] = hash(entry.stamp)
        state.failed.discard(name)
        if entry.error is not None:
            state.failed.add(name)
        overlay = (
            None if overlays is None or entry.overlay is None else Path(overlays, entry.overlay)
        )
        if overlay is not None and not _is_there(overlay):
            del state.stamps[name]


def _is_there(path: str | Path) -> bool:
    """Whether a file is there with some content: after a power failure it may have none."""
    try:
        return os.path.getsize(path) > 0
    except (OSError, ValueError):
        return False


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines with their offsets; a line that is too long comes in parts, none of them a record."""
    offset = 0
    while line := file.readline(MAX_BYTES):
        yield offset, line
        offset += len(line)
