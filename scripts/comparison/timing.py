"""The timing file: the cost of a compared method, beside its COCO results.

This module needs only the standard library, so that peers can import it in environments without
bottomup. This is why it does not use `bottomup.files`.
"""

import contextlib
import dataclasses
import importlib.metadata
import json
import math
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FORMAT = 1
UNAVAILABLE = 4
"""Exit code of a method that cannot run here; its last line on stderr says why and what to do."""
STAGES = ("read", "detect", "pose", "aggregate", "group")  # in the order that an image passes them


class UnavailableError(Exception):
    """Why a method cannot run here, and what to do, in one line."""


class TimingError(ValueError):
    """A timing file is wrong."""


class Stopwatch:
    """Wall-clock milliseconds of one image by stage.

    Attributes:
        ms: by name of the stage; may be emptied for the next image.
    """

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time of a block to one of the `STAGES`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.ms[stage] = self.ms.get(stage, 0.0) + (time.perf_counter() - start) * 1e3


@dataclasses.dataclass(frozen=True)
class ImageTiming:
    """One image.

    Attributes:
        image_id: its id in the annotations.
        file_name: its name in the annotations.
        people: the number of results; None if it failed.
        ms: wall-clock milliseconds by stage; a method leaves out the `STAGES` that it does not
            have. None if it failed.
        error: what went wrong; None if nothing did.
    """

    image_id: int
    file_name: str
    people: int | None = None
    ms: Mapping[str, float] | None = None
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Timing:
    """A run of a method: one image after the other, after a warm-up that is not reported.

    Attributes:
        method: its name.
        images: in the order of the run.
        threads: that the method was allowed to use.
        peak_memory_mb: of the whole process.
        parameters: of all networks together; None if unknown.
        gflops: of one pass over the image with the median number of annotated people; None if
            unknown.
        machine: "python", "torch" (or another runtime) and "processor".
    """

    method: str
    images: Sequence[ImageTiming]
    threads: int = 1
    peak_memory_mb: float | None = None
    parameters: int | None = None
    gflops: float | None = None
    machine: Mapping[str, str] = dataclasses.field(default_factory=dict)


def machine() -> dict[str, str]:
    """The versions of Python and torch (if it is installed), and the processor."""
    found = {"python": platform.python_version()}
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found["torch"] = importlib.metadata.version("torch")
    return found | {"processor": _processor()}


def peak_memory_mb() -> float | None:
    """The most memory that this process has held so far, in MB of 1e6 bytes; None if unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def count_people(annotations: Mapping[str, Any]) -> Counter[int]:
    """How many people a COCO file annotates in each image, by the image's id."""
    people = annotations.get("annotations") or []
    ids = (person.get("image_id") for person in people if isinstance(person, dict))
    return Counter(image_id for image_id in ids if isinstance(image_id, int))


def median_image(
    images: Sequence[Mapping[str, Any]], people: Mapping[int, int], rows: Sequence[ImageTiming]
) -> int | None:
    """The index of the image on which operations are counted; None if all failed.

    Of the images that did not fail, it has the median number of annotated people and, among
    several, the median size. So it does not depend on what a method finds.

    Args:
        images: entries of a COCO file.
        people: how many are annotated in each, see `count_people`.
        rows: what was timed, one for each image.
    """

    def crowd(i: int) -> tuple[int, int]:
        image = images[i]
        return people.get(image["id"], 0), image.get("width", 0) * image.get("height", 0)

    order = sorted((i for i, row in enumerate(rows) if row.ms is not None), key=crowd)
    return order[len(order) // 2] if order else None


def write_run(results: str | Path, entries: Sequence[Any], timing: str | Path, run: Timing) -> None:
    """Write the COCO results and the timing file of a finished run: both, or none.

    Args:
        results: where the results go.
        entries: COCO keypoint results.
        timing: where the timing file goes.
        run: its content.

    Raises:
        OSError: a file cannot be written; files of an earlier run are then as they were.
        ValueError: a number is not finite.
    """
    with _beside(Path(results)) as first, _beside(Path(timing)) as second:
        first.write_text(json.dumps(list(entries), allow_nan=False) + "\n")
        second.write_text(json.dumps(_to_json(run), allow_nan=False, indent=1) + "\n")
        os.replace(first, results)
        os.replace(second, timing)


def read_timing(path: str | Path) -> Timing:
    """Read a timing file.

    Raises:
        TimingError: it cannot be read, or is wrong.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise TimingError(f"timing file {str(path)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise TimingError(
            f"timing file {str(path)!r} is not JSON ({error}): was it written to the end?"
        ) from error
    try:
        return _from_json(content)
    except TimingError as error:
        raise TimingError(f"timing file {str(path)!r}: {error}") from error


def _to_json(run: Timing) -> dict[str, Any]:
    content: dict[str, Any] = {"format": FORMAT, **dataclasses.asdict(run)}
    rows = content.pop("images")
    images = [{key: row[key] for key in row if row[key] is not None} for row in rows]
    return content | {"images": images}


def _from_json(content: Any) -> Timing:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise TimingError(f"format must be {FORMAT}, not {found!r}")
    if not isinstance(content.get("images"), list):
        raise TimingError("there is no list 'images'")
    images = tuple(_image(row, number) for number, row in enumerate(content["images"]))
    numbers = {
        key: _number(content, key) for key in ("threads", "peak_memory_mb", "parameters", "gflops")
    }
    parameters = numbers["parameters"]
    about = content.get("machine")
    return Timing(
        str(content.get("method", "")),
        images,
        int(numbers["threads"] or 1),
        numbers["peak_memory_mb"],
        None if parameters is None else int(parameters),
        numbers["gflops"],
        {str(key): str(value) for key, value in about.items()} if isinstance(about, dict) else {},
    )


def _image(row: Any, number: int) -> ImageTiming:
    name = f"images[{number}]"
    if not isinstance(row, dict) or type(row.get("image_id")) is not int:
        raise TimingError(f"{name} has no whole number 'image_id': {row!r:.80}")
    file_name = str(row.get("file_name", ""))
    if row.get("error") is not None:
        return ImageTiming(row["image_id"], file_name, error=str(row["error"]))
    ms = row.get("ms")
    if not isinstance(ms, dict) or not ms.keys() <= set(STAGES):
        raise TimingError(f"{name}: 'ms' must hold some of the stages {STAGES}, not {ms!r:.80}")
    people = _number(row, "people")
    stages = {stage: _number(ms, stage) or 0.0 for stage in STAGES if stage in ms}
    return ImageTiming(row["image_id"], file_name, None if people is None else int(people), stages)


def _number(content: Mapping[str, Any], key: str) -> float | None:
    value = content.get(key)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise TimingError(f"{key!r} must be a number from 0 on, or null, not {value!r}")
    return value


def _processor() -> str:
    """The name of the processor; on Linux, `platform` does not know it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A temporary file in the same folder, removed at the end unless it was moved to its place."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)
