"""The one result object: the people found in an image."""

import dataclasses
import operator
from collections.abc import Iterable
from typing import Any, SupportsIndex

import numpy as np

from bottomup.shapes import Float
from bottomup.skeleton import COCO, Skeleton


@dataclasses.dataclass(frozen=True, eq=False)
class Poses:
    """The people of one image. N may be 0: an image without people is an ordinary value.

    Attributes:
        keypoints: (N, K, 2) float32, x and y in pixels; (0, 0) is the centre of the top-left pixel.
            A joint that was not found is at (0, 0).
        keypoint_scores: (N, K) float32, the heatmap's value at each joint, 0 if the joint was not
            found.
        scores: (N,) float32, one confidence per person.
        skeleton: the names and limbs of the K joints.
    """

    keypoints: Float[np.ndarray, "N K 2"]
    keypoint_scores: Float[np.ndarray, "N K"]
    scores: Float[np.ndarray, " N"]
    skeleton: Skeleton = COCO

    def __post_init__(self) -> None:
        shape = (len(self.scores), self.skeleton.num_keypoints)
        for name, expected in (("keypoints", (*shape, 2)), ("keypoint_scores", shape)):
            if (given := getattr(self, name).shape) != expected:
                raise ValueError(f"{name} have shape {given}, not {expected}")

    @classmethod
    def empty(cls, skeleton: Skeleton = COCO) -> "Poses":
        """No people."""
        return cls.from_coco([], skeleton)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Any) -> "Poses":
        """Some of the people, by an int (a `Poses` of one), a slice, a list of ints or a mask."""
        if isinstance(index, int | np.integer):
            # an IndexError beyond the end, which also ends iteration
            index = [range(len(self))[index]]
        elif isinstance(index, list) and not index:
            index = slice(0)
        return Poses(
            self.keypoints[index], self.keypoint_scores[index], self.scores[index], self.skeleton
        )

    @property
    def boxes(self) -> Float[np.ndarray, "N 4"]:
        """(N, 4) x0, y0, x1, y1 in pixels, around the joints that were found; zeros without any."""
        found = self.keypoint_scores[..., None] > 0
        low = np.where(found, self.keypoints, np.inf).min(axis=1)
        high = np.where(found, self.keypoints, -np.inf).max(axis=1)
        boxes = np.concatenate([low, high], axis=1)
        return np.where(np.isfinite(boxes), boxes, 0).astype(np.float32)

    def filter(self, score: float) -> "Poses":
        """The people whose score is at least `score`."""
        return self[self.scores >= score]

    def similarity(
        self, other: "Poses", areas: Float[np.ndarray, " N"]
    ) -> Float[np.ndarray, "N M"]:
        """Object keypoint similarity (OKS) to the people of another `Poses`.

        It is the mean of `keypoint_similarities` over the joints that both people have, 0 without
        any. The COCO evaluation takes the mean over all joints of the labelled person; to get its
        numbers, give every joint of the results a score above 0.

        Args:
            other: M people of the same skeleton.
            areas: (N,) square pixels of the people of this `Poses`, above 0.

        Returns:
            (N, M) from 0 to 1.
        """
        similarities = keypoint_similarities(
            self.keypoints[:, None], other.keypoints, areas[:, None], self.skeleton
        )  # N M K
        both = (self.keypoint_scores[:, None] > 0) & (other.keypoint_scores > 0)
        return (similarities * both).sum(axis=2) / np.maximum(both.sum(axis=2), 1)

    def to_coco(
        self, image_id: SupportsIndex, category_id: SupportsIndex = 1
    ) -> list[dict[str, Any]]:
        """One COCO keypoint result per person, ready for `json.dump` and `COCO.loadRes`.

        Args:
            image_id: any integer, of Python or numpy.
            category_id: likewise.

        Returns:
            dicts with image_id, category_id, keypoints (x, y, score of every joint, flat) and
            score.
        """
        triples = np.concatenate([self.keypoints, self.keypoint_scores[..., None]], axis=2)
        return [
            {
                "image_id": operator.index(image_id),
                "category_id": operator.index(category_id),
                "keypoints": [round(float(value), 4) for value in values.flat],
                "score": float(score),
            }
            for values, score in zip(triples, self.scores, strict=True)
        ]

    @classmethod
    def from_coco(cls, people: Iterable[dict[str, Any]], skeleton: Skeleton = COCO) -> "Poses":
        """People from COCO results or annotations of one image.

        In annotations the visibility becomes the joint's score, and every person has the score 1.

        Raises:
            ValueError: an entry does not hold three numbers per joint of the skeleton.
        """
        people = list(people)
        expected = 3 * skeleton.num_keypoints
        for person in people:
            if (given := len(person.get("keypoints") or ())) != expected:
                raise ValueError(
                    f"an entry of image {person.get('image_id')} has {given} keypoint numbers, "
                    f"not {expected}: pass the skeleton that the file was made with"
                )
        triples = np.array([person["keypoints"] for person in people], np.float32).reshape(
            len(people), skeleton.num_keypoints, 3
        )
        scores = np.array([person.get("score", 1.0) for person in people], np.float32)
        return cls(triples[..., :2], triples[..., 2], scores, skeleton)


def keypoint_similarities(
    points: Float[np.ndarray, "*#any K 2"],
    others: Float[np.ndarray, "*#any K 2"],
    areas: Float[np.ndarray, "*#any"],
    skeleton: Skeleton,
) -> Float[np.ndarray, "... K"]:
    """Similarity of joints by their distance d: exp(-d^2 / (2 area (2 sigma)^2)).

    Args:
        points: (..., K, 2) x, y in pixels.
        others: (..., K, 2) x, y in pixels.
        areas: (...) square pixels of one of the two people (COCO: the labelled one), above 0.
        skeleton: whose sigmas are the tolerances.

    Returns:
        (..., K) from 0 to 1.

    Source: the COCO keypoint evaluation, https://cocodataset.org/#keypoints-eval.
    """
    variances = (2 * np.array(skeleton.sigmas)) ** 2
    squared = ((points - others) ** 2).sum(axis=-1)  # ... K
    return np.exp(-squared / (2 * areas[..., None] * variances))


def require_finite(poses: Poses) -> Poses:
    """The same people.

    Raises:
        ValueError: a coordinate or a score is not finite.
    """
    if not (np.isfinite(poses.keypoints).all() and np.isfinite(poses.scores).all()):
        raise ValueError("the network gave numbers that are not finite")
    return poses
