"""What `Predictor` runs its network with: torch, or a graph of the network in another engine."""

import copy
import functools
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from bottomup.engines import BACKENDS, PRECISIONS
from bottomup.engines.cuda_graphs import CudaGraphs
from bottomup.engines.devices import has_bfloat16
from bottomup.engines.graph_cache import open_cached
from bottomup.engines.graphs import outputs_of, sees_one_scale
from bottomup.engines.quantization import NEEDS_NNCF
from bottomup.engines.sessions import is_installed, supported_precisions
from bottomup.models.center_voting import DenseMaps
from bottomup.models.heads import HeadOutput
from bottomup.models.pose_net import PoseNet
from bottomup.weights.store import digest

MAX_AP_LOSS = 0.003  # that a precision may cost, by the record of the weights, to be chosen
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

Images = UInt8[Tensor, "B 3 H W"]


class Engine:
    """Computes what a network computes.

    Args:
        net: the network, in float32.
        precision: of the layers: float32, bfloat16, float16 or int8.
        sha256: of the weights, if it is known.

    Attributes:
        name: of the package, with its version where it is not torch.
    """

    name: str

    def __init__(self, net: PoseNet, precision: str, sha256: str | None = None):
        self.net, self.precision = net, precision
        if sha256 is not None:
            self.sha256 = sha256

    @functools.cached_property
    def sha256(self) -> str:
        """Of the weights, see `digest`."""
        return digest(self.net.state_dict())

    def __call__(self, images: Images) -> list[HeadOutput] | list[DenseMaps]:
        """As `PoseNet.forward`, always in float32."""
        raise NotImplementedError

    def at_scale(self, images: Images, scale: int) -> DenseMaps:
        """As `PoseNet.at_scale`, always in float32."""
        raise NotImplementedError


class TorchEngine(Engine):
    """Torch itself, on any device.

    Args:
        net: on its device.
        precision: of the layers; normalisation and outputs are float32.
        sha256: of the weights, if it is known.
    """

    name = "torch"

    def __init__(self, net: PoseNet, precision: str = "float32", sha256: str | None = None):
        super().__init__(net, precision, sha256)
        self._net = net
        if precision != "float32":
            self._net = copy.deepcopy(net)
            self._net.trunk.to(DTYPES[precision])
            self._net.head.to(DTYPES[precision])
        self._run: Callable[..., Any] = self._net.forward
        self._run_at_scale: Callable[..., Any] = self._net.at_scale
        self._is_captured = net.mean.device.type == "cuda"
        if self._is_captured:
            self._run, self._run_at_scale = CudaGraphs(self._run), CudaGraphs(self._run_at_scale)

    def __call__(self, images: Images) -> list[HeadOutput] | list[DenseMaps]:
        """As in `Engine`."""
        return [self._in_float32(output) for output in self._run(images)]

    def at_scale(self, images: Images, scale: int) -> DenseMaps:
        """As in `Engine`."""
        return self._in_float32(self._run_at_scale(images, scale))

    def _in_float32(self, output: Any) -> Any:
        """The tensors of an output; a copy if the next call overwrites them."""
        parts = (
            None if part is None else part.to(torch.float32, copy=self._is_captured)
            for part in output
        )
        return type(output)(*parts)


class GraphEngine(Engine):
    """A graph of the network, run by OpenVINO or ONNX Runtime on the CPU.

    Args:
        net: on the CPU.
        backend: "openvino" or "onnxruntime".
        precision: see `open_session`.
        threads: likewise.
        sha256: of the weights, if it is known.

    Raises:
        ValueError: the graph cannot be made or run.
    """

    def __init__(
        self,
        net: PoseNet,
        backend: str,
        precision: str,
        threads: int | None = None,
        sha256: str | None = None,
    ):
        super().__init__(net, precision, sha256)
        self._session = open_cached(
            net, backend, precision=precision, threads=threads, sha256=self.sha256
        )
        self.name = self._session.engine

    def __call__(self, images: Images) -> list[HeadOutput] | list[DenseMaps]:
        """As in `Engine`."""
        if sees_one_scale(self.net):
            return [self.at_scale(images, scale) for scale in range(self.net.trunk.num_scales)]
        return self._outputs(images.float())

    def at_scale(self, images: Images, scale: int) -> DenseMaps:
        """As in `Engine`."""
        halved = images.float()
        for _ in range(scale):
            halved = F.avg_pool2d(halved, 2)
        (maps,) = self._outputs(halved)
        return maps

    def _outputs(self, images: Float[Tensor, "B 3 H W"]) -> Any:
        pixels = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())  # B H W 3
        return outputs_of(self.net, self._session(pixels))


def asked_for(backend: str, precision: str) -> tuple[str, str]:
    """A backend and a precision, where the variables of the environment may replace "auto".

    Args:
        backend: one of `BACKENDS`; for "auto" see BOTTOMUP_BACKEND.
        precision: one of `PRECISIONS`; for "auto" see BOTTOMUP_PRECISION.

    Raises:
        ValueError: there is no such backend or precision.
    """
    if backend == "auto":
        backend = os.environ.get("BOTTOMUP_BACKEND", "auto")
    if precision == "auto":
        precision = os.environ.get("BOTTOMUP_PRECISION", "auto")
    for what, asked, known in (
        ("backend", backend, BACKENDS),
        ("precision", precision, PRECISIONS),
    ):
        if asked not in known:
            raise ValueError(f"{what} is {asked!r}; choose one of {', '.join(known)}")
    return backend, precision


def choose_engine(
    net: PoseNet,
    *,
    backend: str = "auto",
    precision: str = "auto",
    official: bool = False,
    threads: int | None = None,
) -> Engine:
    """The engine for a network on its device.

    Args:
        net: the network, on its device.
        backend: see `asked_for`. "auto" is OpenVINO on the CPU if it is installed and works, else
            torch.
        precision: see `asked_for`. "auto" is float32, or a faster precision that engine and
            processor have and that costs at most `MAX_AP_LOSS` by the record of the weights. "int8"
            has its ranges from the sample images and needs nncf.
        official: whether the numbers of the reference are wanted; "auto" is then torch, in float32.
        threads: of the CPU, for engines other than torch.

    Raises:
        ValueError: the engine is not installed, or cannot do what is asked on this machine.
    """
    device = net.mean.device.type
    if backend not in ("auto", "torch") and device != "cpu":
        raise ValueError(f"backend {backend!r} runs on the CPU only; choose torch for {device}")
    make = functools.partial(_make, net, precision=precision, official=official, threads=threads)
    if backend != "auto":
        return make(backend)
    if device == "cpu" and not official and all(map(is_installed, ("openvino", "onnx"))):
        try:
            return make("openvino")
        except Exception as error:  # of a package that nobody has asked for
            if precision not in ("auto", *supported("torch", device)):
                raise
            warnings.warn(f"{error}; torch is used instead", stacklevel=2)
    return make("torch")


def _make(
    net: PoseNet, backend: str, *, precision: str, official: bool, threads: int | None
) -> Engine:
    """An engine of this backend; see `choose_engine`."""
    if precision == "int8" and backend != "torch" and not is_installed("nncf"):
        raise ValueError(NEEDS_NNCF)
    available = supported(backend, net.mean.device.type)
    if precision not in ("auto", *available):
        raise ValueError(
            f"precision {precision!r} is not what {backend} has on this machine; "
            f"choose one of {', '.join(available)}"
        )
    sha256 = None
    if precision == "auto":
        precision = "float32"
        if net.costs and not official:
            sha256 = digest(net.state_dict())
            precision = _fastest(net, available, sha256)
    if backend == "torch":
        return TorchEngine(net, precision, sha256)
    return GraphEngine(net, backend, precision, threads, sha256)


def supported(backend: str, device: str) -> list[str]:
    """The precisions that a backend has on this machine without emulation, in order of speed."""
    if backend != "torch":
        has = supported_precisions(backend) - (set() if is_installed("nncf") else {"int8"})
        return [name for name in PRECISIONS[:0:-1] if name in has]
    if device == "cuda":
        return ["float16", *["bfloat16"] * has_bfloat16(device), "float32"]
    if device == "mps":
        return ["float16", "float32"]
    return [*["bfloat16"] * has_bfloat16(device), "float32"]


def _fastest(net: PoseNet, available: Sequence[str], sha256: str) -> str:
    """The first precision whose cost is recorded, for these very weights, as small; or float32."""
    for name in available:
        record = net.costs.get(name)
        if record and record.sha256 == sha256 and record.ap_change >= -MAX_AP_LOSS:
            return name
    return "float32"
