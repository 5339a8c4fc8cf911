"""From maps to people: peaks of heatmaps become joints, and joints of similar tags a person.

The steps are those of HigherHRNet (Cheng et al., 2020): suppress all but peaks, match them by their
tags, refine (fill in missing joints), adjust (positions finer than a cell). Only cells above a
threshold are copied from the device.
"""

import dataclasses
import itertools

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bottomup.method.matching import (
    ABSENT,
    OFFICIAL,
    ROBUST,
    Candidates,
    Members,
    Rules,
    fill_in,
    match,
    score_people,
)
from bottomup.method.peaks import find_candidates, locate
from bottomup.models.heads import resize_tags
from bottomup.poses import Poses
from bottomup.skeleton import COCO, Skeleton

STRONG = 0.01  # `fill_every_joint` first tries the cells whose heatmap exceeds this

RULES = {"robust": ROBUST, "official": OFFICIAL}  # of each mode of `Predictor`


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grouper:
    """Groups joints into people, from aggregated heatmaps and tags.

    Attributes:
        rules: `ROBUST`, or `OFFICIAL` for the results of the reference implementation.
        detection_threshold: a peak of a heatmap must exceed it to be a joint.
        tag_threshold: joints of one person differ by less than this from the person's mean tag.
        refine_threshold: a missing joint can be filled in where its heatmap exceeds this; not used
            with `Rules.fill_every_joint`.
        lower_small: small people score less, as fewer of their joints are within the tolerance of
            OKS; not with `Rules.average_all_joints`.
        skeleton: the K joints, and the order in which they are grouped.

    Raises:
        ValueError: the tag threshold is not positive.
    """

    rules: Rules = ROBUST
    detection_threshold: float = 0.1
    tag_threshold: float = 1.0
    refine_threshold: float = 0.05
    lower_small: bool = False
    skeleton: Skeleton = COCO

    def __post_init__(self) -> None:
        if self.tag_threshold <= 0:
            raise ValueError(f"tag_threshold is {self.tag_threshold}; give a positive number")

    @torch.inference_mode()
    def __call__(
        self, heatmaps: Float[Tensor, "B K H W"], tags: Float[Tensor, "B K h w L"]
    ) -> list[Poses]:
        """Find the people of every image.

        Args:
            heatmaps: one map per joint, on any device.
            tags: L tag dimensions per joint and cell, perhaps coarser, on the same device.

        Returns:
            B `Poses` in cells of the maps; (0, 0) is the centre of the top-left cell. With
            `Rules.quarter_offset`, half a cell is added. People are in the order of `match`.

        Raises:
            ValueError: the maps do not have the skeleton's K joints, their numbers differ, or
                `Rules.force_matches` meets a number that is not finite. Without it, a cell of NaN
                is no joint.
        """
        num_keypoints = self.skeleton.num_keypoints
        if heatmaps.shape[1] != num_keypoints or tags.shape[:2] != heatmaps.shape[:2]:
            raise ValueError(
                f"heatmaps {tuple(heatmaps.shape)} and tags {tuple(tags.shape)} do not fit "
                f"a skeleton of {num_keypoints} joints"
            )
        heatmaps = heatmaps.float().contiguous()
        if self.rules.force_matches and not (heatmaps.sum() + tags.float().sum()).isfinite():
            raise ValueError("the network gave maps with numbers that are not finite")
        if self.rules.fill_every_joint:  # from the tags of every cell
            tags = resize_tags(tags, heatmaps.shape[2:])
        candidates = find_candidates(
            heatmaps,
            tags,
            detection_threshold=self.detection_threshold,
            refine_threshold=self.refine_threshold,
        )
        grouped = [self._group(*image) for image in zip(candidates, heatmaps, tags, strict=True)]
        return self._to_poses(heatmaps, grouped) if grouped else []

    @torch.inference_mode()
    def assemble(self, candidates: Candidates, heatmaps: Float[Tensor, "1 K H W"]) -> Poses:
        """The people of one image from its candidates alone; not with `fill_every_joint`."""
        return self._to_poses(heatmaps, [self._group(candidates, heatmaps[0], None)])[0]

    def _group(
        self,
        candidates: Candidates,
        heatmaps: Float[Tensor, "K H W"],
        tags: Float[Tensor, "K h w L"] | None,
    ) -> tuple[Members, Members]:
        """The people of one image: only with matched joints, and with missing joints filled in."""
        size, threshold = heatmaps[0].numel(), self.tag_threshold
        order = self.skeleton.grouping_order
        matched = match(candidates, size, order=order, tag_threshold=threshold, rules=self.rules)
        if self.rules.fill_every_joint:
            assert tags is not None
            return matched, fill_every_joint(heatmaps, tags, matched)
        return matched, fill_in(
            candidates, matched, size, threshold=self.refine_threshold, tag_threshold=threshold
        )

    def _to_poses(
        self, heatmaps: Float[Tensor, "B K H W"], grouped: list[tuple[Members, Members]]
    ) -> list[Poses]:
        """Coordinates and scores of all joints of all images, read from the device at once."""
        counts = [len(members) for _, members in grouped]
        matched, members = (np.concatenate(parts) for parts in zip(*grouped, strict=True))  # P K
        present = members != ABSENT
        image = np.repeat(np.arange(len(grouped)), counts)[:, None]
        num_keypoints, cells = heatmaps.shape[1], heatmaps[0, 0].numel()
        index = (image * num_keypoints + np.arange(num_keypoints)) * cells + members
        xy, value = locate(heatmaps, index[present], quarter_offset=self.rules.quarter_offset)

        # absent joints keep position and score 0
        keypoints = np.zeros((*members.shape, 2), np.float32)
        keypoint_scores = np.zeros(members.shape, np.float32)
        keypoints[present], keypoint_scores[present] = xy, value
        joints = (matched != ABSENT, keypoint_scores, keypoints)
        scores = score_people(*joints, self.rules, lower_small=self.lower_small)
        people = Poses(keypoints, keypoint_scores, scores, self.skeleton)
        starts = np.cumsum([0, *counts])
        return [people[start:end] for start, end in itertools.pairwise(starts)]


def fill_every_joint(
    heatmaps: Float[Tensor, "K H W"], tags: Float[Tensor, "K H W L"], members: Members
) -> Members:
    """Fill in every missing joint at the cell where heatmap - round(tag distance) is largest.

    As in the reference, that cell is taken if its heatmap exceeds 0. For speed, cells from
    `STRONG` on are tried first: a difference above it is the maximum, as no other cell has one.
    """
    members = members.copy()
    flat, flat_tags = heatmaps.flatten(1), tags.flatten(1, 2)  # K HW, K HW L
    strong = [torch.nonzero(heat >= heat.amax().clamp(max=STRONG))[:, 0] for heat in flat]
    strong_heat = [heat[cells] for heat, cells in zip(flat, strong, strict=True)]
    strong_tags = [tag[cells] for tag, cells in zip(flat_tags, strong, strict=True)]
    for person in members:
        has = torch.from_numpy(np.flatnonzero(person != ABSENT)).to(flat.device)
        at = torch.from_numpy(person).to(flat.device)
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
    """The first cell of the largest heat - round(tag distance), and that."""
    value, best = (heat - torch.linalg.vector_norm(tags - mean, dim=1).round()).max(0)
    return int(best), float(value)
