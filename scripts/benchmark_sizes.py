"""Cost and memory of large images, for `scripts/benchmark.py sizes`.

Each image is predicted in a process of its own, whose peak of memory is then that of the image.
Times are seconds of one core, which other programs on the machine disturb little.
"""

import argparse
import concurrent.futures
import functools
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch

from bottomup.images import SAMPLES

PEOPLE_WH = (2400, 1800)  # of the image with more and more people
JPEG_SIZE = 640  # at which the network sees JPEGs of any size


def sizes(arguments: argparse.Namespace) -> None:
    """Cost per pixel, memory, and cost by people, of large images; cost of reduced JPEGs."""
    largest = max(arguments.megapixels)
    print("input of a fixed size  CPU s  us per pixel  ratio  peak MB  people")
    first = None
    for megapixels in arguments.megapixels:
        wh = _wh(megapixels)
        repeats = 3 if megapixels <= 4 else 1
        seconds, peak, found = _apart(_measure, functools.partial(photo_wall, wh), wh[0], repeats)
        cost = seconds / megapixels
        first = first or cost
        row = f"{wh[0]:6} x {wh[1]:<6} {megapixels:4g} MP {seconds:7.2f} {cost:13.2f}"
        print(f"{row} {cost / first:6.2f} {peak:8.0f} {found:7}", flush=True)
    wh = _wh(largest)
    seconds, peak, found = _apart(_measure, functools.partial(photo_wall, wh), "auto", 1)
    print(f"{wh[0]:6} x {wh[1]:<6} auto    {seconds:7.2f} {peak:29.0f} {found:7}", flush=True)

    print(f"\npeople at {PEOPLE_WH[0]} x {PEOPLE_WH[1]}  found  CPU s  ratio")
    first = None
    for count in arguments.people:
        image = functools.partial(copies, count)
        seconds, _, found = _apart(_measure, image, PEOPLE_WH[0], 3)
        first = first or seconds
        print(f"{count:21} {found:6} {seconds:6.2f} {seconds / first:6.2f}", flush=True)

    print(f"\nJPEG, seen at {JPEG_SIZE}  decoding s  all else s  ratio  people")
    first = None
    for megapixels in (2, largest):
        all_else, decoding, found = _apart(_measure_jpeg, _wh(megapixels), 7)
        first = first or all_else
        row = f"{megapixels:16g} MP {decoding:11.3f} {all_else:11.3f}"
        print(f"{row} {all_else / first:6.2f} {found:7}", flush=True)


def _wh(megapixels: float) -> tuple[int, int]:
    return round((megapixels * 4e6 / 3) ** 0.5), round((megapixels * 3e6 / 4) ** 0.5)


def photo_wall(wh: tuple[int, int]) -> np.ndarray:
    """The sample photos beside and below each other, again and again: (H, W, 3) RGB."""
    row = np.concatenate([_sample(name) for name in ("plaza", "beach", "park")], axis=1)
    times = [-(-wanted // there) for wanted, there in zip(wh[::-1], row.shape, strict=False)]
    return np.ascontiguousarray(np.tile(row, (*times, 1))[: wh[1], : wh[0]])


def copies(count: int) -> np.ndarray:
    """A grey image with as many copies of one person: (H, W, 3) RGB."""
    person = cv2.resize(_sample("officer"), (90, 105), interpolation=cv2.INTER_AREA)
    canvas = np.full((PEOPLE_WH[1], PEOPLE_WH[0], 3), 128, np.uint8)
    for number in range(count):
        row, column = divmod(number, PEOPLE_WH[0] // 120)
        canvas[20 + 130 * row :, 15 + 120 * column :][:105, :90] = person
    return canvas


def _sample(name: str) -> np.ndarray:
    image = cv2.imread(str(SAMPLES / f"{name}.jpg"))
    assert image is not None
    return np.ascontiguousarray(image[:480, :, ::-1])


def _apart(function: Callable, *arguments: object) -> tuple[float, float, int]:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def _measure(
    image: Callable[[], np.ndarray], size: int | Literal["auto"], repeats: int
) -> tuple[float, float, int]:
    """The median time in seconds, the peak of memory in MB, and the number of people drawn."""
    from bottomup.images import SCORE_THRESHOLD
    from bottomup.inference.predictor import Predictor

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    predict = Predictor(size=size, device="cpu")
    pixels = image()
    times, num_found = [], 0
    for _ in range(repeats):
        start = time.process_time()
        (prediction,) = predict.stream(pixels)
        times.append(time.process_time() - start)
        assert prediction.poses is not None
        num_found = len(prediction.poses.filter(SCORE_THRESHOLD))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return float(np.median(times)), peak, num_found


def _measure_jpeg(wh: tuple[int, int], repeats: int) -> tuple[float, float, int]:
    """Of a file's way to its record and overlay: seconds beside decoding, and those of decoding."""
    from bottomup.images import SCORE_THRESHOLD
    from bottomup.images.frames import Frame, read
    from bottomup.inference.predictor import Predictor
    from bottomup.inference.run_folder import Renderer

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    decoding: list[float] = []

    def timed_read(frame: Frame) -> Frame:
        start = time.thread_time()
        frame = read(frame)
        decoding.append(time.thread_time() - start)
        return frame

    predict = Predictor(size=JPEG_SIZE, device="cpu", reduce=True, reader=timed_read)
    whole, num_found = [], 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "photo.jpg")
        cv2.imwrite(str(path), cv2.resize(_sample("plaza"), wh)[..., ::-1])
        for _ in range(repeats):
            start = time.process_time()
            (prediction,) = predict.stream(path)
            Renderer(folder)(prediction, 0)
            whole.append(time.process_time() - start)
            assert prediction.poses is not None
            num_found = len(prediction.poses.filter(SCORE_THRESHOLD))
    all_else = np.median(np.subtract(whole, decoding))
    return float(all_else), float(np.median(decoding)), num_found
