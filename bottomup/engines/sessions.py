"""OpenVINO and ONNX Runtime: a graph in a file, run on the CPU; torch is not needed."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

PACKAGES = {"openvino": "openvino", "onnxruntime": "onnx"}
"""The engines that run graphs, and the extra of bottomup that brings each."""
HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "f32"}
CAPABILITIES = {"FP32": "float32", "BF16": "bfloat16", "FP16": "float16", "INT8": "int8"}


class Session:
    """A graph that is ready to run; not by several threads at once.

    Attributes:
        engine: name and version of the package that runs it.
    """

    engine: str

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of the graph by name; later calls leave them as they are."""
        raise NotImplementedError


def is_installed(backend: str) -> bool:
    """Whether the package of a backend can be imported."""
    return importlib.util.find_spec(backend) is not None


def supported_precisions(backend: str) -> set[str]:
    """The precisions in which a backend computes on this processor without emulation."""
    if backend != "openvino":
        return {"float32", "int8"}
    names = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return {CAPABILITIES[name] for name in names if name in CAPABILITIES}


def open_session(
    path: Path,
    backend: str,
    *,
    precision: str = "float32",
    threads: int | None = None,
    cache: Path | None = None,
) -> Session:
    """Make a graph ready to run.

    Args:
        path: of the graph: .onnx, or .xml for OpenVINO.
        backend: "openvino" or "onnxruntime".
        precision: that of layers in between; inputs and outputs keep theirs. ONNX Runtime takes
            that of the graph.
        threads: of the CPU; None leaves it to the package.
        cache: a folder where OpenVINO keeps what it has compiled, which is then ready four times
            sooner.

    Raises:
        ValueError: the package is not installed, or cannot run the graph.
    """
    if not is_installed(backend):
        raise ValueError(
            f"{backend} is not installed: pip install 'bottomup[{PACKAGES[backend]}]', "
            "or choose another backend"
        )
    opened = _OpenVINO if backend == "openvino" else _ONNXRuntime
    try:
        return opened(path, precision, threads, cache)
    except Exception as error:  # ONNX Runtime has errors of its own, which are only `Exception`
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise ValueError(f"{path}: {backend} cannot run this graph ({reason})") from error


def import_openvino() -> ModuleType:
    """The package openvino, without its telemetry: the import itself would send an event."""
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[call-overload]
    import openvino

    return openvino


class _OpenVINO(Session):
    def __init__(self, path: Path, precision: str, threads: int | None, cache: Path | None):
        openvino = import_openvino()
        core = openvino.Core()
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": HINTS[precision],
        }
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        if cache is not None:
            options["CACHE_DIR"] = str(cache)
        compiled = core.compile_model(path, "CPU", options)
        self.engine = f"openvino {openvino.__version__.split('-')[0]}"
        self._request = compiled.create_infer_request()
        # an output may also have the name that a layer gave it, such as "/Sub_7"
        self._names = [min(o.get_names(), key=lambda name: "/" in name) for o in compiled.outputs]

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        results = self._request.infer({0: images}, share_inputs=True)
        return dict(zip(self._names, results.values(), strict=True))


class _ONNXRuntime(Session):
    def __init__(self, path: Path, precision: str, threads: int | None, cache: Path | None):
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = threads or 0
        # a thread that waits sleeps, as those of torch do here
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.engine = f"onnxruntime {onnxruntime.__version__}"
        self._input = self._session.get_inputs()[0].name
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        results: Any = self._session.run(None, {self._input: images})
        return dict(zip(self._names, results, strict=True))
