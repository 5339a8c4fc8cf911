"""From candidates to people, with numpy and scipy only: match joints, then fill in missing ones.

The method is that of Newell, Huang and Deng, "Associative Embedding" (2017), with the steps of
HigherHRNet (Cheng et al., 2020). A person is a row of K cell indices: `grouping` has coordinates.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from bottomup.shapes import Bool, Float, Int

ABSENT = -1  # stands for the cell of a missing joint
SMALL = (2, 7)  # small people, whose boxes have sides of s cells: (s + 2) / (s + 7) of the score
MAX_PAIRS = 1 << 20  # of a missing joint and a candidate that are compared at once, about

Members = Int[np.ndarray, "_ K"]
"""One row per person: the index y * W + x of each joint's cell in its own map, or `ABSENT`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """Where our grouping differs from HigherHRNet's public code (the reference), one switch each.

    Attributes:
        max_candidates: peaks kept per joint type, the highest first. The reference keeps 30, and
            loses joints in larger crowds. 1000 bound the time for maps of noise.
        force_matches: True as in the reference: the cost of a match, 100 * round(distance) - value,
            has no bound, so far pairs disturb near ones in dense crowds. False: all pairs beyond
            the tag threshold cost the same.
        fill_every_joint: True as in the reference: search the whole map for each missing joint, and
            accept any value above 0. False: fill in a joint only where its heatmap exceeds a
            threshold and the tag fits.
        quarter_offset: True as in the reference: move a joint by a quarter cell towards the larger
            neighbour, and by half a cell, since its targets were drawn at truncated coordinates.
            False: use a parabola through the logarithms of three cells, exact for a Gaussian.
        average_all_joints: True as in the reference: the score of a person is the mean over all K
            joints, with 0 for absent ones. False: the mean over the matched joints and one more of
            value 0.
    """

    max_candidates: int = 1000
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
        value: the heatmap at the cell.
        tags: the tag at the cell.
        is_peak: whether the cell is the largest of its neighbourhood and exceeds the detection
            threshold. Other cells are only used to fill in missing joints.
    """

    flat: Int[np.ndarray, " M"]
    value: Float[np.ndarray, " M"]
    tags: Float[np.ndarray, "M L"]
    is_peak: Bool[np.ndarray, " M"]


def match(
    candidates: Candidates,
    map_size: int,
    *,
    order: tuple[int, ...],
    tag_threshold: float,
    rules: Rules = ROBUST,
) -> Members:
    """Assign the peaks to people, one joint type after the other.

    The peaks of a joint type are compared with the mean tag of every person so far. The Hungarian
    algorithm finds the cheapest assignment. A peak that gets no person within the tag threshold
    starts a new person.

    Args:
        candidates: of one image.
        map_size: H * W.
        order: all joints, in the order in which they are assigned.
        tag_threshold: joints of a person differ by less than this from its mean tag.
        rules: `max_candidates` and `force_matches` are used.

    Returns:
        One row per person, in the order in which they were started.
    """
    from scipy import optimize, spatial  # here, since their import takes longer than a photo

    # the peaks, joint by joint, the highest first
    peaks = np.flatnonzero(candidates.is_peak)
    by_value = np.lexsort((-candidates.value[peaks], candidates.flat[peaks] // map_size))
    flat, all_values, all_tags, _ = (part[peaks[by_value]] for part in candidates)
    bounds = np.searchsorted(flat // map_size, np.arange(len(order) + 1))

    # there are at most as many people as peaks
    members, tag_sum = np.full((len(flat), len(order)), ABSENT), np.zeros_like(all_tags)
    tag_count = np.zeros((len(flat), 1), np.float32)
    strength, all_clipped = np.zeros_like(all_values), all_values.clip(0, 1)
    num_people = 0
    for joint in order:
        first, last = bounds[joint : joint + 2]
        here = slice(first, min(last, first + rules.max_candidates))
        value, clipped, tags = all_values[here], all_clipped[here], all_tags[here]

        # the cheapest assignment, without dummy people and pairs beyond the threshold
        distance = spatial.distance.cdist(
            tags, tag_sum[:num_people] / tag_count[:num_people]
        )  # M N
        if rules.force_matches:
            cost = _forced_cost(distance, value)
        else:
            cost = _bounded_cost(distance / tag_threshold, clipped, strength[:num_people])
        person = np.full(len(value), ABSENT)
        candidate, partner = optimize.linear_sum_assignment(cost)
        accepted = partner < num_people
        accepted[accepted] = distance[candidate[accepted], partner[accepted]] < tag_threshold
        person[candidate[accepted]] = partner[accepted]

        # the other peaks start new people
        unmatched = np.flatnonzero(person == ABSENT)
        person[unmatched] = np.arange(num_people, num_people + len(unmatched))
        num_people += len(unmatched)
        members[person, joint] = flat[here] % map_size
        tag_sum[person] += tags
        tag_count[person] += 1
        strength[person] += clipped
    return members[:num_people]


def _bounded_cost(
    distance: Float[np.ndarray, "M N"],
    value: Float[np.ndarray, " M"],
    strength: Float[np.ndarray, " N"],
) -> Float[np.ndarray, "M N"]:
    """A cost below 0 for pairs within the threshold, at a `distance` below 1, and 0 for all others.

    Two rows that belong to one person have nearly the same mean tag. Rounding to quarters of the
    threshold makes them equally near, and the joint then goes to the row of larger `strength`, the
    sum of its values. Without this, the joints would be spread over two incomplete people.
    """
    cost = np.rint(4 * distance) / 4 - 1 - 1e-3 * value[:, None] * strength
    return np.where(distance < 1, cost, 0)


def _forced_cost(
    distance: Float[np.ndarray, "M N"], value: Float[np.ndarray, " M"]
) -> Float[np.ndarray, "M P"]:
    """The reference's cost, with its dummy people where M > N: they break ties as it does."""
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
    """Fill in the missing joints of people, where both the heatmap and the tag fit.

    Of the candidates whose value exceeds `threshold` and whose tag is within `tag_threshold` of the
    person's mean, the one with the largest value - distance / tag_threshold becomes the joint.

    Args:
        candidates: of one image.
        members: from `match`.
        map_size: H * W.
        threshold: for values of the heatmaps.
        tag_threshold: as in `match`.
    """
    # the mean tag of each person's joints, for each joint that it lacks
    present = members != ABSENT
    flat = members + np.arange(members.shape[1]) * map_size
    found = np.searchsorted(candidates.flat, flat[present])
    total = np.zeros((len(members), candidates.tags.shape[1]), np.float32)
    np.add.at(total, np.nonzero(present)[0], candidates.tags[found])
    person, joint = np.nonzero(~present)
    wanted = (total / present.sum(1, keepdims=True))[person]

    # sorted by joint and first tag, as complex numbers, the candidates near a person are one run
    own = (candidates.flat // map_size, candidates.tags[:, 0])
    lowest, highest = ((joint, wanted[:, 0] + end) for end in (-tag_threshold, tag_threshold))
    keys, lowest, highest = (
        np.column_stack(pair).astype(np.float64).view(np.complex128)[:, 0]
        for pair in (own, lowest, highest)
    )
    by_tag = np.argsort(keys)
    start, end = np.searchsorted(keys[by_tag], np.stack([lowest, highest]))

    # all pairs of a missing joint (row) and a candidate of its run, not too many at once
    filled, cuts = members.copy(), np.flatnonzero(np.diff(np.cumsum(end - start) // MAX_PAIRS)) + 1
    for rows in np.split(np.arange(len(joint)), cuts):
        length = (end - start)[rows]
        row, shift = rows.repeat(length), (end[rows] - np.cumsum(length)).repeat(length)
        cell = by_tag[np.arange(len(row)) + shift]
        distance = np.linalg.norm(candidates.tags[cell] - wanted[row], axis=1)
        near = (distance < tag_threshold) & (candidates.value[cell] > threshold)
        row, cell, distance = row[near], cell[near], distance[near]

        # sort the best candidate of each row to the end: of repeated writes the last stays
        best_last = np.lexsort((candidates.value[cell] - distance / tag_threshold, row))
        row, cell = row[best_last], cell[best_last]
        filled[person[row], joint[row]] = candidates.flat[cell] % map_size
    return filled


def score_people(
    matched: Bool[np.ndarray, "P K"],
    keypoint_scores: Float[np.ndarray, "P K"],
    keypoints: Float[np.ndarray, "P K 2"],
    rules: Rules = ROBUST,
    *,
    lower_small: bool = False,
    cell: float = 1.0,
) -> Float[np.ndarray, " P"]:
    """The score of every person, from the joints that `match` found; others do not count.

    Args:
        matched: which joints of the P people came from `match`.
        keypoint_scores: the heatmap at each joint, 0 for absent ones.
        keypoints: x, y of each joint.
        rules: `average_all_joints` is used.
        lower_small: see `Grouper`.
        cell: the side of a cell of the heatmaps, in the unit of the keypoints.
    """
    total = np.where(matched, keypoint_scores, 0).sum(1, dtype=np.float32)
    if rules.average_all_joints:
        return total / matched.shape[1]
    scores = total / (matched.sum(1, dtype=np.float32) + 1)
    if not lower_small or matched.shape[1] == 1:  # one joint has no size
        return scores
    present = (keypoint_scores > 0)[..., None]
    low, high = (np.where(present, keypoints, end) for end in (np.inf, -np.inf))
    side = (high.max(1) - low.min(1)).mean(1, dtype=np.float32) / cell
    return scores * (side + SMALL[0]) / (side + SMALL[1])
