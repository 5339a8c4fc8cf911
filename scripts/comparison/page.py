"""The page of a report: one HTML file that loads nothing.

`report.html` is the template; `report.css` and `report.js` are inlined. All text is escaped.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from comparison import errors, plots
from comparison.accuracy import Bin, Interval
from comparison.cost import Growth
from comparison.overlays import SideBySide
from comparison.plots import Series
from comparison.report import BoxErrors, Report, Sweep
from comparison.timing import STAGES

FOLDER = Path(__file__).parent
BINS = {  # title and axis of the bins, by kind
    "people": ("By the number of people in an image", "people in the image"),
    "crowding": ("By crowd index", "crowd index of the image (CrowdPose)"),
    "size": ("By size of a person", "root of the person's area, px"),
}


def render(report: Report, pictures: Sequence[SideBySide] = ()) -> str:
    """The whole page.

    Args:
        report: what it shows.
        pictures: the images on which methods differ most.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["finite"] = _is_finite
    environment.filters["level"] = _level
    machines = {str(cost.machine): cost.machine for cost in report.cost.values()}
    return environment.get_template("report.html").render(
        report=report,
        pictures=pictures,
        charts=Charts(report),
        style=Markup((FOLDER / "report.css").read_text()),
        script=Markup((FOLDER / "report.js").read_text()),
        bins=BINS,
        bin_name=bin_name,
        errors=errors,
        stages=stages_of(report),
        machines=machines.values(),
        bottleneck=bottleneck,
    )


class Charts:
    """The plots of a report, as SVG.

    A method has the same colour and mark everywhere, and all plots of AP share one axis.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._slots = {method.name: slot for slot, method in enumerate(report.methods)}
        figures = report.accuracy.figures.values()
        highest = [interval.value for interval in _all_ap(report)]
        highest += [of["AP"].high for of in figures]
        self._ap = plots.numbers("average precision (AP)", [*highest, 0.1])

    def swatch(self, method: str) -> Markup:
        """The colour and mark of a method."""
        return Markup(plots.swatch(self._slots[method]))

    def overview(self) -> Markup:
        """AP of all methods with intervals."""
        figures = self._report.accuracy.figures
        rows = [
            (name, self._slots[name], dataclasses.astuple(of["AP"])) for name, of in figures.items()
        ]
        return Markup(plots.interval_plot("AP with intervals", self._ap, rows))

    def bins(self, kind: str) -> Markup:
        """AP by one kind of bins."""
        title, label = BINS[kind]
        by_method = self._report.accuracy.bins[kind]
        names = [bin_name(one) for one in next(iter(by_method.values()))]
        ap = {name: [one.ap for one in bins] for name, bins in by_method.items()}
        return self._ap_plot(title, label, names, ap)

    def joints(self) -> Markup:
        """The kinds of joints, in percent."""
        rows = []
        for name, counts in self._report.accuracy.errors.items():
            total = max(sum(counts.joints.values()), 1)
            rows.append((name, {kind: 100 * n / total for kind, n in counts.joints.items()}))
        label = "share of the labelled joints of people who were found, %"
        return Markup(plots.stacked_bars("kinds of joints", label, rows, errors.KINDS))

    def sweep(self, sweep: Sweep) -> Markup:
        """AP at each level of a sweep."""
        levels = [_level(level) for level in sweep.levels]
        return self._ap_plot(sweep.title, sweep.unit, levels, sweep.ap)

    def stages(self) -> Markup:
        """Median time by stage."""
        rows = [
            (name, {stage: median for stage, (median, _) in cost.stages.items()})
            for name, cost in self._report.cost.items()
        ]
        label = "median time per image and stage, ms"
        return Markup(plots.stacked_bars("time by stage", label, rows, stages_of(self._report)))

    def times(self) -> Markup:
        """Time against the number of people."""
        return self._growth_plot("time against people", "time, ms", "ms")

    def results(self) -> Markup:
        """Results against the number of people."""
        return self._growth_plot("results against people", "results", "found")

    def boxes(self, kind: BoxErrors) -> Markup:
        """AP at each level of one kind of errors in boxes."""
        assert self._report.boxes is not None
        levels = [_level(level) for level in kind.levels]
        flat = {name: [ap] * len(levels) for name, ap in self._report.boxes.others.items()}
        return self._ap_plot(kind.title, kind.unit, levels, {**kind.ap, **flat})

    def _ap_plot(
        self,
        title: str,
        label: str,
        names: Sequence[str],
        by_method: Mapping[str, Sequence[Interval | None]],
    ) -> Markup:
        """A line by method over places with names; None leaves a place out."""
        series = []
        for method, intervals in by_method.items():
            points = [(i, ap.value, ap.low, ap.high) for i, ap in enumerate(intervals) if ap]
            series.append(Series(method, self._slots[method], points))
        axis = plots.categories(label, names)
        return Markup(plots.line_plot(title, axis, self._ap, series))

    def _growth_plot(self, title: str, label: str, field: str) -> Markup:
        assert self._report.growth is not None
        curves = self._report.growth.curves
        values = {name: getattr(curve, field) for name, curve in curves.items()}
        series = [
            Series(
                name,
                self._slots[name],
                [(x, y, None, None) for x, y in zip(curve.people, values[name], strict=True)],
            )
            for name, curve in curves.items()
        ]
        people = [count for curve in curves.values() for count in curve.people]
        x = plots.numbers("people in the image", people)
        y = plots.numbers(label, [value for of in values.values() for value in of])
        return Markup(plots.line_plot(title, x, y, series))


def stages_of(report: Report) -> list[str]:
    """The stages that any method has."""
    return [stage for stage in STAGES if any(stage in cost.stages for cost in report.cost.values())]


def bin_name(one: Bin) -> str:
    """The name of a bin, with a star if it is not COCO's standard."""
    return one.name if one.standard else f"{one.name} *"


def bottleneck(curve: Growth) -> str:
    """The slower of detection and pose; empty for a method without detection."""
    if "detect" not in curve.stages or "pose" not in curve.stages:
        return ""
    pairs = zip(curve.stages["detect"], curve.stages["pose"], strict=True)
    slower = ["detection" if detect > pose else "pose" for detect, pose in pairs]
    if len(set(slower)) == 1:
        return f"{slower[0]} throughout"
    return f"{slower[-1]} from {curve.people[slower.index(slower[-1])]} people on"


def _all_ap(report: Report) -> Iterator[Interval]:
    """Every AP that a method reaches, but for those that are shown as flat lines."""
    for figures in report.accuracy.figures.values():
        yield figures["AP"]
    for by_method in report.accuracy.bins.values():
        for bins in by_method.values():
            yield from (one.ap for one in bins)
    for curves in (*report.sweeps, *(report.boxes.kinds if report.boxes else ())):
        for intervals in curves.ap.values():
            yield from (interval for interval in intervals if interval)


def _level(level: float) -> str:
    """A level as it is written in plots and tables."""
    return f"{level:g}"


def _is_finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)
