"""A network without weights that sees coloured dots, to check the way from image to people.

A red, a green and a blue dot in about the same column of the picture are the joints of one person.
"""

import numpy as np
import torch
from torch import Tensor, nn

from bottomup import Skeleton
from bottomup.models.heads import HeadOutput
from bottomup.models.network import Preprocessing
from bottomup.models.pose_net import PoseNet

DOTS = Skeleton(("red", "green", "blue"), ((0, 1), (1, 2)), (0.05, 0.05, 0.05), (0, 1, 2))
TAGS = 8.0  # from the left border of the network's input to the right one


class _Shrink(nn.Module):
    """Mean colours of 4 x 4 pixels."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, 4)


class _Head(nn.Module):
    """Heat is colour; the tag says how far to the right."""

    def forward(self, features: Tensor) -> list[HeadOutput]:
        column = torch.linspace(0, TAGS, features.shape[3], device=features.device)  # w
        tags = column.expand_as(features)[:, :, None]  # B K 1 h w
        return [HeadOutput(features, tags.contiguous())]

    def read(self, outputs: list[HeadOutput]) -> list[HeadOutput]:
        return outputs


def dot_net(
    *, input_size: int = 256, size_multiple: int = 32, keypoint_offset: float = 0.0
) -> PoseNet:
    return PoseNet(
        _Shrink(),
        _Head(),
        skeleton=DOTS,
        preprocessing=Preprocessing(
            input_size, "long", size_multiple, (0.0,) * 3, (255.0,) * 3, keypoint_offset
        ),
    ).eval()


def picture(wh: tuple[int, int], people: np.ndarray, *, sigma: float | None = None) -> np.ndarray:
    """(H, W, 3) with the joints (N, 3, 2) as dots; their width suits an input of 256 pixels."""
    sigma = sigma or 6 * max(wh) / 256
    xs, ys = np.arange(wh[0]), np.arange(wh[1])
    canvas = np.zeros((wh[1], wh[0], 3))
    for person in people:
        for joint, (x, y) in enumerate(person):
            dot = np.exp(-((ys - y)[:, None] ** 2 + (xs - x)[None] ** 2) / (2 * sigma**2))
            canvas[..., joint] = np.maximum(canvas[..., joint], dot)
    return np.round(255 * canvas).astype(np.uint8)


def crowd(wh: tuple[int, int], num_people: int, rng: np.random.Generator) -> np.ndarray:
    """(N, 3, 2) joints of at most 4 people side by side, the first one at the left."""
    people = (np.arange(4)[:num_people, None] + 0.5) / 4 + rng.uniform(
        -0.015, 0.015, (num_people, 3)
    )
    return np.stack([people * wh[0], rng.uniform(0.2, 0.8, (num_people, 3)) * wh[1]], axis=2)
