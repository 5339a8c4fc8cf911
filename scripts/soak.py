"""A run that is killed again and again, against one that is left alone: nothing may be lost.

    python scripts/soak.py                             # 2,000 images, 20 kills, full disks
    python scripts/soak.py --images 20000 --kills 0    # images per second, and memory

Every fiftieth file is corrupt. The last line counts images that are lost, that are there twice, or
whose results differ, and the corrupt files that failures.json names with the same reason. Full
disks need root, for a small file system in memory.
"""

import argparse
import collections
import contextlib
import errno
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_journal import write_images

from bottomup.inference.journal import JOURNAL, Record, read

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
NUM_FULL_DISKS = 3
BYTES_PER_IMAGE = 40_000  # of overlays, journal and lists together, and to spare


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--size", default="64", help="of the network's input")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & lets it be ignored
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="soak") as name:
        folder = Path(name)
        images = folder / "images"
        images.mkdir()
        write_images(images, arguments.images)
        bad = spoil(images, chance)
        command = [sys.executable, "-m", "bottomup", "predict", str(images)]
        command += ["--size", arguments.size, "--device", "cpu", "--out"]
        undisturbed = folder / "undisturbed"
        measure([*command, str(undisturbed)], undisturbed)
        if arguments.kills:
            with small_disk(folder / "disk", arguments.images) as disk:
                out = disk / "out"
                disturb([*command, str(out)], out, arguments, chance)
                finish([*command, str(out)])
                sys.exit(compare(undisturbed, out, bad))


def spoil(images: Path, chance: random.Random) -> set[str]:
    """Make every fiftieth file corrupt, in one of several ways; returns their names."""
    bad = set()
    for path in sorted(images.iterdir())[7::50]:
        data = path.read_bytes()
        kinds = (b"", b"no image\n" * 20, data[: len(data) // 2], data[:300], os.urandom(999))
        path.write_bytes(chance.choice(kinds))
        bad.add(path.name)
    return bad


def measure(command: list[str], out: Path) -> None:
    """Run to the end, and print images per second and how memory grows."""
    start = time.monotonic()
    points: list[tuple[int, float]] = []
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        num_records, offset = 0, 0
        while process.poll() is None:
            time.sleep(0.2)
            with contextlib.suppress(OSError), open(out / JOURNAL, "rb") as file:
                file.seek(offset)
                data = file.read()
                num_records, offset = num_records + data.count(b"\n"), offset + len(data)
                points.append((num_records, resident_megabytes(process.pid)))
    seconds = time.monotonic() - start
    print(f"undisturbed: {num_records - 2} images in {seconds:.0f} s with the start")
    later = np.array([point for point in points if point[0] > 1000 and point[1] > 0])
    if len(later) > 1 and np.ptp(later[:, 0]) > 0:
        slope = np.polyfit(later[:, 0], later[:, 1], 1)[0] * 1000
        print(f"memory: {slope:.3f} MB per 1,000 images after the first 1,000")
        print(f"memory at its highest: {max(megabytes for _, megabytes in points):.0f} MB")


def resident_megabytes(pid: int) -> float:
    """What a process holds in memory; 0 if it is gone."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


@contextlib.contextmanager
def small_disk(path: Path, num_images: int) -> Iterator[Path]:
    """A file system in memory that a run can fill; an ordinary folder without root."""
    path.mkdir()
    size = 20_000_000 + num_images * BYTES_PER_IMAGE
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    is_mounted = subprocess.run(mount, stderr=subprocess.DEVNULL).returncode == 0
    try:
        yield path
    finally:
        if is_mounted:
            subprocess.run(["umount", str(path)], check=True)


def disturb(
    command: list[str], out: Path, arguments: argparse.Namespace, chance: random.Random
) -> None:
    """Kill the run at random instants, and sometimes let the disk be full."""
    has_disk = os.path.ismount(out.parent)
    if not has_disk:
        print("full disks are left out: no small file system can be mounted (needs root)")
    # early enough that there is more to write than there is room
    early = range(max(arguments.kills // 2, NUM_FULL_DISKS))
    full_after = set(chance.sample(early, NUM_FULL_DISKS)) if has_disk else set()
    stops: collections.Counter[str] = collections.Counter()
    for number in range(arguments.kills):
        which = SIGNALS[number % len(SIGNALS)]
        # every fifth is killed early: while it starts, or reads its journal
        is_early = number % 5 == 4
        left = max(arguments.images - num_lines(out), 0)
        share = 0 if is_early else chance.uniform(0, left / (arguments.kills - number))
        wait = chance.uniform(0, 4) if is_early else chance.uniform(0, 0.1)
        stops[kill(command, out, which, round(share), wait)] += 1
        if number in full_after:
            stops[run_on_full_disk(command, out, chance)] += 1
    print("stops:", ", ".join(f"{count} x {stop}" for stop, count in sorted(stops.items())))


def kill(command: list[str], out: Path, which: signal.Signals, more: int, wait: float) -> str:
    """Start the run and signal it some records and seconds later; says how it ended."""
    before = num_lines(out)
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        while num_lines(out) < before + more and process.poll() is None:
            time.sleep(0.02)
        time.sleep(wait)
        process.send_signal(which)
        code = process.wait()
        errors.seek(0)
        last = (errors.read().splitlines() or [""])[-1]
    if code not in (0, 3, 128 + which, -which) and not last.startswith("KeyboardInterrupt"):
        sys.exit(f"exit code {code} after {which.name}: {last}")
    return f"{which.name} (exit code {code})"


def run_on_full_disk(command: list[str], out: Path, chance: random.Random) -> str:
    """Leave little room, run until it is used up, and make room again; says how it ended."""
    ballast = out.parent / "ballast"
    with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    os.truncate(ballast, max(ballast.stat().st_size - chance.randrange(1 << 19), 0))
    result = subprocess.run(command, capture_output=True, text=True)
    ballast.unlink()
    if result.returncode == 1 and os.strerror(errno.ENOSPC) in result.stderr:
        return "full disk (exit code 1)"
    sys.exit(f"exit code {result.returncode} on a full disk: {result.stderr}")


def finish(command: list[str]) -> None:
    """Let the run come to its end, and see that it then ends at once."""
    for _ in range(2):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 3:  # some files are corrupt
            sys.exit(f"exit code {result.returncode} at the end: {result.stderr}")
        print(result.stdout.splitlines()[0])


def compare(undisturbed: Path, out: Path, bad: set[str]) -> int:
    """Print what differs between two runs; returns the exit code."""
    records = [entry for _, entry in read(out / JOURNAL) if isinstance(entry, Record)]
    (expected, reasons, _), (found, found_reasons, twice) = map(contents, (undisturbed, out))
    twice += len(records) - len({record.name for record in records})
    lost = expected.keys() - found.keys()
    different = sum(found[name] != expected[name] for name in expected.keys() & found.keys())
    different += len(found.keys() - expected.keys())
    named = sum(name in reasons and found_reasons.get(name) == reasons[name] for name in bad)
    different += found_reasons.keys() != bad
    print(f"lost {len(lost)}, twice {twice}, different {different}, ", end="")
    print(f"bad named {named} of {len(bad)}")
    return int(bool(lost or twice or different or named < len(bad)))


def contents(out: Path) -> tuple[dict[str, Any], dict[str, str], int]:
    """Of each image all that a run says, the reasons of failures, and how many are there twice."""
    images = json.loads((out / "images.json").read_text())["images"]
    failures = json.loads((out / "failures.json").read_text())
    people = collections.defaultdict(list)
    for person in json.loads((out / "results.json").read_text()):
        people[person["image_id"]].append(person)
    all_of = {
        image["file_name"]: (
            image,
            people.pop(image["id"], []),
            (out / "overlays" / image["file_name"]).read_bytes(),
        )
        for image in images
    }
    reasons = {entry["file"]: entry["reason"] for entry in failures}
    twice = len(images) + len(failures) - len(all_of.keys() | reasons.keys()) + len(people)
    return all_of, reasons, twice


def num_lines(out: Path) -> int:
    """Records in the journal."""
    path = out / JOURNAL
    return path.read_bytes().count(b"\n") if path.exists() else 0


if __name__ == "__main__":
    main()
