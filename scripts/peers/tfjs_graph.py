"""Run a TensorFlow.js graph model with torch: its nodes one after another, images as (1, H, W, C).

`tfjs` reads the model, `tfjs_ops` has the operations of the nodes.
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
        outputs: the names of what `__call__` returns.
        num_parameters: numbers in its constant tensors of floats.

    Raises:
        PackageError: an operation is not known here, or the nodes do not fit each other.
    """

    def __init__(self, graph: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
        nodes = {node.name: node for node in map(_parse_node, graph["node"])}
        signature = graph["signature"].get("outputs") or {}
        references = {name: str(about["name"]) for name, about in signature.items()}
        self._results = {name: _parse_reference(text) for name, text in references.items()}
        if not self._results:
            raise PackageError("the graph says of no node that it is an output; download it again")
        self.outputs = tuple(self._results)
        order = _in_order(nodes, [name for name, _ in self._results.values()])
        self._steps = [node for node in order if node.op not in SOURCES]
        self._input = [node.name for node in order if node.op == "Placeholder"]
        self._constants = _constants(order, tensors)
        self._dead_after = _last_uses(self._steps, {name for name, _ in self._results.values()})
        floats = [tensor for tensor in self._constants.values() if tensor.is_floating_point()]
        self.num_parameters = sum(tensor.numel() for tensor in floats)

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        """Run the network.

        Args:
            image: (1, H, W, 3) in the type and the range that the network expects.

        Returns:
            the outputs by name.
        """
        values: dict[str, Sequence[Tensor]] = {}
        values |= {name: (tensor,) for name, tensor in self._constants.items()}
        values |= dict.fromkeys(self._input, (image,))
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
        entries = (content.get("attr") or {}).items()
        attributes = {key: _parse_attribute(value) for key, value in entries}
        names = [name for name in content.get("input", ()) if not name.startswith("^")]
        inputs = tuple(_parse_reference(str(name)) for name in names)
        return Node(str(content["name"]), str(content["op"]), inputs, attributes)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PackageError(f"the graph has a node that cannot be read: {content!r:.120}") from error


def _parse_attribute(value: Mapping[str, Any]) -> Any:
    """Numbers, truth values, text, names of types, and lists of them; None for anything else."""
    for kind, content in value.items():
        if kind == "list":
            pairs = [(key, one) for key, items in content.items() for one in items]
            return [_parse_attribute({key: one}) for key, one in pairs]
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
    """All nodes that some nodes need, and these; every node after its inputs.

    Raises:
        PackageError: a node or an operation is unknown, or the nodes form a circle.
    """
    order: list[Node] = []
    state: dict[str, bool] = {}  # False: its inputs come first; True: it is in the order
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
                    f"{name}: the operation {node.op} is not known here; "
                    "use the networks of the package"
                )
            state[name] = False
            ahead.append((name, True))
            ahead += [(source, False) for source, _ in node.inputs]
        elif not state[name]:
            raise PackageError(f"the graph has a circle through {name}; download it again")
    return order


def _constants(order: Sequence[Node], tensors: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """The constants as tensors; filters are (out, in, height, width), channels last in memory."""
    constants = {}
    for node in order:
        if node.op == "Const":
            if node.name not in tensors:
                raise PackageError(
                    f"the graph's constant {node.name} is not among the weights; "
                    "download them again"
                )
            constants[node.name] = torch.from_numpy(np.array(tensors[node.name]))
    for name, op in {(node.inputs[1][0], node.op) for node in order if node.op in CONVOLUTIONS}:
        if name not in constants or constants[name].ndim != 4:
            raise PackageError(
                f"{name}: filters must be constants with four axes; use the networks of the package"
            )
        if "Depthwise" in op:
            filters = constants[name].permute(2, 3, 0, 1).flatten(0, 1)[:, None]
        else:
            filters = constants[name].permute(3, 2, 0, 1)
        constants[name] = filters.contiguous(memory_format=torch.channels_last)
    return constants


def _last_uses(steps: Sequence[Node], kept: set[str]) -> dict[str, list[str]]:
    """The names of the values that no step after a step needs, by the name of the step.

    Deleting them keeps memory from growing with the depth of the network.
    """
    last = {name: node.name for node in steps for name, _ in node.inputs}
    made = {node.name for node in steps}
    dead: dict[str, list[str]] = {node.name: [] for node in steps}
    for name, user in last.items():
        if name in made and name not in kept:
            dead[user].append(name)
    return dead
