"""Free and anchored tags side by side: the same network, drawings, steps and seed, on crowds.

    python scripts/compare_tags.py --steps 1000

Every row trains the compact network from random weights on drawn crowds and evaluates it on others:

    AP          of the whole, and with true heatmaps, where only the tags can fail
    people      share of people found whole, with true heatmaps: one group holds all joints of the
                person and none of anybody else
    within      root mean square distance of the tag of a joint from the mean tag of its person
    between     median distance of the mean tag of a person from the nearest other one; below the
                grouping threshold of 1, two people can be taken for one
"""

import argparse
import dataclasses
import time
from typing import Any

import numpy as np
import torch

from bottomup import networks
from bottomup.coordinates import map_points
from bottomup.data.drawings import DrawnEvaluation, draw_samples
from bottomup.data.loader import EpochSampler, ResumableLoader
from bottomup.data.scenes.crowd import Crowd
from bottomup.evaluation import keypoints as metrics
from bottomup.method import targets
from bottomup.method.aggregation import combine
from bottomup.method.grouping import Grouper
from bottomup.method.losses import Criterion, read_tags
from bottomup.models.heads import resize_tags
from bottomup.models.pose_net import PoseNet

ANCHOR = 0.0625
RATE = 3e-3
SIGMA_LIMIT = 2.0  # cells, of the true heatmaps
NEAR = 3  # pixels within which a joint counts as found
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # arguments of network and criterion
    "free, 1-D": ({"tag_dims": 1, "tag_anchor": 0.0}, {}),
    "free, 2-D": ({"tag_dims": 2, "tag_anchor": 0.0}, {}),
    "anchored, pull and push": ({"tag_anchor": ANCHOR}, {}),
    "anchored, position supervision": (
        {"tag_anchor": ANCHOR},
        {"pull_weight": 0.0, "push_weight": 0.0, "place_weight": 5.0},
    ),
}
HEADER = "tags                               AP  with true heatmaps  people  within  between  CPU s"


def main() -> None:
    arguments = _parse()
    people, sizes = tuple(arguments.people), tuple(arguments.sizes)
    crowd = Crowd(arguments.size, arguments.size, people, sizes, overlap=0.7)
    evaluation = DrawnEvaluation(crowd, arguments.images)
    print(f"{arguments.steps} steps of {arguments.batch_size}, {crowd}")
    print(HEADER)
    for name, (network, weights) in KINDS.items():
        start = time.process_time()
        torch.manual_seed(arguments.seed)
        net = networks.compact(input_size=arguments.size, **network)
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        losses: dict[str, Any] = {"pull_weight": 1.0, "push_weight": 1.0} | weights
        criterion = Criterion(heatmaps="focal", scale_aware=True, **losses)
        train(net, criterion, crowd, arguments)
        seconds = time.process_time() - start
        row = evaluate(net.eval(), evaluation)
        print(
            f"{name:30} {row['AP']:6.3f} {row['AP_true_heatmaps']:19.3f} {row['whole']:7.1%} "
            f"{row['within']:7.2f} {row['between']:8.2f} {seconds:6.0f}",
            flush=True,
        )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare free and anchored tags on drawn crowds.")
    add = parser.add_argument
    add("--steps", type=int, default=1000)
    add("--batch_size", type=int, default=8)
    add("--size", type=int, default=128, help="pixels of an image's side")
    add("--people", type=int, nargs=2, default=(5, 12))
    add("--sizes", type=float, nargs=2, default=(24.0, 96.0), help="pixels of a person")
    add("--images", type=int, default=100, help="to evaluate on")
    add("--seed", type=int, default=0)
    return parser.parse_args()


def train(net: PoseNet, criterion: Criterion, crowd: Crowd, arguments: argparse.Namespace) -> None:
    """AdamW with one cycle of the learning rate."""
    data = draw_samples(crowd, arguments.steps * arguments.batch_size, seed=arguments.seed)
    sampler = EpochSampler(len(data), arguments.batch_size, seed=arguments.seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=arguments.steps, pct_start=0.1
    )
    for batch in ResumableLoader(data, sampler, num_workers=1):
        outputs = net(batch.image.contiguous(memory_format=torch.channels_last))
        losses = criterion(
            outputs,
            batch.keypoints,
            batch.mask,
            offset=net.preprocessing.offset,
            tag_anchor=net.head.tag_anchor,
        )
        loss = torch.stack([criterion.weights[name] * loss for name, loss in losses.items()]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.inference_mode()
def evaluate(net: PoseNet, evaluation: DrawnEvaluation) -> dict[str, float]:
    """All figures of a trained network."""
    found, found_given_heat, whole, within, between = [], [], [], [], []
    grouper = Grouper(skeleton=net.skeleton)
    for index in range(len(evaluation)):
        scene = evaluation.scene(index)
        people = scene.keypoints[(scene.keypoints[..., 2] > 0).any(1)]  # N K 3
        maps = combine(net.read(net(torch.from_numpy(scene.image).permute(2, 0, 1)[None])))
        height, width = maps.heatmaps.shape[2:]
        points = torch.from_numpy(people)[None].clone()  # 1 N K 3, in cells of the maps
        points[..., :2] = (points[..., :2] + 0.5) / (scene.image.shape[1] / width)
        sigma = targets.adaptive_sigma(points)
        heat = targets.render_heatmaps(
            points, height, width, sigma=sigma, max_sigma=SIGMA_LIMIT, exact=True
        )
        for heatmaps, results in ((maps.heatmaps, found), (heat, found_given_heat)):
            poses = grouper(heatmaps, maps.tags)[0]
            keypoints = map_points(poses.keypoints, (width, height), scene.image.shape[1::-1])
            keypoints = np.where(poses.keypoint_scores[..., None] > 0, keypoints, np.float32(0))
            results += dataclasses.replace(poses, keypoints=keypoints).to_coco(index + 1)
        if len(people):
            whole += are_whole(people, keypoints)  # of the true heatmaps, which come last
            distances = tag_distances(
                resize_tags(maps.tags, (height, width)).permute(0, 1, 4, 2, 3), points
            )
            within.append(distances[0])
            between.append(distances[1])
    truth = evaluation.ground_truth(set(range(1, len(evaluation) + 1)))
    return {
        "AP": metrics.evaluate(found, truth)["AP"],
        "AP_true_heatmaps": metrics.evaluate(found_given_heat, truth)["AP"],
        "whole": float(np.mean(whole)),
        "within": float(np.sqrt(np.concatenate(within).mean())),
        "between": float(np.median(np.concatenate(between))),
    }


def are_whole(people: np.ndarray, found: np.ndarray) -> list[bool]:
    """Whether some group has all joints of a person within `NEAR` pixels, and no others.

    Args:
        people: (N, K, 3) true x, y, visibility.
        found: (M, K, 2) x, y of groups; (0, 0) for a joint that was not found.
    """
    if len(found) == 0:
        return [False] * len(people)
    labelled = people[:, None, :, 2] > 0  # N 1 K
    near = np.linalg.norm(people[:, None, :, :2] - found[None], axis=3) < NEAR  # N M K
    has = (found != 0).any(2)[None]  # 1 M K
    return (np.where(labelled, near, ~has).all(2)).any(1).tolist()


def tag_distances(tags: torch.Tensor, points: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """How well the tags of people are separated.

    Args:
        tags: (1, K, L, H, W).
        points: (1, N, K, 3) x, y in cells, visibility.

    Returns:
        squared distances of the joints from the mean of their person, and the distance of each mean
        from the nearest other.
    """
    indices, present = targets.locate_joints(points, *tags.shape[3:])
    vectors, weights = read_tags(tags, indices)[0], present[0, ..., None].float()  # N K L, N K 1
    means = (vectors * weights).sum(1) / weights.sum(1).clamp(min=1)
    within = (vectors - means[:, None]).square().sum(2)[present[0]].numpy()
    gaps = torch.cdist(means, means).fill_diagonal_(torch.inf)
    return within, gaps.amin(1).numpy() if len(gaps) > 1 else np.zeros(0)


if __name__ == "__main__":
    main()
