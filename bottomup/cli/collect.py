"""`bottomup collect`: the lists of a run from its journal, or from those of its shards."""

import argparse
from pathlib import Path

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
    from bottomup.cli import exit_codes
    from bottomup.cli.report import counted, matching, print_failures, printable
    from bottomup.data.image_ids import read_annotated
    from bottomup.inference.journal import JOURNAL
    from bottomup.inference.lists import collect
    from bottomup.inference.locking import locked
    from bottomup.inference.shards import engines_of, problems_of, read_parts
    from bottomup.inference.tables import require_pyarrow

    if arguments.parquet:
        require_pyarrow()
    folders = [Path(folder) for folder in arguments.folders]
    if arguments.out is None and len(folders) > 1:
        raise ValueError("collect: several folders need --out DIR, where the lists go")
    out = Path(arguments.out or folders[0])
    if (out / JOURNAL).exists() and out.resolve() not in {path.resolve() for path in folders}:
        raise ValueError(f"--out {str(out)!r} holds another run: choose another folder")
    parts = read_parts(folders)
    annotations = arguments.annotations
    for state in parts.values():
        annotations = annotations or (state.session and state.session.settings.get("annotations"))
    annotated = read_annotated(annotations) if annotations else None

    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        summary = collect(folders, out, annotated, parquet=arguments.parquet)
    print_failures(summary, out)
    if annotated and summary.unmatched:
        print(matching(annotated, str(annotations), summary.unmatched, summary.num_images))
    problems, engines = problems_of(parts), engines_of(parts)
    for line in problems:
        print(line)
    if len(engines) > 1:
        print("engines differed, so last digits may differ:")
        for engine, of in engines.items():
            print(f"  {engine}: {', '.join(of)}")
    people = counted(summary.num_people, "person", "people")
    print(f"{counted(summary.num_images, 'image', 'images')}, {people} found")
    print(f"look at {printable(str(out / 'index.html'))}")
    return exit_codes.SOME_FAILED if problems or summary.num_failed else exit_codes.DONE
