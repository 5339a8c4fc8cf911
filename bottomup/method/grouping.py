"""From maps to people: peaks of the heatmaps are joints, joints whose tags agree are a person.

The method is that of Newell, Huang and Deng, "Associative Embedding" (2017), with the steps and the
constants of HigherHRNet (Cheng et al., 2020): suppress, top k, match, refine, adjust. Only map
cells above a threshold leave the device; a person is a row of K cell indices until its coordinates
are read at the very end.
"""

import dataclasses
import itertools
import math
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

from bottomup.method.peaks import Cells, find_cells, locate
from bottomup.poses import Poses
from bottomup.skeleton import COCO, Skeleton

ABSENT = -1  # in place of a cell's index, where a person lacks a joint
STRONG = 0.01  # heat of the cells that `refine_official` looks at first

Members = Int[np.ndarray, "_ K"]
"""One row per person: the index y * W + x of each joint's cell in its own H W map, or `ABSENT`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grouper:
    """Assembles people from aggregated heatmaps and tags.

    Attributes:
        mode: "official" gives the numbers of the reference implementation; "robust" never forces a
            match beyond the tag threshold, invents no joint where there is no heat, and locates
            peaks without bias.
        detection_threshold: a peak of a heatmap must exceed it to be a joint.
        tag_threshold: joints of one person differ by less than this from the person's mean tag.
        refine_threshold: robust mode only: a joint that a person lacks is filled in where its
            heatmap exceeds this.
        max_candidates: peaks kept per joint, the best first; None keeps all. Official: 30.
        kernel_size: cells; the side of the square in which a peak is the largest.
        nms_oks: robust mode only: drop a person that resembles a better one by more than this OKS;
            None drops nobody.
        skeleton: the K joints, and the order in which they are visited.
    """

    mode: Literal["robust", "official"] = "robust"
    detection_threshold: float = 0.1
    tag_threshold: float = 1.0
    refine_threshold: float = 0.05
    max_candidates: int | None = None
    kernel_size: int = 5
    nms_oks: float | None = None
    skeleton: Skeleton = COCO

    def __post_init__(self) -> None:
        if self.mode not in ("robust", "official"):
            raise ValueError(f"mode is {self.mode!r}; choose 'robust' or 'official'")
        if self.kernel_size < 3 or self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {self.kernel_size}; choose an odd number such as 5")
        if self.tag_threshold <= 0:
            raise ValueError(
                f"tag_threshold is {self.tag_threshold}; choose a positive number such as 1.0"
            )

    @classmethod
    def official(cls, skeleton: Skeleton = COCO) -> "Grouper":
        """The settings of the reference implementation."""
        return cls(mode="official", max_candidates=30, skeleton=skeleton)

    @torch.inference_mode()
    def __call__(
        self, heatmaps: Float[Tensor, "B K H W"], tags: Float[Tensor, "B K H W L"]
    ) -> list[Poses]:
        """Find the people of every image.

        Args:
            heatmaps: one map per joint; on any device, as the tags are.
            tags: L tag dimensions per cell (two with a flip test).

        Returns:
            B `Poses` in cells of the maps, the centre of the top-left cell being (0, 0) (official
            mode: with the reference's half cell on top). People come in the order in which they
            were opened.

        Raises:
            ValueError: the maps do not have the K joints of the skeleton, or do not fit each other.
        """
        num_keypoints = self.skeleton.num_keypoints
        if heatmaps.shape[1] != num_keypoints or tags.shape[:4] != heatmaps.shape:
            raise ValueError(
                f"heatmaps {tuple(heatmaps.shape)} and tags {tuple(tags.shape)} do not fit "
                f"a skeleton of {num_keypoints} joints"
            )
        heatmaps = heatmaps.float()
        all_cells = find_cells(
            heatmaps,
            tags,
            detection_threshold=self.detection_threshold,
            refine_threshold=self.refine_threshold
            if self.mode == "robust"
            else self.detection_threshold,
            kernel_size=self.kernel_size,
        )
        map_size = heatmaps.shape[2] * heatmaps.shape[3]
        matched = [self._match(cells, map_size) for cells in all_cells]
        if self.mode == "official":
            filled = [
                refine_official(*image) for image in zip(heatmaps, tags, matched, strict=True)
            ]
        else:
            filled = [
                refine(
                    cells,
                    members,
                    map_size,
                    threshold=self.refine_threshold,
                    tag_threshold=self.tag_threshold,
                )
                for cells, members in zip(all_cells, matched, strict=True)
            ]
        return self._read(heatmaps, matched, filled)

    def _match(self, cells: Cells, map_size: int) -> Members:
        return match(
            cells,
            map_size,
            order=self.skeleton.grouping_order,
            tag_threshold=self.tag_threshold,
            max_candidates=self.max_candidates,
            force=self.mode == "official",
        )

    def _read(self, heatmaps: Tensor, matched: list[Members], filled: list[Members]) -> list[Poses]:
        """Coordinates and scores of all joints of all images, read from the device at once."""
        if not filled:
            return []
        counts = [len(members) for members in filled]
        members = np.concatenate(filled)  # P K, the people of all images
        present = members != ABSENT
        person, joint = np.nonzero(present)
        image = np.repeat(np.arange(len(filled)), counts)[person]
        where = torch.from_numpy(np.stack([image, joint, members[present]])).to(heatmaps.device)
        xy, value = locate(heatmaps, *where, quarter=self.mode == "official")

        keypoints = np.zeros((*members.shape, 2), np.float32)
        keypoint_scores = np.zeros(members.shape, np.float32)
        keypoints[present], keypoint_scores[present] = xy.cpu().numpy(), value.cpu().numpy()
        scores = self._score(np.concatenate(matched) != ABSENT, keypoint_scores)

        people = Poses(keypoints, keypoint_scores, scores, self.skeleton)
        starts = np.cumsum([0, *counts])
        poses = [people[start:end] for start, end in itertools.pairwise(starts)]
        return poses if self.nms_oks is None else [suppress_similar(p, self.nms_oks) for p in poses]

    def _score(
        self, matched: Bool[np.ndarray, "P K"], keypoint_scores: Float[np.ndarray, "P K"]
    ) -> np.ndarray:
        """Confidence in every person, from the joints that were matched; those that were filled in do not count.

        The reference takes the mean over all K joints, which says of half a person that it is half
        as sure. Robust mode takes the mean over the joints that there are and one more of value 0:
        a lone joint is worth half of it.
        """
        total = np.where(matched, keypoint_scores, 0).sum(1, dtype=np.float32)
        count = (
            matched.shape[1] if self.mode == "official" else matched.sum(1, dtype=np.float32) + 1
        )
        return total / count


def match(
    cells: Cells,
    map_size: int,
    *,
    order: tuple[int, ...],
    tag_threshold: float,
    max_candidates: int | None = None,
    force: bool = False,
) -> Members:
    """Assign the peaks to people, one joint after the other.

    Every peak of the next joint is compared with the mean tag of every person so far; the Hungarian
    algorithm finds the cheapest assignment, and a peak without a person within the tag threshold
    opens a new one.

    Args:
        cells: of one image.
        map_size: H * W.
        order: the joints in the order of visit.
        tag_threshold: see `Grouper`.
        max_candidates: see `Grouper`.
        force: the reference's cost, 100 * round(distance) - value, unbounded: far pairs compete
            with near ones, and crowds fall to pieces. Otherwise see `_bounded_cost`.

    Returns:
        One row per person, in the order in which they were opened.
    """
    members = np.zeros((0, len(order)), np.int64)
    tag_sum = np.zeros((0, cells.tags.shape[1]), np.float32)
    tag_count = np.zeros((0, 1), np.float32)
    strength = np.zeros(0, np.float32)
    peaks = Cells(*(array[cells.is_peak] for array in cells))
    for joint in order:
        index, value, tags, _ = peaks.of_joint(joint, map_size)
        best = np.argsort(-value, kind="stable")[:max_candidates]
        index, value, tags = index[best], value[best], tags[best]

        distance = cdist(tags, tag_sum / tag_count)  # M N
        sure = value.clip(0, 1)
        cost = (
            _forced_cost(distance, value)
            if force
            else _bounded_cost(distance / tag_threshold, sure, strength)
        )
        candidate, person = linear_sum_assignment(cost)
        is_real = person < len(members)
        candidate, person = candidate[is_real], person[is_real]
        accepted = distance[candidate, person] < tag_threshold
        candidate, person = candidate[accepted], person[accepted]
        members[person, joint] = index[candidate]
        tag_sum[person] += tags[candidate]
        tag_count[person] += 1
        strength[person] += sure[candidate]

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
    """Robust mode's cost: all pairs beyond the threshold cost the same, nothing.

    Distances count in quarters of the threshold. Of people who are equally near, as the two halves
    of one who was opened twice are, the one with more found so far takes the joint: split at
    random, both would be lost.

    Args:
        distance: of the tags, in thresholds.
        value: of each candidate, 0 to 1.
        strength: summed value of each person's joints.
    """
    return np.where(
        distance < 1, np.round(4 * distance) / 4 - 1 - 1e-3 * value[:, None] * strength, 0
    )


def _forced_cost(
    distance: Float[np.ndarray, "M N"], value: Float[np.ndarray, " M"]
) -> Float[np.ndarray, "M P"]:
    """The reference's cost, with its dummy people: where M > N they decide between assignments of equal cost."""
    num_dummies = max(distance.shape[0] - distance.shape[1], 0)
    return np.pad(
        100 * np.round(distance) - value[:, None], ((0, 0), (0, num_dummies)), constant_values=1e10
    )


def _mean_tags(cells: Cells, members: Members, map_size: int) -> Float[np.ndarray, "N L"]:
    """The mean tag of each person's joints."""
    present = members != ABSENT
    position = np.searchsorted(
        cells.flat, (members + np.arange(members.shape[1]) * map_size)[present]
    )
    total = np.zeros((len(members), cells.tags.shape[1]), np.float32)
    np.add.at(total, np.nonzero(present)[0], cells.tags[position])
    return total / present.sum(1, keepdims=True)


def refine(
    cells: Cells, members: Members, map_size: int, *, threshold: float, tag_threshold: float
) -> Members:
    """Fill in the joints that people lack: where heat and tag both speak for it, and nowhere else.

    Of the cells whose heatmap exceeds `threshold` and whose tag lies within `tag_threshold` of the
    person's mean, the one with the largest value - distance / tag_threshold becomes the joint.
    """
    members = members.copy()
    mean_tags = _mean_tags(cells, members, map_size)
    for joint in range(members.shape[1]):
        people = np.flatnonzero(members[:, joint] == ABSENT)
        index, value, tags, _ = cells.of_joint(joint, map_size)
        if len(people) == 0 or len(index) == 0:
            continue
        # by the first tag dimension, the cells near a person are one run: look at those only
        by_tag = np.argsort(tags[:, 0])
        first_tag, wanted = tags[by_tag, 0], mean_tags[people]
        start = np.searchsorted(first_tag, wanted[:, 0] - tag_threshold)
        length = np.searchsorted(first_tag, wanted[:, 0] + tag_threshold) - start
        row = np.repeat(np.arange(len(people)), length)
        cell = by_tag[
            np.arange(length.sum()) + np.repeat(start - np.cumsum(length) + length, length)
        ]
        distance = np.linalg.norm(tags[cell] - wanted[row], axis=1)
        near = (distance < tag_threshold) & (value[cell] > threshold)
        row, cell, distance = row[near], cell[near], distance[near]
        best_last = np.lexsort((value[cell] - distance / tag_threshold, row))
        members[people[row[best_last]], joint] = index[
            cell[best_last]
        ]  # of a person's cells, the last one stays
    return members


def refine_official(
    heatmaps: Float[Tensor, "K H W"], tags: Float[Tensor, "K H W L"], members: Members
) -> Members:
    """Fill in every joint that a person lacks at the maximum over the whole map of heatmap - round(tag distance).

    The reference's rule, which looks at every cell for every person and takes any heat above zero.
    Here cells above `STRONG` are looked at first: if they give more than that, no other cell can
    give as much.
    """
    members = members.copy()
    flat, flat_tags = heatmaps.flatten(1), tags.flatten(1, 2)  # K HW, K HW L
    strong = [torch.nonzero(heat > STRONG)[:, 0] for heat in flat]
    strong_heat = [heat[cells] for heat, cells in zip(flat, strong, strict=True)]
    strong_tags = [tag[cells] for tag, cells in zip(flat_tags, strong, strict=True)]
    for person in members:
        has, at = (
            torch.from_numpy(a).to(flat.device) for a in (np.flatnonzero(person != ABSENT), person)
        )
        mean = flat_tags[has, at[has]].mean(0)
        for joint in np.flatnonzero(person == ABSENT).tolist():
            best, value = _best_cell(strong_heat[joint], strong_tags[joint], mean)
            if value > STRONG:
                person[joint] = int(strong[joint][best])
                continue
            best, _ = _best_cell(flat[joint], flat_tags[joint], mean)
            if flat[joint, best] > 0:
                person[joint] = best
    return members


def _best_cell(
    heat: Float[Tensor, " C"], tags: Float[Tensor, "C L"], mean: Float[Tensor, " L"]
) -> tuple[int, float]:
    """The first of the cells with the largest heat - round(tag distance), and that; -1 and -inf if there is no cell."""
    if len(heat) == 0:
        return -1, -math.inf
    value, best = (heat - torch.linalg.vector_norm(tags - mean, dim=1).round()).max(0)
    return int(best), float(value)


def suppress_similar(poses: Poses, oks_threshold: float) -> Poses:
    """Drop every person that resembles a better one (a larger score) by an OKS above the threshold.

    The area is that of the better person's box.
    """
    extent = poses.boxes[:, 2:] - poses.boxes[:, :2]
    areas = np.maximum(extent[:, 0] * extent[:, 1], 1)
    kept: list[int] = []
    for person in np.argsort(-poses.scores, kind="stable"):
        oks = poses[kept].similarity(poses[person], areas[kept])
        if not (oks > oks_threshold).any():
            kept.append(int(person))
    return poses[sorted(kept)]
