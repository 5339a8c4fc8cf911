"""What the peers that are ONNX files share: their options, and a session of ONNX Runtime."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from contract import UnavailableError, require

DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
"""Of the input, by the names of ONNX Runtime."""
MAX_BYTES = 2 * 2**30  # of a file: the limit of the format


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for the file and the size of the input."""
    add = parser.add_argument
    add("--model", type=Path, metavar="FILE.onnx", help="the network")
    sides, size = range(32, 4097, 32), "if the file leaves it open (640)"
    add("--size", type=int, default=640, choices=sides, metavar="PIXELS", help=size)


class OnnxModel:
    """A network in an ONNX file.

    Args:
        arguments: model, size and threads.
        num_outputs: the expected number.

    Attributes:
        wh: width and height of its input.
        version: of ONNX Runtime.

    Raises:
        UnavailableError: ONNX Runtime or the file is missing.
        ValueError: the file is not a network of the expected kind.
    """

    def __init__(self, arguments: argparse.Namespace, num_outputs: int) -> None:
        runtime = require("onnxruntime")
        path = arguments.model
        if path is None or not path.is_file():
            raise UnavailableError(
                f"{path or 'no file'}: the network is not there; name one by --model FILE.onnx"
            )
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{path}: has {path.stat().st_size} bytes, more than an ONNX file can")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = arguments.threads, 1
        providers = ["CPUExecutionProvider"]
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # ONNX Runtime has many kinds, all of one meaning here
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"{path}: ONNX Runtime cannot load it ({reason:.200})") from error
        self.version = str(runtime.__version__)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        fits = len(shape) == 4 and shape[1] in (3, *_open(shape[1])) and inputs[0].type in DTYPES
        if not fits or len(outputs) != num_outputs:
            told = [(entry.name, entry.type, entry.shape) for entry in (*inputs, *outputs)]
            raise ValueError(
                f"{path}: expected are one input B x 3 x H x W of floats and "
                f"{num_outputs} outputs, not {told}"
            )
        self._input, self._dtype = inputs[0].name, DTYPES[inputs[0].type]
        is_fixed = [isinstance(side, int) and side > 0 for side in shape[2:]]
        sides = zip(shape[2:], is_fixed, strict=True)
        height, width = (side if fixed else arguments.size for side, fixed in sides)
        self.wh = (width, height)

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        """The outputs for an image (H, W, 3), each without its first axis, in float32."""
        image = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], self._dtype)
        outputs = self._session.run(None, {self._input: image})
        return [output[0].astype(np.float32) for output in outputs]


def _open(length: Any) -> tuple[Any, ...]:
    """The length itself if the file leaves it open (a name or nothing): it fits anything."""
    return () if isinstance(length, int) else (length,)
