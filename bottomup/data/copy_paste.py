"""Copy-paste: people of one photo put into another, for crowds that nobody photographed (Ghiasi et al., CVPR 2021)."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool

from bottomup.data.sample import Sample


def paste_people(
    sample: Sample,
    donor: Sample,
    outlines: Sequence[Bool[np.ndarray, "h w"] | None],
    edges: Sequence[tuple[int, int]],
    rng: np.random.Generator,
    *,
    most: int = 3,
) -> Sample:
    """Paste one to `most` people of another photo at a random size and place; whoever they cover stays labelled.

    Joints that they cover become hidden ones; joints that fall outside lose their label.

    Args:
        sample: the photo that receives.
        donor: the photo that gives; it has at least one labelled person.
        outlines: which pixels each of its people has; None: guessed from the joints.
        edges: the skeleton's limbs.
        rng: the source of randomness.
        most: people to paste at most.
    """
    image, keypoints, mask = sample.image.copy(), [sample.keypoints.copy()], sample.mask.copy()
    height, width = mask.shape
    chosen = rng.permutation(len(donor.keypoints))[: rng.integers(1, most + 1)]
    for person in chosen:
        outline = outlines[person]
        shape = _body_shape(donor.keypoints[person], edges, donor.mask.shape) if outline is None else outline
        matrix = _place(donor.keypoints[person], (width, height), rng)
        cover = cv2.warpAffine(shape.astype(np.uint8) * 255, matrix, (width, height), flags=cv2.INTER_LINEAR)
        pasted = cv2.warpAffine(donor.image, matrix, (width, height), flags=cv2.INTER_LINEAR)
        opacity = cv2.GaussianBlur(cover, (0, 0), 1.0)[..., None].astype(np.float32) / 255
        image = cv2.convertScaleAbs(image + opacity * (pasted.astype(np.float32) - image))
        mask |= cover > 127
        for earlier in keypoints:
            _hide(earlier, cover > 127)
        keypoints.append(_carry(donor.keypoints[person], matrix, width, height)[None])
    return Sample(image, np.concatenate(keypoints), mask)


def _place(keypoints: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Where to: the person's middle at a random point of the image, 0.15 to 0.9 of its height tall."""
    points = keypoints[keypoints[:, 2] > 0, :2]
    extent = max(float(np.ptp(points, axis=0).max()), 8.0)
    factor = rng.uniform(0.15, 0.9) * min(size) / extent
    factor = float(np.clip(factor, 0.25, 2.0))
    middle = (points.min(0) + points.max(0)) / 2
    target = rng.uniform((0, 0), size)
    return np.column_stack([np.eye(2) * factor, target - factor * middle])


def _carry(keypoints: np.ndarray, matrix: np.ndarray, width: int, height: int) -> np.ndarray:
    moved = keypoints.copy()
    moved[:, :2] = moved[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    inside = (moved[:, :2] >= -0.5).all(1) & (moved[:, :2] < (width - 0.5, height - 0.5)).all(1)
    return (moved * (inside & (keypoints[:, 2] > 0))[:, None]).astype(np.float32)


def _hide(keypoints: np.ndarray, cover: np.ndarray) -> None:
    """Labelled joints under the cover become hidden ones."""
    height, width = cover.shape
    x, y = np.clip(np.round(keypoints[..., :2]).astype(int), 0, (width - 1, height - 1)).transpose(2, 0, 1)
    keypoints[..., 2] = np.where((keypoints[..., 2] > 0) & cover[y, x], 1, keypoints[..., 2])


def _body_shape(keypoints: np.ndarray, edges: Sequence[tuple[int, int]], shape: tuple[int, ...]) -> np.ndarray:
    """Thick limbs, a disc at every joint and the hull of the whole upper body: a person where nobody drew one."""
    body = np.zeros(shape, np.uint8)
    there = keypoints[:, 2] > 0
    points = keypoints[:, :2]
    thickness = max(int(0.13 * np.ptp(points[there], axis=0).max()), 2)
    corners = np.round(points * 16).astype(int)
    for a, b in edges:
        if there[a] and there[b]:
            cv2.line(body, corners[a].tolist(), corners[b].tolist(), 1, thickness, cv2.LINE_8, 4)
    for corner in corners[there]:
        cv2.circle(body, corner.tolist(), thickness * 8, 1, -1, cv2.LINE_8, 4)
    close = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * thickness + 1, 2 * thickness + 1))
    return cv2.morphologyEx(body, cv2.MORPH_CLOSE, close) > 0
