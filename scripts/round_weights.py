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
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottomup.geometry import Transform
from bottomup.images.frames import read
from bottomup.images.sources import scan
from bottomup.models.mobilenet import Conv
from bottomup.models.pose_net import PoseNet
from bottomup.weights.store import load_model, save_model

MAX_POSITIONS = 2000  # of an image at which the inputs of a layer are looked at
DAMPING = 1e-5  # of the mean of the diagonal, added to it
NUM_SWEEPS = 4


def to_bfloat16(values: Tensor) -> Tensor:
    """The nearest numbers that bfloat16 and float16 both have; files hold float16."""
    return values.bfloat16().half().to(values.dtype)


def neighbours(values: Tensor) -> tuple[Tensor, Tensor]:
    """The next numbers of bfloat16 towards zero and away from it."""
    bits = values.bfloat16().view(torch.int16)
    towards = torch.where(bits & 0x7FFF > 0, bits - 1, bits).view(torch.bfloat16)
    away = (bits + 1).view(torch.bfloat16)
    return to_bfloat16(towards.to(values.dtype)), to_bfloat16(away.to(values.dtype))


def round_rows(wanted: Tensor, moments: Tensor) -> Tensor:
    """Round the weights of outputs with the same inputs, (G, outputs, n), by moments (G, n, n)."""
    count = wanted.shape[2]
    inverse = torch.linalg.cholesky(torch.linalg.inv(moments), upper=True)  # G n n
    rounded, left = wanted.clone(), wanted.clone()
    for i in range(count):
        rounded[..., i] = to_bfloat16(left[..., i])
        error = (left[..., i] - rounded[..., i]) / inverse[:, i, i, None]
        left[..., i:] -= error[..., None] * inverse[:, None, i, i:]

    # single weights one step up or down, while the outputs come closer to those wanted
    for _ in range(NUM_SWEEPS):
        slope = (rounded - wanted) @ moments  # G outputs n
        for i in range(count):
            best = torch.zeros_like(rounded[..., i])
            gain = torch.zeros_like(best)
            for other in neighbours(rounded[..., i]):
                step = other - rounded[..., i]
                change = 2 * step * slope[..., i] + step**2 * moments[:, i, i, None]
                best = torch.where(change < gain, step, best)
                gain = torch.minimum(change, gain)
            rounded[..., i] += best
            slope += best[..., None] * moments[:, None, i]
    return rounded


@torch.no_grad()
def round_weights(net: PoseNet, images: Sequence[Tensor]) -> None:
    """Round all convolutions of a network in place, by what they get of images (1, 3, H, W).

    Layer by layer, from the first to the last: each is first fitted to give, from what the rounded
    layers before it make, what it gave before; then it is rounded.
    """
    before = copy.deepcopy(net)
    names = [name for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d)]
    names = sorted(names, key=_order(net, names, images[0]).index)
    for name in names:
        layer, own = net.get_submodule(name), before.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        assert isinstance(own, nn.Conv2d)
        rows = rows_of(own)  # G outputs n
        moments, products = torch.zeros(1), torch.zeros(1)
        for number, image in enumerate(images):
            given = patches_of(layer, input_of(net, layer, image), number)  # G P n
            meant = patches_of(own, input_of(before, own, image), number) @ rows.mT  # G P outputs
            moments = moments + given.mT @ given / given.shape[1]
            products = products + meant.mT @ given / given.shape[1]
        diagonal = moments.diagonal(dim1=1, dim2=2)
        damping = torch.diag_embed((DAMPING * diagonal.mean(1, keepdim=True)).expand_as(diagonal))
        moments = moments + damping
        if layer.bias is None:  # its column is of no effect
            moments[:, -1, :-1] = moments[:, :-1, -1] = 0
            products[..., -1] = 0
        wanted = torch.linalg.solve(moments, (products + rows @ damping).mT).mT
        rounded = round_rows(wanted, moments).flatten(0, 1).float()
        layer.weight.copy_(rounded[:, :-1].reshape(layer.weight.shape))
        if layer.bias is not None:
            layer.bias.copy_(rounded[:, -1])
        print(name, flush=True)


def rows_of(layer: nn.Conv2d) -> Tensor:
    """Weights and bias, (groups, outputs, n)."""
    bias = torch.zeros(layer.out_channels) if layer.bias is None else layer.bias
    return (
        torch.cat([layer.weight.flatten(1), bias[:, None]], 1)
        .double()
        .unflatten(0, (layer.groups, -1))
    )


class SeenError(Exception):
    """Carries what a layer was given."""


def input_of(net: PoseNet, layer: nn.Module, image: Tensor) -> Tensor:
    """What a layer gets when the network sees an image; what comes after it is not computed."""

    def look(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        raise SeenError(given[0])

    hook = layer.register_forward_pre_hook(look)
    try:
        with torch.enable_grad():  # without bands, so that a layer sees the whole image
            net.at_scale(image, 0)
    except SeenError as seen:
        return seen.args[0].detach()
    finally:
        hook.remove()
    raise AssertionError("the layer is not used")


def _order(net: PoseNet, names: Sequence[str], image: Tensor) -> list[str]:
    """The names of layers as they are used."""
    used: list[str] = []
    hooks = [
        net.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: used.append(name))
        for name in names
    ]
    with torch.enable_grad():
        net.at_scale(image, 0)
    for hook in hooks:
        hook.remove()
    return used


def patches_of(layer: nn.Conv2d, features: Tensor, seed: int) -> Tensor:
    """What the outputs of a layer see at some positions, and 1 for the bias: groups, P, n."""
    generator = torch.Generator().manual_seed(seed)
    kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
    if isinstance(layer, Conv) and stride == 2:
        features = F.pad(features, (0, 1, 0, 1))
    padded = F.pad(features, (padding,) * 4)[0]  # C h w
    windows = padded.unfold(1, kernel, stride).unfold(2, kernel, stride)  # C i j k k
    high, wide = windows.shape[1:3]
    chosen = torch.randint(high * wide, (min(MAX_POSITIONS, high * wide),), generator=generator)
    windows = windows[:, chosen // wide, chosen % wide]  # C P k k
    patches = windows.transpose(0, 1).flatten(1).unflatten(1, (layer.groups, -1))  # P G n-1
    ones = torch.ones_like(patches[..., :1])
    return torch.cat([patches, ones], dim=2).double().transpose(0, 1)


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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights")
    parser.add_argument("out", type=Path)
    parser.add_argument("photos", nargs="+")
    arguments = parser.parse_args()
    net = load_model(arguments.weights)
    round_weights(net, list(photos(arguments.photos, net)))
    save_model(net, arguments.out, half=True)


if __name__ == "__main__":
    main()
