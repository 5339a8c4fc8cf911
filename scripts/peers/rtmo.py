"""RTMO (Lu et al., CVPR 2024): one stage.

Source: "RTMO: Towards High-Performance One-Stage Real-Time Multi-Person Pose Estimation".

Its environment, in a new folder:

    python3 -m venv rtmo && rtmo/bin/pip install onnxruntime numpy opencv-python-headless

Its weights: an ONNX file as MMDeploy exports it (outputs dets and keypoints), by --model FILE.onnx.
"""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

import contract
import frames
import numpy as np
import onnx_model

FILL = 114  # around the image, as in training


def people(
    boxes: np.ndarray, keypoints: np.ndarray, window: frames.Window, *, threshold: float
) -> list[contract.Person]:
    """Read the outputs of the network, which has suppressed duplicates itself.

    Args:
        boxes: (N, 5) box in pixels of the input, score.
        keypoints: (N, 17, 3) x, y in pixels of the input, score.
        window: the input of the network.
        threshold: people below it are left out.

    Raises:
        ValueError: the outputs have other shapes.
    """
    if boxes.ndim != 2 or boxes.shape[1] != 5 or keypoints.shape != (len(boxes), 17, 3):
        raise ValueError(
            "expected are N x 5 boxes and N x 17 x 3 joints, "
            f"not {boxes.shape} and {keypoints.shape}"
        )
    return [
        (np.column_stack([window.to_image(joints[:, :2]), joints[:, 2]]), float(box[4]))
        for box, joints in zip(boxes, keypoints, strict=True)
        if box[4] >= threshold
    ]


def prepare(arguments: argparse.Namespace) -> contract.Peer:
    network = onnx_model.OnnxModel(arguments, num_outputs=2)

    def find(
        image: np.ndarray, entry: Mapping[str, Any], watch: contract.Stopwatch
    ) -> list[contract.Person]:
        with watch("read"):
            window = frames.fit(image, network.wh, fill=FILL, centred=False)
            pixels = window.pixels[:, :, ::-1].astype(np.float32)  # blue, green, red from 0 to 255
        with watch("pose"):
            outputs = network(pixels)
        with watch("group"):
            boxes, keypoints = sorted(outputs, key=lambda output: output.ndim)
            return people(boxes, keypoints, window, threshold=arguments.threshold)

    return contract.Peer(find, arguments.model.stem, runtime={"onnxruntime": network.version})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    onnx_model.add_arguments(parser)
    add = parser.add_argument
    add("--threshold", type=float, default=0.05, metavar="SCORE", help="of a person (0.05)")


if __name__ == "__main__":
    sys.exit(contract.main("rtmo", __doc__, prepare, add_arguments=add_arguments))
