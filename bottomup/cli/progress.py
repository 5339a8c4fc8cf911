"""One progress report for all verbs."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

SECONDS_PER_LINE = 10.0  # where there is no terminal


@contextlib.contextmanager
def progress() -> Iterator[Callable[[float, float | None, str], None]]:
    """Show how far some work has come: a bar on a terminal, a line of text now and then elsewhere.

    Gives a function to call after each piece of work, with how much is done, the total (None if
    it is not known yet), and a text that says so.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        with Progress(
            BarColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr),
            transient=True,
        ) as bar:
            task = bar.add_task("loading", total=None)
            yield lambda done, total, text: bar.update(
                task, completed=done, total=total, description=text
            )
        return
    last = time.monotonic()

    def show(done: float, total: float | None, text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_PER_LINE:
            last = time.monotonic()
            print(text, file=sys.stderr)

    yield show
