"""Cases of golden numbers, and how far results are from them."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bottomup.files import read_json
from bottomup.skeleton import COCO, CROWDPOSE

SKELETONS = {skeleton.num_keypoints: skeleton for skeleton in (COCO, CROWDPOSE)}
"""The joints of golden data, by their number."""

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Deviation:
    """How far a result is from the golden one, at the place where that counts most.

    Attributes:
        what: the name of the result.
        size: the difference; infinite where the two cannot be compared.
        allowed: the tolerance at that place; 0 for what must be equal.
        detail: the two values and the place.
    """

    what: str
    size: float
    allowed: float
    detail: str = ""

    @property
    def passes(self) -> bool:
        """Whether the difference is within the tolerance; NaN is not."""
        return self.size <= self.allowed

    @property
    def share(self) -> float:
        """The difference as a share of the tolerance."""
        if self.size == 0:
            return 0.0
        return self.size / self.allowed if self.allowed else math.inf


@dataclasses.dataclass(frozen=True)
class Case:
    """One case of a family; `compare` computes its results and yields their deviations."""

    name: str
    compare: Callable[[], Iterator[Deviation]]


def close(
    what: str, found: Any, expected: Any, *, atol: float = 0.0, rtol: float = 0.0
) -> Deviation:
    """Compare arrays: |found - expected| <= atol + rtol * |expected|, of equal shapes."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        return Deviation(what, math.inf, atol, f"shape {found.shape}, not {expected.shape}")
    if expected.size == 0:
        return Deviation(what, 0.0, atol)
    with np.errstate(invalid="ignore"):
        size = np.where(found == expected, 0, np.abs(found - expected))
    size = np.where(np.isfinite(size), size, np.inf)  # NaN equals nothing
    allowed = atol + rtol * np.where(np.isfinite(expected), np.abs(expected), 0)
    share = size / np.maximum(allowed, np.finfo(float).tiny)
    worst = np.unravel_index(np.argmax(share), share.shape)
    place = f" at {[int(i) for i in worst]}" if worst else ""
    detail = f"{found[worst]:.9g}, not {expected[worst]:.9g}{place}"
    return Deviation(what, float(size[worst]), float(allowed[worst]), detail)


def same(what: str, found: Any, expected: Any) -> Deviation:
    """Compare values that must be equal; of lists, the first difference is told."""
    if found == expected:
        return Deviation(what, 0.0, 0.0)
    detail = f"{found!r}, not {expected!r}"
    if isinstance(found, list) and isinstance(expected, list):
        pairs = enumerate(zip(found, expected, strict=False))
        length = f"{len(found)} entries, not {len(expected)}"
        detail = next((f"{a!r}, not {b!r} at [{i}]" for i, (a, b) in pairs if a != b), length)
    return Deviation(what, math.inf, 0.0, detail)


def file_cases(
    folder: Path, compare: Callable[[Arrays, dict[str, Any]], Iterator[Deviation]]
) -> list[Case]:
    """One case for each array file: those that index.json lists, then those that it does not.

    Args:
        folder: of the family.
        compare: takes the arrays of a file, and its entry in index.json ({} if it has none).

    Raises:
        ValueError: index.json is damaged.
    """
    index = folder / "index.json"
    entries = read_json(index, "index") if index.exists() else []
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("file"), str) for entry in entries
    ):
        raise ValueError(f"index {str(index)!r} is not a list of objects that name a 'file'")
    files = {entry["file"]: entry for entry in entries}
    files |= {path.name: {} for path in sorted(folder.glob("*.npz")) if path.name not in files}

    def compare_file(path: Path, entry: dict[str, Any]) -> Iterator[Deviation]:
        yield from compare(read_arrays(path), entry)

    return [
        Case(name, functools.partial(compare_file, folder / name, entry))
        for name, entry in files.items()
    ]


def read_arrays(path: Path) -> Arrays:
    """The arrays of an .npz file by name; pickled objects are refused."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
