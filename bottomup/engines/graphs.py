"""From a network to a graph in the form of ONNX, which OpenVINO and ONNX Runtime both read."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from bottomup.engines.sessions import is_inner
from bottomup.files import write_whole
from bottomup.models.center_voting import CenterVotingHead, DenseMaps
from bottomup.models.heads import HeadOutput
from bottomup.models.pose_net import PoseNet

OPSET = 17  # of ONNX; both engines have it since 2022
EXAMPLE_SIDES = (2, 3)  # of the image with which a graph is traced, in `Preprocessing.multiple`


def sees_one_scale(net: PoseNet) -> bool:
    """Whether a graph of one scale serves all scales of a network."""
    return isinstance(net.head, CenterVotingHead) and net.head.fine_heatmaps is None


class DenseGraph(nn.Module):
    """The raw outputs of a network for images (B, H, W, 3) float32, as a tuple of tensors.

    Of a network whose people vote, these are the outputs at one scale, if they do not differ.

    Args:
        net: the network.

    Attributes:
        names: of the outputs, see `named_tensors`.
    """

    def __init__(self, net: PoseNet):
        super().__init__()
        self.net = net
        self.names: list[str] = []

    def forward(self, images: Float[Tensor, "B H W 3"]) -> tuple[Tensor, ...]:
        """B H W 3 to the tensors that `names` tells."""
        images = images.permute(0, 3, 1, 2)
        outputs = [self.net.at_scale(images, 0)] if sees_one_scale(self.net) else self.net(images)
        named = named_tensors(outputs)
        self.names = list(named)
        return tuple(named.values())


def named_tensors(outputs: Sequence[HeadOutput] | Sequence[DenseMaps]) -> dict[str, Tensor]:
    """The tensors of a network's outputs by number and field, such as "0.heatmaps"."""
    return {
        f"{number}.{field}": tensor
        for number, output in enumerate(outputs)
        for field, tensor in output._asdict().items()
        if tensor is not None
    }


def write_dense(net: PoseNet, path: Path) -> None:
    """Write the `DenseGraph` of a network; see `write_graph`."""
    write_graph(DenseGraph(net).eval(), path, example_of(net, torch.float32))


def outputs_of(net: PoseNet, named: Mapping[str, np.ndarray]) -> list[HeadOutput] | list[DenseMaps]:
    """The outputs of `PoseNet.forward` from those of its `DenseGraph`."""
    kind: Any = DenseMaps if isinstance(net.head, CenterVotingHead) else HeadOutput
    fields: list[dict[str, Tensor | None]] = []
    for name, array in named.items():
        number, field = name.split(".")
        fields += [dict.fromkeys(kind._fields) for _ in range(int(number) + 1 - len(fields))]
        fields[int(number)][field] = torch.from_numpy(array)
    return [kind(**given) for given in fields]


def write_graph(graph: Any, path: Path, example: Tensor) -> None:
    """Write a graph for images of any number, height and width; whole or not at all.

    Args:
        graph: a module from images (B, H, W, 3) to a tuple of tensors, whose attribute `names`
            tells the names of these once it has run.
        path: an .onnx file.
        example: images, with which the graph is traced.

    Raises:
        ValueError: the package onnx is not installed.
    """
    axes = {"images": {0: "batch", 1: "height", 2: "width"}}
    with torch.inference_mode():
        tensors = graph(example)
        for name, tensor in zip(graph.names, tensors, strict=True):
            axes[name] = {0: "batch"}
            if is_inner(name):
                axes[name] |= {tensor.ndim - 2: f"{name} height", tensor.ndim - 1: f"{name} width"}
    content = io.BytesIO()
    with _quiet(), torch.enable_grad():  # with gradients, no layer computes in bands
        try:
            torch.onnx.export(
                graph,
                (example,),
                content,  # type: ignore[arg-type]
                dynamo=False,
                input_names=["images"],
                output_names=graph.names,
                dynamic_axes=axes,
                opset_version=OPSET,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            if "onnx is not installed" in str(error):
                raise ValueError(
                    "graphs are written with the package onnx: pip install 'bottomup[onnx]'"
                ) from error
            raise ValueError(f"the network cannot be made a graph ({error})") from error
    with write_whole(path) as file:
        file.write(content.getbuffer())


def example_of(net: PoseNet, dtype: torch.dtype) -> Tensor:
    """A black image with which a graph of the network is traced."""
    high, wide = (number * net.preprocessing.multiple for number in EXAMPLE_SIDES)
    return torch.zeros(1, high, wide, 3, dtype=dtype)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks about tracing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
