"""Annotated people on the move: carried along with an image, cut out and pasted into another."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from bottomup.data.copy_paste import body_shape
from bottomup.skeleton import COCO
from comparison.datasets import Entry, keypoints_of, person

MARGIN = 0.1  # of a turned person's extent, around its joints, for its box
FILL = 0.53  # share of its box that a person fills, where no area is given


def num_labelled(entry: Entry) -> int:
    """Labelled joints of a person who counts."""
    return 0 if entry.get("iscrowd") else int((keypoints_of(entry)[:, 2] > 0).sum())


def move_people(
    people: Sequence[Entry], matrix: Float[np.ndarray, "2 3"], wh: tuple[int, int]
) -> tuple[Entry, ...]:
    """People after a similarity; joints outside of the image lose their label, boxes are cut at its border."""
    moved = []
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    turned = abs(matrix[0, 1]) > 1e-9
    for entry in people:
        keypoints = keypoints_of(entry)
        keypoints[:, :2] = keypoints[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        inside = (keypoints[:, :2] >= -0.5).all(1) & (keypoints[:, :2] < np.array(wh) - 0.5).all(1)
        labelled = keypoints[:, 2] > 0
        x, y, wide, high = entry["bbox"]
        corners = np.array([[x, y], [x + wide, y], [x, y + high], [x + wide, y + high]])
        corners = corners @ matrix[:, :2].T + matrix[:, 2]
        if turned and labelled.any():  # a box around the turned box would be too large
            margin = MARGIN * np.ptp(keypoints[labelled, :2], axis=0).max()
            corners = np.concatenate(
                [keypoints[labelled, :2] - margin, keypoints[labelled, :2] + margin]
            )
        low, high_ = np.clip(corners.min(0), 0, wh), np.clip(corners.max(0), 0, wh)
        keypoints = keypoints * (inside & labelled)[:, None]
        area = entry.get("area") or FILL * wide * high
        moved.append(
            entry
            | person(keypoints, [*low, *(high_ - low)], area * scale**2)
            | {"iscrowd": entry.get("iscrowd", 0)}
        )
    return tuple(moved)


def hide_joints(entry: Entry, cover: np.ndarray) -> Entry:
    """Labelled joints under the cover become hidden ones."""
    keypoints = keypoints_of(entry)
    height, width = cover.shape
    x, y = np.clip(np.round(keypoints[:, :2]).astype(int), 0, (width - 1, height - 1)).T
    keypoints[:, 2] = np.where((keypoints[:, 2] > 0) & cover[y, x], 1, keypoints[:, 2])
    return entry | {"keypoints": [float(value) for value in keypoints.reshape(-1)]}


def paste_person(
    image: UInt8[np.ndarray, "H W 3"],
    source: UInt8[np.ndarray, "h w 3"],
    entry: Entry,
    middle: Float[np.ndarray, " 2"],
    height: float,
) -> tuple[Entry, Bool[np.ndarray, "H W"]]:
    """Paste a person into an image, in place. Its outline is guessed from its joints.

    Args:
        image: receives.
        source: the image that shows the person.
        entry: the person.
        middle: where the middle of its box goes.
        height: that its box gets, in pixels.

    Returns:
        the annotation, and which pixels of the image show the person.
    """
    box = np.array(entry["bbox"], float)
    factor = height / max(box[3], 1.0)
    matrix = np.column_stack([np.eye(2) * factor, middle - factor * (box[:2] + box[2:] / 2)])
    size = (image.shape[1], image.shape[0])
    moved = keypoints_of(entry)
    moved[:, :2] = moved[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    points = moved[moved[:, 2] > 0, :2]
    margin = 0.25 * np.ptp(points, axis=0).max() + 3  # limbs are thick
    x0, y0 = np.clip(points.min(0) - margin, 0, size).astype(int).tolist()
    x1, y1 = np.clip(points.max(0) + margin, 0, size).astype(int).tolist()
    cover = np.zeros(image.shape[:2], bool)
    if x0 < x1 and y0 < y1:
        window, corner = image[y0:y1, x0:x1], np.array([x0, y0])
        shape = body_shape(moved - (x0, y0, 0), COCO.edges, window.shape[:2])
        opacity = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 0.7)[..., None]
        local = np.column_stack([matrix[:, :2], matrix[:, 2] - corner])
        pasted = cv2.warpAffine(source, local, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR).astype(
            np.float32
        )
        window[:] = cv2.convertScaleAbs(window + opacity * (pasted - window))
        cover[y0:y1, x0:x1] = shape
    return move_people([entry], matrix, size)[0], cover
