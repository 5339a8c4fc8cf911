"""The ids of images in COCO files."""

import collections
import itertools
import re
import unicodedata
import urllib.parse
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from bottomup.data.keypoint_files import read_images

MAX_DIGITS = 15  # of an id: every JSON reader keeps that many


class Annotated(NamedTuple):
    """What an annotation file says about the images of a run.

    Attributes:
        ids: of images by file name.
        category_id: of the results.
    """

    ids: dict[str, int]
    category_id: int


class ImageIds:
    """Gives each image of a run an id, and no two the same one.

    The first of these that applies:

    1. the id of the annotated image of that name, see `match_names`;
    2. the number at the end of a COCO-style name (000000000139.jpg, val2017_000000000139.jpg,
       val_139.jpg), unless an annotated image has that id;
    3. the next number, from 1, that no name and no annotation claims.

    An image whose id is taken already gets the next number instead. The same names in the same
    order get the same ids.

    Args:
        annotated: id by file name, from `read_annotated`; None without annotations.

    Attributes:
        unmatched: the names that no annotated image has, from `match`.
    """

    def __init__(self, annotated: Mapping[str, int] | None = None) -> None:
        self._annotated = annotated or {}
        self._annotated_ids = frozenset(self._annotated.values())
        self._names: list[str] | None = None if annotated is None else []
        self._matched: dict[str, int] = {}
        self._claimed = set(self._annotated_ids)
        self._taken: set[int] = set()
        self._numbers = itertools.count(1)
        self.unmatched: list[str] = []

    def claim(self, name: str) -> None:
        """Keep running numbers away from the id of a name. Call it for all names before any id."""
        if self._names is not None:
            self._names.append(name)
        elif (number := number_of(name)) is not None:
            self._claimed.add(number)

    def match(self) -> None:
        """Match the claimed names with the annotated ones; call it between `claim` and any id."""
        names, self._names = self._names or [], None
        self._matched = match_names(names, self._annotated)
        self.unmatched = [name for name in names if name not in self._matched]
        for name in self.unmatched:
            self.claim(name)

    def __call__(self, name: str) -> int:
        """The id of the next image. Call it once for each image, in the order of the names."""
        wanted = self._matched.get(name)
        if wanted is None and (number := number_of(name)) not in self._annotated_ids:
            wanted = number
        if wanted is None or wanted in self._taken:
            wanted = next(
                number
                for number in self._numbers
                if number not in self._claimed and number not in self._taken
            )
        self._taken.add(wanted)
        return wanted


def number_of(name: str) -> int | None:
    """The number at the end of a COCO-style name, or None."""
    match = re.fullmatch(r"(?:.*[_-])?([0-9]+)", PurePosixPath(name).stem, re.DOTALL)
    if match is None:
        return None
    digits = match[1].lstrip("0")
    return int(digits or "0") if len(digits) <= MAX_DIGITS else None


def match_names(names: Collection[str], annotated: Mapping[str, int]) -> dict[str, int]:
    """Ids of the names that annotated images have.

    Equal names match. Then paths match by their last parts, as many as tell them apart: no other
    name and no other annotated image may end in the same parts. Where parts differ, back slashes,
    percent escapes, Unicode normalisation and case do not matter.

    Args:
        names: paths within the source, with forward slashes.
        annotated: id by file name.
    """
    found = {name: annotated[name] for name in names if name in annotated}
    taken = set(found.values())
    if len(found) == len(names) or not annotated:  # also if there are no names
        return found
    # each side's names and their parts, as they are and normalised
    ours, theirs = (
        [(name, (_parts(name), _parts(_normalised(name)))) for name in side]
        for side in (names, annotated)
    )
    depth = min(max(len(parts) for _, forms in side for parts in forms) for side in (ours, theirs))
    # one part more than the shallower side has: its paths are compared as a whole first
    for num_parts, form in itertools.product(range(depth + 1, 0, -1), (0, 1)):
        left, right = (
            _unique([(forms[form][-num_parts:], name) for name, forms in side])
            for side in (ours, theirs)
        )
        for end in left.keys() & right.keys():
            name, number = left[end], annotated[right[end]]
            if name not in found and number not in taken:
                found[name] = number
                taken.add(number)
    return found


def read_annotated(path: str | Path) -> Annotated:
    """What `predict` takes from a COCO file.

    Raises:
        ValueError: the file cannot be read, is not a COCO file, has no images, or has two ids for
            one image.
    """
    names, category_id = read_images(path)
    if not names:
        raise ValueError(f"annotations {str(path)!r} has no images")
    ids: dict[str, int] = {}
    for number, name in names.items():
        if ids.setdefault(name, number) != number:
            raise ValueError(
                f"annotations {str(path)!r} gives {name!r} two ids, {ids[name]} and {number}"
            )
    return Annotated(ids, category_id)


def closest(name: str, annotated: Iterable[str]) -> str:
    """The annotated name that was probably meant: one with the same last part, or the first."""
    last = _parts(_normalised(name))[-1:]
    same = (other for other in annotated if _parts(_normalised(other))[-1:] == last)
    return next(same, None) or next(iter(annotated))


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in name.split("/") if part not in ("", "."))


def _normalised(name: str) -> str:
    unescaped = urllib.parse.unquote(name).replace("\\", "/")
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", unescaped).casefold())


def _unique(names: Sequence[tuple[tuple[str, ...], str]]) -> dict[tuple[str, ...], str]:
    """The names by how they end, without those that end alike."""
    counts = collections.Counter(end for end, _ in names)
    return {end: name for end, name in names if counts[end] == 1}
