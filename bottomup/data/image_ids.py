"""Which number an image has in COCO files."""

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

MAX_DIGITS = 15  # what every JSON reader keeps exactly


class ImageIds:
    """Gives every image of a run a number, never the same one twice.

    In this order: the id of the annotation with the image's name (its path within the source, else
    its last part); the number that a COCO-style name ends in (000000000139.jpg,
    val2017_000000000139.jpg, val_139.jpg), unless another annotated image has that id; the next
    number, from 1, that no name and no annotation claims. An id that is taken already goes to
    nobody else: of two names with one number the first keeps it. The same names in the same order
    always have the same ids.

    Args:
        annotated: id by file name, from `read_annotated`.
    """

    def __init__(self, annotated: Mapping[str, int] | None = None) -> None:
        self._annotated = annotated or {}
        self._annotated_ids = frozenset(self._annotated.values())
        self._exact: set[str] = set()  # annotated names that a path within the source equals
        self._claimed = set(self._annotated_ids)
        self._taken: set[int] = set()
        self._last = 0

    def claim(self, name: str) -> None:
        """Look at a name in advance, so that running numbers stay clear of its own; all names before any id."""
        if name in self._annotated:
            self._exact.add(name)
        elif (number := number_of(name)) is not None:
            self._claimed.add(number)

    def __call__(self, name: str) -> int:
        """The id of the next image, to be asked for once per image and in the order of the names."""
        wanted = self._wanted(name)
        if wanted is None or wanted in self._taken:
            self._last += 1
            while self._last in self._claimed or self._last in self._taken:
                self._last += 1
            wanted = self._last
        self._taken.add(wanted)
        return wanted

    def _wanted(self, name: str) -> int | None:
        if name in self._annotated:
            return self._annotated[name]
        last_part = PurePosixPath(name).name
        if last_part in self._annotated and last_part not in self._exact:
            return self._annotated[last_part]
        number = number_of(name)
        return None if number in self._annotated_ids else number


def number_of(name: str) -> int | None:
    """The number that a COCO-style name ends in, or None."""
    match = re.fullmatch(r"(?:.*[_-])?([0-9]+)", PurePosixPath(name).stem, re.DOTALL)
    if match is None or len(match[1].lstrip("0")) > MAX_DIGITS:
        return None
    return int(match[1])


def read_annotated(path: str | Path) -> dict[str, int]:
    """Ids by file name, from the images of a COCO file.

    Raises:
        ValueError: the file cannot be read, or is not a COCO file, or names one image twice with
            different ids.
    """
    try:
        images = json.loads(Path(path).read_bytes())["images"]
        pairs = [(str(image["file_name"]), int(image["id"])) for image in images]
    except OSError as error:
        raise ValueError(f"annotations {str(path)!r} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"annotations {str(path)!r} are not a COCO file: images with file_name and id are needed"
        ) from error
    ids = dict(pairs)
    for name, number in pairs:
        if ids[name] != number:
            raise ValueError(
                f"annotations {str(path)!r} give {name!r} two ids, {number} and {ids[name]}"
            )
    if len(set(ids.values())) < len(ids):
        raise ValueError(
            f"annotations {str(path)!r} give one id to several images: make the ids unique"
        )
    return ids
