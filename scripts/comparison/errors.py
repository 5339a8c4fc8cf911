"""What kinds of errors a method makes, after Ronchi and Perona, Benchmarking and Error Diagnosis, ICCV 2017.

Results are taken from the best score on, and each is paired with the person, not yet paired, of the
highest object keypoint similarity (OKS), if that is at least `FOUND`. A result without a person is
a *background false positive*; a person without a result is *missed*. Each labelled joint of a
paired person is of one kind. With the keypoint similarity exp(-d^2 / (2 area (2 sigma)^2)) of a
place to a labelled joint:

- *good*: its similarity to its own joint is at least `GOOD`;
- *jitter*: at least `CLOSE`, but less than `GOOD`;
- *inversion*: not that close, but close to the same person's joint of the other side, and no less
  than to anybody else's joint;
- *swap*: close to the same joint, or that of the other side, of another person;
- *miss*: close to none of these. A joint that a method did not find is a miss.

How many results a method writes says little about it, so only those count from the score on at
which its F1 is best.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from bottomup.poses import keypoint_similarities
from bottomup.skeleton import COCO
from comparison.datasets import keypoints_of

GOOD, CLOSE, FOUND = 0.85, 0.5, 0.1
RIGHT = 0.5  # OKS from which on a person counts as found, for the F1
KINDS = ("good", "jitter", "inversion", "swap", "miss")
UNLABELLED = -1


@dataclasses.dataclass(frozen=True)
class ErrorCounts:
    """How often each kind occurs.

    Attributes:
        threshold: the score from which on results count.
        people: who could be found.
        found: people with a result.
        background: results without a person.
        joints: labelled joints of the people who were found, by kind.
    """

    threshold: float
    people: int
    found: int
    background: int
    joints: dict[str, int]

    @property
    def missed(self) -> int:
        """People without a result."""
        return self.people - self.found


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """An image: its results, best score first, and its people.

    Attributes:
        results: (D, 17, 3) of which the third number is not used.
        scores: (D,) descending.
        people: (N, 17, 3) with at least one labelled joint each.
        areas: (N,) square pixels.
        ignored: boxes x, y, w, h of crowds and of people without labelled joints.
    """

    results: Float[np.ndarray, "D 17 3"]
    scores: Float[np.ndarray, " D"]
    people: Float[np.ndarray, "N 17 3"]
    areas: Float[np.ndarray, " N"]
    ignored: Float[np.ndarray, "R 4"]

    def from_score(self, threshold: float) -> "Scene":
        """Without the results below a score."""
        kept = self.scores >= threshold
        return dataclasses.replace(self, results=self.results[kept], scores=self.scores[kept])


def scenes(entries: Sequence[Any], truth: dict[str, Any]) -> Iterator[tuple[int, Scene]]:
    """The id and the scene of every image."""
    results: dict[int, list[Any]] = {}
    people: dict[int, list[Any]] = {}
    for entry in entries:
        results.setdefault(entry["image_id"], []).append(entry)
    for entry in truth["annotations"]:
        people.setdefault(entry["image_id"], []).append(entry)
    for image_id in sorted(info["id"] for info in truth["images"]):
        found = sorted(results.get(image_id, []), key=lambda entry: -entry["score"])
        there = people.get(image_id, [])
        counts = [
            not entry.get("iscrowd") and bool(keypoints_of(entry)[:, 2].any()) for entry in there
        ]
        known = [entry for entry, does in zip(there, counts, strict=True) if does]
        ignored = [
            entry["bbox"]
            for entry, does in zip(there, counts, strict=True)
            if not does and entry.get("bbox")
        ]
        yield (
            image_id,
            Scene(
                np.array([keypoints_of(entry) for entry in found]).reshape(-1, 17, 3),
                np.array([entry["score"] for entry in found], float),
                np.array([keypoints_of(entry) for entry in known]).reshape(-1, 17, 3),
                np.array([_area(entry) for entry in known], float),
                np.array(ignored, float).reshape(-1, 4),
            ),
        )


def similarities(
    points: Float[np.ndarray, "*#any 17 2"],
    people: Float[np.ndarray, "*#any 17 3"],
    areas: Float[np.ndarray, "*#any"],
) -> Float[np.ndarray, "... 17"]:
    """Keypoint similarity of places to the joints of people, joint by joint; 0 to a joint that is not labelled."""
    near = keypoint_similarities(points, people[..., :2], np.maximum(areas, 1e-9), COCO)
    return near * (people[..., 2] > 0)


def pair(scene: Scene, least: float = FOUND) -> Int[np.ndarray, " D"]:
    """The person that each result is paired with; -1: nobody."""
    near = similarities(scene.results[:, None, :, :2], scene.people[None], scene.areas[None])
    oks = near.sum(-1) / np.maximum((scene.people[..., 2] > 0).sum(-1), 1)  # (D, N)
    paired = np.full(len(scene.results), -1)
    for i in range(len(scene.results) if len(scene.people) else 0):
        best = int(oks[i].argmax())
        if oks[i, best] >= least:
            paired[i] = best
            oks[:, best] = -1
    return paired


def joint_kinds(
    points: Float[np.ndarray, "17 2"], own: int, scene: Scene
) -> Int[np.ndarray, " 17"]:
    """The kind of each joint of a result that is paired with a person: an index of `KINDS`, or `UNLABELLED`."""
    flip = list(COCO.flip_indices)
    straight = similarities(
        np.broadcast_to(points, (len(scene.people), 17, 2)), scene.people, scene.areas
    )
    turned = np.broadcast_to(points[flip], (len(scene.people), 17, 2))
    crossed = similarities(turned, scene.people, scene.areas)[
        :, flip
    ]  # the place of joint k at the joint opposite k
    crossed = crossed * (np.array(flip) != np.arange(17))  # the nose has no other side
    others = np.delete(np.maximum(straight, crossed), own, axis=0).max(axis=0, initial=0)
    right, mirrored = straight[own], crossed[own]
    kinds = np.full(17, KINDS.index("miss"))
    kinds[others >= CLOSE] = KINDS.index("swap")
    kinds[(mirrored >= CLOSE) & (mirrored >= others)] = KINDS.index("inversion")
    kinds[right >= CLOSE] = KINDS.index("jitter")
    kinds[right >= GOOD] = KINDS.index("good")
    kinds[scene.people[own, :, 2] == 0] = UNLABELLED
    return kinds


def best_threshold(entries: Sequence[Any], truth: dict[str, Any]) -> float:
    """The score from which on a method's F1 (people found, results right, at an OKS of 0.5) is best; 0 without any."""
    scores, right = [np.zeros(0)], [np.zeros(0, bool)]
    num_people = 0
    for _, scene in scenes(entries, truth):
        paired = pair(scene, RIGHT)
        counts = (paired >= 0) | ~_is_ignored(scene)
        scores.append(scene.scores[counts])
        right.append(paired[counts] >= 0)
        num_people += len(scene.people)
    joined = np.concatenate(scores)
    order = np.argsort(-joined, kind="stable")
    if not len(order):
        return 0.0
    f1 = 2 * np.cumsum(np.concatenate(right)[order]) / (np.arange(1, len(order) + 1) + num_people)
    return float(joined[order][f1.argmax()])


def count_errors(entries: Sequence[Any], truth: dict[str, Any]) -> ErrorCounts:
    """Count the kinds of errors of COCO results."""
    threshold = best_threshold(entries, truth)
    joints = np.zeros(len(KINDS), int)
    people = found = background = 0
    for _, whole in scenes(entries, truth):
        scene = whole.from_score(threshold)
        paired = pair(scene)
        people += len(scene.people)
        found += int((paired >= 0).sum())
        background += int(((paired < 0) & ~_is_ignored(scene)).sum())
        for points, own in zip(scene.results[..., :2], paired, strict=True):
            if own >= 0:
                kinds = joint_kinds(points, int(own), scene)
                joints += np.bincount(kinds[kinds != UNLABELLED], minlength=len(KINDS))
    return ErrorCounts(
        threshold, people, found, background, dict(zip(KINDS, joints.tolist(), strict=True))
    )


def _is_ignored(scene: Scene) -> np.ndarray:
    """(D,) whether a result's middle lies in a region that does not count."""
    found: np.ndarray = np.greater(scene.results[..., 2], 0)
    known = found | ~found.any(axis=1, keepdims=True)  # a method may give no scores to its joints
    points = np.where(known[..., None], scene.results[..., :2], np.nan)
    middles: np.ndarray = np.nanmedian(points, axis=1)[:, None]  # (D, 1, 2)
    low, high = scene.ignored[:, :2], scene.ignored[:, :2] + scene.ignored[:, 2:]
    inside: np.ndarray = np.logical_and(low <= middles, middles <= high)
    return np.asarray(inside.all(axis=-1).any(axis=-1))


def _area(entry: dict[str, Any]) -> float:
    if entry.get("area"):
        return float(entry["area"])
    keypoints = keypoints_of(entry)
    width, height = (
        entry.get("bbox") or [0, 0, *np.ptp(keypoints[keypoints[:, 2] > 0, :2], axis=0)]
    )[2:]
    return 0.53 * float(width) * float(height)
