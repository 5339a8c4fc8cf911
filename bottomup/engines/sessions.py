"""OpenVINO and ONNX Runtime: a graph in a file, run on the CPU; torch is not needed."""

import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

PACKAGES = {"openvino": "openvino", "onnxruntime": "onnx"}
"""The engines that run graphs, and the extra of bottomup that brings each."""
HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "f32"}
CAPABILITIES = {"FP32": "float32", "BF16": "bfloat16", "FP16": "float16", "INT8": "int8"}


class Session:
    """A graph that is ready to run, also by several threads.

    Attributes:
        engine: name and version of the package that runs it.
    """

    engine: str

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of the graph by name; later calls leave them as they are."""
        raise NotImplementedError


def is_inner(name: str) -> bool:
    """Whether an output of a graph is one of its network, such as "0.heatmaps"."""
    return "." in name


def is_installed(backend: str) -> bool:
    """Whether the package of a backend can be imported."""
    return importlib.util.find_spec(backend) is not None


def supported_precisions(backend: str) -> set[str]:
    """The precisions in which a backend computes on this processor without emulation.

    Raises:
        ValueError: the package is not installed, or does not work.
    """
    _require(backend)
    if backend != "openvino":
        return {"float32", "int8"}
    try:
        names = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except Exception as error:  # as in `open_session`
        reason = f"openvino does not work here ({_reason(error)})"
        raise ValueError(f"{reason}: install it anew, or choose another backend") from error
    return {CAPABILITIES[name] for name in names if name in CAPABILITIES}


def open_session(
    path: Path,
    backend: str,
    *,
    precision: str = "float32",
    threads: int | None = None,
    cache: Path | None = None,
    reads: bool = False,
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
        reads: whether the graph also reads the outputs of its network, as exported ones do. That
            part is in float32 whatever the precision is, since it computes positions, and its
            results alone are returned.

    Raises:
        ValueError: the package is not installed, or cannot run the graph.
    """
    _require(backend)
    opened = _OpenVINO if backend == "openvino" else _ONNXRuntime
    try:
        return opened(path, precision, threads, cache, reads)
    except Exception as error:  # ONNX Runtime has errors of its own, which are only `Exception`
        raise ValueError(f"{path}: {backend} cannot run this graph ({_reason(error)})") from error


def _require(backend: str) -> None:
    if not is_installed(backend):
        raise ValueError(
            f"{backend} is not installed: pip install 'bottomup[{PACKAGES[backend]}]', "
            "or choose another backend"
        )


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def import_openvino() -> ModuleType:
    """The package openvino, without its telemetry: the import itself would send an event."""
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[call-overload]
    import openvino

    return openvino


class _OpenVINO(Session):
    def __init__(
        self, path: Path, precision: str, threads: int | None, cache: Path | None, reads: bool
    ):
        openvino = import_openvino()
        core = openvino.Core()
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        if cache is not None:
            options["CACHE_DIR"] = str(cache)
        parts: list[Any] = [path]
        if reads:
            parts = _parts(openvino, core.read_model(path), whole=precision == "float32")
        hints = [_hint(precision), "f32"][: len(parts)]
        self._requests = [
            core.compile_model(
                part, "CPU", options | {"INFERENCE_PRECISION_HINT": hint}
            ).create_infer_request()
            for part, hint in zip(parts, hints, strict=True)
        ]
        self.engine = f"openvino {openvino.__version__.split('-')[0]}"
        self._names = [_name(output) for output in self._requests[-1].model_outputs]
        self._lock = threading.Lock()  # a request computes one thing at a time

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        results, inputs = {}, {0: images}
        with self._lock:
            for request in self._requests:
                results = request.infer(inputs, share_inputs=True)
                inputs = {0: images} | dict(enumerate(results.values(), 1))
        return dict(zip(self._names, results.values(), strict=True))


def _name(output: Any) -> str:
    """Of an output of a graph; it may also have one that a layer gave it, such as "/Sub_7"."""
    return min(output.get_names(), key=lambda name: "/" in name)


def _hint(precision: str) -> str:
    """The precision of layers that are not in 8 bits, as OpenVINO calls it."""
    if precision == "int8" and "bfloat16" in supported_precisions("openvino"):
        return "bf16"
    return HINTS[precision]


def _parts(openvino: Any, model: Any, *, whole: bool) -> list[Any]:
    """An exported graph in two, both of which take the images: its network, and what reads it.

    The second takes the outputs of the first, too. With `whole`, both are one.
    """
    inner = [output for output in model.outputs if is_inner(_name(output))]
    outer = [output.get_node() for output in model.outputs if not is_inner(_name(output))]
    if whole or not inner:
        return [openvino.Model(outer, model.get_parameters())]
    raw = [output.get_node().input_value(0) for output in inner]
    network = openvino.Model(raw, model.get_parameters()).clone()
    given = []
    for source in raw:
        given.append(openvino.opset8.parameter(source.get_partial_shape(), np.float32))
        for target in source.get_target_inputs():
            target.replace_source_output(given[-1].output(0))
    return [network, openvino.Model(outer, [*model.get_parameters(), *given])]


class _ONNXRuntime(Session):
    def __init__(
        self, path: Path, precision: str, threads: int | None, cache: Path | None, reads: bool
    ):
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
        names = [output.name for output in self._session.get_outputs()]
        self._names = [name for name in names if not (reads and is_inner(name))]

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        results: Any = self._session.run(self._names, {self._input: images})
        return dict(zip(self._names, results, strict=True))
