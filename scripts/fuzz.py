"""Readers of files from outside, fed with damaged files.

    python scripts/fuzz.py                        # all readers, 10 minutes each
    python scripts/fuzz.py image --minutes 2

Inputs are real files with bytes changed, cut, repeated and inserted, and for JSON also values that
Hypothesis makes up. Each reader may refuse an input with the error that it documents. Anything else
is a finding: another error, a crash, more than `MAX_SECONDS`, or more than `MAX_MEMORY`. The input
of each finding is kept in `--out`.
"""

import argparse
import collections
import contextlib
import io
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

MAX_SECONDS = 20  # for one input
MAX_MEMORY = 6 << 30  # address space beside what was taken before, in bytes
MAX_FLIPS = 12
# of annotations, results and journals
KEYS = """
    images annotations categories id image_id category_id file_name width height keypoints
    num_keypoints score bbox area iscrowd segmentation counts size crowdIndex skeleton sigmas name
    people shown overlay thumbnail error warning seconds time session settings engine format end
    num_images
"""

Reader = Callable[[bytes], object]


class TooSlowError(Exception):
    """An input took longer than `MAX_SECONDS`."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(READERS))
    parser.add_argument("--minutes", type=float, default=10.0, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="for inputs of findings")
    arguments = parser.parse_args()
    if unknown := set(arguments.readers) - set(READERS):
        parser.error(f"unknown reader {min(unknown)}; choose from {', '.join(READERS)}")
    num_findings = 0
    for name in arguments.readers or READERS:
        num_findings += fuzz(name, arguments)
    sys.exit(int(num_findings > 0))


def fuzz(name: str, arguments: argparse.Namespace) -> int:
    """Feed one reader in a process of its own, again after each crash; the number of findings."""
    end = time.monotonic() + 60 * arguments.minutes
    counts: collections.Counter[str] = collections.Counter()
    findings: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        last = Path(folder, "input")
        round_number = 0
        while time.monotonic() < end:
            receiver, sender = multiprocessing.Pipe(duplex=False)
            process = multiprocessing.get_context("spawn").Process(
                target=feed, args=(name, arguments.seed + round_number, end, last, sender)
            )
            process.start()
            sender.close()
            with contextlib.suppress(EOFError):
                while True:
                    kind, data = receiver.recv()
                    counts[kind.split(":")[0]] += 1
                    if kind.startswith("finding"):
                        findings.setdefault(kind, data)
            process.join()
            if process.exitcode:
                findings.setdefault(f"finding: exit code {process.exitcode}", last.read_bytes())
            round_number += 1
    total = counts["read"] + counts["refused"]
    print(f"{name}: {total:,} inputs, {counts['refused']:,} refused, {len(findings)} findings")
    for number, (kind, data) in enumerate(findings.items()):
        arguments.out.mkdir(parents=True, exist_ok=True)
        path = arguments.out / f"{name}_{number}"
        path.write_bytes(data)
        print(f"  {path}: {kind.removeprefix('finding: ')}")
    return len(findings)


def feed(name: str, number: int, end: float, last: Path, sender: Any) -> None:
    """Feed one reader until the time is over; tells the sender of each input what became of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what C libraries say of bad files
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, too_slow)
    make_reader, refusals, with_json = READERS[name]
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with (
        tempfile.TemporaryDirectory(dir=memory) as folder,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        reader, seeds = make_reader(Path(folder))
        for data in seeds:  # what is loaded once is loaded now
            attempt(reader, data, refusals)
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MAX_MEMORY, resource.RLIM_INFINITY))
        inputs = damaged(seeds, random.Random(number))
        while time.monotonic() < end:
            values = made_up_json(number) if with_json else []
            number += 1000
            for data in [*values, *(next(inputs) for _ in range(200))]:
                last.write_bytes(data)
                sender.send(
                    (
                        outcome := attempt(reader, data, refusals),
                        b"" if not outcome.startswith("finding") else data,
                    )
                )
                if time.monotonic() > end:
                    break


def attempt(reader: Reader, data: bytes, refusals: tuple[type[Exception], ...]) -> str:
    """What becomes of an input: "read", "refused", or "finding: " and why."""
    signal.alarm(MAX_SECONDS)
    try:
        reader(data)
        return "read"
    except refusals as error:
        is_short = len(str(error).splitlines()) <= 1 and len(str(error)) < 2000
        return "refused" if is_short else f"finding: message of {len(str(error))} characters"
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        own = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if "bottomup" in frame.filename
        ]
        where = own[-1] if own else place
        return f"finding: {type(error).__name__} in {where.name} ({Path(where.filename).name})"
    finally:
        signal.alarm(0)


def too_slow(*_: object) -> None:
    raise TooSlowError


def damaged(seeds: list[bytes], chance: random.Random) -> Iterator[bytes]:
    """Real files with bytes flipped, cut, repeated, zeroed and inserted."""
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, MAX_FLIPS)):
            # most that matters is in the first bytes, or in the last ones
            limit = chance.choice((16, 64, 512, len(data)))
            at = chance.randrange(max(min(limit, len(data)), 1))
            at = len(data) - 1 - at if data and chance.random() < 0.2 else at
            length = chance.choice((1, 2, 4, 8, 64))
            match chance.randrange(8):
                case 0 | 1 | 2 if data:
                    data[at % len(data)] ^= 1 << chance.randrange(8)
                case 3 if data:
                    data[at % len(data)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
                case 4:
                    data[at : at + length] = b"\xff" * length
                case 5:
                    data[at:at] = data[at : at + length] * chance.choice((1, 1, 20))
                case 6:
                    del data[at : at + length]
                case 7 if chance.random() < 0.3:
                    del data[chance.randrange(len(data) + 1) :]
        yield bytes(data)


def made_up_json(number: int) -> list[bytes]:
    """Values with the keys of annotations, results and journals, and odd contents."""
    numbers = st.integers() | st.floats() | st.sampled_from((0, 1, -1, 1e308, 1 << 63, 10**400))
    scalars = st.none() | st.booleans() | numbers | st.text(max_size=5)
    keys = st.sampled_from(KEYS.split()) | st.text(max_size=3)
    values = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6),
        max_leaves=25,
    )
    found: list[bytes] = []

    @seed(number)
    @settings(
        max_examples=50,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(values)
    def collect(value: Any) -> None:
        found.append(json.dumps(value).encode())

    collect()
    return found


def image(folder: Path) -> tuple[Reader, list[bytes]]:
    """Small pictures of all kinds that OpenCV can write."""
    from bottomup.images.decoding import decode

    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 256, (9, 12, 3), np.uint8), (48, 36))
    seeds = []
    for suffix in (".jpg", ".png", ".webp", ".gif", ".bmp", ".tiff", ".ppm", ".avif"):
        with contextlib.suppress(cv2.error):
            seeds.append(cv2.imencode(suffix, picture)[1].tobytes())
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    seeds.append(cv2.imencode(".jpg", picture, options)[1].tobytes())
    return decode, seeds


def checkpoint(folder: Path) -> tuple[Reader, list[bytes]]:
    """A small network in our own format, as a checkpoint of a training, and in the old format."""
    import torch

    from bottomup.models.pose_net import compact
    from bottomup.weights.description import describe
    from bottomup.weights.store import load_model, save_model

    net = compact(width=8)
    save_model(net, folder / "net.safetensors")
    content = {"state_dict": net.state_dict(), "bottomup": describe(net)}
    torch.save(content, folder / "zip.pth")
    torch.save(content, folder / "old.pth", _use_new_zipfile_serialization=False)
    seeds = [path.read_bytes() for path in sorted(folder.iterdir())]

    def load(data: bytes) -> None:
        path = folder / ("input.safetensors" if data[8:9] == b"{" else "input.pth")
        path.write_bytes(data)
        load_model(path)

    return load, seeds


def labelled(folder: Path) -> tuple[bytes, bytes]:
    """A small annotation file, and results that belong to it."""
    rng = np.random.default_rng(0)
    names = [f"joint{i}" for i in range(17)]
    images, people, results = [], [], []
    for i in range(3):
        images.append({"id": i, "file_name": f"{i}.jpg", "width": 60, "height": 40})
        points = rng.uniform(0, 40, (17, 2)).round(1)
        flat = [number for x, y in points.tolist() for number in (x, y, 2)]
        person = {"id": i, "image_id": i, "category_id": 1, "keypoints": flat, "num_keypoints": 17}
        outline = [[1.0, 1.0, 30.0, 1.0, 30.0, 30.0]]
        person |= {"bbox": [1, 1, 40, 30], "area": 900, "iscrowd": 0, "segmentation": outline}
        people.append(person)
        results.append({"image_id": i, "category_id": 1, "keypoints": flat, "score": 0.5})
    people[2] |= {"iscrowd": 1, "segmentation": {"size": [40, 60], "counts": [400, 2000]}}
    category = {"id": 1, "name": "person", "keypoints": names, "skeleton": [[1, 2]]}
    content = {"images": images, "annotations": people, "categories": [category]}
    return json.dumps(content).encode(), json.dumps(results).encode()


def annotations(folder: Path) -> tuple[Reader, list[bytes]]:
    """All that reads annotations: training, evaluation, the ids of images."""
    from bottomup.data.coco import read_annotations
    from bottomup.data.image_ids import read_annotated
    from bottomup.evaluation.keypoints import evaluate

    truth, results = labelled(folder)
    (folder / "results.json").write_bytes(results)
    for i in range(3):
        (folder / f"{i}.jpg").write_bytes(b"")
    path = folder / "annotations.json"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        refused = []
        for reader in (
            lambda: read_annotations(path, folder, missing="skip"),
            lambda: read_annotated(path),
            lambda: evaluate(folder / "results.json", path),
        ):
            try:
                reader()
            except ValueError as error:
                refused.append(error)
        if refused:
            raise max(refused, key=lambda error: len(str(error)))

    return read, [truth]


def results(folder: Path) -> tuple[Reader, list[bytes]]:
    """Results that are evaluated."""
    from bottomup.evaluation.keypoints import evaluate

    truth, seed = labelled(folder)
    (folder / "annotations.json").write_bytes(truth)
    path = folder / "results.json"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        evaluate(path, folder / "annotations.json")

    return read, [seed]


def journal(folder: Path) -> tuple[Reader, list[bytes]]:
    """Journals that a run goes on with, and that are collected; values also in whole records."""
    import zlib

    from bottomup.inference.journal import JOURNAL, End, Record, Session, encode, read_state
    from bottomup.inference.lists import collect
    from bottomup.inference.shards import engines_of, problems_of, read_parts

    people = [{"image_id": 0, "category_id": 1, "keypoints": [1.5] * 51, "score": 0.5}]
    entries = [
        Session({"size": 64, "shard": [1, 2]}, "cpu"),
        Record("a.jpg", 1, 2, 3, 4, people, 1, "overlays/a.jpg", "/9g=", seconds=0.1),
        Record("b.jpg", error="broken"),
        End(2),
    ]

    def read(data: bytes) -> None:
        # a line is as damaged as it is, and once more with a length and a CRC that are right
        lines = [data]
        for line in data.split(b"\n"):
            content = line[18:] if line[8:9] == b" " else line
            behind = b"%08x %s\n" % (len(content), content)
            lines.append(b"%08x %s" % (zlib.crc32(behind), behind))
        (folder / JOURNAL).write_bytes(b"\n".join(lines))
        read_state(folder / JOURNAL, overlays=folder)
        parts = read_parts([folder, folder])
        problems_of(parts)
        engines_of(parts)
        collect([folder, folder], folder / "out")
        for name in ("results.json", "images.json", "failures.json"):
            json.loads((folder / "out" / name).read_bytes())

    return read, [b"".join(map(encode, entries))]


# how each reader is made, the errors that it documents, and whether it reads JSON
READERS: dict[str, tuple[Callable, tuple[type[Exception], ...], bool]] = {
    "image": (image, (ValueError,), False),
    "checkpoint": (checkpoint, (ValueError,), False),
    "annotations": (annotations, (ValueError,), True),
    "results": (results, (ValueError,), True),
    "journal": (journal, (), True),
}


if __name__ == "__main__":
    main()
