"""`bottomup weights`: list weights, and fetch those that others publish."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from bottomup.cli.parser import did_you_mean
from bottomup.cli.progress import progress

SUMMARY = "List weights, and fetch those that others publish."

EPILOG = """Fetched weights go to the user's cache folder; predict, convert and fit then take
them by NAME. A transfer that broke off goes on where it ended. The official
HigherHRNet release lies on Google Drive and OneDrive: download it by hand, then
bottomup convert FILE OUT.safetensors. The licence is that of the project that
publishes the file; the data that it learned from has terms of its own."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "action", choices=("list", "fetch"), help="list all weights, or fetch published ones"
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a name from the list")
    parser.add_argument(
        "--url",
        metavar="URL",
        help="fetch from another address; the SHA-256 of the file is checked all the same",
    )


def run(arguments: argparse.Namespace) -> None:
    """List, or fetch NAME.

    Raises:
        ValueError: there are no weights of that name, or an argument is missing or too many.
        OSError: they could not be fetched.
    """
    if arguments.action == "fetch":
        _fetch(arguments.name, arguments.url)
    elif arguments.name or arguments.url:
        raise ValueError(
            "weights: list takes nothing more; bottomup weights fetch NAME fetches one"
        )
    else:
        _list()


def _list() -> None:
    from bottomup.weights.published import PUBLISHED, cache_folder, cached_path
    from bottomup.weights.store import bundled, read_description

    rows = [("NAME", "SIZE", "LICENCE", "WHERE", "WHAT FOR")]
    for name, path in bundled().items():
        purpose = f"{read_description(path).get('builder', 'a part')}; its model card is beside it"
        rows.append((name, _megabytes(path), "Apache-2.0", "bundled", purpose))
    for name, published in PUBLISHED.items():
        size, where = f"{published.megabytes:.0f} MB", "-"
        if (path := cached_path(name)).is_file():
            size, where = _megabytes(path), "fetched"
        rows.append((name, size, published.licence, where, published.purpose))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, size, *others in rows:
        cells = [name.ljust(widths[0]), size.rjust(widths[1]), *map(str.ljust, others, widths[2:])]
        print("  ".join(cells).rstrip())
    print(f"\nFetched weights are in {cache_folder()}")


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


def _fetch(name: str | None, url: str | None) -> None:
    from bottomup.weights.download import fetch
    from bottomup.weights.published import PUBLISHED, cached_path

    if name is None:
        raise ValueError(f"weights: fetch what? {', '.join(PUBLISHED)}")
    if name not in PUBLISHED:
        otherwise = f"choose one of {', '.join(PUBLISHED)}"
        meant = did_you_mean(name, PUBLISHED, otherwise=otherwise)
        raise ValueError(f"weights: nothing called {name!r} can be fetched; {meant}")
    published, path = PUBLISHED[name], cached_path(name)
    was_there = path.is_file()
    num_bytes = published.megabytes * 1e6
    with progress() as show:
        fetch(
            url or published.url,
            path,
            sha256=published.sha256,
            num_bytes=num_bytes,
            report=_reporter(show, num_bytes),
        )
    print(f"{path}: {'is there already' if was_there else 'fetched, and its SHA-256 is right'}")
    if name.endswith("_imagenet"):
        print(f"next:  bottomup fit --config CONFIG --model.network.weights {name}")
    else:
        print(
            f"next:  bottomup predict PHOTO --out DIR --weights {name}\n"
            f"or:    bottomup convert {name} {name}.safetensors"
            "    (loads faster, and runs no code of others)"
        )


def _reporter(
    show: Callable[[float, float, str], None], expected: float
) -> Callable[[int, int | None], None]:
    """What a transfer calls with its bytes so far and in all; None stands for `expected`."""
    first: tuple[float, int] | None = None

    def report(done: int, total: int | None) -> None:
        nonlocal first
        # A transfer that goes on has some bytes from the start, which say nothing about its speed.
        first = first or (time.monotonic(), done)
        speed = (done - first[1]) / max(time.monotonic() - first[0], 1e-3)
        wanted = total or expected
        show(done, wanted, f"{done / 1e6:.0f} of {wanted / 1e6:.0f} MB, {speed / 1e6:.1f} MB/s")

    return report
