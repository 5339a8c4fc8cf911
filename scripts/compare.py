"""Compare methods of pose estimation on your own images: how well, how fast, and what makes them fail.

    python scripts/compare.py --images DIR --annotations FILE --out DIR

Every method is a command (scripts/compare.yaml has the table; --method NAME=COMMAND adds one). It
gets --images, --annotations, --results, --timing and --threads, and writes COCO results and a
timing file. A method that is not available is skipped with its reason, one that fails is reported,
the others go on. DIR gets report.json and report.html. What is finished is not run again unless a
command or its inputs change: after an interruption, start again. The code behind a command is not
looked at: after changing it, name the method with --again.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from comparison import drawn_sweeps, overlays, photo_sweeps
from comparison.datasets import Entry, choose, read_picture, write_json
from comparison.methods import Method, parse_method, read_methods
from comparison.sections import render
from comparison.study import Settings, Study

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
    "box_levels": ((0.1, 0.25, 0.5), (0.5,)),
}


def main(words: Sequence[str] | None = None) -> int:
    """Compare; 0 if at least one method has results, 2 for wrong arguments, 1 otherwise."""
    arguments = _parser().parse_args(words)
    for name, values in DEFAULTS.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, values[arguments.quick])
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        study = _study(arguments)
        return compare(study, arguments)
    except KeyboardInterrupt:
        print(
            "compare: interrupted; the same command goes on where this one stopped", file=sys.stderr
        )
        return INTERRUPTED
    except (ValueError, OSError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2


def compare(study: Study, arguments: argparse.Namespace) -> int:
    """Run all parts that were asked for; the report is written after each, so that there is always one to look at."""
    study.run_methods()
    if not study.done:
        for problem in study.problems:
            print(
                f"compare: {problem['method']} is {problem['status']}: {problem['reason']}",
                file=sys.stderr,
            )
        return 1
    known = [method.name for method in study.done]
    reference = arguments.reference if arguments.reference in known else known[0]
    report = _start(study, arguments, reference)
    pictures = _pictures(study, report["accuracy"]["errors"], arguments.pictures)
    _write(study, report, pictures)
    if "cost" in arguments.parts:
        report["growth"] = study.measure_growth()
        _write(study, report, pictures)
    if "boxes" in arguments.parts:
        report["boxes"] = study.spoil_boxes()
        _write(study, report, pictures)
    if "photos" in arguments.parts:
        report["sweeps"] += [{"family": "photos"} | sweep for sweep in study.sweep_photos()]
        _write(study, report, pictures)
    if "drawn" in arguments.parts:
        report["sweeps"] += [{"family": "drawn"} | sweep for sweep in study.sweep_drawn()]
    _write(study, report, pictures)
    for part, seconds in sorted(study.seconds.items(), key=lambda item: -item[1]):
        print(f"{seconds:8.1f} s  {part}", file=sys.stderr)
    print(f"look at {study.settings.out / 'report.html'}")
    return 0


def _start(study: Study, arguments: argparse.Namespace, reference: str) -> dict[str, Any]:
    people = sum(1 for entry in study.truth["annotations"] if photo_sweeps.num_labelled(entry))
    return {
        "format": 1,
        "dataset": {
            "images": len(study.truth["images"]), "people": people, "annotations": Path(arguments.annotations).name,
        },
        "settings": {"samples": study.settings.samples, "seed": study.settings.seed, "quick": arguments.quick},
        "reference": reference,
        "methods": [
            {
                "name": method.name, "kind": method.kind, "command": " ".join(method.command),
                "status": study.outcomes[method.name].status, "reason": study.outcomes[method.name].reason,
            }
            for method in study.methods
        ],
        "cost": study.measure_cost(),
        "accuracy": study.measure_accuracy(reference),
        "sweeps": [],
    }  # fmt: skip


def _write(study: Study, report: dict[str, Any], pictures: list[dict[str, Any]]) -> None:
    report |= {
        "problems": study.problems,
        "seconds": {k: round(v, 1) for k, v in study.seconds.items()},
    }
    out = study.settings.out
    write_json(out / "report.json", report)
    part = out / ".report.html.part"
    part.write_text(render(report, pictures), encoding="utf-8")
    part.replace(out / "report.html")


def _pictures(study: Study, counts: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """The images on which methods differ most, with the people of each drawn on them."""
    entries = {method.name: study.outcomes[method.name].entries for method in study.done}
    thresholds = {name: counts[name]["threshold"] for name in entries}
    scores = {
        name: overlays.image_scores(of, study.truth, thresholds[name])
        for name, of in entries.items()
    }
    infos: dict[int, Entry] = {info["id"]: info for info in study.truth["images"]}
    found = []
    for image_id in overlays.most_different(scores, number):
        people = [entry for entry in study.truth["annotations"] if entry["image_id"] == image_id]
        image = read_picture(study.dataset.images, infos[image_id], ()).image
        labelled = [entry for entry in people if photo_sweeps.num_labelled(entry)]
        cells = [("labelled", overlays.small_picture(image, labelled, 0.0))]
        for name, of in entries.items():
            mine = [entry for entry in of if entry["image_id"] == image_id]
            caption = f"{name} ({scores[name][image_id]:.2f})"
            cells.append((caption, overlays.small_picture(image, mine, max(thresholds[name], 0.0))))
        found.append({"name": infos[image_id]["file_name"], "cells": cells})
    return found


def _study(arguments: argparse.Namespace) -> Study:
    out = Path(arguments.out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {str(out)!r} is a file: name a folder")
    methods = _methods(arguments)
    unknown = {arguments.reference, *arguments.again} - {method.name for method in methods} - {None}
    if unknown:
        raise ValueError(
            f"{sorted(unknown)} are not among the methods {[method.name for method in methods]}"
        )
    dataset = choose(
        "images", Path(arguments.images), Path(arguments.annotations), out / "data" / "images.json",
        limit=arguments.limit,
    )  # fmt: skip
    settings = Settings(
        out=out.resolve(), samples=arguments.samples, sweep_samples=arguments.sweep_samples, seed=arguments.seed,
        threads=arguments.threads, jobs=arguments.jobs, timeout=arguments.timeout,
        again=frozenset(arguments.again), sweep_images=arguments.sweep_images,
        photo_levels=_levels(arguments, "photo_levels", photo_sweeps.FACTORS),
        drawn_levels=_levels(arguments, "drawn_levels", drawn_sweeps.FACTORS),
        cost_people=sorted(set(arguments.cost_people)), cost_repeats=arguments.cost_repeats,
        box_levels=sorted(set(arguments.box_levels)),
    )  # fmt: skip
    return Study(settings, dataset, methods)


def _methods(arguments: argparse.Namespace) -> list[Method]:
    table = read_methods(Path(arguments.table))
    unknown = [name for name in arguments.methods or () if name not in table]
    if unknown:
        raise ValueError(f"no method {unknown} in {arguments.table}; it has {sorted(table)}")
    chosen = (
        list(table)
        if arguments.methods is None and not arguments.method
        else arguments.methods or ()
    )
    methods = [table[name] for name in chosen] + [parse_method(text) for text in arguments.method]
    names = [method.name for method in methods]
    if len(set(names)) < len(names):
        raise ValueError(f"every method needs a name of its own, not {names}")
    return methods


def _levels(
    arguments: argparse.Namespace, option: str, factors: Any
) -> dict[str, tuple[float, ...]]:
    """The levels by factor; FACTOR=V,V,... replaces those of one factor, FACTOR= leaves it out."""
    levels = {
        name: _ends(factor.levels) if arguments.quick else factor.levels
        for name, factor in factors.items()
    }
    for text in getattr(arguments, option):
        name, equals, values = text.partition("=")
        if name not in factors or not equals:
            raise ValueError(
                f"levels are FACTOR=NUMBER,NUMBER,... with a factor of {sorted(factors)}, not {text!r}"
            )
        try:
            levels[name] = tuple(float(value) for value in values.split(",") if value)
        except ValueError as error:
            raise ValueError(f"levels of {name!r} must be numbers, not {values!r}") from error
    return {name: values for name, values in levels.items() if values}


def _ends(levels: Sequence[float]) -> tuple[float, ...]:
    return levels[0], levels[-1]


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--images", required=True, help="folder of the images")
    add("--annotations", required=True, help="COCO keypoint annotations of them, 17 joints")
    add(
        "--out",
        required=True,
        help="folder for the report and everything that is kept for the next run",
    )
    add(
        "--methods",
        nargs="+",
        metavar="NAME",
        help="which of the table (all, unless --method is given)",
    )
    add(
        "--method",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="one more; may be repeated",
    )
    add(
        "--table",
        default=TABLE,
        metavar="FILE",
        help=f"the table of methods ({TABLE.relative_to(ROOT)})",
    )
    add(
        "--reference",
        metavar="NAME",
        help="whom the others are compared with, pair by pair (the first with results)",
    )
    add("--limit", type=_count, help="at most as many images, evenly spread")
    add(
        "--parts",
        nargs="*",
        choices=PARTS,
        default=PARTS,
        help="beyond accuracy and cost of the images (all)",
    )
    add(
        "--again",
        nargs="+",
        default=[],
        metavar="NAME",
        help="methods to run though their results are there",
    )
    add("--threads", type=_count, default=1, help="that a method may use (1)")
    add("--jobs", type=_count, default=2, help="methods at once where no time is measured (2)")
    add("--timeout", type=float, default=3600.0, help="seconds for one run of a method (3600)")
    add(
        "--samples",
        type=_count,
        help="bootstrap samples of the main figures (1000; 50 with --quick)",
    )
    add(
        "--sweep-samples",
        type=_count,
        help="bootstrap samples of each point of a curve (200; 20 with --quick)",
    )
    add("--sweep-images", type=_count, help="images per level of a sweep (24; 4 with --quick)")
    add(
        "--photo-levels",
        action="append",
        default=[],
        metavar="FACTOR=V,V",
        help=_offer(photo_sweeps.FACTORS),
    )
    add(
        "--drawn-levels",
        action="append",
        default=[],
        metavar="FACTOR=V,V",
        help=_offer(drawn_sweeps.FACTORS),
    )
    add(
        "--cost-people",
        type=_count,
        nargs="+",
        help="numbers of people (1 2 5 10 20 50 100; 1 5 with --quick)",
    )
    add("--cost-repeats", type=_count, help="pictures of each number (3; 1 with --quick)")
    add(
        "--box-levels",
        type=float,
        nargs="+",
        help="how much boxes are spoiled (0.1 0.25 0.5; 0.5 with --quick)",
    )
    add("--pictures", type=int, default=6, help="how many images to show side by side (6)")
    add("--seed", type=int, default=0, help="of everything that is drawn (0)")
    add(
        "--quick",
        action="store_true",
        help="few samples, images and levels, to see whether all works",
    )
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return value


def _offer(factors: Any) -> str:
    return "; ".join(
        f"{name}: {factor.unit} ({factor.levels})" for name, factor in factors.items()
    ).replace("%", "%%")


if __name__ == "__main__":
    sys.exit(main())
