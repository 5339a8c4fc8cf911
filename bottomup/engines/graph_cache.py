"""Graphs of networks in the user's cache folder, by the hash of all that they are made of."""

import contextlib
import hashlib
import json
import tempfile
from pathlib import Path

import torch

from bottomup.engines.graphs import write_dense
from bottomup.engines.quantization import quantize, sample_inputs
from bottomup.engines.sessions import Session, open_session
from bottomup.files import user_cache, write_whole
from bottomup.models.pose_net import PoseNet
from bottomup.weights.description import describe

VERSION = 1  # of the graphs: counted up when they are made in another way
MAX_BYTES = 1 << 30  # of all graphs, also compiled; the oldest are removed


def open_cached(
    net: PoseNet,
    backend: str,
    *,
    sha256: str,
    precision: str = "float32",
    threads: int | None = None,
) -> Session:
    """A session with the `DenseGraph` of a network, made if the cache does not hold it.

    Args:
        net: on the CPU.
        backend: see `open_session`.
        sha256: of the weights, see `digest`.
        precision: see `open_session`; the ranges of int8 come from the sample images.
        threads: see `open_session`.

    Raises:
        ValueError: the graph cannot be made or run.
    """
    key = _key(net, sha256)
    path = user_cache("graphs") / f"{key}{'-int8' * (precision == 'int8')}.onnx"
    if path.is_file():
        with contextlib.suppress(OSError, ValueError):  # it is damaged
            return _open(path, backend, precision, threads)
    with tempfile.TemporaryDirectory() as temporary:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(net, path, precision)
        except OSError:  # the cache cannot be written, or the disk is full
            path = Path(temporary) / path.name
            _write(net, path, precision)
        return _open(path, backend, precision, threads)


def _open(path: Path, backend: str, precision: str, threads: int | None) -> Session:
    """Make a graph ready, and remove older ones: OpenVINO may have kept what it compiled."""
    folder = path.parent
    session = open_session(path, backend, precision=precision, threads=threads, cache=folder)
    _remove_oldest(path)
    return session


def _write(net: PoseNet, path: Path, precision: str) -> None:
    """Write the graph, whole or not at all."""
    if precision == "int8":
        with tempfile.TemporaryDirectory() as temporary:
            exact, quantized = (Path(temporary, name) for name in ("exact.onnx", "int8.onnx"))
            write_dense(net, exact)
            quantize(exact, quantized, sample_inputs(net))
            with write_whole(path) as file:
                file.write(quantized.read_bytes())
    else:
        write_dense(net, path)


def _key(net: PoseNet, sha256: str) -> str:
    """The hash of a network, its weights, and what makes the graph."""
    parts = [VERSION, torch.__version__, describe(net), sha256]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _remove_oldest(newest: Path) -> None:
    """Keep the cache within `MAX_BYTES`; other processes may do the same meanwhile."""
    found = []
    for path in newest.parent.iterdir():
        with contextlib.suppress(OSError):  # it is gone
            if path.is_file():
                stat = path.stat()
                found.append((path == newest, stat.st_mtime, stat.st_size, path))
    used = 0
    for is_newest, _, num_bytes, path in sorted(found, reverse=True):
        used += num_bytes
        if used > MAX_BYTES and not is_newest:
            path.unlink(missing_ok=True)
