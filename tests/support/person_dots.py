"""A network for one person that sees the coloured dots of `tests.support.dots`, and a detector."""

import numpy as np
import torch
from torch import Tensor, nn

from bottomup.models.network import Recipe
from bottomup.topdown.detectors import Boxes
from bottomup.topdown.person_net import PersonNet, PersonOutput, read_maximum, to_crop
from tests.support.dots import DOTS


class _Shrink(nn.Module):
    """Mean colours, brought back to 0..1, of 4 x 4 pixels."""

    def forward(self, crops: Tensor) -> Tensor:
        return nn.functional.avg_pool2d((crops + 1) / 2, 4)


class _Head(nn.Module):
    """Heat is colour."""

    def forward(self, heatmaps: Tensor, crop_wh: tuple[int, int]) -> PersonOutput:
        points, scores = read_maximum(heatmaps)
        return PersonOutput(to_crop(points, heatmaps, crop_wh), scores, heatmaps)


def dot_person_net() -> PersonNet:
    recipe = Recipe("none", {})
    return PersonNet(_Shrink(), _Head(), skeleton=DOTS, height=256, recipe=recipe).eval()


def boxes_around(people: np.ndarray, margin: float) -> Boxes:
    """A box around the joints (N, 3, 2) of each person, the first one the surest."""
    low, high = people.min(1) - margin, people.max(1) + margin
    return Boxes(
        np.concatenate([low, high], 1).astype(np.float64), 1 - 0.1 * np.arange(len(people))
    )


class KnownBoxes:
    """A detector that was told."""

    def __init__(self, boxes: Boxes):
        self.boxes = boxes

    def __call__(self, image: np.ndarray, name: str, /) -> Boxes:
        return self.boxes


@torch.no_grad()
def constant_(module: nn.Module, value: float) -> None:
    """Fill all weights."""
    for parameter in module.parameters():
        parameter.fill_(value)
