import os

import pytest
import torch

from bottomup.engines import graph_cache
from bottomup.models.pose_net import compact
from bottomup.weights.store import digest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "bottomup" / "graphs"


@pytest.fixture
def num_written(monkeypatch):
    written = []
    write = graph_cache.write_dense
    monkeypatch.setattr(
        graph_cache, "write_dense", lambda net, path: (written.append(path), write(net, path))
    )
    return written


def open_session(net):
    return graph_cache.open_cached(net, "onnxruntime", sha256=digest(net.state_dict()))


def test_a_graph_is_made_once(cache, num_written):
    net = compact(8).eval()
    for _ in range(3):
        open_session(net)
    assert len(num_written) == 1 == len(list(cache.iterdir()))


def test_other_weights_are_another_graph(cache, num_written):
    net = compact(8).eval()
    open_session(net)
    with torch.no_grad():
        next(net.parameters()).add_(1)
    open_session(net)
    assert len(num_written) == 2 == len(list(cache.iterdir()))


def test_the_mean_of_the_images_is_part_of_the_graph(cache, num_written):
    net = compact(8).eval()
    open_session(net)
    net.mean += 1
    open_session(net)
    assert len(num_written) == 2


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_damaged_graph_is_made_anew(cache, num_written, content):
    net = compact(8).eval()
    open_session(net)
    (path,) = cache.iterdir()
    path.write_bytes(path.read_bytes()[:1000] if content is None else content)
    open_session(net)
    assert len(num_written) == 2
    open_session(net)
    assert len(num_written) == 2


def test_a_cache_that_cannot_be_written_only_costs_time(cache, num_written):
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    open_session(compact(8).eval())
    assert len(num_written) == 1


def test_the_oldest_graphs_make_room(cache, monkeypatch):
    net = compact(8).eval()
    open_session(net)
    (first,) = cache.iterdir()
    monkeypatch.setattr(graph_cache, "MAX_BYTES", 5 * first.stat().st_size // 2)
    for number in range(3):
        os.utime(first, (number, number))
        net.mean += 1
        open_session(net)
        newest = max(cache.iterdir(), key=lambda path: path.stat().st_mtime)
        assert len(list(cache.iterdir())) == 2
        first = newest if number else first
        for path in cache.iterdir():
            os.utime(path, (100, 100))
