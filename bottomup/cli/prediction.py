"""What `bottomup predict` does: from sources to a folder of results, with a summary."""

import argparse
import contextlib
import dataclasses
import importlib.resources
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2

from bottomup.cli import exit_codes
from bottomup.cli.interruption import Interruption
from bottomup.cli.progress import progress
from bottomup.data.image_ids import Annotated, ImageIds, closest, read_annotated
from bottomup.images.sources import Frame, map_ahead, scan
from bottomup.inference.predictor import Predictor
from bottomup.inference.run_folder import OVERLAYS, Row, RunFolder, holds_overlays

MAX_LISTED = 20  # failures in the summary; failures.json has them all


@dataclasses.dataclass
class Tally:
    """What has been done so far.

    Attributes:
        num_images: in the whole source.
        failures: the first few.
    """

    num_images: int
    num_done: int = 0
    num_people: int = 0
    num_failed: int = 0
    failures: list[Row] = dataclasses.field(default_factory=list)
    start: float = dataclasses.field(default_factory=time.monotonic)

    def add(self, row: Row) -> None:
        """Count one more image."""
        self.num_done += 1
        self.num_people += row.num_shown or 0
        if row.error is not None:
            self.num_failed += 1
            self.failures += [row] if len(self.failures) < MAX_LISTED else []

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.start

    def __str__(self) -> str:
        speed = self.num_done / max(self.seconds, 1e-3)
        return f"{speed:.1f} images/s, {_counted(self.num_people, 'person', 'people')} found"


class _Overlays:
    """Tells the folders of overlays, of this run and of earlier ones, and remembers them."""

    def __init__(self, out: Path) -> None:
        self._own = os.path.realpath(out / OVERLAYS)
        self._found: set[str] = set()

    def __call__(self, folder: str) -> bool:
        is_one = os.path.realpath(folder) == self._own or holds_overlays(folder)
        self._found |= {folder} if is_one else set()
        return is_one

    def report(self) -> None:
        """Print in one line which were found."""
        folders = [_printable(folder) for folder in sorted(self._found)]
        if folders:
            more = f" and {len(folders) - MAX_LISTED} more" if len(folders) > MAX_LISTED else ""
            print(f"left out, written by earlier runs: {', '.join(folders[:MAX_LISTED])}{more}")


def predict(arguments: argparse.Namespace) -> int:
    """Predict as the arguments say; returns the exit code.

    Raises:
        ValueError: an argument does not fit; nothing has been written then.
        OSError: the output cannot be written.
    """
    out = Path(arguments.out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {str(out)!r} is a file: name a folder")
    sources = arguments.sources or [str(importlib.resources.files("bottomup") / "samples")]

    left_out = _Overlays(out)

    # The source is listed twice: first to claim ids, then to read the images.
    def frames() -> Iterator[Frame]:
        return scan(sources, exclude=left_out)

    annotated = read_annotated(arguments.annotations) if arguments.annotations else None
    ids = ImageIds(annotated and annotated.ids)
    num_images = _claim_ids(frames(), ids)
    left_out.report()
    if annotated:
        _match_ids(ids, annotated, arguments.annotations, num_images)
    predictor = _predictor(arguments)
    folder = RunFolder(
        out,
        overlays=not arguments.no_overlays,
        score_threshold=arguments.score_threshold,
        keypoint_threshold=arguments.keypoint_threshold,
        category_id=annotated.category_id if annotated else 1,
    )

    # A row is written whole or not at all, and the folder is completed after an interruption too.
    tally = Tally(num_images)
    with Interruption() as interruption, _native_messages_off():
        try:
            with contextlib.suppress(KeyboardInterrupt), progress() as show:
                for row in _rows(predictor, frames(), folder):
                    with interruption.held_back():
                        folder.add(row, ids(row.name))
                        tally.add(row)
                    show(tally.num_done, num_images, f"{tally.num_done} of {num_images}, {tally}")
            with interruption.held_back(ignore=True):
                folder.close()
        finally:
            folder.discard()
    return _summarise(tally, out, signal_number=interruption.came)


def _claim_ids(frames: Iterator[Frame], ids: ImageIds) -> int:
    """Claim the ids of all images before any is read; returns the number of images.

    Raises:
        ValueError: there is nothing to read.
    """
    num_images, num_good, problems = 0, 0, []
    for frame in frames:
        ids.claim(frame.name)
        num_images += 1
        if frame.error is None:
            num_good += 1
        elif len(problems) < MAX_LISTED:
            problems.append(f"{_printable(frame.name)}: {frame.error}")
    if num_good == 0:
        reasons = "\n  ".join(problems or ["no source is left"])
        raise ValueError(f"there is nothing to read:\n  {reasons}")
    return num_images


def _match_ids(ids: ImageIds, annotated: Annotated, path: str, num_images: int) -> None:
    """Match images with annotations, and say which have none.

    Raises:
        ValueError: no image is annotated.
    """
    ids.match()
    if not ids.unmatched:
        return
    name = ids.unmatched[0]
    told = (
        f"--annotations {path!r} names {num_images - len(ids.unmatched)} of {num_images} images. "
        f"The source has {name!r}, the file has {closest(name, annotated.ids)!r}"
    )
    if len(ids.unmatched) == num_images:
        raise ValueError(f"{told}: predict the folder that the names of the file are relative to")
    print(f"bottomup: {told}: the others get other ids", file=sys.stderr)


def _predictor(arguments: argparse.Namespace) -> Predictor:
    cv2.setNumThreads(1)  # files are read and drawn in threads already
    return Predictor(
        arguments.weights,
        device=arguments.device,
        mode=arguments.mode,
        size=arguments.size,
        max_megapixels=arguments.max_megapixels,
        scales=arguments.scales,
        flip=arguments.flip,
        threads=arguments.threads,
        batch_size=arguments.batch_size,
        exif=not arguments.no_exif,
    )


def _rows(predictor: Predictor, frames: Iterator[Frame], folder: RunFolder) -> Iterator[Row]:
    """The rows of the run in order; threads draw them while the network sees the next images."""
    with contextlib.closing(predictor.stream(frames)) as predictions:
        yield from map_ahead(
            lambda numbered: folder.render(numbered[1], numbered[0]), enumerate(predictions)
        )


@contextlib.contextmanager
def _native_messages_off() -> Iterator[None]:
    """Hide what libpng, libjpeg and the like print about bad files: the summary names those files.

    They write to file descriptor 2 themselves; Python's own messages go on to where it pointed.
    """
    shown = sys.stderr
    try:
        is_native = shown.fileno() == 2
        kept = os.dup(2)
    except (OSError, ValueError, AttributeError):  # captured by a test, or closed
        yield
        return
    shown.flush()
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    if is_native:
        sys.stderr = os.fdopen(
            kept, "w", 1, encoding=shown.encoding, errors="backslashreplace", closefd=False
        )
    try:
        yield
    finally:
        sys.stderr = shown
        os.dup2(kept, 2)
        os.close(kept)


def _summarise(tally: Tally, out: Path, *, signal_number: int) -> int:
    """Print what was done; returns the exit code."""
    if signal_number:
        print(f"interrupted after {tally.num_done} of {tally.num_images} images")
    if tally.num_failed:
        print(f"{_counted(tally.num_failed, 'file', 'files')} failed:")
        for row in tally.failures:
            print(f"  {_printable(row.name)}: {row.error}")
        if num_more := tally.num_failed - len(tally.failures):
            print(f"  and {num_more} more, see {out / 'failures.json'}")
    print(f"{_counted(tally.num_done, 'image', 'images')} in {tally.seconds:.1f} s, {tally}")
    print(f"look at {_printable(str(out / 'index.html'))}")
    if signal_number:
        return exit_codes.after(signal_number)
    return exit_codes.SOME_FAILED if tally.num_failed else exit_codes.DONE


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _printable(name: str) -> str:
    """A file name on one line, whatever is in it."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name
    )
