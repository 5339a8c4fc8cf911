"""Loading and saving weights: bundled ones by name, files of ours, checkpoints of others.

A file of ours is a safetensors file. Its metadata hold, under "bottomup", a JSON object: format (1),
builder and arguments, skeleton, preprocessing and free notes (see `description`). The file alone
rebuilds the network, unless it names under "shared" the bundled weights that have the tensors which
it lacks.
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
from bottomup.weights.published import PUBLISHED, cached_path
from bottomup.weights.reading import Checkpoint, WeightsError, fitted, read_checkpoint, some
from bottomup.weights.recognition import recognise

DEFAULT = "mobile"  # what "default" means
FOLDER = Path(__file__).resolve().parent

N = TypeVar("N", bound=Network)


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


def bundled() -> dict[str, Path]:
    """The weights that come with the package, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.safetensors"))}


def load_model(weights: str | Path = "default", *, skeleton: Skeleton | None = None) -> PoseNet:
    """A network that finds everybody, with its weights, on the CPU, in eval mode, in float32.

    Args:
        weights: "default", the name of bundled or fetched weights, or a file: one of ours, a
            checkpoint of the public HigherHRNet release, of MMPose 0.x (HigherHRNet, HRNet with
            associative embedding) or of a training.
        skeleton: the joints, where the file neither names them nor has COCO's 17 or CrowdPose's 14.

    Raises:
        WeightsError: there is no such file, or it cannot be used; the message says why and what to
            do.
    """
    return load_network(weights, BUILDERS, skeleton=skeleton)


def load_network(
    weights: str | Path,
    builders: Mapping[str, Callable[..., N]],
    *,
    skeleton: Skeleton | None = None,
) -> N:
    """`load_model` for the networks of any table of builders, such as those of top-down methods."""
    return _rebuild(read_checkpoint(find(weights)), builders, skeleton)


class Start(NamedTuple):
    """What `start_from` did; printed, it is one line.

    Attributes:
        loaded: tensors of the network that now hold the file's values.
        absent: tensors of the network that the file lacks, or has in another shape.
        unused: tensors of the file that the network has no place for.
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

    Args:
        net: the network to fill.
        weights: a file of any kind that `load_model` takes, the trunk of an ImageNet classifier, or
            the name of weights.

    Raises:
        ValueError: nothing fits.
    """
    own = net.state_dict()
    given = read_tensors(read_checkpoint(find(weights)), own)
    loaded = [name for name in own if name in given and given[name].shape == own[name].shape]
    if set(loaded) <= {"mean", "std"}:
        raise ValueError(
            f"{weights}: none of its {len(given)} tensors fits the network: "
            "were they made for another one?"
        )
    net.load_state_dict({name: given[name] for name in loaded}, strict=False)
    absent = [name for name in own if name not in loaded]
    return Start(loaded, absent, [name for name in given if name not in loaded])


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
        net: made by a builder.
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
    with write_whole(path) as file:
        file.write(safetensors.torch.save(tensors, {"bottomup": json.dumps(description)}))


def convert(
    source: str | Path,
    target: str | Path,
    *,
    half: bool = False,
    skeleton: Skeleton | None = None,
    builders: Mapping[str, Callable[..., Network]] = BUILDERS,
) -> Conversion:
    """Turn any checkpoint that `load_model` takes into a file of ours.

    Args:
        source: the checkpoint; it is never written to.
        target: the .safetensors file to write.
        half: as in `save_model`.
        skeleton: as in `load_model`.
        builders: as in `load_network`.

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
    net = _rebuild(checkpoint, builders, skeleton)
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


def _rebuild(
    checkpoint: Checkpoint, builders: Mapping[str, Callable[..., N]], skeleton: Skeleton | None
) -> N:
    """The network of a checkpoint, filled and ready."""
    described = _description(checkpoint, skeleton)
    net = assemble(described, checkpoint.path, builders, skeleton=skeleton)
    what = f"{checkpoint.path}: does not fit {network_name(describe(net))}"
    built = net.state_dict()
    defaults = {name: built[name] for name in ("mean", "std")}  # other people's files lack them
    given = {**defaults, **read_tensors(checkpoint, built)}
    net.load_state_dict(fitted(built, given, what), assign=True)
    read = {
        name: tuple(getattr(net, name).flatten().tolist())
        for name, default in defaults.items()
        if not torch.equal(getattr(net, name), default)
    }
    net.preprocessing = dataclasses.replace(net.preprocessing, **read)
    return net.eval()
