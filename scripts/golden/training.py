"""Golden numbers of training: losses with their gradients, and targets."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bottomup.method import losses, targets
from bottomup.models.heads import HeadOutput
from golden.comparison import Arrays, Case, Deviation, close, file_cases

TOLERANCES = {"float64": 1e-9, "float32": 1e-5}  # of losses, by their precision


def loss_cases(folder: Path) -> list[Case]:
    """A case for every file of tags or of a network's outputs."""
    return file_cases(folder, compare_losses)


def compare_losses(case: Arrays, entry: dict[str, Any]) -> Iterator[Deviation]:
    """The losses in both precisions and their gradients, or the whole loss of two resolutions."""
    if "output_stage0" in case:
        yield from compare_whole_loss(case)
        return
    for dtype in TOLERANCES:
        yield from compare_tag_losses(case, dtype)
        if any(name.startswith("heatmap") for name in case):
            yield compare_heatmap_loss(case, dtype)


def compare_tag_losses(case: Arrays, dtype: str) -> Iterator[Deviation]:
    """Pull, push, the hinge variant of push, and the gradients of the first two."""
    joints = torch.from_numpy(case["joints"])  # B N K 2: index, flag
    tags = torch.from_numpy(case["tags"]).to(getattr(torch, dtype))[:, :, None].requires_grad_()
    vectors = losses.read_tags(tags, joints[..., 0])
    pull, push = losses.pull_push(vectors, joints[..., 1] > 0)
    _, hinge = losses.pull_push(vectors, joints[..., 1] > 0, hinge=True)
    atol = TOLERANCES[dtype]
    for name, loss, rtol in (("pull", pull, atol), ("push", push, 0), ("push_max", hinge, 0)):
        name = f"{name}_{dtype}"
        yield close(name, loss.detach(), case[name], atol=atol, rtol=rtol)
    for name, loss, rtol in (("pull", pull, atol), ("push", push, 0)):
        (gradient,) = torch.autograd.grad(loss.sum(), tags, retain_graph=True)
        expected = case[f"grad_{name}"]
        yield close(f"grad_{name} in {dtype}", gradient[:, :, 0], expected, atol=atol, rtol=rtol)


def compare_heatmap_loss(case: Arrays, dtype: str) -> Deviation:
    """The heatmap loss of every image."""
    predicted, target, mask = (
        torch.from_numpy(case[name]).to(getattr(torch, dtype))
        for name in ("heatmap_pred", "heatmap_gt", "mask")
    )
    name = f"heatmap_loss_{dtype}"
    loss = losses.heatmap_loss(predicted, target, mask[:, None])
    return close(name, loss, case[name], atol=TOLERANCES[dtype])


def compare_whole_loss(case: Arrays) -> Iterator[Deviation]:
    """The losses of every resolution, and their weighted sum by the criterion."""
    criterion = losses.Criterion(heatmap_weight=1.0, pull_weight=1e-3, push_weight=1e-3)
    atol = TOLERANCES["float32"]
    total = torch.zeros(())
    for stage in (0, 1):
        output, target, mask, joints = (
            torch.from_numpy(case[f"{name}_stage{stage}"])
            for name in ("output", "heatmap_gt", "mask", "joints")
        )
        num_joints, size = target.shape[1], target.shape[2:]
        heatmaps, tags = output[:, :num_joints], None
        loss = losses.heatmap_loss(heatmaps, target, mask[:, None])
        name = f"heatmap_loss_stage{stage}"
        yield close(name, loss, case[name], atol=atol)
        if output.shape[1] > num_joints:
            tags = output[:, num_joints:].unflatten(1, (num_joints, -1))  # B K L h w
            vectors = losses.read_tags(tags, joints[..., 0])
            pull, push = losses.pull_push(vectors, joints[..., 1] > 0)
            for name, loss, rtol in (("pull", pull, atol), ("push", push, 0)):
                expected = case[f"weighted_{name}_stage{stage}"] / criterion.weights[name]
                yield close(f"{name}_stage{stage}", loss, expected, atol=atol, rtol=rtol)

        # the criterion draws its own targets: shift the heatmaps by how they differ from the golden
        keypoints = to_keypoints(joints, size)
        shifted = heatmaps - target + targets.render_heatmaps(keypoints, *size)
        found = criterion([HeadOutput(shifted, tags)], keypoints, mask > 0.5)
        total = total + sum(criterion.weights[name] * loss for name, loss in found.items())
    yield close("total", total, case["total"], atol=atol)


def to_keypoints(joints: Tensor, size: torch.Size) -> Tensor:
    """Indices and flags (B N K 2) of cells in a stack of maps as keypoints (B N K 3) of a map."""
    keypoints = torch.zeros(*joints.shape[:3], 3)
    image, person, entry = torch.nonzero(joints[..., 1], as_tuple=True)
    joint, y, x = torch.unravel_index(joints[image, person, entry, 0], (joints.shape[2], *size))
    keypoints[image, person, joint] = torch.stack([x, y, torch.full_like(x, 2)], 1).float()
    return keypoints


def target_cases(folder: Path) -> list[Case]:
    """A case for every set of people."""
    return file_cases(folder, compare_targets)


def compare_targets(case: Arrays, entry: dict[str, Any]) -> Iterator[Deviation]:
    """Heatmaps and indices of joints at every resolution."""
    for name in case:
        if resolution := re.fullmatch(r"keypoints_(\d+)", name):
            size = int(resolution[1])
            keypoints = torch.from_numpy(case[name])[None]  # 1 P K 3
            heatmaps = targets.render_heatmaps(keypoints, size, size)[0]
            yield close(f"heatmaps_{size}", heatmaps, case[f"heatmaps_{size}"], atol=1e-6)
            expected = case[f"joints_{size}"]
            indices, present = (
                part[0].numpy() for part in targets.locate_joints(keypoints, size, size)
            )
            yield close(f"joints_{size}", pack(indices, present, len(expected)), expected)


def pack(indices: np.ndarray, present: np.ndarray, num_rows: int) -> np.ndarray:
    """Indices of joints as the reference stores them: (index, 1) to the left, then zeros."""
    packed = np.zeros((num_rows, indices.shape[1], 2), np.int64)
    for person, (row, there) in enumerate(zip(indices, present, strict=True)):
        packed[person, : there.sum(), 0] = row[there]
        packed[person, : there.sum(), 1] = 1
    return packed
