"""Free and anchored tags beside each other: the same network, drawings, steps and seed, on crowds.

    python scripts/compare_tags.py --steps 1000

Every row trains the compact network from random weights on drawn crowds and looks at others:

    AP          of the whole, and with the true heatmaps, so that nothing but the tags can fail
    people      true ones found whole: one group holds all their joints and none of anybody else,
    true heatmaps given within      root mean square distance of a joint's tag from its person's
    mean between     median distance of a person's mean tag from the nearest other person's; people
    with tags closer than
                the threshold of 1 can be taken for one
"""

import argparse
import time
from typing import Any

import numpy as np
import torch

from bottomup import networks
from bottomup.data.drawings import DrawnEvaluation, draw_samples
from bottomup.data.loader import EpochSampler, ResumableLoader
from bottomup.data.scenes.crowd import Crowd
from bottomup.evaluation import keypoints as metrics
from bottomup.method import targets
from bottomup.method.aggregation import combine
from bottomup.method.grouping import Grouper
from bottomup.method.losses import Criterion, read_tags
from bottomup.models.pose_net import PoseNet

ANCHOR = 0.0625
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # of the network, of the criterion
    "free, 1-D": ({"tag_dims": 1, "tag_anchor": 0.0}, {}),
    "free, 2-D": ({"tag_dims": 2, "tag_anchor": 0.0}, {}),
    "anchored, pull and push": ({"tag_anchor": ANCHOR}, {}),
    "anchored, told their place": (
        {"tag_anchor": ANCHOR},
        {"pull_weight": 0.0, "push_weight": 0.0, "place_weight": 5.0},
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare free and anchored tags on drawn crowds.")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--size", type=int, default=128, help="pixels of an image's side")
    parser.add_argument("--people", type=int, nargs=2, default=(5, 12))
    parser.add_argument(
        "--sizes", type=float, nargs=2, default=(24.0, 96.0), help="pixels of a person"
    )
    parser.add_argument("--images", type=int, default=100, help="to look at")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    crowd = Crowd(
        arguments.size, arguments.size, tuple(arguments.people), tuple(arguments.sizes), overlap=0.7
    )
    evaluation = DrawnEvaluation(crowd, arguments.images)
    print(f"{arguments.steps} steps of {arguments.batch_size}, {crowd}")
    print(
        f"{'tags':28} {'AP':>6} {'with true heatmaps':>19} {'people':>7} {'within':>7} {'between':>8} {'CPU s':>6}"
    )
    for name, (network, criterion) in KINDS.items():
        start = time.process_time()
        torch.manual_seed(arguments.seed)
        net = networks.compact(input_size=arguments.size, **network).to(
            memory_format=torch.channels_last
        )  # type: ignore[call-overload]
        losses: dict[str, Any] = {"pull_weight": 1.0, "push_weight": 1.0} | criterion
        train(
            net,
            Criterion(heatmaps="focal", scale_aware=True, **losses),
            crowd,
            arguments,
        )
        seconds = time.process_time() - start
        figures = look(net.eval(), evaluation)
        print(
            f"{name:28} {figures['AP']:6.3f} {figures['AP_true_heatmaps']:19.3f} {figures['whole']:7.1%} "
            f"{figures['within']:7.2f} {figures['between']:8.2f} {seconds:6.0f}",
            flush=True,
        )


def train(net: PoseNet, criterion: Criterion, crowd: Crowd, arguments: argparse.Namespace) -> None:
    """AdamW with one cycle of the rate."""
    data = draw_samples(crowd, arguments.steps * arguments.batch_size, seed=arguments.seed)
    sampler = EpochSampler(len(data), arguments.batch_size, seed=arguments.seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3e-3, total_steps=arguments.steps, pct_start=0.1
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
def look(net: PoseNet, evaluation: DrawnEvaluation) -> dict[str, float]:
    """All figures of a trained network."""
    found, found_given_heat, whole, within, between = [], [], [], [], []
    grouper = Grouper(skeleton=net.skeleton)
    for index in range(len(evaluation)):
        scene, image_id = evaluation.scene(index), index + 1
        people = scene.keypoints[(scene.keypoints[..., 2] > 0).any(1)]
        maps = combine(net.read(net(torch.from_numpy(scene.image).permute(2, 0, 1)[None])))
        height, width = maps.heatmaps.shape[2:]
        stride = scene.image.shape[1] / width
        points = torch.from_numpy(people)[None].clone()  # 1 N K 3
        points[..., :2] = (points[..., :2] + 0.5) / stride
        sigma = targets.adaptive_sigma(points)
        heat = targets.render_heatmaps(
            points, height, width, sigma=sigma, max_sigma=2.0, exact=True
        )
        for heatmaps, results in ((maps.heatmaps, found), (heat, found_given_heat)):
            poses = grouper(heatmaps, maps.tags)[0]
            keypoints = np.where(
                poses.keypoint_scores[..., None] > 0, (poses.keypoints + 0.5) * stride - 0.5, 0
            )
            results += [
                {"image_id": image_id, "category_id": 1, "score": float(score),
                 "keypoints": np.column_stack([person, np.ones(len(person))]).ravel().tolist()}
                for person, score in zip(keypoints, poses.scores, strict=True)
            ]  # fmt: skip
        if len(people):
            whole += are_whole(people, keypoints)  # of the true heatmaps
            distances = tag_distances(maps.tags.permute(0, 1, 4, 2, 3), points)
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
    """Of true people N 17 3 and groups M 17 2: whether a group has each of a person's joints within 3 pixels, alone."""
    if len(found) == 0:
        return [False] * len(people)
    labelled = people[:, None, :, 2] > 0  # N 1 K
    near = np.linalg.norm(people[:, None, :, :2] - found[None], axis=3) < 3  # N M K
    has = (found != 0).any(2)[None]  # 1 M K
    return (np.where(labelled, near, ~has).all(2)).any(1).tolist()


def tag_distances(tags: torch.Tensor, points: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances of joints from their person's mean, and of each person's mean from the nearest other."""
    indices, present = targets.locate_joints(points, *tags.shape[3:])
    vectors, weights = read_tags(tags, indices)[0], present[0, ..., None].float()  # N K L, N K 1
    means = (vectors * weights).sum(1) / weights.sum(1).clamp(min=1)
    within = (vectors - means[:, None]).square().sum(2)[present[0]].numpy()
    gaps = torch.cdist(means, means).fill_diagonal_(torch.inf)
    return within, gaps.amin(1).numpy() if len(gaps) > 1 else np.zeros(0)


if __name__ == "__main__":
    main()
