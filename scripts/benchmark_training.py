"""The commands `loss` and `train` of scripts/benchmark.py."""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch


def alternate(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each function; in turns, so that a busy machine slows all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values[1:])) for name, values in times.items()}


def loss(arguments: argparse.Namespace) -> None:
    """Pull and push of 12 images, forward and backward, and a loop over people; one thread."""
    torch.set_num_threads(1)
    print("people  bottomup ms  loop over people ms  ratio")
    for num_people in arguments.people:
        seconds = alternate(_losses(num_people), arguments.repeats)
        ours, loop = seconds["bottomup"], seconds["loop"]
        row = f"{num_people:6} {ours * 1e3:12.2f} {loop * 1e3:20.1f} {loop / ours:6.1f}"
        print(row, flush=True)


def _losses(num_people: int) -> dict[str, Callable[[], object]]:
    from bottomup.method import losses
    from tests.reference.losses import loop_over_people

    generator = torch.Generator().manual_seed(0)
    tags = torch.randn(12, 17, 1, 128, 128, generator=generator, requires_grad=True)
    cells = torch.randint(0, 128 * 128, (12, num_people, 17), generator=generator)
    indices = cells + torch.arange(17) * 128 * 128
    present = torch.rand(12, num_people, 17, generator=generator) < 0.8
    people = [
        [row[there].tolist() for row, there in zip(*image, strict=True)]
        for image in zip(indices, present, strict=True)
    ]

    def ours() -> None:
        pull, push = losses.pull_push(losses.read_tags(tags, indices), present)
        torch.autograd.grad(pull.mean() + push.mean(), tags)

    def loop() -> None:
        flat = tags.transpose(1, 2).flatten(2)
        values = [
            torch.stack(loop_over_people(*image)).sum() for image in zip(flat, people, strict=True)
        ]
        torch.autograd.grad(torch.stack(values).mean(), tags)

    return {"bottomup": ours, "loop": loop}


def train(arguments: argparse.Namespace) -> None:
    """The data path on one core; then whole steps, the bare network's (W32), and peak memory."""
    from bottomup.data.augment import Augment
    from bottomup.data.drawings import draw_samples
    from bottomup.data.samples import Draw
    from bottomup.data.scenes.crowd import Crowd

    torch.set_num_threads(1)
    augment = Augment(size=arguments.size)
    crowd = Crowd(width=arguments.size, height=arguments.size)
    drawn, again = draw_samples(crowd, 10**6), draw_samples(crowd, 10**6, augment)
    print(f"data path, {arguments.size} pixels, images/s of one core")
    for name, data in (("drawn", drawn), ("drawn and augmented", again)):
        start = time.process_time()
        for position in range(arguments.images):
            data[Draw(0, position)]
        print(f"  {name:24} {arguments.images / (time.process_time() - start):8.1f}", flush=True)
    image = drawn.source.load(0, np.random.default_rng(0))
    start = time.process_time()
    for position in range(arguments.images):
        augment(image, drawn.skeleton.flip_indices, np.random.default_rng(position))
    speed = arguments.images / (time.process_time() - start)
    print(f"  {'augmented only':24} {speed:8.1f}", flush=True)
    for what in ("bare", "whole"):  # each in a process of its own, which has its own peak memory
        numbers = map(str, (arguments.size, arguments.batch_size, arguments.steps))
        subprocess.run([sys.executable, __file__, what, *numbers], check=True)


def measure_memory(what: str, size: int, batch_size: int, steps: int) -> None:
    """Print the peak memory of bare or whole steps; after whole steps, the times of both."""
    bare, whole = make_steps(size, batch_size)
    run = {"bare": bare, "whole": whole}[what]
    for _ in range(2):
        run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory, {what} steps: {peak:.0f} MiB", flush=True)
    if what == "whole":
        seconds = alternate({"bare": bare, "whole": whole}, steps)
        ratio, num_threads = seconds["whole"] / seconds["bare"], torch.get_num_threads()
        print(
            f"W32 at {size}, batch {batch_size}, {num_threads} threads, one loader worker: "
            f"bare step {seconds['bare']:.3f} s, whole step {seconds['whole']:.3f} s, "
            f"{batch_size / seconds['whole']:.2f} images/s, ratio {ratio:.3f}"
        )


def make_steps(size: int, batch_size: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """A step on random tensors without targets, and one with data, targets and losses."""
    from bottomup.data.drawings import draw_samples
    from bottomup.data.loader import EpochSampler, ResumableLoader
    from bottomup.data.scenes.crowd import Crowd
    from bottomup.method.losses import Criterion
    from bottomup.models.pose_net import higherhrnet

    net = higherhrnet(32).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(net.parameters())
    images = torch.randint(0, 256, (batch_size, 3, size, size), dtype=torch.uint8)
    images = images.contiguous(memory_format=torch.channels_last)
    data = draw_samples(Crowd(width=size, height=size), 10**5)
    batches = iter(ResumableLoader(data, EpochSampler(10**5, batch_size), num_workers=1))
    criterion = Criterion()

    def update(total: torch.Tensor) -> None:
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    def bare() -> None:
        update(torch.stack([output.heatmaps.square().mean() for output in net(images)]).sum())

    def whole() -> None:
        batch = next(batches)
        outputs = net(batch.image.contiguous(memory_format=torch.channels_last))
        losses = criterion(outputs, batch.keypoints, batch.mask)
        update(torch.stack([criterion.weights[name] * loss for name, loss in losses.items()]).sum())

    return bare, whole


if __name__ == "__main__":
    measure_memory(sys.argv[1], *map(int, sys.argv[2:]))
