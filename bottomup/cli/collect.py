"""`bottomup collect`: the lists of a run from its journal, or from those of its shards."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bottomup.distributed.places import Place
    from bottomup.inference.journal import State

SUMMARY = "Assemble the results of shards, or of a run that was killed."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "folders", nargs="+", metavar="DIR", help="folder that bottomup predict has written to"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="where the lists and the page go; needed for several folders, else the folder itself",
    )
    parser.add_argument(
        "--annotations",
        metavar="FILE",
        help="COCO file that gives image ids by file name; that of the run if not given",
    )
    parser.add_argument(
        "--parquet",
        action="store_true",
        help="write results.parquet and images.parquet too; needs pyarrow",
    )


def run(arguments: argparse.Namespace) -> int:
    """Collect; returns the exit code.

    Raises:
        ValueError: a folder holds no run, or the runs do not belong together.
        OSError: the output cannot be written.
    """
    import contextlib

    from bottomup.cli import exit_codes
    from bottomup.cli.report import counted, matching, print_failures, printable
    from bottomup.data.image_ids import read_annotated
    from bottomup.distributed.blocks import gathered, written
    from bottomup.distributed.places import Place
    from bottomup.inference.lists import collect
    from bottomup.inference.locking import locked
    from bottomup.inference.shards import problems_of, read_parts

    places = [Place(folder) for folder in arguments.folders]
    place = _checked_out(arguments, places)
    with contextlib.ExitStack() as stack:
        folders = [stack.enter_context(gathered(one)) for one in places]
        parts = read_parts(folders)
        annotations = arguments.annotations
        for state in parts.values():
            settings = {} if state.session is None else state.session.settings
            annotations = annotations or settings.get("annotations")
        annotated = read_annotated(annotations) if annotations else None
        roots = [one.root for one in places]
        own = folders[roots.index(place.root)] if place.root in roots else None
        out = stack.enter_context(written(place, own))
        if place.path:
            stack.enter_context(locked(out))
        summary = collect(folders, out, annotated, parquet=arguments.parquet)
    print_failures(summary, place.root)
    if annotated and summary.unmatched:
        print(matching(annotated, str(annotations), summary.unmatched, summary.num_images))
    problems = problems_of(parts)
    _print_problems(problems, parts)
    people = counted(summary.num_people, "person", "people")
    print(f"{counted(summary.num_images, 'image', 'images')}, {people} found")
    print(f"look at {printable(f'{place.root}/index.html')}")
    return exit_codes.SOME_FAILED if problems or summary.num_failed else exit_codes.DONE


def _checked_out(arguments: argparse.Namespace, places: "Sequence[Place]") -> "Place":
    """Where the lists go.

    Raises:
        ValueError: it is not given, or holds another run, or tables cannot be written.
    """
    from bottomup.distributed.places import Place
    from bottomup.inference.journal import JOURNAL
    from bottomup.inference.tables import require_pyarrow

    if arguments.parquet:
        require_pyarrow()
    if arguments.out is None and len(places) > 1:
        raise ValueError("collect: several folders need --out DIR, where the lists go")
    out = Place(arguments.out or arguments.folders[0])
    own = {place.path.resolve() for place in places if place.path}
    if out.path and (out.path / JOURNAL).exists() and out.path.resolve() not in own:
        raise ValueError(f"--out {out.root!r} holds another run: choose another folder")
    return out


def _print_problems(problems: Sequence[str], parts: "Mapping[str, State]") -> None:
    """Print what is missing of the run, and on what it ran where that differed."""
    from bottomup.inference.shards import engines_of

    for line in problems:
        print(line)
    engines = engines_of(parts)
    if len(engines) > 1:
        print("engines differed, so last digits may differ:")
        for engine, of in engines.items():
            print(f"  {engine}: {', '.join(of)}")
