"""Timings as ratios of two things measured in one run: medians, one table for each command.

python scripts/benchmark.py decode    # heatmaps and tags -> people, and the reference algorithm
python scripts/benchmark.py loss      # pull and push, and a loop over people
python scripts/benchmark.py train     # the data path; whole steps, and the bare network's
python scripts/benchmark.py journal   # the part of a run that its journal takes
python scripts/benchmark.py threads   # predict on a busy and on an idle machine
python scripts/benchmark.py sizes     # large images: cost per pixel, memory, cost by people
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path

import benchmark_journal
import benchmark_sizes
import benchmark_threads
import benchmark_training
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))  # tests/reference holds the slow versions


def median_ms(function: Callable[[], object], repeats: int) -> float:
    """Median wall-clock time of a call in milliseconds, after one to warm up."""
    if repeats > 1:
        function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3


def decode(arguments: argparse.Namespace) -> None:
    """Maps of 512 x 512 -> Poses on one thread, as now and as in version 0.1.0.

    Maps are aggregated heatmaps and tags. Outputs are what a HigherHRNet gives: tags and heatmaps
    of 256 x 256, and heatmaps of 512 x 512.
    """
    from bottomup import COCO
    from bottomup.method.grouping import Grouper
    from tests.reference import crowd
    from tests.reference import grouping as reference

    torch.set_num_threads(1)
    grouper = Grouper()
    ours = {}
    print("people  found  bottomup ms  reference ms   ratio")
    for num_people in arguments.people:
        heatmaps, tags = crowd.render(*crowd.random_crowd(num_people, (512, 512)), (512, 512))
        batch = torch.from_numpy(heatmaps)[None], torch.from_numpy(tags)[None]
        found = len(grouper(*batch)[0])
        ours[num_people] = median_ms(functools.partial(grouper, *batch), arguments.repeats)
        if arguments.no_reference:
            print(f"{num_people:6} {found:6} {ours[num_people]:12.2f}")
            continue
        theirs = functools.partial(
            reference.decode, heatmaps, tags, COCO.grouping_order, max(num_people, 30)
        )
        slow = median_ms(theirs, 3 if num_people <= 20 else 1)
        ratio = slow / ours[num_people]
        row = f"{num_people:6} {found:6} {ours[num_people]:12.2f} {slow:13.0f} {ratio:7.0f}"
        print(row, flush=True)
    few, many = min(ours), max(ours)
    if many > few:
        slope = (ours[many] - ours[few]) / (many - few)
        print(f"each further person: {slope:.3f} ms ({few} to {many} people)")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("decode", help=decode.__doc__)
    command.add_argument("--people", type=int, nargs="+", default=[1, 5, 20, 50, 100])
    command.add_argument("--repeats", type=int, default=21)
    command.add_argument("--no-reference", action="store_true", help="skip the slow side")
    command.set_defaults(run=decode)
    command = commands.add_parser("loss", help=benchmark_training.loss.__doc__)
    command.add_argument("--people", type=int, nargs="+", default=[1, 5, 30, 100])
    command.add_argument("--repeats", type=int, default=15)
    command.set_defaults(run=benchmark_training.loss)
    command = commands.add_parser("journal", help=benchmark_journal.journal.__doc__)
    command.add_argument("--images", type=int, default=1000)
    command.add_argument("--repeats", type=int, default=3)
    command.set_defaults(run=benchmark_journal.journal)
    command = commands.add_parser("train", help=benchmark_training.train.__doc__)
    command.add_argument("--size", type=int, default=256)
    command.add_argument("--batch-size", type=int, default=4)
    command.add_argument("--steps", type=int, default=7)
    command.add_argument("--images", type=int, default=100)
    command.set_defaults(run=benchmark_training.train)
    command = commands.add_parser("sizes", help=benchmark_sizes.sizes.__doc__)
    command.add_argument("--megapixels", type=float, nargs="+", default=[1, 4, 16, 48])
    command.add_argument("--people", type=int, nargs="+", default=[1, 50, 200])
    command.set_defaults(run=benchmark_sizes.sizes)
    command = commands.add_parser("threads", help=benchmark_threads.threads.__doc__)
    command.add_argument("--sizes", type=int, nargs="+", default=[64, 512])
    command.add_argument("--repeats", type=int, default=15)
    command.add_argument("--busy", type=int, help="busy processes; one for each CPU if not given")
    command.set_defaults(run=benchmark_threads.threads)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
