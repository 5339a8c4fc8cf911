"""`bottomup evaluate`: average precision of a file of results."""

import argparse
import json
import math

from bottomup.cli.parser import count

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
    parser.add_argument(
        "--max-people",
        type=count,
        metavar="N",
        help="results of an image that count, for crowds; COCO and CrowdPose count the best 20",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> None:
    """Print the figures; one that is undefined for lack of people is null in JSON.

    With another number of people than the standard, the figures say so.

    Raises:
        ValueError: the files cannot be read or do not fit together.
    """
    from bottomup.evaluation.keypoints import MAX_PEOPLE, match_results, summarise

    num_people = arguments.max_people or MAX_PEOPLE
    matches = match_results(arguments.results, arguments.annotations, max_people=num_people)
    figures = summarise(matches)
    is_standard = num_people == MAX_PEOPLE
    if arguments.json:
        known = {name: None if math.isnan(value) else value for name, value in figures.items()}
        print(json.dumps(known if is_standard else {"max_people": num_people} | known, indent=2))
    else:
        if not is_standard:
            print(
                f"not standard: the best {num_people} results of an image count, not {MAX_PEOPLE}"
            )
        for name, value in figures.items():
            print(f"{name:<10}{'nobody to find' if math.isnan(value) else f'{value:.4f}':>8}")
