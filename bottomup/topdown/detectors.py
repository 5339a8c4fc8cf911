"""Boxes of people, and our own detector of them."""

import dataclasses
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from bottomup.geometry import Transform
from bottomup.topdown.person_detector import BUILDERS, DetectorNet, read_centers
from bottomup.weights.store import load_network


@dataclasses.dataclass(frozen=True, eq=False)
class Boxes:
    """The people of one image as boxes; N may be 0.

    Attributes:
        boxes: (N, 4) x0, y0, x1, y1 in pixels of the image; they may reach beyond it.
        scores: (N,) one confidence per box.
    """

    boxes: Float[np.ndarray, "N 4"]
    scores: Float[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Any) -> "Boxes":
        """Some of the boxes: a slice, indices or a mask."""
        return Boxes(self.boxes[index], self.scores[index])

    def within(self, width: int, height: int) -> "Boxes":
        """The boxes that overlap an image of this size; boxes without an area do not."""
        x0, y0, x1, y1 = self.boxes.T
        is_box = np.isfinite(self.boxes).all(1) & (x1 > x0) & (y1 > y0)
        return self[is_box & (x0 < width) & (y0 < height) & (x1 > 0) & (y1 > 0)]


@runtime_checkable
class Detector(Protocol):
    """Finds the people of an image; the first half of a top-down method."""

    def __call__(self, image: UInt8[np.ndarray, "H W 3"], name: str, /) -> Boxes:
        """The boxes of one image.

        Args:
            image: RGB.
            name: of the image in its source, for detectors that look boxes up by it.
        """
        ...


class CenterDetector:
    """Our own detector.

    Args:
        weights: the name of weights, a file, or a network (which is moved to the device).
        device: to run on.
        min_score: boxes below it are left out.
        max_overlap: of two boxes that overlap by more than this (intersection over union) the
            better one stays.

    Raises:
        ValueError: the weights are of another kind of network, or cannot be used.
    """

    def __init__(
        self,
        weights: str | Path | DetectorNet = "person_detector",
        *,
        device: str | torch.device = "cpu",
        min_score: float = 0.1,
        max_overlap: float = 0.6,
    ) -> None:
        if not isinstance(weights, DetectorNet):
            weights = load_network(weights, BUILDERS)
        self.device = torch.device(device)
        self.net = weights.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.min_score, self.max_overlap = min_score, max_overlap

    @torch.inference_mode()
    def __call__(self, image: UInt8[np.ndarray, "H W 3"], name: str = "") -> Boxes:
        """The boxes of one image, the best first; the name is unused."""
        wanted = self.net.preprocessing
        transform = Transform.fit(
            image.shape[1::-1], wanted.size, side=wanted.side, multiple=wanted.multiple
        )
        batch = torch.from_numpy(transform.warp(image))[None].to(self.device)  # 1 H W 3
        boxes, scores = [], []
        for maps in self.net(batch.permute(0, 3, 1, 2)):
            found, score = read_centers(maps, min_score=self.min_score)[0]
            corners = found.cpu().numpy().astype(np.float64).reshape(-1, 2, 2)
            map_wh = (maps.center.shape[3], maps.center.shape[2])
            boxes.append(transform.to_image(corners, map_wh).reshape(-1, 4))
            scores.append(score.cpu().numpy().astype(np.float64))
        together = Boxes(np.concatenate(boxes), np.concatenate(scores))
        return together[suppress(together, self.max_overlap)]


def suppress(boxes: Boxes, max_overlap: float) -> Int[np.ndarray, " M"]:
    """Non-maximum suppression.

    Returns:
        indices of the boxes that stay, the best first.
    """
    order = np.argsort(-boxes.scores, kind="stable")
    low, high = np.split(boxes.boxes[order], 2, 1)
    area = (high - low).clip(min=0).prod(1)
    sides = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    shared = sides.clip(min=0).prod(2)
    overlap = shared / np.maximum(area[:, None] + area - shared, 1e-9)
    stays = np.ones(len(order), bool)
    for i in range(len(order)):
        stays[i + 1 :] &= (overlap[i, i + 1 :] <= max_overlap) | ~stays[i]
    return order[stays]
