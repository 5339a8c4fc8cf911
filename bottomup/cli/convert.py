"""`bottomup convert`: from a checkpoint to a safetensors file."""

import argparse

SUMMARY = "Turn a checkpoint into a file that --weights takes."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "checkpoint",
        metavar="CKPT",
        help="an official HigherHRNet, MMPose 0.x or bottomup checkpoint",
    )
    parser.add_argument(
        "--ema",
        action="store_true",
        help="take the second set of weights of a checkpoint that holds two (ema_*)",
    )
    parser.add_argument("out", metavar="OUT.safetensors", help="the file to write")


def run(arguments: argparse.Namespace) -> None:
    """Convert, and print what the checkpoint is.

    Raises:
        ValueError: the checkpoint cannot be read or is of an unknown network.
        OSError: the file cannot be written.
    """
    from bottomup.networks import BUILDERS
    from bottomup.weights.store import convert

    print(convert(arguments.checkpoint, arguments.out, builders=BUILDERS, ema=arguments.ema))
