"""Labels to targets, and targets to people: what a perfect network of each recipe would reach."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bottomup.data.drawings import DrawnEvaluation
from bottomup.data.samples import Batch
from bottomup.data.scenes.crowd import Crowd
from bottomup.method import targets
from bottomup.method.voting_losses import person_boxes
from bottomup.models.center_voting import DenseMaps
from bottomup.models.heads import HeadOutput
from bottomup.topdown.person_net import PersonNet, PersonOutput, read_maximum, to_crop
from bottomup.training.estimator import Estimator
from tests.support.recipes import make_recipe
from tests.support.still_samples import crops, whole_images
from tests.support.training_runs import LIGHTNING

pytestmark = LIGHTNING

SIZE = 256
CROWD = Crowd(SIZE, SIZE, people=(1, 3), sizes=(64.0, 160.0), overlap=0.0, truncation=0.0)
IMAGES = DrawnEvaluation(CROWD, 24)


def perfect(
    estimator: Estimator, batch: Batch, monkeypatch: pytest.MonkeyPatch, **rule: Any
) -> Any:
    """What a network says whose heatmaps are the targets of its criterion, and all else is true.

    Args:
        estimator: with network and criterion.
        batch: the labels.
        monkeypatch: to see the targets.
        rule: arguments of `render_heatmaps` in place of the criterion's.
    """
    drawn, render = [], targets.render_heatmaps

    def seen(*arguments: Any, **options: Any) -> Tensor:
        drawn.append(render(*arguments, **(options | rule)))
        return drawn[-1]

    with torch.no_grad():
        outputs = estimator.network.eval()(batch.image)
    with monkeypatch.context() as patched:
        patched.setattr(targets, "render_heatmaps", seen)
        estimator.criterion(outputs, batch.keypoints, batch.mask, batch.boxes)
    maps = [heat for heat in drawn if heat.shape[1] > 1]  # not those of centres
    if isinstance(outputs, PersonOutput):
        points, scores = read_maximum(maps[0])
        return PersonOutput(to_crop(points, maps[0], estimator.network.crop_wh), scores, maps[0])
    if isinstance(outputs[0], HeadOutput):
        has_tags = [output.tags is not None for output in outputs]
        tags = [tags_of(batch, heat.shape[2:]) for heat in maps]
        return [
            HeadOutput(heat, tag if has else None)
            for heat, tag, has in zip(maps, tags, has_tags, strict=True)
        ]
    fine = maps.pop(1) if outputs[0].fine_heatmaps is not None else None
    scales = [true_votes(batch, heat) for heat in maps]
    return [scales[0]._replace(fine_heatmaps=None if fine is None else logits(fine)), *scales[1:]]


def tags_of(batch: Batch, size: torch.Size) -> Tensor:
    """B K 1 h w: every cell is of the person whose joint is the nearest."""
    points = targets.to_cells(batch.keypoints, batch.mask.shape[1:], size).transpose(1, 2)  # B K N
    places = torch.stack(torch.meshgrid(*map(torch.arange, size), indexing="ij")[::-1], dim=2)
    distances = torch.cdist(
        places.reshape(-1, 2).float().expand(*points.shape[:2], -1, -1), points[..., :2]
    )
    distances = distances.masked_fill(points[..., None, :, 2] <= 0, torch.inf)  # B K hw N
    return 10.0 * distances.argmin(3).unflatten(2, size)[:, :, None].float()


def true_votes(batch: Batch, heat: Tensor) -> DenseMaps:
    """True centres and displacements beside some heatmaps."""
    size = heat.shape[2:]
    people = targets.to_cells(batch.keypoints, batch.mask.shape[1:], size)
    middle, sides = person_boxes(people * (people[..., 2:] > 0))
    center = torch.full((len(heat), 1, *size), 1e-4)
    displacements = torch.zeros(len(heat), 2 * heat.shape[1], *size)
    box_size = torch.zeros(len(heat), 2, *size)
    for b, n in (people[..., 2] > 0).any(2).nonzero().tolist():
        x, y = middle[b, n].long().tolist()
        away = people[b, n, :, :2] - torch.tensor([x, y]) - 0.5
        center[b, 0, y, x] = 0.9
        displacements[b, :, y, x] = away.flip(1).reshape(-1)
        box_size[b, :, y, x] = 1.2 * sides[b, n].max()
    return DenseMaps(logits(center), logits(heat), displacements, box_size)


def logits(heat: Tensor) -> Tensor:
    return heat.clamp(1e-4, 1 - 1e-4).logit()


def round_trip(
    name: str, monkeypatch: pytest.MonkeyPatch, *, offset: float | None = None, **rule: Any
) -> float:
    """AP of perfect outputs, found and placed as in a validation of a recipe."""
    network: dict[str, Any] = {"height" if name.startswith("topdown") else "input_size": SIZE}
    if offset is not None:
        network["keypoint_offset"] = offset
    estimator, _ = make_recipe(name, **network)
    trainer = SimpleNamespace(datamodule=SimpleNamespace(evaluation_set=IMAGES))
    estimator.trainer = trainer  # type: ignore[assignment]
    at_once = 1 if isinstance(estimator.network, PersonNet) else 8
    for indices in np.arange(len(IMAGES)).reshape(-1, at_once).tolist():
        if isinstance(estimator.network, PersonNet):
            labels = crops(IMAGES, indices, SIZE)
        else:
            labels = whole_images(IMAGES, indices)
        said = perfect(estimator, labels, monkeypatch, **rule)
        with monkeypatch.context() as patched:
            patched.setattr(estimator.network, "forward", lambda _, said=said: said)
            estimator.validation_step([IMAGES[n] for n in indices], 0)
    truth = IMAGES.ground_truth(set(range(1, len(IMAGES) + 1)))
    return estimator.evaluate(estimator.found, truth)["AP"]


@pytest.mark.parametrize(
    "recipe", ["mobile_coco", "custom_keypoints", "mobile_multiresolution_coco"]
)
def test_targets_at_exact_positions_lose_little_at_stride_4(recipe, monkeypatch):
    assert round_trip(recipe, monkeypatch) > 0.97


@pytest.mark.parametrize("recipe", ["synthetic", "topdown_heatmap"])
def test_other_targets_at_exact_positions_lose_nothing(recipe, monkeypatch):
    assert round_trip(recipe, monkeypatch) > 0.995


def test_truncated_positions_would_cost_5_points_at_stride_4(monkeypatch):
    assert round_trip("mobile_coco", monkeypatch, exact=False) < 0.94


@pytest.mark.slow
def test_the_published_rule_costs_10_points_at_stride_4_alone(monkeypatch):
    """So HigherHRNet predicts at stride 2 as well."""
    assert 0.87 < round_trip("hrnet_w32_ae_coco", monkeypatch) < 0.91
    assert round_trip("higherhrnet_w32_coco", monkeypatch) > 0.99


def test_the_offset_of_a_network_is_taken_off_its_targets(monkeypatch):
    """Any offset fits: the same people are found."""
    assert round_trip("mobile_coco", monkeypatch, offset=-1.0) > 0.97
    # joints within a pixel of the border are lost
    assert round_trip("synthetic", monkeypatch, offset=1.0) > 0.99
