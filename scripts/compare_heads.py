"""Heatmaps against coordinates, all else equal: three heads on the features of one trunk that stays as it is.

    python scripts/compare_heads.py features --train FILE DIR --val FILE DIR --out FOLDER
    python scripts/compare_heads.py train --val FILE DIR --out FOLDER

The first command looks at every crop once and keeps the trunk's features, the second trains head
after head on them: at three learning rates, then at the best one with three seeds. Trunk and
bundled joint maps stay as they are, as with `frozen: [trunk, head.heatmaps]` in the recipes
topdown_heatmap and topdown_softargmax and `frozen: [trunk]` in topdown_regression; but here each
person is seen in a few views again and again, there in a new view every time. With --fresh the
joint maps start from random weights, as the regression does, and are trained with the rest.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bottomup.data.coco import Annotations, Record, corners_of, read_annotations
from bottomup.data.drawings import Drawings
from bottomup.data.photos import Photos, read_image
from bottomup.data.samples import Draw, Samples
from bottomup.data.scenes.crowd import Crowd
from bottomup.evaluation import keypoints as metrics
from bottomup.evaluation.bootstrap import bootstrap
from bottomup.geometry import Transform
from bottomup.poses import keypoint_similarities
from bottomup.skeleton import COCO
from bottomup.topdown.detectors import Boxes
from bottomup.topdown.losses import PersonCriterion
from bottomup.topdown.person_net import BUILDERS, PersonNet
from bottomup.topdown.predictor import to_poses
from bottomup.topdown.samples import CropAugment
from bottomup.weights.store import save_model, start_from

KINDS = tuple(BUILDERS)
RATES = (3e-4, 1e-3, 3e-3)
CHUNK = 32  # crops that pass the trunk together
NOTHING = np.zeros((1, 17, 3), np.float32)  # keypoints of a crop whose joints do not matter
CROWD = Crowd(width=256, height=256, people=(1, 4), sizes=(64.0, 240.0))


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """What the heads learn from: N crops.

    Attributes:
        fine: (N, C, 64, 48) float16; in training the K bundled joint maps made from them.
        coarse: (N, D, 8, 6) float16.
        keypoints: (N, 1, K, 3) in pixels of the crop.
    """

    fine: Tensor
    coarse: Tensor
    keypoints: Tensor


def extract(arguments: argparse.Namespace) -> None:
    """The features of augmented crops of the training people and of drawn ones, and of the validation people."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    net = build(KINDS[0])
    people = val_people(read_annotations(*arguments.val))
    crops = ((transform.warp(read_image(record)), NOTHING) for record, _, transform in people)
    _write(arguments.out / "val.pt", net, crops, len(people))
    annotations = read_annotations(*arguments.train)
    photos = Samples(Photos(annotations, one_person=True), CropAugment(), stream=3)
    drawn = Samples(Drawings(CROWD, arguments.drawn), CropAugment(), stream=4)
    for view in range(arguments.views):
        sets = [photos] if view else [drawn, photos]
        samples = (
            (s.image, s.keypoints)
            for part in sets
            for i in range(len(part))
            for s in [part[Draw(view, i)]]
        )
        _write(arguments.out / f"train_{view}.pt", net, samples, sum(map(len, sets)))


@torch.inference_mode()
def _write(
    path: Path, net: PersonNet, samples: Iterator[tuple[np.ndarray, np.ndarray]], total: int
) -> None:
    if path.exists():
        return
    fine, coarse, keypoints = [], [], []
    pending: list[np.ndarray] = []
    for number, (image, points) in enumerate(samples, 1):
        pending.append(image)
        keypoints.append(points)
        if len(pending) == CHUNK or number == total:
            images = torch.from_numpy(np.stack(pending)).permute(0, 3, 1, 2)
            one, other = net.trunk((images.float() - net.mean) / net.std)
            fine.append(one.half().contiguous())
            coarse.append(other.half().contiguous())
            pending = []
            print(f"{path.name}: {number} of {total}", file=sys.stderr, flush=True)
    torch.save([torch.cat(fine), torch.cat(coarse), torch.from_numpy(np.stack(keypoints))], path)


def build(kind: str, *, fresh: bool = False) -> PersonNet:
    """A network with the bundled trunk and a head without any training; unless `fresh`, with the bundled joint maps."""
    net = BUILDERS[kind]()
    start_from(net, "mobile")
    if fresh:
        net.head = BUILDERS[kind]().head
        joint_maps = getattr(net.head, "heatmaps", None)
        if joint_maps is not None:
            torch.nn.init.constant_(
                joint_maps.out.bias, -4.0
            )  # nothing is a joint yet: the loss need not learn that
    return net.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def val_people(annotations: Annotations) -> list[tuple[Record, np.ndarray, Transform]]:
    """Every annotated person of the validation photos, with its box and the transform to its crop."""
    people = []
    for record in annotations.records:
        entries = (p for p in annotations.raw["annotations"] if p["image_id"] == record.image_id)
        boxes = map(corners_of, entries)
        people += [(record, box, crop(box)) for box in boxes if (box[2:] > box[:2]).all()]
    return people


@dataclasses.dataclass(frozen=True, eq=False)
class Validation:
    """The validation people: their features, and how to get back to the photos."""

    features: Features
    people: list[tuple[Record, np.ndarray, Transform]]
    truth: dict[str, Any]

    def similarity(self, net: PersonNet) -> float:
        """Mean object keypoint similarity (OKS) of a person: how well joints are located, whatever their scores."""
        entries = self.truth["annotations"]
        people = {(p["image_id"], *np.round(corners_of(p), 3)): p for p in entries}
        values = []
        for (record, box, _), result in zip(self.people, self._results(net), strict=True):
            person = people[(record.image_id, *np.round(box, 3))]
            true, found = (
                np.reshape(person["keypoints"], (17, 3)),
                np.reshape(result["keypoints"], (17, 3)),
            )
            area = np.array(person["area"])
            similarity = keypoint_similarities(found[:, :2], true[:, :2], area, COCO)
            values.append(similarity[true[:, 2] > 0].mean())
        return float(np.mean(values))

    def figures(self, net: PersonNet) -> dict[str, float]:
        """Average precision with the annotated boxes and its 95 % interval: also how well people are ranked."""
        matches = metrics.match_results(self._results(net), self.truth)
        figures = metrics.summarise(matches)
        low, high = bootstrap(matches)["AP"]
        return {"AP": figures["AP"], "AP50": figures["AP50"], "low": low, "high": high}

    def _results(self, net: PersonNet) -> list[dict[str, Any]]:
        """One COCO result per person."""
        results = []
        with torch.inference_mode():
            output = net.head(
                (self.features.fine.float(), self.features.coarse.float()), net.crop_wh
            )
        points, scores = output.points.double().numpy(), output.scores.double().numpy()
        for i, (record, box, transform) in enumerate(self.people):
            poses = to_poses(
                Boxes(box[None], np.ones(1)),
                [transform],
                points[i : i + 1],
                scores[i : i + 1],
                COCO,
            )
            results += poses.to_coco(record.image_id)
        return results


def train(arguments: argparse.Namespace) -> None:
    """Sweep the learning rate of every head, train each with three seeds at the best one, and write what came out."""
    files = sorted(arguments.out.glob("train_*.pt"))
    features = Features(*(torch.cat(parts) for parts in zip(*map(torch.load, files), strict=True)))
    val_features = Features(*torch.load(arguments.out / "val.pt"))
    if not arguments.fresh:
        features, val_features = to_maps(features), to_maps(val_features)
    annotations = read_annotations(*arguments.val)
    val = Validation(val_features, val_people(annotations), annotations.raw)
    path = arguments.out / ("curves_fresh.json" if arguments.fresh else "curves.json")
    runs: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []

    def done(**wanted: Any) -> dict[str, Any]:
        """The run of that kind, rate and so on: an earlier one, or one made now."""
        for run in runs:
            if all(run[key] == value for key, value in wanted.items()):
                return run
        run = fit(
            features,
            val,
            **wanted,
            fresh=arguments.fresh,
            batch_size=arguments.batch_size,
            folder=arguments.out,
        )
        runs.append(run)
        path.write_text(json.dumps(runs, indent=1))
        print(json.dumps({key: value for key, value in run.items() if key != "curve"}), flush=True)
        return run

    for kind in KINDS:
        sweep = {
            rate: done(kind=kind, rate=rate, seed=0, steps=arguments.sweep_steps) for rate in RATES
        }
        best = max(sweep, key=lambda rate: sweep[rate]["OKS"])
        for seed in range(arguments.seeds):
            done(kind=kind, rate=best, seed=seed, steps=arguments.steps)
        if arguments.long:
            done(kind=kind, rate=best, seed=0, steps=arguments.long)


@torch.inference_mode()
def to_maps(features: Features) -> Features:
    """The same with the bundled joint maps in place of the fine features: they never change."""
    head = build("topdown_heatmap").get_submodule("head.heatmaps")
    maps = torch.cat([head(part.float()).half() for part in features.fine.split(CHUNK)])
    return dataclasses.replace(features, fine=maps)


def fit(
    features: Features, val: Validation, *, kind: str, rate: float, seed: int, steps: int, fresh: bool, batch_size: int,
    folder: Path,
) -> dict[str, Any]:  # fmt: skip
    """Train one head; its curve of (step, training loss, OKS) and last figures. Unless `fresh`, it goes to a file."""
    torch.manual_seed(seed)
    net = build(kind, fresh=fresh)
    joint_maps = None if fresh else getattr(net.head, "heatmaps", None)
    if joint_maps is not None:
        net.head.heatmaps = torch.nn.Identity()  # `to_maps` has done its work
    criterion = PersonCriterion()
    optimizer = torch.optim.AdamW(net.head.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    mask = torch.ones((batch_size, net.crop_wh[1], net.crop_wh[0]), dtype=torch.bool)
    order = torch.randperm(len(features.fine)).repeat(steps * batch_size // len(features.fine) + 1)
    curve, recent, start = [], [], time.perf_counter()
    for step in range(1, steps + 1):
        chosen = order[(step - 1) * batch_size : step * batch_size]
        output = net.head(
            (features.fine[chosen].float(), features.coarse[chosen].float()), net.crop_wh
        )
        (loss,) = criterion(output, features.keypoints[chosen], mask).values()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if step % max(steps // 4, 1) == 0:
            curve.append({"step": step, "loss": float(np.mean(recent)), "OKS": val.similarity(net)})
            recent = []
    figures = val.figures(net)
    if joint_maps is not None:
        net.head.heatmaps = joint_maps
    if not fresh:
        save_model(
            net, folder / f"{kind}_{rate:g}_{seed}_{steps}.safetensors", half=True, shared="mobile"
        )
    about = {
        "kind": kind,
        "rate": rate,
        "seed": seed,
        "steps": steps,
        "seconds": time.perf_counter() - start,
    }
    return {**about, **figures, "OKS": curve[-1]["OKS"], "curve": curve}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("features", help=extract.__doc__)
    command.add_argument("--train", nargs=2, required=True, metavar=("FILE", "DIR"))
    command.add_argument("--drawn", type=int, default=300, help="crops of drawn people")
    command.add_argument("--views", type=int, default=3, help="of every person of the photos")
    command.set_defaults(run=extract)
    other = commands.add_parser("train", help=train.__doc__)
    other.add_argument("--sweep-steps", type=int, default=60)
    other.add_argument("--steps", type=int, default=200)
    other.add_argument(
        "--long", type=int, default=0, metavar="STEPS", help="of one more run at the best rate"
    )
    other.add_argument("--seeds", type=int, default=3)
    other.add_argument("--batch-size", type=int, default=16)
    other.add_argument(
        "--fresh", action="store_true", help="train the joint maps, too, from random weights"
    )
    other.set_defaults(run=train)
    for each in (command, other):
        each.add_argument("--val", nargs=2, required=True, metavar=("FILE", "DIR"))
        each.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
