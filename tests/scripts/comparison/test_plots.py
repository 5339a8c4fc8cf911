import math
import xml.etree.ElementTree as ET

import pytest
from comparison.plots import (
    HEIGHT,
    WIDTH,
    Series,
    categories,
    interval_plot,
    line_plot,
    numbers,
    stacked_bars,
    swatch,
)


def find(svg, tag, kind=None):
    return [
        node
        for node in ET.fromstring(svg).iter(tag)
        if kind is None or kind in node.get("class", "").split()
    ]


def test_ticks_are_round_and_reach_beyond_the_largest():
    assert [name for _, name in numbers("x", [0.83]).ticks] == [
        "0",
        "0.2",
        "0.4",
        "0.6",
        "0.8",
        "1",
    ]
    assert [name for _, name in numbers("x", [100, 3]).ticks] == [
        "0",
        "20",
        "40",
        "60",
        "80",
        "100",
    ]
    assert numbers("x", [0.407]).high == pytest.approx(0.5)
    for values in ([], [0.0], [math.nan], [1e-9], [1e9]):
        axis = numbers("x", values)
        assert axis.high > axis.low
        assert 2 <= len(axis.ticks) <= 8


def test_points_stand_where_the_axes_say():
    y = numbers("AP", [1.0])
    svg = line_plot(
        "t",
        categories("x", ["a", "b"]),
        y,
        [Series("m", 0, [(0, 0.0, None, None), (1, 1.0, 0.9, 1.0)])],
    )
    low, high = find(svg, "circle")
    assert float(low.get("cy")) > float(high.get("cy"))
    assert float(low.get("cx")) < float(high.get("cx"))
    assert len(find(svg, "polyline")) == 1
    texts = [node.text for node in find(svg, "text")]
    assert {"a", "b", "AP", "x", "0", "1"} <= set(texts)
    hints = [node.text for node in find(svg, "title")]
    assert hints == ["m: 0", "m: 1 (0.900 to 1.000)"]


def test_points_without_a_value_are_left_out():
    points = [(0, None, None, None), (1, math.nan, None, None), (2, 0.5, None, None)]
    svg = line_plot(
        "t", categories("x", ["a", "b", "c"]), numbers("y", [1]), [Series("m", 1, points)]
    )
    assert len(find(svg, "rect", "mark")) == 1
    assert not find(svg, "polyline")
    assert "nan" not in svg


def test_intervals_are_drawn_on_demand():
    points = [(0, 0.5, 0.4, 0.6)]
    axes = categories("x", ["a"]), numbers("y", [1])
    assert not find(line_plot("t", *axes, [Series("m", 0, points)]), "line", "bar")
    assert (
        len(find(line_plot("t", *axes, [Series("m", 0, points, intervals=True)]), "line", "bar"))
        == 1
    )


def test_names_cannot_leave_the_text():
    name = "<script>\"'&"
    series = [Series(name, 9, [(0, 0.5, None, None), (1, 0.5, None, None)])]
    for svg in (
        line_plot(name, categories(name, [name, name]), numbers(name, [1]), series),
        interval_plot(name, numbers(name, [1]), [(name, 2, (0.5, 0.4, 0.6))]),
        stacked_bars(name, name, [(name, {name: 1.0})], [name]),
    ):
        assert "<script" not in svg
        assert name in {node.text for node in find(svg, "text")}


def test_rows_of_intervals():
    svg = interval_plot(
        "t", numbers("AP", [1]), [("a", 0, (0.5, 0.4, 0.6)), ("b", 3, (None, None, None))]
    )
    (bar,) = find(svg, "line", "bar")
    assert float(bar.get("x1")) < float(find(svg, "circle")[0].get("cx")) < float(bar.get("x2"))


def test_stacked_parts_follow_each_other():
    svg = stacked_bars("t", "ms", [("a", {"x": 1.0, "y": 3.0}), ("b", {"x": math.nan})], ["x", "y"])
    first, second = find(svg, "rect")
    end = float(first.get("x")) + float(first.get("width"))
    assert end == pytest.approx(float(second.get("x")), abs=0.11)
    assert float(second.get("width")) == pytest.approx(3 * float(first.get("width")), rel=0.02)
    assert (first.get("class"), second.get("class")) == ("p0", "p1")


def test_every_method_looks_different():
    assert len({swatch(slot) for slot in range(12)}) == 12


def test_everything_stays_inside_of_the_picture():
    points = [(i, i / 4, 0, 2.0) for i in range(5)]
    svg = line_plot(
        "t",
        categories("x", list("abcde")),
        numbers("y", [1]),
        [Series("m", 2, points, intervals=True)],
    )
    for node in ET.fromstring(svg).iter():
        for key, most in (("x1", WIDTH), ("x2", WIDTH), ("y1", HEIGHT), ("y2", HEIGHT)):
            assert 0 <= float(node.get(key, 0)) <= most
