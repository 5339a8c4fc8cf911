"""YOLO with pose heads, in an ONNX file: YOLOv8-pose, YOLO11-pose, all that have their outputs.

Its environment, in a new folder:

    python3 -m venv yolo && yolo/bin/pip install onnxruntime numpy opencv-python-headless

Its weights: an ONNX file, by --model FILE.onnx. Mind the licence: the weights of Ultralytics are
under the AGPL.
"""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

import boxes
import contract
import frames
import numpy as np
import onnx_model

FILL = 114  # around the image, as in training
NUM_JOINT_VALUES = 17 * 3


def people(
    output: np.ndarray, window: frames.Window, *, threshold: float, overlap: float
) -> list[contract.Person]:
    """Read the output of the network.

    Args:
        output: (56, N) centre, width and height of the box, score, 17 times x, y, score. From a
            network that suppresses duplicates itself: (N, 57) corners of the box, score, class, 17
            times x, y, score.
        window: the input of the network; boxes and joints are in its pixels.
        threshold: people below it are left out.
        overlap: intersection over union of boxes above which two results are one person.

    Raises:
        ValueError: the output has another shape.
    """
    if output.ndim == 2 and output.shape[1] == 6 + NUM_JOINT_VALUES:
        rows = output[output[:, 4] >= threshold]
        rows = rows[rows[:, 5] == 0]  # class 0 is a person
        joints = rows[:, 6:]
    elif output.ndim == 2 and output.shape[0] == 5 + NUM_JOINT_VALUES:
        rows = output.T[output[4] >= threshold]
        half = rows[:, 2:4] / 2
        corners = np.hstack([rows[:, :2] - half, rows[:, :2] + half])
        rows = rows[boxes.suppress(corners, rows[:, 4], overlap=overlap)]
        joints = rows[:, 5:]
    else:
        shape = " x ".join(map(str, output.shape))
        raise ValueError(f"expected are 56 x N or N x 57 values for 17 joints, not {shape}")
    joints = joints.reshape(-1, 17, 3)
    places = window.to_image(joints[..., :2])
    keypoints = np.concatenate([places, joints[..., 2:]], 2)
    return list(zip(keypoints, map(float, rows[:, 4]), strict=True))


def prepare(arguments: argparse.Namespace) -> contract.Peer:
    network = onnx_model.OnnxModel(arguments, num_outputs=1)

    def find(
        image: np.ndarray, entry: Mapping[str, Any], watch: contract.Stopwatch
    ) -> list[contract.Person]:
        with watch("read"):
            window = frames.fit(image, network.wh, fill=FILL)
            pixels = window.pixels.astype(np.float32) / 255
        with watch("pose"):
            (output,) = network(pixels)
        with watch("group"):
            return people(output, window, threshold=arguments.threshold, overlap=arguments.overlap)

    return contract.Peer(find, arguments.model.stem, runtime={"onnxruntime": network.version})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    onnx_model.add_arguments(parser)
    add = parser.add_argument
    add("--threshold", type=float, default=0.05, metavar="SCORE", help="of a person (0.05)")
    overlap = "above which two boxes are one person (0.7)"
    add("--overlap", type=float, default=0.7, metavar="IOU", help=overlap)


if __name__ == "__main__":
    sys.exit(contract.main("yolo_pose", __doc__, prepare, add_arguments=add_arguments))
