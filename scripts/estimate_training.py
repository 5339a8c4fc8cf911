"""Time and memory of HigherHRNet's training on GPUs, estimated: nothing is run.

    python scripts/estimate_training.py [--width 32 --size 512 --batch-size 12]

Operations of a forward and a backward pass are counted by torch, and so are the elements that the
pass keeps for its gradients. Time is operations / (peak of the device * utilisation), for epochs of
COCO's photos with labelled people. Devices are taken to work side by side without loss. Loading,
targets and validation are left out.
"""

import argparse

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bottomup.method.losses import Criterion
from bottomup.models.pose_net import PoseNet, higherhrnet

PHOTOS = 56_599  # of COCO train2017 with labelled joints
GIB = 2**30
# peak operations a second in bfloat16 (dense, by the maker's data sheet), and GiB of memory
DEVICES = {"H100 SXM": (989e12, 80), "A100": (312e12, 80), "RTX 4090": (165e12, 24)}
UTILISATIONS = (0.15, 0.3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=12, help="images per device and step")
    parser.add_argument("--epochs", type=int, default=300)
    arguments = parser.parse_args()
    net = higherhrnet(arguments.width)
    operations, kept = measure(net, arguments.size)
    num_weights = sum(weight.numel() for weight in net.parameters())
    # weights, gradients and Adam's two averages in float32, a copy of the weights in bfloat16
    fixed = 18 * num_weights
    memory = (fixed + 2 * kept * arguments.batch_size) / GIB
    print(f"W{arguments.width} at {arguments.size}: {num_weights / 1e6:.1f} M weights")
    print(f"an image, forward and backward: {operations / 1e9:.0f} GFLOPs")
    print(f"kept for gradients: {kept / 1e6:.0f} M elements, {2 * kept / GIB:.2f} GiB in bfloat16")
    print(f"a step of {arguments.batch_size}: {memory:.1f} GiB and what kernels need to work")
    print("device       fits  devices  utilisation  min/epoch  days for all epochs")
    for name, (peak, gib) in DEVICES.items():
        for devices in (1, 4):
            for share in UTILISATIONS:
                minutes = PHOTOS * operations / (peak * share * devices) / 60
                row = f"{minutes:10.1f} {minutes * arguments.epochs / 1440:20.2f}"
                fits = "yes" if memory < 0.85 * gib else "no"
                print(f"{name:12} {fits:>4} {devices:8} {share:12.0%} {row}")


def measure(net: PoseNet, size: int) -> tuple[int, int]:
    """Operations of an image, forward and backward, and the elements kept between the two.

    Args:
        net: it is moved to the device "meta", where tensors have shapes and no values.
        size: pixels of a side of the image.
    """
    kept: dict[int, Tensor] = {}
    net.to("meta")
    weights = {weight.untyped_storage()._cdata for weight in net.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage()._cdata
        if place not in weights:
            kept[place] = tensor  # it stays alive, so its place is not used again
        return tensor

    images = torch.zeros(1, 3, size, size, device="meta")
    keypoints = torch.zeros(1, 30, 17, 3, device="meta")
    mask = torch.zeros(1, size, size, dtype=torch.bool, device="meta")
    counter, criterion = FlopCounterMode(display=False), Criterion()
    with counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            losses = criterion(net(images), keypoints, mask)
            total = torch.stack([criterion.weights[k] * loss for k, loss in losses.items()]).sum()
        total.backward()
    return counter.get_total_flops(), sum(tensor.numel() for tensor in kept.values())


if __name__ == "__main__":
    main()
