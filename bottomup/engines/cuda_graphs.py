"""CUDA graphs: a network's many small kernels are launched as one, for each size of input."""

import collections
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

MAX_GRAPHS = 8  # kept; they share the memory of the layers, since none runs beside another
NUM_WARM_UPS = 3  # calls of a size before it is worth a graph; they also let cuDNN choose kernels


class CudaGraphs:
    """Calls a function of images; the first sizes that repeat are captured, then replayed.

    Other sizes are computed as ever, so many sizes cost no more than without graphs.

    Args:
        function: from images on a CUDA device, and hashable arguments, to tuples and lists of
            tensors. It launches kernels only, and reads nothing back.
    """

    def __init__(self, function: Callable[..., Any]):
        self._function = function
        self._num_calls: collections.Counter[Any] = collections.Counter()
        self._graphs: dict[Any, tuple[torch.cuda.CUDAGraph, Tensor, Any]] = {}
        self._most = MAX_GRAPHS  # 0 once memory was short

    def __call__(self, images: Tensor, *arguments: Any) -> Any:
        """The outputs for the images; later calls overwrite them."""
        key = (tuple(images.shape), images.stride(), images.dtype, arguments)
        if key not in self._graphs:
            self._num_calls[key] += 1
            if self._num_calls[key] <= NUM_WARM_UPS or len(self._graphs) >= self._most:
                return self._function(images, *arguments)
            try:
                self._graphs[key] = self._capture(images, arguments)
            except torch.cuda.OutOfMemoryError:  # the plain call may still fit
                self._graphs.clear()
                self._most = 0
                torch.cuda.empty_cache()
                return self._function(images, *arguments)
        graph, inputs, outputs = self._graphs[key]
        inputs.copy_(images, non_blocking=True)
        graph.replay()
        return outputs

    def _capture(
        self, images: Tensor, arguments: tuple[Any, ...]
    ) -> tuple[torch.cuda.CUDAGraph, Tensor, Any]:
        inputs = images.clone()
        # a call on another stream first, as torch asks for: it makes what must exist before
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._function(inputs, *arguments)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        pool = next((other.pool() for other, _, _ in self._graphs.values()), None)
        with torch.cuda.graph(graph, pool=pool):
            outputs = self._function(inputs, *arguments)
        return graph, inputs, outputs
