"""Compare methods of pose estimation on your own images: how well, how fast, what makes them fail.

    python scripts/compare.py --images DIR --annotations FILE --out DIR

Every method is a command: scripts/compare.yaml lists them, --method NAME=COMMAND adds one. It gets
--images, --annotations, --results, --timing and --threads, and writes COCO results and a timing
file. A method that is not available is skipped with its reason, one that fails is reported, and the
others go on.

DIR gets report.json and report.html. A finished run is not repeated unless a command or its inputs
change: after an interruption, start again. The code behind a command is not checked: after changing
it, name the method with --again.
"""

import argparse
import dataclasses
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from comparison import boxes
from comparison.datasets import choose, num_labelled, write_json
from comparison.methods import Method, parse_method, read_methods
from comparison.overlays import SideBySide, side_by_side
from comparison.page import render
from comparison.report import DatasetSummary, MethodSummary, Report, RunSettings, to_json
from comparison.study import Settings, Study
from comparison.sweeps import DRAWN_FACTORS, PHOTO_FACTORS, Factor

from bottomup.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_name("compare.yaml")
PARTS = ("photos", "drawn", "cost", "boxes")
INTERRUPTED = 130
DEFAULTS = {  # and with --quick
    "samples": (1000, 50),
    "sweep_samples": (200, 20),
    "sweep_images": (24, 4),
    "cost_people": ((1, 2, 5, 10, 20, 50, 100), (1, 5)),
    "cost_repeats": (3, 1),
    "box_levels": (boxes.LEVELS, (0.5,)),
}


def main(words: Sequence[str] | None = None) -> int:
    """Compare; 0 if at least one method has results, 2 for wrong arguments, 1 otherwise."""
    arguments = _parser().parse_args(words)
    for name, values in DEFAULTS.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, values[arguments.quick])
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return compare(_study(arguments), arguments)
    except KeyboardInterrupt:
        _say("interrupted; the same command goes on where this one stopped")
        return INTERRUPTED
    except (ValueError, OSError) as error:
        _say(str(error))
        return 2


def compare(study: Study, arguments: argparse.Namespace) -> int:
    """Run all parts that were asked for; the report is written after each, for a first look."""
    study.run_methods()
    if not study.done:
        for problem in study.runner.problems:
            _say(f"{problem.method} is {problem.status}: {problem.reason}")
        return 1
    report = _start(study, arguments)
    entries = {method.name: study.outcomes[method.name].entries for method in study.done}
    thresholds = {name: counts.threshold for name, counts in report.accuracy.errors.items()}
    pictures = side_by_side(study.dataset, entries, thresholds, arguments.pictures)
    _write(study, report, pictures)
    if "cost" in arguments.parts:
        report = dataclasses.replace(report, growth=study.measure_growth())
        _write(study, report, pictures)
    if "boxes" in arguments.parts:
        report = dataclasses.replace(report, boxes=study.spoil_boxes())
        _write(study, report, pictures)
    if "photos" in arguments.parts:
        report = dataclasses.replace(report, sweeps=study.sweep_photos())
        _write(study, report, pictures)
    if "drawn" in arguments.parts:
        report = dataclasses.replace(report, sweeps=[*report.sweeps, *study.sweep_drawings()])
        _write(study, report, pictures)
    for part, seconds in sorted(study.runner.seconds.items(), key=lambda item: -item[1]):
        print(f"{seconds:8.1f} s  {part}", file=sys.stderr)
    print(f"look at {study.settings.out / 'report.html'}")
    return 0


def _start(study: Study, arguments: argparse.Namespace) -> Report:
    """The report without the parts that may be left out."""
    known = [method.name for method in study.done]
    reference = arguments.reference if arguments.reference in known else known[0]
    methods = []
    for method in study.methods:
        outcome, command = study.outcomes[method.name], " ".join(method.command)
        about = MethodSummary(method.name, method.kind, command, outcome.status, outcome.reason)
        methods.append(about)
    num_people = sum(1 for entry in study.truth["annotations"] if num_labelled(entry))
    annotations = Path(arguments.annotations).name
    return Report(
        dataset=DatasetSummary(len(study.truth["images"]), num_people, annotations),
        settings=RunSettings(study.settings.samples, study.settings.seed, arguments.quick),
        reference=reference,
        methods=methods,
        cost=study.measure_cost(),
        accuracy=study.measure_accuracy(reference),
    )


def _write(study: Study, report: Report, pictures: Sequence[SideBySide]) -> None:
    runner, out = study.runner, study.settings.out
    seconds = {part: round(value, 1) for part, value in runner.seconds.items()}
    report = dataclasses.replace(report, problems=tuple(runner.problems), seconds=seconds)
    write_json(out / "report.json", to_json(report))
    with write_whole(out / "report.html") as file:
        file.write(render(report, pictures).encode())


def _study(arguments: argparse.Namespace) -> Study:
    out = Path(arguments.out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {str(out)!r} is a file: name a folder")
    methods = _methods(arguments)
    names = [method.name for method in methods]
    unknown = {arguments.reference, *arguments.again} - {*names, None}
    if unknown:
        raise ValueError(f"{sorted(unknown)} are not among the methods {names}")
    images, annotations = Path(arguments.images), Path(arguments.annotations)
    target = out / "data" / "images.json"
    dataset = choose("images", images, annotations, target, limit=arguments.limit)
    settings = Settings(
        out=out.resolve(),
        samples=arguments.samples,
        sweep_samples=arguments.sweep_samples,
        seed=arguments.seed,
        threads=arguments.threads,
        jobs=arguments.jobs,
        timeout=arguments.timeout,
        again=frozenset(arguments.again),
        sweep_images=arguments.sweep_images,
        photo_levels=_levels(arguments.photo_levels, PHOTO_FACTORS, quick=arguments.quick),
        drawn_levels=_levels(arguments.drawn_levels, DRAWN_FACTORS, quick=arguments.quick),
        cost_people=sorted(set(arguments.cost_people)),
        cost_repeats=arguments.cost_repeats,
        box_levels=sorted(set(arguments.box_levels)),
    )
    return Study(settings, dataset, methods)


def _methods(arguments: argparse.Namespace) -> list[Method]:
    """The methods of the table that are named (all, unless --method is given), and --method."""
    table = read_methods(Path(arguments.table))
    names = arguments.methods or ()
    if arguments.methods is None and not arguments.method:
        names = list(table)
    unknown = [name for name in names if name not in table]
    if unknown:
        raise ValueError(f"no method {unknown} in {arguments.table}; it has {sorted(table)}")
    methods = [table[name] for name in names] + [parse_method(text) for text in arguments.method]
    all_names = [method.name for method in methods]
    if len(set(all_names)) < len(all_names):
        raise ValueError(f"every method needs a name of its own, not {all_names}")
    return methods


def _levels(
    words: Sequence[str], factors: Mapping[str, Factor], *, quick: bool
) -> dict[str, tuple[float, ...]]:
    """The levels by factor; FACTOR=V,V,... replaces those of one factor, FACTOR= leaves it out."""
    levels: dict[str, tuple[float, ...]] = {}
    for name, factor in factors.items():
        levels[name] = (factor.levels[0], factor.levels[-1]) if quick else factor.levels
    for text in words:
        name, equals, values = text.partition("=")
        if name not in factors or not equals:
            raise ValueError(
                f"levels are FACTOR=NUMBER,NUMBER,... with a factor of {sorted(factors)}, "
                f"not {text!r}"
            )
        try:
            levels[name] = tuple(float(value) for value in values.split(",") if value)
        except ValueError as error:
            raise ValueError(f"levels of {name!r} must be numbers, not {values!r}") from error
    return {name: values for name, values in levels.items() if values}


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(f"compare: {text}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _add_inputs(parser)
    _add_amounts(parser)
    return parser


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    """What is compared, and how methods are run."""
    add = parser.add_argument
    add("--images", required=True, help="folder of the images")
    add("--annotations", required=True, help="COCO keypoint annotations of them, 17 joints")
    add("--out", required=True, help="folder for the report and what is kept for the next run")
    names = "which of the table (all, unless --method is given)"
    add("--methods", nargs="+", metavar="NAME", help=names)
    one_more = "one more; may be repeated"
    add("--method", action="append", default=[], metavar="NAME=COMMAND", help=one_more)
    table = f"the table of methods ({TABLE.relative_to(ROOT)})"
    add("--table", default=TABLE, metavar="FILE", help=table)
    reference = "with which the others are compared, pair by pair (the first with results)"
    add("--reference", metavar="NAME", help=reference)
    add("--limit", type=_count, help="at most as many images, evenly spread")
    parts = "beyond accuracy and cost of the images (all)"
    add("--parts", nargs="*", choices=PARTS, default=PARTS, help=parts)
    again = "methods to run although their results are there"
    add("--again", nargs="+", default=[], metavar="NAME", help=again)
    add("--threads", type=_count, default=1, help="that a method may use (1)")
    add("--jobs", type=_count, default=2, help="methods at once where no time is measured (2)")
    add("--timeout", type=float, default=3600.0, help="seconds for one run of a method (3600)")


def _add_amounts(parser: argparse.ArgumentParser) -> None:
    """How much is measured."""
    add = parser.add_argument
    samples = "bootstrap samples of the main figures (1000; 50 with --quick)"
    add("--samples", type=_count, help=samples)
    sweep_samples = "bootstrap samples of each point of a curve (200; 20 with --quick)"
    add("--sweep-samples", type=_count, help=sweep_samples)
    add("--sweep-images", type=_count, help="images per level of a sweep (24; 4 with --quick)")
    for option, factors in (("--photo-levels", PHOTO_FACTORS), ("--drawn-levels", DRAWN_FACTORS)):
        offer = "; ".join(f"{name}: {one.unit} ({one.levels})" for name, one in factors.items())
        offer = offer.replace("%", "%%")
        add(option, action="append", default=[], metavar="FACTOR=V,V", help=offer)
    people = "numbers of people (1 2 5 10 20 50 100; 1 5 with --quick)"
    add("--cost-people", type=_count, nargs="+", help=people)
    add("--cost-repeats", type=_count, help="images of each number (3; 1 with --quick)")
    levels = "how much boxes are spoiled (0.1 0.25 0.5; 0.5 with --quick)"
    add("--box-levels", type=float, nargs="+", help=levels)
    add("--pictures", type=int, default=6, help="how many images to show side by side (6)")
    add("--seed", type=int, default=0, help="of everything that is drawn (0)")
    add("--quick", action="store_true", help="few samples, images and levels, for a first try")


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
