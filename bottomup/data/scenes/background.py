"""Backgrounds of drawn crowds: cloudy textures and clutter, some of it like limbs."""

import cv2
import numpy as np
from jaxtyping import UInt8

from bottomup.data.scenes.body import SKIN_TONES

Image = UInt8[np.ndarray, "H W 3"]


def draw_background(rng: np.random.Generator, width: int, height: int) -> Image:
    """A textured, cluttered image without people."""
    image = _clouds(rng, width, height)
    for _ in range(rng.integers(2, 26)):
        _draw_thing(rng, image)
    if rng.random() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.5))
    grain = rng.integers(-12, 13, (height // 2 + 1, width // 2 + 1, 1), np.int16)
    return np.clip(
        image + grain.repeat(2, 0).repeat(2, 1)[:height, :width] * rng.uniform(0, 1), 0, 255
    ).astype(np.uint8)


def _clouds(rng: np.random.Generator, width: int, height: int) -> Image:
    """Noise of several wavelengths between two colours, over a gradient."""
    total = np.zeros((height, width, 3), np.float32)
    strength = rng.uniform(10, 60)
    for cells in (2, 5, 13, 40):
        shape = (cells, cells, 3 if rng.random() < 0.5 else 1)
        noise = rng.standard_normal(shape, np.float32) * strength
        total += np.atleast_3d(cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR))
        strength *= rng.uniform(0.4, 0.8)
    colours = rng.uniform(20, 230, (2, 3)).astype(np.float32)
    top, bottom = colours + (colours.mean(1, keepdims=True) - colours) * rng.uniform(0.3, 1)
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    return np.clip(total + top + (bottom - top) * ramp, 0, 255).astype(np.uint8)


def _draw_thing(rng: np.random.Generator, image: Image) -> None:
    """Draw a box, a pole, a ball or something like a limb, somewhere in the image."""
    height, width = image.shape[:2]
    colour = tuple((rng.uniform(0, 255) + rng.uniform(-80, 80, 3)).clip(0, 255).tolist())
    x, y = rng.uniform((0, 0), (width, height))
    long = np.exp(rng.uniform(np.log(6), np.log(0.7 * max(width, height))))
    short = rng.uniform(0.08, 0.6)  # of the length
    kind, angle = rng.integers(4), rng.uniform(0, 360)
    if kind == 0:
        corners = cv2.boxPoints(((x, y), (long, long * short), angle * (rng.random() < 0.5)))
        cv2.fillConvexPoly(image, np.round(corners).astype(np.int32), colour, cv2.LINE_AA)
    elif kind < 3:
        thickness = -1 if kind == 1 else int(rng.integers(1, 6))  # -1 fills it
        cv2.ellipse(image, ((x, y), (long, long * short), angle), colour, thickness, cv2.LINE_AA)
    else:
        skin = SKIN_TONES[rng.integers(len(SKIN_TONES))] * rng.uniform(0.6, 1.1)
        tone = skin.tolist() if rng.random() < 0.5 else colour
        long = min(long, 60)
        end = (int(x + np.cos(angle) * long), int(y + np.sin(angle) * long))
        thickness = max(int(long * short * 0.6), 1)
        cv2.line(image, (int(x), int(y)), end, tone, thickness, cv2.LINE_AA)
