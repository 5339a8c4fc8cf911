"""Threads: the default of the command line beside one thread, and beside threads that spin."""

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

# each variant is a process of its own, since a runtime of threads is set up once
VARIANTS = ("one", "spinning", "default")
BUSY = "while True: pass"


def threads(arguments: argparse.Namespace) -> None:
    """Predict under load and without: medians, and ratios to one thread and to spinning threads."""
    from bottomup.threads import WAIT_VARIABLES, num_cpus

    unset = (*WAIT_VARIABLES, "OMP_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    words = [sys.executable, __file__, *map(str, arguments.sizes)]
    with contextlib.ExitStack() as stack:
        variants = {
            variant: stack.enter_context(_process([*words, variant], environment))
            for variant in VARIANTS
        }
        for variant in variants.values():
            _answer(variant)  # the networks are loaded
        print(
            f"load  pixels {'    '.join(f'{name:>8} ms' for name in VARIANTS)}  to one  to spinning"
        )
        for num_busy in (0, arguments.busy or num_cpus()):
            with contextlib.ExitStack() as load:
                for _ in range(num_busy):
                    load.enter_context(_process([sys.executable, "-c", BUSY], environment))
                for size in arguments.sizes:
                    _print_row(num_busy, size, variants, arguments.repeats)


def _print_row(
    num_busy: int, size: int, variants: dict[str, subprocess.Popen], repeats: int
) -> None:
    """Measure the variants in turn, so that what else the machine does meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, process in variants.items():
            times[name].append(float(_answer(process, size)))
    one, spinning, default = (float(np.median(times[name])) * 1e3 for name in VARIANTS)
    row = "    ".join(f"{value:11.1f}" for value in (one, spinning, default))
    ratios = f"{default / one:7.2f} {default / spinning:12.2f}"
    print(f"{num_busy:4} {size:7} {row} {ratios}", flush=True)


def _answer(process: subprocess.Popen, question: object = "") -> str:
    """The next line of a process, which may wait for a question."""
    assert process.stdin
    assert process.stdout
    if question:
        print(question, file=process.stdin, flush=True)
    return process.stdout.readline()


@contextlib.contextmanager
def _process(words: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(words, env=environment, stdin=-1, stdout=-1, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _measure(sizes: list[int], variant: str) -> None:
    """For each size that stands in a line of the input, print the seconds of an image."""
    from bottomup.threads import num_cpus, sleep_while_waiting

    if variant == "default":
        sleep_while_waiting()
    from bottomup import Predictor

    number = {"one": 1, "spinning": num_cpus(), "default": None}[variant]
    rng = np.random.default_rng(0)
    images = {size: rng.integers(0, 256, (size, size, 3), np.uint8) for size in sizes}
    predictors = {size: Predictor(size=size, threads=number) for size in sizes}
    for size in sizes:
        predictors[size](images[size])
    print("ready", flush=True)
    for line in sys.stdin:
        size = int(line)
        start = time.perf_counter()
        predictors[size](images[size])
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    _measure([int(word) for word in sys.argv[1:-1]], sys.argv[-1])
