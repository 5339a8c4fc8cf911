"""The journal of a run on many machines: a folder of Parquet files, each with records of images.

Workers write a block whole, under a name that follows from the images in it. So work that is done
twice, after a machine has died, gives the same file or one more, and no image is lost. The start of
a session and the end of the run are lines of a journal in files of their own:

    blocks/000001-start-HASH.log   the settings, and what the network runs on; one for each engine
    blocks/000001-HASH.parquet     records of the first session
    blocks/000001-z-end.log        the source had come to its end
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bottomup.distributed.places import Place
from bottomup.files import write_whole
from bottomup.inference.journal import JOURNAL, End, Record, Session, decode, encode

BLOCKS = "blocks"
MAX_LINE = 1 << 20  # bytes of a file with a line of a journal


@dataclasses.dataclass
class Progress:
    """What the blocks of a run say of it.

    Attributes:
        number: of the last session; 0 before the first.
        session: its settings; None before the first.
        is_finished: whether the source had come to its end in that session.
        done: the keys of all images that were done, sorted; see `key`.
        num_failed: those of them that failed.
    """

    number: int
    session: Session | None
    is_finished: bool
    done: np.ndarray
    num_failed: int


def key(name: str, stamp: tuple[int | None, int | None]) -> int:
    """64 bits that tell whether an image was done: they follow from its name, size and time."""
    text = json.dumps([name, *stamp]).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


def start_name(session: int, start: Session) -> str:
    """The file for the start of a session on one engine."""
    return f"{BLOCKS}/{session:06}-start-{_hash(start.engine.encode())}.log"


def end_name(session: int) -> str:
    """The file that tells that the source had come to its end."""
    return f"{BLOCKS}/{session:06}-z-end.log"


def block_name(session: int, records: Sequence[Record]) -> str:
    """The file of a block."""
    keys = np.array([key(record.name, record.stamp) for record in records], np.uint64)
    return f"{BLOCKS}/{session:06}-{_hash(keys.tobytes())}.parquet"


def to_parquet(records: Sequence[Record]) -> bytes:
    """A Parquet file with a row for each record; `name_bytes` only where a name is no UTF-8."""
    import pyarrow as pa
    import pyarrow.parquet

    file = io.BytesIO()
    table = pa.Table.from_pylist([_row(record) for record in records], schema=_schema())
    pyarrow.parquet.write_table(table, file, compression="zstd")
    return file.getvalue()


def from_parquet(data: bytes) -> Iterator[Record]:
    """The records of a Parquet file that are whole; none of a file that is damaged."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()
    except (pa.ArrowException, OSError, ValueError):
        return
    for row in rows:
        raw = row.pop("name_bytes", None)
        name = {} if raw is None else {"name": raw.decode("utf-8", "surrogatepass")}
        try:
            record = decode(encode(Record(**row | name)))  # checks it as those of any journal
        except (TypeError, ValueError):
            continue
        if isinstance(record, Record):
            yield record


def read_progress(place: Place, *, failed_since: int = 0) -> Progress:
    """What was done before.

    Args:
        place: of the run.
        failed_since: an image that failed counts as done from this session on, not before.

    Raises:
        OSError: the blocks cannot be read.
    """
    session, number = None, 0
    good, failed = [], []
    names = _names(place)
    for name, data in zip(names, place.read_all(names), strict=True):
        session_number = _session_of(name)
        number = max(number, session_number)
        if name.endswith(".log"):
            entry = decode(data)
            session = entry if isinstance(entry, Session) else session
            continue
        for record in from_parquet(data):
            if record.error is None:
                good.append(key(record.name, record.stamp))
            elif session_number >= failed_since:
                failed.append(key(record.name, record.stamp))
    done = np.unique(np.array(good, np.uint64))
    num_good = len(done)
    done = np.union1d(done, np.array(failed, np.uint64))
    is_finished = end_name(number) in names
    return Progress(number, session, is_finished, done, len(done) - num_good)


def is_run(place: Place) -> bool:
    """Whether a run on many machines has been here."""
    return bool(_names(place))


def gather(place: Place, journal: Path) -> None:
    """Write what the blocks say as one journal.

    Of several records of an image, those of the last session count, of these the first that did not
    fail. It stands last in the journal, where the last one counts.

    Args:
        place: of the run.
        journal: where to; appears whole or not at all.

    Raises:
        OSError: the blocks cannot be read, or the journal cannot be written.
    """
    names = _names(place)
    session, good = 0, set[int]()
    with write_whole(journal) as file:
        for name, data in zip(names, place.read_all(names), strict=True):
            if _session_of(name) != session:
                session, good = _session_of(name), set()
            for entry in _entries(name, data):
                if isinstance(entry, Record):
                    if hash(entry.name) in good:
                        continue
                    if entry.error is None:
                        good.add(hash(entry.name))
                file.write(encode(entry))


@contextlib.contextmanager
def gathered(place: Place) -> Iterator[Path]:
    """A folder of this machine with the journal of a run, wherever the run is.

    A folder with a run of one machine, or without a run, is given as it is.

    Raises:
        OSError: the blocks cannot be read, or the journal cannot be written.
        ValueError: there is no run behind the URL.
    """
    if place.path is not None:
        if is_run(place):
            gather(place, place.path / JOURNAL)
        yield place.path
        return
    if not is_run(place):
        raise ValueError(f"{place.root!r} holds no run: there are no {BLOCKS} in it")
    with tempfile.TemporaryDirectory(prefix="bottomup") as folder:
        gather(place, Path(folder, JOURNAL))
        yield Path(folder)


@contextlib.contextmanager
def written(place: Place, folder: Path | None = None) -> Iterator[Path]:
    """A folder of this machine for what is to be written; behind a URL it is then put there.

    Args:
        place: where it is to be.
        folder: behind a URL, a folder to use; its journal is not put.

    Raises:
        OSError: something cannot be written.
    """
    if place.path is not None:
        place.path.mkdir(parents=True, exist_ok=True)
        yield place.path
        return
    with tempfile.TemporaryDirectory(prefix="bottomup") as own:
        folder = folder or Path(own)
        yield folder
        (folder / JOURNAL).unlink(missing_ok=True)
        place.put(folder)


def clear(place: Place) -> None:
    """Remove all that a run on many machines has written to its blocks.

    Raises:
        OSError: a file cannot be removed.
    """
    place.remove(_names(place)[::-1])  # the start of a session last


def _entries(name: str, data: bytes) -> Iterable[Record | Session | End]:
    if name.endswith(".parquet"):
        return from_parquet(data)
    entry = decode(data) if len(data) <= MAX_LINE else None
    return [] if entry is None else [entry]


def _names(place: Place) -> list[str]:
    """The files of all sessions, each with its starts first and its end last."""
    own = re.compile(rf"{BLOCKS}/[0-9]{{6}}-(start-[0-9a-f]+\.log|z-end\.log|[0-9a-f]+\.parquet)")
    names = [name for name in place.names(BLOCKS) if own.fullmatch(name)]
    return sorted(names, key=lambda name: (_session_of(name), "-start-" not in name, name))


def _session_of(name: str) -> int:
    return int(name.removeprefix(f"{BLOCKS}/")[:6])


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _row(record: Record) -> dict[str, Any]:
    r"""Text of Parquet is UTF-8: bytes that are not are shown as \udcXX."""
    row = dict(vars(record))
    row |= {k: _text(v) for k, v in row.items() if isinstance(v, str)}
    is_text = row["name"] == record.name
    return row | {"name_bytes": None if is_text else record.name.encode("utf-8", "surrogatepass")}


def _text(value: str) -> str:
    return value.encode("utf-8", "backslashreplace").decode()


def _schema() -> Any:
    import pyarrow as pa

    whole, text = pa.int64(), pa.string()
    person = {
        "image_id": whole,
        "category_id": whole,
        "keypoints": pa.list_(pa.float64()),
        "score": pa.float64(),
    }
    columns = {"name": text, "name_bytes": pa.binary()}
    columns |= dict.fromkeys(("size", "time", "width", "height", "shown"), whole)
    columns |= dict.fromkeys(("overlay", "thumbnail", "error", "warning"), text)
    columns |= {"seconds": pa.float64(), "people": pa.list_(pa.struct(list(person.items())))}
    return pa.schema(list(columns.items()))
