"""The part of a run that its journal and its lists take: the command `benchmark.py journal`."""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bottomup.images import SAMPLES
from bottomup.images.decoding import decode

SIDE = 160  # of the small images


def write_images(folder: Path, num_images: int) -> None:
    """Write small photos: squares cut from the sample images."""
    photos = [decode(path.read_bytes()) for path in sorted(SAMPLES.glob("*.jpg"))]
    rng = np.random.default_rng(0)
    for index in range(num_images):
        photo = photos[index % len(photos)]
        size = int(rng.integers(min(photo.shape[:2]) // 2, min(photo.shape[:2])))
        y, x = (int(rng.integers(side - size + 1)) for side in photo.shape[:2])
        cut = cv2.resize(photo[y : y + size, x : x + size], (SIDE, SIDE))
        cv2.imwrite(str(folder / f"{index:06}.jpg"), cv2.cvtColor(cut, cv2.COLOR_RGB2BGR))


class Timer:
    """Adds up the CPU time of calls of functions: waiting for other work does not count."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds += time.thread_time() - start

        return timed


def journal(arguments: argparse.Namespace) -> None:
    """Share of CPU time of the journal, and of the lists: small images at --size 64."""
    from bottomup.cli import main, prediction
    from bottomup.inference.journal import Journal

    appending, collecting = Timer(), Timer()
    Journal.append = appending.of(Journal.append)
    Journal.close = appending.of(Journal.close)
    prediction.collect = collecting.of(prediction.collect)
    shares = []
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder, "images")
        images.mkdir()
        write_images(images, arguments.images)
        words = ["predict", str(images), "--size", "64", "--device", "cpu"]
        for repeat in range(arguments.repeats + 1):
            appending.seconds = collecting.seconds = 0.0
            start, cpu_start = time.perf_counter(), time.process_time()
            with contextlib.redirect_stdout(io.StringIO()):
                main([*words, "--out", str(Path(folder, f"{repeat}"))])
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
            if repeat:  # the first run warms up
                shares.append((appending.seconds / cpu, collecting.seconds / cpu))
                rate = arguments.images / seconds
                print(
                    f"{rate:6.1f} images/s, journal {shares[-1][0]:.2%}, lists {shares[-1][1]:.2%}"
                )
    of_journal, of_lists = map(statistics.median, zip(*shares, strict=True))
    print(f"median: journal {of_journal:.2%} of the CPU time of a run, lists {of_lists:.2%}")
