"""Runs on three nodes of Ray, and what is killed there meanwhile; see scripts/check_cluster.py."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import check_cluster
import cv2
import numpy as np
import pytest
from check_cluster import Cluster, command, make_photos, num_blocks

from tests.support.s3_server import s3_server

ROOT = Path(__file__).parents[2]
NUM_PHOTOS = 200

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Photos, and what one process finds in them."""
    pytest.importorskip("ray")
    pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("cluster")
    make_photos(folder / "photos", NUM_PHOTOS)
    run(command(folder / "photos", folder / "one"))
    return folder


@pytest.fixture(scope="module")
def killers(tmp_path_factory) -> Path:
    """A folder for PYTHONPATH: every process then dies of two kinds of images."""
    folder = tmp_path_factory.mktemp("killers")
    (folder / "sitecustomize.py").write_text(check_cluster.KILLERS)
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    with s3_server() as address:
        yield address


@pytest.fixture(scope="module")
def nodes(folder, killers, server) -> Iterator[Cluster]:
    """Nodes that know the server and have the killers."""
    with pytest.MonkeyPatch.context() as patched:
        paths = [str(killers), str(ROOT), os.environ.get("PYTHONPATH", "")]
        patched.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with check_cluster.cluster() as nodes:
            yield nodes


def run(words: list[str], code: int = 0) -> str:
    done = subprocess.run(words, text=True, capture_output=True, cwd=ROOT)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def on(nodes: Cluster, photos: object, out: object, *options: str) -> list[str]:
    address = ["--cluster", "ray", "--ray-address", nodes.address]
    return command(str(photos), str(out), *address, *options)


def failures_of(folder: Path) -> dict[str, str]:
    return {
        one["file"]: one["reason"] for one in json.loads((folder / "failures.json").read_text())
    }


def test_the_same_files_as_one_process_and_the_second_time_nothing_is_to_do(nodes, folder):
    text = run(on(nodes, folder / "photos", folder / "all", "--workers", "2"))
    assert f"{NUM_PHOTOS} images in " in text
    assert "raylet" not in text
    for name in ("results.json", "images.json", "failures.json", "index.html"):
        assert (folder / "all" / name).read_bytes() == (folder / "one" / name).read_bytes()
    text = run(on(nodes, folder / "photos", folder / "all"))
    assert f"nothing to do: {NUM_PHOTOS} images done before" in text


def test_a_node_that_is_killed_costs_nothing(nodes, folder):
    out = folder / "node"
    words = on(nodes, folder / "photos", out)
    row = check_cluster.with_fault(words, out, folder / "one", lambda _: nodes.kill_node())
    nodes.add_node()
    assert (row.num_commands, row.num_lost) == (1, 0)
    assert row.similarity >= 0.99


def test_the_same_command_goes_on_after_ctrl_c_and_after_a_kill(nodes, folder):
    out = folder / "stopped"
    words = on(nodes, folder / "photos", out)
    stop = lambda process: process.send_signal(signal.SIGINT)  # noqa: E731
    done = check_cluster.run_and(words, out, stop, 1)
    assert done.returncode == 130
    assert "the same command goes on" in done.stdout
    assert "Traceback" not in done.stdout
    (out / "results.json").unlink()
    text = run([sys.executable, "-m", "bottomup", "collect", str(out)], 3)
    assert f"not finished: {out}" in text
    num_done = len(json.loads((out / "images.json").read_text())["images"])
    assert 64 <= num_done < NUM_PHOTOS
    killed = check_cluster.run_and(words, out, lambda process: process.kill(), num_blocks(out) + 1)
    assert killed.returncode == -signal.SIGKILL
    assert "images kept from before" in run(words)
    assert (out / "results.json").read_bytes() == (folder / "one" / "results.json").read_bytes()


@pytest.mark.slow
def test_images_that_end_every_process_cost_only_themselves(nodes, folder, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(8):
        shutil.copy(folder / "photos" / f"{i:04}.jpg", photos)
    with open(photos / "0003.jpg", "ab") as file:
        file.write(b"ends its reader")
    image = np.zeros((*check_cluster.SHAPE_THAT_KILLS, 3), np.uint8)
    cv2.imwrite(str(photos / "0005.jpg"), image)
    run(on(nodes, photos, tmp_path / "out"), 3)
    assert failures_of(tmp_path / "out").keys() == {"0003.jpg", "0005.jpg"}
    assert "has ended" in failures_of(tmp_path / "out")["0005.jpg"]
    assert len(json.loads((tmp_path / "out" / "images.json").read_text())["images"]) == 6


@pytest.mark.slow
def test_sources_and_results_on_a_server(nodes, folder, tmp_path):
    import s3fs

    files = s3fs.S3FileSystem()
    files.mkdir("bucket")
    for i, name in enumerate(("a.jpg", "sub/b c#.jpg", "shaky.jpg", "broken.jpg")):
        files.put(str(folder / "photos" / f"{i:04}.jpg"), f"bucket/photos/{name}")
    run(on(nodes, "s3://bucket/photos", "s3://bucket/out"), 3)
    run(command("s3://bucket/photos", tmp_path / "one"), 3)
    assert failures_of(tmp_path / "one").keys() == {"broken.jpg"}
    text = run(
        [sys.executable, "-m", "bottomup", "collect", "s3://bucket/out", "--out", str(tmp_path)], 3
    )
    assert "4 images" in text
    for name in ("results.json", "images.json", "failures.json"):
        of_one = (tmp_path / "one" / name).read_bytes()
        assert files.cat_file(f"bucket/out/{name}") == of_one == (tmp_path / name).read_bytes()


def test_a_cluster_that_is_not_there_is_one_line(folder, tmp_path):
    words = command(folder / "photos", tmp_path, "--cluster", "ray", "--ray-address")
    done = subprocess.run([*words, "127.0.0.1:1"], text=True, capture_output=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("bottomup: no cluster of Ray at '127.0.0.1:1'")
    assert done.stderr.count("\n") == 1
