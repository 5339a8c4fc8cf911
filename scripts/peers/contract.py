"""What all peers share: the command line, the loop over the images, the two files they write.

    SCRIPT --images DIR --annotations FILE --results RESULTS.json --timing TIMING.json
        [--threads N] [--limit N]

The images are those that the COCO annotations list. RESULTS.json gets COCO keypoint results in
pixels of the original images, TIMING.json the milliseconds of each image by stage; both appear at
the end, together. Exit code 4: the peer cannot run here, and the last line on stderr says why and
what to do.

Peers run in environments of their own, which lack bottomup. They need Python 3.10, numpy and
OpenCV. This is why some small functions of bottomup have a twin here.
"""

import argparse
import dataclasses
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

SCRIPTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SCRIPTS))  # as for scripts/compare.py
from comparison.timing import (  # noqa: E402
    UNAVAILABLE,
    ImageTiming,
    Stopwatch,
    Timing,
    UnavailableError,
    count_people,
    machine,
    median_image,
    peak_memory_mb,
    write_run,
)

SECONDS_PER_LINE = 10.0  # of progress

try:
    import cv2
    import numpy as np
except ImportError as error:
    hint = f"see {sys.argv[0]} --help for the environment"
    print(f"{error.name} is not installed; {hint}", file=sys.stderr)
    raise SystemExit(UNAVAILABLE) from error

Person = tuple[np.ndarray, float]
"""Keypoints (17, 3) x, y, score in pixels of the original image, and the person's score."""


@dataclasses.dataclass(frozen=True)
class Peer:
    """A method that is ready to run.

    Attributes:
        find: finds the people of an RGB image (H, W, 3) uint8; it also gets the entry of the image
            in the annotations and the stopwatch. Making the input of the network from the image
            belongs to the stage "read".
        variant: distinguishes it from others of the same script: "512".
        parameters: of all its networks; None if they cannot be counted.
        count_gflops: runs a function and counts; None if it cannot be counted.
        runtime: versions of what runs the networks, beyond Python and torch.
    """

    find: Callable[[np.ndarray, Mapping[str, Any], Stopwatch], list[Person]]
    variant: str = ""
    parameters: int | None = None
    count_gflops: Callable[[Callable[[], object]], float] | None = None
    runtime: Mapping[str, str] = dataclasses.field(default_factory=dict)


def main(
    name: str,
    about: str | None,
    prepare: Callable[[argparse.Namespace], Peer],
    *,
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
    argv: Sequence[str] | None = None,
) -> int:
    """Run a peer from the command line.

    Args:
        name: of the peer.
        about: for --help, with the line that sets up the environment.
        prepare: makes the peer ready; raises UnavailableError, or ValueError if an argument does
            not fit.
        add_arguments: adds arguments of this peer alone.
        argv: the arguments; by default those of the process.

    Returns:
        the exit code: 0, 1 (a file cannot be read or written), 2 (wrong usage) or 4 (unavailable).
    """
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    file: dict[str, Any] = {"type": Path, "required": True, "metavar": "FILE"}
    add("--images", type=Path, required=True, metavar="DIR", help="the folder of the images")
    add("--annotations", **file, help="COCO annotations that list them")
    add("--results", **file, help="COCO keypoint results to write")
    add("--timing", **file, help="timing file to write")
    add("--threads", type=_count, default=1, metavar="N", help="threads that may be used (1)")
    add("--limit", type=_count, metavar="N", help="only the first N images")
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    try:
        annotations = read_json(arguments.annotations)
        images = listed_images(annotations)[: arguments.limit]
        cv2.setNumThreads(arguments.threads)
        peer = prepare(arguments)
        _run(name, peer, images, annotations, arguments)
    except UnavailableError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return UNAVAILABLE
    except (ValueError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    return 0


def require(module: str, package: str | None = None) -> ModuleType:
    """Import a module that only this peer needs.

    Args:
        module: its name.
        package: its name for pip, if that is another.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnavailableError(
            f"{package or module} is not installed; --help says how to set this peer up"
        ) from error


def read_json(path: Path) -> Any:
    """The content of a JSON file; the twin of `bottomup.files.read_json`.

    Raises:
        ValueError: the file cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from error


def listed_images(annotations: Any) -> list[dict[str, Any]]:
    """The entries of the images; each has at least id and file_name.

    Raises:
        ValueError: the content is not that of a COCO file, or lists no images.
    """
    images = annotations.get("images") if isinstance(annotations, dict) else None
    if not isinstance(images, list) or not images:
        raise ValueError("the annotations list no 'images'; give a COCO person_keypoints file")
    for entry in images:
        has_id = isinstance(entry, dict) and type(entry.get("id")) is int
        if not has_id or not isinstance(entry.get("file_name"), str):
            raise ValueError(
                f"an entry of 'images' has no whole number 'id' or no 'file_name': {entry!r:.80}"
            )
    return images


def read_image(path: Path) -> np.ndarray:
    """An image as RGB (H, W, 3) uint8, turned by its EXIF orientation.

    Raises:
        ValueError: the file is missing, or not an image.
    """
    try:
        data = np.fromfile(path, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
    except cv2.error as error:
        raise ValueError("too large") from error
    if image is None:
        raise ValueError("not an image that OpenCV reads")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _run(
    name: str,
    peer: Peer,
    images: list[dict[str, Any]],
    annotations: dict[str, Any],
    arguments: argparse.Namespace,
) -> None:
    """Run a peer on all images, and write both files."""
    for path in (arguments.results, arguments.timing):
        if not path.parent.is_dir():
            raise ValueError(f"{path}: there is no folder {path.parent}; make it first")
    _warm_up(peer, images, arguments.images)
    results: list[dict[str, Any]] = []
    rows = []
    last = time.monotonic()
    for number, entry in enumerate(images, 1):
        about = {"image_id": entry["id"], "file_name": entry["file_name"]}
        watch = Stopwatch()
        try:
            with watch("read"):
                image = read_image(arguments.images / entry["file_name"])
        except ValueError as error:
            rows.append(ImageTiming(**about, error=str(error)))
            continue
        people = peer.find(image, entry, watch)
        results += [_to_coco(entry["id"], person) for person in people]
        rows.append(ImageTiming(**about, people=len(people), ms=watch.ms))
        if time.monotonic() - last >= SECONDS_PER_LINE:
            last = time.monotonic()
            print(f"{name}: {number} of {len(images)} images", file=sys.stderr)
    median = median_image(images, count_people(annotations), rows)
    run = Timing(
        "_".join(filter(None, (name, peer.variant))),
        rows,
        threads=arguments.threads,
        peak_memory_mb=peak_memory_mb(),
        parameters=peer.parameters,
        gflops=None if median is None else _gflops(peer, images[median], arguments.images),
        machine=machine() | dict(peer.runtime),
    )
    write_run(arguments.results, results, arguments.timing, run)


def _warm_up(peer: Peer, images: list[dict[str, Any]], folder: Path) -> None:
    """Run twice on the first image that can be read, for what is slow only once."""
    for entry in images:
        try:
            image = read_image(folder / entry["file_name"])
        except ValueError:
            continue
        for _ in range(2):
            peer.find(image, entry, Stopwatch())
        return


def _gflops(peer: Peer, entry: dict[str, Any], folder: Path) -> float | None:
    if peer.count_gflops is None:
        return None
    image = read_image(folder / entry["file_name"])
    return peer.count_gflops(lambda: peer.find(image, entry, Stopwatch()))


def _to_coco(image_id: int, person: Person) -> dict[str, Any]:
    keypoints, score = person
    if not (np.isfinite(keypoints).all() and np.isfinite(score)):
        raise ValueError("the network gave numbers that are not finite; its weights are damaged")
    numbers = [round(float(value), 4) for value in keypoints.reshape(-1)]
    about = {"image_id": image_id, "category_id": 1}
    return about | {"keypoints": numbers, "score": round(float(score), 6)}


def _count(word: str) -> int:
    if not word.isascii() or not word.isdigit() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number from 1")
    return int(word)


def keep_to(threads: int) -> None:
    """Limit the processors of this process, for a library that chooses its threads itself.

    Only where the system can.
    """
    if hasattr(os, "sched_setaffinity"):
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, processors[:threads])
