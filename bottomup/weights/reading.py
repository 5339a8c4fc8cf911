"""Reading the checkpoint files that people own, without trusting them.

A checkpoint is a pickle (the public HigherHRNet release, MMPose 0.x, Lightning) or a safetensors
file. Pickles are opened with `weights_only=True`, so they can hold tensors, numbers and text but
run no code, and no file can claim more memory than it has bytes. What cannot be used is refused in
one sentence that says what to do.
"""

import dataclasses
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

MAX_HEADER = (
    16 * 2**20
)  # bytes of names and shapes in front of a safetensors file; HigherHRNet-W48 needs 0.2 MB
WRAPPERS = (
    "module.",
    "1.",
    "network.",
    "model.",
    "_orig_mod.",
)  # DDP, half precision, Lightning (2), torch.compile
DOWNLOAD_AGAIN = "download it again and compare its size with the source's"


class WeightsError(ValueError):
    """A weights file cannot be used; the message names the file, the reason and the remedy."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        path: the file.
        tensors: by the names of `PoseNet.state_dict`: trunk.*, head.*, mean, std.
        description: what a file of ours says of itself, else None.
        config: text that the training program left in the file, "" if none.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    description: Mapping[str, Any] | None
    config: str


def read_checkpoint(path: Path) -> Checkpoint:
    """Open a checkpoint of any known kind and bring its names to ours.

    Raises:
        WeightsError: the file is missing, unreadable, no checkpoint, damaged, or wants to run code.
    """
    head = _first_bytes(path)
    if head[8:9] == b"{":  # after eight bytes of length, safetensors has a JSON header
        tensors, description, config = _read_safetensors(path)
    elif head.startswith((b"PK\x03\x04", b"\x80")):
        tensors, description, config = _read_pickle(path)
    else:
        raise WeightsError(f"{path}: {_what_it_is(head)}")
    if description is not None and not isinstance(description, Mapping):
        raise WeightsError(
            f"{path}: its description of itself is a {type(description).__name__}; {DOWNLOAD_AGAIN}"
        )
    _check_sizes(path, tensors)
    return Checkpoint(path, _standard_names(path, tensors), description, config)


def _first_bytes(path: Path) -> bytes:
    if not path.exists():
        raise WeightsError(f"{path}: no such file")
    if not path.is_file():
        raise WeightsError(f"{path}: not a file; name the checkpoint inside it")
    try:
        with path.open("rb") as file:
            return file.read(256)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error


def _what_it_is(head: bytes) -> str:
    """The likeliest story behind a file that is no checkpoint."""
    text = head.lstrip().lower()
    if not head:
        return f"the file is empty; {DOWNLOAD_AGAIN}"
    if text.startswith(b"version https://git-lfs"):
        return "this is a Git LFS pointer, not the file that it stands for; run `git lfs pull` in its repository"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "this is a web page (a login or a warning of the host?); open the link in a browser and download the file"
    return (
        f"not a checkpoint (it begins with {head[:12]!r}); a .pth or .ckpt file that torch.save wrote, "
        "or a .safetensors file is needed"
    )


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], Any, str]:
    """Tensors by name, description (not checked yet) and configuration."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > min(size - 8, MAX_HEADER):
        raise WeightsError(
            f"{path}: claims a header of {length} bytes (at most {MAX_HEADER}, and the file has {size}), "
            f"so it is damaged or no weights file; {DOWNLOAD_AGAIN}"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except Exception as error:  # the library raises many kinds, all of which mean the same here
        raise WeightsError(
            f"{path}: damaged safetensors file ({_first_line(error)}); {DOWNLOAD_AGAIN}"
        ) from error
    if "bottomup" not in metadata:
        return tensors, None, " ".join(metadata.values())
    try:
        description = json.loads(metadata["bottomup"])
    except (ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path}: its description of itself is damaged ({error}); {DOWNLOAD_AGAIN}"
        ) from error
    return tensors, description, ""


def _read_pickle(path: Path) -> tuple[dict[str, Tensor], Any, str]:
    """Tensors by name, description (not checked yet) and configuration."""
    is_zip = _check_zip(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:  # a damaged or hostile pickle can raise anything
        asked_for = re.search(r"GLOBAL\s+(\S+)", str(error))
        if asked_for:
            raise WeightsError(
                f"{path}: asks for {asked_for[1]}; only tensors, numbers and text are read, since anything else can "
                "run code. Where you trust the file, save its state_dict alone, with torch.save"
            ) from error
        raise WeightsError(
            f"{path}: not a checkpoint of torch.save, or a damaged one ({_first_line(error)}); {DOWNLOAD_AGAIN}"
        ) from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, not a dict of named tensors")
    state = next(
        (content[key] for key in ("state_dict", "model") if isinstance(content.get(key), Mapping)),
        content,
    )
    tensors = {
        name: value
        for name, value in state.items()
        if isinstance(value, Tensor) and isinstance(name, str)
    }
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors; its entries are {some(map(str, state))}")
    meta = content.get("meta")
    config = " ".join(map(str, meta.values())) if isinstance(meta, Mapping) else ""
    return tensors, content.get("bottomup"), config


def _check_zip(path: Path) -> bool:
    """Whether the file is a zip archive, as torch writes them since 1.6: complete, and nothing in it compressed."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return False
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise WeightsError(
            f"{path}: the archive is cut off or damaged ({error}); {DOWNLOAD_AGAIN}"
        ) from error
    if unpacked > path.stat().st_size:
        raise WeightsError(
            f"{path}: a compressed archive; torch.save writes uncompressed ones, so unpack it first"
        )
    return True


def _check_sizes(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Tensors must be ordinary ones, and all their numbers must stand in the file."""
    odd = [
        name
        for name, t in tensors.items()
        if t.layout != torch.strided or t.is_quantized or t.device.type != "cpu"
    ]
    if odd:
        raise WeightsError(f"{path}: sparse or quantised tensors cannot be read: {some(odd)}")
    claimed = sum(t.numel() * t.element_size() for t in tensors.values())
    if claimed > path.stat().st_size:
        raise WeightsError(
            f"{path}: claims {claimed} bytes of tensors and has {path.stat().st_size}; {DOWNLOAD_AGAIN}"
        )


def _standard_names(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as in `PoseNet.state_dict`, whoever wrote the file."""
    if any(
        name.startswith("network.") for name in tensors
    ):  # a training of ours: criterion and the like stay behind
        tensors = {name: tensor for name, tensor in tensors.items() if name.startswith("network.")}
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        standard = _standard_name(name)
        if standard in named:
            raise WeightsError(
                f"{path}: two tensors are both {standard}, the second is called {name}; remove one"
            )
        named[standard] = tensor
    return named


def _standard_name(name: str) -> str:
    """One name: wrappers off, official and MMPose names to trunk.* and head.*."""
    while name.startswith(WRAPPERS):
        name = name.split(".", 1)[1]
    if name.startswith("backbone."):
        name = "trunk." + name.removeprefix("backbone.")
    elif name.startswith("keypoint_head."):
        name = "head." + name.removeprefix("keypoint_head.")
    elif name.startswith(("final_layers.", "deconv_layers.")):
        name = "head." + name
    elif not name.startswith(("trunk.", "head.")) and name not in ("mean", "std"):
        name = "trunk." + name
    return re.sub(
        r"^head\.final_layer\.", "head.final_layers.0.", name
    )  # MMPose's head with a single resolution


def fitted(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], what: str
) -> dict[str, Tensor]:
    """Tensors of a file, each where the network wants it, copied, in the network's number format.

    The counters of batch norms may be missing: files older than torch 0.4.1 lack them, and only
    training reads them.

    Args:
        wanted: names, shapes and number formats of the network.
        given: the file's tensors.
        what: the beginning of the message, "FILE: does not fit NETWORK".

    Raises:
        WeightsError: names are missing or left over, shapes differ, or values are not numbers.
    """
    missing = [
        name for name in wanted if name not in given and not name.endswith("num_batches_tracked")
    ]
    left_over = [name for name in given if name not in wanted]
    wrong = [
        f"{name} ({_kind(given[name])} instead of {_kind(tensor)})"
        for name, tensor in wanted.items()
        if name in given and not _is_like(given[name], tensor)
    ]
    if missing or left_over or wrong:
        counts = {"missing": missing, "left over": left_over, "of the wrong shape": wrong}
        told = "; ".join(
            f"{len(names)} {how}: {some(names)}" for how, names in counts.items() if names
        )
        raise WeightsError(f"{what}, of whose {len(wanted)} tensors {told}")
    tensors = {
        name: given[name].to(tensor.dtype, copy=True, memory_format=torch.contiguous_format)
        if name in given
        else torch.zeros(tensor.shape, dtype=tensor.dtype)
        for name, tensor in wanted.items()
    }
    broken = [
        name
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not tensor.isfinite().all()
    ]
    if broken:
        raise WeightsError(
            f"{what}: values that are not finite, as after a training that diverged, in {len(broken)} tensors: "
            f"{some(broken)}"
        )
    return tensors


def _is_like(given: Tensor, wanted: Tensor) -> bool:
    return given.shape == wanted.shape and given.is_floating_point() == wanted.is_floating_point()


def _kind(tensor: Tensor) -> str:
    shape = "x".join(map(str, tensor.shape)) or "a number"
    return (
        shape
        if tensor.is_floating_point()
        else f"{shape} {str(tensor.dtype).removeprefix('torch.')}"
    )


def some(names: Any) -> str:
    """The first few names, and how many there are in all when they are more."""
    names = list(names)
    return ", ".join(names[:3]) + (f", ... ({len(names)} in all)" if len(names) > 3 else "")


def _first_line(error: Exception) -> str:
    """What went wrong, short: torch explains itself in paragraphs, and its first ones are not for our reader."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0] if lines else ""
    return (
        type(error).__name__
        if not line or "weights_only" in line
        else f"{type(error).__name__}: {line[:120]}"
    )
