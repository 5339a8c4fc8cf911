"""MediaPipe Pose (Google, Apache-2.0), version 0.10.21: one person, by a detector and 33 landmarks.

Its environment, in a new folder (Python 3.10 to 3.12):

    python3.11 -m venv mediapipe && mediapipe/bin/pip install mediapipe==0.10.21

The "full" model comes with it; MediaPipe downloads "lite" and "heavy" when they are first used.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any

import contract
import numpy as np

COMPLEXITY = {"lite": 0, "full": 1, "heavy": 2}
COCO = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""Of the 33 landmarks, those of COCO's joints, in COCO's order."""


def person(landmarks: np.ndarray, wh: tuple[int, int]) -> contract.Person:
    """A person from landmarks.

    Args:
        landmarks: (33, 3) x and y as shares of the sides of the image, visibility.
        wh: width and height of the image.
    """
    chosen = landmarks[list(COCO)]
    places = chosen[:, :2] * wh - 0.5  # shares take pixels for squares
    return np.column_stack([places, chosen[:, 2]]), float(chosen[:, 2].mean())


def prepare(arguments: argparse.Namespace) -> contract.Peer:
    os.environ.setdefault("GLOG_minloglevel", "2")  # no report of every start
    contract.keep_to(arguments.threads)
    mediapipe = contract.require("mediapipe", "mediapipe==0.10.21")
    if not hasattr(getattr(mediapipe, "solutions", None), "pose"):
        raise contract.UnavailableError(
            f"mediapipe {mediapipe.__version__} has no solutions.pose; install 0.10.21"
        )
    try:
        network = mediapipe.solutions.pose.Pose(
            static_image_mode=True,
            model_complexity=COMPLEXITY[arguments.model],
            min_detection_confidence=arguments.threshold,
        )
    except (OSError, RuntimeError) as error:  # no network to download the model from
        raise contract.UnavailableError(
            f"the model {arguments.model} cannot be had ({error}); use --model full"
        ) from error

    def find(
        image: np.ndarray, entry: Mapping[str, Any], watch: contract.Stopwatch
    ) -> list[contract.Person]:
        with watch("pose"):
            landmarks = network.process(image).pose_landmarks
        if landmarks is None:
            return []
        rows = np.array([[mark.x, mark.y, mark.visibility] for mark in landmarks.landmark])
        return [person(rows, (image.shape[1], image.shape[0]))]

    return contract.Peer(find, arguments.model, runtime={"mediapipe": mediapipe.__version__})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", default="full", choices=COMPLEXITY, help="(full)")
    add("--threshold", type=float, default=0.5, metavar="SCORE", help="of the detector (0.5)")


if __name__ == "__main__":
    sys.exit(contract.main("mediapipe_pose", __doc__, prepare, add_arguments=add_arguments))
