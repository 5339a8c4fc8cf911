"""`bottomup weights`: which weights there are, and fetching those that others publish."""

import argparse
import contextlib
import difflib
import sys
import time
from collections.abc import Callable, Iterator

from bottomup.weights.download import fetch
from bottomup.weights.published import PUBLISHED, cache_folder, cached_path

SECONDS_PER_LINE = 10.0  # of progress where there is no terminal


def run(arguments: argparse.Namespace) -> int:
    """List, or fetch NAME.

    Returns:
        0.

    Raises:
        ValueError: there is nothing of that name, or an argument is missing or too many.
        OSError: it could not be fetched.
    """
    if arguments.action == "list":
        if arguments.name or arguments.url:
            raise ValueError(
                "weights: list takes nothing more; bottomup weights fetch NAME fetches one"
            )
        _list()
    elif arguments.name is None:
        raise ValueError(f"weights: fetch what? {', '.join(PUBLISHED)}")
    else:
        _fetch(arguments.name, arguments.url)
    return 0


def _list() -> None:
    from bottomup.weights.store import bundled, read_description

    rows = [("NAME", "SIZE", "LICENCE", "WHERE", "WHAT FOR")]
    for name, path in bundled().items():
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        network = read_description(path).get("builder", "a part")
        rows.append(
            (name, size, "Apache-2.0", "bundled", f"{network}; its model card is beside it")
        )
    for name, published in PUBLISHED.items():
        path = cached_path(name)
        is_here = path.is_file()
        size = f"{path.stat().st_size / 1e6:.1f} MB" if is_here else f"{published.megabytes:.0f} MB"
        rows.append(
            (name, size, published.licence, "fetched" if is_here else "-", published.purpose)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, size, *others in rows:
        cells = [name.ljust(widths[0]), size.rjust(widths[1]), *map(str.ljust, others, widths[2:])]
        print("  ".join(cells).rstrip())
    print(f"\nFetched weights lie in {cache_folder()}")


def _fetch(name: str, url: str | None) -> None:
    if name not in PUBLISHED:
        close = difflib.get_close_matches(name, PUBLISHED, n=1)
        meant = f"did you mean {close[0]}?" if close else f"choose one of {', '.join(PUBLISHED)}"
        raise ValueError(f"weights: nothing called {name!r} can be fetched; {meant}")
    published, path = PUBLISHED[name], cached_path(name)
    was_here = path.is_file()
    with _progress(published.megabytes * 1e6) as report:
        fetch(
            url or published.url,
            path,
            sha256=published.sha256,
            num_bytes=published.megabytes * 1e6,
            report=report,
        )
    print(f"{path}: {'is there already' if was_here else 'fetched, and its SHA-256 is right'}")
    if name.endswith("_imagenet"):
        print(f"next:  bottomup fit --config CONFIG --model.network.weights {name}")
    else:
        print(f"next:  bottomup predict PHOTO --out DIR --weights {name}")
        print(
            f"or:    bottomup convert {name} {name}.safetensors    (loads faster, and runs no code of others)"
        )


@contextlib.contextmanager
def _progress(expected: float) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal, a line now and then elsewhere; gives what is to be called with the bytes so far."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
            task = bar.add_task("", total=expected)
            yield lambda done, total: bar.update(task, completed=done, total=total or expected)
        return
    last = time.monotonic()

    def report(done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_PER_LINE:
            last = time.monotonic()
            print(f"{done / 1e6:.0f} of {(total or expected) / 1e6:.0f} MB", file=sys.stderr)

    yield report
