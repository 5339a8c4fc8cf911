"""What verbs print of a run."""

from pathlib import Path

from bottomup.data.image_ids import Annotated, closest
from bottomup.inference.lists import Summary


def matching(annotated: Annotated, path: str, unmatched: list[str], num_images: int) -> str:
    """Which images of a run the annotations name."""
    name = unmatched[0]
    return (
        f"--annotations {path!r} names {num_images - len(unmatched)} of {num_images} images. "
        f"The source has {name!r}, the file has {closest(name, annotated.ids)!r}"
    )


def print_failures(summary: Summary, out: Path) -> None:
    """Print how many files failed, and the first of them with their reasons."""
    if summary.num_failed:
        print(f"{counted(summary.num_failed, 'file', 'files')} failed:")
        for name, error in summary.failures:
            print(f"  {printable(name)}: {error}")
        if num_more := summary.num_failed - len(summary.failures):
            print(f"  and {num_more} more, see {out / 'failures.json'}")


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else many}"


def printable(name: str) -> str:
    """A file name on one line, whatever is in it."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name
    )
