import functools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

import bottomup
from bottomup.engines.graphs import example_of, outputs_of, write_graph
from bottomup.engines.sessions import is_inner, open_session, supported_precisions
from bottomup.export.pose_graph import PoseGraph, Slots, find_slots
from bottomup.method.grouping import Grouper
from bottomup.method.peaks import find_candidates, locate
from bottomup.models.pose_net import PoseNet, compact, higherhrnet, mobile
from bottomup.weights.store import start_from

PHOTO = Path(bottomup.__file__).parent / "samples" / "astronaut.jpg"

SIZES = [(1, 64, 64), (2, 75, 130), (1, 200, 96)]  # B H W; none of them is the traced one


def lively(net: PoseNet, *, bias: float = -0.5) -> PoseNet:
    """Random weights with which heatmaps have peaks, so that no output is empty."""
    net.train()  # batch norm takes what it sees
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        for output in net(torch.from_numpy(images_of((1, 128, 128))).permute(0, 3, 1, 2)):
            assert output.heatmaps.isfinite().all()
    for module in net.head.final_layers if hasattr(net.head, "final_layers") else [net.head.final]:
        torch.nn.init.normal_(module.weight, std=0.1)
        torch.nn.init.constant_(module.bias, bias)
    return net.eval()


def bundled(**arguments) -> PoseNet:
    net = mobile(**arguments)
    start_from(net, "mobile")
    return net.eval()


NETS = {
    "mobile": bundled,
    "one scale": lambda: bundled(num_scales=1),
    "fine heatmaps": lambda: bundled(fine_channels=8),
    "higherhrnet": lambda: lively(higherhrnet(8, num_blocks=1), bias=-1.0),
    "anchored": lambda: lively(higherhrnet(8, num_deconvs=0, tag_dims=2, tag_anchor=0.1)),
    "compact": lambda: lively(compact(8, out_channels=8), bias=-3.0),
}
QUICK = ("mobile", "higherhrnet", "compact")  # one of each trunk


def graph_of(net: PoseNet, *, max_candidates: int = 3000) -> PoseGraph:
    grouper = Grouper(skeleton=net.skeleton)
    return PoseGraph(net, grouper, max_candidates=max_candidates, max_votes=30).eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Callable[[str], tuple[PoseGraph, Path]]:
    """Writes the graph of a network, once for all tests."""

    @functools.cache
    def export(name):
        torch.manual_seed(0)
        graph = graph_of(NETS[name]())
        path = tmp_path_factory.mktemp("exported") / "a.onnx"
        write_graph(graph, path, example_of(graph.net, torch.uint8))
        return graph, path

    return export


def images_of(size: tuple[int, int, int]) -> np.ndarray:
    """A photo, stretched to the size; every second one is mirrored."""
    photo = cv2.resize(cv2.imread(str(PHOTO)), (size[2], size[1]), interpolation=cv2.INTER_AREA)
    return np.stack([photo[:, :: (-1) ** number, ::-1] for number in range(size[0])])


def rows(slots: Slots, image: int, joint: int) -> np.ndarray:
    """x, y, value, tags and whether it is a peak, of the places that are not empty, by value."""
    xy, value, tags, is_peak = (part[image, joint].numpy() for part in slots)
    table = np.column_stack([xy, value, tags, is_peak])[value > 0]
    return table[np.lexsort(table.T)]


def num_unlike(found: np.ndarray, wanted: np.ndarray) -> int:
    """How many rows of one table have none of the other nearby."""
    if not len(found) or not len(wanted):
        return len(found) + len(wanted)
    distance = cdist(found, wanted)
    return int((distance.min(0) > 0.02).sum() + (distance.min(1) > 0.02).sum())


@pytest.mark.parametrize("levels", [7, 1 << 20])  # with few levels, many neighbours are equal
@pytest.mark.parametrize("shape", [(3, 4, 9, 14), (1, 2, 1, 6), (1, 2, 5, 1)])
def test_slots_hold_the_candidates_of_the_grouper(shape, levels):
    generator = torch.Generator().manual_seed(0)
    heatmaps = torch.randint(levels, shape, generator=generator) / levels
    heatmaps = heatmaps + torch.rand(shape, generator=generator) * 1e-6 * (levels > 7)
    tags = torch.randn(*shape, 3, generator=generator)
    thresholds = {"detection_threshold": 0.4, "refine_threshold": 0.3}
    slots = find_slots(
        heatmaps, tags, detection_threshold=0.4, threshold=0.3, max_candidates=9 * 14
    )
    size = shape[2] * shape[3]
    for image, found in enumerate(find_candidates(heatmaps, tags, **thresholds)):
        for joint in range(shape[1]):
            is_own = found.flat // size == joint
            tag, is_peak = found.tags[is_own], found.is_peak[is_own]
            index = found.flat[is_own] + image * shape[1] * size
            xy, _ = locate(heatmaps, index, quarter_offset=False)
            table = np.column_stack([xy, found.value[is_own], tag, is_peak])
            # the logarithms of numpy and torch differ in their last digit
            np.testing.assert_allclose(
                rows(slots, image, joint), table[np.lexsort(table.T)], rtol=0, atol=1e-5
            )


def test_peaks_come_first_and_the_best_are_kept():
    heatmaps = torch.zeros(1, 1, 20, 20)
    heatmaps[0, 0, 10, 2:18] = torch.linspace(0.5, 0.9, 16)  # a ridge with one peak
    heatmaps[0, 0, 3, [4, 12]] = torch.tensor([0.2, 0.3])  # two lower peaks
    slots = find_slots(
        heatmaps,
        torch.zeros(1, 1, 20, 20, 1),
        detection_threshold=0.1,
        threshold=0.05,
        max_candidates=4,
    )
    torch.testing.assert_close(slots.value[0, 0], torch.tensor([0.9, 0.3, 0.2, 0.8733333]))
    assert slots.is_peak[0, 0].tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in NETS]
)
@torch.inference_mode()
def test_a_graph_in_any_engine_gives_what_torch_gives(name, exported):
    graph, path = exported(name)
    for backend in ("openvino", "onnxruntime"):
        pytest.importorskip(backend)
        session = open_session(path, backend, reads=True)
        for size in SIZES:
            images = images_of(size)
            expected = Slots(*graph(torch.from_numpy(images))[: len(Slots._fields)])
            actual = Slots(**{k: torch.from_numpy(v) for k, v in session(images).items()})
            require_alike(actual, expected, graph.max_candidates)


@pytest.mark.parametrize("name", ["mobile", "higherhrnet"])
@torch.inference_mode()
def test_in_lower_precision_the_outputs_are_read_in_float32(name, exported):
    pytest.importorskip("openvino")
    if "bfloat16" not in supported_precisions("openvino"):
        pytest.skip("this processor has no bfloat16")
    graph, path = exported(name)
    images = images_of((1, 128, 192))
    given = open_session(path, "openvino", precision="bfloat16", reads=True)(images)
    actual = Slots(**{name: torch.from_numpy(array) for name, array in given.items()})
    # all in bfloat16: the same outputs of the network, but other slots
    named = open_session(path, "openvino", precision="bfloat16")(images)
    inner = {name: array for name, array in named.items() if is_inner(name)}
    expected = graph.read(outputs_of(graph.net, inner), (128, 192))
    require_alike(actual, expected, graph.max_candidates)
    rounded = Slots(*(torch.from_numpy(named[field]) for field in Slots._fields))
    with pytest.raises(AssertionError):
        require_alike(rounded, expected, graph.max_candidates)


def require_alike(actual: Slots, expected: Slots, max_candidates: int) -> None:
    """The same candidates in all images."""
    pairs = [
        (rows(actual, image, joint), rows(expected, image, joint))
        for image in range(len(expected.value))
        for joint in range(expected.value.shape[1])
    ]
    num_rows = sum(len(wanted) for _, wanted in pairs)
    assert num_rows > 100
    assert max(len(wanted) for _, wanted in pairs) < max_candidates
    # a crest may have an almost equal neighbour
    assert sum(num_unlike(*pair) for pair in pairs) <= 0.02 * num_rows
