"""Run `bottomup predict --cluster ray` on three nodes of Ray, and kill things meanwhile.

    python scripts/check_cluster.py              # all rows of the table in docs/scaling.md
    python scripts/check_cluster.py "a node"     # one of them
    python scripts/check_cluster.py --speed 3    # one process, 1 and 2 workers, in three rounds

Every row compares the people with those of one process, image for image. The nodes are processes of
this machine, each with an object store of its own; they listen on 127.0.0.1 alone.
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bottomup.poses import Poses

NUM_NODES = 3
STORE_BYTES = 80_000_000  # of each node; Ray takes no less
NETWORK = ["--size", "128", "--no-overlays"]
TIMEOUT = 240.0  # seconds that a run may take
SHAPE_THAT_KILLS = (41, 61)  # of an image: height and width

# loaded by every Python at its start: two kinds of images end the process that has them
KILLERS = f"""
import os
import cv2
_decode, _warp = cv2.imdecode, cv2.warpAffine
def imdecode(data, *arguments):
    if b"ends its reader" in data[-64:].tobytes():
        os.abort()
    return _decode(data, *arguments)
def warp(image, *arguments, **keywords):
    if image.shape[:2] == {SHAPE_THAT_KILLS}:
        os.abort()
    return _warp(image, *arguments, **keywords)
cv2.imdecode, cv2.warpAffine = imdecode, warp
"""


@dataclasses.dataclass
class Cluster:
    """Nodes of Ray on this machine.

    Attributes:
        nodes: as Ray has them; the first has the heart of the cluster.
        ray: what has started them.
    """

    ray: Any
    nodes: list[Any]

    @property
    def address(self) -> str:
        """For --ray-address."""
        return self.ray.address

    def kill_node(self) -> None:
        """End all processes of the last node at once."""
        self.ray.remove_node(self.nodes.pop(), allow_graceful=False)

    def kill_worker(self) -> None:
        """End the process of one network.

        Raises:
            RuntimeError: there is none.
        """
        raylets = {node.all_processes["raylet"][0].process.pid for node in self.nodes}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
                is_worker = (path / "cmdline").read_bytes().startswith(b"ray::MapWorker")
                if is_worker and parent in raylets:
                    os.kill(int(path.name), signal.SIGKILL)
                    return
        raise RuntimeError("no worker runs")

    def add_node(self) -> None:
        """Start another node."""
        self.nodes.append(
            self.ray.add_node(
                num_cpus=1,
                object_store_memory=STORE_BYTES,
                node_ip_address="127.0.0.1",
                include_dashboard=False,
            )
        )


@contextlib.contextmanager
def cluster(num_nodes: int = NUM_NODES) -> Iterator[Cluster]:
    """Nodes with one CPU each; they inherit the environment of this process."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # so that 127.0.0.1 stays that
    from ray.cluster_utils import Cluster as RayCluster

    one = Cluster(RayCluster(shutdown_at_exit=False), [])
    try:
        for _ in range(num_nodes):
            one.add_node()
        yield one
    finally:
        one.ray.shutdown()


def make_photos(folder: Path, num: int) -> None:
    """Small photos, all different, from the samples of the package."""
    samples = sorted(Path(__file__).parents[1].glob("bottomup/samples/*.jpg"))
    images = [cv2.imread(str(path)) for path in samples]
    folder.mkdir(parents=True)
    for i in range(num):
        image = images[i % len(images)]
        assert image is not None
        scale = 320 / max(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{i:04}.jpg"), np.roll(small, i, axis=1))


def command(photos: Path | str, out: Path | str, *options: str) -> list[str]:
    """The words of a run."""
    words = [sys.executable, "-m", "bottomup", "predict", str(photos), "--out", str(out)]
    return [*words, *NETWORK, *options]


def num_blocks(out: Path) -> int:
    """How many blocks are written."""
    return len(list(out.glob("blocks/*.parquet")))


def names_in_blocks(out: Path) -> Counter[str]:
    """How often each image is in the blocks."""
    from bottomup.distributed.blocks import from_parquet

    return Counter(
        record.name
        for path in out.glob("blocks/*.parquet")
        for record in from_parquet(path.read_bytes())
    )


def run_and(
    words: Sequence[str], out: Path, what: Callable[[subprocess.Popen[str]], None], after: int
) -> subprocess.CompletedProcess[str]:
    """Start a run, do something once it has written some blocks, and wait for its end."""
    with subprocess.Popen(
        words, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        start = time.monotonic()
        while num_blocks(out) < after and process.poll() is None:
            if time.monotonic() - start > TIMEOUT:
                process.kill()
            time.sleep(0.05)
        what(process)
        try:
            output, _ = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
    return subprocess.CompletedProcess(list(words), process.returncode, output)


def smallest_similarity(out: Path, other: Path) -> float:
    """The smallest similarity (OKS) of a person of one run to the same one of the other.

    Raises:
        ValueError: an image is missing, is there twice, or has other people.
    """
    first, second = (_people(folder) for folder in (out, other))
    if first.keys() != second.keys():
        raise ValueError(f"images differ: {sorted(first.keys() ^ second.keys())[:5]}")
    smallest = 1.0
    for name, people in first.items():
        if len(people) != len(second[name]):
            raise ValueError(f"{name}: {len(people)} people, not {len(second[name])}")
        if people:
            one, two = Poses.from_coco(people), Poses.from_coco(second[name])
            areas = np.ptp(one.keypoints, axis=1).prod(axis=1) + 1
            smallest = min(smallest, float(np.diag(one.similarity(two, areas)).min()))
    return smallest


def _people(folder: Path) -> dict[str, list[dict[str, Any]]]:
    images = json.loads((folder / "images.json").read_text())["images"]
    names = {image["id"]: image["file_name"] for image in images}
    if len(set(names.values())) != len(images):
        raise ValueError(f"{folder}: an image is there twice")
    people: dict[str, list[dict[str, Any]]] = {name: [] for name in names.values()}
    for person in json.loads((folder / "results.json").read_text()):
        people[names[person["image_id"]]].append(person)
    return people


@dataclasses.dataclass
class Row:
    """What was killed, and what came of it.

    Attributes:
        seconds: of all commands that the run took.
        num_commands: that the run took.
        num_lost: images that the results lack.
        num_again: images that were done more than once; the results have each once.
        similarity: the smallest (OKS) to the people of one process.
    """

    seconds: float
    num_commands: int
    num_lost: int
    num_again: int
    similarity: float


def with_fault(
    words: list[str], out: Path, baseline: Path, fault: Callable[[subprocess.Popen[str]], None]
) -> Row:
    """Run until the run is complete, with a fault after the first block.

    Raises:
        RuntimeError: a run that nothing was done to has failed.
    """
    start = time.monotonic()
    run = run_and(words, out, fault, 1)
    num_commands = 1
    while run.returncode:
        run = run_and(words, out, lambda _: None, 0)
        num_commands += 1
        if num_commands > 3:
            raise RuntimeError(f"{words} ends with {run.returncode}: {run.stdout}")
    seconds = time.monotonic() - start
    counts, wanted = names_in_blocks(out), set(_people(baseline))
    return Row(
        seconds,
        num_commands,
        len(wanted - set(_people(out))),
        sum(count > 1 for count in counts.values()),
        smallest_similarity(out, baseline),
    )


def rate_of_one(out: Path) -> float:
    """Images a second of a run of one process, after its first image."""
    from bottomup.inference.journal import JOURNAL, Record, read

    seconds = [e.seconds or 0.0 for _, e in read(out / JOURNAL) if isinstance(e, Record)]
    return len(seconds[1:]) / sum(seconds[1:])


def rate_of_workers(out: Path, num_workers: int) -> float:
    """Images a second of a run on a cluster, after the first block of each worker."""
    blocks = sorted(out.glob("blocks/*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    times = [path.stat().st_mtime for path in blocks]
    from bottomup.distributed.blocks import from_parquet

    num_images = sum(len(list(from_parquet(path.read_bytes()))) for path in blocks[num_workers:])
    return num_images / (times[-1] - times[num_workers - 1])


def measure_speed(folder: Path, nodes: Cluster, num_rounds: int) -> None:
    """Print images a second of one process with a thread, and the ratios of workers to it.

    At a usual size: at that of the faults above, most of the time would be reading.
    """
    rates: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for i in range(num_rounds):
        for num_workers, of in rates.items():
            out = folder / f"{i}-{num_workers}"
            options = ["--threads", "1", "--size", "512"]
            if num_workers:
                options += ["--cluster", "ray", "--ray-address", nodes.address]
                options += ["--workers", str(num_workers)]
            words = command(folder / "photos", out, *options)
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            of.append(rate_of_workers(out, num_workers) if num_workers else rate_of_one(out))
    one = np.array(rates[0])
    print(f"one process: {np.median(one):.1f} images/s, of {np.round(one, 1)}")
    for num_workers in (1, 2):
        ratios = np.array(rates[num_workers]) / one
        print(f"{num_workers} workers: {np.median(ratios):.2f} of it, of {np.round(ratios, 2)}")


def main() -> None:
    """Print the table."""
    faults: dict[str, Callable[[Cluster, subprocess.Popen[str]], None]] = {
        "nothing": lambda cluster, process: None,
        "a worker": lambda cluster, process: cluster.kill_worker(),
        "a node": lambda cluster, process: cluster.kill_node(),
        "the driver": lambda cluster, process: process.kill(),
        "Ctrl-C": lambda cluster, process: process.send_signal(signal.SIGINT),
    }
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"one of {', '.join(faults)}")
    parser.add_argument("--photos", type=int, default=400, metavar="N")
    parser.add_argument("--speed", type=int, metavar="ROUNDS", help="measure images a second")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, cluster() as nodes:
        folder = Path(name)
        make_photos(folder / "photos", arguments.photos)
        if arguments.speed:
            measure_speed(folder, nodes, arguments.speed)
            return
        start = time.monotonic()
        subprocess.run(
            command(folder / "photos", folder / "one"), check=True, stdout=subprocess.DEVNULL
        )
        print(f"one process without Ray: {time.monotonic() - start:.0f} s")
        print("| killed | commands | seconds | images lost | done again | smallest OKS |")
        print("| --- | --- | --- | --- | --- | --- |")
        for number, fault in enumerate(arguments.faults or faults):
            out = folder / str(number)
            words = command(
                folder / "photos", out, "--cluster", "ray", "--ray-address", nodes.address
            )
            one = with_fault(words, out, folder / "one", functools.partial(faults[fault], nodes))
            print(
                f"| {fault} | {one.num_commands} | {one.seconds:.0f} | {one.num_lost} | "
                f"{one.num_again} | {one.similarity:.4f} |",
                flush=True,
            )
            if len(nodes.nodes) < NUM_NODES:
                nodes.add_node()


if __name__ == "__main__":
    main()
