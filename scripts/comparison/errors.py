"""The kinds of errors of a method, after Ronchi and Perona, Benchmarking and Error Diagnosis, 2017.

Results are taken from the best score on. Each is paired with the person of the highest object
keypoint similarity (OKS) who is not paired yet, if that OKS is at least `FOUND`. A result without a
person is a *background false positive*, a person without a result is *missed*. Each labelled joint
of a paired person is of one kind. With the keypoint similarity exp(-d^2 / (2 area (2 sigma)^2)) of
a place to a labelled joint:

- *good*: its similarity to its own joint is at least `GOOD`;
- *jitter*: at least `CLOSE`, but less than `GOOD`;
- *inversion*: not that close, but close to the same person's joint of the other side, and no less
  than to any joint of others;
- *swap*: close to the same joint, or that of the other side, of another person;
- *miss*: close to none of these. A joint that a method did not find is a miss.

The number of results that a method writes says little about it. So only those count whose score is
at least the threshold at which the F1 of the method is best.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from bottomup.poses import keypoint_similarities
from bottomup.skeleton import COCO
from comparison.datasets import area_of, by_image, keypoints_of, num_labelled

GOOD, CLOSE, FOUND = 0.85, 0.5, 0.1
RIGHT = 0.5  # OKS from which on a person counts as found, for the F1
KINDS: tuple[str, ...] = ("good", "jitter", "inversion", "swap", "miss")
UNLABELLED = -1


@dataclasses.dataclass(frozen=True)
class ErrorCounts:
    """How often each kind occurs.

    Attributes:
        threshold: the score from which on results count.
        people: how many could be found.
        found: people with a result.
        missed: people without a result.
        background: results without a person.
        joints: labelled joints of the people who were found, by kind.
    """

    threshold: float
    people: int
    found: int
    missed: int
    background: int
    joints: dict[str, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """An image: its results, best score first, and its people.

    Attributes:
        results: (D, 17, 3) x, y and a third number that is not used for similarities.
        scores: (D,) descending.
        people: (N, 17, 3) with at least one labelled joint each.
        areas: (N,) square pixels.
        ignored: (R, 4) boxes x, y, w, h of crowds and of people without labelled joints.
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
    for entry in entries:
        results.setdefault(entry["image_id"], []).append(entry)
    for image_id, annotations in sorted(by_image(truth).items()):
        found = sorted(results.get(image_id, []), key=lambda entry: -entry["score"])
        people = [entry for entry in annotations if num_labelled(entry)]
        others = [entry for entry in annotations if not num_labelled(entry)]
        boxes = [entry["bbox"] for entry in others if entry.get("bbox")]
        scene = Scene(
            np.array([keypoints_of(entry) for entry in found]).reshape(-1, 17, 3),
            np.array([entry["score"] for entry in found], float),
            np.array([keypoints_of(entry) for entry in people]).reshape(-1, 17, 3),
            np.array([area_of(entry) for entry in people], float),
            np.array(boxes, float).reshape(-1, 4),
        )
        yield image_id, scene


def similarities(
    points: Float[np.ndarray, "*#any 17 2"],
    people: Float[np.ndarray, "*#any 17 3"],
    areas: Float[np.ndarray, "*#any"],
) -> Float[np.ndarray, "... 17"]:
    """Keypoint similarity of places to the joints of people; 0 to joints without a label."""
    near = keypoint_similarities(points, people[..., :2], np.maximum(areas, 1e-9), COCO)
    return near * (people[..., 2] > 0)


def oks(
    points: Float[np.ndarray, "*#any 17 2"],
    people: Float[np.ndarray, "*#any 17 3"],
    areas: Float[np.ndarray, "*#any"],
) -> Float[np.ndarray, "..."]:
    """Object keypoint similarity: the mean of `similarities` over the labelled joints."""
    num_joints = (people[..., 2] > 0).sum(-1)
    return similarities(points, people, areas).sum(-1) / np.maximum(num_joints, 1)


def pair(scene: Scene, least: float = FOUND) -> Int[np.ndarray, " D"]:
    """The index of the person that each result is paired with; -1 for nobody."""
    similarity = oks(scene.results[:, None, :, :2], scene.people[None], scene.areas[None])  # D N
    paired = np.full(len(scene.results), -1)
    for i in range(len(scene.results) if len(scene.people) else 0):
        best = int(similarity[i].argmax())
        if similarity[i, best] >= least:
            paired[i] = best
            similarity[:, best] = -1
    return paired


def joint_kinds(
    points: Float[np.ndarray, "17 2"], own: int, scene: Scene
) -> Int[np.ndarray, " 17"]:
    """The kind of each joint of a result that is paired with the person `own`.

    Returns:
        indices of `KINDS`, or `UNLABELLED`.
    """
    flip = list(COCO.flip_indices)
    shape = (len(scene.people), 17, 2)
    straight = similarities(np.broadcast_to(points, shape), scene.people, scene.areas)
    flipped = similarities(np.broadcast_to(points[flip], shape), scene.people, scene.areas)
    crossed = flipped[:, flip]  # of the place of joint k to the joint opposite k
    crossed = crossed * (np.array(flip) != np.arange(17))  # the nose has no opposite
    others = np.delete(np.maximum(straight, crossed), own, axis=0).max(axis=0, initial=0)
    right, mirrored = straight[own], crossed[own]

    # from the weakest claim to the strongest: each overwrites those before
    kinds = np.full(17, KINDS.index("miss"))
    kinds[others >= CLOSE] = KINDS.index("swap")
    kinds[(mirrored >= CLOSE) & (mirrored >= others)] = KINDS.index("inversion")
    kinds[right >= CLOSE] = KINDS.index("jitter")
    kinds[right >= GOOD] = KINDS.index("good")
    kinds[scene.people[own, :, 2] == 0] = UNLABELLED
    return kinds


def best_threshold(entries: Sequence[Any], truth: dict[str, Any]) -> float:
    """The score threshold at which the F1 of a method is best, at an OKS of `RIGHT`.

    F1 weighs the share of people found against the share of results that are right. 0 without
    results.
    """
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
    by_kind = dict(zip(KINDS, joints.tolist(), strict=True))
    return ErrorCounts(threshold, people, found, people - found, background, by_kind)


def _is_ignored(scene: Scene) -> Bool[np.ndarray, " D"]:
    """Whether the median of the joints of a result lies in an ignored region."""
    found = scene.results[..., 2] > 0
    found = found | ~found.any(axis=1, keepdims=True)  # a method may give its joints no scores
    points = np.where(found[..., None], scene.results[..., :2], np.nan)
    middles = np.nanmedian(points, axis=1)[:, None]  # D 1 2
    low, high = scene.ignored[:, :2], scene.ignored[:, :2] + scene.ignored[:, 2:]
    inside: np.ndarray = np.logical_and(low <= middles, middles <= high)  # D R 2
    return np.asarray(inside.all(axis=-1).any(axis=-1))
