"""What verbs print of a run."""

import dataclasses
import time

from bottomup.cli import exit_codes
from bottomup.data.image_ids import Annotated, closest
from bottomup.inference.lists import Summary


@dataclasses.dataclass
class Tally:
    """How far the run has come.

    Attributes:
        num_listed: images that the source has named.
        num_kept: those of them that were done before.
        num_done: those of them that are done now.
        num_people: in the latter.
    """

    num_listed: int = 0
    num_kept: int = 0
    num_done: int = 0
    num_people: int = 0
    start: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.start

    def __str__(self) -> str:
        speed = self.num_done / max(self.seconds, 1e-3)
        return f"{speed:.1f} images/s, {counted(self.num_people, 'person', 'people')} found"


def matching(annotated: Annotated, path: str, unmatched: list[str], num_images: int) -> str:
    """Which images of a run the annotations name."""
    name = unmatched[0]
    return (
        f"--annotations {path!r} names {num_images - len(unmatched)} of {num_images} images. "
        f"The source has {name!r}, the file has {closest(name, annotated.ids)!r}"
    )


def print_failures(summary: Summary, out: object) -> None:
    """Print how many files failed, and the first of them with their reasons."""
    if summary.num_failed:
        print(f"{counted(summary.num_failed, 'file', 'files')} failed:")
        for name, error in summary.failures:
            print(f"  {printable(name)}: {error}")
        if num_more := summary.num_failed - len(summary.failures):
            print(f"  and {num_more} more, see {out}/failures.json")


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else many}"


def printable(name: str) -> str:
    """A file name on one line, whatever is in it."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name
    )


def nothing_to_do(tally: Tally, num_failed: int, out: object) -> int:
    """Say that the run is finished; returns the exit code."""
    failed = f", {num_failed:,} of them failed" if num_failed else ""
    print(f"nothing to do: {counted(tally.num_kept, 'image', 'images')} done before{failed}")
    print(f"look at {printable(f'{out}/index.html')}")
    return exit_codes.SOME_FAILED if num_failed else exit_codes.DONE


def summarise(tally: Tally, summary: Summary, out: object, *, signal_number: int) -> int:
    """Print what was done; returns the exit code."""
    if signal_number:
        done = counted(summary.num_images, "image", "images")
        print(f"interrupted after {done}; the same command goes on")
    print_failures(summary, out)
    if tally.num_kept:
        print(f"{counted(tally.num_kept, 'image', 'images')} kept from before")
    print(f"{counted(tally.num_done, 'image', 'images')} in {tally.seconds:.1f} s, {tally}")
    print(f"look at {printable(f'{out}/index.html')}")
    if signal_number:
        return exit_codes.after(signal_number)
    return exit_codes.SOME_FAILED if summary.num_failed else exit_codes.DONE
