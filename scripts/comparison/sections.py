"""The sections of the report, from the content of report.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from comparison import errors
from comparison.page import NONE, Cell, figure, figures, key, note, page, safe, section, table
from comparison.plots import (
    Axis,
    Series,
    categories,
    interval_plot,
    line_plot,
    numbers,
    stacked_bars,
)
from comparison.timing import STAGES

TITLE = "Bottom-up against top-down"
MAIN_FIGURES = ("AP", "AP50", "AP75", "AR", "APM", "APL")
BINS = {
    "people": ("By the number of people in an image", "people in the image"),
    "crowding": ("By crowd index", "crowd index of the image (CrowdPose)"),
    "size": ("By size of a person", "root of the person's area, px"),
}


def render(report: Mapping[str, Any], pictures: Sequence[Mapping[str, Any]] = ()) -> str:
    """The whole page.

    Args:
        report: what report.json holds.
        pictures: per image its `name`, and `cells` of (caption, address of the picture).
    """
    slots = {method["name"]: slot for slot, method in enumerate(report["methods"])}
    axis = _ap_axis(report)
    parts = [
        _about(report),
        _summary(report, slots, axis),
        _bins(report, slots, axis),
        _errors(report),
    ]
    parts += [_sweeps(family, report, slots, axis) for family in FAMILIES]
    parts += [
        _cost(report),
        _growth(report, slots),
        _boxes(report, slots, axis),
        _pictures(pictures),
    ]
    shown = {name: slots[name] for name in report["accuracy"]["figures"]}
    return page(TITLE, [part for part in parts if part], shown)


FAMILIES = {
    "photos": (
        "Harder photos: all methods",
        "The same photos at every level, one thing changed. People keep their scale but for 'low resolution'. Where a "
        "picture is turned or gets smaller than its frame, a blurred copy fills the rest. Cutting makes the image "
        "smaller, so that networks which scale it to one size see the rest larger. Lines end where nothing was run.",
    ),
    "drawn": (
        "Harder crowds: drawn people, our own systems",
        "Drawn people with exact labels, every level from the same seeds. Only systems that were trained on drawn "
        "people, too.",
    ),
}


def _ap_axis(report: Mapping[str, Any]) -> Axis:
    """One axis for all plots of AP: up to the largest value in any."""
    accuracy, spoiled = report["accuracy"], report.get("boxes") or {}
    found = [values["AP"] for values in accuracy["figures"].values()]
    found += [
        one["ap"] for bins in accuracy["bins"].values() for rows in bins.values() for one in rows
    ]
    found += [
        point for sweep in report["sweeps"] for points in sweep["ap"].values() for point in points
    ]
    found += [
        point
        for kind in spoiled.get("kinds", ())
        for points in kind["ap"].values()
        for point in points
    ]
    highest = [point[0] for point in found if point and point[0] is not None]
    highest += [values["AP"][2] or 0.0 for values in accuracy["figures"].values()]
    return numbers("average precision (AP)", [*highest, 0.1])


def _about(report: Mapping[str, Any]) -> str:
    data = report["dataset"]
    text = f"{data['images']} images with {data['people']} labelled people ({data['annotations']})."
    machines = {str(cost["machine"]): cost["machine"] for cost in report.get("cost", {}).values()}
    lines = [note(text + " Intervals are 95 % bootstrap intervals over images: they say how far a figure would move on "
                  "other images of the same kind. Two methods are apart where the interval of their difference, over "
                  "the same samples, leaves out 0.")]  # fmt: skip
    for machine in machines.values():
        lines.append(
            note(
                "Machine: " + ", ".join(f"{name} {value}" for name, value in machine.items()) + "."
            )
        )
    rows = [
        [
            Cell(method["name"]),
            Cell(method["kind"]),
            Cell(method["status"]),
            Cell(method["reason"]),
            Cell(method["command"]),
        ]
        for method in report["methods"]
    ]
    lines.append(table(["method", "kind", "status", "why not", "command"], rows))
    problems = [problem for problem in report.get("problems", []) if problem["part"] != "images"]
    if problems:
        cells = [
            [Cell(problem[name]) for name in ("method", "part", "status", "reason")]
            for problem in problems
        ]
        lines += [
            note("What did not work further on:"),
            table(["method", "part", "status", "why"], cells),
        ]
    return section("What was compared", *lines)


def _summary(report: Mapping[str, Any], slots: Mapping[str, int], axis: Axis) -> str:
    found, costs = report["accuracy"]["figures"], report.get("cost", {})
    differences, reference = report["accuracy"]["differences"], report["reference"]
    headers = ["method", *MAIN_FIGURES, f"AP - AP of {reference}", "median ms", "p95 ms", "images/s", "peak MB",
               "GFLOPs", "parameters, M"]  # fmt: skip
    rows = []
    for name, values in found.items():
        cost = costs.get(name, {})
        parameters = cost.get("parameters")
        row = [Cell(name), *(_interval(values.get(figure)) for figure in MAIN_FIGURES)]
        row.append(
            _interval(differences[name].get("AP"), signed=True)
            if name in differences
            else Cell(NONE)
        )
        row += [_number(cost.get(field), digits) for field, digits in (("median", 1), ("p95", 1))]
        row += [_number(cost.get("images_per_second"), 2), _number(cost.get("peak_memory_mb"), 0)]
        row += [
            _number(cost.get("gflops"), 2),
            _number(None if parameters is None else parameters / 1e6, 2),
        ]
        rows.append(row)
    plot = interval_plot(
        "AP with intervals",
        axis,
        [(name, slots[name], values["AP"]) for name, values in found.items()],
    )
    data = report["dataset"]
    caption = f"AP with 95 % intervals; {data['images']} images, {data['people']} people."
    text = "COCO's figures: AP over object keypoint similarities 0.50 to 0.95; M and L: people of 32 to 96 and over 96 "
    text += "pixels (root of the area); at most 20 results per image. GFLOPs: of the image with the median of people."
    return section("At a glance", note(text), table(headers, rows), figures(figure(plot, caption)))


def _bins(report: Mapping[str, Any], slots: Mapping[str, int], axis: Axis) -> str:
    plots, tables = [], []
    for kind, (title, label) in BINS.items():
        by_method = report["accuracy"]["bins"][kind]
        if not by_method:
            continue
        bins = next(iter(by_method.values()))
        names = [f"{one['name']}{'' if one['standard'] else ' *'}" for one in bins]
        counts = [f"{one['images']} images, {one['people']} people" for one in bins]
        series = [
            Series(name, slots[name], _points([one["ap"] for one in rows]))
            for name, rows in by_method.items()
        ]
        sizes = "; ".join(f"{name}: {count}" for name, count in zip(names, counts, strict=True))
        plots.append(
            figure(line_plot(title, categories(label, names), axis, series), f"{title}. {sizes}.")
        )
        headers = [
            "method",
            *(f"{name} ({count})" for name, count in zip(names, counts, strict=True)),
        ]
        rows = [
            [Cell(name), *(_interval(one["ap"]) for one in rows)]
            for name, rows in by_method.items()
        ]
        tables.append(f"<h3>{safe(title)}</h3>" + table(headers, rows))
    text = "* Not COCO's standard: as many results per image count as there are people. Crowd index: the others' joints "
    text += "in a person's box divided by its own, averaged over the people of an image; easy below 0.2, hard from 0.8."
    return section("Where it is hard: AP by bins", note(text), figures(*plots), *tables)


def _errors(report: Mapping[str, Any]) -> str:
    counts = report["accuracy"]["errors"]
    if not counts:
        return ""
    kinds = errors.KINDS
    shares = [(name, _shares(of["joints"], kinds)) for name, of in counts.items()]
    plot = stacked_bars(
        "kinds of joints", "share of the labelled joints of people who were found, %", shares, kinds
    )
    headers = [
        "method",
        "score from",
        "people",
        "found",
        "missed people",
        "background results",
        *kinds,
    ]
    rows = []
    for name, of in counts.items():
        row = [
            Cell(name),
            _number(of["threshold"], 3),
            *(_number(of[field], 0) for field in ("people", "found")),
        ]
        row += [_number(of["missed"], 0), _number(of["background"], 0)]
        rows.append([*row, *(_number(of["joints"][kind], 0) for kind in kinds)])
    text = (
        "After Ronchi and Perona (2017). Results from the score on at which a method's F1 is best are paired with "
        f"people, best score first, from an OKS of {errors.FOUND} on. Good: a joint's similarity to its own place is "
        f"at least {errors.GOOD}; jitter: at least {errors.CLOSE}; inversion: as close as that to the same person's "
        "other side; swap: to another person's joint of that kind; miss: to none of these."
    )
    people = next(iter(counts.values()))["people"]
    caption = f"Kinds of joints; {report['dataset']['images']} images, {people} people, of whom the table says how many "
    caption += "each method found."
    return section(
        "What kinds of errors",
        note(text),
        key(kinds),
        figures(figure(plot, caption)),
        table(headers, rows),
    )


def _shares(joints: Mapping[str, int], kinds: Sequence[str]) -> dict[str, float]:
    total = max(sum(joints.values()), 1)
    return {kind: 100 * joints[kind] / total for kind in kinds}


def _sweeps(family: str, report: Mapping[str, Any], slots: Mapping[str, int], axis: Axis) -> str:
    sweeps = [sweep for sweep in report["sweeps"] if sweep["family"] == family]
    if not sweeps:
        return ""
    title, text = FAMILIES[family]
    plots, tables = [], []
    for sweep in sweeps:
        levels = [f"{level:g}" for level in sweep["levels"]]
        series = [
            Series(name, slots[name], _points(points)) for name, points in sweep["ap"].items()
        ]
        people = " / ".join(str(count) for count in sweep["people"])
        caption = (
            f"{sweep['title']}. {sweep['images']} images per level, with {people} people who count."
        )
        plots.append(
            figure(
                line_plot(sweep["title"], categories(sweep["unit"], levels), axis, series), caption
            )
        )
        rows = [
            [Cell(name), *(_interval(point) for point in points)]
            for name, points in sweep["ap"].items()
        ]
        tables.append(f"<details><summary>{safe(sweep['title'])}: numbers</summary>" + table(["method", *levels], rows)
                      + "</details>")  # fmt: skip
    return section(title, note(text), figures(*plots), *tables)


def _cost(report: Mapping[str, Any]) -> str:
    costs = report.get("cost", {})
    if not costs:
        return ""
    stages = [stage for stage in STAGES if any(stage in cost["stages"] for cost in costs.values())]
    bars = [
        (name, {stage: cost["stages"].get(stage, [0])[0] or 0 for stage in stages})
        for name, cost in costs.items()
    ]
    plot = stacked_bars("time by stage", "median time per image and stage, ms", bars, stages)
    headers = ["method", "images", "failed", "threads"]
    headers += [f"{stage}, {what} ms" for stage in stages for what in ("median", "p95")]
    rows = []
    for name, cost in costs.items():
        row = [Cell(name), *(_number(cost[field], 0) for field in ("images", "failed", "threads"))]
        for stage in stages:
            median, p95 = cost["stages"].get(stage, (None, None))
            row += [_number(median, 1), _number(p95, 1)]
        rows.append(row)
    caption = (
        f"Medians of the stages, one image after the other; {report['dataset']['images']} images."
    )
    return section(
        "What it costs", key(stages), figures(figure(plot, caption)), table(headers, rows)
    )


def _growth(report: Mapping[str, Any], slots: Mapping[str, int]) -> str:
    growth = report.get("growth") or {}
    curves = growth.get("curves", {})
    if not curves:
        return ""
    top = [value for curve in curves.values() for value in curve["ms"]]
    most = [count for curve in curves.values() for count in curve["people"]]
    series = [
        Series(
            name,
            slots[name],
            [(x, y, None, None) for x, y in zip(curve["people"], curve["ms"], strict=True)],
        )
        for name, curve in curves.items()
    ]
    plot = line_plot(
        "time against people",
        numbers("people in the picture", most),
        numbers("time, ms", top),
        series,
    )
    found = [
        Series(
            name,
            slots[name],
            [(x, y, None, None) for x, y in zip(curve["people"], curve["found"], strict=True)],
        )
        for name, curve in curves.items()
    ]
    counts = numbers("results", [value for curve in curves.values() for value in curve["found"]])
    other = line_plot(
        "results against people", numbers("people in the picture", most), counts, found
    )
    caption = f"Median of {growth['pictures']} pictures per number of people, people cut out of the photos, one background."
    people = next(iter(curves.values()))["people"]
    headers = ["method", *(f"{count} people, ms" for count in people), "ms per person", "ms without people",
               f"{people[-1]} to {people[0]} people, times", "bottleneck"]  # fmt: skip
    rows = []
    for name, curve in curves.items():
        ratio = curve["ms"][-1] / curve["ms"][0] if curve["ms"][0] else None
        row = [Cell(name), *(_number(value, 1) for value in curve["ms"])]
        row += [_number(curve["slope"], 3), _number(curve["start"], 1), _number(ratio, 2)]
        rows.append([*row, Cell(_bottleneck(curve))])
    unknown = f"not up to {people[-1]} people"
    crossings = [
        [
            Cell(one["flat"]),
            Cell(one["rising"]),
            _crossing(one["fitted"], "never"),
            _crossing(one["measured"], unknown),
        ]
        for one in growth["crossings"]
    ]
    parts = [
        figures(figure(plot, caption), figure(other, "Results of the same pictures. " + caption)),
        table(headers, rows),
    ]
    if crossings:
        parts += [
            note("From how many people on top-down takes longer than bottom-up:"),
            table(
                ["bottom-up", "top-down", "lines cross at", "measured curves cross at"], crossings
            ),
        ]
    return section("Cost against the number of people", *parts)


def _bottleneck(curve: Mapping[str, Any]) -> str:
    """The slower of detection and pose, number by number; empty for a method without detection."""
    stages = curve["stages"]
    if "detect" not in stages or "pose" not in stages:
        return ""
    slower = [
        "detection" if d > p else "pose"
        for d, p in zip(stages["detect"], stages["pose"], strict=True)
    ]
    if len(set(slower)) == 1:
        return f"{slower[0]} throughout"
    first = next(
        count for count, name in zip(curve["people"], slower, strict=True) if name == slower[-1]
    )
    return f"{slower[-1]} from {first} people on"


def _boxes(report: Mapping[str, Any], slots: Mapping[str, int], axis: Axis) -> str:
    found = report.get("boxes") or {}
    if not found:
        return ""
    plots, rows = [], []
    for kind in found["kinds"]:
        levels = [f"{level:g}" for level in kind["levels"]]
        lines = kind["ap"] | {
            name: [point] * len(levels) for name, point in found["others"].items()
        }
        series = [Series(name, slots[name], _points(points)) for name, points in lines.items()]
        caption = f"{kind['title']}; {found['images']} images, {found['people']} people. At 0 all boxes are true."
        plots.append(
            figure(
                line_plot(kind["title"], categories(kind["unit"], levels), axis, series), caption
            )
        )
        rows += [
            [Cell(name), Cell(kind["kind"]), *(_interval(point) for point in points)]
            for name, points in kind["ap"].items()
        ]
    text = "Top-down methods get true boxes with these errors; the flat lines are methods that need no boxes."
    headers = ["method", "boxes", *(f"{level:g}" for level in found["kinds"][0]["levels"])]
    rows += [[Cell(name), Cell("needs none"), _interval(point)] + [Cell("")] * (len(headers) - 3)
             for name, point in found["others"].items()]  # fmt: skip
    return section("When detection fails", note(text), figures(*plots), table(headers, rows))


def _pictures(pictures: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for picture in pictures:
        cells = "".join(
            figure(f'<img alt="{safe(caption)}" src="{safe(address)}">', caption)
            for caption, address in picture["cells"]
        )
        rows.append(f'<h3>{safe(picture["name"])}</h3><div class="pictures">{cells}</div>')
    text = "Ordered by how far the best and the worst method are apart (F1 with similarities, in brackets). First what "
    text += "is labelled; people are drawn from the score on at which a method's F1 over all images is best."
    return section("Where methods differ most", note(text), *rows) if rows else ""


def _points(values: Sequence[Sequence[float | None] | None]) -> list[Any]:
    """Places 0, 1, 2, ... with a figure and its interval; None where there is none."""
    return [(i, *(value or (None, None, None))) for i, value in enumerate(values)]


def _interval(values: Sequence[float | None] | None, *, signed: bool = False) -> Cell:
    if not values or values[0] is None:
        return Cell(NONE)
    value, low, high = values
    form = "+.3f" if signed else ".3f"
    between = "" if low is None or high is None else f"{low:{form}} to {high:{form}}"
    return Cell(f"{value:{form}}", value, between)


def _number(value: float | None, digits: int) -> Cell:
    return Cell(NONE) if value is None else Cell(f"{value:,.{digits}f}", value)


def _crossing(people: float | None, otherwise: str) -> Cell:
    return Cell(otherwise) if people is None else Cell(f"{people:.1f} people", people)
