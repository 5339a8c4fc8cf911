"""Weights in and out: bundled ones by name, files of ours that describe themselves, and checkpoints of others.

A file of ours is a safetensors file whose metadata hold, under "bottomup", a JSON object: format
(1), builder and arguments (see `description.BUILDERS`), skeleton, preprocessing and free notes. The
file alone rebuilds the network, unless it says under "shared" which bundled weights it shares the
tensors with that it does not hold itself.
"""

import dataclasses
import difflib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from bottomup.models.pose_net import PoseNet
from bottomup.skeleton import Skeleton
from bottomup.weights.description import Network, assemble, describe, network_name
from bottomup.weights.published import PUBLISHED, cached_path
from bottomup.weights.reading import Checkpoint, WeightsError, fitted, read_checkpoint, some
from bottomup.weights.recognition import recognise

DEFAULT = "mobile"  # what "default" means
FOLDER = Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What `convert` did; printed, it is one line."""

    source: Path
    target: Path
    network: str
    num_keypoints: int
    num_parameters: int
    num_bytes: int

    def __str__(self) -> str:
        millions, megabytes = self.num_parameters / 1e6, self.num_bytes / 1e6
        size = f"{self.num_keypoints} joints, {millions:.3f} M parameters, {megabytes:.1f} MB"
        return f"{self.source} -> {self.target}: {self.network}, {size}"


@dataclasses.dataclass(frozen=True)
class TrunkReport:
    """What `load_trunk` did: names of the network's tensors, and of the file's.

    Attributes:
        loaded: tensors of the network that now hold the file's values.
        untouched: tensors of the network that the file does not concern, such as the head.
        left_over: tensors of the file that the network has no place for.
    """

    loaded: tuple[str, ...]
    untouched: tuple[str, ...]
    left_over: tuple[str, ...]

    def __str__(self) -> str:
        left_over = f"; left over in the file: {some(self.left_over)}" if self.left_over else ""
        return f"{len(self.loaded)} tensors loaded, {len(self.untouched)} of the network untouched{left_over}"


def bundled() -> dict[str, Path]:
    """The weights that come with the package, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.safetensors"))}


def load_model(weights: str | Path = "default", *, skeleton: Skeleton | None = None) -> PoseNet:
    """A network with its weights, on the CPU, in eval mode, in float32.

    Args:
        weights: "default", the name of bundled weights, or a file: one of ours, a checkpoint of the
            public HigherHRNet release, of MMPose 0.x (HigherHRNet, HRNet with associative
            embedding) or of a training.
        skeleton: the joints, where the file neither says them nor has COCO's 17 or CrowdPose's 14.

    Raises:
        WeightsError: there is no such file, or it cannot be used; says why and what to do.
    """
    net = load_network(weights, skeleton=skeleton)
    if not isinstance(net, PoseNet):
        name = network_name(describe(net))
        raise WeightsError(
            f"{weights}: holds {name}, a part of a top-down method, which does not find everybody's joints in an "
            "image; give it to `bottomup.topdown.predictor.TopDownPredictor`"
        )
    return net


def load_network(weights: str | Path, *, skeleton: Skeleton | None = None) -> Network:
    """`load_model` for any kind of network: also those for one person in a crop, and detectors of people."""
    return _rebuild(read_checkpoint(find(weights)), skeleton)


def find(weights: str | Path) -> Path:
    """The file that a name or a path stands for; names of bundled and of fetched weights come first.

    ./NAME is always a path.

    Raises:
        WeightsError: there is none; lists the names that exist, and the closest.
    """
    names = bundled()
    if isinstance(weights, str):
        name = DEFAULT if weights == "default" else weights
        if name in names:
            return names[name]
        if name in PUBLISHED and cached_path(name).is_file():
            return cached_path(name)
    path = Path(weights).expanduser()
    if path.exists():
        return path
    if weights in PUBLISHED:
        raise WeightsError(
            f"{weights}: published by others and not fetched yet: bottomup weights fetch {weights}"
        )
    known = ["default", *names] if DEFAULT in names else list(names)
    close = difflib.get_close_matches(str(weights), [*known, *PUBLISHED], n=3)
    meant = f"; did you mean {' or '.join(close)}?" if close else ""
    raise WeightsError(
        f"{weights}: neither a file nor one of the bundled weights ({', '.join(known) or 'none'}){meant}"
    )


def save_model(
    net: Network,
    path: str | Path,
    *,
    half: bool = False,
    shared: str | None = None,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write a network to a .safetensors file that rebuilds it; the file appears whole or not at all.

    Args:
        net: made by a builder of `description.BUILDERS`.
        path: where to; its folder must exist, a file of that name is replaced.
        half: store the layers' weights as float16, at half the size; they are loaded as float32
            again.
        shared: the name of bundled weights; tensors that are exactly theirs are left out of the
            file, which then needs these weights beside it.
        notes: JSON values to keep in the file, for instance where the weights come from.

    Raises:
        ValueError: the network has no recipe, its weights are not finite (in float16), or `path` is
            not a .safetensors file; nothing is `shared`.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"weights are saved as NAME.safetensors, not {path.name}")
    description = describe(net, notes=notes)
    state = net.state_dict()
    if shared is not None:
        common = _in_common(state, shared)
        description["shared"] = {"weights": shared, "sha256": _digest(common)}
        state = {name: tensor for name, tensor in state.items() if name not in common}
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        dtype = torch.float16 if half and tensor.ndim in (2, 4) else tensor.dtype
        tensors[name] = tensor.detach().to("cpu", dtype).contiguous()
        if tensors[name].is_floating_point() and not tensors[name].isfinite().all():
            raise ValueError(
                f"{name} is not finite{' in float16' if half else ''}, so {path} was not written"
            )
    _write_whole(path, safetensors.torch.save(tensors, {"bottomup": json.dumps(description)}))


def convert(
    source: str | Path, target: str | Path, *, half: bool = False, skeleton: Skeleton | None = None
) -> Conversion:
    """Turn any checkpoint that `load_model` takes into a file of ours.

    Args:
        source: the checkpoint; it is never written to.
        target: the .safetensors file to write.
        half: as in `save_model`.
        skeleton: as in `load_model`.

    Raises:
        WeightsError: the source cannot be used, or the target is the source or no place for a file.
    """
    source, target = find(source), Path(target).expanduser()
    if target.suffix != ".safetensors":
        raise WeightsError(f"{target}: name the new file something.safetensors")
    if not target.parent.is_dir() or target.is_dir():
        raise WeightsError(
            f"{target}: a folder is missing on the way, or the file's name is that of a folder"
        )
    if target.exists() and target.samefile(source):
        raise WeightsError(f"{target}: is the source itself; give the new file another name")
    checkpoint = read_checkpoint(source)
    net = _rebuild(checkpoint, skeleton)
    try:
        save_model(net, target, half=half, notes=(checkpoint.description or {}).get("notes"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{target}: cannot be written ({error})") from error
    num_parameters = sum(parameter.numel() for parameter in net.parameters())
    num_bytes = target.stat().st_size
    return Conversion(
        source,
        target,
        network_name(describe(net)),
        net.skeleton.num_keypoints,
        num_parameters,
        num_bytes,
    )


def load_trunk(net: PoseNet, path: str | Path) -> TrunkReport:
    """Start a training from other weights: fill the trunk of `net` from an ImageNet or any other checkpoint.

    Args:
        net: the network; its head, mean and std are left as they are.
        path: a checkpoint whose trunk is that of `net`; whatever else it holds is left over.

    Raises:
        WeightsError: the file cannot be used or lacks a part of the trunk; `net` is then as before.
    """
    checkpoint = read_checkpoint(Path(path).expanduser())
    wanted = {
        name: tensor for name, tensor in net.state_dict().items() if name.startswith("trunk.")
    }
    present = {name: tensor for name, tensor in checkpoint.tensors.items() if name in wanted}
    state = fitted(wanted, present, f"{path}: does not fit the trunk {type(net.trunk).__name__}")
    net.load_state_dict(state, strict=False)
    untouched = tuple(name for name in net.state_dict() if name not in wanted)
    return TrunkReport(
        tuple(wanted), untouched, tuple(name for name in checkpoint.tensors if name not in wanted)
    )


def read_description(weights: str | Path) -> dict[str, Any]:
    """What `load_model(weights)` would build, as `describe` says it, notes included.

    Raises:
        WeightsError: as in `load_model`.
    """
    checkpoint = read_checkpoint(find(weights))
    return dict(_description(checkpoint))


def _description(checkpoint: Checkpoint, skeleton: Skeleton | None = None) -> Mapping[str, Any]:
    """What the file says of itself, else what can be told from its tensors."""
    return (
        recognise(checkpoint, skeleton)
        if checkpoint.description is None
        else checkpoint.description
    )


def read_tensors(checkpoint: Checkpoint, wanted: Iterable[str]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, together with those of the `wanted` ones that it shares with bundled weights.

    Raises:
        WeightsError: the weights that it names are not there, or have changed.
    """
    shared = (checkpoint.description or {}).get("shared")
    if not shared:
        return dict(checkpoint.tensors)
    try:
        name, expected = str(shared["weights"]), shared["sha256"]
    except (TypeError, KeyError) as error:
        raise WeightsError(
            f"{checkpoint.path}: does not say what it shares; download it again"
        ) from error
    if name not in bundled():
        raise WeightsError(
            f"{checkpoint.path}: needs the bundled weights {name!r:.50}, which are not there"
        )
    theirs = read_checkpoint(bundled()[name]).tensors
    common = {
        key: theirs[key].float()
        for key in wanted
        if key not in checkpoint.tensors and key in theirs
    }
    if _digest(common) != expected:
        raise WeightsError(
            f"{checkpoint.path}: was made with other weights {name!r} than those that are there; "
            "take both files from one version of bottomup"
        )
    return {**common, **checkpoint.tensors}


def _in_common(state: Mapping[str, Tensor], weights: str) -> dict[str, Tensor]:
    """The tensors of bundled weights that a network has, too: theirs, which may have a -0 where the network has 0."""
    theirs = read_checkpoint(find(weights)).tensors
    common = {
        name: theirs[name].float()
        for name, tensor in state.items()
        if name in theirs
        and theirs[name].shape == tensor.shape
        and torch.equal(theirs[name].float(), tensor.cpu())
    }
    if not common:
        raise ValueError(
            f"the network shares no tensor with the weights {weights}: save it without `shared`"
        )
    return common


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _rebuild(checkpoint: Checkpoint, skeleton: Skeleton | None) -> Network:
    """The network of a checkpoint, filled and ready."""
    net = assemble(_description(checkpoint, skeleton), checkpoint.path, skeleton=skeleton)
    what = f"{checkpoint.path}: does not fit {network_name(describe(net))}"
    built = net.state_dict()
    defaults = {
        name: built[name] for name in ("mean", "std")
    }  # other people's files do not have them
    given = {**defaults, **read_tensors(checkpoint, built)}
    net.load_state_dict(fitted(built, given, what), assign=True)
    return net.eval()


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file that is never seen half written: under another name first, then renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
