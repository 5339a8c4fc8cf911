"""The network in every engine and precision of this machine, beside torch in float32."""

import argparse
import functools
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import torch
from benchmark_training import alternate

from bottomup.engines.choice import Engine, choose_engine, supported
from bottomup.engines.devices import choose_device
from bottomup.engines.sessions import is_installed
from bottomup.images import SAMPLES
from bottomup.images.decoding import decode
from bottomup.models.pose_net import PoseNet, higherhrnet
from bottomup.weights.store import load_model

SIDES = {"mobile": (640, 448), "higherhrnet": (512, 512)}  # width and height of the input
THREADS = {"mobile": 1, "higherhrnet": 2}


def network(arguments: argparse.Namespace) -> dict[str, float]:
    """Network and voting from pixels to heatmaps and tags: medians in turns, ratios to torch."""
    device = choose_device(arguments.device)
    print(f"{_processor(device)}; torch {torch.__version__}")
    print(f"{'network':12} {'input':>9} threads {'engine':24} {'precision':9}       ms  ratio")
    figures: dict[str, float] = {}
    for name, build in (("mobile", load_model), ("higherhrnet", higherhrnet)):
        net = build().eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        threads = arguments.threads or THREADS[name]
        runs = dict(_runs(net, SIDES[name], threads))
        times = alternate(runs, arguments.repeats)
        for side, seconds in times.items():
            engine, precision = side.split(", ")
            ratio = seconds / times["torch, float32"]
            size = "{} x {}".format(*SIDES[name])
            print(
                f"{name:12} {size:>9} {threads:7} {engine:24} {precision:9} {seconds * 1e3:8.1f} "
                f"{ratio:6.2f}",
                flush=True,
            )
            figures[f"{name}, {side}: ms"] = seconds * 1e3
            figures[f"{name}, {side}: to torch in float32"] = ratio
    return figures


def _runs(
    net: PoseNet, wh: tuple[int, int], threads: int
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each engine and precision that this machine has, and a function that runs it once."""
    device = net.mean.device
    image = decode((SAMPLES / "plaza.jpg").read_bytes())  # 28 people
    pixels = cv2.resize(image, wh, interpolation=cv2.INTER_AREA)
    images = torch.from_numpy(pixels)[None].to(device).permute(0, 3, 1, 2)
    backends = ["torch"]
    if device.type == "cpu":
        backends += [name for name in ("openvino", "onnxruntime") if is_installed(name)]
    for backend in backends:
        for precision in reversed(supported(backend, device.type)):
            engine = choose_engine(net, backend=backend, precision=precision, threads=threads)
            yield f"{engine.name}, {precision}", functools.partial(_run, engine, images, threads)


@torch.inference_mode()
def _run(engine: Engine, images: torch.Tensor, threads: int) -> None:
    torch.set_num_threads(threads)
    (*_, last) = engine.net.read(engine(images))
    last.heatmaps.sum().item()  # waits for a GPU


def _processor(device: torch.device) -> str:
    """What computes, as its maker calls it, and what matters of it here."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = ("avx512", "avx512_bf16", "vnni", "amx_tile")
    has = [name for name in names if getattr(torch.cpu, f"_is_{name}_supported", bool)()]
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), "")
    return f"{model or platform.processor()} ({', '.join(has) or platform.machine()})"
