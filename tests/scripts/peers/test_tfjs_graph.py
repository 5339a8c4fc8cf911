import base64

import numpy as np
import pytest
import torch
from tfjs import PackageError
from tfjs_graph import GraphModel
from tfjs_ops import OPS, Node

RNG = np.random.default_rng(0)


def node(name, op, *inputs, **attributes):
    return {"name": name, "op": op, "input": list(inputs), "attr": attributes}


def text(word):
    return {"s": base64.b64encode(word.encode()).decode()}


def numbers(*values):
    return {"list": {"i": [str(value) for value in values]}}


def model(nodes, outputs, **tensors):
    nodes = [*nodes, *(node(name, "Const") for name in tensors)]
    signature = {"outputs": {key: {"name": name} for key, name in outputs.items()}}
    return GraphModel(
        {"node": nodes, "signature": signature}, {k: np.asarray(v) for k, v in tensors.items()}
    )


def run(op, *inputs, **attributes):
    result = OPS[op](Node("n", op, (), attributes), *map(torch.as_tensor, inputs))
    return (
        result.tolist() if isinstance(result, torch.Tensor) else [part.tolist() for part in result]
    )


def slow_convolution(image, filters, stride, depthwise):
    """What TensorFlow documents for padding SAME, place by place."""
    height, width, _ = image.shape
    size = filters.shape[0]
    out = -(-height // stride), -(-width // stride)
    before = [
        max((n - 1) * stride + size - length, 0) // 2
        for n, length in zip(out, (height, width), strict=True)
    ]
    result = np.zeros((*out, filters.shape[2] if depthwise else filters.shape[3]))
    for row in range(out[0]):
        for column in range(out[1]):
            for i in range(size):
                for j in range(size):
                    y, x = row * stride + i - before[0], column * stride + j - before[1]
                    if 0 <= y < height and 0 <= x < width:
                        f = filters[i, j]
                        result[row, column] += (
                            image[y, x] * f[:, 0] if depthwise else image[y, x] @ f
                        )
    return result


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("depthwise", [False, True])
def test_convolutions_pad_as_tensorflow_does(stride, size, depthwise):
    image = RNG.normal(size=(6, 5, 3)).astype(np.float32)
    filters = RNG.normal(size=(size, size, 3, 1 if depthwise else 4)).astype(np.float32)
    bias = RNG.normal(size=3 if depthwise else 4).astype(np.float32)
    settings = {"strides": numbers(1, stride, stride, 1), "padding": text("SAME")}
    settings["fused_ops"] = {"list": {"s": [text(word)["s"] for word in ("BiasAdd", "Relu")]}}
    op = "FusedDepthwiseConv2dNative" if depthwise else "_FusedConv2D"
    nodes = [node("x", "Placeholder"), node("y", op, "x", "filters", "bias", **settings)]
    net = model(nodes, {"out": "y:0"}, filters=filters, bias=bias)
    expected = np.maximum(slow_convolution(image, filters, stride, depthwise) + bias, 0)
    found = net(torch.from_numpy(image)[None])["out"][0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert net.num_parameters == filters.size + bias.size


def test_a_graph_of_several_outputs():
    nodes = [
        node("x", "Placeholder"),
        node("parts", "Split", "axis", "x", num_split={"i": "2"}),
        node("sum", "AddV2", "parts", "parts:1", "^ignored"),
        node("not_needed", "NoSuchOperation", "x"),
    ]
    net = model(nodes, {"second": "parts:1", "sum": "sum"}, axis=np.int32(1))
    outputs = net(torch.tensor([[1.0, 2, 30, 40]]))
    assert {name: value.tolist() for name, value in outputs.items()} == {
        "second": [[30, 40]],
        "sum": [[31, 42]],
    }


@pytest.mark.parametrize(
    ("nodes", "outputs", "reason"),
    [
        ([], {}, "no node that it is an output"),
        ([], {"out": "gone"}, "no node gone"),
        ([node("a", "PyFunc")], {"out": "a"}, "PyFunc is not known"),
        ([node("a", "Relu", "b"), node("b", "Relu", "a")], {"out": "a"}, "a circle"),
        ([node("a", "Relu", "a")], {"out": "a"}, "a circle"),
        ([node("a", "Const")], {"out": "a"}, "not among the weights"),
        (
            [node("x", "Placeholder"), node("y", "Conv2D", "x", "x")],
            {"out": "y"},
            "must be constants",
        ),
        ([{"name": "a"}], {"out": "a"}, "cannot be read"),
    ],
)
def test_graphs_that_cannot_be_run(nodes, outputs, reason):
    with pytest.raises(PackageError, match=reason):
        model(nodes, outputs)


def test_a_deep_graph_needs_no_stack():
    nodes = [node("0", "Placeholder"), *(node(str(i + 1), "Relu", str(i)) for i in range(5000))]
    assert model(nodes, {"out": "5000"})(torch.tensor([-1.0, 2]))["out"].tolist() == [0, 2]


IMAGE = [[[[0.0], [2.0]], [[4.0], [6.0]]]]


@pytest.mark.parametrize(
    ("half_pixel", "first_row"), [(True, [0, 0.5, 1.5, 2]), (False, [0, 1, 2, 2])]
)
def test_resizing_of_both_kinds(half_pixel, first_row):
    settings = {"half_pixel_centers": half_pixel, "align_corners": False}
    found = run("ResizeBilinear", IMAGE, torch.tensor([4, 4]), **settings)
    assert [value[0] for value in found[0][0]] == first_row


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ({}, [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]),
        ({"shrink_axis_mask": 1}, [[1, 2], [3, 4]]),
        ({"shrink_axis_mask": 6, "begin_mask": 1}, [1, 5]),
    ],
)
def test_slices(masks, expected):
    x = torch.arange(1, 9).reshape(2, 2, 2)
    assert run("StridedSlice", x, [0, 0, 0], [2, 2, 2], [1, 1, 1], **masks) == expected


def test_slices_with_new_axes_and_ellipses():
    x = torch.arange(4).reshape(2, 2)
    assert run("StridedSlice", x, [0, 0], [0, 0], [1, 1], ellipsis_mask=1, new_axis_mask=2) == [
        [[0], [1]],
        [[2], [3]],
    ]


@pytest.mark.parametrize(
    ("op", "inputs", "settings", "expected"),
    [
        ("GatherNd", ([[1, 2], [3, 4]], [[0, 1], [1, 0]]), {}, [2, 3]),
        ("GatherV2", ([1, 2, 3], [[2, 0]], 0), {}, [[3, 1]]),
        ("TopKV2", ([1.0, 3, 2], 2), {}, [[3, 2], [1, 2]]),
        ("FloorDiv", ([7, 8], 4), {}, [1, 2]),
        ("FloorMod", ([7, 8], 4), {}, [3, 0]),
        ("Sum", ([[1.0, 2], [3, 4]], [1]), {"keep_dims": True}, [[3], [7]]),
        ("Max", ([[1.0, 2], [3, 4]], [0, 1]), {}, 4),
        ("ArgMax", ([[1.0, 2], [4, 3]], 1), {}, [1, 0]),
        ("AddN", ([1.0], [2.0], [4.0]), {}, [7]),
        ("Tile", ([[1, 2]], [2, 1]), {}, [[1, 2], [1, 2]]),
        ("Squeeze", ([[[1, 2]]],), {"squeeze_dims": [0]}, [[1, 2]]),
        ("Squeeze", ([[[1, 2]]],), {}, [1, 2]),
        ("Pack", ([1, 2], [3, 4]), {"axis": 1}, [[1, 3], [2, 4]]),
        ("ConcatV2", ([[1, 2]], [[3, 4]], 1), {}, [[1, 2, 3, 4]]),
        ("Cast", ([0, 3],), {"DstT": "DT_BOOL"}, [False, True]),
        ("Fill", ([2, 1], 5), {}, [[5], [5]]),
        ("Range", (0.0, 3.0, 1.0), {}, [0, 1, 2]),
        ("SquaredDifference", ([1.0, 5.0], 3.0), {}, [4, 4]),
        ("Select", ([True, False], [1, 2], [3, 4]), {}, [1, 4]),
    ],
)  # fmt: skip
def test_operations(op, inputs, settings, expected):
    assert run(op, *inputs, **settings) == expected


def test_pooling_pads_with_nothing():
    settings = {"ksize": [1, 3, 3, 1], "strides": [1, 1, 1, 1], "padding": "SAME"}
    assert (
        run("MaxPool", -np.ones((1, 2, 2, 1), np.float32), **settings)
        == (-np.ones((1, 2, 2, 1))).tolist()
    )
