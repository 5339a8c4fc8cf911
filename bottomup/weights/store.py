"""Loading and saving weights: bundled ones by name, our own files, checkpoints of other projects.

Our own format is a safetensors file with a description of the network: a JSON object under
"bottomup" in its metadata, see `description`. The network can be rebuilt from the file alone. The
exception are files whose description has an entry "shared": they lack the tensors that they have in
common with the bundled weights named there.
"""

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import safetensors.torch
import torch
from torch import Tensor

from bottomup.files import write_whole
from bottomup.models.network import Network
from bottomup.models.pose_net import BUILDERS, PoseNet
from bottomup.skeleton import Skeleton
from bottomup.weights.description import assemble, describe, network_name
from bottomup.weights.joints import take_joints
from bottomup.weights.published import PUBLISHED, cached_path
from bottomup.weights.reading import Checkpoint, WeightsError, fitted, read_checkpoint, some
from bottomup.weights.recognition import recognise

DEFAULT = "mobile"  # the bundled weights that "default" means
FOLDER = Path(__file__).resolve().parent

N = TypeVar("N", bound=Network)


def bundled() -> dict[str, Path]:
    """The weights files in the package, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.safetensors"))}


def find(weights: str | Path) -> Path:
    """Find the file of a name or a path. Names of bundled and fetched weights have priority.

    "./NAME" is always a path.

    Raises:
        WeightsError: there is no such file; the message lists the bundled names and similar ones.
    """
    names = bundled()
    if DEFAULT in names:
        names = {"default": names[DEFAULT]} | names
    if isinstance(weights, str):
        if weights in names:
            return names[weights]
        if weights in PUBLISHED and cached_path(weights).is_file():
            return cached_path(weights)
    path = Path(weights).expanduser()
    if path.exists():
        return path
    if weights in PUBLISHED:
        raise WeightsError(
            f"{weights}: published by others and not fetched yet: bottomup weights fetch {weights}"
        )
    close = difflib.get_close_matches(str(weights), [*names, *PUBLISHED], n=3)
    meant = f"; did you mean {' or '.join(close)}?" if close else ""
    raise WeightsError(
        f"{weights}: neither a file nor one of the bundled weights "
        f"({', '.join(names) or 'none'}){meant}"
    )


def load_model(
    weights: str | Path = "default", *, skeleton: Skeleton | None = None, ema: bool = False
) -> PoseNet:
    """Load a bottom-up network with its weights: on the CPU, in eval mode, in float32.

    Args:
        weights: "default", the name of bundled or fetched weights, or a file: of our own format, a
            checkpoint of a training, or one of the public HigherHRNet release or of MMPose 0.x
            (HigherHRNet, HRNet with associative embedding).
        skeleton: the joints, needed if the file does not describe them and has neither the 17 of
            COCO nor the 14 of CrowdPose.
        ema: take the second set of weights (ema_*) of a file that holds two. Files of MMCV and
            MMEngine hold the averaged weights as the first set, others as the second.

    Raises:
        WeightsError: the file does not exist or cannot be used; the message names the remedy.
    """
    return load_network(weights, BUILDERS, skeleton=skeleton, ema=ema)


def load_network(
    weights: str | Path,
    builders: Mapping[str, Callable[..., N]],
    *,
    skeleton: Skeleton | None = None,
    ema: bool = False,
) -> N:
    """As `load_model`, for networks of the given builders, such as those of top-down methods."""
    return _rebuild(_choose_set(read_checkpoint(find(weights)), ema=ema), builders, skeleton)


def read_description(weights: str | Path) -> dict[str, Any]:
    """Read the description of a file's network, as `describe` returns it.

    Raises:
        WeightsError: as in `load_model`.
    """
    return dict(_description(read_checkpoint(find(weights))))


class Start(NamedTuple):
    """The result of `start_from`; `str` gives one line.

    Attributes:
        loaded: names of the network's tensors that now have the file's values.
        absent: names of the network's tensors that the file lacks, or has in another shape.
        unused: names of the file's tensors that do not fit the network.
    """

    loaded: list[str]
    absent: list[str]
    unused: list[str]

    def __str__(self) -> str:
        absent = f"; {len(self.absent)} not in it: {some(self.absent)}" if self.absent else ""
        unused = f"; {len(self.unused)} left over: {some(self.unused)}" if self.unused else ""
        return f"{len(self.loaded)} tensors loaded{absent}{unused}"


def start_from(net: Network, weights: str | Path) -> Start:
    """Copy every tensor of a weights file that fits the network by name and shape.

    If the network has other joints than the file, those of the same name, however it is spelled,
    take over their channels. The others keep their initial values.

    Args:
        net: the network to fill.
        weights: as in `load_model`, or the trunk of an ImageNet classifier.

    Raises:
        WeightsError: as in `load_model`.
        ValueError: no tensor but mean and std fits.
    """
    own = net.state_dict()
    checkpoint = read_checkpoint(find(weights))
    given = _all_tensors(checkpoint, own)
    take_joints(net, given, checkpoint)
    loaded = [name for name in own if name in given and given[name].shape == own[name].shape]
    if set(loaded) <= {"mean", "std"}:
        raise ValueError(
            f"{weights}: none of its {len(given)} tensors fits the network: "
            "were they made for another one?"
        )
    net.load_state_dict({name: given[name] for name in loaded}, strict=False)
    absent = [name for name in own if name not in loaded]
    return Start(loaded, absent, [name for name in given if name not in loaded])


def save_model(
    net: Network,
    path: str | Path,
    *,
    half: bool = False,
    shared: str | None = None,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write a network to a .safetensors file from which it can be rebuilt, whole or not at all.

    Args:
        net: made by a builder.
        path: the file to write; its folder must exist, and an existing file is replaced.
        half: store the layers' weights as float16, at half the size; loading makes them float32.
        shared: the name of bundled weights. Tensors equal to theirs are left out of the file, which
            can then be loaded only together with these weights.
        notes: JSON values to keep in the file, for instance where the weights come from.

    Raises:
        ValueError: the network has no recipe, its weights are not finite (in float16), `path` is
            not a .safetensors file, or no tensor is shared.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"weights are saved as NAME.safetensors, not {path.name}")
    description = describe(net, notes=notes)
    state = net.state_dict()

    # leave out the tensors of the bundled weights
    if shared is not None:
        common = _in_common(state, shared)
        description["shared"] = {"weights": shared, "sha256": digest(common)}
        state = {name: tensor for name, tensor in state.items() if name not in common}

    # float16 only for weights of linear layers (2 axes) and convolutions (4)
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        dtype = torch.float16 if half and tensor.ndim in (2, 4) else tensor.dtype
        tensors[name] = tensor.detach().to("cpu", dtype).contiguous()
        if not tensors[name].isfinite().all():
            raise ValueError(
                f"{name} is not finite{' in float16' if half else ''}, so {path} was not written"
            )
    with write_whole(path) as file:
        file.write(safetensors.torch.save(tensors, {"bottomup": json.dumps(description)}))


def convert(
    source: str | Path,
    target: str | Path,
    *,
    skeleton: Skeleton | None = None,
    builders: Mapping[str, Callable[..., Network]] = BUILDERS,
    ema: bool = False,
) -> str:
    """Convert any checkpoint that `load_model` reads to our own format.

    Args:
        source: the checkpoint; it is never written to.
        target: the .safetensors file to write.
        skeleton: as in `load_model`.
        builders: as in `load_network`.
        ema: as in `load_model`.

    Returns:
        One line about both files and the network.

    Raises:
        WeightsError: the source cannot be used, the target cannot be written, or both are the same.
    """
    source, target = find(source), Path(target).expanduser()
    if target.exists() and target.samefile(source):
        raise WeightsError(f"{target}: is the source itself; give the new file another name")
    checkpoint = read_checkpoint(source)
    net = _rebuild(_choose_set(checkpoint, ema=ema), builders, skeleton)
    try:
        save_model(net, target, notes=(checkpoint.description or {}).get("notes"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"{target}: cannot be written ({reason})") from error
    others = [n for n, t in checkpoint.second.items() if t is not checkpoint.tensors.get(n)]
    taken = "taken" if ema else "left out (--ema takes it)"
    second = f", its second set of {len(others)} ema tensors {taken}" if others else ""
    millions = sum(parameter.numel() for parameter in net.parameters()) / 1e6
    return (
        f"{source} -> {target}: {network_name(describe(net))}, "
        f"{net.skeleton.num_keypoints} joints, {millions:.3f} M parameters, "
        f"{target.stat().st_size / 1e6:.1f} MB{second}"
    )


def _choose_set(checkpoint: Checkpoint, *, ema: bool) -> Checkpoint:
    """The checkpoint with its first or second set of weights; what only one has stays."""
    if not ema:
        return checkpoint
    if not checkpoint.second:
        raise WeightsError(f"{checkpoint.path}: holds one set of weights only; leave --ema out")
    return dataclasses.replace(checkpoint, tensors={**checkpoint.tensors, **checkpoint.second})


def _description(checkpoint: Checkpoint, skeleton: Skeleton | None = None) -> Mapping[str, Any]:
    """The description in the file; without one, a description made from its tensors."""
    if checkpoint.description is None:
        return recognise(checkpoint, skeleton)
    return checkpoint.description


def _rebuild(
    checkpoint: Checkpoint, builders: Mapping[str, Callable[..., N]], skeleton: Skeleton | None
) -> N:
    """The network of a checkpoint, with its weights, in eval mode."""
    described = _description(checkpoint, skeleton)
    net = assemble(described, checkpoint.path, builders, skeleton=skeleton)
    what = f"{checkpoint.path}: does not fit {network_name(describe(net))}"
    built = net.state_dict()

    # checkpoints of other projects have no mean and std: use those of the builder
    defaults = {name: built[name] for name in ("mean", "std")}
    given = {**defaults, **_all_tensors(checkpoint, built)}
    net.load_state_dict(fitted(built, given, what), assign=True)
    # if the file has other values, its preprocessing must show them
    read = {
        name: tuple(getattr(net, name).flatten().tolist())
        for name, default in defaults.items()
        if not torch.equal(getattr(net, name), default)
    }
    net.preprocessing = dataclasses.replace(net.preprocessing, **read)
    return net.eval()


def _all_tensors(checkpoint: Checkpoint, wanted: Iterable[str]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, and those of `wanted` that it shares with bundled weights.

    Raises:
        WeightsError: these bundled weights do not exist, or have changed.
    """
    shared = (checkpoint.description or {}).get("shared")
    if not shared:
        return dict(checkpoint.tensors)
    shared = shared if isinstance(shared, Mapping) else {}
    name = str(shared.get("weights"))
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
    if digest(common) != shared.get("sha256"):
        raise WeightsError(
            f"{checkpoint.path}: was made with other weights {name!r} than the bundled ones; "
            "take both files from one version of bottomup"
        )
    return {**common, **checkpoint.tensors}


def _in_common(state: Mapping[str, Tensor], weights: str) -> dict[str, Tensor]:
    """The bundled tensors that equal those of a network.

    The bundled ones are returned: 0 equals -0, but they differ in the digest.

    Raises:
        ValueError: no tensor is equal.
    """
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


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names and bytes of tensors, in the order of names."""
    sha256 = hashlib.sha256()
    for name in sorted(tensors):
        sha256.update(name.encode() + tensors[name].cpu().contiguous().numpy().tobytes())
    return sha256.hexdigest()
