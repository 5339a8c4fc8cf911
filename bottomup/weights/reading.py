"""Reading checkpoint files of any origin, without trusting them.

A checkpoint is a pickle (of the public HigherHRNet release, MMPose 0.x or Lightning) or a
safetensors file. Of pickles only tensors, numbers and text are read, and no code runs: see
`pickles`. Names may share memory, but no file can claim much more of it than it has bytes. A file
that cannot be used gives one sentence that says why and what to do.

Many trainings keep two sets of weights, the current ones and their average, and files of them can
hold both. The second set has names of its own (ema_*), or an entry of its own (`AVERAGES`).
"""

import dataclasses
import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from bottomup.weights.pickles import UnsafeError, load_pickle

MAX_HEADER = 16 * 2**20  # bytes of a safetensors header; that of HigherHRNet-W48 has 0.2 MB
RENAMES = (
    # wrappers off: DDP, half precision, Lightning (two of them), torch.compile
    (r"^((module|1|network|model|_orig_mod)\.)+", ""),
    # MMPose
    (r"^backbone\.", "trunk."),
    (r"^keypoint_head\.", "head."),
    # the public HigherHRNet release, whose trunk has no prefix
    (r"^(?=(final_layers|deconv_layers)\.)", "head."),
    (r"^(?!(trunk|head)\.|(mean|std)\Z)", "trunk."),
    # MMPose's head with a single resolution
    (r"^head\.final_layer\.", "head.final_layers.0."),
)  # names in checkpoints to those in `PoseNet.state_dict`, one after the other
# entries with a second set of weights
AVERAGES = ("ema_state_dict", "state_dict_ema", "model_ema", "ema_model", "ema", "ema_weights")
COUNTERS = ("n_averaged", "steps")  # what averages count beside the weights
MAX_SHARING = 8  # how many times the bytes of a file its names may claim, by sharing memory
DOWNLOAD_AGAIN = "download it again and compare its size with the source's"


class WeightsError(ValueError):
    """A weights file cannot be used; the message names the file, the reason and the remedy."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The content of a file.

    Attributes:
        path: the file.
        tensors: by their names in `PoseNet.state_dict`: trunk.*, head.*, mean, std.
        description: of the network, as `describe` returns it; None if the file has none.
        config: the text that the training program left in the file, or "".
        second: the second set of weights, by the same names; empty if there is one set only.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    description: Mapping[str, Any] | None
    config: str
    second: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of any known kind, with the names of our networks.

    Raises:
        WeightsError: the file is missing, unreadable, damaged or no checkpoint, or would run code.
    """
    try:
        if not path.is_file():
            what = "not a file; name the checkpoint inside it" if path.exists() else "no such file"
            raise WeightsError(f"{path}: {what}")
        with path.open("rb") as file:
            head = file.read(256)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error

    # the first bytes tell the kind of file
    second: dict[str, Tensor] = {}
    if head[8:9] == b"{":  # a safetensors file has a JSON header after eight bytes of length
        tensors, description, config = _read_safetensors(path, head)
    elif head.startswith((b"PK\x03\x04", b"\x80")):  # a zip archive, as since torch 1.6, or not
        tensors, second, description, config = _read_pickle(path, is_zip=head.startswith(b"PK"))
    else:
        raise WeightsError(f"{path}: {_what_it_is(head)}")

    if description is not None and not isinstance(description, Mapping):
        raise WeightsError(
            f"{path}: its description of itself is a {type(description).__name__}; {DOWNLOAD_AGAIN}"
        )
    for one_set in (tensors, second):
        _check_sizes(path, one_set)
    tensors, twins = _split_twins(tensors)
    second = _standard_names(path, twins or second)
    return Checkpoint(path, _standard_names(path, tensors), description, config, second)


def _what_it_is(head: bytes) -> str:
    """What a file that is no checkpoint most likely is."""
    text = head.lstrip().lower()
    if not head:
        return f"the file is empty; {DOWNLOAD_AGAIN}"
    if text.startswith(b"version https://git-lfs"):
        return (
            "this is a Git LFS pointer, not the file itself; run `git lfs pull` in its repository"
        )
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return (
            "this is a web page (a login or a warning of the host?); open the link in a browser "
            "and download the file"
        )
    return (
        f"not a checkpoint (it begins with {head[:12]!r}); a .pth or .ckpt file that torch.save "
        "wrote, or a .safetensors file is needed"
    )


def _read_safetensors(path: Path, head: bytes) -> tuple[dict[str, Tensor], Any, str]:
    """Tensors by name, description (not checked yet) and configuration."""
    size, length = path.stat().st_size, int.from_bytes(head[:8], "little")
    if length > min(size - 8, MAX_HEADER):
        raise WeightsError(
            f"{path}: claims a header of {length} bytes (at most {MAX_HEADER}, and the file has "
            f"{size}), so it is damaged or not a weights file; {DOWNLOAD_AGAIN}"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except Exception as error:  # the library raises many kinds for a damaged file
        raise WeightsError(
            f"{path}: damaged safetensors file ({in_short(error)}); {DOWNLOAD_AGAIN}"
        ) from error
    if "bottomup" not in metadata:
        return tensors, None, " ".join(metadata.values())
    try:
        return tensors, json.loads(metadata["bottomup"]), ""
    except (ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path}: its description of itself is damaged ({error}); {DOWNLOAD_AGAIN}"
        ) from error


def _read_pickle(
    path: Path, *, is_zip: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor], Any, str]:
    """Tensors by name, the second set, description (not checked yet) and configuration."""
    if is_zip:
        _check_zip(path)
    try:
        content = load_pickle(path, mmap=is_zip)
    except UnsafeError as error:
        raise WeightsError(
            f"{path}: asks for {error}, which can do harm; only tensors, numbers and text are "
            "read. If you trust the file, save its state_dict alone with torch.save"
        ) from error
    except Exception as error:  # a damaged or hostile pickle can raise anything
        raise WeightsError(
            f"{path}: not a checkpoint of torch.save, or a damaged one ({in_short(error)}); "
            f"{DOWNLOAD_AGAIN}"
        ) from error
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"{path}: holds a {type(content).__name__}, not a dict of named tensors; save its "
            "state_dict with torch.save"
        )

    # the tensors are in one of two known entries, or are the entries themselves
    nested = [content.get(key) for key in ("state_dict", "model")]
    state = next((value for value in nested if isinstance(value, Mapping)), content)
    tensors, second = _tensors_of(state), _second_set(content)
    tensors = tensors or second
    if not tensors:
        raise WeightsError(
            f"{path}: holds no tensors; its entries are {some(map(str, state))}; save a state_dict "
            "with torch.save"
        )
    if "averaging_state" in content:  # Lightning stores the average as the weights themselves
        second = tensors
    meta = content.get("meta")
    values = meta.values() if isinstance(meta, Mapping) else ()
    config = " ".join(str(value) for value in values if _has_text(value))
    return tensors, second, content.get("bottomup"), config


def _has_text(value: Any) -> bool:
    """Whether it is text or a number; lists within lists could be texts without end."""
    return isinstance(value, str | float) or (isinstance(value, int) and abs(value) < 1 << 63)


def _tensors_of(state: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {
        name: value
        for name, value in state.items()
        if isinstance(value, Tensor) and isinstance(name, str)
    }


def _second_set(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The tensors of the first of `AVERAGES` that has any, perhaps one level further down."""
    for key in AVERAGES:
        entry = content.get(key)
        for state in (entry, *(entry.values() if isinstance(entry, Mapping) else ())):
            if isinstance(state, Mapping) and (found := _tensors_of(state)):
                return {name: t for name, t in found.items() if name not in COUNTERS}
    return {}


def _split_twins(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Tensors without their twins, and the twins: ema_a_b is the twin of a.b."""
    bare = {name: re.sub(*RENAMES[0], name) for name in tensors}
    twin_of = {f"ema_{own.replace('.', '_')}": name for name, own in bare.items()}
    twins = {twin_of[bare[name]]: t for name, t in tensors.items() if bare[name] in twin_of}
    return {name: t for name, t in tensors.items() if bare[name] not in twin_of}, twins


def _check_zip(path: Path) -> None:
    """An archive must be complete, with nothing in it compressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise WeightsError(
            f"{path}: the archive is cut off or damaged ({error}); {DOWNLOAD_AGAIN}"
        ) from error
    is_stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    if not is_stored or sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise WeightsError(
            f"{path}: a compressed archive; torch.save writes uncompressed ones, so unpack it first"
        )


def _check_sizes(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Tensors must be dense ones on the CPU, in all not much larger than the file."""
    odd = [
        name
        for name, t in tensors.items()
        if t.layout != torch.strided or t.is_quantized or t.device.type != "cpu"
    ]
    if odd:
        raise WeightsError(f"{path}: sparse or quantised tensors cannot be read: {some(odd)}")
    claimed, size = sum(t.numel() * t.element_size() for t in tensors.values()), path.stat().st_size
    if claimed > MAX_SHARING * size:
        raise WeightsError(
            f"{path}: claims {claimed} bytes of tensors and has {size}; {DOWNLOAD_AGAIN}"
        )


def _standard_names(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as in `PoseNet.state_dict`, whoever wrote the file."""
    # of a checkpoint of ours only the network counts, not the criterion and the like
    ours = {name: tensor for name, tensor in tensors.items() if name.startswith("network.")}
    named: dict[str, Tensor] = {}
    for name, tensor in (ours or tensors).items():
        standard = name
        for pattern, replacement in RENAMES:
            standard = re.sub(pattern, replacement, standard)
        if standard in named:
            raise WeightsError(
                f"{path}: two tensors are both {standard}, the second is called {name}; remove one"
            )
        named[standard] = tensor
    return named


def fitted(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], what: str
) -> dict[str, Tensor]:
    """The tensors of a file for a network: copied, in the network's number format.

    The counters of batch norms may be missing: files older than torch 0.4.1 lack them, and only
    training reads them.

    Args:
        wanted: names, shapes and number formats of the network.
        given: the file's tensors.
        what: the beginning of the message, "FILE: does not fit NETWORK".

    Raises:
        WeightsError: names are missing or left over, shapes differ, or values are not finite.
    """
    odd = {
        "missing": [
            name
            for name in wanted
            if name not in given and not name.endswith("num_batches_tracked")
        ],
        "left over": [name for name in given if name not in wanted],
        "of the wrong shape": [
            f"{name} ({_kind(given[name])} instead of {_kind(tensor)})"
            for name, tensor in wanted.items()
            if name in given
            and (given[name].shape, given[name].is_floating_point())
            != (tensor.shape, tensor.is_floating_point())
        ],
    }
    told = [f"{len(names)} {how}: {some(names)}" for how, names in odd.items() if names]
    if told:
        raise WeightsError(f"{what}, of whose {len(wanted)} tensors {'; '.join(told)}")

    tensors = {
        name: given[name].to(tensor.dtype, copy=True, memory_format=torch.contiguous_format)
        if name in given
        else torch.zeros(tensor.shape, dtype=tensor.dtype)
        for name, tensor in wanted.items()
    }
    # numpy: torch would wake its threads for each of hundreds of small tensors
    broken = [name for name, tensor in tensors.items() if not np.isfinite(tensor.numpy()).all()]
    if broken:
        raise WeightsError(
            f"{what}: values that are not finite, as after a training that diverged, "
            f"in {len(broken)} tensors: {some(broken)}"
        )
    return tensors


def _kind(tensor: Tensor) -> str:
    """The shape of a tensor, and its type unless that is a floating-point one."""
    shape = "x".join(map(str, tensor.shape)) or "a number"
    dtype = "" if tensor.is_floating_point() else f" {tensor.dtype}".replace("torch.", "")
    return shape + dtype


def some(names: Iterable[str]) -> str:
    """The first three names, and the number of all if there are more."""
    names = list(names)
    return ", ".join(names[:3]) + (f", ... ({len(names)} in all)" if len(names) > 3 else "")


def in_short(error: Exception) -> str:
    """The kind of an error and its first line, without torch's advice to load the file unsafely."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    name = type(error).__name__
    return f"{name}: {line[:120]}" if line and "weights_only" not in line else name
