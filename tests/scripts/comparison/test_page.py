import dataclasses
import math

import pytest
from comparison.accuracy import Bin, Interval
from comparison.cost import Cost, Crossing, Growth
from comparison.errors import KINDS, ErrorCounts
from comparison.overlays import SideBySide, SmallImage
from comparison.page import BINS, bottleneck, render
from comparison.report import (
    Accuracy,
    BoxErrors,
    CostGrowth,
    DatasetSummary,
    MethodSummary,
    Problem,
    Report,
    RunSettings,
    SpoiledBoxes,
    Sweep,
)

from tests.scripts.comparison.pages import Tags

NASTY = "</td></script><script>alert(1)</script>\"'"
UNKNOWN = Interval(math.nan, math.nan, math.nan)


def report_of(name, ap=UNKNOWN):
    """A report on one method; the parts that may be left out are."""
    figures = {name: {"AP": ap, "AP50": Interval(0.5, 0.4, 0.6)}}
    errors = ErrorCounts(0.1, 5, 4, 1, 2, dict.fromkeys(KINDS, 3))
    return Report(
        dataset=DatasetSummary(3, 5, name),
        settings=RunSettings(50, 0, quick=True),
        reference=name,
        methods=[MethodSummary(name, "bottom-up", name, "done", name)],
        cost={name: Cost(math.nan, 2.0, 3.0, {"read": (1.0, 2.0)}, 3, 0, machine={name: name})},
        accuracy=Accuracy(
            figures, figures, {name: errors}, {kind: {name: [Bin(name, 3, 5, ap)]} for kind in BINS}
        ),
    )


def whole_report(name):
    """A report with all parts."""
    ap = Interval(0.5, 0.4, 0.6)
    curve = Growth((1, 5), (1.0, 5.0), (20.0, 30.0), {"pose": (1.0, 2.0)}, 18.0, 2.0)
    return dataclasses.replace(
        report_of(name, ap),
        sweeps=[
            Sweep(family, name, name, name, [0, 0.5], 3, [5, 4], {name: [ap, UNKNOWN]})
            for family in ("photos", "drawn")
        ],
        growth=CostGrowth({name: curve}, [Crossing(name, name, 2.5, None)], 3),
        boxes=SpoiledBoxes(3, 5, [BoxErrors(name, name, name, [0, 0.5], {name: [ap, None]})], {}),
        problems=[Problem(name, name, "failed", name)],
    )


def pictures_of(name):
    return [SideBySide(name, (SmallImage(name, "data:image/jpeg;base64,"),))]


def test_names_and_messages_cannot_become_elements():
    tags, plain = (Tags(render(whole_report(name), pictures_of(name))) for name in (NASTY, "x"))
    assert tags.seen == plain.seen
    assert tags.seen.count("script") == 1
    assert tags.seen.count("table") == 13


def test_a_page_loads_nothing():
    text = render(whole_report("m"))
    assert text.startswith("<!DOCTYPE html>\n")
    assert Tags(text).sources == []
    assert "http" not in text
    assert "url(" not in text


def test_numbers_sort_by_their_value_and_what_is_unknown_has_none():
    text = render(report_of("m", Interval(0.25, 0.125, 0.5)))
    assert '<td data-v="0.25">0.250<small>0.125 to 0.500</small></td>' in text
    unknown = render(report_of("m"))
    assert "<td>-</td>" in unknown
    assert "nan" not in unknown.lower()


@pytest.mark.parametrize(
    ("part", "title"),
    [
        ("sweeps", "Harder photos"),
        ("sweeps", "Harder crowds"),
        ("growth", "Cost against the number of people"),
        ("boxes", "When detection fails"),
        ("problems", "Runs that did not work"),
    ],
)
def test_a_part_that_was_not_measured_has_no_section(part, title):
    whole = whole_report("m")
    assert title in render(whole)
    without = dataclasses.replace(whole, **{part: getattr(report_of("m"), part)})
    assert title not in render(without)


@pytest.mark.parametrize(
    ("detect", "pose", "expected"),
    [
        ((1.0, 1.0, 1.0), (2.0, 3.0, 4.0), "pose throughout"),
        ((5.0, 5.0, 5.0), (2.0, 3.0, 4.0), "detection throughout"),
        ((3.0, 3.0, 3.0), (2.0, 2.5, 4.0), "pose from 9 people on"),
    ],
)
def test_the_slower_stage_is_named(detect, pose, expected):
    curve = Growth((1, 5, 9), (), (), {"detect": detect, "pose": pose}, 0.0, 0.0)
    assert bottleneck(curve) == expected
    assert bottleneck(dataclasses.replace(curve, stages={"pose": pose})) == ""
