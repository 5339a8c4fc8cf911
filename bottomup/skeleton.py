"""The joints of a person: names, limbs, left-right pairs, tolerances and grouping order."""

import dataclasses
import functools
import re
from typing import Any

DEFAULT_SIGMA = 0.05  # OKS tolerance of a joint without a measured one: about the mean of COCO's


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """The joints of one kind of body.

    Attributes:
        keypoints: the K joint names, in channel order.
        edges: pairs of joint indices that are drawn as limbs.
        sigmas: K tolerances of the object keypoint similarity (OKS) of the COCO evaluation.
        grouping_order: the order in which the grouper visits the joints: those that are found most
            reliably (head, torso) first.
    """

    keypoints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    grouping_order: tuple[int, ...]

    def __post_init__(self) -> None:
        num_keypoints = len(self.keypoints)
        if num_keypoints == 0 or len(set(self.keypoints)) != num_keypoints:
            raise ValueError(
                f"keypoint names must be unique and at least one, not {self.keypoints}"
            )
        if len(self.sigmas) != num_keypoints or min(self.sigmas) <= 0:
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

    @property
    def num_keypoints(self) -> int:
        """K, the number of joints."""
        return len(self.keypoints)

    @functools.cached_property
    def flip_indices(self) -> tuple[int, ...]:
        """K indices: of the other of left_* and right_*, or of the joint itself without one."""
        other = {"left_": "right_", "right_": "left_"}
        index = {name: k for k, name in enumerate(self.keypoints)}
        return tuple(
            index.get(re.sub("^(left|right)_", lambda side: other[side[0]], name), k)
            for name, k in index.items()
        )

    @classmethod
    def from_category(
        cls, category: dict[str, Any], sigmas: tuple[float, ...] | None = None
    ) -> "Skeleton":
        """Build a skeleton from a category of a COCO keypoint file.

        Args:
            category: a dict with "keypoints" (names) and optionally "skeleton" (pairs of joints,
                counted from 1) and "sigmas".
            sigmas: OKS tolerances. None takes the category's, those of COCO or CrowdPose if the
                names are theirs, or else `DEFAULT_SIGMA` for all.

        Raises:
            ValueError: the category names no keypoints, or its skeleton is not made of pairs of
                joints that exist.
        """
        names = tuple(category.get("keypoints") or ())
        if not names:
            raise ValueError(
                f"category {category.get('name')!r} names no keypoints: is this a keypoint file?"
            )
        sigmas = sigmas or tuple(category.get("sigmas") or ()) or None
        for known in (COCO, CROWDPOSE):
            if names == known.keypoints and sigmas is None:
                return known
        try:
            edges = tuple((int(a) - 1, int(b) - 1) for a, b in category.get("skeleton") or ())
        except (TypeError, ValueError) as error:
            raise ValueError(
                "skeleton must be pairs of numbers of joints, counted from 1, "
                f"not {category['skeleton']}"
            ) from error
        order = COCO.grouping_order if names == COCO.keypoints else tuple(range(len(names)))
        return cls(names, edges, sigmas or (DEFAULT_SIGMA,) * len(names), order)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON; `from_dict` is the inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Skeleton":
        """Inverse of `to_dict`, also after a round trip through JSON."""
        return cls(
            keypoints=tuple(data["keypoints"]),
            edges=tuple((int(a), int(b)) for a, b in data["edges"]),
            sigmas=tuple(data["sigmas"]),
            grouping_order=tuple(data["grouping_order"]),
        )


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
