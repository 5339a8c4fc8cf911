"""The lists of a run and its page, assembled from the journals of one folder or of several.

They are written beside their places and moved there together, so no folder holds half a list. Only
an index of the names is held in memory. Other files in the folder are left alone.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bottomup.data.image_ids import Annotated, ImageIds
from bottomup.files import UnfinishedFile
from bottomup.inference import gallery
from bottomup.inference.journal import JOURNAL, Record, Session, read, read_at
from bottomup.inference.tables import Table, part_of

LISTS = ("results.json", "images.json", "failures.json", "index.html")
TABLES = ("results.parquet", "images.parquet")
MAX_LISTED = 20  # failures in the summary; failures.json has them all


@dataclasses.dataclass
class Summary:
    """What the lists hold.

    Attributes:
        num_people: above the score threshold.
        failures: name and reason of the first few.
        unmatched: names that the annotations lack; empty without annotations.
    """

    num_images: int = 0
    num_people: int = 0
    num_failed: int = 0
    failures: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    unmatched: list[str] = dataclasses.field(default_factory=list)


def collect(
    folders: Sequence[Path], out: Path, annotated: Annotated | None = None, *, parquet: bool = False
) -> Summary:
    """Write the lists and the page of all images in the journals, in the order of their names.

    Of several records of one image the last one counts.

    Args:
        folders: each with a journal.
        out: where to; made if it does not exist.
        annotated: gives ids by the names of images.
        parquet: write results.parquet and images.parquet too; otherwise, those of before go.

    Raises:
        OSError: a journal cannot be read, or a list cannot be written. The lists of before are then
            as they were.
    """
    index = _index(folders)
    names = sorted(index)
    ids = ImageIds(annotated and annotated.ids)
    for name in names:
        ids.claim(_name(name))
    ids.match()
    summary = Summary(unmatched=ids.unmatched)
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        journals = [stack.enter_context(open(folder / JOURNAL, "rb")) for folder in folders]
        category_id = annotated.category_id if annotated else 1
        lists = stack.enter_context(_Lists(out, category_id, parquet=parquet))
        for name in names:
            number, offset = index[name]
            record = read_at(journals[number], offset)
            lists.add(record, ids(record.name), folders[number])
            summary.num_images += 1
            summary.num_people += record.shown or 0
            if record.error is not None:
                summary.num_failed += 1
                if len(summary.failures) < MAX_LISTED:
                    summary.failures.append((record.name, record.error))
        lists.complete()
    return summary


def are_newer(out: Path, journal: Path, *, parquet: bool = False) -> bool:
    """Whether the lists are there, and were written after the last record of the journal."""
    try:
        oldest = min((out / name).stat().st_mtime_ns for name in LISTS + TABLES * parquet)
        return oldest >= journal.stat().st_mtime_ns
    except OSError:
        return False


def _index(folders: Sequence[Path]) -> dict[bytes, tuple[int, int]]:
    """Where the last record of each image is: the number of its folder, and its byte there."""
    return functools.reduce(operator.ior, itertools.starmap(_index_of, enumerate(folders)))


def _index_of(number: int, folder: Path) -> dict[bytes, tuple[int, int]]:
    index: dict[bytes, tuple[int, int]] = {}
    failed: set[bytes] = set()
    for offset, entry in read(folder / JOURNAL):
        if isinstance(entry, Record):
            key = _key(entry.name)
            index[key] = (number, offset)
            (failed.discard if entry.error is None else failed.add)(key)
        elif isinstance(entry, Session) and entry.retries:
            for key in failed:
                del index[key]
            failed.clear()
    return index


def _key(name: str) -> bytes:
    """Sorts names as folders are gone through: "a/b" before "a-b"."""
    return name.replace("/", "\0").encode("utf-8", "surrogatepass")


def _name(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass").replace("\0", "/")


class _Lists:
    """All lists of a run while they are written; a context manager that leaves no parts behind."""

    def __init__(self, out: Path, category_id: int, *, parquet: bool) -> None:
        self._out, self._category_id, self._num_rows = out, category_id, 0
        self._lists: list[_GrowingList] = []
        self._tables: list[Table] = []
        try:
            for name, start, end in (
                (LISTS[0], "[", "]"),
                (LISTS[1], '{"images": [', "]}"),
                (LISTS[2], "[", "]"),
                (LISTS[3], *gallery.split_page()),
            ):
                self._lists.append(_GrowingList(out / name, start, end))
            self._tables += [Table(out / name) for name in TABLES * parquet]
        except BaseException:
            self.__exit__()
            raise
        self._results, self._images, self._failures, self._page = self._lists

    def __enter__(self) -> "_Lists":
        return self

    def __exit__(self, *_: object) -> None:
        for growing in (*self._lists, *self._tables):
            growing.discard()

    def add(self, record: Record, image_id: int, folder: Path) -> None:
        """Append a record; they come in the order of the lists.

        Args:
            record: of an image.
            image_id: its id.
            folder: where the path of its overlay begins.
        """
        if record.people is not None:
            image = {
                "id": image_id,
                "file_name": record.name,
                "width": record.width,
                "height": record.height,
            }
            warning = {} if record.warning is None else {"warning": record.warning}
            self._images.add(image | warning)
            for person in record.people:
                self._results.add(person | self._ids(image_id))
        if record.error is not None:
            self._failures.add({"file": record.name, "reason": record.error})
        if self._num_rows < gallery.MAX_ROWS:
            overlay = record.overlay
            if overlay is not None and folder != self._out:
                path = folder / overlay  # not there if the run is behind a URL
                relative = os.path.relpath(path, self._out).replace(os.sep, "/")
                overlay = relative if path.exists() else None
            self._page.add(gallery.entry(record, overlay))
        self._num_rows += 1
        if self._tables:
            self._add_to_tables(record, image_id)

    def _ids(self, image_id: int) -> dict[str, int]:
        return {"image_id": image_id, "category_id": self._category_id}

    def _add_to_tables(self, record: Record, image_id: int) -> None:
        results, images = self._tables
        name = record.name.encode("utf-8", "backslashreplace").decode()
        for person in record.people or []:
            results.add({"file_name": name} | person | self._ids(image_id))
        values = {
            "id": image_id,
            "file_name": name,
            "num_people": record.shown,
            **{
                key: getattr(record, key)
                for key in ("width", "height", "error", "warning", "seconds")
            },
        }
        images.add(values)

    def complete(self) -> None:
        """Complete all lists, then put them in place of those of before."""
        for growing in (*self._lists, *self._tables):
            growing.complete()
        for growing in (*self._lists, *self._tables):
            growing.move()
        if not self._tables:  # those of before would tell of other images
            for name in TABLES:
                (self._out / name).unlink(missing_ok=True)


class _GrowingList(UnfinishedFile):
    """A text file with a list of JSON values."""

    def __init__(self, path: Path, start: str, end: str) -> None:
        super().__init__(path, part_of(path))
        self._end = end
        self.file.write(start.encode())
        self._separator = "\n"

    def add(self, value: Any) -> None:
        # "<" could end the script of the page early; its escape means the same in JSON
        text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        self.file.write((self._separator + text).encode())
        self._separator = ",\n"

    def complete(self, *, sync: bool = True) -> None:
        self.file.write(f"\n{self._end}\n".encode())
        super().complete(sync=sync)
