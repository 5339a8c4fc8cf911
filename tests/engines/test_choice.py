import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from bottomup.engines import choice
from bottomup.engines.choice import GraphEngine, TorchEngine, asked_for, choose_engine, supported
from bottomup.inference.predictor import Predictor
from bottomup.models.network import Cost
from bottomup.models.pose_net import compact, higherhrnet, mobile
from bottomup.weights.store import FOLDER, digest, load_model

PARK = str(FOLDER.parent / "samples" / "park.jpg")
BACKENDS = ("openvino", "onnxruntime")
NETWORKS = {
    "mobile": lambda: load_model("mobile"),
    "fine heatmaps": lambda: load_model("mobile_multiresolution"),
    "higherhrnet": lambda: higherhrnet(8),
    "plain hrnet": lambda: higherhrnet(8, num_deconvs=0),
    "compact": lambda: compact(8),
}
QUICK = ("mobile", "fine heatmaps", "compact")  # to be made in the other engine too
PAIRS = [("openvino", name) for name in NETWORKS] + [("onnxruntime", name) for name in QUICK]


@pytest.fixture(scope="module")
def bundled():
    return load_model()


def pixels(wide: int, high: int, *, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(wide * high)
    coarse = torch.rand(batch, 3, high // 32, wide // 32, generator=generator) * 255
    images = torch.nn.functional.interpolate(coarse, size=(high, wide), mode="bilinear")
    return images.to(torch.uint8)


def tensors(outputs) -> list[torch.Tensor]:
    return [part for output in outputs for part in output if part is not None]


@pytest.mark.parametrize(("backend", "network"), PAIRS)
@torch.inference_mode()
def test_outputs_are_those_of_torch_at_any_size(network, backend):
    pytest.importorskip(backend)
    net = NETWORKS[network]().eval()
    engine, reference = GraphEngine(net, backend, "float32"), TorchEngine(net)
    for wide, high, batch in ((128, 128, 1), (256, 128, 2), (128, 320, 1), (128, 128, 3)):
        images = pixels(wide, high, batch=batch)
        ours, theirs = engine(images), reference(images)
        assert list(map(type, ours)) == list(map(type, theirs))
        for a, b in zip(tensors(ours), tensors(theirs), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()))


@pytest.mark.parametrize("backend", BACKENDS)
@torch.inference_mode()
def test_later_calls_leave_earlier_outputs_as_they_are(backend, bundled):
    pytest.importorskip(backend)
    engine = GraphEngine(bundled, backend, "float32")
    first = tensors(engine(pixels(128, 128)))
    copies = [tensor.clone() for tensor in first]
    engine(255 - pixels(128, 128))
    assert all(map(torch.equal, first, copies))


@pytest.mark.parametrize(
    "arguments", [{"flip": True}, {"scales": (0.5, 1)}, {"size": 256, "mode": "official"}]
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_people_are_those_of_torch(backend, arguments, bundled):
    pytest.importorskip(backend)
    theirs = Predictor(bundled, backend="torch", **arguments)(PARK)
    ours = Predictor(bundled, backend=backend, precision="float32", **arguments)(PARK)
    assert len(ours) == len(theirs) > 3
    areas = np.prod(theirs.boxes[:, 2:] - theirs.boxes[:, :2], axis=1) + 1
    assert theirs.similarity(ours, areas).max(axis=1).min() > 0.999


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_predictor_serves_several_threads(backend, bundled):
    pytest.importorskip(backend)
    predictor = Predictor(bundled, backend=backend, size=256)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(predictor, [PARK] * 6))
    assert len({len(poses) for poses in found}) == 1
    for poses in found:
        np.testing.assert_array_equal(poses.keypoints, found[0].keypoints)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_bfloat16_finds_the_clear_people_at_their_places(backend, bundled):
    pytest.importorskip(backend)
    if "bfloat16" not in supported(backend, "cpu"):
        pytest.skip("this processor has no bfloat16")
    predictor = Predictor(bundled, backend=backend, precision="bfloat16")
    assert predictor.engine.precision == "bfloat16"
    clear = Predictor(bundled, backend="torch")(PARK).filter(0.4)
    areas = np.prod(clear.boxes[:, 2:] - clear.boxes[:, :2], axis=1) + 1
    assert clear.similarity(predictor(PARK), areas).max(axis=1).min() > 0.95
    outputs = predictor.engine(pixels(128, 128))
    assert {tensor.dtype for tensor in tensors(outputs)} == {torch.float32}


def test_torch_in_float32_is_the_network_itself(bundled):
    with torch.inference_mode():
        images = pixels(128, 192)
        ours, own = TorchEngine(bundled)(images), bundled(images)
        assert all(map(torch.equal, tensors(ours), tensors(own)))


def pretend(monkeypatch, *, installed=("openvino", "onnx", "onnxruntime"), precisions=("float32",)):
    """A machine with these packages and precisions, on which any graph can be made."""
    monkeypatch.delenv("BOTTOMUP_BACKEND", raising=False)
    monkeypatch.delenv("BOTTOMUP_PRECISION", raising=False)
    monkeypatch.setattr(choice, "is_installed", lambda name: name in installed)
    monkeypatch.setattr(choice, "supported", lambda backend, device: list(precisions))

    class Engine(choice.Engine):
        def __init__(self, net, name, precision, threads, sha256):
            super().__init__(net, precision, sha256)
            self.name = name

    monkeypatch.setattr(choice, "GraphEngine", Engine)


def chosen(net, **arguments) -> tuple[str, str]:
    engine = choose_engine(net, **arguments)
    return engine.name, engine.precision


def test_auto_is_openvino_where_it_is_installed(monkeypatch, bundled):
    pretend(monkeypatch)
    assert chosen(bundled) == ("openvino", "float32")
    assert chosen(bundled, official=True) == ("torch", "float32")
    pretend(monkeypatch, installed=("openvino", "onnxruntime"))
    assert chosen(bundled) == ("torch", "float32")
    pretend(monkeypatch, installed=())
    assert chosen(bundled) == ("torch", "float32")


def test_the_variable_says_what_auto_is(monkeypatch, bundled):
    pretend(monkeypatch)
    monkeypatch.setenv("BOTTOMUP_BACKEND", "onnxruntime")
    assert asked_for("auto", "auto") == ("onnxruntime", "auto")
    assert asked_for("openvino", "auto") == ("openvino", "auto")
    monkeypatch.setenv("BOTTOMUP_PRECISION", "float32")
    assert asked_for("auto", "auto") == ("onnxruntime", "float32")
    assert asked_for("torch", "bfloat16") == ("torch", "bfloat16")
    predictor = Predictor(bundled)
    assert (predictor.backend, predictor.precision) == ("onnxruntime", "float32")
    assert predictor.engine.name == "onnxruntime"
    monkeypatch.setenv("BOTTOMUP_BACKEND", "tensorrt")
    with pytest.raises(ValueError, match="backend is 'tensorrt'; choose one of auto, torch"):
        asked_for("auto", "auto")


@pytest.mark.parametrize(
    ("change", "same_weights", "official", "precision"),
    [
        (-0.003, True, False, "bfloat16"),
        (0.002, True, False, "bfloat16"),
        (-0.0031, True, False, "float32"),
        (-0.001, False, False, "float32"),
        (-0.001, True, True, "float32"),
        (float("nan"), True, False, "float32"),
    ],
)
def test_auto_leaves_float32_only_by_the_record_of_the_weights(
    monkeypatch, change, same_weights, official, precision
):
    pretend(monkeypatch, precisions=("int8", "bfloat16", "float32"))
    net = mobile(num_scales=1).eval()
    sha256 = digest(net.state_dict()) if same_weights else "0" * 64
    net.costs = {"bfloat16": Cost(change, sha256), "int8": Cost(-0.02, sha256)}
    assert chosen(net, official=official)[1] == precision


def test_weights_of_other_people_stay_in_float32(monkeypatch):
    pretend(monkeypatch, precisions=("bfloat16", "float32"))
    assert chosen(higherhrnet(8))[1] == "float32"
    assert chosen(higherhrnet(8), precision="bfloat16")[1] == "bfloat16"


def test_what_cannot_be_is_refused_with_what_can(monkeypatch, bundled):
    with pytest.raises(ValueError, match="precision is 'half'; choose one of auto, float32"):
        Predictor(bundled, precision="half")
    with pytest.raises(ValueError, match="backend is 'tvm'; choose one of auto, torch"):
        Predictor(bundled, backend="tvm")
    pretend(monkeypatch)
    with pytest.raises(ValueError, match=r"'float16' is not what openvino has .* float32"):
        choose_engine(bundled, precision="float16")
    with pytest.raises(ValueError, match=r"8 bits need nncf: pip install 'bottomup\[int8\]'"):
        choose_engine(bundled, precision="int8")
    monkeypatch.undo()
    monkeypatch.setattr("bottomup.engines.sessions.is_installed", lambda name: False)
    with pytest.raises(ValueError, match=r"openvino is not installed: pip .*bottomup\[openvino\]"):
        choose_engine(bundled, backend="openvino")
    with torch.device("meta"):
        elsewhere = compact(8)
    elsewhere.mean = elsewhere.mean.to("meta")
    with pytest.raises(ValueError, match="'openvino' runs on the CPU only; choose torch for meta"):
        choose_engine(elsewhere, backend="openvino")


@pytest.mark.parametrize("error", [ValueError, RuntimeError])  # of a graph, of nncf
def test_auto_goes_on_with_torch_if_the_other_engine_fails(monkeypatch, bundled, error):
    pretend(monkeypatch)

    def fail(*arguments):
        raise error("openvino cannot run this graph")

    monkeypatch.setattr(choice, "GraphEngine", fail)
    with pytest.warns(UserWarning, match="cannot run this graph; torch is used instead"):
        assert chosen(bundled) == ("torch", "float32")
    with pytest.raises(error, match="cannot run this graph"):
        choose_engine(bundled, backend="openvino")


def test_a_broken_package_is_told_and_auto_goes_on_with_torch(monkeypatch, bundled):
    def fail():
        raise ImportError("libopenvino.so: cannot open shared object file")

    monkeypatch.setattr("bottomup.engines.sessions.import_openvino", fail)
    monkeypatch.setattr("bottomup.engines.sessions.is_installed", lambda name: True)
    monkeypatch.setattr(choice, "is_installed", lambda name: True)
    with pytest.raises(ValueError, match=r"openvino does not work here \(libopenvino.so: "):
        choose_engine(bundled, backend="openvino")
    with pytest.warns(UserWarning, match="does not work here .*; torch is used instead"):
        assert chosen(bundled)[0] == "torch"


@pytest.mark.gpu
@pytest.mark.parametrize("network", NETWORKS)
@torch.inference_mode()
def test_captured_kernels_compute_what_the_network_does(network):
    net = NETWORKS[network]().eval().cuda().to(memory_format=torch.channels_last)
    engine = TorchEngine(net)
    sizes = [(128, 128), (256, 128)] * 6
    for number, (wide, high) in enumerate(sizes):
        images = (pixels(wide, high) + number).cuda()
        theirs = [tensor.clone() for tensor in tensors(net(images))]
        ours = tensors(engine(images))
        engine(255 - images)  # a later call leaves the outputs as they are
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_a_gpu_finds_the_people_of_the_cpu(precision, bundled):
    clear = Predictor(bundled, device="cpu", backend="torch")(PARK).filter(0.4)
    predictor = Predictor(load_model(), device="cuda", precision=precision)
    areas = np.prod(clear.boxes[:, 2:] - clear.boxes[:, :2], axis=1) + 1
    for _ in range(6):  # the first calls launch kernels, the later ones replay them
        assert clear.similarity(predictor(PARK), areas).max(axis=1).min() > 0.95


@pytest.mark.gpu
def test_many_sizes_keep_few_graphs(bundled):
    engine = TorchEngine(load_model().cuda())
    with torch.inference_mode():
        for wide, high in itertools.product(range(128, 128 + 64 * 4, 64), repeat=2):
            for _ in range(5):
                engine(pixels(wide, high).cuda())
    assert len(engine._run._graphs) <= 8
