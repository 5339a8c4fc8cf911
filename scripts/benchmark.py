"""Timings as ratios of two things measured in one run: medians, one table for each command.

python scripts/benchmark.py all       # the first four, and whether they reach our goals
python scripts/benchmark.py network   # engines and precisions, beside torch in float32
python scripts/benchmark.py decode    # heatmaps and tags -> people, and the reference algorithm
python scripts/benchmark.py start     # the first result and --help, beside import torch
python scripts/benchmark.py end-to-end  # predict of many photos, beside the network alone
python scripts/benchmark.py loss      # pull and push, and a loop over people
python scripts/benchmark.py train     # the data path; whole steps, and the bare network's
python scripts/benchmark.py journal   # the part of a run that its journal takes
python scripts/benchmark.py threads   # predict on a busy and on an idle machine
python scripts/benchmark.py sizes     # large images: cost per pixel, memory, cost by people
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import benchmark_engines
import benchmark_goals
import benchmark_journal
import benchmark_pipeline
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


def decode(arguments: argparse.Namespace) -> dict[str, float]:
    """Maps of 512 x 512 -> Poses on one thread, beside version 0.1.0 and the reference algorithm.

    "maps" are heatmaps (17, 512, 512) and tags (17, 512, 512, 2). "outputs" are what a HigherHRNet
    gives: heatmaps and tags of 256 x 256, and heatmaps of 512 x 512.
    """
    torch.set_num_threads(1)
    ours: dict[int, float] = {}
    figures: dict[str, float] = {}
    print("people  found  maps: ms  0.1.0  ratio  outputs: ms  0.1.0  ratio  reference  ratio")
    for num_people in arguments.people:
        now, before, *outputs, slow, found = decoders(num_people)
        a, b, c, d = (
            seconds * 1e3
            for pair in ((now, before), outputs)
            for seconds in benchmark_training.alternate(
                dict(zip(("now", "before"), pair, strict=True)), arguments.repeats
            ).values()
        )
        ours[num_people] = a
        row = f"{num_people:6} {found:6} {a:9.2f} {b:6.2f} {a / b:6.2f}"
        row += f" {c:12.2f} {d:6.2f} {c / d:6.2f}"
        figures |= {
            f"{num_people} people, from {what}, to version 0.1.0": ratio
            for what, ratio in (("maps", a / b), ("outputs", c / d))
        }
        if not arguments.no_reference:
            reference = median_ms(slow, 3 if num_people <= 20 else 1)
            row += f" {reference:10.0f} {reference / a:6.0f}"
            figures[f"{num_people} people, reference to ours"] = reference / a
        print(row, flush=True)
    few, many = min(ours), max(ours)
    if many > few:
        slope = (ours[many] - ours[few]) / (many - few)
        print(f"each further person: {slope:.3f} ms ({few} to {many} people)")
    return figures


def decoders(num_people: int) -> tuple:
    """Functions that group a crowd: from maps now and before, from outputs likewise, and slowly."""
    from bottomup import COCO
    from bottomup.method.aggregation import combine
    from bottomup.method.grouping import Grouper
    from bottomup.models.heads import HeadOutput
    from tests.reference import crowd, dense_grouping
    from tests.reference import grouping as reference

    arrays = crowd.render(*crowd.random_crowd(num_people, (512, 512)), (512, 512))
    heatmaps, tags = (torch.from_numpy(array)[None] for array in arrays)
    coarse = torch.nn.functional.avg_pool2d(heatmaps, 2)
    coarse_tags = tags[:, :, ::2, ::2].permute(0, 1, 4, 2, 3).contiguous()
    outputs = [HeadOutput(coarse, coarse_tags), HeadOutput(heatmaps, None)]
    grouper = Grouper()
    return (
        lambda: grouper(heatmaps, tags),
        lambda: dense_grouping.group(heatmaps, tags),
        lambda: grouper(*combine(outputs)),
        lambda: dense_grouping.group(*dense_grouping.combine(outputs)),
        lambda: reference.decode(*arrays, COCO.grouping_order, max(num_people, 30)),
        len(grouper(heatmaps, tags)[0]),
    )


def add_pipeline(commands: argparse._SubParsersAction) -> None:
    """The benchmarks of the way from files to results."""
    command = commands.add_parser("start", help=benchmark_pipeline.start.__doc__)
    command.add_argument("--repeats", type=int, default=9)
    command.set_defaults(run=benchmark_pipeline.start)
    command = commands.add_parser("end-to-end", help=benchmark_pipeline.end_to_end.__doc__)
    command.add_argument("--photos", type=Path, metavar="DIR", help="made if not given")
    command.add_argument("--count", type=int, default=100, help="of photos that are made")
    command.add_argument("--repeats", type=int, default=3)
    command.add_argument("--backend", help="of bottomup predict; beside torch with float32")
    command.add_argument("--precision", help="likewise")
    command.set_defaults(run=benchmark_pipeline.end_to_end)


def everything(arguments: argparse.Namespace) -> dict[str, float]:
    """Speed of all that predict does, and our goals for this processor."""
    words = [
        ["network"],
        ["decode", "--no-reference"],
        ["start"],
        ["end-to-end", "--backend", "auto", "--precision", "auto"],
        ["end-to-end", "--count", "500", "--repeats", "1"],
    ]
    figures: dict[str, float] = {}
    for command in words:
        print("\n$ benchmark.py", *command, flush=True)
        given = make_parser().parse_args(command)
        figures |= {f"{command[0]}, {name}": value for name, value in given.run(given).items()}
    benchmark_goals.report(figures)
    return figures


def make_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("decode", help=decode.__doc__)
    command.add_argument("--people", type=int, nargs="+", default=[1, 5, 20, 50, 100])
    command.add_argument("--repeats", type=int, default=21)
    command.add_argument("--no-reference", action="store_true", help="skip the slow side")
    command.set_defaults(run=decode)
    command = commands.add_parser("network", help=benchmark_engines.network.__doc__)
    command.add_argument("--device", default="auto", help="as of bottomup predict")
    command.add_argument("--threads", type=int, help="1 for the bundled network, 2 for W32")
    command.add_argument("--repeats", type=int, default=15)
    command.set_defaults(run=benchmark_engines.network)
    add_pipeline(commands)
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
    commands.add_parser("all", help=everything.__doc__).set_defaults(run=everything)
    for name in ("all", "network", "decode", "start", "end-to-end"):
        commands.choices[name].add_argument("--json", type=Path, help="file to write figures to")
    return parser


def main() -> None:
    """Run a command, and write its figures to a file if one is named."""
    arguments = make_parser().parse_args()
    figures = arguments.run(arguments)
    if getattr(arguments, "json", None):
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
