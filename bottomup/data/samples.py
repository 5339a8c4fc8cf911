"""One labelled image, and a batch of them: image, keypoints and mask, nothing else."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor


class Sample(NamedTuple):
    """One labelled image.

    Attributes:
        image: (H, W, 3) RGB.
        keypoints: (N, K, 3) x, y in pixels of the image, and visibility: 0 not labelled, 1 hidden,
            2 visible.
        mask: (H, W) False where nobody says what is there: crowds, people without keypoints.
    """

    image: UInt8[np.ndarray, "H W 3"]
    keypoints: Float[np.ndarray, "N K 3"]
    mask: Bool[np.ndarray, "H W"]


class Batch(NamedTuple):
    """Samples of one size, stacked; images with fewer people are filled up with rows of zeros."""

    image: UInt8[Tensor, "B 3 H W"]
    keypoints: Float[Tensor, "B N K 3"]
    mask: Bool[Tensor, "B H W"]


def collate(samples: list[Sample]) -> Batch:
    """Stack samples of equal size."""
    most = max(len(sample.keypoints) for sample in samples)
    num_keypoints = samples[0].keypoints.shape[1]
    keypoints = np.zeros((len(samples), most, num_keypoints, 3), np.float32)
    for row, sample in zip(keypoints, samples, strict=True):
        row[: len(sample.keypoints)] = sample.keypoints
    return Batch(
        torch.from_numpy(np.stack([sample.image.transpose(2, 0, 1) for sample in samples])),
        torch.from_numpy(keypoints),
        torch.from_numpy(np.stack([sample.mask for sample in samples])),
    )
