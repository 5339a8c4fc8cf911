"""Copy-paste: people of one image put into another (Ghiasi et al., CVPR 2021).

It makes crowds that nobody photographed.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from bottomup.data.augment import average_down, keep_inside
from bottomup.data.people import box_around
from bottomup.data.samples import LabelledImage

MAX_BODY = 256.0  # pixels of a guessed outline's longer side; larger people are shrunk to it first


def paste_people(
    target: LabelledImage,
    donor: LabelledImage,
    outlines: Sequence[Bool[np.ndarray, "h w"] | None],
    edges: Sequence[tuple[int, int]],
    rng: np.random.Generator,
    *,
    max_people: int = 3,
) -> LabelledImage:
    """Paste one or more people of another image, each at a random size and position.

    Joints that they cover become hidden ones. Joints that fall outside lose their label.

    Args:
        target: the image that receives; it stays as it is.
        donor: the image that gives; it has at least one labelled person.
        outlines: the pixels of each of its people; None: guessed from the joints.
        edges: the skeleton's limbs.
        rng: the source of randomness.
        max_people: the largest number of people to paste.
    """
    image, mask = target.image.copy(), target.mask.copy()
    keypoints, boxes = target.keypoints.copy(), target.boxes
    wh = (mask.shape[1], mask.shape[0])
    for person in rng.permutation(len(donor.keypoints))[: rng.integers(1, max_people + 1)]:
        points, outline = donor.keypoints[person], outlines[person]
        if outline is None:
            outline = body_shape(points, edges, donor.mask.shape)
        matrix = _draw_matrix(points, wh, rng)
        covered = _paint(image, donor.image, outline, matrix)
        mask |= covered

        # labelled joints that are covered are hidden
        cells = np.round(keypoints[..., :2]).astype(int)
        x, y = np.clip(cells, 0, np.array(wh) - 1).transpose(2, 0, 1)
        keypoints[(keypoints[..., 2] > 0) & covered[y, x], 2] = 1

        # the person joins the others
        moved = (points[:, :2] @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
        keypoints = np.concatenate([keypoints, keep_inside(moved, points[:, 2:], wh)[None]])
        corners = donor.boxes[person].reshape(2, 2) @ matrix[:, :2].T + matrix[:, 2]
        boxes = np.concatenate([boxes, corners.reshape(1, 4)])
    return LabelledImage(image, keypoints, mask, boxes)


def _paint(
    image: UInt8[np.ndarray, "H W 3"],
    donor: UInt8[np.ndarray, "h w 3"],
    outline: Bool[np.ndarray, "h w"],
    matrix: Float[np.ndarray, "2 3"],
) -> Bool[np.ndarray, "H W"]:
    """Paint the donor's pixels inside an outline onto the image, and return where they cover it.

    Only the surroundings of the person are touched in either image: images may be far larger than
    people.
    """
    covered = np.zeros(image.shape[:2], bool)
    x, y, wide, high = cv2.boundingRect(outline.astype(np.uint8))
    cut_out = (slice(y, y + high), slice(x, x + wide))
    cut = np.dstack([donor[cut_out], outline[cut_out] * np.uint8(255)])  # colours, opacity

    # where the cut lands in the image, with a margin for the soft border
    corner = matrix[:, :2] @ (x, y) + matrix[:, 2]
    far = corner + matrix[:, :2] @ (wide, high)
    low, top = np.clip([np.floor(corner - 4), np.ceil(far + 4)], 0, image.shape[1::-1]).astype(int)
    if (low >= top).any() or cut.size == 0:
        return covered

    cut, matrix = average_down(cut, np.column_stack([matrix[:, :2], corner - low]))
    pasted = cv2.warpAffine(cut, matrix, (top - low).tolist(), flags=cv2.INTER_LINEAR)
    pixels, cover = pasted[..., :3], np.ascontiguousarray(pasted[..., 3])
    window = image[low[1] : top[1], low[0] : top[0]]
    opacity = cv2.GaussianBlur(cover, (0, 0), 1.0)[..., None].astype(np.float32) / 255
    window[:] = cv2.convertScaleAbs(window + opacity * (pixels.astype(np.float32) - window))
    covered[low[1] : top[1], low[0] : top[0]] = cover > 127
    return covered


def _draw_matrix(
    keypoints: Float[np.ndarray, "K 3"], wh: tuple[int, int], rng: np.random.Generator
) -> Float[np.ndarray, "2 3"]:
    """Map a person to a random position, 0.15 to 0.9 of the image's short side tall."""
    low, high = np.split(box_around(keypoints), 2)
    # enlarging by more than 2 would show
    factor = min(rng.uniform(0.15, 0.9) * min(wh) / max(float((high - low).max()), 8.0), 2.0)
    middle = (low + high) / 2
    return np.column_stack([np.eye(2) * factor, rng.uniform((0, 0), wh) - factor * middle])


def body_shape(
    keypoints: Float[np.ndarray, "K 3"], edges: Sequence[tuple[int, int]], shape: tuple[int, ...]
) -> Bool[np.ndarray, "h w"]:
    """Guess the pixels of a person: thick limbs, a disc at each joint, and the gaps between them.

    Large people are drawn smaller and enlarged: the cost of closing gaps grows with the fourth
    power of the size.

    Args:
        keypoints: (K, 3) at least one of them labelled.
        edges: the skeleton's limbs.
        shape: height and width of the image.
    """
    points, labelled = keypoints[:, :2], keypoints[:, 2] > 0
    factor = min(1.0, MAX_BODY / max(float(np.ptp(points[labelled], axis=0).max()), 1.0))
    height, width = (max(round(side * factor), 1) for side in shape)
    points = (points + 0.5) * (width / shape[1], height / shape[0]) - 0.5

    body = np.zeros((height, width), np.uint8)
    thickness = max(int(0.13 * np.ptp(points[labelled], axis=0).max()), 2)
    corners = np.round(points * 16).astype(int)  # in sixteenths of a pixel
    for a, b in edges:
        if labelled[a] and labelled[b]:
            cv2.line(body, corners[a].tolist(), corners[b].tolist(), 255, thickness, cv2.LINE_8, 4)
    for corner in corners[labelled]:
        cv2.circle(body, corner.tolist(), thickness * 8, 255, -1, cv2.LINE_8, 4)
    close = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * thickness + 1, 2 * thickness + 1))
    body = cv2.morphologyEx(body, cv2.MORPH_CLOSE, close)
    return cv2.resize(body, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR) > 127
