"""`bottomup predict`: what it takes; `bottomup.cli.prediction` does it."""

import argparse
import gc

from bottomup.cli.parser import count, number, shard
from bottomup.engines import BACKENDS, PRECISIONS
from bottomup.images import KEYPOINT_THRESHOLD, MAX_PIXELS, SCORE_THRESHOLD
from bottomup.inference import MAX_MEGAPIXELS, MOST_MEGAPIXELS

SUMMARY = "Find people in images."

EPILOG = """DIR then holds:
  index.html     a page to look through the images
  overlays/      the images with people drawn on them
  results.json   COCO keypoint results, with low-scoring people too
  images.json    id, file name, width and height of each image, perhaps a warning
  failures.json  what could not be read, and why
  journal.log    what is done: after a kill or a full disk the same command goes on"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="image, folder (subfolders too), 'glob', .tar, .txt with a path on each line, or - "
        "for such lines on the standard input; s3:// and other URLs too; the sample images if none "
        "is given",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="where the results go; what an earlier run has done there is kept",
    )
    parser.add_argument(
        "--annotations", metavar="FILE", help="COCO file that gives image ids by file name"
    )
    parser.add_argument(
        "--no-exif",
        action="store_true",
        help="leave images as they are stored, whatever their EXIF orientation",
    )
    _add_network_arguments(parser)
    _add_drawing_arguments(parser)
    _add_run_arguments(parser)
    _add_cluster_arguments(parser)


def _size(word: str) -> int | str:
    try:
        return word if word == "auto" else count(word)
    except argparse.ArgumentTypeError:
        message = f"{word!r} is neither auto nor a whole number from 1"
        raise argparse.ArgumentTypeError(message) from None


def run(arguments: argparse.Namespace) -> int:
    """Predict.

    Raises:
        ValueError: an argument does not fit; nothing has been written then.
        OSError: the output cannot be written.
    """
    if arguments.cluster is None:
        for option in ("workers", "ray_address"):
            if getattr(arguments, option) is not None:
                raise ValueError(f"--{option.replace('_', '-')} needs --cluster ray")
    # looking for garbage among the objects of torch takes a tenth of a second each time
    gc.disable()
    try:
        if arguments.cluster is None:
            from bottomup.cli.prediction import predict
        else:
            from bottomup.cli.cluster import predict
        gc.freeze()
    finally:
        gc.enable()
    return predict(arguments)


def _add_network_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        default="default",
        metavar="NAME|FILE",
        help="bundled or fetched weights, or a file",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    parser.add_argument(
        "--backend",
        default="auto",
        choices=BACKENDS,
        help="what computes the network; auto: OpenVINO on the CPU if it is installed, else torch",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        choices=PRECISIONS,
        help="of the network's layers. auto: float32, or a faster one that the processor has, if "
        "the weights record that it costs no more than 0.003 AP; int8 needs bottomup[int8]",
    )
    parser.add_argument(
        "--mode",
        default="robust",
        choices=("robust", "official"),
        help="official: the numbers of the reference code",
    )
    _add_size_arguments(parser)
    parser.add_argument(
        "--scales",
        type=number(0.05, 8, hint="; if it is a source, put it before --scales"),
        nargs="+",
        default=[1.0],
        metavar="S",
        help="run the network on each image at these scales",
    )
    parser.add_argument(
        "--flip",
        action="store_true",
        help="run it on the mirrored image too, half as fast; "
        "bundled weights: +0.01 AP at 640 pixels, nothing at 512",
    )
    parser.add_argument(
        "--threads",
        type=count,
        metavar="N",
        help="of the CPU, for the network; as many as this process may use if not given",
    )
    parser.add_argument(
        "--batch-size",
        type=count,
        metavar="N",
        help="images per pass through the network; depends on the device if not given",
    )


def _add_size_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size",
        type=_size,
        metavar="auto|PIXELS",
        help="of the network's input. auto: it follows from the image; large images are looked at "
        "more closely where they show small people. The default is auto where the weights, mode "
        "and scales allow it, else the weights' own",
    )
    parser.add_argument(
        "--max-megapixels",
        type=number(0.01, MOST_MEGAPIXELS),
        default=MAX_MEGAPIXELS,
        metavar="MP",
        help="with --size auto: what the network sees of an image at most (%(default)s)",
    )


def _add_drawing_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--score-threshold",
        type=number(0, 1),
        default=SCORE_THRESHOLD,
        metavar="T",
        help="draw and count people with at least this score (%(default)s)",
    )
    parser.add_argument(
        "--keypoint-threshold",
        type=number(0, 1),
        default=KEYPOINT_THRESHOLD,
        metavar="T",
        help="draw joints with at least this score (%(default)s)",
    )
    parser.add_argument(
        "--no-overlays", action="store_true", help="draw only the small images of the page"
    )


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="do everything anew")
    parser.add_argument(
        "--retry-failed", action="store_true", help="do the files again that failed before"
    )
    parser.add_argument(
        "--shard",
        type=shard,
        metavar="I/N",
        help="do only the I-th of N parts, from 1/N to N/N; bottomup collect merges them",
    )
    parser.add_argument(
        "--isolate",
        action="store_true",
        help="read files in processes of their own, so that a crash costs one image",
    )
    parser.add_argument(
        "--pixel-limit",
        type=number(0.001, 10_000),
        default=MAX_PIXELS / 1e6,
        metavar="MEGAPIXELS",
        help="refuse larger images before they are decoded (%(default)g)",
    )
    parser.add_argument(
        "--parquet",
        action="store_true",
        help="write results.parquet and images.parquet too; needs pyarrow",
    )


def _add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cluster",
        choices=("ray",),
        help="spread the run over the machines of a cluster; see docs/scaling.md",
    )
    parser.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="of a cluster that runs: auto, or HOST:PORT; a cluster on this machine alone, for the "
        "time of the run, if not given",
    )
    parser.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help="networks that work at a time at most; as many as the cluster has room for if not "
        "given",
    )
