"""Lists of a run as Parquet, with the optional package pyarrow."""

import contextlib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROWS = 10_000  # that are held and written at once


def require_pyarrow() -> None:
    """Check that tables can be written.

    Raises:
        ValueError: pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError('--parquet needs pyarrow: pip install pyarrow, or "bottomup[parquet]"')


class Table:
    """A Parquet file that is written beside its place, and moved there by its owner at the end.

    Args:
        path: results.parquet, with a row for each person, or images.parquet, with a row for each
            image, also for those that failed.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet

        whole, text = pa.int64(), pa.string()
        schemas = {
            "results.parquet": {
                "image_id": whole,
                "file_name": text,
                "category_id": whole,
                "score": pa.float64(),
                "keypoints": pa.list_(pa.float64()),
            },
            "images.parquet": {
                "id": whole,
                "file_name": text,
                "width": whole,
                "height": whole,
                "num_people": whole,
                "error": text,
                "warning": text,
                "seconds": pa.float64(),
            },
        }
        self.path, self.part = path, path.with_name(f".{path.name}.part")
        self._schema = pa.schema(list(schemas[path.name].items()))
        self._rows: list[Mapping[str, Any]] = []
        self._file = open(self.part, "wb")  # noqa: SIM115
        self._writer = pyarrow.parquet.ParquetWriter(self._file, self._schema)

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; a value that is missing becomes null."""
        self._rows.append(row)
        if len(self._rows) >= ROWS:
            self._write()

    def complete(self) -> None:
        """Write what is left, and sync."""
        self._write()
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def discard(self) -> None:
        """Remove the unfinished file; after it has been moved this does nothing."""
        with contextlib.suppress(OSError):  # what was still to be written is not wanted
            self._file.close()
        self.part.unlink(missing_ok=True)

    def _write(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []
