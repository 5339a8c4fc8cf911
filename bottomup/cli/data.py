"""`bottomup data`: check an annotation file and its images."""

import argparse

SUMMARY = "Check an annotation file, and the headers of its images."

EPILOG = """A sound file is one line of counts. Otherwise the first entry that is wrong is
named, in the words in which fit, evaluate and predict refuse the file."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("action", choices=("check",), help="check a file")
    parser.add_argument(
        "annotations", metavar="ANNOTATIONS", help="COCO or CrowdPose annotations with keypoints"
    )
    parser.add_argument(
        "images", nargs="?", metavar="IMAGES", help="the folder that its file names are relative to"
    )


def run(arguments: argparse.Namespace) -> None:
    """Check.

    Raises:
        ValueError: the file is wrong, or images are missing or broken.
    """
    from bottomup.data.coco import Annotations, read_annotations
    from bottomup.data.headers import check_headers
    from bottomup.data.keypoint_files import KeypointFile, read_keypoints
    from bottomup.data.people import num_labelled_joints

    path, images = arguments.annotations, arguments.images
    file: KeypointFile | Annotations
    if images is None:
        file = read_keypoints(path)
    else:
        try:
            file = read_annotations(path, images)
        except FileNotFoundError as error:
            raise ValueError(str(error)) from error
        check_headers(file.records, images)
    people, skeleton = file.raw["annotations"], file.skeleton
    num_labelled = sum(num_labelled_joints(person) > 0 for person in people)
    num_pairs = sum(k != other for k, other in enumerate(skeleton.flip_indices)) // 2
    print(
        f"{path}: {len(file.raw['images'])} images, {len(people)} people "
        f"({num_labelled} with labelled joints), {skeleton.num_keypoints} joints, "
        f"{num_pairs} left-right pairs"
    )
