"""Robust grouping as it was in version 0.1.0: all maps are upsampled first, joints are matched one
by one in growing arrays, and every step works on tensors. The same people, in more time.
"""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from bottomup import COCO, Poses
from bottomup.method.matching import ABSENT, Candidates, score_people
from bottomup.models.heads import resize


@torch.inference_mode()
def combine(outputs):
    """Heatmaps and tags of a network's outputs, all at the finest resolution."""
    size = outputs[-1].heatmaps.shape[2:]
    heatmaps = torch.stack([resize(output.heatmaps, size) for output in outputs]).mean(0)
    tags = [
        resize(output.tags.flatten(1, 2), size).unflatten(1, output.tags.shape[1:3])
        for output in outputs
        if output.tags is not None
    ]
    tags = torch.cat(tags, dim=2).permute(0, 1, 3, 4, 2)
    return torch.stack([heatmaps]).mean(0), tags  # the mean over one scale


@torch.inference_mode()
def group(heatmaps, tags, order=COCO.grouping_order, thresholds=(0.1, 0.05), tag_threshold=1.0):
    """The people of one image, (1, K, H, W) and (1, K, H, W, L)."""
    size = heatmaps[0, 0].numel()
    candidates = find_candidates(heatmaps, tags, *thresholds)
    matched = match(candidates, size, order, tag_threshold)
    members = fill_in(candidates, matched, size, thresholds[1], tag_threshold)
    present = members != ABSENT
    person, joint = np.nonzero(present)
    where = torch.from_numpy(np.stack([0 * person, joint, members[present]]))
    xy, value = locate(heatmaps, *where)
    keypoints = np.zeros((*members.shape, 2), np.float32)
    keypoint_scores = np.zeros(members.shape, np.float32)
    keypoints[present], keypoint_scores[present] = xy.numpy(), value.numpy()
    scores = score_people(matched != ABSENT, keypoint_scores, keypoints)
    return Poses(keypoints, keypoint_scores, scores, COCO)


def find_candidates(heatmaps, tags, detection_threshold, refine_threshold):
    """The candidates of one image."""
    height, width = heatmaps.shape[2:]
    flat = heatmaps.flatten()
    least = np.float32(min(detection_threshold, refine_threshold))
    index = torch.from_numpy(np.flatnonzero(flat.numpy() > least))
    value = flat[index]

    # of equal neighbours the first is the largest
    adjacent = (index.diff() == 1) & (index[1:] % width != 0)
    in_row = torch.ones_like(index, dtype=torch.bool)
    in_row[1:] &= ~(adjacent & (value[:-1] >= value[1:]))
    in_row[:-1] &= ~(adjacent & (value[1:] > value[:-1]))
    in_map = index % (height * width)
    above, below = in_map >= width, in_map < (height - 1) * width
    value_above = flat[torch.where(above, index - width, index)]
    value_below = flat[torch.where(below, index + width, index)]
    in_column = ~(above & (value_above >= value)) & ~(below & (value_below > value))

    crest = torch.nonzero(in_row | in_column).squeeze(1)
    is_peak = (in_row & in_column & (value > detection_threshold))[crest]
    index, value = index[crest], value[crest]
    is_peak[is_peak.clone()] = is_largest(heatmaps, index[is_peak])
    tag = tags[torch.unravel_index(index, heatmaps.shape)].float()
    return Candidates(*(array.numpy() for array in (index, value, tag, is_peak)))


def is_largest(heatmaps, index):
    """Whether each cell is the largest of 5 x 5."""
    height, width = heatmaps.shape[2:]
    around = torch.arange(-2, 3)
    dy, dx = around.repeat_interleave(5), around.repeat(5)
    y, x = (index // width % height)[:, None] + dy, (index % width)[:, None] + dx
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    value = heatmaps.flatten()[
        torch.where(inside, index[:, None] + dy * width + dx, index[:, None])
    ]
    own = value[:, 12, None]
    earlier = dy * width + dx < 0
    return ~(inside & (value > own) | inside & earlier & (value == own)).any(1)


def of_joint(candidates, joint, map_size):
    """The candidates of one joint."""
    first, last = np.searchsorted(candidates.flat, (joint * map_size, (joint + 1) * map_size))
    flat, *others = (array[first:last] for array in candidates)
    return Candidates(flat - joint * map_size, *others)


def match(candidates, map_size, order, tag_threshold):
    """Rows of cells, one for each person."""
    members = np.zeros((0, len(order)), np.int64)
    tag_sum = np.zeros((0, candidates.tags.shape[1]), np.float32)
    tag_count = np.zeros((0, 1), np.float32)
    strength = np.zeros(0, np.float32)
    peaks = Candidates(*(array[candidates.is_peak] for array in candidates))
    for joint in order:
        index, value, tags, _ = of_joint(peaks, joint, map_size)
        best = np.argsort(-value, kind="stable")
        index, value, tags = index[best], value[best], tags[best]
        clipped = value.clip(0, 1)
        distance = cdist(tags, tag_sum / tag_count)
        relative = distance / tag_threshold
        cost = np.round(4 * relative) / 4 - 1 - 1e-3 * clipped[:, None] * strength
        candidate, person = linear_sum_assignment(np.where(relative < 1, cost, 0))
        accepted = distance[candidate, person] < tag_threshold
        candidate, person = candidate[accepted], person[accepted]
        members[person, joint] = index[candidate]
        tag_sum[person] += tags[candidate]
        tag_count[person] += 1
        strength[person] += clipped[candidate]

        unmatched = np.delete(np.arange(len(index)), candidate)
        started = np.full((len(unmatched), len(order)), ABSENT)
        started[:, joint] = index[unmatched]
        members = np.concatenate([members, started])
        tag_sum = np.concatenate([tag_sum, tags[unmatched]])
        tag_count = np.concatenate([tag_count, np.ones((len(unmatched), 1), np.float32)])
        strength = np.concatenate([strength, clipped[unmatched]])
    return members


def fill_in(candidates, members, map_size, threshold, tag_threshold):
    """The same rows, with joints filled in."""
    present = members != ABSENT
    flat = (members + np.arange(members.shape[1]) * map_size)[present]
    total = np.zeros((len(members), candidates.tags.shape[1]), np.float32)
    np.add.at(
        total, np.nonzero(present)[0], candidates.tags[np.searchsorted(candidates.flat, flat)]
    )
    mean_tags, members = total / present.sum(1, keepdims=True), members.copy()
    for joint in range(members.shape[1]):
        people = np.flatnonzero(members[:, joint] == ABSENT)
        index, value, tags, _ = of_joint(candidates, joint, map_size)
        if len(people) == 0 or len(index) == 0:
            continue
        by_tag = np.argsort(tags[:, 0])
        first_tag, wanted = tags[by_tag, 0], mean_tags[people]
        start = np.searchsorted(first_tag, wanted[:, 0] - tag_threshold)
        length = np.searchsorted(first_tag, wanted[:, 0] + tag_threshold) - start
        row = np.repeat(np.arange(len(people)), length)
        shift = np.repeat(start - np.cumsum(length) + length, length)
        cell = by_tag[np.arange(length.sum()) + shift]
        distance = np.linalg.norm(tags[cell] - wanted[row], axis=1)
        near = (distance < tag_threshold) & (value[cell] > threshold)
        row, cell, distance = row[near], cell[near], distance[near]
        best_last = np.lexsort((value[cell] - distance / tag_threshold, row))
        members[people[row[best_last]], joint] = index[cell[best_last]]
    return members


def locate(heatmaps, image, joint, cell):
    """The vertex of a parabola through the logarithms of three cells, and the value."""
    height, width = heatmaps.shape[2:]
    y, x = cell // width, cell % width
    value = heatmaps[image, joint, y, x]
    offsets = []
    for dx, dy in ((1, 0), (0, 1)):
        low = heatmaps[image, joint, (y - dy).clamp(min=0), (x - dx).clamp(min=0)]
        high = heatmaps[image, joint, (y + dy).clamp(max=height - 1), (x + dx).clamp(max=width - 1)]
        at_border = (x == 0) | (x == width - 1) if dx else (y == 0) | (y == height - 1)
        a, b, c = (v.clamp(1e-6, 1e6).log() for v in (low, value, high))
        vertex = (c - a) / (2 * (2 * b - a - c)).clamp(min=1e-6)
        offsets.append(torch.where(at_border, 0, vertex.clamp(-0.5, 0.5)))
    return torch.stack([x + offsets[0], y + offsets[1]], dim=1), value
