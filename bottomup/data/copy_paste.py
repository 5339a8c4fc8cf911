"""Copy-paste: people of one photo put into another, for crowds that nobody photographed (Ghiasi et al., CVPR 2021)."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool

from bottomup.data.augment import average_down
from bottomup.data.samples import Sample

LARGEST_BODY = (
    256.0  # pixels of a guessed outline's longer side; larger people are guessed at this size
)


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
        shape = (
            body_shape(donor.keypoints[person], edges, donor.mask.shape)
            if outline is None
            else outline
        )
        matrix = _place(donor.keypoints[person], (width, height), rng)
        covered = np.zeros((height, width), bool)
        _paint(image, covered, donor.image, shape, matrix)
        mask |= covered
        for earlier in keypoints:
            _hide(earlier, covered)
        keypoints.append(_carry(donor.keypoints[person], matrix, width, height)[None])
    return Sample(image, np.concatenate(keypoints), mask)


def _paint(
    image: np.ndarray, covered: np.ndarray, donor: np.ndarray, shape: np.ndarray, matrix: np.ndarray
) -> None:
    """Paint the donor's pixels inside `shape` onto the image, and mark where they hide it.

    Only the person's own surroundings are touched, in either photo: photos may be far larger than
    people.
    """
    x, y, wide, high = cv2.boundingRect(shape.astype(np.uint8))
    cut = np.dstack(
        [donor[y : y + high, x : x + wide], shape[y : y + high, x : x + wide] * np.uint8(255)]
    )
    corner = matrix[:, :2] @ (x, y) + matrix[:, 2]  # of the cut, in the image
    size = (image.shape[1], image.shape[0])
    low = np.clip(np.floor(corner - 4), 0, size).astype(int)  # a margin for the soft border
    top = np.clip(np.ceil(corner + matrix[:, :2] @ (wide, high) + 4), 0, size).astype(int)
    if (low >= top).any() or cut.size == 0:
        return
    cut, matrix = average_down(cut, np.column_stack([matrix[:, :2], corner - low]))
    pasted = cv2.warpAffine(cut, matrix, (top - low).tolist(), flags=cv2.INTER_LINEAR)
    pixels, cover = pasted[..., :3], np.ascontiguousarray(pasted[..., 3])
    window = image[low[1] : top[1], low[0] : top[0]]
    opacity = cv2.GaussianBlur(cover, (0, 0), 1.0)[..., None].astype(np.float32) / 255
    window[:] = cv2.convertScaleAbs(window + opacity * (pixels.astype(np.float32) - window))
    covered[low[1] : top[1], low[0] : top[0]] = cover > 127


def _place(keypoints: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Where to: the person's middle at a random point of the image, 0.15 to 0.9 of its short side tall."""
    points = keypoints[keypoints[:, 2] > 0, :2]
    extent = max(float(np.ptp(points, axis=0).max()), 8.0)
    factor = min(rng.uniform(0.15, 0.9) * min(size) / extent, 2.0)  # what is enlarged more looks it
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
    x, y = np.clip(np.round(keypoints[..., :2]).astype(int), 0, (width - 1, height - 1)).transpose(
        2, 0, 1
    )
    keypoints[..., 2] = np.where((keypoints[..., 2] > 0) & cover[y, x], 1, keypoints[..., 2])


def body_shape(
    keypoints: np.ndarray, edges: Sequence[tuple[int, int]], shape: tuple[int, ...]
) -> np.ndarray:
    """Thick limbs, a disc at every joint and the hull of the whole upper body: a person where nobody drew one.

    Large people are drawn at a smaller size and enlarged: the cost of closing gaps grows with the
    fourth power.
    """
    there = keypoints[:, 2] > 0
    points = keypoints[:, :2]
    factor = min(1.0, LARGEST_BODY / max(float(np.ptp(points[there], axis=0).max()), 1.0))
    height, width = (max(round(side * factor), 1) for side in shape)
    points = (points + 0.5) * (width / shape[1], height / shape[0]) - 0.5
    body = np.zeros((height, width), np.uint8)
    thickness = max(int(0.13 * np.ptp(points[there], axis=0).max()), 2)
    corners = np.round(points * 16).astype(int)
    for a, b in edges:
        if there[a] and there[b]:
            cv2.line(body, corners[a].tolist(), corners[b].tolist(), 255, thickness, cv2.LINE_8, 4)
    for corner in corners[there]:
        cv2.circle(body, corner.tolist(), thickness * 8, 255, -1, cv2.LINE_8, 4)
    close = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * thickness + 1, 2 * thickness + 1))
    body = cv2.morphologyEx(body, cv2.MORPH_CLOSE, close)
    return cv2.resize(body, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR) > 127
