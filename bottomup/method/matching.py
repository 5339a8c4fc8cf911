"""From candidates to people, with numpy and scipy alone: match, then fill in.

The method is that of Newell, Huang and Deng, "Associative Embedding" (2017), with the steps of
HigherHRNet (Cheng et al., 2020). A person is a row of K cell indices until its coordinates are
read.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

ABSENT = -1  # in place of a cell's index, where a person lacks a joint

Members = Int[np.ndarray, "_ K"]
"""One row per person: the index y * W + x of each joint's cell in its own map, or `ABSENT`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """The published differences between the reference implementation and ours, one switch each.

    Attributes:
        max_candidates: candidates kept per joint type, the highest first; None keeps all. The
            reference keeps 30; in larger crowds its people fall to pieces.
        force_matches: the reference's cost, 100 * round(distance) - value, has no bound. Far pairs
            compete with near ones, and dense crowds fall to pieces. Otherwise all pairs beyond the
            tag threshold cost the same.
        fill_every_joint: the reference looks for each missing joint in the whole map, and takes any
            heat above 0. Otherwise a joint is filled in only where its heatmap exceeds a threshold
            and the tag fits.
        quarter_offset: the reference moves a joint by a quarter cell towards the larger neighbour,
            and by half a cell for targets drawn at truncated coordinates. Otherwise a parabola
            through the logarithms of three cells locates it, which is exact for a Gaussian.
        average_all_joints: the reference scores a person by the mean over all K joints, absent ones
            counting 0, so half a person gets half the score. Otherwise the mean is over the joints
            that were found and one more of value 0.
    """

    max_candidates: int | None = None
    force_matches: bool = False
    fill_every_joint: bool = False
    quarter_offset: bool = False
    average_all_joints: bool = False


ROBUST = Rules()
OFFICIAL = Rules(
    max_candidates=30,
    force_matches=True,
    fill_every_joint=True,
    quarter_offset=True,
    average_all_joints=True,
)


class Candidates(NamedTuple):
    """The M cells of one image's K H W heatmaps that can become joints, in ascending order.

    They exceed a threshold, and are the largest of three along their row or along their column.

    Attributes:
        flat: the index k * H * W + y * W + x.
        value: the heatmap there.
        tags: the tag there.
        is_peak: whether the cell is the largest of its neighbourhood and exceeds the detection
            threshold. Other cells only serve to fill in joints.
    """

    flat: Int[np.ndarray, " M"]
    value: Float[np.ndarray, " M"]
    tags: Float[np.ndarray, "M L"]
    is_peak: Bool[np.ndarray, " M"]

    def of_joint(self, joint: int, map_size: int) -> "Candidates":
        """The candidates of one joint; `flat` is then y * W + x."""
        first, last = np.searchsorted(self.flat, (joint * map_size, (joint + 1) * map_size))
        chosen = Candidates(*(array[first:last] for array in self))
        return chosen._replace(flat=chosen.flat - joint * map_size)


def match(
    candidates: Candidates,
    map_size: int,
    *,
    order: tuple[int, ...],
    tag_threshold: float,
    rules: Rules = ROBUST,
) -> Members:
    """Assign the peaks to people, one joint type after the other.

    The peaks of the next joint are compared with the mean tag of every person so far. The Hungarian
    algorithm finds the cheapest assignment. A peak without a person within the tag threshold opens
    a new person.

    Args:
        candidates: of one image.
        map_size: H * W.
        order: the joints in the order of visit.
        tag_threshold: joints of a person differ by less than this from its mean tag.
        rules: `max_candidates` and `force_matches` count.

    Returns:
        One row per person, in the order in which they were opened.
    """
    members = np.zeros((0, len(order)), np.int64)
    tag_sum = np.zeros((0, candidates.tags.shape[1]), np.float32)
    tag_count = np.zeros((0, 1), np.float32)
    strength = np.zeros(0, np.float32)
    peaks = Candidates(*(array[candidates.is_peak] for array in candidates))
    for joint in order:
        # top k
        index, value, tags, _ = peaks.of_joint(joint, map_size)
        best = np.argsort(-value, kind="stable")[: rules.max_candidates]
        index, value, tags = index[best], value[best], tags[best]
        sure = value.clip(0, 1)

        # the cheapest assignment; pairs beyond the threshold do not hold
        distance = cdist(tags, tag_sum / tag_count)  # M N
        if rules.force_matches:
            cost = _forced_cost(distance, value)
        else:
            cost = _bounded_cost(distance / tag_threshold, sure, strength)
        candidate, person = linear_sum_assignment(cost)
        is_real = person < len(members)
        candidate, person = candidate[is_real], person[is_real]
        accepted = distance[candidate, person] < tag_threshold
        candidate, person = candidate[accepted], person[accepted]
        members[person, joint] = index[candidate]
        tag_sum[person] += tags[candidate]
        tag_count[person] += 1
        strength[person] += sure[candidate]

        # the other peaks open people
        unmatched = np.delete(np.arange(len(index)), candidate)
        opened = np.full((len(unmatched), len(order)), ABSENT)
        opened[:, joint] = index[unmatched]
        members = np.concatenate([members, opened])
        tag_sum = np.concatenate([tag_sum, tags[unmatched]])
        tag_count = np.concatenate([tag_count, np.ones((len(unmatched), 1), np.float32)])
        strength = np.concatenate([strength, sure[unmatched]])
    return members


def _bounded_cost(
    distance: Float[np.ndarray, "M N"],
    value: Float[np.ndarray, " M"],
    strength: Float[np.ndarray, " N"],
) -> Float[np.ndarray, "M N"]:
    """All pairs beyond the threshold cost the same: 0.

    Distances count in quarters of the threshold. If somebody was opened twice, both halves are
    equally near; the one with more joints so far then takes the joint. Dealt out at random, the
    joints would make two broken people.

    Args:
        distance: of the tags, in thresholds.
        value: of each candidate, 0 to 1.
        strength: summed value of each person's joints.
    """
    cost = np.round(4 * distance) / 4 - 1 - 1e-3 * value[:, None] * strength
    return np.where(distance < 1, cost, 0)


def _forced_cost(
    distance: Float[np.ndarray, "M N"], value: Float[np.ndarray, " M"]
) -> Float[np.ndarray, "M P"]:
    """The reference's cost. Its dummy people, where M > N, decide between equally cheap matches."""
    num_dummies = max(distance.shape[0] - distance.shape[1], 0)
    cost = 100 * np.round(distance) - value[:, None]
    return np.pad(cost, ((0, 0), (0, num_dummies)), constant_values=1e10)


def fill_in(
    candidates: Candidates,
    members: Members,
    map_size: int,
    *,
    threshold: float,
    tag_threshold: float,
) -> Members:
    """Fill in the joints that people lack where both heat and tag fit, and nowhere else.

    Of the cells whose heatmap exceeds `threshold` and whose tag is within `tag_threshold` of the
    person's mean, the one with the largest value - distance / tag_threshold becomes the joint.

    Args:
        candidates: of one image.
        members: from `match`.
        map_size: H * W.
        threshold: of the heatmaps.
        tag_threshold: as in `match`.
    """
    members = members.copy()
    mean_tags = _mean_tags(candidates, members, map_size)
    for joint in range(members.shape[1]):
        people = np.flatnonzero(members[:, joint] == ABSENT)
        index, value, tags, _ = candidates.of_joint(joint, map_size)
        if len(people) == 0 or len(index) == 0:
            continue

        # sorted by the first tag dimension, the cells near a person are one run
        by_tag = np.argsort(tags[:, 0])
        first_tag, wanted = tags[by_tag, 0], mean_tags[people]
        start = np.searchsorted(first_tag, wanted[:, 0] - tag_threshold)
        length = np.searchsorted(first_tag, wanted[:, 0] + tag_threshold) - start

        # all pairs of a person (row) and a cell of its run
        row = np.repeat(np.arange(len(people)), length)
        shift = np.repeat(start - np.cumsum(length) + length, length)
        cell = by_tag[np.arange(length.sum()) + shift]
        distance = np.linalg.norm(tags[cell] - wanted[row], axis=1)
        near = (distance < tag_threshold) & (value[cell] > threshold)
        row, cell, distance = row[near], cell[near], distance[near]

        # the best cell of each person comes last, so it is the one that stays
        best_last = np.lexsort((value[cell] - distance / tag_threshold, row))
        members[people[row[best_last]], joint] = index[cell[best_last]]
    return members


def _mean_tags(candidates: Candidates, members: Members, map_size: int) -> Float[np.ndarray, "N L"]:
    """The mean tag of each person's joints."""
    present = members != ABSENT
    flat = (members + np.arange(members.shape[1]) * map_size)[present]
    position = np.searchsorted(candidates.flat, flat)
    total = np.zeros((len(members), candidates.tags.shape[1]), np.float32)
    np.add.at(total, np.nonzero(present)[0], candidates.tags[position])
    return total / present.sum(1, keepdims=True)


def score_people(
    matched: Bool[np.ndarray, "P K"],
    keypoint_scores: Float[np.ndarray, "P K"],
    rules: Rules = ROBUST,
) -> Float[np.ndarray, " P"]:
    """Confidence in every person, from the joints that were matched; filled-in joints do not count.

    Args:
        matched: which joints came from `match`.
        keypoint_scores: the heatmap at each joint.
        rules: `average_all_joints` counts.
    """
    total = np.where(matched, keypoint_scores, 0).sum(1, dtype=np.float32)
    if rules.average_all_joints:
        return total / matched.shape[1]
    return total / (matched.sum(1, dtype=np.float32) + 1)
