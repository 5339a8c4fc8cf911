"""What `scripts/check_gpu.sh` runs: each step in a process of its own, then one JSON object."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parent.parent
BENCHMARK = [sys.executable, "scripts/benchmark.py"]
STEPS = {  # words, and seconds after which a step is given up
    "tests": ([sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"], 120),
    "network": ([*BENCHMARK, "network"], 60),
    "decode": ([*BENCHMARK, "decode", "--no-reference", "--device", "cuda"], 40),
    "end-to-end": ([*BENCHMARK, "end-to-end", "--count", "200", "--repeats", "1"], 60),
    "train": ([sys.executable, __file__, "train"], 70),
}
NUM_STEPS = 10  # that are timed, of a training
BATCH_SIZE = 12  # as published


def check() -> dict[str, object]:
    """The results of all steps; one that fails leaves the others as they are."""
    results: dict[str, object] = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "capability": torch.cuda.get_device_capability(),
    }
    for name, (words, limit) in STEPS.items():
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            figures = Path(folder, "figures.json")
            more = [] if name == "tests" else ["--json", str(figures)]
            try:
                done = subprocess.run(
                    [*words, *more],
                    cwd=REPOSITORY,
                    timeout=limit,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
                code, output = done.returncode, done.stdout
            except subprocess.TimeoutExpired as late:
                code, output = f"more than {limit} s", (late.stdout or b"").decode()
            results[name] = {
                "exit code": code,
                "seconds": round(time.monotonic() - begin, 1),
                "figures": json.loads(figures.read_text()) if figures.exists() else None,
                "output": output.splitlines()[-40:],
            }
        print(f"{name}: exit code {code}", file=sys.stderr, flush=True)
    return results


def train(path: Path) -> None:
    """HigherHRNet-W32 at 512 pixels: time of a step and peak memory in float32 and bfloat16."""
    from bottomup.models.pose_net import higherhrnet

    net = higherhrnet(32).cuda().train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(net.parameters())
    images = torch.randint(0, 256, (BATCH_SIZE, 3, 512, 512), dtype=torch.uint8, device="cuda")
    images = images.contiguous(memory_format=torch.channels_last)
    figures = {}
    for dtype in (torch.float32, torch.bfloat16):
        torch.cuda.reset_peak_memory_stats()
        times = []
        for _ in range(NUM_STEPS + 3):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
                outputs = net(images)
            loss = torch.stack([output.heatmaps.float().square().mean() for output in outputs])
            optimizer.zero_grad()
            loss.sum().backward()
            optimizer.step()
            torch.cuda.synchronize()
            times.append(time.perf_counter() - begin)
        name = str(dtype).removeprefix("torch.")
        figures[f"W32, batch of {BATCH_SIZE}, {name}: ms a step"] = (
            sorted(times[3:])[NUM_STEPS // 2] * 1e3
        )
        figures[f"W32, batch of {BATCH_SIZE}, {name}: peak MiB"] = (
            torch.cuda.max_memory_allocated() / 2**20
        )
    path.write_text(json.dumps(figures))


def main() -> None:
    if not torch.cuda.is_available():
        raise SystemExit("there is no GPU that torch can use")
    if sys.argv[1:2] == ["train"]:
        train(Path(sys.argv[-1]))
    else:
        print(json.dumps(check(), indent=1))


if __name__ == "__main__":
    main()
