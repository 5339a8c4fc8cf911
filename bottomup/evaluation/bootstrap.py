"""Bootstrap intervals: how far figures would move on other images of the same kind."""

import numpy as np
from jaxtyping import Float

from bottomup.evaluation.keypoints import Matches, summarise


def bootstrap(
    matches: Matches, *, num_samples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """The interval of each figure over samples of the images.

    Args:
        matches: what `match_results` returned.
        num_samples: how many samples are drawn.
        confidence: the share of the samples that each interval holds.
        seed: of the drawing; the same seed gives the same intervals.

    Returns:
        (low, high) for each figure of `summarise`, see `percentile_interval`.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    samples = [
        summarise(matches, weights)
        for weights in draw_images(len(matches.image_ids), num_samples, seed=seed)
    ]
    return {
        name: percentile_interval(np.array([sample[name] for sample in samples]), confidence)
        for name in samples[0]
    }


def draw_images(num_images: int, num_samples: int, *, seed: int = 0) -> Float[np.ndarray, "S I"]:
    """Samples of as many images as there are, drawn with replacement.

    Returns:
        (S, I) how often each image is in each sample; the same for the same arguments.
    """
    shares = np.full(num_images, 1 / num_images)
    draws = np.random.default_rng(seed).multinomial(num_images, shares, size=num_samples)
    return draws.astype(float)


def percentile_interval(
    values: Float[np.ndarray, " S"], confidence: float = 0.95
) -> tuple[float, float]:
    """The middle `confidence` of the values, as (low, high).

    NaN, the figure of a sample with nobody to find, is left out. The interval of NaN alone is NaN.
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return np.nan, np.nan
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
