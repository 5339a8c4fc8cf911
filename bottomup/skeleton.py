"""The joints of a person: names, limbs, left-right pairs, tolerances and grouping order.

The side of a joint is a word of its name: left or right in any case, or a single letter l or r.
Words end at a change of case, and at whatever is not a letter. A digit does not set a single letter
off: L1 is a vertebra. Two names are a pair if they differ in the side only.
"""

import dataclasses
import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

DEFAULT_SIGMA = 0.05  # OKS tolerance of a joint without a measured one: about the mean of COCO's
OTHER_SIDE = {"left": "right", "right": "left", "l": "r", "r": "l"}

Pairs = tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """The joints of one kind of body.

    Attributes:
        keypoints: the K joint names, in channel order.
        edges: pairs of joint indices that are drawn as limbs.
        sigmas: K tolerances of the object keypoint similarity (OKS) of the COCO evaluation.
        grouping_order: the order in which the grouper visits the joints: those that are found most
            reliably (head, torso) first.
        flip_pairs: pairs of joint indices that change places in a mirror; None: pairs by the names.
    """

    keypoints: tuple[str, ...]
    edges: Pairs
    sigmas: tuple[float, ...]
    grouping_order: tuple[int, ...]
    flip_pairs: Pairs | None = None

    def __post_init__(self) -> None:
        num_keypoints = len(self.keypoints)
        if num_keypoints == 0 or len(set(self.keypoints)) != num_keypoints:
            raise ValueError(
                f"keypoint names must be unique and at least one, not {self.keypoints}"
            )
        are_positive = all(0 < sigma < math.inf for sigma in self.sigmas)
        if len(self.sigmas) != num_keypoints or not are_positive:
            raise ValueError(
                f"{num_keypoints} keypoints need as many positive sigmas, not {self.sigmas}"
            )
        if sorted(self.grouping_order) != list(range(num_keypoints)):
            raise ValueError(
                f"grouping_order must name each of 0..{num_keypoints - 1} once, "
                f"not {self.grouping_order}"
            )
        if any(not 0 <= joint < num_keypoints for edge in self.edges for joint in edge):
            raise ValueError(
                f"edges must stay within 0..{num_keypoints - 1} "
                f"(in files within 1..{num_keypoints}), not {self.edges}"
            )
        paired = [joint for pair in self.flip_pairs or () for joint in pair]
        if len(set(paired)) < len(paired) or not set(paired) <= set(range(num_keypoints)):
            raise ValueError(
                "flip_pairs must be pairs of two different joints, each joint at most once, within "
                f"0..{num_keypoints - 1} (in files within 1..{num_keypoints}), "
                f"not {self.flip_pairs} (counted from 0)"
            )

    @property
    def num_keypoints(self) -> int:
        """K, the number of joints."""
        return len(self.keypoints)

    @functools.cached_property
    def flip_indices(self) -> tuple[int, ...]:
        """K indices: of the joint that takes its place in a mirror, or of the joint itself."""
        pairs = _pairs_by_name(self.keypoints) if self.flip_pairs is None else self.flip_pairs
        other = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
        return tuple(other.get(k, k) for k in range(self.num_keypoints))

    @property
    def one_sided(self) -> tuple[str, ...]:
        """Joints whose names have a side, but no partner; none if `flip_pairs` are given."""
        if self.flip_pairs is not None:
            return ()
        joints = zip(self.keypoints, self.flip_indices, strict=True)
        return tuple(
            name for k, (name, other) in enumerate(joints) if k == other and joint_key(name)[0]
        )

    def describe(self) -> str:
        """Pairs, joints without a partner, and sigmas, in one line."""
        names, flip = self.keypoints, self.flip_indices
        pairs = [f"{names[a]}/{names[b]}" for a, b in enumerate(flip) if a < b]
        alone = [name for k, name in enumerate(names) if k == flip[k]]
        unknown = [name for name in names if joint_key(name) not in _known_sigmas()]
        origin = "as given"
        if self.sigmas == default_sigmas(names):
            known = "as in COCO and CrowdPose" if len(unknown) < len(names) else ""
            rest = f"{DEFAULT_SIGMA} for {', '.join(unknown)}" if unknown else ""
            origin = ", ".join(filter(None, (known, rest)))
        parts = {"pairs": ", ".join(pairs), "alone": ", ".join(alone), "sigmas": origin}
        told = "; ".join(f"{what}: {text or 'none'}" for what, text in parts.items())
        return told if can_mirror(flip) else f"{told}; without pairs no training image is mirrored"

    @classmethod
    def from_category(
        cls,
        category: dict[str, Any],
        sigmas: tuple[float, ...] | None = None,
        flip_pairs: Sequence[Sequence[int]] | None = None,
    ) -> "Skeleton":
        """Build a skeleton from a category of a COCO keypoint file.

        Args:
            category: a dict with "keypoints" (names) and optionally "skeleton" and "flip_pairs"
                (pairs of joints, counted from 1) and "sigmas".
            sigmas: OKS tolerances. None takes the category's, or else `default_sigmas`.
            flip_pairs: all pairs that change places in a mirror, counted from 1. None takes the
                category's, or else pairs by the names.

        Raises:
            ValueError: the category names no keypoints, its pairs are not made of joints that
                exist, or its sigmas are not K positive numbers.
        """
        names = tuple(category.get("keypoints") or ())
        if not names:
            raise ValueError(
                f"category {category.get('name')!r} names no keypoints: is this a keypoint file?"
            )
        sigmas = sigmas or category.get("sigmas")
        if sigmas and not (
            isinstance(sigmas, list | tuple) and all(isinstance(s, int | float) for s in sigmas)
        ):
            raise ValueError(f"sigmas must be a list of numbers, not {sigmas!r}")
        flip_pairs = category.get("flip_pairs") if flip_pairs is None else flip_pairs
        flips = None if flip_pairs is None else _pairs_of_file("flip_pairs", flip_pairs)
        for known in (COCO, CROWDPOSE):
            if names == known.keypoints and not sigmas:
                return known if flips is None else dataclasses.replace(known, flip_pairs=flips)
        edges = _pairs_of_file("skeleton", category.get("skeleton") or ())
        order = COCO.grouping_order if names == COCO.keypoints else tuple(range(len(names)))
        return cls(names, edges, tuple(sigmas or default_sigmas(names)), order, flips)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON; `from_dict` is the inverse."""
        fields = dataclasses.asdict(self)
        return {key: value for key, value in fields.items() if value is not None}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Skeleton":
        """Inverse of `to_dict`, also after a round trip through JSON."""
        flip_pairs = data.get("flip_pairs")
        return cls(
            keypoints=tuple(data["keypoints"]),
            edges=_pairs(data["edges"]),
            sigmas=tuple(data["sigmas"]),
            grouping_order=tuple(data["grouping_order"]),
            flip_pairs=None if flip_pairs is None else _pairs(flip_pairs),
        )


def can_mirror(flip_indices: Sequence[int]) -> bool:
    """Whether a mirrored image is likely to show what an image can: there are pairs, or one joint.

    Several joints without any pair are those of a thing that is not symmetric.
    """
    return len(flip_indices) == 1 or list(flip_indices) != list(range(len(flip_indices)))


def joint_key(name: str) -> tuple[str, str]:
    """The sides in a joint's name as letters l and r, and the rest without case and separators."""
    sides, rest = "", ""
    for part, side in _split(name):
        sides += side[:1]
        rest += "" if side else part
    return sides, re.sub(r"[\W_]+", "", rest).casefold()


def match_joints(names: Sequence[str], others: Sequence[str]) -> dict[int, int]:
    """Indices of the joints of `names`, and of the same joint of `others`, however it is spelled.

    A joint that several names of one list may mean is left out.
    """
    keys, other_keys = [*map(joint_key, names)], [*map(joint_key, others)]
    return {
        k: other_keys.index(key)
        for k, key in enumerate(keys)
        if keys.count(key) == other_keys.count(key) == 1
    }


def default_sigmas(names: Iterable[str]) -> tuple[float, ...]:
    """The tolerances of the joints of COCO and CrowdPose of these names, else `DEFAULT_SIGMA`."""
    return tuple(_known_sigmas().get(joint_key(name), DEFAULT_SIGMA) for name in names)


@functools.cache
def _known_sigmas() -> dict[tuple[str, str], float]:
    joints = ((*zip(s.keypoints, s.sigmas, strict=True),) for s in (CROWDPOSE, COCO))
    return {joint_key(name): sigma for name, sigma in itertools.chain(*joints)}


def _split(name: str) -> list[tuple[str, str]]:
    """A name in parts that join to it, each with its side: left, right, l, r or ""."""
    # A: upper case, a: lower case and letters without case, 0: digits, -: separators
    kinds = "".join(
        "-0aA"[character.isalnum() + character.isalpha() + character.isupper()]
        for character in name
    )
    parts = []
    for match in re.finditer(r"A?a+|A+(?!a)|0+|-+", kinds):
        start, end = match.span()
        word = name[start:end].lower()
        by_digit = "0" in kinds[max(start - 1, 0) : end + 1]
        is_side = word in OTHER_SIDE and not (len(word) == 1 and by_digit)
        parts.append((name[start:end], word if is_side else ""))
    return parts


def _mirrored(name: str) -> str:
    """The name with every side exchanged, in the same case."""
    return "".join(
        _in_case_of(part, OTHER_SIDE[side]) if side else part for part, side in _split(name)
    )


def _in_case_of(part: str, word: str) -> str:
    if part.isupper():
        return word.upper()
    return word if part.islower() else word.title()


def _pairs_by_name(names: Sequence[str]) -> Pairs:
    """Pairs of joints whose names differ in the side only; first those of one spelling."""
    index = {name: k for k, name in enumerate(names)}
    same = {k: index.get(_mirrored(name), k) for name, k in index.items()}
    pairs = [(a, b) for a, b in same.items() if a < b]

    # the others: however they are spelled, if only one other joint can be meant
    rest = [k for k, other in same.items() if k == other and joint_key(names[k])[0]]
    keys = {k: joint_key(names[k]) for k in rest}
    counts, swap = Counter(keys.values()), str.maketrans("lr", "rl")
    by_key = {key: k for k, key in keys.items()}
    for a, (sides, name) in keys.items():
        mirror = (sides.translate(swap), name)
        if a < by_key.get(mirror, -1) and counts[sides, name] == counts[mirror] == 1:
            pairs.append((a, by_key[mirror]))
    return tuple(pairs)


def _pairs(values: Any) -> Pairs:
    if any(int(number) != number for pair in values for number in pair):
        raise ValueError("not whole numbers")
    return tuple((int(a), int(b)) for a, b in values)


def _pairs_of_file(what: str, values: Any) -> Pairs:
    """Pairs of joints counted from 0, from those of a file.

    Raises:
        ValueError: they are not pairs of whole numbers.
    """
    try:
        return tuple((a - 1, b - 1) for a, b in _pairs(values))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{what} must be pairs of numbers of joints, counted from 1, not {values!s:.200}"
        ) from error


COCO = Skeleton(
    keypoints=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
        "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
        "left_knee", "right_knee", "left_ankle", "right_ankle",
    ),
    edges=(
        (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8),
        (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
    ),
    sigmas=(
        .026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062, .107, .107,
        .087, .087, .089, .089,
    ),
    grouping_order=(0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16),
)  # fmt: skip
"""The 17 joints of COCO, visited head, shoulders, hips, elbows, wrists, knees, ankles."""

CROWDPOSE = Skeleton(
    keypoints=(
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
        "head", "neck",
    ),
    edges=(
        (12, 13), (13, 0), (13, 1), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5),
        (0, 6), (1, 7), (6, 7), (6, 8), (7, 9), (8, 10), (9, 11),
    ),
    sigmas=(.079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089, .089, .079, .079),
    grouping_order=(0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13),
)  # fmt: skip
"""The 14 joints of CrowdPose.

The grouping order is the reference's: the first 14 entries of its list for the 17 joints of COCO.
"""
