"""`bottomup evaluate`: average precision of a file of results."""

import argparse
import json
import math

SUMMARY = "Average precision of results: COCO's ten figures, or CrowdPose's."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "results",
        metavar="RESULTS",
        help="results.json of bottomup predict, or any COCO results list",
    )
    parser.add_argument(
        "annotations", metavar="ANNOTATIONS", help="COCO or CrowdPose annotations with keypoints"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> None:
    """Print the figures; one that is undefined for lack of people is null in JSON.

    Raises:
        ValueError: the files cannot be read or do not fit together.
    """
    from bottomup.evaluation.keypoints import evaluate

    figures = evaluate(arguments.results, arguments.annotations)
    if arguments.json:
        known = {name: None if math.isnan(value) else value for name, value in figures.items()}
        print(json.dumps(known, indent=2))
    else:
        for name, value in figures.items():
            print(f"{name:<10}{'nobody to find' if math.isnan(value) else f'{value:.4f}':>8}")
