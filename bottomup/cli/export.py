"""`bottomup export`: what it takes; `bottomup.cli.exporting` does it."""

import argparse

from bottomup.cli.parser import count, number
from bottomup.export import FORMATS, MAX_CANDIDATES, MAX_LOSS, PRECISIONS

SUMMARY = "Write a network as a graph for OpenVINO or ONNX Runtime."

EPILOG = """DIR then holds:
  model.xml, model.bin   the graph (openvino), or
  model.onnx             the graph (onnx)
  model.json             skeleton, preprocessing, thresholds, sizes
bottomup.export.Runtime finds people with it, without torch."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("weights", metavar="WEIGHTS", help="bundled or fetched weights, or a file")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the files go")
    parser.add_argument(
        "--format", default="openvino", choices=FORMATS, help="of the graph (%(default)s)"
    )
    parser.add_argument(
        "--precision",
        default=None,
        choices=PRECISIONS[:-1],
        help="in which the runtime runs the layers, on processors that have it; float16 also "
        "halves the files. The default is float32; the others are for openvino",
    )
    parser.add_argument(
        "--int8",
        metavar="IMAGES",
        help="layers in 8 bits, with ranges from these images (a few hundred); needs "
        "bottomup[int8]",
    )
    parser.add_argument(
        "--max-candidates",
        type=count,
        default=MAX_CANDIDATES,
        metavar="M",
        help="places for candidates of each joint in the outputs (%(default)s)",
    )
    parser.add_argument(
        "--check",
        nargs=2,
        metavar=("ANNOTATIONS", "IMAGES"),
        help="compare AP with torch in float32. A file of ours that is given by its path then "
        "records what bfloat16 or float16 cost, for predict --precision auto",
    )
    parser.add_argument(
        "--max-loss",
        type=number(0, 1),
        default=MAX_LOSS,
        metavar="AP",
        help="with --check: a larger loss of AP is a failure (%(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Export, and check.

    Raises:
        ValueError: an argument does not fit, or a package is missing.
        OSError: the files cannot be written.
    """
    from bottomup.cli.exporting import run_export

    return run_export(arguments)
