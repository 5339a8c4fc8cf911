"""Heatmaps against coordinates, all else equal: three heads on the features of one frozen trunk.

    python scripts/compare_heads.py features --train FILE DIR --val FILE DIR --out FOLDER
    python scripts/compare_heads.py train --val FILE DIR --out FOLDER

The first command computes the features of every crop once and keeps them. The second trains each
head on them: at three learning rates, then at the best one with three seeds.

The trunk and the bundled joint maps are frozen, as with `frozen: [trunk, head.heatmaps]` in the
recipes topdown_heatmap and topdown_softargmax and `frozen: [trunk]` in topdown_regression. Unlike
there, each person has only a few augmented views, which are repeated. With --fresh the joint maps
start from random weights, as the regression does, and are trained too.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from comparison.datasets import area_of, keypoints_of, write_json
from comparison.errors import oks
from torch import Tensor

from bottomup.data.coco import Annotations, Record, read_annotations
from bottomup.data.drawings import Drawings
from bottomup.data.people import corners_of
from bottomup.data.photos import Photos, read_image
from bottomup.data.samples import Draw, Samples
from bottomup.data.scenes.crowd import Crowd
from bottomup.evaluation import keypoints as metrics
from bottomup.evaluation.bootstrap import bootstrap
from bottomup.files import read_json
from bottomup.geometry import Transform
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
NO_KEYPOINTS = np.zeros((1, 17, 3), np.float32)  # of a crop whose joints are not needed
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


class ValPerson(NamedTuple):
    """A person of the validation photos.

    Attributes:
        record: the photo.
        annotation: of the person.
        box: x0, y0, x1, y1.
        transform: to the crop.
    """

    record: Record
    annotation: dict[str, Any]
    box: np.ndarray
    transform: Transform


def extract(arguments: argparse.Namespace) -> None:
    """Compute the features of augmented training crops and of the validation crops."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    net = build(KINDS[0])
    people = val_people(read_annotations(*arguments.val))
    crops = ((one.transform.warp(read_image(one.record)), NO_KEYPOINTS) for one in people)
    _write(arguments.out / "val.pt", net, crops, len(people))
    annotations = read_annotations(*arguments.train)
    photos = Samples(Photos(annotations, one_person=True), CropAugment(), stream=3)
    drawn = Samples(Drawings(CROWD, arguments.drawn), CropAugment(), stream=4)
    for view in range(arguments.views):
        sets = [photos] if view else [drawn, photos]
        samples = (part[Draw(view, i)] for part in sets for i in range(len(part)))
        pairs = ((sample.image, sample.keypoints) for sample in samples)
        _write(arguments.out / f"train_{view}.pt", net, pairs, sum(map(len, sets)))


@torch.inference_mode()
def _write(
    path: Path, net: PersonNet, crops: Iterator[tuple[np.ndarray, np.ndarray]], total: int
) -> None:
    """Write the features of crops and their keypoints, unless the file is there."""
    if path.exists():
        return
    fine, coarse, keypoints = [], [], []
    pending: list[np.ndarray] = []
    for number, (image, points) in enumerate(crops, 1):
        pending.append(image)
        keypoints.append(points)
        if len(pending) == CHUNK or number == total:
            images = torch.from_numpy(np.stack(pending)).permute(0, 3, 1, 2)
            maps = net.trunk((images.float() - net.mean) / net.std)
            fine.append(maps[0].half().contiguous())
            coarse.append(maps[1].half().contiguous())
            pending = []
            print(f"{path.name}: {number} of {total}", file=sys.stderr, flush=True)
    torch.save([torch.cat(fine), torch.cat(coarse), torch.from_numpy(np.stack(keypoints))], path)


def build(kind: str, *, fresh: bool = False) -> PersonNet:
    """A network with the bundled trunk and an untrained head.

    Args:
        kind: one of `KINDS`.
        fresh: without the bundled joint maps.
    """
    net = BUILDERS[kind]()
    start_from(net, "mobile")
    if fresh:
        net.head = BUILDERS[kind]().head
        joint_maps = getattr(net.head, "heatmaps", None)
        if joint_maps is not None:  # few places are joints: the loss need not learn that
            torch.nn.init.constant_(joint_maps.out.bias, -4.0)
    return net.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def val_people(annotations: Annotations) -> list[ValPerson]:
    """Every annotated person of the validation photos whose box has an area."""
    people = []
    for record in annotations.records:
        for annotation in annotations.raw["annotations"]:
            if annotation["image_id"] == record.image_id:
                box = corners_of(annotation)
                if (box[2:] > box[:2]).all():
                    people.append(ValPerson(record, annotation, box, Transform.crop(box)))
    return people


@dataclasses.dataclass(frozen=True, eq=False)
class Validation:
    """The validation people: their features, and the way back to the photos."""

    features: Features
    people: list[ValPerson]
    truth: dict[str, Any]

    def similarity(self, net: PersonNet) -> float:
        """Mean OKS of the labelled people: how well joints are located, whatever the scores."""
        annotations = [person.annotation for person in self.people]
        true = np.stack([keypoints_of(annotation) for annotation in annotations])
        found = np.stack([keypoints_of(result) for result in self._results(net)])
        areas = np.array([area_of(annotation) for annotation in annotations])
        labelled = (true[..., 2] > 0).any(1)
        return float(oks(found[..., :2], true, areas)[labelled].mean())

    def figures(self, net: PersonNet) -> dict[str, float]:
        """Average precision in the annotated boxes with its 95 % interval.

        Unlike `similarity` it also depends on how well the scores rank people.
        """
        matches = metrics.match_results(self._results(net), self.truth)
        figures = metrics.summarise(matches)
        low, high = bootstrap(matches)["AP"]
        return {"AP": figures["AP"], "AP50": figures["AP50"], "low": low, "high": high}

    def _results(self, net: PersonNet) -> list[dict[str, Any]]:
        """One COCO result per person."""
        features = self.features.fine.float(), self.features.coarse.float()
        with torch.inference_mode():
            output = net.head(features, net.crop_wh)
        points, scores = output.points.double().numpy(), output.scores.double().numpy()
        results = []
        for i, person in enumerate(self.people):
            boxes = Boxes(person.box[None], np.ones(1))
            joints = points[i : i + 1], scores[i : i + 1]
            poses = to_poses(boxes, [person.transform], *joints, COCO)
            results += poses.to_coco(person.record.image_id)
        return results


def train(arguments: argparse.Namespace) -> None:
    """Sweep the learning rate of every head, and train each with three seeds at the best one."""
    files = sorted(arguments.out.glob("train_*.pt"))
    features = Features(*(torch.cat(parts) for parts in zip(*map(torch.load, files), strict=True)))
    val_features = Features(*torch.load(arguments.out / "val.pt"))
    if not arguments.fresh:
        features, val_features = to_maps(features), to_maps(val_features)
    annotations = read_annotations(*arguments.val)
    val = Validation(val_features, val_people(annotations), annotations.raw)
    path = arguments.out / ("curves_fresh.json" if arguments.fresh else "curves.json")
    runs: list[dict[str, Any]] = read_json(path, "curves") if path.exists() else []

    def done(**wanted: Any) -> dict[str, Any]:
        """The run of a kind, rate, seed and number of steps: an earlier one, or one made now."""
        for run in runs:
            if all(run[key] == value for key, value in wanted.items()):
                return run
        options = {"fresh": arguments.fresh, "batch_size": arguments.batch_size}
        run = fit(features, val, **wanted, **options, folder=arguments.out)
        runs.append(run)
        write_json(path, runs)
        print(json.dumps({key: value for key, value in run.items() if key != "curve"}), flush=True)
        return run

    for kind in KINDS:
        sweep = {}
        for rate in RATES:
            sweep[rate] = done(kind=kind, rate=rate, seed=0, steps=arguments.sweep_steps)["OKS"]
        best = max(RATES, key=lambda rate: sweep[rate])
        for seed in range(arguments.seeds):
            done(kind=kind, rate=best, seed=seed, steps=arguments.steps)
        if arguments.long:
            done(kind=kind, rate=best, seed=0, steps=arguments.long)


@torch.inference_mode()
def to_maps(features: Features) -> Features:
    """The features with the bundled joint maps, which never change, in place of the fine ones."""
    head = build("topdown_heatmap").get_submodule("head.heatmaps")
    maps = torch.cat([head(part.float()).half() for part in features.fine.split(CHUNK)])
    return dataclasses.replace(features, fine=maps)


def fit(
    features: Features,
    val: Validation,
    *,
    kind: str,
    rate: float,
    seed: int,
    steps: int,
    fresh: bool,
    batch_size: int,
    folder: Path,
) -> dict[str, Any]:
    """Train one head and, unless `fresh`, save the network.

    Returns:
        its settings, its last figures, and its curve of step, training loss and OKS.
    """
    torch.manual_seed(seed)
    net = build(kind, fresh=fresh)
    joint_maps = None if fresh else getattr(net.head, "heatmaps", None)
    if joint_maps is not None:
        net.head.heatmaps = torch.nn.Identity()  # the features are joint maps already
    start = time.perf_counter()
    curve = _optimise(net, features, val, rate=rate, steps=steps, batch_size=batch_size)
    figures = val.figures(net)
    if joint_maps is not None:
        net.head.heatmaps = joint_maps
    if not fresh:
        path = folder / f"{kind}_{rate:g}_{seed}_{steps}.safetensors"
        save_model(net, path, half=True, shared="mobile")
    about = {"kind": kind, "rate": rate, "seed": seed, "steps": steps}
    about["seconds"] = time.perf_counter() - start
    return {**about, **figures, "OKS": curve[-1]["OKS"], "curve": curve}


def _optimise(
    net: PersonNet, features: Features, val: Validation, *, rate: float, steps: int, batch_size: int
) -> list[dict[str, float]]:
    """Train the head; four points of the curve of step, mean loss since the last, and OKS."""
    criterion = PersonCriterion()
    optimizer = torch.optim.AdamW(net.head.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    mask = torch.ones((batch_size, net.crop_wh[1], net.crop_wh[0]), dtype=torch.bool)
    order = torch.randperm(len(features.fine)).repeat(steps * batch_size // len(features.fine) + 1)
    curve: list[dict[str, float]] = []
    recent: list[float] = []
    for step in range(1, steps + 1):
        chosen = order[(step - 1) * batch_size : step * batch_size]
        maps = features.fine[chosen].float(), features.coarse[chosen].float()
        output = net.head(maps, net.crop_wh)
        (loss,) = criterion(output, features.keypoints[chosen], mask).values()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if step % max(steps // 4, 1) == 0:
            curve.append({"step": step, "loss": float(np.mean(recent)), "OKS": val.similarity(net)})
            recent = []
    return curve


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    features = commands.add_parser("features", help="compute the features of all crops")
    add = features.add_argument
    add("--train", nargs=2, required=True, metavar=("FILE", "DIR"))
    add("--drawn", type=int, default=300, help="crops of drawn people")
    add("--views", type=int, default=3, help="of every person of the photos")
    features.set_defaults(run=extract)
    training = commands.add_parser("train", help="train the heads on them")
    add = training.add_argument
    add("--sweep-steps", type=int, default=60)
    add("--steps", type=int, default=200)
    add("--long", type=int, default=0, metavar="STEPS", help="of one more run at the best rate")
    add("--seeds", type=int, default=3)
    add("--batch-size", type=int, default=16)
    add("--fresh", action="store_true", help="train the joint maps too, from random weights")
    training.set_defaults(run=train)
    for command in (features, training):
        command.add_argument("--val", nargs=2, required=True, metavar=("FILE", "DIR"))
        command.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    arguments = parser.parse_args(words)
    torch.set_num_threads(1)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
