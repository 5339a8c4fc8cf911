"""The ids of images in COCO files."""

import itertools
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from bottomup.data.coco import read_raw

MAX_DIGITS = 15  # of an id: every JSON reader keeps that many


class ImageIds:
    """Gives each image of a run an id, and no two the same one.

    The first of these that applies:

    1. the id of the annotated image of that name: its path within the source, or else its last
       part;
    2. the number at the end of a COCO-style name (000000000139.jpg, val2017_000000000139.jpg,
       val_139.jpg), unless an annotated image has that id;
    3. the next number, from 1, that no name and no annotation claims.

    An image whose id is taken already gets the next number instead. The same names in the same
    order get the same ids.

    Args:
        annotated: id by file name, from `read_annotated`.
    """

    def __init__(self, annotated: Mapping[str, int] | None = None) -> None:
        self._annotated = annotated or {}
        self._annotated_ids = frozenset(self._annotated.values())
        self._exact: set[str] = set()  # annotated names that equal a path within the source
        self._claimed = set(self._annotated_ids)
        self._taken: set[int] = set()
        self._numbers = itertools.count(1)

    def claim(self, name: str) -> None:
        """Keep running numbers away from the id of a name. Call it for all names before any id."""
        if name in self._annotated:
            self._exact.add(name)
        elif (number := number_of(name)) is not None:
            self._claimed.add(number)

    def __call__(self, name: str) -> int:
        """The id of the next image. Call it once for each image, in the order of the names."""
        wanted = self._wanted(name)
        if wanted is None or wanted in self._taken:
            wanted = next(
                number
                for number in self._numbers
                if number not in self._claimed and number not in self._taken
            )
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
    """The number at the end of a COCO-style name, or None."""
    match = re.fullmatch(r"(?:.*[_-])?([0-9]+)", PurePosixPath(name).stem, re.DOTALL)
    if match is None or len(match[1].lstrip("0")) > MAX_DIGITS:
        return None
    return int(match[1])


def read_annotated(path: str | Path) -> dict[str, int]:
    """Ids by file name, from the images of a COCO file.

    Raises:
        ValueError: the file cannot be read, is not a COCO file, or has two ids for one image or
            one id for two.
    """
    name, images = f"annotations {str(path)!r}", read_raw(path, "images")["images"]
    try:
        pairs = [(str(image["file_name"]), int(image["id"])) for image in images]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{name} is not a COCO file: its images need file_name and id") from error
    ids = dict(pairs)
    for file_name, number in pairs:
        if ids[file_name] != number:
            raise ValueError(f"{name} gives {file_name!r} two ids, {number} and {ids[file_name]}")
    if len(set(ids.values())) < len(ids):
        raise ValueError(f"{name} gives one id to several images: make the ids unique")
    return ids
