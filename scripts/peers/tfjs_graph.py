"""Run a TensorFlow.js graph model with torch: its nodes one after another, images as (1, H, W, C).

`tfjs` reads the model, `tfjs_ops` has what the nodes do.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from tfjs import PackageError, Read, read_graph_model
from tfjs_ops import CONVOLUTIONS, OPS, Node
from torch import Tensor

SOURCES = ("Const", "Placeholder")  # nodes that have no inputs


class GraphModel:
    """A network with one input.

    Args:
        graph: as `tfjs.read_graph_model` gives it.
        tensors: likewise.

    Attributes:
        outputs: the outputs' names, which `__call__` gives back.
        num_parameters: numbers in its constant tensors of floats.

    Raises:
        PackageError: a node has an operation that is not known here, or the nodes do not fit each
            other.
    """

    def __init__(self, graph: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
        nodes = {node.name: node for node in map(_parse_node, graph["node"])}
        signature = graph["signature"].get("outputs") or {}
        self._results = {
            name: _parse_reference(str(about["name"])) for name, about in signature.items()
        }
        if not self._results:
            raise PackageError("the graph says of no node that it is an output; download it again")
        self.outputs = tuple(self._results)
        order = _in_order(nodes, [name for name, _ in self._results.values()])
        self._steps = [node for node in order if node.op not in SOURCES]
        self._input = [node.name for node in order if node.op == "Placeholder"]
        self._constants = _constants(order, tensors)
        self._dead_after = _last_uses(self._steps, {name for name, _ in self._results.values()})
        self.num_parameters = sum(
            t.numel() for t in self._constants.values() if t.is_floating_point()
        )

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        """Run the network.

        Args:
            image: (1, H, W, 3) in the number format and the range that the network expects.

        Returns:
            the outputs by name.
        """
        values: dict[str, Sequence[Tensor]] = {
            name: (tensor,) for name, tensor in self._constants.items()
        }
        values.update((name, (image,)) for name in self._input)
        with torch.inference_mode():
            for node in self._steps:
                result = OPS[node.op](node, *(values[name][index] for name, index in node.inputs))
                values[node.name] = (result,) if isinstance(result, Tensor) else result
                for name in self._dead_after[node.name]:
                    del values[name]
        return {output: values[name][index] for output, (name, index) in self._results.items()}


def load(read: Read, model: str) -> GraphModel:
    """The network of that name, see `tfjs.open_package`.

    Raises:
        PackageError: it cannot be read or run.
    """
    try:
        return GraphModel(*read_graph_model(read, f"{model}.json"))
    except PackageError as error:
        raise PackageError(f"{model}: {error}") from error


def _parse_node(content: Mapping[str, Any]) -> Node:
    try:
        attributes = {
            key: _parse_attribute(value) for key, value in (content.get("attr") or {}).items()
        }
        inputs = [
            _parse_reference(str(name))
            for name in content.get("input", ())
            if not name.startswith("^")
        ]
        return Node(str(content["name"]), str(content["op"]), tuple(inputs), attributes)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PackageError(f"the graph has a node that cannot be read: {content!r:.120}") from error


def _parse_attribute(value: Mapping[str, Any]) -> Any:
    """Numbers, truth values, text, names of types, and lists of them; None for anything else."""
    for kind, content in value.items():
        if kind == "list":
            return [
                item
                for key, items in content.items()
                for item in (_parse_attribute({key: one}) for one in items)
            ]
        if kind == "s":
            return base64.b64decode(content).decode()
        if kind in ("i", "f", "b", "type"):
            return {"i": int, "f": float, "b": bool, "type": str}[kind](content)
    return None


def _parse_reference(name: str) -> tuple[str, int]:
    """A node and the number of its output: "split:1" is the second one of split."""
    node, _, index = name.partition(":")
    return node, int(index or 0)


def _in_order(nodes: Mapping[str, Node], wanted: Sequence[str]) -> list[Node]:
    """What is needed for some nodes, everything after its inputs.

    Raises:
        PackageError: a node or an operation is unknown, or the nodes wait for each other.
    """
    order: list[Node] = []
    state: dict[str, bool] = {}  # False: its inputs are being looked at; True: it is in the order
    ahead = [(name, False) for name in wanted]
    while ahead:
        name, has_inputs = ahead.pop()
        if has_inputs:
            state[name] = True
            order.append(nodes[name])
        elif name not in state:
            if name not in nodes:
                raise PackageError(
                    f"the graph has no node {name}, which others need; download it again"
                )
            node = nodes[name]
            if node.op not in OPS and node.op not in SOURCES:
                raise PackageError(
                    f"{name}: the operation {node.op} is not known here; use the networks of the package"
                )
            state[name] = False
            ahead.append((name, True))
            ahead += [(source, False) for source, _ in node.inputs]
        elif not state[name]:
            raise PackageError(f"the graph has a circle through {name}; download it again")
    return order


def _constants(order: Sequence[Node], tensors: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """The constants as tensors; filters as torch wants them: (out, in, height, width), channels last in memory."""
    constants = {}
    for node in order:
        if node.op == "Const":
            if node.name not in tensors:
                raise PackageError(
                    f"the graph's constant {node.name} is not among the weights; download them again"
                )
            constants[node.name] = torch.from_numpy(np.array(tensors[node.name]))
    for name, op in {(node.inputs[1][0], node.op) for node in order if node.op in CONVOLUTIONS}:
        if name not in constants or constants[name].ndim != 4:
            raise PackageError(
                f"{name}: filters must be constants with four axes; use the networks of the package"
            )
        filters = (
            constants[name].permute(2, 3, 0, 1)
            if "Depthwise" in op
            else constants[name].permute(3, 2, 0, 1)
        )
        if "Depthwise" in op:
            filters = filters.flatten(0, 1)[:, None]
        constants[name] = filters.contiguous(memory_format=torch.channels_last)
    return constants


def _last_uses(steps: Sequence[Node], kept: set[str]) -> dict[str, list[str]]:
    """After which step what is needed no more, so that memory does not grow with the depth of the network."""
    last = {name: node.name for node in steps for name, _ in node.inputs}
    made = {node.name for node in steps}
    dead: dict[str, list[str]] = {node.name: [] for node in steps}
    for name, user in last.items():
        if name in made and name not in kept:
            dead[user].append(name)
    return dead
