"""Round the weights of a network to bfloat16 so that its outputs change as little as possible.

python scripts/round_weights.py WEIGHTS OUT.safetensors PHOTOS

Rounding each weight to the nearest number costs the bundled network 0.005 AP, nearly as much as all
of bfloat16. But the inputs of a convolution are correlated: neighbouring pixels are nearly equal,
so it is the sum of the errors that counts. Here every error is made up for by the weights that are
rounded after it, as in GPTQ (Frantar et al., arXiv:2210.17323), then single weights are moved by
one step where that helps. What the inputs of a layer look like is measured on the photos. The
result is a network like any other: in float32 its outputs hardly differ from before, and in
bfloat16 its weights are exact.
"""

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottomup.geometry import Transform
from bottomup.images.frames import read
from bottomup.images.sources import scan
from bottomup.models.mobilenet import Conv
from bottomup.models.pose_net import PoseNet
from bottomup.weights.store import load_model, save_model

MAX_POSITIONS = 3000  # of an image at which the inputs of a layer are looked at
DAMPING = 1e-5  # of the mean of the diagonal, added to it
NUM_SWEEPS = 4


@dataclasses.dataclass
class Moments:
    """Second moments of the inputs of a layer: G groups, n weights of an output, with its bias."""

    total: Tensor | float = 0.0  # G n n

    def add(self, patches: Tensor) -> None:
        """Patches: P positions, G groups, n - 1 inputs; a further input is 1, for the bias."""
        ones = torch.ones_like(patches[..., :1])
        patches = torch.cat([patches, ones], dim=2).double().transpose(0, 1)  # G P n
        self.total = self.total + patches.mT @ patches / patches.shape[1]


def to_bfloat16(values: Tensor) -> Tensor:
    """The nearest numbers that bfloat16 and float16 both have; files hold float16."""
    return values.bfloat16().half().to(values.dtype)


def neighbours(values: Tensor) -> tuple[Tensor, Tensor]:
    """The next numbers of bfloat16 towards zero and away from it."""
    bits = values.bfloat16().view(torch.int16)
    towards = torch.where(bits & 0x7FFF > 0, bits - 1, bits).view(torch.bfloat16)
    away = (bits + 1).view(torch.bfloat16)
    return to_bfloat16(towards.to(values.dtype)), to_bfloat16(away.to(values.dtype))


def round_rows(rows: Tensor, moments: Tensor) -> Tensor:
    """Round the weights of outputs with the same inputs, (G, outputs, n), by moments (G, n, n)."""
    count = rows.shape[2]
    diagonal = moments.diagonal(dim1=1, dim2=2)
    damped = moments + torch.diag_embed(
        (DAMPING * diagonal.mean(1, keepdim=True)).expand(-1, count)
    )
    inverse = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)  # G n n
    rounded, wanted = rows.clone(), rows.clone()
    for i in range(count):
        rounded[..., i] = to_bfloat16(wanted[..., i])
        error = (wanted[..., i] - rounded[..., i]) / inverse[:, i, i, None]
        wanted[..., i:] -= error[..., None] * inverse[:, None, i, i:]

    # single weights one step up or down, while the outputs come closer to those wanted
    for _ in range(NUM_SWEEPS):
        slope = (rounded - rows) @ damped  # G outputs n
        for i in range(count):
            best = torch.zeros_like(rounded[..., i])
            gain = torch.zeros_like(best)
            for other in neighbours(rounded[..., i]):
                step = other - rounded[..., i]
                change = 2 * step * slope[..., i] + step**2 * damped[:, i, i, None]
                best = torch.where(change < gain, step, best)
                gain = torch.minimum(change, gain)
            rounded[..., i] += best
            slope += best[..., None] * damped[:, None, i]
    return rounded


@torch.inference_mode()
def round_weights(net: PoseNet, images: Iterator[Tensor]) -> None:
    """Round all convolutions of a network in place, by what they get of images (1, 3, H, W)."""
    layers = {name: layer for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d)}
    moments = {name: Moments() for name in layers}
    generator = torch.Generator().manual_seed(0)

    def watch(name: str, layer: nn.Conv2d) -> None:
        def look(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            moments[name].add(patches_of(layer, given[0], generator))

        layer.register_forward_pre_hook(look)

    for name, layer in layers.items():
        watch(name, layer)
    with torch.enable_grad():  # without bands, so that a layer sees the whole image
        for image in images:
            net(image)
    for name, layer in layers.items():
        layer._forward_pre_hooks.clear()
        outputs, *_ = layer.weight.shape
        weight = layer.weight.double().flatten(1)
        bias = torch.zeros(outputs).double() if layer.bias is None else layer.bias.double()
        rows = torch.cat([weight, bias[:, None]], dim=1).unflatten(0, (layer.groups, -1))
        total = moments[name].total
        assert isinstance(total, Tensor)
        if layer.bias is None:  # nothing makes up for errors there
            total = total.clone()
            total[:, -1, :] = total[:, :, -1] = 0
            total[:, -1, -1] = 1
        rounded = round_rows(rows, total).flatten(0, 1).float()
        layer.weight.copy_(rounded[:, :-1].reshape(layer.weight.shape))
        if layer.bias is not None:
            layer.bias.copy_(rounded[:, -1])


def patches_of(layer: nn.Conv2d, features: Tensor, generator: torch.Generator) -> Tensor:
    """What the outputs of a layer see at some positions: P positions, G groups, inputs."""
    features = features.detach()
    (kernel, _), (stride, _), (padding, _) = layer.kernel_size, layer.stride, layer.padding
    if isinstance(layer, Conv) and stride == 2:
        features = F.pad(features, (0, 1, 0, 1))
    padded = F.pad(features, (padding,) * 4)[0]  # C h w
    windows = padded.unfold(1, kernel, stride).unfold(2, kernel, stride)  # C i j k k
    high, wide = windows.shape[1:3]
    chosen = torch.randint(high * wide, (min(MAX_POSITIONS, high * wide),), generator=generator)
    windows = windows[:, chosen // wide, chosen % wide]  # C P k k
    return windows.transpose(0, 1).flatten(1).unflatten(1, (layer.groups, -1))


def photos(sources: list[str], net: PoseNet) -> Iterator[Tensor]:
    """The network's inputs for photos."""
    own = net.preprocessing
    for frame in scan(sources):
        image = read(frame).image
        if image is None:
            raise SystemExit(f"{frame.name}: cannot be read")
        wh = (image.shape[1], image.shape[0])
        fitted = Transform.fit(wh, own.size, side=own.side, multiple=own.multiple)
        yield torch.from_numpy(fitted.warp(image)).permute(2, 0, 1)[None]
        print(frame.name, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights")
    parser.add_argument("out", type=Path)
    parser.add_argument("photos", nargs="+")
    arguments = parser.parse_args()
    net = load_model(arguments.weights)
    round_weights(net, photos(arguments.photos, net))
    save_model(net, arguments.out, half=True)


if __name__ == "__main__":
    main()
