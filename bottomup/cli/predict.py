"""`bottomup predict`: from sources to a folder of results, with progress, a summary and an exit code."""

import argparse
import contextlib
import importlib.resources
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import cv2

from bottomup.data.image_ids import ImageIds, read_annotated
from bottomup.images.sources import Frame, map_ahead, scan
from bottomup.inference.predictor import Predictor
from bottomup.inference.run_folder import OVERLAYS, Row, RunFolder

MAX_LISTED = 20  # failures in the summary; failures.json has them all
SECONDS_PER_LINE = 10.0  # of progress where there is no terminal


class Tally:
    """What has been done so far.

    Args:
        num_images: in the whole source.
    """

    def __init__(self, num_images: int) -> None:
        self.num_images = num_images
        self.num_done = 0
        self.num_people = 0
        self.num_failed = 0
        self.failures: list[Row] = []  # the first few
        self._start = time.monotonic()

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
        return time.monotonic() - self._start

    def __str__(self) -> str:
        speed = self.num_done / max(self.seconds, 1e-3)
        return f"{speed:.1f} images/s, {_counted(self.num_people, 'person', 'people')} found"


def run(arguments: argparse.Namespace) -> int:
    """Predict as the command line says.

    Returns:
        the exit code, see `bottomup.cli.EXIT_CODES`.

    Raises:
        ValueError: something about the arguments is wrong; nothing has been written then.
        OSError: the output cannot be written.
    """
    out = Path(arguments.out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {str(out)!r} is a file: name a folder")
    sources = arguments.sources or [str(importlib.resources.files("bottomup") / "samples")]

    def frames() -> Iterator[Frame]:
        return scan(sources, exclude=[out, out / OVERLAYS])

    ids = ImageIds(read_annotated(arguments.annotations) if arguments.annotations else None)
    num_images = _look_through(frames(), ids)
    predictor = _predictor(arguments)
    folder = RunFolder(
        out,
        overlays=not arguments.no_overlays,
        score_threshold=arguments.score_threshold,
        keypoint_threshold=arguments.keypoint_threshold,
    )
    tally = Tally(num_images)
    with _Interruption() as interruption, _native_complaints_off():
        try:
            with contextlib.suppress(KeyboardInterrupt), _progress(tally) as show:
                for row in _rows(predictor, frames(), folder):
                    with interruption.held_back():
                        folder.add(row, ids(row.name))
                        tally.add(row)
                    show()
            with interruption.held_back(ignore=True):
                folder.close()
        finally:
            folder.discard()
    return _summarise(tally, out, was_interrupted=interruption.came)


def _predictor(arguments: argparse.Namespace) -> Predictor:
    cv2.setNumThreads(1)  # the files are read and drawn in threads of ours
    return Predictor(
        arguments.weights,
        device=arguments.device,
        mode=arguments.mode,
        size=arguments.size,
        scales=arguments.scales,
        flip=arguments.flip,
        batch_size=arguments.batch_size,
        exif=not arguments.no_exif,
    )


def _look_through(frames: Iterator[Frame], ids: ImageIds) -> int:
    """Count the images and claim their ids before any is read.

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
        raise ValueError(
            "\n  ".join(["there is nothing to read:", *(problems or ["no source is left"])])
        )
    return num_images


def _rows(predictor: Predictor, frames: Iterator[Frame], folder: RunFolder) -> Iterator[Row]:
    """The rows of the run in order; pictures are drawn in threads while the network looks at the next ones."""
    with contextlib.closing(predictor.stream(frames)) as predictions:
        yield from map_ahead(
            lambda numbered: folder.render(numbered[1], numbered[0]), enumerate(predictions)
        )


class _Interruption:
    """Ctrl-C or a polite kill while the run lasts: KeyboardInterrupt, but not amid the writing of a row."""

    def __init__(self) -> None:
        self.came = False
        self._is_held_back = False
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> "_Interruption":
        if threading.current_thread() is threading.main_thread():
            self._earlier = {
                number: signal.signal(number, self._on_signal)
                for number in (signal.SIGINT, signal.SIGTERM)
            }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        if not self._is_held_back:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def held_back(self, *, ignore: bool = False) -> Iterator[None]:
        """Nothing interrupts the block; what came meanwhile interrupts after it, unless it is to be ignored."""
        came_before = self.came
        self._is_held_back = True
        try:
            yield
        finally:
            self._is_held_back = False
        if self.came and not came_before and not ignore:
            raise KeyboardInterrupt


@contextlib.contextmanager
def _native_complaints_off() -> Iterator[None]:
    """Keep what libpng, libjpeg and the like print about bad files off the terminal: the summary names those files.

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


@contextlib.contextmanager
def _progress(tally: Tally) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, a line now and then elsewhere; call what it gives after every image."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[tally]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
            task = bar.add_task("", total=tally.num_images, tally="loading")
            yield lambda: bar.update(task, completed=tally.num_done, tally=str(tally))
        return
    last = 0.0

    def show() -> None:
        nonlocal last
        if tally.seconds - last >= SECONDS_PER_LINE:
            last = tally.seconds
            print(f"{tally.num_done} of {tally.num_images}, {tally}", file=sys.stderr)

    yield show


def _summarise(tally: Tally, out: Path, *, was_interrupted: bool) -> int:
    if was_interrupted:
        print(f"interrupted after {tally.num_done} of {tally.num_images} images")
    if tally.num_failed:
        print(f"{_counted(tally.num_failed, 'file', 'files')} failed:")
        for row in tally.failures:
            print(f"  {_printable(row.name)}: {row.error}")
        if tally.num_failed > len(tally.failures):
            print(
                f"  and {tally.num_failed - len(tally.failures)} more, see {out / 'failures.json'}"
            )
    print(f"{_counted(tally.num_done, 'image', 'images')} in {tally.seconds:.1f} s, {tally}")
    print(f"look at {_printable(str(out / 'index.html'))}")
    if was_interrupted:
        return 130
    return 3 if tally.num_failed else 0


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _printable(name: str) -> str:
    """A file name on one line, whatever is in it."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name
    )
