"""The way from files to results: its start, and what it costs beside the network."""

import argparse
import collections
import contextlib
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from bottomup.images import SAMPLES
from bottomup.images.decoding import decode

NETWORK = ("pose", "aggregate")  # the stages of a predictor that are the network and its voting
PREDICT = [sys.executable, "-m", "bottomup", "predict"]
IMPORT_TORCH = [sys.executable, "-c", "import torch"]


def start(arguments: argparse.Namespace) -> dict[str, float]:
    """The first result and --help, beside what `import torch` takes; processes, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "import torch": IMPORT_TORCH,
            "predict": [*PREDICT, str(SAMPLES / "astronaut.jpg"), "--out", folder, "--overwrite"],
            "help": [*PREDICT[:-1], "--help"],
        }
        times = collections.defaultdict(list)
        for _ in range(arguments.repeats):
            for name, words in commands.items():
                times[name].append(_seconds_of(words))
    figures = {f"{name}, s": float(np.median(values)) for name, values in times.items()}
    torch, predict, told = figures.values()
    figures["first result beyond import torch, s"] = predict - torch
    figures["--help to import torch"] = told / torch
    return _told(figures)


def end_to_end(arguments: argparse.Namespace) -> dict[str, float]:
    """`bottomup predict` of many photos as a command, to the network and its voting alone."""
    chosen = [
        word
        for name in ("backend", "precision")
        if (value := getattr(arguments, name))
        for word in (f"--{name}", value)
    ]
    sides = {"chosen" if chosen else "default": chosen}
    if chosen:
        sides["torch, float32"] = ["--backend", "torch", "--precision", "float32"]
    with tempfile.TemporaryDirectory() as temporary:
        photos = arguments.photos or make_photos(Path(temporary, "photos"), arguments.count)
        whole, alone = collections.defaultdict(list), collections.defaultdict(list)
        stages: dict[str, dict[str, float]] = {}
        for _, (side, options) in itertools.product(range(arguments.repeats), sides.items()):
            words = [*PREDICT, str(photos), "--out", str(Path(temporary, "run")), "--overwrite"]
            whole[side].append(_seconds_of([*words, *options]))
            # as the command: a process of its own, whose threads sleep while they wait
            words = [sys.executable, __file__, str(photos), str(Path(temporary, "serial"))]
            answer = subprocess.run([*words, *options], check=True, stdout=subprocess.PIPE)
            stages[side] = json.loads(answer.stdout)
            alone[side].append(sum(stages[side][stage] for stage in NETWORK))
        count = sum(1 for path in Path(photos).rglob("*") if path.is_file())
    figures: dict[str, float] = {}
    for side in sides:
        seconds, network = np.median(whole[side]), np.median(alone[side])
        figures |= {
            f"{side}: photos": count,
            f"{side}: whole, ms a photo": seconds / count * 1e3,
            f"{side}: network and voting alone, ms a photo": network / count * 1e3,
            f"{side}: whole to network and voting alone": seconds / network,
        }
        figures |= {
            f"{side}: {stage} alone, ms a photo": value / count * 1e3
            for stage, value in stages[side].items()
        }
    if chosen:
        ratio = np.median(whole["chosen"]) / np.median(whole["torch, float32"])
        figures["chosen: to torch in float32"] = ratio
    return _told(figures)


def make_photos(folder: Path, count: int) -> Path:
    """JPEGs of mixed sizes and proportions, cut out of the sample images and scaled."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = [decode(path.read_bytes()) for path in sorted(SAMPLES.glob("*.jpg"))]
    for number in range(count):
        image = images[number % len(images)]
        high, wide = (rng.uniform(0.6, 1.0, 2) * image.shape[:2]).astype(int)
        y, x = (int(rng.integers(side)) for side in np.subtract(image.shape[:2], (high, wide)) + 1)
        scale = rng.choice([640, 640, 1024, 1600, 2400]) / max(high, wide)
        photo = cv2.resize(image[y : y + high, x : x + wide], None, fx=scale, fy=scale)
        photo = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"{number:05}.jpg"), photo, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return folder


def _serial(photos: Path, out: Path, options: list[str]) -> dict[str, float]:
    """Seconds of each stage with nothing beside it, for all photos."""
    from bottomup.threads import sleep_while_waiting

    sleep_while_waiting()
    from bottomup.cli import predict as verb
    from bottomup.cli.parser import Parser
    from bottomup.cli.prediction import predictor_of
    from bottomup.images.sources import scan
    from bottomup.inference.journal import Journal
    from bottomup.inference.run_folder import Renderer

    parser = Parser("predict", verb.SUMMARY)
    verb.add_arguments(parser)
    arguments = parser.parse([str(photos), "--out", str(out), *options])
    seconds: dict[str, float] = collections.defaultdict(float)

    @contextlib.contextmanager
    def clock(stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        seconds[stage] += time.perf_counter() - begin

    out.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        predictor = predictor_of(arguments, stack)
        journal = stack.enter_context(Journal(out / "journal.log"))
        renderer = Renderer(out)
        frames = list(scan(photos))
        for frame in [frames[0], *frames]:  # the first one warms up
            if frame is frames[0]:
                seconds.clear()
            predictor.stages = clock
            (prediction,) = predictor.stream([frame])
            with clock("draw and write"):
                record = renderer(prediction, 0)
            with clock("journal"):
                journal.append(record)
    return dict(seconds)


def _seconds_of(words: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def _told(figures: dict[str, float]) -> dict[str, float]:
    """The same figures, printed."""
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name:{width}} {value:9.3f}")
    return figures


if __name__ == "__main__":
    print(json.dumps(_serial(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])))
