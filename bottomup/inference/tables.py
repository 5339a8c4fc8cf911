"""Lists of a run as Parquet, with the optional package pyarrow."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bottomup.files import UnfinishedFile

ROWS = 10_000  # that are held and written at once


def require_pyarrow() -> None:
    """Check that tables can be written.

    Raises:
        ValueError: pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError('--parquet needs pyarrow: pip install pyarrow, or "bottomup[parquet]"')


def part_of(path: Path) -> Path:
    """Where a list of a run is written; what a killed run has left there is replaced."""
    return path.with_name(f".{path.name}.part")


class Table(UnfinishedFile):
    """A Parquet file.

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
        super().__init__(path, part_of(path))
        self._schema = pa.schema(list(schemas[path.name].items()))
        self._rows: list[Mapping[str, Any]] = []
        self._writer = pyarrow.parquet.ParquetWriter(self.file, self._schema)

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; a value that is missing becomes null."""
        self._rows.append(row)
        if len(self._rows) >= ROWS:
            self._write()

    def complete(self, *, sync: bool = True) -> None:
        """Write what is left, and close."""
        self._write()
        self._writer.close()
        super().complete(sync=sync)

    def _write(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []
