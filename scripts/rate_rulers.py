"""What AP people reach on drawn crowds if all of them are found, with given errors of their joints.

    python scripts/rate_rulers.py [configs/synthetic.yaml]

A figure on these drawings means little by itself: it also measures how small and how hidden the
people are. Every row moves each joint of every labelled person by a given distance in a random
direction, and evaluates the result against the labels of the recipe's evaluation set.

    AP, AP50     as in `bottomup evaluate`
    AP_visible   AP over visible joints alone
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from describe_crowd import SYNTHETIC, evaluation_set

from bottomup.evaluation import keypoints

ERRORS = ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (1.0, 4.0), (2.0, 2.0), (2.0, 8.0))
"""Pixels by which a visible joint and a hidden one are off."""
SMALL = 32**2  # square pixels; COCO calls smaller people small


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path, nargs="?", default=SYNTHETIC)
    images = evaluation_set(parser.parse_args().recipe)
    truth = images.ground_truth(set(range(1, len(images) + 1)))
    people = [person for person in truth["annotations"] if person["num_keypoints"]]
    joints = np.array([person["keypoints"] for person in people]).reshape(-1, 3)
    small = np.mean([person["area"] < SMALL for person in people])
    hidden = (joints[:, 2] == 1).sum() / (joints[:, 2] > 0).sum()
    print(
        f"{len(images)} images, {len(people)} people: {small:.0%} cover fewer than 32 x 32 pixels;"
    )
    print(f"{hidden:.0%} of their joints are hidden")
    print("off by px: visible  hidden     AP   AP50  AP_visible")
    for errors in ERRORS:
        row = rate(truth, *errors)
        figures = f"{row['AP']:6.3f} {row['AP50']:6.3f} {row['AP_visible']:11.3f}"
        print(f"{errors[0]:18} {errors[1]:7} {figures}", flush=True)


def rate(truth: dict[str, Any], visible: float, hidden: float, seed: int = 0) -> dict[str, float]:
    """The figures of all labelled people with joints that are off.

    Args:
        truth: annotations of the evaluation set.
        visible: pixels by which a visible joint is off.
        hidden: the same of a hidden one.
        seed: of the directions.
    """
    rng, found = np.random.default_rng(seed), []
    for person in truth["annotations"]:
        joints = np.reshape(person["keypoints"], (-1, 3)).astype(float)
        angle = rng.uniform(0, 2 * np.pi, len(joints))
        error = np.where(joints[:, 2] == 1, hidden, visible)[:, None]
        joints[:, :2] += error * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        if person["num_keypoints"]:
            entry = {"keypoints": joints.reshape(-1).tolist(), "score": 1.0}
            found.append(entry | {key: person[key] for key in ("image_id", "category_id")})
    figures = keypoints.evaluate(found, truth)
    return figures | {"AP_visible": keypoints.evaluate(found, keypoints.only_visible(truth))["AP"]}


if __name__ == "__main__":
    main()
